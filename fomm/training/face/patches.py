"""Training pairs of the generator of model `face`: what the warp makes of one frame of a person for another frame."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from fomm.model.face.canvas import Canvas
from fomm.model.face.generator import PATCH_WH, conditions, patch_matrix
from fomm.model.face.motion import Face, move
from fomm.model.face.mouth import Mouth, shown_by
from fomm.model.face.surface import Surface


class Pair(NamedTuple):
    """A training pair around the mouth, `generator.PATCH_WH` pixels large."""

    patch: np.ndarray  # (80, 96, 3) float32 in [0, 1], what the warp makes of the source
    conditions: np.ndarray  # (5, 80, 96) float32, see `generator.conditions`
    target: np.ndarray  # (80, 96, 3) float32 in [0, 1], what it should be


def training_pair(source: np.ndarray, source_face: Face, picture: np.ndarray, face: Face) -> Pair:
    """The patch that the warp makes of one frame (H, W, 3) uint8 for another of the same person, each with its face,
    and what it should be."""
    moved = move(source_face, face, source_face)
    to = patch_matrix(moved)  # from the source's pixels to the patch's
    surface = Surface(source_face, (source.shape[1], source.shape[0]))
    field = surface.field(surface.vertices(moved), to, PATCH_WH)
    made = cv2.remap(source, field.points, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    shown = shown_by(Mouth(source, source_face).draw(Canvas(made, to), moved), made.shape)
    target = cv2.warpAffine(picture, to, PATCH_WH, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return Pair(_unit(made), conditions(source_face, moved, shown, to), _unit(target))


def _unit(picture: np.ndarray) -> np.ndarray:
    return picture.astype(np.float32) / 255
