"""Where written frames go: FFmpeg's encoders, gif, a folder of pictures, one picture."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.video.reformatter import Colorspace, VideoReformatter

from fomm.errors import InputError
from fomm.video.decoding import SCALING
from fomm.video.pictures import TIMES_NAME, save_picture, xmp_packet
from fomm.video.sound import Sound

MAX_VIDEO_PIXELS = 139_264 * 16 * 16
"""Of a frame: what the highest level of H.264 allows (6.2; VP9's is the same), so more than any player must take."""
LOOKAHEAD_PIXELS = 40 * 3840 * 2160  # the encoder sees no more at once: larger frames would take gigabytes

# A clock on which the usual ones fall exactly: 1/1000 (webm), 1/90000 (MPEG), 1/600 (phones), 1/15360 and 1/12800
# (FFmpeg's mp4), 1/24000, 1/30000 and 1/60000 (NTSC rates).
_FINE_CLOCK = Fraction(1, 5_760_000)


@dataclass(frozen=True)
class Encoding:
    """How frames are to be stored, as `VideoWriter` says; each kind of file takes what it can hold."""

    metadata: Mapping[str, str]
    fps: Fraction | None
    clock: Fraction | None
    open_sound: Callable[[], Sound | None]
    keyframe_every: int | None
    threads: int


class Sink:
    """Where frames go. Calls: add() for each frame, finish() at the end, abandon() always."""

    holds_sound = False
    streams = False  # to another program, which gets each frame at once; no file is there in the end

    @classmethod
    def check(cls, path: Path) -> None:
        """Raises InputError where it cannot be written, as far as that is known before the first frame."""

    def __init__(self, path: Path, size: tuple[int, int], encoding: Encoding) -> None:
        self.path, self.size, self.metadata = path, size, encoding.metadata

    def add(self, image: np.ndarray, time: Fraction, length: Fraction) -> None:
        raise NotImplementedError

    def finish(self, end: Fraction) -> None: ...

    def abandon(self) -> None: ...


class PictureSink(Sink):
    """A single .png or .jpg."""

    def add(self, image: np.ndarray, time: Fraction, length: Fraction) -> None:
        save_picture(self.path, image, self.metadata)


class _FolderSink(Sink):
    """000000.png, 000001.png, ... and their times."""

    @classmethod
    def check(cls, path: Path) -> None:
        """A folder of frames may replace an older one, but never a folder with anything else in it."""
        if not path.name:
            raise InputError(f"{path}: this folder cannot be replaced; give a new folder's name or one like result.mp4")
        if os.path.isfile(path):
            raise InputError(
                f"{path}: is a file, but a name without suffix means a folder of frames; choose another name for the "
                "result, or one such as result.mp4"
            )
        if os.path.isdir(path):
            others = [f.name for f in path.iterdir() if not re.fullmatch(rf"\d{{6}}\.png|{TIMES_NAME}", f.name)]
            if others:
                raise InputError(
                    f"{path}: this folder holds other files ({sorted(others)[0]}); frames would replace it, so give "
                    "the name of a new folder, or a file name such as result.mp4"
                )

    def __init__(self, path: Path, size: tuple[int, int], encoding: Encoding) -> None:
        super().__init__(path, size, encoding)
        path.mkdir()
        self.times = open(path / TIMES_NAME, "w")
        self.count = 0

    def add(self, image: np.ndarray, time: Fraction, length: Fraction) -> None:
        save_picture(self.path / f"{self.count:06d}.png", image, self.metadata)
        self.times.write(f"{time}\n")
        self.count += 1

    def finish(self, end: Fraction) -> None:
        self.times.close()

    def abandon(self) -> None:
        self.times.close()


class _GifSink(Sink):
    """An endless gif with a palette for each frame."""

    def __init__(self, path: Path, size: tuple[int, int], encoding: Encoding) -> None:
        super().__init__(path, size, encoding)
        self.container = av.open(_as_file(path), "w", format="gif", container_options={"loop": "0"})
        self.stream = self.container.add_stream("gif", rate=100)
        self.stream.width, self.stream.height = size
        self.stream.pix_fmt = "pal8"
        self.stream.codec_context.time_base = self.stream.time_base = Fraction(1, 100)
        self.graph = av.filter.Graph()
        source = self.graph.add_buffer(
            width=size[0], height=size[1], format=av.VideoFormat("rgb24"), time_base=Fraction(1, 100)
        )
        split = self.graph.add("split")
        palette = self.graph.add("palettegen", "stats_mode=single")
        use = self.graph.add("paletteuse", "new=1:dither=sierra2_4a")
        self.graph.link_nodes(source, split, palette)
        split.link_to(use, 1, 0)
        palette.link_to(use, 0, 1)
        self.graph.link_nodes(use, self.graph.add("buffersink")).configure()
        self.last = -2

    def add(self, image: np.ndarray, time: Fraction, length: Fraction) -> None:
        tick = round(time * 100)
        if tick < self.last + 2:
            return
        frame = av.VideoFrame.from_ndarray(image, "rgb24")
        frame.pts, frame.time_base, frame.duration = tick, Fraction(1, 100), max(2, round(length * 100))
        self.last = tick
        self.graph.vpush(frame)
        self._drain()

    def _drain(self) -> None:
        while True:
            try:
                frame = self.graph.vpull()
            except (av.BlockingIOError, av.EOFError):
                return
            self.container.mux(self.stream.encode(frame))

    def finish(self, end: Fraction) -> None:
        self.graph.vpush(None)
        self._drain()
        self.container.mux(self.stream.encode(None))
        self.container.close()
        _tag_gif(self.path, self.metadata)

    def abandon(self) -> None:
        self.container.close()


def _tag_gif(path: Path, metadata: Mapping[str, str]) -> None:
    """Put a comment and an XMP packet behind the header of a gif: FFmpeg writes neither."""
    if not metadata:
        return
    content = path.read_bytes()
    head = 13 + (3 << (content[10] & 7) + 1 if content[10] & 0x80 else 0)  # screen descriptor and global palette
    text = "\n".join(f"{key}: {value}" for key, value in metadata.items()).encode()
    blocks = b"".join(bytes([len(text[i : i + 255])]) + text[i : i + 255] for i in range(0, len(text), 255))
    comment = b"\x21\xfe" + blocks + b"\0"
    # The "magic trailer" lets readers that walk sub-blocks skip a packet that has none (XMP part 3, section 1.1.2).
    xmp = b"\x21\xff\x0bXMP DataXMP" + xmp_packet(metadata) + bytes([1, *range(255, -1, -1), 0])
    path.write_bytes(content[:head] + comment + xmp + content[head:])


class Yuv420:
    """Pictures (H, W, 3) uint8 RGB of one size (width, height) as FFmpeg's frames in yuv420p, limited range.

    The sides of those, `size`, are the next multiples; the last column or row is repeated.
    """

    def __init__(self, size: tuple[int, int], colorspace: Colorspace, multiple: int = 2) -> None:
        self.size = -(-size[0] // multiple) * multiple, -(-size[1] // multiple) * multiple
        self._extra = self.size[0] - size[0], self.size[1] - size[1]
        self._colorspace, self._reformatter = colorspace, VideoReformatter()

    def __call__(self, image: np.ndarray) -> av.VideoFrame:
        if any(self._extra):
            image = np.pad(image, ((0, self._extra[1]), (0, self._extra[0]), (0, 0)), mode="edge")
        return self._reformatter.reformat(
            av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24"),
            format="yuv420p",
            dst_colorspace=self._colorspace,
            src_color_range="JPEG",
            dst_color_range="MPEG",
            interpolation=SCALING,
            threads=1,
        )


class _ContainerSink(Sink):
    """mp4, mov and webm: video by FFmpeg's encoders, with sound."""

    holds_sound = True

    def __init__(self, path: Path, size: tuple[int, int], encoding: Encoding) -> None:
        super().__init__(path, size, encoding)
        fps, keyframe_every = encoding.fps, encoding.keyframe_every
        self.kind = path.suffix.lower()[1:]
        self.sound: Sound | None = None
        webm = self.kind == "webm"
        # use_metadata_tags: keep keys such as DigitalSourceType, which mp4's fixed list of tags would drop.
        # bitexact: no random identifiers in a webm; equal calls write equal bytes.
        options = {"fflags": "+bitexact"} if webm else {"movflags": "+faststart+use_metadata_tags"}
        self.container = av.open(_as_file(path), "w", format=self.kind, container_options=options)
        self.container.metadata.update(self.metadata)
        self.clock = Fraction(1, 1000) if webm else _clock_for(fps, encoding.clock)
        codec: Literal["libvpx-vp9", "libx264"]
        if webm:
            codec, settings = "libvpx-vp9", {"crf": "24", "b": "0", "cpu-used": "4"}
        else:
            # On short groups of pictures a slow preset gains next to nothing: at equal size and PSNR half the time.
            codec, settings = "libx264", {"crf": "18", "preset": "medium"}
            ahead = LOOKAHEAD_PIXELS // (size[0] * size[1])
            if ahead < 40:  # the preset's
                settings["rc-lookahead"] = str(ahead)
            if keyframe_every and keyframe_every <= 12:
                settings = {"crf": "17", "preset": "veryfast"}
        # VP9 takes no more frames per second than its clock has ticks.
        rate = min(fps or Fraction(30), 1 / self.clock).limit_denominator(2**16)
        stream = self.container.add_stream(codec, rate=rate, options=settings)
        self.convert = Yuv420(size, Colorspace.ITU709, 1 if webm else 2)
        stream.width, stream.height = self.convert.size
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = stream.time_base = self.clock
        context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709
        context.color_range = 1  # limited
        context.thread_type, context.thread_count = "AUTO", encoding.threads
        if keyframe_every:
            context.gop_size = keyframe_every
        self.stream = stream
        self.last = -1
        self.sound = encoding.open_sound()
        if self.sound is not None:
            self.sound.attach(self.container, self.kind)
        self.container.start_encoding()

    def add(self, image: np.ndarray, time: Fraction, length: Fraction) -> None:
        tick = round(time / self.clock)
        if tick <= self.last:
            return
        self.last = tick
        frame = self.convert(image)
        frame.pts, frame.time_base = tick, self.clock
        frame.duration = max(1, round((time + length) / self.clock) - tick)
        self.container.mux(self.stream.encode(frame))
        if self.sound is not None:
            self.sound.play_until(time)

    def finish(self, end: Fraction) -> None:
        self.container.mux(self.stream.encode(None))
        if self.sound is not None:
            self.sound.play_until(end)
            self.sound.finish()
        self.container.close()
        if self.metadata and self.kind in ("mp4", "mov"):
            # A top-level box at the end: XMP as its specification places it in MP4 (part 3, section 1.1.4).
            packet = bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + xmp_packet(self.metadata)
            with open(self.path, "ab") as file:
                file.write((8 + len(packet)).to_bytes(4, "big") + b"uuid" + packet)

    def abandon(self) -> None:
        if self.sound is not None:
            self.sound.close()
        self.container.close()


SINKS: dict[str, type[Sink]] = {
    ".mp4": _ContainerSink,
    ".mov": _ContainerSink,
    ".webm": _ContainerSink,
    ".gif": _GifSink,
    ".png": PictureSink,
    ".jpg": PictureSink,
    ".jpeg": PictureSink,
    "": _FolderSink,
}


def _clock_for(fps: Fraction | None, wanted: Fraction | None) -> Fraction:
    """The clock that is wanted, if containers can hold it; else one that holds every usual one and that of `fps`."""
    if wanted and max(wanted.numerator, wanted.denominator) < 2**31:
        return wanted
    fine = math.lcm(_FINE_CLOCK.denominator, fps.numerator) if fps else _FINE_CLOCK.denominator
    return Fraction(1, fine) if fine < 2**31 else _FINE_CLOCK


def _as_file(path: Path) -> str:
    """A name that FFmpeg cannot take for an address, as it would a relative `a:b.mp4`."""
    return os.path.abspath(path)
