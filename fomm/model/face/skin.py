"""A photo's bare skin."""

from __future__ import annotations

import cv2
import numpy as np

from fomm.model.face.canvas import part_with, polygon
from fomm.model.face.mesh import BROWS, EYES, LIPS, OVAL
from fomm.model.face.motion import Face
from fomm.model.face.paint import LIGHT

SKIN_PX, SKIN_SOFT = 160.0, 0.05  # width of a face in which its bare skin is found; how smooth, in widths of the face
SKIN_BROAD, SKIN_FAR = 8, 5.0  # how much smaller it is for what lies far from bare skin, and how smooth, in its pixels
SKIN_ROOM = 0.03  # how far from outline, eyes, brows and lips bare skin begins, in widths of the face
SKIN_GRAIN = 0.012  # what is finer than this in bare skin is its grain, in widths of the face
SKIN_VARIES, SKIN_NOISE = 3.0, 4.0  # spreads, and grey levels, by which a pixel may differ from the median skin
HUE_VARIES, HUE_NOISE = 1.5, 0.012  # the same for its share of each colour


def _spread(known: np.ndarray, weight: np.ndarray, otherwise: np.ndarray, sigma: float, least: float) -> np.ndarray:
    """(h, w, 3) float32, smooth: colours times `weight` (h, w), and `otherwise` where there is not that much of it."""
    total = cv2.GaussianBlur(weight, (0, 0), sigma)[..., None]
    return (cv2.GaussianBlur(known, (0, 0), sigma) + least * otherwise) / (total + least)


class Skin:
    """A photo's skin without what stands in it: a smooth picture of its colours and light, and its grain.

    Where a side of the face that the photo shows in a few pixels is turned to the viewer, these would be drawn out to
    streaks; what is to be seen there is this.

    Args:
        photo: (H, W, 3) uint8.
        source: its face.

    Attributes:
        unrolled: (468, 2) landmarks on the skin as if it were laid out flat, in the photo's pixels.
    """

    def __init__(self, photo: np.ndarray, source: Face) -> None:
        points = source.landmarks[:, :2]
        self._low, face = part_with(photo, points[OVAL])
        factor = min(1.0, SKIN_PX / face.shape[1])
        size = max(2, round(factor * face.shape[1])), max(2, round(factor * face.shape[0]))
        self._scale = np.array(size) / face.shape[1::-1]
        colours = cv2.resize(face, size, interpolation=cv2.INTER_AREA).astype(np.float32)

        def mask(line: np.ndarray) -> np.ndarray:
            return polygon(cv2.convexHull(((points[line] - self._low) * self._scale).astype(np.float32))[:, 0], size)

        reach = max(1, round(SKIN_ROOM * size[0]))
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2)
        bare = cv2.erode(mask(OVAL), disc)
        for line in (*(eye.opening for eye in EYES), LIPS, *BROWS):
            bare[cv2.dilate(mask(line), disc) > 0] = 0
        weight = bare / np.float32(255)
        if (surely := bare > 127).any():
            median = np.median(colours[surely], axis=0)
            spread = np.median(np.abs(colours[surely] - median), axis=0) + SKIN_NOISE
            weight *= np.exp(-0.5 * np.square((colours - median) / (SKIN_VARIES * spread)).mean(2))
            hue = colours / np.maximum(colours.sum(2, keepdims=True), 1)  # skin has its own in the shade, too
            off = np.linalg.norm(hue - np.median(hue[surely], axis=0), axis=2)
            weight *= np.exp(-0.5 * np.square(off / (HUE_VARIES * np.median(off[surely]) + HUE_NOISE)))
        self._grain, self._grain_light = self._grain_of(face, weight > 0.6)
        shape = source.shape[:468]
        around = np.arctan2(shape[:, 0], 1.0 - shape[:, 2])  # as on a cylinder
        self.unrolled = source.pose.scale * np.column_stack([around, shape[:, 1]])
        broad = max(2, round(size[0] / SKIN_BROAD)), max(2, round(size[1] / SKIN_BROAD))
        known = colours * weight[..., None]
        less, few, rest = (cv2.resize(one, broad, interpolation=cv2.INTER_AREA) for one in (known, weight, colours))
        far = cv2.resize(_spread(less, few, rest, SKIN_FAR, 1e-6), size, interpolation=cv2.INTER_LINEAR)
        smooth = _spread(known, weight, far, SKIN_SOFT * size[0], 1e-3)
        self._picture = np.clip(np.round(smooth), 0, 255).astype(np.uint8)

    def _grain_of(self, face: np.ndarray, bare: np.ndarray) -> tuple[np.ndarray, float]:
        """(h, w, 3) float32, noise like the fine detail of the largest square of bare skin, to be laid side by side,
        and how light that is; `bare` (h, w) is smaller than the face.

        The detail's spectrum with random phases has its look without its wrinkles and moles (Galerne, Gousseau, Morel,
        "Random phase textures", TIP 2011).
        """
        apart = cv2.distanceTransform(np.pad(bare, 1).astype(np.uint8), cv2.DIST_C, cv2.DIST_MASK_3)[1:-1, 1:-1]
        row, column = np.unravel_index(apart.argmax(), apart.shape)
        half = int(apart[row, column] / self._scale.max())
        if half < 2:
            return np.zeros((1, 1, 3), np.float32), 255.0
        x, y = np.round((np.array([column, row]) + 0.5) / self._scale).astype(int)
        square = face[max(0, y - half) : y + half, max(0, x - half) : x + half].astype(np.float32)
        fine = square - cv2.GaussianBlur(square, (0, 0), max(0.8, SKIN_GRAIN * face.shape[1]))
        usual = 1.4826 * float(np.median(np.abs(fine))) / max(1e-3, float(fine.std()))  # of it, wrinkles left out
        phases = np.angle(np.fft.rfft2(np.random.default_rng(0).normal(size=fine.shape[:2])))
        spectrum = np.fft.rfft2(fine, axes=(0, 1)) * np.exp(1j * phases)[..., None]
        grain = (min(1.0, usual) * np.fft.irfft2(spectrum, fine.shape[:2], axes=(0, 1))).astype(np.float32)
        return grain, max(1.0, float((square @ LIGHT).mean()))

    def at(self, points: np.ndarray, unrolled: np.ndarray) -> np.ndarray:
        """(h, w, 3) uint8 at points (h, w, 2) of the photo, which lie there (h, w, 2) on the unrolled skin."""
        there = ((points + 0.5 - self._low) * self._scale - 0.5).astype(np.float32)
        smooth = cv2.remap(self._picture, there, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        lit = np.minimum(1, smooth @ LIGHT / self._grain_light)[..., None]  # in the shade pores are as dark as skin
        return cv2.add(smooth, lit * self.grain(unrolled), dtype=cv2.CV_8U)

    def grain(self, unrolled: np.ndarray) -> np.ndarray:
        """(h, w, 3) float32 that is added to smooth skin, at points (h, w, 2) of it laid out flat."""
        return cv2.remap(self._grain, unrolled, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_WRAP)
