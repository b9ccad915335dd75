"""What was found and what went wrong, as pictures, words and bits of HTML for the page."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from preprocess.crop import Crop, Region, shrunk
from preprocess.faces import Face, FaceFinder
from preprocess.pairing import Pairing
from studio.animation import Found, Result

SHOWN_PX = 640  # longer side of a picture that shows what was found

LABELS = {
    "face": "Face in the photo",
    "track": "Person in the video",
    "scale": "Crop size",
    "checkpoint": "Model",
    "relative": "Relative motion",
    "best_frame": "Start from the best frame",
    "crop": "Find and crop the faces",
    "embed": "Put the face back into the photo",
    "region": "What moves",
    "strength": "How much",
    "label": "Write “AI-generated” into the picture",
}
"""What the page calls the options of `infer.py`."""

SLIDERS = {
    "Turn (degrees)": (-25, 25),
    "Nod (degrees)": (-20, 20),
    "Tilt (degrees)": (-30, 30),
    "Smile": (-1, 1),
    "Mouth": (-1, 1),
    "Eyes": (-1, 1),
    "Brows": (-1, 1),
    "Gaze, left to right": (-1, 1),
    "Gaze, down to up": (-1, 1),
}
"""The sliders that edit a portrait; ranges are those of `fomm.model.face.edit.RANGES`."""


def before_and_after(before: np.ndarray, after: np.ndarray) -> str:
    """Two pictures (H, W, 3) beside each other."""
    return f'<div class="edited">{_figures({"Before": before, "After": after})}</div>'


def drawn(image: np.ndarray, faces: Sequence[Face], chosen: Face | None, crop: Crop | Region | None) -> np.ndarray:
    """A small copy of a picture with what was found in it: boxes with numbers, landmarks, the crop."""
    factor = min(1.0, SHOWN_PX / max(image.shape[:2]))
    shown = shrunk(image, SHOWN_PX).copy()

    def at(points: np.ndarray) -> np.ndarray:
        return np.rint((np.asarray(points) + 0.5) * factor * 8).astype(np.int32)  # eighths of a pixel, for cv2's shift

    def line(points: np.ndarray, colour: tuple[int, int, int], width: int) -> None:
        for stroke, ink in ((width + 2, (0, 0, 0)), (width, colour)):
            cv2.polylines(shown, [at(points)], True, ink, stroke, cv2.LINE_AA, 3)

    if crop is not None:
        line(crop.corners_px, (255, 200, 60), 2)
    for number, face in enumerate(faces, 1):
        line(face.corners_px, (90, 220, 255), 2)
        x, y = at(face.corners_px)[0] // 8
        for stroke, ink in ((4, (0, 0, 0)), (1, (255, 255, 255))):
            cv2.putText(shown, str(number), (x, y - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.6, ink, stroke, cv2.LINE_AA)
    if chosen is not None:
        for point in at(chosen.landmarks_px):
            cv2.circle(shown, tuple(int(value) for value in point), 8, (255, 255, 255), -1, cv2.LINE_AA, 3)
    return shown


def drawn_both(found: Found, finder: FaceFinder) -> tuple[np.ndarray, np.ndarray]:
    """`drawn` for the photo and for the driving frame."""
    pairing = found.pairing
    photo = drawn(found.photo, pairing.faces, pairing.face, pairing.source_crop)
    seen: list[Face] = []
    if pairing.track is not None:
        centre = pairing.track.at(pairing.initial_index).centre_px
        faces = finder.find(found.frame, thorough=False)
        seen = sorted(faces, key=lambda face: np.linalg.norm(face.centre_px - np.array(centre)))[:1]
    return photo, drawn(found.frame, seen, seen[0] if seen else None, pairing.driving_crop)


def facts(found: Found) -> dict[str, str]:
    """What was found, as lines of a table."""
    pairing, face, track = found.pairing, found.pairing.face, found.pairing.track
    crop, driving_crop, size = pairing.source_crop, pairing.driving_crop, pairing.source.shape[0]
    if face is None or track is None or crop is None or driving_crop is None:
        resized = "" if pairing.mesh is not None else f", resized to {size} px"
        return {"Photo": f"taken whole{resized}", "Video": f"taken whole{resized}"}
    low, high = track.yaw_range_deg
    if isinstance(crop, Region):
        height, width = pairing.source.shape[:2]
        outline = "is found" if pairing.person is not None else "is not found"
        part = f"{width}×{height} px around the face may move, as they are; the person's outline {outline}"
    else:
        part = f"{crop.side_px:.0f} px, turned upright, to {size} px"
    seen = driving_crop.size
    return {
        "Photo": f"face {pairing.faces.index(face) + 1} of {len(pairing.faces)}, {face.side_px:.0f} px, "
        f"tilted by {round(face.roll_deg):+d}°, turned by {round(face.yaw_deg):+d}°",
        "Crop": part,
        "Video": f"face in frames {track.start} to {track.stop - 1}, {track.face_side_px:.0f} px, "
        f"turning from {round(low):+d}° to {round(high):+d}°",
        "Its crop": f"{driving_crop.side_px:.0f} px ({found.scale:g} face sizes), fixed, to {seen} px",
    }


def in_page_words(sentence: str, folder: Path) -> str:
    """A sentence of `infer.py` for people who see controls, not options, and none of the machine's folders."""
    sentence = re.sub(rf"{re.escape(str(folder))}/(?:[^/\s:]+/)*", "", sentence)
    sentence = re.sub(r"^camera: (\w)", lambda m: m[1].upper(), sentence)
    sentence = re.sub(
        r"(?:(?:use|give) )?(--\w+) (true|false)\b",
        lambda m: f"switch {m[1]} {'on' if m[2] == 'true' else 'off'}",
        sentence,
    )
    return re.sub(r"--(\w+)", lambda m: f"“{LABELS.get(m[1], m[1])}”", sentence)


def hint(sentence: str) -> str:
    return f'<p class="hint">{html.escape(sentence)}</p>'


def wrong(sentence: str) -> str:
    return f'<p class="wrong" role="alert">{html.escape(sentence)}</p>'


def doubts_view(sentences: list[str], folder: Path) -> str:
    lines = "".join(f"<li>{html.escape(in_page_words(sentence, folder))}</li>" for sentence in sentences)
    return f'<ul class="doubts" aria-label="Worth knowing">{lines}</ul>' if lines else ""


def working_view(words: str, share: float | None) -> str:
    """How far a job is; `share` of 1, None where that is not known."""
    value = "" if share is None else f'value="{share:.3f}"'
    bar = f'<progress {value} max="1" aria-label="Progress"></progress>'
    return f'<div class="working"><p>{html.escape(words)}</p>{bar}</div>'


def done_view(made: Result, folder: Path) -> str:
    done = made.rendered
    size = f"{done.frames} frames, {float(done.duration):.1f} s, {done.width}×{done.height}"
    return f'<p role="status">Done: {size}, in {made.elapsed_s:.0f} s.</p>' + doubts_view(made.warnings, folder)


def found_view(found: Found, drawings: tuple[np.ndarray, np.ndarray], folder: Path) -> str:
    """Both sides with their faces and crops, the crops as the model sees them, numbers and doubts."""
    pairing = found.pairing
    pictures = {
        "Photo": drawings[0],
        "What the model sees of it": person_lit(pairing),
        f"Video, frame {pairing.initial_index}": drawings[1],
        "What it sees of the video": pairing.view(found.frame),
    }
    rows = "".join(f'<tr><th scope="row">{name}</th><td>{text}</td></tr>' for name, text in facts(found).items())
    return f'<div class="found">{_figures(pictures)}</div><table class="facts">{rows}</table>' + doubts_view(
        found.doubts, folder
    )


def _figures(pictures: dict[str, np.ndarray]) -> str:
    """Pictures (H, W, 3) with their names under them."""
    return "".join(
        f'<figure><img src="{data_uri(picture)}" alt="{name}"><figcaption>{name}</figcaption></figure>'
        for name, picture in pictures.items()
    )


def person_lit(pairing: Pairing) -> np.ndarray:
    """What the model sees of the photo (H, W, 3); where it knows the person's outline, the background is dimmed."""
    if pairing.person is None:
        return pairing.source
    return (pairing.source * (0.4 + 0.6 * pairing.person[..., None])).astype(np.uint8)


def data_uri(picture: np.ndarray) -> str:
    """A picture (H, W, 3) uint8 RGB, shrunk where it is large, as a JPEG inside an address."""
    picture = cv2.cvtColor(shrunk(picture, SHOWN_PX), cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 88])
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()
