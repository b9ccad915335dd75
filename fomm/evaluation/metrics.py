"""Numbers that say how good frames are: pure functions on arrays, what each means in words, and their averages.

Pictures are (T, 3, H, W) float tensors, RGB in [0, 1]; landmarks (..., N, 2) arrays of (x, y) in pixels of a picture
that is 256 wide; angles degrees; embeddings (T, D) of unit length. Detectors and networks stay outside: `measures`.

A value per frame is a float64. NaN is a miss: the prediction has nothing to measure (no face found in it, say). +inf is
"unknown": the truth has nothing to compare with, which is no fault of the model's; such a frame counts nowhere.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from fomm.evaluation.definitions import PSNR_MAX

UNKNOWN = math.inf
"""The value of a frame whose truth has nothing to compare with."""


# ---- Pictures: (T, 3, H, W) float in [0, 1], masks (T, H, W) bool -> (T,) float64


def l1(prediction: Tensor, truth: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean |difference| of each frame; inside `mask` where given, NaN where that is empty.

    >>> l1(torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.25))
    tensor([0.2500], dtype=torch.float64)
    """
    return average((_exact(prediction) - _exact(truth)).abs(), mask)


def psnr(prediction: Tensor, truth: Tensor, mask: Tensor | None = None) -> Tensor:
    """10 log10(1 / mean squared error) of each frame in dB, at most `PSNR_MAX`; `mask` as in `l1`.

    >>> psnr(torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.1))
    tensor([20.0000], dtype=torch.float64)
    """
    error = average((_exact(prediction) - _exact(truth)).square(), mask)
    return -10 * error.clamp_min(10 ** (-PSNR_MAX / 10)).log10()


def ssim_map(prediction: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity at each pixel, (T, 3, H, W) float64; its `average` is the frame's SSIM."""
    _, similarity = structural_similarity_index_measure(
        prediction, truth, data_range=1.0, reduction="none", return_full_image=True
    )
    return _exact(similarity)


def _exact(values: Tensor) -> Tensor:
    return (values.cpu() if values.device.type == "mps" else values).double()  # Apple's GPUs have no float64


def average(values: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean of maps (T, C, H, W) over each frame, or inside `mask` (T, H, W); NaN where that is empty."""
    if mask is None:
        return values.flatten(1).mean(1)
    weights = mask[:, None].to(values).expand_as(values).flatten(1)
    return (values.flatten(1) * weights).sum(1) / weights.sum(1)


def hull_mask(landmarks_px: np.ndarray, height: int, width: int) -> np.ndarray:
    """Convex hull of landmarks (N, 2), in pixels of this very picture, as a mask (height, width) of bool."""
    mask = np.zeros((height, width), np.uint8)
    hull = cv2.convexHull(np.round(landmarks_px).astype(np.int32))
    cv2.fillConvexPoly(mask, hull, (1,))
    return mask.astype(bool)


# ---- Landmarks, angles and embeddings


def akd(landmarks_px: np.ndarray, truth_px: np.ndarray) -> np.ndarray:
    """Average keypoint distance as the original authors' code has it: (..., N, 2) twice -> (...), mean of |dx|, |dy|.

    >>> akd(np.array([[3.0, 4.0], [0.0, 0.0]]), np.zeros((2, 2)))
    1.75
    """
    return np.abs(np.asarray(landmarks_px, np.float64) - np.asarray(truth_px, np.float64)).mean((-2, -1))


def acceleration_error(landmarks_px: np.ndarray, truth_px: np.ndarray) -> np.ndarray:
    """Mean length of the difference of second differences in time: (T, N, 2) twice -> (T - 2,), px / frame².

    >>> acceleration_error(np.array([[[0.0, 0.0]], [[3.0, 4.0]], [[0.0, 0.0]]]), np.zeros((3, 1, 2)))
    array([10.])
    """
    difference = np.asarray(landmarks_px, np.float64) - np.asarray(truth_px, np.float64)
    return np.linalg.norm(np.diff(difference, n=2, axis=0), axis=-1).mean(-1)


def optical_flow(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Farnebäck's dense flow between two pictures (H, W, 3) uint8 RGB: (H, W, 2) float32, pixels, with TecoGAN's
    settings."""
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (before, after)]
    return np.asarray(cv2.calcOpticalFlowFarneback(*grey, None, 0.5, 3, 15, 3, 5, 1.2, 0))  # type: ignore[call-overload]


def flow_error(flow: np.ndarray, truth: np.ndarray, border: int = 16) -> float:
    """Mean length of the difference of two flows (H, W, 2), without a border of so many pixels.

    >>> flow_error(np.full((40, 40, 2), (3.0, 4.0)), np.zeros((40, 40, 2)))
    5.0
    """
    inside = slice(border, -border)
    return float(np.linalg.norm((flow - truth)[inside, inside], axis=-1).mean())


def angle_error(angles_deg: np.ndarray, truth_deg: np.ndarray) -> np.ndarray:
    """Mean |difference| of angles (..., A), the short way round -> (...).

    >>> angle_error(np.array([179.0, 0.0]), np.array([-179.0, 4.0]))
    3.0
    """
    difference = np.asarray(angles_deg, np.float64) - np.asarray(truth_deg, np.float64)
    return np.abs((difference + 180) % 360 - 180).mean(-1)


def squared_distance(embeddings: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Squared L2 distance of unit vectors (T, D) -> (T,), in [0, 4]; it is 2 - 2 cos."""
    return np.square(np.asarray(embeddings, np.float64) - np.asarray(truth, np.float64)).sum(-1)


def distance(embeddings: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """L2 distance of vectors (T, D) -> (T,)."""
    return np.linalg.norm(np.asarray(embeddings, np.float64) - np.asarray(truth, np.float64), axis=-1)


def cosine(embeddings: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Cosine of the angle between unit vectors (T, D) -> (T,), in [-1, 1]."""
    return (np.asarray(embeddings, np.float64) * np.asarray(truth, np.float64)).sum(-1)


# ---- Averages


class Tally(NamedTuple):
    """Values of frames, counted."""

    total: float  # sum of the values that are there
    frames: int  # how many those are
    missed: int  # NaN

    @property
    def mean(self) -> float:
        """Of the frames that were not missed; NaN when there is none."""
        return self.total / self.frames if self.frames else math.nan

    def mean_with_misses(self, penalty: float | None) -> float:
        """Every miss counts as `penalty`; NaN where there are misses but no penalty, or no frames."""
        if not self.missed:
            return self.mean
        return math.nan if penalty is None else (self.total + penalty * self.missed) / (self.frames + self.missed)


def tally(values: np.ndarray) -> Tally:
    """Count the values of frames (n,): NaN is a miss, +inf (`UNKNOWN`) counts nowhere."""
    values = np.asarray(values, np.float64)
    there = values[np.isfinite(values)]
    return Tally(math.fsum(there), len(there), int(np.isnan(values).sum()))
