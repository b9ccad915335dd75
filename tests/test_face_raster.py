"""Triangles in one go: against OpenCV's, one at a time."""

import cv2
import numpy as np
import pytest

from fomm.model.face.raster import draw_triangles

BITS = 8


def one_at_a_time(corners: np.ndarray, values: np.ndarray, picture: np.ndarray) -> None:
    for triangle, value in zip(np.round(corners * (1 << BITS)).astype(np.int32), values.tolist(), strict=True):
        cv2.fillConvexPoly(picture, triangle, value, cv2.LINE_8, BITS)


@pytest.mark.parametrize("reach", [3, 20, 400])
def test_as_opencv_draws_them_but_for_their_edges(reach: int) -> None:
    """Both cover what lies within; of pixels that an edge goes through each may leave out some."""
    random = np.random.default_rng(reach)
    corners = random.uniform(-30, 130, (60, 1, 2)) + random.uniform(-reach, reach, (60, 3, 2))
    for triangle in corners:
        ours, theirs = np.zeros((90, 120), np.int32), np.zeros((90, 120), np.int32)
        draw_triangles(triangle[None], np.array([7]), ours)
        one_at_a_time(triangle[None], np.array([7]), theirs)
        edge = np.zeros((110, 140), np.uint8)  # with some room: OpenCV leaves out of lines what begins outside
        cv2.polylines(edge, [np.round((triangle + 10) * 256).astype(np.int32)], True, 1, 1, cv2.LINE_8, BITS)
        assert ((ours == theirs) | (cv2.dilate(edge, np.ones((3, 3)))[10:-10, 10:-10] > 0)).all()
        assert set(np.unique(ours)) <= {0, 7}


def test_later_ones_lie_over_earlier_ones() -> None:
    corners = np.array([[[0, 0], [20, 0], [0, 20]], [[0, 0], [10, 0], [0, 10]]], float)
    near_last, near_first = np.zeros((24, 24), np.int32), np.zeros((24, 24), np.int32)
    draw_triangles(corners, np.array([1, 2]), near_last)
    draw_triangles(corners[::-1], np.array([2, 1]), near_first)
    assert near_last[2, 2] == 2 and near_last[15, 2] == 1 and set(np.unique(near_first)) == {0, 1}


def test_no_pixel_between_neighbours_is_left_out() -> None:
    random = np.random.default_rng(0)
    middle = random.uniform(20, 40, (50, 2))
    outside = np.array([[0, 0], [60, 0], [60, 60], [0, 60]], float)
    for point in middle:
        fan = np.stack([np.stack([point, outside[k], outside[k - 1]]) for k in range(4)])
        picture = np.zeros((61, 61), np.int32)
        draw_triangles(fan, np.arange(1, 5), picture)
        assert picture.min() > 0


def test_what_is_thinner_than_a_pixel_or_outside() -> None:
    picture = np.zeros((10, 10), np.uint8)
    draw_triangles(
        np.array([[[1, 3.2], [8, 3.3], [4, 3.1]], [[20, 20], [30, 20], [20, 30]]], float), np.array([9, 5]), picture
    )
    assert (picture[3, 1:9] == 9).all() and picture.sum() == 8 * 9
    draw_triangles(np.zeros((0, 3, 2)), np.zeros(0, int), picture)
    draw_triangles(np.array([[[-1e9, -1e9], [1e9, -1e9], [0, 1e9]]]), np.array([4]), picture)
    assert (picture == 4).all()
