"""Frames for other programs, as they are made: y4m on stdout or into a named pipe, and a virtual camera."""

from __future__ import annotations

import os
import stat
import sys
import time as system
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import Colorspace

from fomm.errors import InputError
from fomm.video.encoding import Encoding, Sink, Yuv420

STDOUT, CAMERA = Path("-"), Path("camera")
_USUAL_FPS = Fraction(25)


class _Y4mSink(Sink):
    """YUV4MPEG2, which programs read with no more to be said: uncompressed, 4:2:0, at a constant rate, without sound.

    Frames whose times do not fall on the rate are repeated or left out. The format does not say which matrix the
    colours were made with; players take BT.709 for HD and BT.601 for smaller pictures, so it is that.
    """

    streams = True

    @classmethod
    def check(cls, path: Path) -> None:
        if path != STDOUT:
            return
        if sys.__stdout__ is None:
            raise InputError("--output -: the standard output is closed; send it on, as in --output - | mpv -")
        if sys.__stdout__.isatty():
            raise InputError("--output -: would fill this terminal with frames; send them on, as in --output - | mpv -")

    def __init__(self, path: Path, size: tuple[int, int], encoding: Encoding) -> None:
        super().__init__(path, size, encoding)
        self.rate = (encoding.fps or _USUAL_FPS).limit_denominator(2**16)
        if not self.rate:
            raise OverflowError("less than one frame in two days")
        hd = size[0] >= 1280 or size[1] > 576
        self.convert = Yuv420(size, Colorspace.ITU709 if hd else Colorspace.ITU601)
        # A pipe is opened when its reader has opened it as well. On Windows `open` makes stdout binary.
        self.file = open(1, "wb", closefd=False) if path == STDOUT else open(path, "wb")  # noqa: SIM115 - see `finish`
        self.container = av.open(self.file, "w", format="yuv4mpegpipe")
        self.stream = self.container.add_stream("wrapped_avframe", rate=self.rate)
        self.stream.width, self.stream.height = self.convert.size
        self.stream.pix_fmt = "yuv420p"
        self.stream.codec_context.color_range = 1  # limited
        self.count = 0
        self.last: av.VideoFrame | None = None

    def add(self, image: np.ndarray, time: Fraction, length: Fraction) -> None:
        tick = round(time * self.rate)
        self._repeat_until(tick)
        if tick == self.count:
            self.last = self.convert(image)
            self._put(self.last)

    def finish(self, end: Fraction) -> None:
        self._repeat_until(round(end * self.rate))
        self.container.mux(self.stream.encode(None))
        self.container.close()
        self.file.close()

    def abandon(self) -> None:
        self.container.close()
        self.file.close()

    def _repeat_until(self, tick: int) -> None:
        while self.last is not None and self.count < tick:
            self._put(self.last)

    def _put(self, frame: av.VideoFrame) -> None:
        frame.pts, frame.time_base = self.count, 1 / self.rate
        self.container.mux(self.stream.encode(frame))
        self.file.flush()
        self.count += 1


class _CameraSink(Sink):
    """A virtual camera, which other programs choose as they do a real one; each frame is shown at its time."""

    streams = True

    @classmethod
    def check(cls, path: Path) -> None:
        _pyvirtualcam()

    def __init__(self, path: Path, size: tuple[int, int], encoding: Encoding) -> None:
        super().__init__(path, size, encoding)
        self.extra = size[0] % 2, size[1] % 2  # drivers store 4:2:0
        width, height = size[0] + self.extra[0], size[1] + self.extra[1]
        try:
            self.camera = _pyvirtualcam().Camera(width, height, float(encoding.fps or _USUAL_FPS))
        except RuntimeError as error:
            raise InputError(
                f"--output camera: no virtual camera could be opened ({' '.join(str(error).split())}); "
                "docs/direct.md says how this system gets one"
            ) from error
        self.begun = system.monotonic()

    def add(self, image: np.ndarray, time: Fraction, length: Fraction) -> None:
        if any(self.extra):
            image = np.pad(image, ((0, self.extra[1]), (0, self.extra[0]), (0, 0)), mode="edge")
        self._wait_until(time)
        self.camera.send(np.ascontiguousarray(image))

    def finish(self, end: Fraction) -> None:
        self._wait_until(end)

    def abandon(self) -> None:
        self.camera.close()

    def _wait_until(self, time: Fraction) -> None:
        system.sleep(max(0.0, self.begun + float(time) - system.monotonic()))


def feed(path: Path) -> type[Sink] | None:
    """What takes frames under this name; None: it names a file or a folder.

    >>> feed(Path("result.mp4")) is None, feed(Path("-")) is None
    (True, False)
    """
    if path == CAMERA:
        return _CameraSink
    return _Y4mSink if path == STDOUT or is_pipe(path) else None


def is_pipe(path: Path) -> bool:
    """Whether it is a named pipe, which is written into when somebody reads it, and not before."""
    return os.path.exists(path) and stat.S_ISFIFO(os.stat(path).st_mode)


def _pyvirtualcam() -> Any:
    try:
        import pyvirtualcam
    except ImportError as error:
        raise InputError(
            "--output camera: needs pyvirtualcam, which is not installed; run: pip install -e '.[camera]'"
        ) from error
    return pyvirtualcam
