"""FFmpeg's side of reading: an open container, its decoded frames, and their pixels as they are meant to be seen.

FFmpeg gets an open file and a short list of formats, never a name, so that neither an address nor a playlist can make
it open something else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import Colorspace, VideoReformatter

from fomm.errors import InputError
from fomm.video.colour import UNSPECIFIED, to_srgb
from fomm.video.pictures import looks_like, on_white

_FFMPEG_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,asf,mpegts,mpeg,mpegvideo,mxf,nut,ogg,ivf,dv,yuv4mpegpipe,"
    "h264,hevc,m4v"
)
# swscale's default shifts chroma by up to half a pixel; these flags cut the round-trip error from 2.6 to 0.4 of 255:
# bicubic, accurate rounding, full chroma in and out. As numbers, since PyAV 17 (Python 3.10) does not name them all.
SCALING = 0x4 | 0x40000 | 0x2000 | 0x4000
_MARGIN = 8  # pixels around a part of a frame: what interpolation of its colours reaches
_CUT_FORMATS = ("yuv420p", "yuvj420p", "yuv420p10le", "yuv422p", "yuv444p")
_KEPT = 16  # converters for so many sizes and parts of frames
_AVERAGING = 0x20  # over the area that becomes a pixel


def _refuse_to_open(url: str, *_: object) -> object:
    raise PermissionError(f"{url}: videos that open other files are not read")


@contextmanager
def opened_container(path: Path) -> Iterator[av.container.InputContainer]:
    """FFmpeg's demuxer on one local file, unable to open anything else."""
    with open(path, "rb") as file:
        try:
            container = av.open(
                file,
                "r",
                metadata_errors="replace",
                container_options={"format_whitelist": _FFMPEG_FORMATS},
                io_open=_refuse_to_open,
            )
        except (av.FFmpegError, PermissionError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(
                f"{path}: cannot be read as a video ({looks_like(path)}: {reason}); use a whole mp4, mov, webm or gif "
                "file, not a playlist"
            ) from error
        with container:
            yield container


def clock(timed: av.VideoStream | av.AudioStream | av.AudioFrame) -> Fraction:
    """The unit of the time stamps of a stream or a frame, in seconds."""
    assert timed.time_base is not None, "FFmpeg gives one to every stream of an open file, and to what comes from it"
    return timed.time_base


@dataclass
class Findings:
    """What a decoding loop met."""

    errors: int = 0  # packets that could not be decoded
    last_seen: Fraction = Fraction(0)  # the latest time in the file, s
    interlaced: bool = False


def decoded(
    container: av.container.InputContainer, stream: av.VideoStream, findings: Findings
) -> Iterator[av.VideoFrame]:
    """Frames that can be decoded, whole pictures each; what cannot is counted and left out."""
    return _deinterlaced(_as_stored(container, stream, findings), clock(stream), findings)


def _as_stored(
    container: av.container.InputContainer, stream: av.VideoStream, findings: Findings
) -> Iterator[av.VideoFrame]:
    packets = container.demux()  # sound and subtitles too: they show how much of the file is there
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            findings.errors += 1
            packet = None
        if packet is None:
            break
        if packet.pts is not None:
            end = (packet.pts + (packet.duration or 0)) * packet.time_base
            findings.last_seen = max(findings.last_seen, end)
        if packet.stream is not stream or not packet.size:
            continue
        try:
            yield from stream.decode(packet)
        except av.FFmpegError:
            findings.errors += 1
    with suppress(av.FFmpegError):
        yield from stream.decode(None)


def _deinterlaced(frames: Iterator[av.VideoFrame], time_base: Fraction, findings: Findings) -> Iterator[av.VideoFrame]:
    """One picture for each frame, at its time. Those that hold two half pictures are completed from their neighbours.

    What is made of a frame depends on the one before: whoever begins in the middle of such a video gets another first.
    """
    stamps: deque[int | None] = deque()
    graph, kind = None, None

    def ready() -> Iterator[av.VideoFrame]:
        with suppress(av.BlockingIOError, av.EOFError):
            while graph is not None:
                frame = graph.vpull()
                frame.pts, frame.time_base = stamps.popleft(), time_base  # the filter has a clock of its own
                yield frame

    for frame in frames:
        if graph is None and not frame.interlaced_frame:
            yield frame
            continue
        findings.interlaced = True
        if graph is None or kind != (frame.width, frame.height, frame.format.name):
            if graph is not None:
                graph.vpush(None)
                yield from ready()
            kind = frame.width, frame.height, frame.format.name
            graph = _chain(frame, time_base, ("bwdif", "mode=send_frame:deint=interlaced"))
        stamps.append(frame.pts)
        graph.vpush(frame)
        yield from ready()
    if graph is not None:
        graph.vpush(None)
        yield from ready()


def _chain(like: av.VideoFrame, time_base: Fraction, filter: tuple[str, str]) -> av.filter.Graph:
    """A filter for frames like this one."""
    graph = av.filter.Graph()
    source = graph.add_buffer(width=like.width, height=like.height, format=like.format, time_base=time_base)
    graph.link_nodes(source, graph.add(*filter), graph.add("buffersink")).configure()
    return graph


class Converter:
    """Decoded frames of one stream -> (H, W, 3) uint8 RGB as displayed; later frames take the size of the first."""

    def __init__(self, stream: av.VideoStream) -> None:
        aspect = stream.sample_aspect_ratio or Fraction(1)
        self._aspect = aspect if Fraction(1, 8) <= aspect <= 8 else Fraction(1)  # else the header is broken
        self._size: tuple[int, int] | None = None
        self._matrix = (1, 0, 0, 1)
        self._reformatters: dict[tuple[int, int], VideoReformatter] = {}
        self._cutters: dict[tuple[int, int, int, int], av.filter.Graph] = {}
        self._small = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        return _oriented(self._to_rgb(frame, self._settled(frame)), self._matrix)

    def region(self, frame: av.VideoFrame, box_xyxy: tuple[int, int, int, int]) -> np.ndarray:
        """Part of the picture, (bottom - top, right - left, 3): of common formats only this part is converted."""
        size = self._settled(frame)
        left, top, right, bottom = box_xyxy
        stored = (frame.width, frame.height)
        if frame.format.name not in _CUT_FORMATS or size != stored or any(n % 2 for n in stored):
            return self(frame)[top:bottom, left:right]
        transposed, flip_y, flip_x = _turns(self._matrix)
        shown = stored[::-1] if transposed else stored
        if flip_x:
            left, right = shown[0] - right, shown[0] - left
        if flip_y:
            top, bottom = shown[1] - bottom, shown[1] - top
        if transposed:
            left, top, right, bottom = top, left, bottom, right
        x, y = max(0, left - _MARGIN) & ~1, max(0, top - _MARGIN) & ~1
        x_end, y_end = min(stored[0], (right + _MARGIN + 1) & ~1), min(stored[1], (bottom + _MARGIN + 1) & ~1)
        part = self._cut(frame, (x, y, x_end, y_end))
        rgb = self._to_rgb(part, (part.width, part.height), like=frame)
        return _oriented(rgb[top - y : bottom - y, left - x : right - x], self._matrix)

    def _cut(self, frame: av.VideoFrame, box_xyxy: tuple[int, int, int, int]) -> av.VideoFrame:
        """Part of a frame, with even corners, as a view of it."""
        left, top, right, bottom = box_xyxy
        if box_xyxy not in self._cutters:
            if len(self._cutters) >= _KEPT:
                self._cutters.clear()
            crop = "crop", f"{right - left}:{bottom - top}:{left}:{top}"
            self._cutters[box_xyxy] = _chain(frame, Fraction(1, 25), crop)
        self._cutters[box_xyxy].vpush(frame)
        return self._cutters[box_xyxy].vpull()

    def _to_rgb(self, frame: av.VideoFrame, size: tuple[int, int], like: av.VideoFrame | None = None) -> np.ndarray:
        """(H, W, 3) uint8, as stored; `like`: the whole frame of which this is a part."""
        if size not in self._reformatters:  # one is slow when sizes change
            if len(self._reformatters) >= _KEPT:
                self._reformatters.clear()
            self._reformatters[size] = VideoReformatter()
        return _to_srgb(frame, size, self._reformatters[size], SCALING, like or frame)

    def thumbnail(self, frame: av.VideoFrame, side: int) -> np.ndarray:
        """(side, side, 3) uint8 RGB, upright but squeezed: to compare frames, for a tenth of the time."""
        self._settled(frame)
        return _oriented(_to_srgb(frame, (side, side), self._small, _AVERAGING, frame), self._matrix)

    def _settled(self, frame: av.VideoFrame) -> tuple[int, int]:
        """Width and height of all pictures, as stored: those of the first frame, in square pixels."""
        if self._size is None:
            self._size = max(1, round(frame.width * self._aspect)), frame.height
            self._matrix = _display_matrix(frame)
        return self._size


def _to_srgb(
    frame: av.VideoFrame, size: tuple[int, int], reformatter: VideoReformatter, scaling: int, like: av.VideoFrame
) -> np.ndarray:
    """(H, W, 3) uint8, as stored; `like`: the whole frame of which this is a part."""
    convert = to_srgb(like.color_trc, like.color_primaries)
    alpha = any(component.is_alpha for component in frame.format.components)
    matrix = None
    if like.colorspace == UNSPECIFIED and convert:
        matrix = Colorspace.BT2020
    elif like.colorspace == UNSPECIFIED and min(like.width, like.height) >= 720:
        # Files without a colour tag: players take BT.709 for HD sizes, BT.601 (swscale's default) for smaller ones.
        matrix = Colorspace.ITU709
    deep = {False: "rgb48le", True: "rgba64le"}
    pixels = reformatter.reformat(
        frame,
        *size,
        format=deep[alpha] if convert else "rgba" if alpha else "rgb24",
        src_colorspace=matrix,
        dst_color_range="JPEG",
        interpolation=scaling,
        threads=1,
    ).to_ndarray()
    if convert:
        rgb = convert(pixels[..., :3])
        pixels = np.dstack([rgb, pixels[..., 3:].astype(np.uint16) >> 8]).astype(np.uint8) if alpha else rgb
    return on_white(pixels) if alpha else pixels


def _display_matrix(frame: av.VideoFrame) -> tuple[int, int, int, int]:
    """(a, b, c, d) of the display matrix: a stored step (x, y) is shown as (a x + c y, b x + d y)."""
    side_data: Any = frame.side_data  # PyAV's types know of motion vectors alone
    for side in side_data:
        if side.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = np.frombuffer(bytes(side), np.int32)[:5].tolist()
            return a, b, c, d
    return 1, 0, 0, 1


def _turns(matrix: tuple[int, int, int, int]) -> tuple[bool, bool, bool]:
    """Whether stored x runs along displayed y; whether the result is then turned upside down, and mirrored."""
    a, b, c, d = matrix
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return False, d < 0, a < 0
    return True, b < 0, c < 0


def _oriented(image: np.ndarray, matrix: tuple[int, int, int, int]) -> np.ndarray:
    """Turn and mirror by the display matrix, to the nearest quarter turn."""
    transposed, flip_y, flip_x = _turns(matrix)
    if transposed:
        image = image.transpose(1, 0, 2)
    return np.ascontiguousarray(image[:: -1 if flip_y else 1, :: -1 if flip_x else 1])
