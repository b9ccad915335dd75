"""A photo's own detail for the models of the paper, whose networks see and make small pictures.

Their dense motion is smooth, so it serves a picture of any resolution: it is applied to the photo itself, as model
`face` does with its own. The network's colours, enlarged, stand where the photo does not show what is needed.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from fomm.model import Output
from fomm.model.face.canvas import shrunk
from fomm.model.face.motion import ramp
from fomm.model.geometry import displacement
from fomm.pixels import to_pictures

DIFFERS_LEVELS = (8.0, 24.0)
"""Difference between the moved photo and the network's picture, in grey levels, up to which the photo stands and from
which on the network does: it has opened a mouth or shut an eye, which no dense motion can."""
COMPARED = 1 / 51
"""Side of the squares over whose means the two are compared, in sides of the network's picture: it is too soft to be
compared pixel by pixel."""


class SourceDetail:
    """The photo moved at its own resolution, with the network's colours where it does not show what is needed.

    That is where the model says that something is occluded, and where the network painted something else than what the
    dense motion brings there.

    Args:
        photo: (H, W, 3) uint8 RGB that shows what the source picture shows, and may show more around it; not copied.
        source_wh: width and height of the source picture, as given to the animator.
        to_source: (2, 3) matrix from the photo's pixels to the source's (integers at pixel centres); by default both
            show the same.
        mask: (height, width) float32 in [0, 1] of the source picture, where the photo may change; by default wherever
            the source shows it. What the source does not show stays as it is.
    """

    def __init__(
        self,
        photo: np.ndarray,
        source_wh: tuple[int, int],
        to_source: np.ndarray | None = None,
        mask: np.ndarray | None = None,
    ) -> None:
        width, height = source_wh
        if to_source is None:
            zoom = np.array([width / photo.shape[1], height / photo.shape[0]])
            to_source = np.column_stack([np.diag(zoom), zoom / 2 - 0.5])
        self.photo, self._source_wh = photo, source_wh
        to_photo = cv2.invertAffineTransform(np.asarray(to_source, float))
        corners = np.array([(x, y) for x in (-0.5, width - 0.5) for y in (-0.5, height - 0.5)])
        corners = corners @ to_photo[:, :2].T + to_photo[:, 2]
        low = np.clip(np.round(corners.min(0)), 0, photo.shape[1::-1]).astype(int)
        high = np.clip(np.round(corners.max(0)) + 1, low, photo.shape[1::-1]).astype(int)
        self._part = np.s_[low[1] : high[1], low[0] : high[0]]  # of the photo that the source shows
        self._part_wh = int(high[0] - low[0]), int(high[1] - low[1])
        self._turn = to_photo[:, :2].astype(np.float32)
        self._to_part = np.column_stack([to_photo[:, :2], to_photo[:, 2] - low])
        self._to_source = cv2.invertAffineTransform(self._to_part)
        if 0 in self._part_wh:
            return
        own_place = np.meshgrid(*(np.arange(a, b, dtype=np.float32) for a, b in zip(low, high, strict=True)))
        self._own_place = np.dstack(own_place)
        self._mask = None if mask is None else shrunk(np.asarray(mask, np.float32), self._to_part, self._part_wh)

    def pictures(self, output: Output, *, align_corners: bool) -> Iterator[np.ndarray]:
        """The photo (H, W, 3) uint8 in motion, one for each picture of a batch.

        Args:
            output: what the model computed of the source picture.
            align_corners: the model's convention of warps.
        """
        moves = displacement(output.motion.deformation, align_corners=align_corners).float().cpu().numpy()
        occlusion = output.motion.occlusion
        shown = np.ones(moves.shape[:3], np.float32) if occlusion is None else occlusion[:, 0].float().cpu().numpy()
        for painted, shift, visible in zip(to_pictures(output.prediction), moves, shown, strict=True):
            yield self._composed(painted, shift, visible)

    def _composed(self, painted: np.ndarray, shift: np.ndarray, visible: np.ndarray) -> np.ndarray:
        """Of the network's picture (h, w, 3) uint8, the dense motion (g, g, 2) in its cells, and (g, g) in [0, 1]."""
        result = self.photo.copy()
        if 0 in self._part_wh:
            return result
        width, height = self._source_wh
        cells = np.array([width / shift.shape[1], height / shift.shape[0]], np.float32)
        moves = self._enlarged((shift * cells) @ self._turn.T)
        # Each pixel's own place is added last: a motion of none gives the photo back to the bit, up to its edges.
        points = self._own_place + moves
        moved = cv2.remap(self.photo, points, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        keep = cv2.resize(visible, self._source_wh, interpolation=cv2.INTER_LINEAR) * self._agreement(moved, painted)
        keep = shrunk(keep, self._to_part, self._part_wh)
        composed = cv2.blendLinear(moved, self._in_photo(painted), keep, 1 - keep)
        part = result[self._part]
        if self._mask is not None:
            composed = cv2.blendLinear(composed, np.ascontiguousarray(part), self._mask, 1 - self._mask)
        part[:] = composed
        return result

    def _agreement(self, moved: np.ndarray, painted: np.ndarray) -> np.ndarray:
        """(h, w) float32 in [0, 1]: how far the network painted what the motion brings, in its own resolution."""
        side = max(3, round(COMPARED * max(self._source_wh)) | 1)
        seen = shrunk(moved, self._to_source, self._source_wh)
        apart = cv2.absdiff(cv2.blur(seen, (side, side)), cv2.blur(painted, (side, side))).max(-1)
        apart = cv2.GaussianBlur(apart.astype(np.float32), (0, 0), side / 2)
        return (1 - ramp(apart, *DIFFERS_LEVELS)).astype(np.float32)

    def _enlarged(self, moves: np.ndarray) -> np.ndarray:
        """(g, g, 2) of the grid for each pixel of the part."""
        # By way of the source's size: cv2.warpAffine knows places to 1/32 of a pixel only, cv2.resize exactly.
        return shrunk(cv2.resize(moves, self._source_wh), self._to_part, self._part_wh)

    def _in_photo(self, painted: np.ndarray) -> np.ndarray:
        """The network's picture where it belongs, (h, w, 3) uint8 of the part."""
        if abs(np.linalg.det(self._to_part[:, :2])) < 1:
            return shrunk(painted, self._to_part, self._part_wh)
        return cv2.warpAffine(
            painted, self._to_part, self._part_wh, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
