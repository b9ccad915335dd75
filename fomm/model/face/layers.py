"""The layers of a portrait: the person cut out, the background behind it, pieces that are seen through openings.

Everything that depends on the photo alone is made once. Pictures are (H, W, 3) uint8 RGB.
"""

from __future__ import annotations

from copy import copy
from typing import NamedTuple

import cv2
import numpy as np

from fomm.model.face.behind import fill
from fomm.model.face.canvas import polygon
from fomm.model.face.matte import foreground, outlined
from fomm.model.face.mesh import Pose
from fomm.model.face.motion import Face, Moved, ramp

STILL_PX = (0.03, 0.3)  # a motion below the first leaves the photo as it is, from the second on it is drawn
LAYERS_PX = 400.0  # height of a face above which layers are made from a smaller photo


class Layers(NamedTuple):
    """A photo taken apart.

    Attributes:
        matte: (H, W) float32 in [0, 1], how much of a pixel is the person.
        person: (H, W, 3) uint8, the person's own colours, also a little beyond the outline.
        background: (H, W, 3) uint8, with the person taken out; away from the person it is the photo, bit for bit.
    """

    matte: np.ndarray
    person: np.ndarray
    background: np.ndarray

    @classmethod
    def of(cls, photo: np.ndarray, person: np.ndarray, face_px: float, edges: np.ndarray | None = None) -> Layers:
        """From a photo and (H, W) float32 in [0, 1], how sure it is that a pixel shows the person; `edges` as for
        `Sitter`.

        Outline and filling of a large face are found in a smaller photo: they are smooth, and the photo's own pixels
        stay wherever one layer alone is seen.
        """
        return _taken_apart(photo, person, face_px, photo if edges is None else edges)[0]


def _taken_apart(photo: np.ndarray, person: np.ndarray, face_px: float, edges: np.ndarray) -> tuple[Layers, np.ndarray]:
    """As `Layers.of`, and (H, W) float32 in [0, 1], where the photo is not trusted to be background alone."""
    factor = LAYERS_PX / face_px
    if factor >= 1:
        matte, hidden = outlined(photo, person, face_px, edges)
        return Layers(matte, foreground(photo, matte, face_px), fill(photo, hidden, face_px)), hidden
    height, width = photo.shape[:2]
    small_wh = max(1, round(factor * width)), max(1, round(factor * height))
    less_photo, less_person, less_edges = (
        cv2.resize(one, small_wh, interpolation=cv2.INTER_AREA) for one in (photo, person, edges)
    )
    small, hidden = _taken_apart(less_photo, less_person, LAYERS_PX, less_edges)
    matte, near, behind, hidden = (
        cv2.resize(one, (width, height), interpolation=cv2.INTER_LINEAR) for one in (*small, hidden)
    )
    alone = ramp(matte, 0.9, 1.0).astype(np.float32)
    hidden = np.minimum(1.0, 8 * hidden)
    person = cv2.blendLinear(photo, near, alone, 1 - alone)
    return Layers(matte, person, cv2.blendLinear(behind, photo, hidden, 1 - hidden)), hidden


class Inside:
    """What is seen through an opening of the face: a piece of the photo that keeps its form while the edges move.

    Args:
        photo: (H, W, 3) uint8.
        opening: (N, 2) the opening's edge in the photo's pixels.
        room_px: how much around it is kept.
    """

    def __init__(self, photo: np.ndarray, opening: np.ndarray, room_px: float) -> None:
        low = np.floor(opening.min(0) - room_px).astype(int)
        high = np.ceil(opening.max(0) + room_px).astype(int) + 1
        x, y = (np.clip(np.arange(a, b), 0, n - 1) for a, b, n in zip(low, high, photo.shape[1::-1], strict=True))
        self.texture = np.ascontiguousarray(photo[np.ix_(y, x)])
        self.low = low
        margin = max(0.5, (high - low)[0] / 80)
        size = int(high[0] - low[0]), int(high[1] - low[1])
        self.seen = cv2.erode(polygon(opening - low, size), np.ones((2 * round(margin) + 1,) * 2, np.uint8))

    def only(self, mask: np.ndarray) -> Inside:
        """The same piece, of which only what lies in `mask` (h, w) uint8 counts as seen."""
        part = copy(self)
        part.seen = cv2.min(self.seen, mask)
        return part

    def warped(self, turn: np.ndarray, here: np.ndarray, there: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
        """(h, w, 4) its colours and where it was seen; the photo's point `here` comes to the canvas' `there`."""
        return np.dstack(
            [
                self.placed(self.texture, turn, here, there, size_wh, by=cv2.INTER_CUBIC),
                self.placed(self.seen, turn, here, there, size_wh),
            ]
        )

    def placed(
        self,
        picture: np.ndarray,
        turn: np.ndarray,
        here: np.ndarray,
        there: np.ndarray,
        size_wh: tuple[int, int],
        by: int = cv2.INTER_LINEAR,
    ) -> np.ndarray:
        """A picture of this piece, pixel for pixel, as `warped` has it on the canvas; `by` is how it is read."""
        back = np.linalg.inv(turn)
        matrix = np.column_stack([back, here - self.low - back @ there])
        return cv2.warpAffine(
            picture, matrix, size_wh, flags=by | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
        )


def change_px(points: np.ndarray, source: Face, moved: Moved) -> float:
    """How far the landmarks of these numbers are from where the photo has them."""
    return float(np.abs(moved.landmarks[points, :2] - source.landmarks[points, :2]).max())


def turn_of(source: Pose, moved: Pose) -> np.ndarray:
    """(2, 2) how a flat piece of the face, at right angles to where it looks, changes from one pose to the other."""
    return (moved.scale * moved.rotation[:2, :2]) @ np.linalg.inv(source.scale * source.rotation[:2, :2])
