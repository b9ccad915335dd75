"""Training pairs of the generator of model `face`: what the warp makes of one frame of a person for another frame."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from fomm.model.face.canvas import Canvas
from fomm.model.face.generator import PATCH_WH, conditions, patch_matrix
from fomm.model.face.layers import Mouth, shown_by
from fomm.model.face.motion import Face, Moved, move
from fomm.model.face.surface import Surface


class Patch(NamedTuple):
    """Attributes:
    patch: (80, 96, 3) uint8, what the warp makes of the source.
    conditions: (5, 80, 96) float32, see `generator.conditions`.
    to: (2, 3) from the source's pixels to the patch's.
    """

    patch: np.ndarray
    conditions: np.ndarray
    to: np.ndarray


class Pair(NamedTuple):
    """Attributes:
    patch: (80, 96, 3) float32 in [0, 1], what the warp makes of the source.
    conditions: (5, 80, 96) float32, see `generator.conditions`.
    target: (80, 96, 3) float32 in [0, 1], what it should be.
    """

    patch: np.ndarray
    conditions: np.ndarray
    target: np.ndarray


class Source:
    """A picture (H, W, 3) uint8 and its face, of which patches are drawn."""

    def __init__(self, picture: np.ndarray, face: Face) -> None:
        self.picture, self.face = picture, face
        self._surface = Surface(face, (picture.shape[1], picture.shape[0]))
        self._mouth = Mouth(picture, face)

    def patch(self, moved: Moved) -> Patch:
        """What the generator sees of the moved face."""
        to = patch_matrix(moved)
        field = self._surface.field(self._surface.vertices(moved), to, PATCH_WH)
        drawn = cv2.remap(self.picture, field.points, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        shown = shown_by(self._mouth.draw(Canvas(drawn, to), moved), drawn.shape)
        return Patch(drawn, conditions(self.face, moved, shown, to), to)


def training_pair(source: Source, picture: np.ndarray, face: Face) -> Pair:
    """The patch that the warp makes of the source for another frame of the same person, and what it should be.

    Args:
        picture: (H, W, 3) uint8, the other frame; `face`: its face.
    """
    made = source.patch(move(source.face, face, source.face))
    target = cv2.warpAffine(picture, made.to, PATCH_WH, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return Pair(_unit(made.patch), made.conditions, _unit(target))


def _unit(picture: np.ndarray) -> np.ndarray:
    return picture.astype(np.float32) / 255
