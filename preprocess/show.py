"""The preparation of one photo or one clip, to look at: what was found, and the crop that the model gets to see.

Nothing is computed here: faces, roll and crops are those of `faces`, `track` and `crop`, as inference uses them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np

from fomm.errors import require
from fomm.progress import Bars, watched
from fomm.video import VideoReader, VideoWriter, prefetch, read_image, write_image
from preprocess.crop import Crop, fitted, resized_pixels, transform
from preprocess.faces import Face, FaceFinder, choose_face, face_crop
from preprocess.pairing import choose_track, doubts_about_driving, doubts_about_photo, resized, track_driving
from preprocess.track import TRACK_SCALE

_SHOWN_SIDE = 1024  # the photo is shown with its long side this large, so that lines and text are crisp
_CROP_SIDE = 512
_MARGIN = 16

# RGB
_BOX, _MESH, _EYES, _CROP, _TEXT, _PAPER = (
    (255, 200, 0), (120, 230, 255), (255, 60, 90), (60, 230, 110), (30, 30, 36), (246, 246, 248)
)  # fmt: skip


def face(photo: str, *, output: str = "face.png", face: int | None = None, size: int = 256) -> Path:
    """Draw what is found in a photo: box, 468 landmarks, eye centres, eye line and its angle, and the crop.

    Args:
        photo: a picture.
        output: where the drawing goes, .png or .jpg.
        face: which face, from 1 (the largest); by default the largest.
        size: of the crop in pixels; it is shown beside the photo.

    Returns:
        `output`.

    Raises:
        InputError: no picture, no face, no face of that number (the choices are listed), or it cannot be written.
    """
    source, path = Path(photo), Path(output)
    _check_size(size)
    require(not _same(source, path), f"{path}: is the photo itself; choose another --output")
    image = read_image(source)
    with FaceFinder() as finder:
        faces = finder.find(image)
    chosen = choose_face(faces, face, source)
    crop = face_crop(chosen, size)
    lines = describe(chosen, crop)
    write_image(path, draw_face(image, faces, chosen, crop))
    for doubt in doubts_about_photo(faces, chosen, crop, image.shape):
        print(f"warning: {source}: {doubt}", file=sys.stderr)
    print("\n".join([*lines, f"wrote {path}"]))
    return path


def crop_video(
    clip: str, *, output: str = "crop.mp4", track: int = 1, size: int = 256, scale: float = TRACK_SCALE
) -> Path:
    """Write the crop of a driving video as the model gets to see it: one fixed square, times and sound kept.

    Args:
        clip: a video.
        output: .mp4, .mov, .webm, .gif, or a name without suffix for PNG frames.
        track: which face, from 1 (the one seen longest); the choices are listed if there are several.
        size: of the crop in pixels.
        scale: side of the crop in longer sides of the union of the face's boxes.

    Returns:
        `output`.

    Raises:
        InputError: no video, no face in it, no such track, or it cannot be written.
    """
    source, path = Path(clip), Path(output)
    _check_size(size)
    require(scale > 0, f"--scale {scale}: must be greater than 0; the original uses {TRACK_SCALE}")
    require(not _same(source, path), f"{path}: is the clip itself; choose another --output")
    reader = VideoReader(source)
    bars = Bars()
    with closing(bars):
        with FaceFinder() as finder:
            tracks, frame_count, _ = track_driving(reader, finder, progress=bars)
        chosen = choose_track(tracks, track, source)
        crop = chosen.crop(size, scale=scale)
        doubts = [*reader.warnings, *doubts_about_driving(tracks, chosen, crop, frame_count)]
        writer = VideoWriter(
            path, fps=reader.fps, time_base=reader.time_base, audio_from=reader if reader.has_audio else None
        )
        frames = reader.frames(chosen.start, chosen.stop)
        with writer, closing(prefetch(frames)) as ahead:
            for frame in watched(ahead, "crop", len(chosen), bars):
                writer.write(crop.apply(frame.image), frame.time)
    for doubt in [*doubts, *writer.warnings]:
        print(f"warning: {source}: {doubt}", file=sys.stderr)
    print(
        f"frames {chosen.start} to {chosen.stop - 1} of {frame_count}, {crop_in_words(crop)}, face found in "
        f"{chosen.found_share:.0%} of the frames looked at\nwrote {path}"
    )
    return path


def describe(face: Face, crop: Crop) -> list[str]:
    """What is known of a face, one line each."""
    left, top, right, bottom = face.box_xyxy_px
    (x0, y0), (x1, y1) = face.eye_left_px, face.eye_right_px
    return [
        f"box {left:.0f},{top:.0f} to {right:.0f},{bottom:.0f}, score {face.score:.2f}",
        f"eyes {x0:.0f},{y0:.0f} and {x1:.0f},{y1:.0f}, roll {face.roll_deg:+.1f} degrees (+: clockwise)",
        f"yaw {face.yaw_deg:+.0f} (+: to the right), pitch {face.pitch_deg:+.0f} (+: up), roughly",
        crop_in_words(crop),
    ]


def crop_in_words(crop: Crop) -> str:
    """Where a crop lies in its picture."""
    x, y = crop.centre_px
    turned = f", turned by {crop.roll_deg:+.1f} degrees" if abs(crop.roll_deg) > 0.05 else ""
    return f"crop: {crop.side_px:.0f} px around {x:.0f},{y:.0f}{turned}, resized to {crop.size}"


def draw_face(image: np.ndarray, faces: list[Face], chosen: Face, crop: Crop) -> np.ndarray:
    """The photo (H, W, 3) with everything drawn on it, the crop beside it; (H', W', 3) uint8.

    Yellow: boxes; light blue: landmarks; red: eye centres, the line through them and the level it is measured from;
    green: the square that becomes the crop.
    """
    drawing = fitted(image, _SHOWN_SIDE)
    to_shown = resized_pixels(drawing.shape[1::-1], image.shape[1::-1])[:2]
    for face in faces:
        _polygon(drawing, transform(to_shown, face.corners_px), _BOX, 3 if face is chosen else 1)
    for point in transform(to_shown, chosen.landmarks_px):
        _dot(drawing, point, _MESH, 1)
    _polygon(drawing, transform(to_shown, crop.corners_px), _CROP, 3)
    eyes = transform(to_shown, np.stack([chosen.eye_left_px, chosen.eye_right_px]))
    middle, half = eyes.mean(0), np.diff(eyes, axis=0)[0]
    level = np.array([np.hypot(*half), 0.0])
    for along, width in ((level, 1), (half, 2)):
        _polygon(drawing, (middle - 1.5 * along, middle + 1.5 * along), _EYES, width)
    for eye in eyes:
        _dot(drawing, eye, _EYES, 5)
    return _page(drawing, crop.apply(image), describe(chosen, crop))


def _page(drawing: np.ndarray, crop: np.ndarray, lines: list[str]) -> np.ndarray:
    """The drawing on the left; the crop and the text under it on the right."""
    crop = resized(crop, _CROP_SIDE)
    height = max(len(drawing), _CROP_SIDE + 40 * len(lines)) + 2 * _MARGIN
    page = np.full((height, drawing.shape[1] + _CROP_SIDE + 3 * _MARGIN, 3), _PAPER, np.uint8)
    page[_MARGIN : _MARGIN + len(drawing), _MARGIN : _MARGIN + drawing.shape[1]] = drawing
    left = drawing.shape[1] + 2 * _MARGIN
    page[_MARGIN : _MARGIN + _CROP_SIDE, left : left + _CROP_SIDE] = crop
    cv2.rectangle(page, (left - 3, _MARGIN - 3), (left + _CROP_SIDE + 2, _MARGIN + _CROP_SIDE + 2), _CROP, 3)
    for number, line in enumerate(lines):
        scale = min(0.55, 0.55 * _CROP_SIDE / cv2.getTextSize(line, cv2.FONT_HERSHEY_SIMPLEX, 0.55, 1)[0][0])
        at = (left, 2 * _MARGIN + _CROP_SIDE + 20 + 34 * number)
        cv2.putText(page, line, at, cv2.FONT_HERSHEY_SIMPLEX, scale, _TEXT, 1, cv2.LINE_AA)
    return page


_SHIFT = 4  # cv2 takes coordinates in 1/16 of a pixel


def _fixed(point: np.ndarray) -> tuple[int, int]:
    x, y = np.rint(np.clip(point, -1e4, 1e4) * (1 << _SHIFT)).astype(int).tolist()
    return x, y


def _polygon(image: np.ndarray, points: Iterable[np.ndarray], colour: tuple[int, int, int], width: int) -> None:
    cv2.polylines(image, [np.array([_fixed(p) for p in points])], True, colour, width, cv2.LINE_AA, _SHIFT)


def _dot(image: np.ndarray, point: np.ndarray, colour: tuple[int, int, int], radius: int) -> None:
    cv2.circle(image, _fixed(point), radius << _SHIFT, colour, cv2.FILLED, cv2.LINE_AA, _SHIFT)


def _check_size(size: int) -> None:
    require(16 <= size <= 4096, f"--size {size}: must be from 16 to 4096 pixels; the released models take 256")


def _same(source: Path, output: Path) -> bool:
    return source.exists() and output.exists() and source.samefile(output)
