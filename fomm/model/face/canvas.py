"""Pictures to draw into, and small things that are done to pictures. Pictures are uint8, (H, W) or (H, W, 3) RGB."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

_SUBPIXEL = 4  # bits


class Canvas(NamedTuple):
    """A picture to draw into and the way to it: `to` (2, 3) leads from the photo's pixels to the picture's."""

    picture: np.ndarray
    to: np.ndarray

    def points(self, points: np.ndarray) -> np.ndarray:
        """(N, 2) from the photo's pixels to the canvas'."""
        return points @ self.to[:, :2].T + self.to[:, 2]

    def window(self, points: np.ndarray) -> tuple[np.ndarray, tuple[int, int]] | None:
        """Corner and size (width, height) of the part that holds `points` of the canvas; None where there is none."""
        low = np.maximum(np.floor(points.min(0)).astype(int) - 2, 0)
        high = np.minimum(np.ceil(points.max(0)).astype(int) + 3, self.picture.shape[1::-1])
        return None if (high - low < 2).any() else (low, (int(high[0] - low[0]), int(high[1] - low[1])))

    def blend(self, low: np.ndarray, colours: np.ndarray, weight: np.ndarray) -> None:
        """Lay `colours` (h, w, 3) over the part that begins at `low`, with `weight` (h, w) float32 in [0, 1]."""
        part = self.picture[low[1] : low[1] + weight.shape[0], low[0] : low[0] + weight.shape[1]]
        part[:] = cv2.blendLinear(np.ascontiguousarray(colours), np.ascontiguousarray(part), weight, 1 - weight)


def polygon(points: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """(H, W) uint8 mask of a closed line (N, 2), with a soft edge."""
    mask = np.zeros((size_wh[1], size_wh[0]), np.uint8)
    drawn = np.round(np.asarray(points) * (1 << _SUBPIXEL)).astype(np.int32)
    cv2.fillPoly(mask, [drawn], 255, cv2.LINE_AA, _SUBPIXEL)
    return mask


def shrunk(picture: np.ndarray, to: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """`picture` (H, W) or (H, W, 3) uint8 through `to` (2, 3), averaged where it gets smaller."""
    factor = float(np.hypot(to[0, 0], to[0, 1]))
    if factor < 0.75:
        back = cv2.invertAffineTransform(to)
        corners = np.array([(x, y) for x in (-1, size_wh[0]) for y in (-1, size_wh[1])]) @ back[:, :2].T + back[:, 2]
        height, width = picture.shape[:2]
        low = np.clip(np.floor(corners.min(0)).astype(int), 0, (width - 1, height - 1))
        high = np.clip(np.ceil(corners.max(0)).astype(int) + 1, low + 1, (width, height))
        wanted = np.maximum(1, np.round((high - low) * factor)).astype(int)
        part = picture[low[1] : high[1], low[0] : high[0]]
        picture = cv2.resize(part, (int(wanted[0]), int(wanted[1])), interpolation=cv2.INTER_AREA)
        scale = (high - low) / wanted
        to = np.column_stack([to[:, :2] * scale, to[:, 2] + to[:, :2] @ (low + scale / 2 - 0.5)])
    return cv2.warpAffine(picture, to, size_wh, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def part_with(photo: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part of a photo (H, W, 3) that holds points (N, 2): where it begins, and its pixels; of one at least."""
    low = np.clip(np.floor(points.min(0)).astype(int), 0, np.array(photo.shape[1::-1]) - 1)
    high = np.clip(np.ceil(points.max(0)).astype(int) + 1, low + 1, photo.shape[1::-1])
    return low, np.ascontiguousarray(photo[low[1] : high[1], low[0] : high[0]])
