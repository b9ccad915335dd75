"""FFmpeg's side of reading: an open container, its decoded frames, and their pixels as they are meant to be seen.

FFmpeg gets an open file and a short list of formats, never a name, so that neither an address nor a playlist can make
it open something else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from fomm.errors import InputError
from fomm.video.pictures import looks_like, on_white

_FFMPEG_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,asf,mpegts,mpeg,mpegvideo,mxf,nut,ogg,ivf,dv,yuv4mpegpipe,"
    "h264,hevc,m4v"
)
# swscale's default shifts chroma by up to half a pixel; these flags cut the round-trip error from 2.6 to 0.4 of 255:
# bicubic, accurate rounding, full chroma in and out. As numbers, since PyAV 17 (Python 3.10) does not name them all.
SCALING = 0x4 | 0x40000 | 0x2000 | 0x4000
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
            yield from packet.decode()
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
        self._reformatter = VideoReformatter()
        self._small = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        self._settle(frame)
        alpha = any(component.is_alpha for component in frame.format.components)
        # Files without a colour tag: players take BT.709 for HD sizes, BT.601 (swscale's default) for smaller ones.
        untagged_hd = frame.colorspace == 2 and min(frame.width, frame.height) >= 720
        rgb = self._reformatter.reformat(
            frame,
            *self._size,
            format="rgba" if alpha else "rgb24",
            src_colorspace="ITU709" if untagged_hd else None,
            dst_color_range="JPEG",
            interpolation=SCALING,
            threads=1,
        ).to_ndarray()
        return _oriented(on_white(rgb) if alpha else rgb, self._matrix)

    def thumbnail(self, frame: av.VideoFrame, side: int) -> np.ndarray:
        """(side, side, 3) uint8 RGB, upright but squeezed: to compare frames, for a tenth of the time."""
        self._settle(frame)
        small = self._small.reformat(frame, side, side, format="rgb24", interpolation=0x20, threads=1)  # averages areas
        return _oriented(small.to_ndarray(), self._matrix)

    def _settle(self, frame: av.VideoFrame) -> None:
        if self._size is None:
            self._size = max(1, round(frame.width * self._aspect)), frame.height
            self._matrix = _display_matrix(frame)


def _display_matrix(frame: av.VideoFrame) -> tuple[int, int, int, int]:
    """(a, b, c, d) of the display matrix: a stored step (x, y) is shown as (a x + c y, b x + d y)."""
    for side in frame.side_data.keys():
        if side.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = np.frombuffer(bytes(side), np.int32)[:5].tolist()
            return a, b, c, d
    return 1, 0, 0, 1


def _oriented(image: np.ndarray, matrix: tuple[int, int, int, int]) -> np.ndarray:
    """Turn and mirror by the display matrix, to the nearest quarter turn."""
    a, b, c, d = matrix
    if abs(a) + abs(d) >= abs(b) + abs(c):
        flip_y, flip_x = d < 0, a < 0
    else:
        image = image.transpose(1, 0, 2)  # stored x runs along displayed y
        flip_y, flip_x = b < 0, c < 0
    return np.ascontiguousarray(image[:: -1 if flip_y else 1, :: -1 if flip_x else 1])
