"""Triangles drawn into a grid of numbers, all of them in one go.

OpenCV draws one at a time: thousands of calls a frame, and threads that animate frames side by side would wait for each
other at every one of them.
"""

from __future__ import annotations

import numpy as np

_MOST = 1 << 20  # pixels from here on are far outside; farther ones would be inexact


def draw_triangles(corners: np.ndarray, values: np.ndarray, picture: np.ndarray) -> None:
    """Draw triangles, later ones over earlier ones; a triangle covers all pixels that it or its edges go through.

    Args:
        corners: (T, 3, 2) x and y in pixels, integers at pixel centres.
        values: (T,) what is drawn.
        picture: (H, W) is drawn into.
    """
    height, width = picture.shape
    corners = np.clip(corners, -_MOST, _MOST)
    corners = np.take_along_axis(corners, corners[..., 1].argsort(1)[..., None], 1)
    (top_x, top), (middle_x, middle), (bottom_x, bottom) = corners.transpose(1, 2, 0)
    first, count = _whole(top, bottom, height)
    number = np.repeat(np.arange(len(corners)), count)  # of the triangle in each of its rows
    row = _counted(first, count)
    slopes = (
        (x1 - x0) / np.where(y1 > y0, y1 - y0, 1.0)
        for x0, y0, x1, y1 in (
            (top_x, top, bottom_x, bottom),
            (top_x, top, middle_x, middle),
            (middle_x, middle, bottom_x, bottom),
        )
    )
    table = np.stack([top_x, top, middle_x, middle, bottom, *slopes]).astype(np.float32)
    top_x, top, middle_x, middle, bottom, straight, upper, lower = table.take(number, 1)
    corner = np.abs(row - middle) <= 0.5
    ends = []  # of what each row's height cuts out of its triangle
    for y in (np.maximum(row - np.float32(0.5), top), np.minimum(row + np.float32(0.5), bottom)):
        down = y - top
        ends.append(top_x + down * straight)
        ends.append(np.where(y < middle, top_x + down * upper, middle_x + (y - middle) * lower))
    ends.append(np.where(corner, middle_x, ends[0]))
    start, length = _whole(np.minimum.reduce(ends), np.maximum.reduce(ends), width)
    picture.reshape(-1)[_counted(row * width + start, length)] = np.repeat(values[number], length)


def _whole(low: np.ndarray, high: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The first pixel of each stretch from `low` (N,) to `high` (N,) and how many it has, of a row of `size`."""
    first = np.clip(np.rint(low), 0, size).astype(np.int32)
    return first, np.maximum(np.clip(np.rint(high) + 1, 0, size).astype(np.int32) - first, 0)


def _counted(start: np.ndarray, count: np.ndarray) -> np.ndarray:
    """`start`, `start` + 1, ..., `count` of them, for each of them (N,) one after the other."""
    ends = np.cumsum(count)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(start - (ends - count), count)
