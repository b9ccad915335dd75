"""Random finish of training pairs: another camera, light, noise, compression, so that drawn heads pass for any photo.

Patches are (H, W, 3) float32 in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from fomm.training.face.patches import Pair

# Standard deviations; of the first three, of their logarithm.
GAMMA, GAIN, CHANNEL_GAIN, OFFSET = 0.25, 0.15, 0.12, 0.03
GREY = 0.12  # share of pairs without colour
SATURATION, SATURATION_SPREAD, SATURATION_MOST = 0.95, 0.25, 1.6
NOISY, NOISE = 0.5, 0.04  # share of pairs with a noisy source, and the most of it
COMPRESSED, QUALITY = 0.3, (35, 95)  # share of pairs with a source out of a JPEG file, and its quality


def finished(pair: Pair, rng: np.random.Generator) -> Pair:
    """The pair as another camera might have taken it: both patches alike; then noise and compression of the source."""
    look = random_look(rng)
    patch, target, conditions = look(pair.patch), look(pair.target), pair.conditions
    if rng.random() < 0.5:
        patch, target, conditions = patch[:, ::-1], target[:, ::-1], mirrored(conditions)
    if rng.random() < NOISY:
        patch = np.clip(patch + rng.normal(0, rng.uniform(0, NOISE), patch.shape), 0, 1)
    if rng.random() < COMPRESSED:
        patch = compressed(patch, int(rng.integers(*QUALITY)))
    return Pair(patch, conditions, target)


def random_look(rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    """A function that changes gamma, gain, white balance and saturation of a picture, always in the same way."""
    gamma = np.exp(rng.normal(0, GAMMA))
    gain = np.exp(rng.normal(0, CHANNEL_GAIN, 3)) * np.exp(rng.normal(0, GAIN))
    offset = rng.normal(0, OFFSET, 3)
    coloured = rng.random() >= GREY
    saturation = coloured * np.clip(rng.normal(SATURATION, SATURATION_SPREAD), 0, SATURATION_MOST)

    def look(picture: np.ndarray) -> np.ndarray:
        picture = np.clip(picture, 1e-4, 1) ** gamma * gain + offset
        grey = picture.mean(-1, keepdims=True)
        return np.clip(grey + saturation * (picture - grey), 0, 1)

    return look


def mirrored(conditions: np.ndarray) -> np.ndarray:
    """Conditions (5, H, W) of the mirrored patch: what lies across (the third of them) changes its sign."""
    return conditions[:, :, ::-1] * np.array([1, 1, -1, 1, 1], np.float32)[:, None, None]


def compressed(picture: np.ndarray, quality: int) -> np.ndarray:
    """A picture after a JPEG file of this quality (0 to 100)."""
    levels = np.round(picture[..., ::-1] * 255).astype(np.uint8)
    _, file = cv2.imencode(".jpg", levels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(file, cv2.IMREAD_COLOR)[..., ::-1].astype(np.float32) / 255
