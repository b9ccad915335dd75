"""Landmarks filtered in time: a still face does not tremble, and what moves is followed at once."""

from __future__ import annotations

import numpy as np

from fomm.model.face.mesh import find_pose

REST_HZ = 0.4  # cutoff at rest
HZ_PER_SPEED = 50.0  # cutoff added per unit of the head's frame a second
SPEED_HZ = 3.0


class Steady:
    """A one Euro filter for the landmarks of one face: `steady(landmarks, seconds)` for each frame in order.

    Casiez, Roussel, Vogel, "1 Euro filter", CHI 2012. Speeds are measured in the head's frame, so the size of the
    picture makes no difference; each landmark has a cutoff of its own.
    """

    def __init__(self) -> None:
        self._last: tuple[np.ndarray, np.ndarray] | None = None  # landmarks and their speed

    def __call__(self, landmarks: np.ndarray, seconds: float) -> np.ndarray:
        """Landmarks (478, 3) in pixels -> the same, filtered.

        Args:
            seconds: since the frame before; of no use for the first.
        """
        if self._last is None or seconds <= 0:
            self._last = landmarks, np.zeros_like(landmarks)
            return landmarks
        before, speed = self._last
        unit = find_pose(landmarks).scale
        speed = speed + _share(SPEED_HZ, seconds) * ((landmarks - before) / (unit * seconds) - speed)
        cutoff = REST_HZ + HZ_PER_SPEED * np.linalg.norm(speed[:, :2], axis=1, keepdims=True)
        now = before + _share(cutoff, seconds) * (landmarks - before)
        self._last = now, speed
        return now


def _share(cutoff_hz: float | np.ndarray, seconds: float) -> float | np.ndarray:
    """How much of the way to the new value is gone, by a low pass of first order."""
    way = 2 * np.pi * cutoff_hz * seconds
    return way / (way + 1)
