"""Streams of frames into files that are whole or not there, or to other programs."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from fomm.errors import InputError
from fomm.files import atomic_output
from fomm.video.encoding import SINKS, Encoding, PictureSink, Sink
from fomm.video.feeds import feed
from fomm.video.pictures import check_image
from fomm.video.reader import VideoReader
from fomm.video.sound import Sound


class VideoWriter:
    """Write frames as a stream into a file that is whole or not there.

    The kind follows from the name: .mp4 or .mov (H.264, yuv420p, BT.709, AAC; plays in browsers), .webm (VP9, Opus),
    .gif, .png or .jpg (one frame), or a name without suffix: a folder of numbered PNG frames with a `times.txt`.

    Frame times are kept exactly in mp4 and mov (`time_base`); webm stores whole milliseconds and gif hundredths, each
    rounded from the exact time so that errors do not add up; frames that would fall on the same tick are left out
    (and in a gif those under 0.02 s after the one before, since browsers slow such gifs down). H.264 needs even
    sizes: an odd width or height is extended by repeating the last column or row.

    Frames for other programs are handed on at once, without sound or metadata: as y4m at a constant rate under the name
    `-` (stdout) and into an existing named pipe, and under the name `camera` to a virtual camera, each at its time.

    Use as a context manager: on success the result is renamed into place, on any exception (Ctrl-C too) nothing is
    left behind. One thread at a time.

    Args:
        path: the result; its folder is made if needed.
        fps: frames per second where frames come without a time, and the length of a single frame. Default 25.
        time_base: the clock on which frame times fall (`VideoReader.time_base`). By default one is chosen that
            holds all usual clocks.
        audio_from: video whose sound goes along (of a reader: the one that it chose); no sound in it is fine. Copied
            where the container allows, else encoded; cut where the picture ends.
        audio_start: the time, on the clock of that video's frames, that is heard with the first frame written.
            By default the time given with the first frame: frames written with the times at which they were read
            stay in sync, whatever range of the video they are.
        metadata: container tags, such as title, comment and DIGITAL_SOURCE_TYPE.
        keyframe_every: at most this many frames from one key frame to the next. Default: the encoder's own (250).
        threads: that encode; 0: as many as there are cores. H.264's bytes depend on it: give 1 for files that are equal
            on all machines.

    Attributes:
        warnings: one line for each thing that could not be kept (sound in a gif, damaged sound).

    Raises:
        InputError: unknown suffix, `audio_from` cannot be read, the place cannot be written, the disk is full, a size
            that the format cannot hold, no frame was written; no virtual camera, or a terminal as stdout.
        BrokenPipeError: the program that read the frames has gone.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        fps: Fraction | int | None = None,
        time_base: Fraction | None = None,
        audio_from: str | Path | VideoReader | None = None,
        audio_start: Fraction | None = None,
        metadata: Mapping[str, str] | None = None,
        keyframe_every: int | None = None,
        threads: int = 0,
    ) -> None:
        self.path = Path(path)
        self.warnings: list[str] = []
        suffix = self.path.suffix.lower()
        kind = feed(self.path) or SINKS.get(suffix)
        if kind is None:
            raise InputError(
                f"{path}: results are written as .mp4, .mov, .webm, .gif, .png, .jpg or into a folder (a name without "
                f"suffix), but the name ends in {suffix!r}; choose one of these"
            )
        if suffix and os.path.isdir(path):
            raise InputError(f"{path}: is a folder; choose another name for the result")
        kind.check(self.path)
        self._kind = kind
        rate = Fraction(fps) if fps else None
        self._encoding = Encoding(dict(metadata or {}), rate, time_base, self._open_sound, keyframe_every, threads)
        self._audio_from = VideoReader(audio_from) if isinstance(audio_from, (str, Path)) else audio_from
        self._audio_start = audio_start
        self._sink: Sink | None = None
        self._part: Path | None = None
        self._held: tuple[np.ndarray, Fraction] | None = None  # waits for the next frame: only then its length is known
        self._origin = Fraction(0)  # the time of the first frame
        self._count = 0
        self._interval = self._length = 1 / (rate or Fraction(25))  # s; the last lasts as long as the one before

    def __enter__(self) -> VideoWriter:
        self._session = self._open_session()
        self._session.__enter__()
        return self

    def __exit__(self, *raised: Any) -> bool | None:
        return self._session.__exit__(*raised)

    @contextmanager
    def _open_session(self) -> Iterator[None]:
        with nullcontext(self.path) if self._kind.streams else atomic_output(self.path) as part:
            self._part = part
            try:
                yield
                self._finish(part)
            finally:
                if self._sink is not None:
                    with suppress(Exception):
                        self._sink.abandon()
                self._sink = self._part = self._held = None

    def write(self, image: np.ndarray, time: Fraction | None = None) -> None:
        """Add one frame.

        Args:
            image: (H, W, 3) uint8 RGB, all of one size.
            time: seconds, rising from frame to frame; the first is where the result starts. None: 1 / fps after the
                frame before.

        Raises:
            InputError: it cannot be written (full disk, size that the format cannot hold, ...).
            ValueError: shape or type of the picture, or order of times.
        """
        if self._part is None:
            raise ValueError("write() outside of `with VideoWriter(...)`")
        check_image(image)
        if self._held is not None and self._kind is PictureSink:
            raise InputError(
                f"{self.path}: holds one picture, but there is more than one frame; give a folder name (without "
                "suffix) for PNG frames, or a name such as result.mp4"
            )
        if self._held is not None and image.shape != self._held[0].shape:
            raise ValueError(f"frame {self._count} has shape {image.shape}, the first has {self._held[0].shape}")
        if time is None:
            time = self._origin + self._count * self._interval
        if self._held is None:
            self._origin = time
        else:
            if time <= self._held[1]:
                raise ValueError(f"frame {self._count} at {time} s does not follow the one at {self._held[1]} s")
            self._length = time - self._held[1]
            if not self._kind.streams:
                self._emit(self._part, *self._held)
        self._held = image, time
        if self._kind.streams:
            self._emit(self._part, image, time)
        self._count += 1

    def _emit(self, part: Path, image: np.ndarray, time: Fraction) -> Sink:
        with self._explained(image.shape):
            if self._sink is None:
                if self._audio_from is not None and self._audio_from.has_audio and not self._kind.holds_sound:
                    self.warnings.append(f"{self.path}: this kind of file holds no sound, so the sound was left out")
                self._sink = self._kind(part, (image.shape[1], image.shape[0]), self._encoding)
            self._sink.add(image, time - self._origin, self._length)
        return self._sink

    def _open_sound(self) -> Sound | None:
        start = self._origin if self._audio_start is None else self._audio_start
        source = self._audio_from
        return Sound.open(source, start, self.warnings) if source and source.has_audio else None

    def _finish(self, part: Path) -> None:
        if self._held is None:
            raise InputError(f"{self.path}: not written, since there was no frame to write; check the input video")
        image, time = self._held
        sink = self._sink if self._kind.streams else None
        sink = sink or self._emit(part, image, time)
        with self._explained(image.shape):
            sink.finish(time - self._origin + self._length)

    @contextmanager
    def _explained(self, shape: tuple[int, ...]) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError as error:
            raise BrokenPipeError(errno.EPIPE, "whoever read the frames has gone", str(self.path)) from error
        except (OverflowError, av.PatchWelcomeError) as error:  # the second is how FFmpeg's mp4 says it
            raise InputError(
                f"{self.path}: cannot be written, since frame times that far apart or that near to each other are more "
                "than this kind of file holds; correct the times in what is animated"
            ) from error
        except av.FFmpegError as error:
            hint = "free some space or choose another place or kind of file"
            if self._sink is None and not isinstance(error, OSError):  # the encoder did not even open
                hint = f"frames are {shape[1]}x{shape[0]}, which this kind of file may not hold; choose another size"
            raise InputError(f"{self.path}: cannot be written ({error.strerror}); {hint}") from error
