"""Which of several pictures and sounds in one file is meant: as players choose, or as asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import av
from av.stream import Disposition

from fomm.errors import InputError
from fomm.video.decoding import opened_container

Stream = TypeVar("Stream", av.VideoStream, av.AudioStream)

# Made for somebody in particular; nobody hears these unasked.
_ASIDE = Disposition.comment | Disposition.hearing_impaired | Disposition.visual_impaired | Disposition.dub
_PACKETS = 2000  # by then a moving picture has shown its second one


def video_streams(container: av.container.InputContainer, path: Path) -> list[av.VideoStream]:
    """Pictures that can be decoded, in the file's order; covers that say so are none. Raises InputError for none."""
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        what = "only sound" if container.streams.audio else "no video"
        raise InputError(f"{path}: holds {what}, no moving picture; give a video file")
    known = [s for s in streams if s.codec_context is not None]
    if not known:
        raise InputError(f"{path}: its video is of a kind that FFmpeg does not know; convert it to H.264")
    return known


def audio_streams(container: av.container.InputContainer) -> list[av.AudioStream]:
    """All sounds that can be decoded, in the file's order."""
    return [s for s in container.streams.audio if s.codec_context is not None]


def choose_video(container: av.container.InputContainer, path: Path, number: int | None = None) -> av.VideoStream:
    """The picture of this number, counted from 1; else of those that move the one flagged as default, else the largest.

    A cover may lack its flag: containers lose it.
    """
    streams = video_streams(container, path)
    if number is not None or len(streams) == 1:
        return _numbered(streams, number, path, "video")
    moving = _moving(path, *version(path))
    return max(
        streams,
        key=lambda s: (
            s.index in moving,
            bool(s.disposition & Disposition.default),
            (s.codec_context.width or 0) * (s.codec_context.height or 0),
        ),
    )


def choose_audio(
    container: av.container.InputContainer, path: Path, number: int | None = None
) -> av.AudioStream | None:
    """The sound of this number, counted from 1; else the one flagged as default, else the first for everybody."""
    streams = audio_streams(container)
    if number is not None or len(streams) == 1:
        return _numbered(streams, number, path, "audio")
    return max(
        streams, key=lambda s: (bool(s.disposition & Disposition.default), not s.disposition & _ASIDE), default=None
    )


def choices(
    path: Path, streams: Sequence[av.VideoStream | av.AudioStream], chosen: av.VideoStream | av.AudioStream
) -> list[str]:
    """A sentence that lists them; none where there is no choice."""
    if len(streams) < 2:
        return []
    kind, what = ("video", "pictures") if isinstance(chosen, av.VideoStream) else ("audio", "sounds")
    used = [stream.index for stream in streams].index(chosen.index) + 1
    return [f"{path}: holds {len(streams)} {what} ({_listed(streams)}); {used} is used, --{kind}_stream takes another"]


def _numbered(streams: Sequence[Stream], number: int | None, path: Path, kind: str) -> Stream:
    if number is not None and not 1 <= number <= len(streams):
        there = _listed(streams) or "none"
        raise InputError(f"{path}: --{kind}_stream {number}: there is no such {kind} stream; there are {there}")
    return streams[(number or 1) - 1]


def _listed(streams: Sequence[av.VideoStream | av.AudioStream]) -> str:
    return "; ".join(f"{number}: {_described(stream)}" for number, stream in enumerate(streams, 1))


def _described(stream: av.VideoStream | av.AudioStream) -> str:
    if isinstance(stream, av.VideoStream):
        size = f"{stream.codec_context.width}x{stream.codec_context.height}"
    else:
        size = f"{stream.codec_context.channels} channels"
    words = [stream.codec_context.name, size, stream.language, stream.metadata.get("title")]
    words += [flag.name for flag in Disposition if flag & stream.disposition]
    return " ".join(word for word in words if word)


def version(path: Path) -> tuple[int, int]:
    """Changes when the file does."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=4096)
def _moving(path: Path, mtime_ns: int, size: int) -> frozenset[int]:
    """Indices of the video streams that have more than one picture."""
    seen: Counter[int] = Counter()
    with opened_container(path) as container, suppress(av.FFmpegError):
        streams = video_streams(container, path)
        for count, packet in enumerate(container.demux(streams)):
            seen[packet.stream.index] += bool(packet.size)
            if count > _PACKETS or all(seen[stream.index] > 1 for stream in streams):
                break
    return frozenset(index for index, pictures in seen.items() if pictures > 1)
