"""Triangles drawn into a grid of numbers, all of them in one go.

OpenCV draws one at a time: thousands of calls a frame, and threads that animate frames side by side would wait for each
other at every one of them.
"""

from __future__ import annotations

import numpy as np

_MOST = 1 << 20  # pixels from here on are far outside; larger ones would not fit into an int


def draw(corners: np.ndarray, values: np.ndarray, picture: np.ndarray) -> None:
    """Draw triangles, later ones over earlier ones; a triangle covers all pixels that it or its edges go through.

    Args:
        corners: (T, 3, 2) x and y in pixels, integers at pixel centres.
        values: (T,) what is drawn.
        picture: (H, W) is drawn into.
    """
    height, width = picture.shape
    corners = np.clip(corners, -_MOST, _MOST)
    x, y = corners[..., 0], corners[..., 1]
    first = np.clip(np.rint(y.min(1)), 0, height).astype(np.intp)
    count = np.clip(np.rint(y.max(1)) + 1, 0, height).astype(np.intp) - first
    number = np.repeat(np.arange(len(corners)), np.maximum(count, 0))  # of each row of each triangle
    row = _counted(first, count)
    x, y = x.T[:, number], y.T[:, number]
    left, right = np.full(len(row), np.inf), np.full(len(row), -np.inf)
    for one in range(3):
        x0, y0, x1, y1 = x[one], y[one], x[one - 2], y[one - 2]
        # the part of this edge within half a pixel of the row
        slope = (x1 - x0) / np.where(y1 == y0, 1.0, y1 - y0)
        low, high = np.minimum(y0, y1), np.maximum(y0, y1)
        above, below = np.maximum(low, row - 0.5), np.minimum(high, row + 0.5)
        there = above <= below
        level = y0 == y1
        for at, of_level in ((above, x0), (below, x1)):
            edge = np.where(level, of_level, x0 + (at - y0) * slope)
            np.minimum(left, edge, out=left, where=there)
            np.maximum(right, edge, out=right, where=there)
    start = np.clip(np.rint(left), 0, width).astype(np.intp)
    length = np.clip(np.rint(right) + 1, 0, width).astype(np.intp) - start
    picture.reshape(-1)[_counted(row * width + start, length)] = np.repeat(values[number], np.maximum(length, 0))


def _counted(start: np.ndarray, count: np.ndarray) -> np.ndarray:
    """`start`, `start` + 1, ..., `count` of them, for each of them (N,) one after the other."""
    count = np.maximum(count, 0)
    ends = np.cumsum(count)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(start - (ends - count), count)
