"""Videos, folders of pictures and single pictures as streams of frames; some frames of a clip by number."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from PIL import Image

from fomm.errors import InputError
from fomm.numbers import exact_number
from fomm.video.decoding import Converter, Findings, clock, decoded, opened_container
from fomm.video.pictures import (
    TIMES_NAME,
    frame_files,
    is_picture,
    local_file,
    opened_picture,
    pillow_to_rgb,
    read_image,
)
from fomm.video.streams import audio_streams, choices, choose_audio, choose_video, version, video_streams

VIDEO_SUFFIXES = tuple(".mp4 .mov .m4v .webm .mkv .avi .mpg .mpeg .ts .wmv .flv .3gp .gif".split())
"""By which videos are known in folders; whatever FFmpeg reads can be named itself."""

_ANIMATED_FORMATS = ("GIF", "PNG", "WEBP", "AVIF")  # a second picture in the others is a page or a preview


class Frame(NamedTuple):
    """One picture of a video."""

    image: np.ndarray  # (H, W, 3) uint8 RGB, upright, square pixels
    time: Fraction  # seconds from the first frame


class LazyFrame:
    """One picture of a video that is converted only as far as it is looked at.

    Decoding is cheap beside the conversion to RGB, so whoever looks at every fifth frame saves most of the time.
    """

    spoilt = False  # the decoder met errors, here or in what this picture is made from, and filled the gaps

    def __init__(self, to_rgb: Callable[[], np.ndarray], time: Fraction) -> None:
        self._to_rgb = to_rgb
        self.time = time  # seconds from the first frame

    @property
    def image(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB, upright, square pixels; converted at each access."""
        return self._to_rgb()

    def thumbnail(self, side: int) -> np.ndarray:
        """The whole picture squeezed to (side, side, 3) uint8 RGB, upright: to compare frames."""
        return np.asarray(Image.fromarray(self._to_rgb()).resize((side, side), Image.Resampling.BOX))

    def region(self, box_xyxy: tuple[int, int, int, int]) -> np.ndarray:
        """Part of `image`: `image[top:bottom, left:right]`, in less time."""
        left, top, right, bottom = box_xyxy
        return self._to_rgb()[top:bottom, left:right]


class _Decoded(LazyFrame):
    """A frame that FFmpeg decoded."""

    def __init__(self, frame: av.VideoFrame, convert: Converter, time: Fraction) -> None:
        super().__init__(partial(convert, frame), time)
        self._frame, self._convert = frame, convert

    def thumbnail(self, side: int) -> np.ndarray:
        return self._convert.thumbnail(self._frame, side)

    def region(self, box_xyxy: tuple[int, int, int, int]) -> np.ndarray:
        return self._convert.region(self._frame, box_xyxy)


class VideoReader:
    """A video as a stream of frames: mp4, mov, webm and the like, gif, a folder of pictures, or one picture.

    Iterating opens the file again each time, decodes it in order, and closes it; nothing stays open in between, so
    a reader may be iterated again, or by two threads at once. Use as a context manager if you like.

    Attributes:
        path: what was opened.
        width, height: size as displayed, in pixels (rotation and sample aspect applied).
        fps: average frames per second by the header; None where the header has none (browser recordings, gif).
        frame_count: frames that the header promises, an estimate; None where it promises nothing.
        duration: seconds that the header promises; None where it promises nothing.
        time_base: the clock on which all frame times fall exactly (None: not known); give it to a `VideoWriter`.
        start_time: the file's own time stamp of the first frame, in seconds (`Frame.time` counts from there).
        has_audio: whether there is sound.
        notes: which picture and which sound was taken, one line each where the file holds several.
        warnings: what went wrong while reading, one line each (a file cut off, for example). Filled by iterating.

    Args:
        path: a local file or folder.
        fps: frames per second of a folder of pictures that has no `times.txt` (which `VideoWriter` leaves there).
        threads: that decode; 0: as many as there are cores. One is best where many processes share them.
        video_stream, audio_stream: which picture and sound of a file that holds several, from 1. Default: as players
            choose, the one flagged as default; a still picture only where nothing moves, else the largest picture, and
            the first sound.

    Raises:
        InputError: missing, empty, not a video, no picture in it, no such stream, or not one frame of it can be read.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        fps: Fraction | int = 25,
        threads: int = 0,
        video_stream: int | None = None,
        audio_stream: int | None = None,
    ) -> None:
        self.path = Path(path)
        self._threads = threads
        self.video_stream, self.audio_stream = video_stream, audio_stream
        self.fps: Fraction | None = None
        self.frame_count: int | None = None
        self.duration: Fraction | None = None
        self.time_base: Fraction | None = None
        self.start_time = Fraction(0)
        self.has_audio = False
        self.warnings: list[str] = []
        self.notes: list[str] = []
        self._repaired_times = False
        self._decode: Callable[[], Iterator[LazyFrame]]  # each source sets it, and the attributes above
        if os.path.isdir(path):
            self._open_folder(Fraction(fps))
        else:
            local_file(path)
            if is_picture(self.path):
                self._open_picture()
            else:
                self._open_container()
        first = next(iter(self), None)
        if first is None:
            raise InputError(f"{self.path}: not one frame can be read; the file is broken, get a whole copy of it")
        self.height, self.width = first.image.shape[:2]
        self.warnings.clear()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()

    def frames(self, start: int = 0, stop: int | None = None, every: int = 1) -> Iterator[Frame]:
        """Frames number start, start + every, ... before stop. Frames between are decoded, not converted."""
        return (Frame(frame.image, frame.time) for frame in islice(self.lazy_frames(), start, stop, every))

    def lazy_frames(self, since: Fraction | None = None) -> Iterator[LazyFrame]:
        """All frames, for those who do not look at every one.

        Args:
            since: a time in seconds; frames before it may be left out, so that a late part of a long file is there at
                once. What is missing at the end of the file is then not noticed.
        """
        self.warnings.clear()
        if since is None or self._repaired_times or self._decode != self._decode_container:
            return self._decode()
        return self._decode_container(since)

    def _open_folder(self, fps: Fraction) -> None:
        files = frame_files(self.path)
        times = [index / fps for index in range(len(files))]
        if (self.path / TIMES_NAME).is_file():
            times = _read_times(self.path / TIMES_NAME, len(files))
        self.frame_count = len(files)
        self.time_base = Fraction(1, math.lcm(*(time.denominator for time in times)))
        if len(times) > 1:
            self.duration = times[-1] * len(times) / (len(times) - 1)
            self.fps = len(times) / self.duration
        else:
            self.fps, self.duration = fps, 1 / fps

        def decode() -> Iterator[LazyFrame]:
            shape = None
            for file, time in zip(files, times, strict=True):
                image = read_image(file)
                shape = shape or image.shape
                if image.shape != shape:
                    raise InputError(
                        f"{file}: is {image.shape[1]}x{image.shape[0]}, but the first frame of the folder is "
                        f"{shape[1]}x{shape[0]}; all frames of a folder need one size"
                    )
                yield LazyFrame(partial(np.asarray, image), time)

        self._decode = decode

    def _open_picture(self) -> None:
        with opened_picture(self.path) as picture:
            count = getattr(picture, "n_frames", 1) if picture.format in _ANIMATED_FORMATS else 1
        self.frame_count = count

        def decode() -> Iterator[LazyFrame]:
            time, read, size = Fraction(0), 0, None
            try:
                with opened_picture(self.path) as picture:
                    for index in range(count):
                        picture.seek(index)
                        picture.load()
                        size = size or picture.size
                        # Where a later picture of a GIF reaches beyond the first, Pillow makes it larger.
                        shown = picture if picture.size == size else picture.crop((0, 0, *size))
                        yield LazyFrame(partial(pillow_to_rgb, shown), time)
                        read += 1
                        # Pillow gives 100/3 ms as a float. Browsers show frames of 10 ms and less for 100 ms; so do we.
                        delay_ms = Fraction(picture.info.get("duration", 0)).limit_denominator(1000)
                        time += (delay_ms if delay_ms > 10 else Fraction(100)) / 1000
            except InputError:
                if not read:
                    raise
                self.warnings.append(f"{self.path}: the file is cut off: {read} of {count} frames could be read")

        self._decode = decode

    def _open_container(self) -> None:
        with opened_container(self.path) as container:
            stream = choose_video(container, self.path, self.video_stream)
            sound = choose_audio(container, self.path, self.audio_stream)
            self.notes += choices(self.path, video_streams(container, self.path), stream)
            if sound is not None:
                self.notes += choices(self.path, audio_streams(container), sound)
            self.time_base = stream.time_base
            self.fps = stream.average_rate or None
            self.has_audio = bool(container.streams.audio)
            if stream.duration:
                self.duration = stream.duration * clock(stream)
            elif container.duration:
                self.duration = Fraction(container.duration, av.time_base)
            if stream.frames:
                self.frame_count = stream.frames
            elif self.fps and self.duration:
                self.frame_count = round(self.fps * self.duration)
        self._decode = self._decode_container

    def _decode_container(self, since: Fraction = Fraction(0)) -> Iterator[LazyFrame]:
        with opened_container(self.path) as container:
            stream = choose_video(container, self.path, self.video_stream)
            stream.codec_context.thread_type, stream.codec_context.thread_count = "AUTO", self._threads
            offset = self._enter(container, stream, since)
            promised = Fraction(container.duration, av.time_base) if container.duration else None
            interval = 1 / (stream.average_rate or stream.guessed_rate or Fraction(25))
            convert = Converter(stream)
            entered = offset is not None
            tick = clock(stream)
            time = Fraction(-1)
            count = 0
            findings = Findings()
            spoilt = False
            for frame in decoded(container, stream, findings):
                stamp = time + interval if frame.pts is None else frame.pts * tick
                if offset is None:
                    offset = self.start_time = stamp
                # Stamps that stand still or jump back (joined streams) must not break the order of time.
                if count and stamp - offset <= time:
                    self._repaired_times = True
                    offset = stamp - time - interval
                time = stamp - offset
                count += 1
                spoilt = frame.is_corrupt or (spoilt and not frame.key_frame)
                picture = _Decoded(frame, convert, time)
                picture.spoilt = spoilt
                yield picture
            if entered:
                return
            # Some formats count the promised length from zero, some from the first frame.
            end = max(findings.last_seen, findings.last_seen - self.start_time)
            missing = promised is not None and end + max(Fraction(1, 2), 2 * interval) < promised
            if findings.errors or missing:
                frames = f"{count} of {self.frame_count}" if self.frame_count else f"{count}"
                seconds = f"{float(time + interval):.2f} s" + (f" of {float(promised):.2f} s" if promised else "")
                self.warnings.append(
                    f"{self.path}: the file is damaged or cut off: {frames} frames could be read ({seconds})"
                )

    def _enter(
        self, container: av.container.InputContainer, stream: av.VideoStream, since: Fraction
    ) -> Fraction | None:
        """Go to the key frame before `since`; the file's time stamp of the first frame, or None to read it all."""
        if since <= 0 or not container.format.name.startswith(("mov", "matroska")):
            return None
        with suppress(av.FFmpegError):
            target, tick = since + self.start_time, clock(stream)
            container.seek(int(target / tick), stream=stream, backward=True)
            findings = Findings()
            first = next(decoded(container, stream, findings), None)
            stamp = None if first is None else first.pts
            # the first picture of an interlaced video would differ
            if stamp is not None and stamp * tick <= target and not findings.interlaced:
                container.seek(stamp, stream=stream, backward=True)
                return self.start_time
        container.seek(0)
        return None


def _read_times(path: Path, count: int) -> list[Fraction]:
    try:
        times = [exact_number(line) for line in path.read_text().split()]
    except (ValueError, ZeroDivisionError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}; write one time in seconds per line, or delete the file") from error
    if len(times) != count or any(b <= a for a, b in zip(times, times[1:], strict=False)):
        raise InputError(
            f"{path}: needs {count} increasing times, one per picture, but has {len(times)}; correct or delete the file"
        )
    return [time - times[0] for time in times]


def read_frames(path: str | Path, indices: Sequence[int]) -> np.ndarray:
    """Read some frames of a clip by number, decoding only what that needs.

    The numbers count frames in the order in which `VideoReader` yields them. The positions of all frames are read
    once per file (and process) without decoding; after that, each call decodes from the key frame before each
    wanted frame. Fast for clips with short groups of pictures and for folders; correct for every file that is whole.

    Returns:
        (N, H, W, 3) uint8 RGB, in the order asked for; numbers may repeat.

    Raises:
        InputError: a number is negative or past the end, or the file cannot be read.
    """
    path = Path(path)
    wanted = sorted(set(indices))
    if not wanted:
        raise ValueError("read_frames needs at least one frame number")
    if wanted[0] < 0:
        raise InputError(f"{path}: frame {wanted[0]} asked for; frame numbers start at 0")
    if os.path.isdir(path):
        files = _folder_files(path, path.stat().st_mtime_ns)
        _check_index(path, wanted[-1], len(files))
        images = {index: read_image(files[index]) for index in wanted}
    elif is_picture(local_file(path)):
        images = _read_from_start(path, wanted)
    else:
        images = _read_container_frames(path, wanted)
    return np.stack([images[index] for index in indices])


def _check_index(path: Path, index: int, count: int) -> None:
    if index >= count:
        raise InputError(
            f"{path}: frame {index} asked for, but it has {count} frames; correct it, or the row of its manifest"
        )


@lru_cache(maxsize=100_000)
def _folder_files(path: Path, mtime_ns: int) -> list[Path]:
    return frame_files(path)


@lru_cache(maxsize=4096)
def _frame_stamps(path: Path, mtime_ns: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Stamps of all frames in display order, and those of the key frames, in ticks; nothing is decoded.

    Both are empty where packets cannot stand for frames: VP8 has packets that show nothing, and streams without an
    index may be joined from pieces whose stamps start again.
    """
    stamps, keys = [], []
    with opened_container(path) as container:
        stream = choose_video(container, path)
        if not container.format.name.startswith(("mov", "matroska")) or stream.codec_context.name.startswith("vp8"):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        with suppress(av.FFmpegError):  # damage: the table ends here, as reading does
            for packet in container.demux(stream):
                if packet.size and packet.pts is not None and not packet.is_discard:
                    stamps.append(packet.pts)
                    if packet.is_keyframe:
                        keys.append(packet.pts)
    return np.unique(stamps), np.unique(keys)


def _read_container_frames(path: Path, wanted: Sequence[int]) -> dict[int, np.ndarray]:
    stamps, keys = _frame_stamps(path, *version(path))
    if not len(stamps):
        return _read_from_start(path, wanted)
    _check_index(path, wanted[-1], len(stamps))
    images: dict[int, np.ndarray] = {}
    with opened_container(path) as container, suppress(av.FFmpegError):
        stream = choose_video(container, path)
        stream.thread_count = 1  # called from many worker processes, for a few small frames each
        convert, findings = Converter(stream), Findings()
        number_of = {int(stamps[index]): index for index in wanted}
        frames: Iterator[av.VideoFrame] = iter(())
        position = key_before = None
        for index in wanted:
            stamp = int(stamps[index])
            before = int(np.searchsorted(keys, stamp, side="right")) - 1
            key = int(keys[max(before, 0)]) if len(keys) else int(stamps[0])
            if position is None or key != key_before:
                container.seek(key, stream=stream, backward=True)
                frames, key_before = decoded(container, stream, findings), key
            for frame in frames:
                position = frame.pts
                if frame.pts in number_of:
                    images[number_of[frame.pts]] = convert(frame)
                if frame.pts is None or frame.pts >= stamp:
                    break
        if len(images) == len(wanted) and not findings.interlaced:
            return images
    # Seeking failed (no index, broken stamps), or what is made of a frame depends on the one before.
    return _read_from_start(path, wanted)


def _read_from_start(path: Path, wanted: Sequence[int]) -> dict[int, np.ndarray]:
    images, keep, count = {}, set(wanted), 0
    reader = VideoReader(path)
    for count, frame in enumerate(islice(reader.lazy_frames(), wanted[-1] + 1), start=1):
        if count - 1 in keep:
            images[count - 1] = frame.image
    _check_index(path, wanted[-1], count)
    return images
