"""The pictures of README and docs/face.md; `python docs/face/pictures.py --help` explains it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
from jsonargparse import CLI

from fomm.animator import AnimationSettings
from fomm.animator.face import FaceAnimator
from fomm.checkpoint import load_model
from fomm.errors import run
from fomm.model.face import Moved, Portrait, Sitter
from fomm.model.face.layers import Layers
from fomm.model.face.mesh import EYES, MOUTH, TRIANGLES
from fomm.video import VideoReader, read_frames, read_image, write_image
from preprocess.crop import Region
from preprocess.faces import FaceFinder
from preprocess.pairing import Pairing, track_driving
from preprocess.portraits import pair_portrait, region_around

ASSETS = Path(__file__).resolve().parents[2] / "fomm" / "assets"
LINES = (30, 90, 220)


def draw(
    *,
    demo: Path = Path("docs/demo.jpg"),
    layers: Path = Path("docs/face/layers.jpg"),
    checkpoint: str = "face",
    photo: Path = ASSETS / "portrait.png",
    clip: Path = ASSETS / "speaker.mp4",
    frames: list[int] = [32, 54, 79, 99],  # noqa: B006 - is not changed
    step: int = 79,
) -> None:
    """Draw what becomes of a photo: beside some driving frames, and in eight steps.

    Args:
        demo: the first picture.
        layers: the second one.
        checkpoint: of model `face`.
        photo, clip: what is animated, and by what.
        frames: driving frames of the first picture.
        step: driving frame of the second one.
    """
    with closing(FaceFinder()) as finder:
        reader = VideoReader(clip)
        driving = track_driving(reader, finder)
        pairing = pair_portrait(read_image(photo), photo, reader, driving, finder, AnimationSettings().decided(1.2))
        animator = FaceAnimator(load_model(checkpoint).model, lambda: finder, device="cpu")
        portrait = animator.portrait(Sitter(pairing.source, pairing.mesh, pairing.person))
        shown = dict(zip([*frames, step], read_frames(clip, [*frames, step]), strict=True))
        moved = {
            number: animator.follow(portrait.source, pairing.initial)(pairing.view(image))
            for number, image in shown.items()
        }
        mesh = finder.mesh(pairing.view(shown[step]))
    head = region_around(pairing.face, read_image(photo).shape, travel=-0.75)
    head = Region(*(np.array(head) - [pairing.source_crop.left, pairing.source_crop.top] * 2).tolist())
    columns = [fitted(head.of(portrait.photo), 440)]
    for number in frames:
        result = fitted(head.of(portrait(moved[number])), 300)
        above = fitted(shown[number], 140)
        side = result.shape[1] - above.shape[1]
        columns.append(np.concatenate([padded(above, (0, 0, side // 2, side - side // 2)), result]))
    write_image(demo, np.concatenate([padded(column, (0, 0, 0, 6)) for column in columns], 1)[:, :-6])
    write_image(layers, steps(portrait, pairing, moved[step], pairing.view(shown[step]), mesh))


def steps(portrait: Portrait, pairing: Pairing, moved: Moved, view: np.ndarray, mesh: np.ndarray) -> np.ndarray:
    """From a photo and a driving frame, its `view` with its mesh, to the result."""
    layers = Layers.of(portrait.photo, pairing.person, 2.2 * portrait.source.pose.scale)
    bare = Portrait(portrait.photo, portrait.source, pairing.person)
    pictures = {
        "1 photo and its mesh": wires(portrait.photo, pairing.mesh),
        "2 driving frame": wires(view, mesh),
        "3 landmarks moved": wires(portrait.photo // 2, moved.landmarks),
        "4 dense motion": moved_grid(portrait, moved, layers.matte),
        "5 the person": over(layers.person, layers.matte, (255, 0, 160)),
        "6 the background, filled": layers.background,
        "7 warped, mouth as the photo has it": bare(moved),
        "8 result, mouth painted": portrait(moved),
    }
    cells = [titled(fitted(picture, 300), name) for name, picture in pictures.items()]
    width = max(cell.shape[1] for cell in cells)
    cells = [padded(cell, (4, 4, 4, 4 + width - cell.shape[1])) for cell in cells]
    return np.concatenate([np.concatenate(cells[i : i + 4], 1) for i in (0, 4)])


def wires(picture: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The mesh over a picture (H, W, 3)."""
    drawn = picture.copy()
    points = np.rint(8 * landmarks[:, :2]).astype(np.int32)
    cv2.polylines(drawn, list(points[TRIANGLES]), True, (200, 225, 255), 1, cv2.LINE_AA, 3)
    for part in (*EYES, MOUTH):
        cv2.polylines(drawn, [points[part.opening]], True, (255, 210, 60), 2, cv2.LINE_AA, 3)
    return drawn


def moved_grid(portrait: Portrait, moved: Moved, matte: np.ndarray, step: int = 30) -> np.ndarray:
    """A grid painted on the person `matte` (H, W), as the dense motion moves it."""
    height, width = portrait.photo.shape[:2]
    field = portrait.surface.field(portrait.surface.vertices(moved), np.eye(2, 3), (width, height))
    person = cv2.remap(matte, field.points, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    near = np.minimum(field.points % step, step - field.points % step).min(2)
    strength = (np.clip(2 - near, 0, 1) * field.covered * (0.1 + 0.9 * person))[..., None]
    paper = cv2.remap(portrait.photo, field.points, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    paper = 255 - (255 - paper.astype(np.float32)) * 0.45
    return np.uint8(paper * (1 - strength) + np.array(LINES) * strength)


def over(picture: np.ndarray, matte: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    alpha = matte[..., None]
    return np.uint8(picture * alpha + np.array(colour) * (1 - alpha))


def fitted(picture: np.ndarray, height: int) -> np.ndarray:
    size = round(picture.shape[1] * height / picture.shape[0]), height
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def titled(picture: np.ndarray, words: str) -> np.ndarray:
    canvas = padded(picture, (26, 0, 0, 0))
    cv2.putText(canvas, words, (2, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (30, 30, 40), 1, cv2.LINE_AA)
    return canvas


def padded(picture: np.ndarray, sides: tuple[int, int, int, int]) -> np.ndarray:
    """White paper above, below, left and right."""
    return cv2.copyMakeBorder(picture, *sides, cv2.BORDER_CONSTANT, value=(255,) * 3)


if __name__ == "__main__":
    run(lambda: CLI(draw, as_positional=False))
