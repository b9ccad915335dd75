"""One affine matrix per crop: used forward to crop, inverted to paste. Pure numpy and cv2.

Pixel convention everywhere: (x, y), integers at pixel CENTRES, as cv2.warpAffine has it. So a square of side `s`
centred on `c` covers [c - s/2, c + s/2], and scaling by `f` maps x to f (x + 1/2) - 1/2 (as cv2.resize does).
Pictures are (H, W, 3) uint8 RGB.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from fomm.model.face.motion import ramp

FEATHER = 0.1  # width of a mask's soft edge, in crop sides

# Change between the original and the changed crop, in grey levels, at which the picture's own fine detail starts to
# give way and is gone: noise and recompression stay below the first, a moved feature is above the second.
CHANGE_LEVELS = (4.0, 16.0)


def crop_matrix(centre_px: np.ndarray, side_px: float, roll_deg: float, size: int) -> np.ndarray:
    """(2, 3) matrix from picture to crop pixels for the square of `side_px` around `centre_px` (2,).

    The square, turned by `roll_deg` in the picture (positive = clockwise on the screen), becomes an upright crop of
    size x size pixels.
    """
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


def resized_pixels(old_wh: tuple[int, ...], new_wh: tuple[int, ...]) -> np.ndarray:
    """(3, 3) matrix from the pixels of a picture resized to `new_wh` back to those it had at `old_wh`."""
    sx, sy = old_wh[0] / new_wh[0], old_wh[1] / new_wh[1]
    return np.array([[sx, 0, sx / 2 - 0.5], [0, sy, sy / 2 - 0.5], [0, 0, 1]])


def warp(
    image: np.ndarray, matrix: np.ndarray, size_wh: tuple[int, int], *, interpolation: int = cv2.INTER_CUBIC
) -> np.ndarray:
    """Resample `image` (H, W) or (H, W, C), uint8 or float32, through `matrix` (2, 3) to `size_wh` = (width, height).

    Shrinking averages over source pixels (cv2.warpAffine alone would alias); what lies outside the picture repeats
    its border.
    """
    factor = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    region = seen_region(matrix, size_wh, (image.shape[1], image.shape[0]))
    part = region.of(image)
    matrix = np.column_stack([matrix[:, :2], transform(matrix, np.array([[region.left, region.top]]))[0]])
    if factor < 1.0:
        old_wh = (part.shape[1], part.shape[0])
        new_wh = (max(1, round(factor * old_wh[0])), max(1, round(factor * old_wh[1])))
        part = cv2.resize(part, new_wh, interpolation=cv2.INTER_AREA)
        matrix = matrix @ resized_pixels(old_wh, new_wh)
    return cv2.warpAffine(part, matrix, size_wh, flags=interpolation, borderMode=cv2.BORDER_REPLICATE)


def seen_region(matrix: np.ndarray, size_wh: tuple[int, int], picture_wh: tuple[int, int]) -> Region:
    """The part of a picture that `warp` reads, with room for the interpolation."""
    factor = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    seen = transform(invert(matrix), np.array([(x, y) for x in (0, size_wh[0] - 1) for y in (0, size_wh[1] - 1)]))
    room = 3 / min(1.0, factor)
    width, height = picture_wh
    left, top = np.clip(np.floor(seen.min(0) - room), 0, (width - 1, height - 1)).astype(int)
    right, bottom = np.clip(np.ceil(seen.max(0) + room), (left + 1, top + 1), (width, height)).astype(int)
    return Region(int(left), int(top), int(right), int(bottom))


@lru_cache(maxsize=8)
def soft_mask(size: int) -> np.ndarray:
    """(size, size) float32 mask in [0, 1] of a crop: 1 inside, falling smoothly to 0 at its edge.

    The soft edge is `FEATHER` crop sides wide, corners are round. The array is shared and read-only.
    """
    width = max(1.0, FEATHER * size)
    away = np.abs(np.arange(size) - (size - 1) / 2) - (size / 2 - 2 * width)  # corners of two feather widths
    x, y = np.meshgrid(np.maximum(away, 0), np.maximum(away, 0))
    mask = ramp(2 * width - 0.5 - np.hypot(x, y), 0, width).astype(np.float32)
    mask.setflags(write=False)
    return mask


@dataclass(frozen=True, eq=False)
class Crop:
    """A square crop of a picture: `matrix` (2, 3) leads from the picture's pixels to the crop's size x size ones."""

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

    def region(self, picture_wh: tuple[int, int]) -> Region:
        """The part of a picture that `apply` reads."""
        return seen_region(self.matrix, (self.size, self.size), picture_wh)

    def enlarged(self, size: int) -> Crop:
        """The same square in size x size pixels."""
        return Crop(crop_matrix(self.centre_px, self.side_px, self.roll_deg, size), size)

    def wider(self, factor: float) -> Crop:
        """A square around the same centre whose side is `factor` times as long."""
        return Crop(crop_matrix(self.centre_px, factor * self.side_px, self.roll_deg, self.size), self.size)

    def within(self, region: Region) -> Crop:
        """The same square, for a picture of which only this part is there."""
        return Crop(self.matrix @ np.vstack([Region(-region.left, -region.top, 0, 0).matrix, [0, 0, 1]]), self.size)

    def apply(self, photo: np.ndarray) -> np.ndarray:
        """The crop (size, size, 3) of a picture; where it leaves the picture, the border is repeated."""
        return warp(photo, self.matrix, (self.size, self.size))


class Region(NamedTuple):
    """A rectangle of a picture, in whole pixels: what is cut out of it is not resampled."""

    left: int
    top: int
    right: int
    bottom: int

    @classmethod
    def whole(cls, picture: np.ndarray) -> Region:
        """All of a picture (H, W, ...)."""
        return cls(0, 0, picture.shape[1], picture.shape[0])

    @property
    def matrix(self) -> np.ndarray:
        """(2, 3) matrix from the picture's pixels to those of the part."""
        return np.array([[1.0, 0.0, -self.left], [0.0, 1.0, -self.top]])

    @property
    def corners_px(self) -> np.ndarray:
        """(4, 2) as `Crop.corners_px`."""
        left, top, right, bottom = np.array(self) - 0.5
        return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])

    def of(self, photo: np.ndarray) -> np.ndarray:
        """The part of a picture (H, W, ...); not a copy."""
        return photo[self.top : self.bottom, self.left : self.right]

    def put(self, photo: np.ndarray, changed: np.ndarray) -> np.ndarray:
        """A copy of the picture with `changed` in the place of the part; all else is equal to the bit."""
        result = photo.copy()
        self.of(result)[...] = changed
        return result


class Paster:
    """Puts changed crops of one picture back into it: `paster(changed)` is the whole picture, of its exact size.

    What is added to the picture is the *difference* to the original crop, so an unchanged crop leaves every pixel as
    it was, and a face larger than the crop keeps its fine detail wherever nothing moved. Where the crop did change,
    the picture's own detail (what the crop could not hold) would shine through as a ghost: there it is dropped, and
    the changed crop stands alone. Nothing outside the crop's soft mask is touched.

    Args:
        photo: (H, W, 3) uint8; not copied, so leave it as it is.
        crop: where the changed crops belong.
    """

    def __init__(self, photo: np.ndarray, crop: Crop) -> None:
        self._photo, self._original = photo, crop.apply(photo)
        # what is outside the crop repeats its border, so the mask has to end there
        mask = np.pad(soft_mask(crop.size)[1:-1, 1:-1], 1)
        self._mask3 = cv2.merge([mask] * 3)

        height, width = photo.shape[:2]
        left, top = np.clip(np.floor(crop.corners_px.min(0)), 0, (width, height)).astype(int)
        right, bottom = np.clip(np.ceil(crop.corners_px.max(0)) + 1, (left, top), (width, height)).astype(int)
        self._roi = np.s_[top:bottom, left:right]
        self._roi_wh = (int(right - left), int(bottom - top))
        if 0 in self._roi_wh:  # the crop lies outside the picture
            return
        self._to_roi = crop.inverse
        self._to_roi[:, 2] -= (left, top)
        detail = photo[self._roi] - warp(self._original.astype(np.float32), self._to_roi, self._roi_wh)
        self._detail = detail * np.clip(warp(mask, self._to_roi, self._roi_wh), 0, 1)[..., None]

    def __call__(self, changed: np.ndarray) -> np.ndarray:
        """The picture (H, W, 3) uint8 with `changed` (S, S, 3) uint8 in the place of the original crop."""
        if changed.shape != self._original.shape:
            raise ValueError(f"the changed crop is {changed.shape}, but the original one {self._original.shape}")
        result = self._photo.copy()
        if 0 in self._roi_wh:
            return result
        change = _change(cv2.absdiff(changed, self._original))
        moved = warp(change, self._to_roi, self._roi_wh, interpolation=cv2.INTER_LINEAR)  # it is smooth: 3 x faster
        difference = cv2.subtract(changed, self._original, dtype=cv2.CV_32F)
        added = warp(cv2.multiply(difference, self._mask3, dst=difference), self._to_roi, self._roi_wh)
        cv2.subtract(added, cv2.multiply(self._detail, cv2.merge([moved] * 3)), dst=added)
        result[self._roi] = cv2.add(self._photo[self._roi], added, dtype=cv2.CV_8U)  # rounds and clips
        return result


def _change(difference: np.ndarray) -> np.ndarray:
    """(S, S) in [0, 1]: how much a crop changed around each pixel; `difference` (S, S, 3) uint8 in grey levels."""
    size = difference.shape[0]
    reach = max(3, size // 32 | 1)
    red, green, blue = cv2.split(difference)
    strength = cv2.dilate(cv2.max(cv2.max(red, green), blue), np.ones((reach, reach), np.uint8))
    strength = cv2.boxFilter(strength, cv2.CV_32F, (reach, reach))
    return ramp(strength, *CHANGE_LEVELS)


def fitted(picture: np.ndarray, side_px: int) -> np.ndarray:
    """(H, W, 3), resized so that its longer side is `side_px`."""
    factor = side_px / max(picture.shape[:2])
    size = max(1, round(factor * picture.shape[1])), max(1, round(factor * picture.shape[0]))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)


def shrunk(picture: np.ndarray, side_px: int) -> np.ndarray:
    """(H, W, 3), its longer side at most `side_px`; the same picture where it is."""
    return picture if max(picture.shape[:2]) <= side_px else fitted(picture, side_px)
