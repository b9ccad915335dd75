"""Single pictures, and folders of them, to and from files.

A picture is (H, W, 3) uint8 sRGB, upright: EXIF orientation is applied, colours are converted by the file's profile,
transparency is composited on white.
"""

from __future__ import annotations

import io
import math
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from xml.sax.saxutils import escape

import cv2
import numpy as np
from PIL import Image, PngImagePlugin

from fomm.errors import InputError, is_out_of_memory
from fomm.files import atomic_output
from fomm.video.colour import photo_in_srgb, srgb_profile

# IPTC NewsCodes for "made by a trained model" (all of the picture, or part of it pasted into a photo). Pass one of
# the two addresses as metadata {DIGITAL_SOURCE_TYPE: ...} to a writer.
DIGITAL_SOURCE_TYPE = "DigitalSourceType"
SYNTHETIC = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
SYNTHETIC_COMPOSITE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".avif")
_PILLOW_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
_ORIENTATION = 0x0112  # EXIF tag; what undoes each of its values:
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Pillow warns of "bombs" at half the size from which on it refuses them: phones take such pictures.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)
_STRIP_ROWS = 256  # converted at once: a large photo takes little more memory than its pixels
TIMES_NAME = "times.txt"  # in a folder of frames: one time in seconds per line


def read_image(path: str | Path, *, max_pixels: int | None = None) -> np.ndarray:
    """Read one picture as it is meant to be seen.

    EXIF orientation is applied, colours are converted to sRGB by the profile that the file carries, transparency is
    composited on white; grey, palette, CMYK and 16-bit pictures become 8-bit RGB. Of an animation the first frame is
    returned. It takes up to 11 bytes of memory per pixel.

    Args:
        max_pixels: a picture of more is read smaller, in its proportions; a JPEG is not even decoded whole.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InputError: the file is missing, empty, broken or not a picture.
    """
    path = local_file(path)
    with opened_picture(path) as picture:
        if max_pixels is None or picture.width * picture.height <= max_pixels:
            return pillow_to_rgb(picture)
        scale = math.sqrt(max_pixels / (picture.width * picture.height))
        picture.draft(None, (math.ceil(scale * picture.width), math.ceil(scale * picture.height)))
        image = pillow_to_rgb(picture)
    height, width = image.shape[:2]
    scale = min(1.0, math.sqrt(max_pixels / (width * height)))
    size = max(1, int(scale * width)), max(1, int(scale * height))
    return image if size == (width, height) else cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def picture_size(path: str | Path) -> tuple[int, int]:
    """Width and height of a picture as the file stores it, before it is turned upright; nothing is decoded.

    Raises:
        InputError: as `read_image`.
    """
    with opened_picture(local_file(path)) as picture:
        return picture.size


def write_image(path: str | Path, image: np.ndarray, metadata: Mapping[str, str] | None = None) -> None:
    """Write one picture, whole or not at all; the file says that it is sRGB.

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
    check_image(image)
    with atomic_output(path) as part:
        save_picture(part, image, metadata or {})


def save_picture(path: Path, image: np.ndarray, metadata: Mapping[str, str]) -> None:
    """`write_image` into a file that somebody else makes whole."""
    picture = Image.fromarray(image)
    packet = xmp_packet(metadata)
    if path.suffix.lower() == ".png":
        texts = PngImagePlugin.PngInfo()
        texts.add(b"sRGB", b"\0")
        for key, value in metadata.items():
            texts.add_itxt(key, value)
        if metadata:
            texts.add_itxt("XML:com.adobe.xmp", packet.decode())
        picture.save(path, format="PNG", pnginfo=texts, compress_level=4)
    else:
        coded = io.BytesIO()  # straight into a file Pillow would not notice that the disk took only the beginning
        picture.save(
            coded,
            format="JPEG",
            quality=95,
            subsampling=0,
            icc_profile=srgb_profile(),
            xmp=packet if metadata else b"",
            comment=metadata.get("comment", ""),
        )
        # A copy: with a view of it Python 3.12 crashes when an error of writing is thrown away.
        path.write_bytes(coded.getvalue())


@contextmanager
def opened_picture(path: Path) -> Iterator[Image.Image]:
    """Pillow's picture, its errors turned into one `InputError`."""
    try:
        with Image.open(path, formats=_PILLOW_FORMATS) as picture:
            yield picture
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: the picture is too large ({error}); make it smaller") from error
    except Image.UnidentifiedImageError as error:
        raise InputError(f"{path}: cannot be read as a picture ({looks_like(path)}); use a PNG or JPEG file") from error
    except InputError:
        raise
    except Exception as error:  # a damaged file makes Pillow raise nearly anything
        if is_out_of_memory(error):
            raise InputError(f"{path}: there is not memory enough for so large a picture; make it smaller") from error
        raise InputError(f"{path}: the picture cannot be read ({error}); get a whole copy of it") from error


def is_picture(path: Path) -> bool:
    """Whether Pillow knows the file's kind; animations are pictures, too."""
    with suppress(Exception):  # a damaged file makes Pillow raise nearly anything
        with Image.open(path, formats=_PILLOW_FORMATS):
            return True
    return False


def pillow_to_rgb(picture: Image.Image) -> np.ndarray:
    """The current frame of a Pillow picture as (H, W, 3) uint8 RGB, upright, on white."""
    picture.load()
    upright = picture
    with suppress(Exception):  # damaged EXIF: the picture itself is fine
        turn = _TURNS.get(picture.getexif().get(_ORIENTATION, 1))
        upright = picture if turn is None else picture.transpose(turn)
    width, height = upright.size
    strips = [(0, top, width, min(top + _STRIP_ROWS, height)) for top in range(0, height, _STRIP_ROWS)]
    white = 65535.0
    if upright.mode == "F":
        white = float(np.fmax.reduce(np.asarray(upright), axis=None, initial=1.0))
    result = np.empty((height, width, 3), np.uint8)
    for strip in strips:
        result[strip[1] : strip[3]] = _strip_to_rgb(upright.crop(strip), white)
    return result


def _strip_to_rgb(picture: Image.Image, white: float) -> np.ndarray:
    """What `pillow_to_rgb` makes of some rows of a picture; `white` is the largest value that a grey one holds."""
    if picture.mode.startswith("I;16") or picture.mode in ("I", "F"):  # Pillow would clip these at 255
        values = np.asarray(picture, np.float64)
        grey = np.clip(np.nan_to_num(values) * (255 / white), 0, 255).round().astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    picture = photo_in_srgb(picture)
    if picture.has_transparency_data:
        return on_white(np.asarray(picture.convert("RGBA")))
    return np.asarray(picture.convert("RGB"))


def on_white(rgba: np.ndarray) -> np.ndarray:
    """(H, W, 4) uint8 with straight alpha -> (H, W, 3) uint8 over white."""
    alpha = rgba[..., 3:].astype(np.uint32)
    return ((rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def xmp_packet(metadata: Mapping[str, str]) -> bytes:
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


def frame_files(folder: str | Path) -> list[Path]:
    """Pictures in a folder in natural order (frame2 before frame10); hidden files are left out.

    Raises:
        InputError: there are none, or the folder cannot be read.
    """
    try:
        files = [
            file
            for file in Path(folder).iterdir()
            if file.suffix.lower() in PICTURE_SUFFIXES and not file.name.startswith(".")
        ]
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror}); give a folder of frames") from error
    if not files:
        raise InputError(f"{folder}: holds no pictures (.png, .jpg, ...); give a folder of frames or a video file")

    def natural(file: Path) -> tuple[list[tuple[int, str]], str]:
        parts = re.split(r"(\d+)", file.name.lower())
        # The name itself decides between 1.png and 01.png; the order in which a folder is listed must not.
        return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], file.name

    return sorted(files, key=natural)


def check_image(image: np.ndarray) -> None:
    """Raises ValueError for anything but a picture, (H, W, 3) uint8."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"a picture must be (H, W, 3) uint8 RGB, but got {image.shape} {image.dtype}")


def local_file(path: str | Path) -> Path:
    """The path, if it is a regular file with something in it."""
    name, path = str(path), Path(path)
    try:
        exists = path.exists()
    except OSError as error:  # a folder on the way that may not be entered, a name that is too long
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    if not exists:
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


def looks_like(path: Path) -> str:
    """What a file seems to be that could not be opened, for an error message."""
    with open(path, "rb") as file:
        head = file.read(512)
    if head[4:8] == b"ftyp":
        return "it is a HEIF picture" if head[8:11] in (b"hei", b"hev", b"mif", b"msf") else "it begins like a video"
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "it begins like a video"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "it is a web page"
    if b"\0" not in head and all(byte >= 9 for byte in head):
        return "it looks like text"
    return "unknown or damaged content"


def fit_square(frame: np.ndarray, size: int) -> np.ndarray:
    """The central square of a frame (H, W, 3), resized to size x size; the frame itself where it is that already."""
    height, width = frame.shape[:2]
    if height == width == size:
        return frame
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    frame = frame[top : top + side, left : left + side]
    return cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA if size < side else cv2.INTER_LINEAR)
