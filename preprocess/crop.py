"""One affine matrix per crop: used forward to crop, inverted to paste. Pure numpy and cv2.

Pixel convention everywhere: (x, y), integers at pixel CENTRES, as cv2.warpAffine has it. So a square of side `s` centred
on `c` covers [c - s/2, c + s/2], and scaling by `f` maps x to f (x + 1/2) - 1/2 (cv2.resize does the same).
Pictures are (H, W, 3) uint8 RGB.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from preprocess.faces import Face

FACE_SCALE = 1.5  # crop side in face sides: 1.2 x the longer side of the union of a track in which the face moves by 1/4
FEATHER = 0.1  # width of a mask's soft edge, in crop sides

# Change between the original and the animated crop, in grey levels, at which the photo's own fine detail starts to give
# way and is gone: noise and recompression stay below the first, a moved feature is above the second.
CHANGE_LEVELS = (4.0, 16.0)


def crop_matrix(centre_px: np.ndarray, side_px: float, roll_deg: float, size: int) -> np.ndarray:
    """(2, 3) matrix from picture to crop pixels: the square of `side_px` around `centre_px`, turned by `roll_deg`
    (positive = clockwise on the screen), becomes an upright size x size crop."""
    factor, angle = size / side_px, np.radians(roll_deg)
    turn = factor * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    shift = (size - 1) / 2 - turn @ np.asarray(centre_px, dtype=float)
    return np.column_stack([turn, shift])


def invert(matrix: np.ndarray) -> np.ndarray:
    """The (2, 3) matrix that undoes an affine (2, 3) matrix."""
    return cv2.invertAffineTransform(np.asarray(matrix, dtype=float))


def transform(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (N, 2) through a (2, 3) matrix."""
    return np.asarray(points) @ matrix[:, :2].T + matrix[:, 2]


def warp(image: np.ndarray, matrix: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """Resample `image` (H, W) or (H, W, C), uint8 or float32, through `matrix` (2, 3) to width x height `size_wh`.

    Shrinking averages over source pixels (cv2.warpAffine alone would alias); what lies outside the picture repeats its
    border.
    """
    height, width = image.shape[:2]
    # only the part of the picture that the result can see, and two pixels for the interpolation
    corners = np.array([[-0.5, -0.5], [size_wh[0] - 0.5, -0.5], [-0.5, size_wh[1] - 0.5], [size_wh[0] - 0.5, size_wh[1] - 0.5]])
    seen = transform(invert(matrix), corners)
    left, top = np.clip(np.floor(seen.min(0)).astype(int) - 2, 0, (width - 1, height - 1))
    right, bottom = np.clip(np.ceil(seen.max(0)).astype(int) + 3, (left + 1, top + 1), (width, height))
    part = image[top:bottom, left:right]
    matrix = np.column_stack([matrix[:, :2], transform(matrix, np.array([[left, top]]))[0]])

    factor = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if factor < 1.0:
        old_h, old_w = part.shape[:2]
        new_h, new_w = max(1, round(old_h * factor)), max(1, round(old_w * factor))
        part = cv2.resize(part, (new_w, new_h), interpolation=cv2.INTER_AREA)
        sx, sy = old_w / new_w, old_h / new_h
        back = np.array([[sx, 0, sx / 2 - 0.5], [0, sy, sy / 2 - 0.5], [0, 0, 1]])
        matrix = matrix @ back
    return cv2.warpAffine(part, matrix, size_wh, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


@lru_cache(maxsize=8)
def soft_mask(size: int, feather: float = FEATHER) -> np.ndarray:
    """(size, size) float32 mask in [0, 1] of a crop: 1 inside, falling smoothly to 0 at its edge over `feather` crop sides.

    Corners are round. The array is shared: do not write to it.
    """
    width = max(1.0, feather * size)
    away = np.abs(np.arange(size) - (size - 1) / 2) - (size / 2 - 2 * width)  # rounded over two feather widths
    x, y = np.meshgrid(np.maximum(away, 0), np.maximum(away, 0))
    ramp = np.clip((2 * width - 0.5 - np.hypot(x, y)) / width, 0, 1)
    mask = (ramp * ramp * (3 - 2 * ramp)).astype(np.float32)
    mask.setflags(write=False)
    return mask


@dataclass(frozen=True, eq=False)
class Crop:
    """A square crop of a picture: `matrix` (2, 3) leads from the picture's pixels to those of the size x size crop."""

    matrix: np.ndarray
    size: int

    @property
    def inverse(self) -> np.ndarray:
        """(2, 3) matrix from crop pixels to picture pixels."""
        return invert(self.matrix)

    @property
    def side_px(self) -> float:
        """Side of the crop in picture pixels."""
        return self.size / float(np.hypot(self.matrix[0, 0], self.matrix[1, 0]))

    @property
    def centre_px(self) -> np.ndarray:
        """(2,) centre of the crop in picture pixels."""
        return transform(self.inverse, np.full((1, 2), (self.size - 1) / 2))[0]

    @property
    def roll_deg(self) -> float:
        """Angle by which the square lies turned in the picture, positive = clockwise on the screen."""
        return float(np.degrees(np.arctan2(self.matrix[0, 1], self.matrix[0, 0])))

    @property
    def corners_px(self) -> np.ndarray:
        """(4, 2) corners in picture pixels: left top, right top, right bottom, left bottom of the crop."""
        low, high = -0.5, self.size - 0.5
        return transform(self.inverse, np.array([[low, low], [high, low], [high, high], [low, high]]))

    def apply(self, photo: np.ndarray) -> np.ndarray:
        """The crop (size, size, 3) of a picture; where it leaves the picture, the border is repeated."""
        return warp(photo, self.matrix, (self.size, self.size))

    def paste(self, photo: np.ndarray, changed: np.ndarray, original: np.ndarray | None = None) -> np.ndarray:
        """The picture with the changed crop (S, S, 3) put back. For many crops of one picture, use `Paster`."""
        return Paster(photo, self, original=original)(changed)


class Paster:
    """Puts changed crops of one picture back into it: `paster(changed)` is the whole picture, of its exact size.

    What is added to the picture is the *difference* to the original crop, so an unchanged crop leaves every pixel as it
    was, and a face larger than the crop keeps its fine detail wherever nothing moved. Where the crop did change, the
    picture's own detail (what the crop could not hold) would shine through as a ghost: there it is dropped, and the
    changed crop stands alone. Nothing outside the crop's soft mask is touched.

    Args:
        photo: (H, W, 3) uint8.
        crop: the crop; changed crops may have another size than `crop.size`, they are taken to cover the same square.
        original: what an unchanged crop looks like, (S, S, 3) uint8; by default `crop.apply(photo)`.
        mask: (S, S) float in [0, 1], where the crop may change the picture; by default `soft_mask`.
    """

    def __init__(
        self, photo: np.ndarray, crop: Crop, *, original: np.ndarray | None = None, mask: np.ndarray | None = None
    ) -> None:
        self._photo = photo
        original = crop.apply(photo) if original is None else original
        size = original.shape[0]
        mask = soft_mask(size) if mask is None else mask
        self._original = original.astype(np.float32)

        height, width = photo.shape[:2]
        low = np.clip(np.floor(crop.corners_px.min(0)).astype(int), 0, (width, height))
        high = np.clip(np.ceil(crop.corners_px.max(0)).astype(int) + 1, low, (width, height))
        (self._left, self._top), (self._right, self._bottom) = low, high
        self._empty = bool((high <= low).any())
        if self._empty:
            return
        resize = size / crop.size
        to_crop = np.column_stack([crop.matrix[:, :2] * resize, (crop.matrix[:, 2] + 0.5) * resize - 0.5])
        self._to_roi = invert(to_crop)
        self._to_roi[:, 2] -= low
        self._roi_wh = (int(self._right - self._left), int(self._bottom - self._top))
        self._before = photo[self._top : self._bottom, self._left : self._right].astype(np.float32)
        # the border of the crop is repeated outside of it, so the mask has to end by itself
        inside = np.pad(np.asarray(mask, np.float32)[1:-1, 1:-1], 1)
        self._mask = np.clip(warp(inside, self._to_roi, self._roi_wh), 0, 1)[..., None]
        self._detail = self._mask * (self._before - warp(self._original, self._to_roi, self._roi_wh))

    def __call__(self, changed: np.ndarray) -> np.ndarray:
        """The picture (H, W, 3) uint8 with `changed` (S, S, 3) uint8 in the place of the original crop."""
        if changed.shape != self._original.shape:
            raise ValueError(f"the changed crop is {changed.shape}, but the original one {self._original.shape}")
        result = self._photo.copy()
        if self._empty:
            return result
        difference = changed.astype(np.float32) - self._original
        moved = warp(_change(difference), self._to_roi, self._roi_wh)[..., None]
        after = self._before + self._mask * warp(difference, self._to_roi, self._roi_wh) - moved * self._detail
        np.clip(after, 0, 255, out=after)
        result[self._top : self._bottom, self._left : self._right] = np.rint(after)
        return result


def _change(difference: np.ndarray) -> np.ndarray:
    """(S, S) in [0, 1]: how much a crop changed around each pixel, from the difference (S, S, 3) in grey levels."""
    size = difference.shape[0]
    reach = max(3, size // 32 | 1)
    strength = cv2.dilate(np.abs(difference).max(2), np.ones((reach, reach), np.uint8))
    strength = cv2.blur(strength, (reach, reach))
    low, high = CHANGE_LEVELS
    ramp = np.clip((strength - low) / (high - low), 0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def face_crop(face: Face, size: int = 256, *, scale: float = FACE_SCALE, derotate: bool = True) -> Crop:
    """Crop around a face: side = `scale` x the face's longer side, upright by its roll unless `derotate` is False.

    Nothing of the turned square is lost: what the picture has of it is in the crop.
    """
    return Crop(crop_matrix(face.centre_px, scale * face.side_px, face.roll_deg if derotate else 0.0, size), size)
