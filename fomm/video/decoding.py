"""FFmpeg's side of reading: an open container, its decoded frames, and their pixels as they are meant to be seen.

FFmpeg gets an open file and a short list of formats, never a name, so that neither an address nor a playlist can make
it open something else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import Colorspace, VideoReformatter

from fomm.errors import InputError
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


def video_stream(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    if not streams:
        what = "only sound" if container.streams.audio else "no video"
        raise InputError(f"{path}: holds {what}, no moving picture; give a video file")
    known = [s for s in streams if s.codec_context is not None]
    if not known:
        raise InputError(f"{path}: its video is of a kind that FFmpeg does not know; convert it to H.264")
    return max(known, key=lambda s: (s.codec_context.width or 0) * (s.codec_context.height or 0))


def clock(timed: av.VideoStream | av.AudioStream | av.AudioFrame) -> Fraction:
    """The unit of the time stamps of a stream or a frame, in seconds."""
    assert timed.time_base is not None, "FFmpeg gives one to every stream of an open file, and to what comes from it"
    return timed.time_base


class Damage:
    """What a decoding loop met: packets that could not be decoded, and the latest time in the file (seconds)."""

    def __init__(self) -> None:
        self.errors = 0
        self.last_seen = Fraction(0)


def decoded(container: av.container.InputContainer, stream: av.VideoStream, damage: Damage) -> Iterator[av.VideoFrame]:
    """Frames that can be decoded; what cannot is counted and left out."""
    packets = container.demux()  # sound and subtitles too: they show how much of the file is there
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            damage.errors += 1
            packet = None
        if packet is None:
            break
        if packet.pts is not None:
            end = (packet.pts + (packet.duration or 0)) * packet.time_base
            damage.last_seen = max(damage.last_seen, end)
        if packet.stream is not stream or not packet.size:
            continue
        try:
            yield from stream.decode(packet)
        except av.FFmpegError:
            damage.errors += 1
    with suppress(av.FFmpegError):
        yield from stream.decode(None)


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
            graph = av.filter.Graph()
            source = graph.add_buffer(
                width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 25)
            )
            crop = graph.add("crop", f"{right - left}:{bottom - top}:{left}:{top}")
            source.link_to(crop)
            crop.link_to(graph.add("buffersink"))
            graph.configure()
            self._cutters[box_xyxy] = graph
        self._cutters[box_xyxy].vpush(frame)
        return self._cutters[box_xyxy].vpull()

    def _to_rgb(self, frame: av.VideoFrame, size: tuple[int, int], like: av.VideoFrame | None = None) -> np.ndarray:
        """(H, W, 3) uint8, as stored; `like`: the whole frame of which this is a part."""
        like = like or frame
        alpha = any(component.is_alpha for component in frame.format.components)
        # Files without a colour tag: players take BT.709 for HD sizes, BT.601 (swscale's default) for smaller ones.
        untagged_hd = like.colorspace == 2 and min(like.width, like.height) >= 720
        if size not in self._reformatters:  # one is slow when sizes change
            if len(self._reformatters) >= _KEPT:
                self._reformatters.clear()
            self._reformatters[size] = VideoReformatter()
        rgb = (
            self._reformatters[size]
            .reformat(
                frame,
                *size,
                format="rgba" if alpha else "rgb24",
                src_colorspace=Colorspace.ITU709 if untagged_hd else None,
                dst_color_range="JPEG",
                interpolation=SCALING,
                threads=1,
            )
            .to_ndarray()
        )
        return on_white(rgb) if alpha else rgb

    def thumbnail(self, frame: av.VideoFrame, side: int) -> np.ndarray:
        """(side, side, 3) uint8 RGB, upright but squeezed: to compare frames, for a tenth of the time."""
        self._settled(frame)
        small = self._small.reformat(frame, side, side, format="rgb24", interpolation=0x20, threads=1)  # averages areas
        return _oriented(small.to_ndarray(), self._matrix)

    def _settled(self, frame: av.VideoFrame) -> tuple[int, int]:
        """Width and height of all pictures, as stored: those of the first frame, in square pixels."""
        if self._size is None:
            self._size = max(1, round(frame.width * self._aspect)), frame.height
            self._matrix = _display_matrix(frame)
        return self._size


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
