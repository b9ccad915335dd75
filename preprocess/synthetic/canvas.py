"""What a puppet is drawn on: a float picture for soft polygons and samples of painted textures. Points in pixels."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike

from preprocess.synthetic.puppet_textures import REACH

Box = tuple[int, int, int, int]  # left, top, right, bottom; right and bottom excluded
FINE, SHIFT = 2, 4  # edges are drawn at twice the resolution, vertices at 1/16 of a pixel of that


def fixed(points: np.ndarray) -> np.ndarray:
    """Points in 1/16 of a pixel, as cv2 takes them with `SHIFT`."""
    return np.rint(np.asarray(points) * (1 << SHIFT)).astype(np.int32)


class Canvas:
    """A float picture that soft polygons are laid on. Points in pixels."""

    def __init__(self, image: np.ndarray) -> None:
        self.image = image  # (H, W, 3) float32, 0..255
        self.height, self.width = image.shape[:2]
        self.shade = np.ones_like(image)  # light on the head, multiplied into what is painted on it

    def box(self, points: np.ndarray, pad: float = 2.0) -> Box | None:
        """What of the picture lies around the points; None where nothing does."""
        x, y, width, height = cv2.boundingRect(points.astype(np.float32))
        pad = int(pad) + 1
        left, right = max(x - pad, 0), min(x + width + pad, self.width)
        top, bottom = max(y - pad, 0), min(y + height + pad, self.height)
        return (left, top, right, bottom) if right > left and bottom > top else None

    def mask(self, points: np.ndarray, box: Box, soft: float = 0.0) -> np.ndarray:
        """Cover (h, w) 0..1 of a polygon, its edge blurred by `soft` pixels."""
        left, top, right, bottom = box
        width, height = right - left, bottom - top
        # crisp edges are drawn large, blurred ones small: a wide blur at full size would cost most of the frame's time
        shrink = max(soft / 1.5, 1)
        wide, high = (width * FINE, height * FINE) if soft < 1 else (int(width / shrink) + 1, int(height / shrink) + 1)
        zoom = np.array([wide / width, high / height])
        drawn = np.zeros((high, wide), np.uint8)
        cv2.fillPoly(drawn, [fixed((points - (left, top) + 0.5) * zoom - 0.5)], 255, cv2.LINE_AA, SHIFT)
        if soft < 1:
            cover = cv2.resize(drawn, (width, height), interpolation=cv2.INTER_AREA)
            if soft > 0.25:
                cover = cv2.GaussianBlur(cover, (0, 0), soft)
        else:
            cover = cv2.GaussianBlur(drawn, (0, 0), soft * float(zoom[0]))
            if cover.shape != (height, width):
                cover = cv2.resize(cover, (width, height), interpolation=cv2.INTER_LINEAR)
        return cover.astype(np.float32) * np.float32(1 / 255)

    def blend(self, box: Box, cover: np.ndarray, colour: ArrayLike, lit: bool = True) -> None:
        """Lay a colour, (3,) or (h, w, 3), on the box where `cover` says."""
        left, top, right, bottom = box
        area = self.image[top:bottom, left:right]
        colour = np.asarray(colour, np.float32)
        if lit:
            colour = cv2.multiply(self.shade[top:bottom, left:right], (*colour.tolist(), 0.0))
        elif colour.ndim == 1:
            flat, colour = colour.tolist(), np.empty_like(area)
            cv2.rectangle(colour, (0, 0), (right, bottom), flat, cv2.FILLED)
        area[:] = cv2.blendLinear(colour, np.ascontiguousarray(area), cover, 1 - cover)

    def darken(self, box: Box, cover: np.ndarray, factor: Sequence[float]) -> None:
        """Multiply a box by a factor for each channel, as far as `cover` (h, w) 0..1 says."""
        left, top, right, bottom = box
        factors = cv2.merge([1 - cover * np.float32(1 - f) for f in factor])
        self.image[top:bottom, left:right] *= factors

    def fill(
        self, points: np.ndarray, colour: ArrayLike, *, alpha: float = 1.0, soft: float = 0.0, lit: bool = True
    ) -> None:
        """Paint a polygon (N, 2) in a colour (RGB, 0..255), its edge blurred by `soft` pixels; `lit`: shaded."""
        if (box := self.box(points, 2 + 3 * soft)) is not None:
            cover = self.mask(points, box, soft)
            self.blend(box, cover * np.float32(alpha) if alpha != 1 else cover, colour, lit)


def ribbon(line: np.ndarray, half: np.ndarray | float, closed: bool = False) -> np.ndarray:
    """Polygon around a line (N, 2) with half widths (N,)."""
    if closed:
        line = np.concatenate([line, line[:1]])
    along = np.empty_like(line)
    along[1:-1] = line[2:] - line[:-2]
    along[0], along[-1] = line[1] - line[0], line[-1] - line[-2]
    if closed:
        along[0] = along[-1] = line[1] - line[-2]
    across = np.stack([-along[:, 1], along[:, 0]], 1) / (np.hypot(along[:, 0], along[:, 1])[:, None] + 1e-6)
    across = across * np.broadcast_to(half, len(line))[:, None]
    return np.concatenate([line + across, (line - across)[::-1]])


def smoothed(points: np.ndarray, times: int = 2) -> np.ndarray:
    """A closed polygon with its corners cut (Chaikin)."""
    for _ in range(times):
        following = np.roll(points, -1, axis=0)
        points = np.stack([0.75 * points + 0.25 * following, 0.25 * points + 0.75 * following], 1).reshape(
            -1, points.shape[1]
        )
    return points


def look_up(pyramid: list[np.ndarray], u: np.ndarray, v: np.ndarray, pixels_per_unit: float) -> np.ndarray:
    """Look up a stereographic texture in the level whose texels are about as large as the pixels."""
    # over the face's middle du = dx / 2, so a unit of the head is texels / (4 * REACH) texels
    level = 0
    while level + 1 < len(pyramid) and pyramid[level].shape[0] / (4 * REACH) > 1.2 * pixels_per_unit:
        level += 1
    texture = pyramid[level]
    k = (texture.shape[0] - 1) / (2 * REACH)
    texels = (x * np.float32(k) + np.float32(k * REACH) for x in (u, v))
    return cv2.remap(texture, *texels, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
