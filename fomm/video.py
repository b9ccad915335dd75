"""Frames to and from files: one streaming reader, one streaming writer, and single pictures.

Conventions, used everywhere else too:
- a picture is (H, W, 3) uint8 RGB, upright, with square pixels: display rotation, EXIF orientation and sample aspect
  are already applied, transparency is composited on white;
- time is a `Fraction` of seconds counted from the first frame of the video, exact as the file stores it;
- memory does not grow with the length of a video: one frame is held at a time (the codecs hold a few more).

Only local files are opened. FFmpeg gets an open file and a short list of formats, never a name, so that neither an
address nor a playlist can make it open something else.
"""

from __future__ import annotations

import math
import os
import queue
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar
from xml.sax.saxutils import escape

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from PIL import Image, ImageOps, PngImagePlugin

from fomm.errors import InputError
from fomm.files import atomic_output

T = TypeVar("T")

# IPTC NewsCodes for "made by a trained model" (all of the picture, or part of it pasted into a photo). Pass one of
# the two addresses as metadata {DIGITAL_SOURCE_TYPE: ...} to a writer.
DIGITAL_SOURCE_TYPE = "DigitalSourceType"
SYNTHETIC = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
SYNTHETIC_COMPOSITE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".avif")
_PILLOW_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
_ANIMATED_FORMATS = ("GIF", "PNG", "WEBP", "AVIF")  # a second picture in the others is a page or a preview
_FFMPEG_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,asf,mpegts,mpeg,mpegvideo,mxf,nut,ogg,ivf,dv,yuv4mpegpipe,h264,hevc,m4v"
)
# swscale's default shifts chroma by up to half a pixel; these flags cut the round-trip error from 2.6 to 0.4 of 255.
_SCALING = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)
# A clock on which the usual ones fall exactly: 1/1000 (webm), 1/90000 (MPEG), 1/600 (phones), 1/15360 and 1/12800
# (FFmpeg's mp4), 1/24000, 1/30000 and 1/60000 (NTSC rates).
_FINE_CLOCK = Fraction(1, 5_760_000)
_TIMES_NAME = "times.txt"


class Frame(NamedTuple):
    """One picture of a video."""

    image: np.ndarray  # (H, W, 3) uint8 RGB, upright, square pixels
    time: Fraction  # seconds from the first frame


# --------------------------------------------------------------------------------------------------------- pictures


def read_image(path: str | Path) -> np.ndarray:
    """Read one picture as it is meant to be seen.

    EXIF orientation is applied, transparency is composited on white, grey, palette, CMYK and 16-bit pictures become
    8-bit RGB. Of an animation the first frame is returned.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InputError: the file is missing, empty, broken or not a picture.
    """
    path = _local_file(path)
    with _opened_picture(path) as picture:
        return _pillow_to_rgb(picture)


def write_image(path: str | Path, image: np.ndarray, metadata: Mapping[str, str] | None = None) -> None:
    """Write one picture, whole or not at all.

    Args:
        path: ends in .png (lossless) or .jpg / .jpeg (quality 95, full chroma).
        image: (H, W, 3) uint8 RGB.
        metadata: `DigitalSourceType`, `title` and `comment` go into an XMP packet (Iptc4xmpExt, dc:title,
            dc:description); a PNG also holds every entry as text.

    Raises:
        InputError: another suffix, or the place cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise InputError(f"{path}: pictures are written as .png or .jpg; choose such a name")
    _check_image(image)
    with atomic_output(path) as part:
        _save_picture(part, image, metadata or {})


def _save_picture(path: Path, image: np.ndarray, metadata: Mapping[str, str]) -> None:
    picture = Image.fromarray(image)
    packet = _xmp_packet(metadata)
    if path.suffix.lower() == ".png":
        texts = PngImagePlugin.PngInfo()
        for key, value in metadata.items():
            texts.add_itxt(key, value)
        if metadata:
            texts.add_itxt("XML:com.adobe.xmp", packet.decode())
        picture.save(path, format="PNG", pnginfo=texts, compress_level=4)
    else:
        picture.save(
            path,
            format="JPEG",
            quality=95,
            subsampling=0,
            xmp=packet if metadata else b"",
            comment=metadata.get("comment", ""),
        )


@contextmanager
def _opened_picture(path: Path) -> Iterator[Image.Image]:
    """Pillow's picture, its errors turned into one `InputError`."""
    try:
        with Image.open(path, formats=_PILLOW_FORMATS) as picture:
            yield picture
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: the picture is too large ({error}); make it smaller") from error
    except Image.UnidentifiedImageError as error:
        raise InputError(f"{path}: is not a picture ({_looks_like(path)}); use a PNG or JPEG file") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise InputError(f"{path}: the picture cannot be read ({error}); get a whole copy of it") from error


def _is_picture(path: Path) -> bool:
    with suppress(Image.UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError):
        with Image.open(path, formats=_PILLOW_FORMATS):
            return True
    return False


def _pillow_to_rgb(picture: Image.Image) -> np.ndarray:
    """The current frame of a Pillow picture as (H, W, 3) uint8 RGB, upright, on white."""
    upright = ImageOps.exif_transpose(picture)
    if upright.mode.startswith("I;16") or upright.mode in ("I", "F"):  # Pillow would clip these at 255
        values = np.asarray(upright, np.float64)
        top = 65535.0 if upright.mode != "F" else max(float(np.nanmax(values)), 1.0)
        grey = np.clip(np.nan_to_num(values) * (255 / top), 0, 255).round().astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if upright.has_transparency_data:
        return _on_white(np.asarray(upright.convert("RGBA")))
    return np.array(upright.convert("RGB"))


def _on_white(rgba: np.ndarray) -> np.ndarray:
    """(H, W, 4) uint8 with straight alpha -> (H, W, 3) uint8 over white."""
    alpha = rgba[..., 3:].astype(np.uint32)
    return ((rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _xmp_packet(metadata: Mapping[str, str]) -> bytes:
    """XMP packet with the fields that readers of pictures and videos know."""

    def text(tag: str, key: str) -> str:
        if key not in metadata:
            return ""
        return f'<{tag}><rdf:Alt><rdf:li xml:lang="x-default">{escape(metadata[key])}</rdf:li></rdf:Alt></{tag}>'

    source_type = metadata.get(DIGITAL_SOURCE_TYPE, "")
    tag = "Iptc4xmpExt:DigitalSourceType"
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
        + (f"<{tag}>{escape(source_type)}</{tag}>" if source_type else "")
        + text("dc:title", "title")
        + text("dc:description", "comment")
        + '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    ).encode()


# ----------------------------------------------------------------------------------------------------------- reading


class VideoReader:
    """A video as a stream of frames: mp4, mov, webm and the like, gif, a folder of pictures, or one picture.

    Iterating opens the file anew each time, decodes it in order, and closes it; nothing stays open in between, so
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
        warnings: what went wrong while reading, one line each (a file cut off, for example). Filled by iterating.

    Args:
        path: a local file or folder.
        fps: frames per second of a folder of pictures that has no `times.txt` (which `VideoWriter` leaves there).

    Raises:
        InputError: missing, empty, not a video, no picture in it, or not one frame of it can be read.
    """

    def __init__(self, path: str | Path, *, fps: Fraction | int = 25) -> None:
        self.path = Path(path)
        self.fps: Fraction | None = None
        self.frame_count: int | None = None
        self.duration: Fraction | None = None
        self.time_base: Fraction | None = None
        self.start_time = Fraction(0)
        self.has_audio = False
        self.warnings: list[str] = []
        if self.path.is_dir():
            self._open_folder(Fraction(fps))
        else:
            _local_file(path)
            if _is_picture(self.path):
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
        self.warnings.clear()
        return (Frame(to_rgb(), time) for to_rgb, time in islice(self._decode(), start, stop, every))

    # Each source sets the attributes above and `_decode`: () -> iterator of (convert: () -> image, time).

    def _open_folder(self, fps: Fraction) -> None:
        files = frame_files(self.path)
        times = [index / fps for index in range(len(files))]
        if (self.path / _TIMES_NAME).is_file():
            times = _read_times(self.path / _TIMES_NAME, len(files))
        self.frame_count = len(files)
        self.time_base = Fraction(1, math.lcm(*(time.denominator for time in times)))
        if len(times) > 1:
            self.duration = times[-1] * len(times) / (len(times) - 1)
            self.fps = len(times) / self.duration
        else:
            self.fps, self.duration = fps, 1 / fps

        def decode() -> Iterator[tuple]:
            shape = None
            for file, time in zip(files, times, strict=True):
                image = read_image(file)
                shape = shape or image.shape
                if image.shape != shape:
                    raise InputError(
                        f"{file}: is {image.shape[1]}x{image.shape[0]}, but the first frame of the folder is "
                        f"{shape[1]}x{shape[0]}; all frames of a folder need one size"
                    )
                yield (lambda image=image: image), time

        self._decode = decode

    def _open_picture(self) -> None:
        with _opened_picture(self.path) as picture:
            animated = picture.format in _ANIMATED_FORMATS and getattr(picture, "is_animated", False)
            self.frame_count = picture.n_frames if animated else 1
        self.time_base = Fraction(1, 1000)

        def decode() -> Iterator[tuple]:
            time, read = Fraction(0), 0
            try:
                with _opened_picture(self.path) as picture:
                    for index in range(self.frame_count):
                        picture.seek(index)
                        picture.load()
                        yield (lambda picture=picture: _pillow_to_rgb(picture)), time
                        read += 1
                        # Browsers show frames of 10 ms and less for 100 ms, and so do we.
                        delay_ms = Fraction(picture.info.get("duration", 0))
                        time += (delay_ms if delay_ms > 10 else 100) / 1000
            except InputError:
                if not read:
                    raise
                self.warnings.append(
                    f"{self.path}: the file is cut off: {read} of {self.frame_count} frames could be read"
                )

        self._decode = decode

    def _open_container(self) -> None:
        with _opened_container(self.path) as container:
            stream = _video_stream(container, self.path)
            self.time_base = stream.time_base
            self.fps = stream.average_rate or None
            self.has_audio = bool(container.streams.audio)
            if stream.duration:
                self.duration = stream.duration * stream.time_base
            elif container.duration:
                self.duration = Fraction(container.duration, av.time_base)
            if stream.frames:
                self.frame_count = stream.frames
            elif self.fps and self.duration:
                self.frame_count = round(self.fps * self.duration)
        self._decode = self._decode_container

    def _decode_container(self) -> Iterator[tuple]:
        with _opened_container(self.path) as container:
            stream = _video_stream(container, self.path)
            stream.thread_type = "AUTO"
            promised = Fraction(container.duration, av.time_base) if container.duration else None
            interval = 1 / (stream.average_rate or stream.guessed_rate or Fraction(25))
            convert = _Converter(stream)
            origin = offset = None
            time = Fraction(-1)
            count = 0
            damage = _Damage()
            for frame in _decoded(container, stream, damage):
                stamp = time + interval if frame.pts is None else frame.pts * stream.time_base
                if origin is None:
                    origin = offset = stamp
                    self.start_time = origin
                # Stamps that stand still or jump back (joined streams) must not break the order of time.
                if count and stamp - offset <= time:
                    offset = stamp - time - interval
                time = stamp - offset
                count += 1
                yield (lambda frame=frame: convert(frame)), time
            end = damage.last_seen - (origin or 0)
            missing = promised is not None and end + max(Fraction(1, 2), 2 * interval) < promised
            if damage.errors or missing:
                frames = f"{count} of {self.frame_count}" if self.frame_count else f"{count}"
                seconds = f"{float(time + interval):.2f} s" + (f" of {float(promised):.2f} s" if promised else "")
                self.warnings.append(
                    f"{self.path}: the file is damaged or cut off: {frames} frames could be read ({seconds})"
                )


def frame_files(folder: str | Path) -> list[Path]:
    """Pictures in a folder in natural order (frame2 before frame10); hidden files are left out.

    Raises:
        InputError: there are none.
    """
    files = [
        file
        for file in Path(folder).iterdir()
        if file.suffix.lower() in PICTURE_SUFFIXES and not file.name.startswith(".")
    ]
    if not files:
        raise InputError(f"{folder}: holds no pictures (.png, .jpg, ...); give a folder of frames or a video file")

    def natural(file: Path) -> list[tuple[int, str]]:
        return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", file.name.lower())]

    return sorted(files, key=natural)


def _read_times(path: Path, count: int) -> list[Fraction]:
    try:
        times = [Fraction(line) for line in path.read_text().split()]
    except (ValueError, ZeroDivisionError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}; write one time in seconds per line, or delete the file") from error
    if len(times) != count or any(b <= a for a, b in zip(times, times[1:], strict=False)):
        raise InputError(
            f"{path}: needs {count} rising times, one per picture, but has {len(times)}; correct or delete the file"
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
    if path.is_dir():
        files = frame_files(path)
        _check_index(path, wanted[-1], len(files))
        images = {index: read_image(files[index]) for index in wanted}
    elif _is_picture(_local_file(path)):
        images = _read_from_start(path, wanted)
    else:
        images = _read_container_frames(path, wanted)
    return np.stack([images[index] for index in indices])


def _check_index(path: Path, index: int, count: int) -> None:
    if index >= count:
        raise InputError(f"{path}: frame {index} asked for, but it has {count} frames; correct the frame numbers")


@lru_cache(maxsize=4096)
def _frame_stamps(path: Path, mtime_ns: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Stamps of all frames in display order, and those of the key frames, in ticks; nothing is decoded.

    Both are empty where packets cannot stand for frames: VP8 has packets that show nothing, and streams without an
    index may be joined from pieces whose stamps start again.
    """
    stamps, keys = [], []
    with _opened_container(path) as container:
        stream = _video_stream(container, path)
        if not container.format.name.startswith(("mov", "matroska")) or stream.codec_context.name.startswith("vp8"):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        for packet in container.demux(stream):
            if packet.size and packet.pts is not None and not packet.is_discard:
                stamps.append(packet.pts)
                if packet.is_keyframe:
                    keys.append(packet.pts)
    return np.unique(stamps), np.unique(keys)


def _read_container_frames(path: Path, wanted: Sequence[int]) -> dict[int, np.ndarray]:
    status = path.stat()
    stamps, keys = _frame_stamps(path, status.st_mtime_ns, status.st_size)
    if not len(stamps):
        return _read_from_start(path, wanted)
    _check_index(path, wanted[-1], len(stamps))
    images: dict[int, np.ndarray] = {}
    with _opened_container(path) as container:
        stream = _video_stream(container, path)
        stream.thread_count = 1  # called from many worker processes, for a few small frames each
        convert = _Converter(stream)
        number_of = {int(stamps[index]): index for index in wanted}
        frames: Iterator[av.VideoFrame] = iter(())
        position = key_before = None
        for index in wanted:
            stamp = int(stamps[index])
            key = int(keys[max(np.searchsorted(keys, stamp, side="right") - 1, 0)]) if len(keys) else int(stamps[0])
            if position is None or key != key_before:
                container.seek(key, stream=stream, backward=True)
                frames, key_before = _decoded(container, stream, _Damage()), key
            for frame in frames:
                position = frame.pts
                if frame.pts in number_of:
                    images[number_of[frame.pts]] = convert(frame)
                if frame.pts is None or frame.pts >= stamp:
                    break
        if len(images) == len(wanted):
            return images
    return _read_from_start(path, wanted)  # seeking failed: no index, or broken stamps


def _read_from_start(path: Path, wanted: Sequence[int]) -> dict[int, np.ndarray]:
    images, keep, count = {}, set(wanted), 0
    reader = VideoReader(path)
    for count, (convert, _) in enumerate(islice(reader._decode(), wanted[-1] + 1), start=1):
        if count - 1 in keep:
            images[count - 1] = convert()
    _check_index(path, wanted[-1], count)
    return images


class _Damage:
    """What a decoding loop met: packets that could not be decoded, and the latest time in the file (seconds)."""

    def __init__(self) -> None:
        self.errors = 0
        self.last_seen = Fraction(0)


def _decoded(
    container: av.container.InputContainer, stream: av.VideoStream, damage: _Damage
) -> Iterator[av.VideoFrame]:
    """Frames that can be decoded; what cannot is counted and left out."""
    audio = [each for each in container.streams.audio]
    packets = container.demux(stream, *audio)
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


class _Converter:
    """Decoded frames of one stream -> (H, W, 3) uint8 RGB as displayed; later frames take the size of the first."""

    def __init__(self, stream: av.VideoStream) -> None:
        aspect = stream.sample_aspect_ratio or Fraction(1)
        self._aspect = aspect if Fraction(1, 8) <= aspect <= 8 else Fraction(1)  # else the header is broken
        self._size: tuple[int, int] | None = None
        self._matrix = (1, 0, 0, 1)
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        if self._size is None:
            self._size = max(1, round(frame.width * self._aspect)), frame.height
            self._matrix = _display_matrix(frame)
        alpha = any(component.is_alpha for component in frame.format.components)
        # Files without a colour tag: players take BT.709 for HD sizes, BT.601 (swscale's default) for smaller ones.
        untagged_hd = frame.colorspace == 2 and min(frame.width, frame.height) >= 720
        rgb = self._reformatter.reformat(
            frame,
            *self._size,
            format="rgba" if alpha else "rgb24",
            src_colorspace="ITU709" if untagged_hd else None,
            dst_color_range="JPEG",
            interpolation=_SCALING,
            threads=1,
        ).to_ndarray()
        return _oriented(_on_white(rgb) if alpha else rgb, self._matrix)


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


def _refuse_to_open(url: str, *_: object) -> object:
    raise PermissionError(f"{url}: videos that open other files are not read")


@contextmanager
def _opened_container(path: Path) -> Iterator[av.container.InputContainer]:
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
                f"{path}: cannot be read as a video ({_looks_like(path)}: {reason}); use a whole mp4, mov, webm or gif "
                "file, not a playlist"
            ) from error
        with container:
            yield container


def _video_stream(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    if not streams:
        what = "only sound" if container.streams.audio else "no video"
        raise InputError(f"{path}: holds {what}, no moving picture; give a video file")
    return max(streams, key=lambda s: (s.codec_context.width or 0) * (s.codec_context.height or 0))


def _local_file(path: str | Path) -> Path:
    """The path, if it is a regular file with something in it."""
    name, path = str(path), Path(path)
    if not path.exists():
        if re.match(r"[A-Za-z][\w+.-]+:", name):
            raise InputError(f"{name}: only local files are read; download it first and give the file's path")
        raise InputError(f"{path}: there is no such file; check the path")
    if not path.is_file():
        raise InputError(f"{path}: is not a regular file; give a picture or video file")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: no permission to read it; change its permissions")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: is empty (0 bytes); get a whole copy of it")
    return path


def _looks_like(path: Path) -> str:
    """What a file seems to be that could not be opened, for an error message."""
    with open(path, "rb") as file:
        head = file.read(512)
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "it is a web page"
    if b"\0" not in head and all(byte >= 9 for byte in head):
        return "it looks like text"
    return "unknown or damaged content"


# ----------------------------------------------------------------------------------------------------------- writing


class VideoWriter:
    """Write frames as a stream into a file that is whole or not there.

    The kind follows from the name: .mp4 or .mov (H.264, yuv420p, BT.709, AAC; plays in browsers), .webm (VP9, Opus),
    .gif, .png or .jpg (one frame), or a name without suffix: a folder of numbered PNG frames with a `times.txt`.

    Frame times are kept exactly in mp4 and mov (`time_base`); webm stores whole milliseconds and gif hundredths, each
    rounded from the exact time so that errors do not add up; frames that would fall on the same tick are left out
    (and in a gif those under 0.02 s after the one before, since browsers slow such gifs down). H.264 needs even
    sizes: an odd width or height is extended by repeating the last column or row.

    Use as a context manager: on success the result is renamed into place, on any exception (Ctrl-C too) nothing is
    left behind. One thread at a time.

    Args:
        path: the result; its folder is made if needed.
        fps: frames per second where frames come without a time, and the length of a single frame. Default 25.
        time_base: the clock on which frame times fall (`VideoReader.time_base`). By default one is chosen that
            holds all usual clocks.
        audio_from: video whose sound goes along; no sound in it is fine. Copied where the container allows, else
            encoded; cut where the picture ends.
        audio_start: the time, on the clock of that video's frames, that is heard with the first frame written.
            By default the time given with the first frame: frames written with the times at which they were read
            stay in sync, whatever range of the video they are.
        metadata: container tags, such as title, comment and DIGITAL_SOURCE_TYPE.
        crf: quality of H.264 or VP9, smaller is better. Default 18 and 24.
        keyframe_every: at most this many frames from one key frame to the next. Default: the encoder's own (250).

    Attributes:
        warnings: one line for each thing that could not be kept (sound in a gif, damaged sound).

    Raises:
        InputError: unknown suffix, `audio_from` cannot be read, the place cannot be written, the disk is full, a size
            that the format cannot hold, no frame was written.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        fps: Fraction | int | None = None,
        time_base: Fraction | None = None,
        audio_from: str | Path | None = None,
        audio_start: Fraction | None = None,
        metadata: Mapping[str, str] | None = None,
        crf: int | None = None,
        keyframe_every: int | None = None,
    ) -> None:
        self.path = Path(path)
        self.warnings: list[str] = []
        suffix = self.path.suffix.lower()
        if suffix not in _SINKS:
            raise InputError(
                f"{path}: results are written as .mp4, .mov, .webm, .gif, .png, .jpg or into a folder (a name without "
                f"suffix), but the name ends in {suffix!r}; choose one of these"
            )
        if suffix and self.path.is_dir():
            raise InputError(f"{path}: is a folder; choose another name for the result")
        if not suffix:
            _check_replaceable(self.path)
        self._fps = Fraction(fps) if fps else None
        self._clock = time_base
        self._audio_from = VideoReader(audio_from) if audio_from else None
        self._audio_start = audio_start
        self._metadata = dict(metadata or {})
        self._quality = {"crf": crf, "keyframe_every": keyframe_every}
        self._sink: _Sink | None = None
        self._part: Path | None = None
        self._held: tuple[np.ndarray, Fraction] | None = None  # waits for the next frame: only then its length is known
        self._origin: Fraction | None = None
        self._count = 0
        self._interval = self._length = 1 / (self._fps or Fraction(25))  # s; the last lasts as long as the one before

    def __enter__(self) -> VideoWriter:
        self._session = self._open_session()
        self._session.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> bool | None:
        return self._session.__exit__(*exc_info)

    @contextmanager
    def _open_session(self) -> Iterator[None]:
        with atomic_output(self.path) as part:
            self._part = part
            try:
                yield
                self._finish()
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
        _check_image(image)
        if self._held is not None and _SINKS[self.path.suffix.lower()] is _PictureSink:
            raise InputError(
                f"{self.path}: holds one picture, but there is more than one frame; give a folder name (without "
                "suffix) for PNG frames, or a name such as result.mp4"
            )
        if self._held is not None and image.shape != self._held[0].shape:
            raise ValueError(f"frame {self._count} has shape {image.shape}, the first has {self._held[0].shape}")
        if time is None:
            time = (self._origin or Fraction(0)) + self._count * self._interval
        if self._origin is None:
            self._origin = time
        if self._held is not None:
            if time <= self._held[1]:
                raise ValueError(f"frame {self._count} at {time} s does not follow the one at {self._held[1]} s")
            self._length = time - self._held[1]
            self._emit()
        self._held = image, time
        self._count += 1

    def _emit(self) -> None:
        image, time = self._held
        with self._explained(image.shape):
            if self._sink is None:
                self._sink = self._make_sink(image)
            self._sink.add(image, time - self._origin, self._length)

    def _make_sink(self, image: np.ndarray) -> _Sink:
        kind = _SINKS[self.path.suffix.lower()]
        start = self._origin if self._audio_start is None else self._audio_start
        source = self._audio_from
        if source is not None and source.has_audio and not kind.holds_sound:
            self.warnings.append(f"{self.path}: this kind of file holds no sound, so the sound was left out")
        return kind(
            self._part,
            (image.shape[1], image.shape[0]),
            fps=self._fps,
            clock=self._clock,
            open_sound=lambda: _Sound.open(source, start, self.warnings) if source and source.has_audio else None,
            metadata=self._metadata,
            **self._quality,
        )

    def _finish(self) -> None:
        if self._held is None:
            raise InputError(f"{self.path}: not written, since there was no frame to write; check the input video")
        self._emit()
        with self._explained(self._held[0].shape):
            self._sink.finish(self._held[1] - self._origin + self._length)

    @contextmanager
    def _explained(self, shape: tuple[int, ...]) -> Iterator[None]:
        try:
            yield
        except av.FFmpegError as error:
            hint = "free some space or choose another place or kind of file"
            if self._sink is None:  # the encoder did not even open
                hint = f"frames are {shape[1]}x{shape[0]}, which this kind of file may not hold; choose another size"
            raise InputError(f"{self.path}: cannot be written ({error.strerror}); {hint}") from error


def _check_image(image: np.ndarray) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"a picture must be (H, W, 3) uint8 RGB, but got {image.shape} {image.dtype}")


def _check_replaceable(folder: Path) -> None:
    """A folder of frames may replace an older one, but never a folder with anything else in it."""
    if folder.is_dir():
        others = [f.name for f in folder.iterdir() if not re.fullmatch(rf"\d{{6}}\.png|{_TIMES_NAME}", f.name)]
        if others:
            raise InputError(
                f"{folder}: this folder holds other files ({sorted(others)[0]}); frames would replace it, so give the "
                "name of a new folder, or a file name such as result.mp4"
            )


class _Sink:
    """Where frames go. Calls: add() for each frame, finish() at the end, abandon() always."""

    holds_sound = False

    def __init__(self, path: Path, size: tuple[int, int], *, metadata: Mapping[str, str], **_: object) -> None:
        self.path, self.size, self.metadata = path, size, metadata

    def add(self, image: np.ndarray, time: Fraction, length: Fraction) -> None:
        raise NotImplementedError

    def finish(self, end: Fraction) -> None: ...

    def abandon(self) -> None: ...


class _PictureSink(_Sink):
    """A single .png or .jpg."""

    def add(self, image: np.ndarray, time: Fraction, length: Fraction) -> None:
        _save_picture(self.path, image, self.metadata)


class _FolderSink(_Sink):
    """000000.png, 000001.png, ... and their times."""

    def __init__(self, path: Path, size: tuple[int, int], **options: object) -> None:
        super().__init__(path, size, **options)
        path.mkdir()
        self.times = open(path / _TIMES_NAME, "w")
        self.count = 0

    def add(self, image: np.ndarray, time: Fraction, length: Fraction) -> None:
        _save_picture(self.path / f"{self.count:06d}.png", image, self.metadata)
        self.times.write(f"{time}\n")
        self.count += 1

    def finish(self, end: Fraction) -> None:
        self.times.close()

    def abandon(self) -> None:
        self.times.close()


class _GifSink(_Sink):
    """An endless gif with a palette for each frame."""

    def __init__(self, path: Path, size: tuple[int, int], **options: object) -> None:
        super().__init__(path, size, **options)
        self.container = av.open(str(path), "w", format="gif", container_options={"loop": "0"})
        self.stream = self.container.add_stream("gif", rate=100)
        self.stream.width, self.stream.height = size
        self.stream.pix_fmt = "pal8"
        self.stream.codec_context.time_base = self.stream.time_base = Fraction(1, 100)
        self.graph = av.filter.Graph()
        source = self.graph.add_buffer(width=size[0], height=size[1], format="rgb24", time_base=Fraction(1, 100))
        split = self.graph.add("split")
        palette = self.graph.add("palettegen", "stats_mode=single")
        use = self.graph.add("paletteuse", "new=1:dither=sierra2_4a")
        sink = self.graph.add("buffersink")
        source.link_to(split)
        split.link_to(palette, 0, 0)
        split.link_to(use, 1, 0)
        palette.link_to(use, 0, 1)
        use.link_to(sink)
        self.graph.configure()
        self.last = -2

    def add(self, image: np.ndarray, time: Fraction, length: Fraction) -> None:
        tick = round(time * 100)
        if tick < self.last + 2:
            return
        frame = av.VideoFrame.from_ndarray(image, "rgb24")
        frame.pts, frame.time_base, frame.duration = tick, Fraction(1, 100), max(2, round(length * 100))
        self.last = tick
        self.graph.push(frame)
        self._drain()

    def _drain(self) -> None:
        while True:
            try:
                frame = self.graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return
            self.container.mux(self.stream.encode(frame))

    def finish(self, end: Fraction) -> None:
        self.graph.push(None)
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
    xmp = b"\x21\xff\x0bXMP DataXMP" + _xmp_packet(metadata) + bytes([1, *range(255, -1, -1), 0])
    path.write_bytes(content[:head] + comment + xmp + content[head:])


class _ContainerSink(_Sink):
    """mp4, mov and webm: video by FFmpeg's encoders, with sound."""

    holds_sound = True

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        *,
        fps: Fraction | None,
        clock: Fraction | None,
        open_sound: Callable[[], _Sound | None],
        metadata: Mapping[str, str],
        crf: int | None,
        keyframe_every: int | None,
    ) -> None:
        super().__init__(path, size, metadata=metadata)
        self.kind = path.suffix.lower()[1:]
        self.sound: _Sound | None = None
        webm = self.kind == "webm"
        # use_metadata_tags: keep keys such as DigitalSourceType, which mp4's fixed list of tags would drop.
        options = {} if webm else {"movflags": "+faststart+use_metadata_tags"}
        self.container = av.open(str(path), "w", format=self.kind, container_options=options)
        self.container.metadata.update(metadata)
        self.clock = Fraction(1, 1000) if webm else clock or _clock_for(fps)
        if webm:
            codec, settings = "libvpx-vp9", {"crf": str(24 if crf is None else crf), "b": "0", "cpu-used": "4"}
        else:
            codec, settings = "libx264", {"crf": str(18 if crf is None else crf), "preset": "medium"}
        stream = self.container.add_stream(codec, rate=fps or 30, options=settings)
        even = 1 if webm else 2
        self.padded = tuple(-(-side // even) * even for side in size)
        stream.width, stream.height = self.padded
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = stream.time_base = self.clock
        context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709
        context.color_range = 1  # limited
        context.thread_type = "AUTO"
        if keyframe_every:
            context.gop_size = keyframe_every
        self.stream = stream
        self.reformatter = VideoReformatter()
        self.last = -1
        self.sound = open_sound()
        if self.sound is not None:
            self.sound.attach(self.container, self.kind)
        self.container.start_encoding()

    def add(self, image: np.ndarray, time: Fraction, length: Fraction) -> None:
        tick = round(time / self.clock)
        if tick <= self.last:
            return
        self.last = tick
        width, height = self.padded
        if (width, height) != self.size:
            image = np.pad(image, ((0, height - self.size[1]), (0, width - self.size[0]), (0, 0)), mode="edge")
        frame = self.reformatter.reformat(
            av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24"),
            format="yuv420p",
            dst_colorspace="ITU709",
            src_color_range="JPEG",
            dst_color_range="MPEG",
            interpolation=_SCALING,
            threads=1,
        )
        frame.pts, frame.time_base = tick, self.clock
        frame.duration = max(1, round((time + length) / self.clock) - tick)
        self.container.mux(self.stream.encode(frame))
        if self.sound is not None:
            self.sound.play_until(time)

    def finish(self, end: Fraction) -> None:
        self.container.mux(self.stream.encode(None))
        if self.sound is not None:
            self.sound.play_until(end)
            self.sound.finish(end)
        self.container.close()
        if self.metadata and self.kind in ("mp4", "mov"):
            # A top-level box at the end: XMP as its specification places it in MP4 (part 3, section 1.1.4).
            packet = bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + _xmp_packet(self.metadata)
            with open(self.path, "ab") as file:
                file.write((8 + len(packet)).to_bytes(4, "big") + b"uuid" + packet)

    def abandon(self) -> None:
        if self.sound is not None:
            self.sound.close()
        self.container.close()


_SINKS: dict[str, type[_Sink]] = {
    ".mp4": _ContainerSink,
    ".mov": _ContainerSink,
    ".webm": _ContainerSink,
    ".gif": _GifSink,
    ".png": _PictureSink,
    ".jpg": _PictureSink,
    ".jpeg": _PictureSink,
    "": _FolderSink,
}


def _clock_for(fps: Fraction | None) -> Fraction:
    """A clock that holds every usual one and, if it can, that of `fps` too."""
    fine = math.lcm(_FINE_CLOCK.denominator, fps.numerator) if fps else _FINE_CLOCK.denominator
    return Fraction(1, fine) if fine < 2**31 else _FINE_CLOCK


# ------------------------------------------------------------------------------------------------------------- sound


class _Sound:
    """The sound of one video, moved to the clock of another and handed out as far as the picture has come."""

    # Codecs that a container takes as they are and that browsers play from it.
    _COPIED = {"mp4": ("aac", "mp3"), "mov": ("aac", "mp3", "alac", "pcm_s16le"), "webm": ("opus", "vorbis")}
    # Copied packets from a little before the start let the decoder settle; an edit list in the mp4 hides them.
    _PREROLL = Fraction(1, 10)
    # Stamps of recorders jitter by some ms around the count of samples; only beyond this is it a gap.
    _GAP = Fraction(1, 50)

    def __init__(self, session: object, container, stream, origin: Fraction, warnings: list[str], path: Path) -> None:
        self._session = session
        self.source, self.stream, self.origin = container, stream, origin
        self.warnings, self.path = warnings, path
        self.out: av.container.OutputContainer | None = None

    @classmethod
    def open(cls, reader: VideoReader, start: Fraction, warnings: list[str]) -> _Sound | None:
        """The sound of a video from `start` on (seconds from its first frame); None if it cannot be decoded."""
        path = reader.path
        session = _opened_container(path)
        container = session.__enter__()
        stream = next((s for s in container.streams.audio if s.codec_context is not None), None)
        if stream is None:
            session.__exit__(None, None, None)
            warnings.append(f"{path}: its sound is of an unknown kind and was left out")
            return None
        return cls(session, container, stream, reader.start_time + start, warnings, path)

    def attach(self, out: av.container.OutputContainer, kind: str) -> None:
        """Add a stream for the sound to `out` and get ready to fill it."""
        self.out = out
        codec = self.stream.codec_context
        headed = kind == "webm" or codec.name != "aac" or bool(codec.extradata)  # bare ADTS has no header to copy
        if codec.name in self._COPIED[kind] and headed:
            self.out_stream = out.add_stream_from_template(self.stream)
            self._items = self._copied(kind)
        else:
            rate = codec.sample_rate if kind != "webm" and codec.sample_rate in (32000, 44100, 48000) else 48000
            layout = "mono" if codec.channels == 1 else "stereo"
            bit_rate = 96_000 if layout == "mono" else 160_000
            encoder = "libopus" if kind == "webm" else "aac"
            self.out_stream = out.add_stream(encoder, rate=rate, layout=layout, bit_rate=bit_rate)
            self.out_stream.codec_context.time_base = Fraction(1, rate)
            self._items = self._encoded(rate, layout)
        self._next = next(self._items, None)

    def play_until(self, end: Fraction) -> None:
        """Hand out what begins before `end` (seconds from the first frame of the result)."""
        while self._next is not None and self._next[0] < end:
            self._send(self._next[1], end)
            self._next = next(self._items, None)

    def _send(self, item, end: Fraction) -> None:
        if isinstance(item, av.AudioFrame):
            self.out.mux(self.out_stream.encode(item))
        else:
            item.stream = self.out_stream
            self.out.mux(item)

    def finish(self, end: Fraction) -> None:
        if self.out_stream.codec_context.is_encoder:
            self.out.mux(self.out_stream.encode(None))

    def close(self) -> None:
        with suppress(Exception):
            self._session.__exit__(None, None, None)

    def _packets(self) -> Iterator[av.Packet]:
        try:
            for packet in self.source.demux(self.stream):
                if packet.size and packet.pts is not None:
                    yield packet
        except av.FFmpegError as error:
            self.warnings.append(f"{self.path}: the sound is damaged and ends early ({error.strerror})")

    def _copied(self, kind: str) -> Iterator[tuple[Fraction, av.Packet]]:
        preroll = self._PREROLL
        if kind == "webm":  # no edit lists; a decoder drops what Opus calls pre-skip, so that much may lie before zero
            head = self.stream.codec_context.extradata or b""
            preroll = Fraction(int.from_bytes(head[10:12], "little") if head[:8] == b"OpusHead" else 0, 48000)
        frame_size, rate = self.stream.codec_context.frame_size, self.stream.codec_context.sample_rate
        length = Fraction(frame_size, rate) if frame_size and rate else None
        tick = self.stream.time_base
        expected = None
        for packet in self._packets():
            time = packet.pts * tick - self.origin
            # Coarse clocks (mkv: 1 ms) round each stamp; within a tick the count of samples is the better truth.
            if expected is not None and abs(time - expected) <= tick:
                time = expected
            packet_length = length or (packet.duration or 0) * tick
            expected = time + packet_length
            if (time + tick if kind == "webm" else expected) < -preroll:
                continue
            fine = Fraction(1, rate or 48000) if kind != "webm" else tick
            packet.time_base = fine
            packet.pts = packet.dts = round(time / fine)
            packet.duration = round(packet_length / fine)
            yield time, packet

    def _encoded(self, rate: int, layout: str) -> Iterator[tuple[Fraction, av.AudioFrame]]:
        resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
        channels = 1 if layout == "mono" else 2
        position = 0  # samples handed out: the timeline of the result
        started = False
        for samples, time in self._resampled(resampler):
            target = round((time - self.origin) * rate)
            gap = target - position
            if not started or abs(gap) > self._GAP * rate:
                if gap < 0:
                    samples = samples[:, -gap:]
                    if not samples.shape[1]:
                        continue
                for begin in range(position, target, rate):  # silence, a second at a time
                    silence = np.zeros((channels, min(rate, target - begin)), np.float32)
                    yield Fraction(begin, rate), _audio_frame(silence, layout, rate, begin)
                position = max(position, target)
                started = True
            yield Fraction(position, rate), _audio_frame(samples, layout, rate, position)
            position += samples.shape[1]

    def _resampled(self, resampler: av.AudioResampler) -> Iterator[tuple[np.ndarray, Fraction]]:
        for packet in self._packets():
            try:
                frames = packet.decode()
            except av.FFmpegError:
                continue
            for frame in frames:
                for out in resampler.resample(frame):
                    yield out.to_ndarray(), out.pts * out.time_base
        for out in resampler.resample(None):
            yield out.to_ndarray(), out.pts * out.time_base


def _audio_frame(samples: np.ndarray, layout: str, rate: int, position: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples, np.float32), format="fltp", layout=layout)
    frame.sample_rate, frame.pts, frame.time_base = rate, position, Fraction(1, rate)
    return frame


# -------------------------------------------------------------------------------------------------------- overlapping


def prefetch(items: Iterable[T], depth: int = 4) -> Iterator[T]:
    """Run an iterable in a background thread, at most `depth` items ahead, and yield its items in order.

    Decoding and encoding release the GIL, so this overlaps reading with work on the frames. An exception of the
    iterable is raised here. If the consumer stops early, the thread ends and the iterable is closed in it.
    """
    ready: queue.Queue = queue.Queue(maxsize=max(1, depth))
    stop = threading.Event()
    end = object()

    def put(message: tuple[object, BaseException | None]) -> None:
        while not stop.is_set():
            with suppress(queue.Full):
                return ready.put(message, timeout=0.1)

    def work() -> None:
        iterator = iter(items)
        try:
            for item in iterator:
                put((item, None))
                if stop.is_set():
                    break
            put((end, None))
        except BaseException as error:  # noqa: B036 - carried over to the consumer
            put((end, error))
        finally:
            if hasattr(iterator, "close"):
                iterator.close()

    worker = threading.Thread(target=work, name="prefetch", daemon=True)
    worker.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is end:
                return
            yield item
    finally:
        stop.set()
        worker.join()
