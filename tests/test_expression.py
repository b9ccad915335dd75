"""Numbers of an expression: they mean what they say, and neither size, place nor turn of the head changes them."""

from __future__ import annotations

import numpy as np
import pytest

from fomm import expression
from fomm.expression import (
    BROWS,
    EYE_CORNERS,
    IRISES,
    LANDMARKS,
    LOWER_LIDS,
    LOWER_LIP,
    RIGID,
    UPPER_LIDS,
    UPPER_LIP,
    brow_height,
    correlation,
    eye_opening,
    eye_openings,
    fit_similarity,
    gaze,
    head_rotation,
    mouth_aside,
    mouth_opening,
    pose_angles,
    rotation_of,
    share_followed,
)


@pytest.fixture
def face() -> np.ndarray:
    """(478, 3): a face of unit size with eyes and mouth open by known amounts, the rest at random places."""
    points = np.random.default_rng(0).normal(0, 0.5, (LANDMARKS, 3))
    for side, ((outer, inner), upper, lower, iris, brow) in enumerate(
        zip(EYE_CORNERS, UPPER_LIDS, LOWER_LIDS, IRISES, BROWS, strict=True)
    ):
        centre = 0.25 if side else -0.25
        points[[outer, inner]] = [[centre - 0.1, 0, 0], [centre + 0.1, 0, 0]]
        for place, up, low in zip((-0.04, 0, 0.04), upper, lower, strict=True):
            points[[up, low]] = [[centre + place, -0.03, 0], [centre + place, 0.03, 0]]
        points[iris] = [centre, 0, 0]
        points[list(brow)] = [centre, -0.14, 0]
    for place, up, low in zip((-0.05, 0, 0.05), UPPER_LIP, LOWER_LIP, strict=True):
        points[[up, low]] = [[place, 0.5, 0], [place, 0.57, 0]]
    points[[expression.FOREHEAD, expression.CHIN]] = [[0, -0.6, 0], [0, 0.9, 0]]
    return points


def test_known_amounts(face: np.ndarray) -> None:
    assert mouth_opening(face) == pytest.approx(0.1)  # 0.07 of the 0.7 between the outer eye corners
    assert eye_openings(face) == pytest.approx([0.3, 0.3])  # 0.06 of 0.2
    assert gaze(face) == pytest.approx([0, 0])
    assert brow_height(face) == pytest.approx(0.2)  # 0.14 of 0.7


def test_shut_is_zero_and_each_eye_is_told_apart(face: np.ndarray) -> None:
    face[list(LOWER_LIP)] = face[list(UPPER_LIP)]
    face[list(LOWER_LIDS[0])] = face[list(UPPER_LIDS[0])]
    assert mouth_opening(face) == 0
    assert eye_openings(face) == pytest.approx([0, 0.3]) and eye_opening(face) == pytest.approx(0.15)


def test_a_mouth_is_drawn_aside(face: np.ndarray) -> None:
    face[list(expression.LIPS_MIDDLE)] = [0.0, 0.55, 0]
    assert mouth_aside(face) == pytest.approx(0)
    face[list(expression.LIPS_MIDDLE)] += [0.07, 0.1, 0]  # to the screen's right, and down
    assert mouth_aside(face) == pytest.approx(0.1)


def test_gaze_follows_the_irises(face: np.ndarray) -> None:
    face[list(IRISES)] += [0.04, 0.01, 0]  # to the screen's right, and down
    assert gaze(face) == pytest.approx([0.2, 0.05])


@pytest.mark.parametrize("angles", [(0, 0, 0), (25, 0, 0), (0, -20, 0), (0, 0, 40), (15, 10, -30)])
def test_turn_size_and_place_change_nothing(face: np.ndarray, angles: tuple[float, float, float]) -> None:
    face[list(IRISES)] += [0.03, -0.02, 0]
    face[list(expression.LIPS_MIDDLE)] += [0.05, 0, 0]
    moved = 137 * face @ rotation_of(*angles).T + [320, 240, -7]
    for measure in (mouth_opening, mouth_aside, eye_openings, gaze, brow_height):
        assert measure(moved) == pytest.approx(measure(face), abs=1e-9)
    assert pose_angles(head_rotation(moved, face)) == pytest.approx(angles, abs=1e-6)


def test_expressions_leave_the_pose_alone(face: np.ndarray) -> None:
    """All but the rigid landmarks may go anywhere."""
    moved = face @ rotation_of(12, -7, 5).T
    others = np.setdiff1d(np.arange(LANDMARKS), RIGID)
    moved[others] += np.random.default_rng(1).normal(0, 0.3, (len(others), 3))
    assert pose_angles(head_rotation(moved, face)) == pytest.approx([12, -7, 5])


def test_signs_of_the_angles() -> None:
    """Of a face that looks at the camera (along -z): turned to the screen's right, looking up, clockwise."""
    ahead, right_ear = np.array([0, 0, -1.0]), np.array([1.0, 0, 0])
    assert (rotation_of(20, 0, 0) @ ahead)[0] > 0
    assert (rotation_of(0, 20, 0) @ ahead)[1] < 0  # y points down
    assert (rotation_of(0, 0, 20) @ right_ear)[1] > 0


def test_similarity_is_recovered_and_is_no_mirror() -> None:
    rng = np.random.default_rng(2)
    points, rotation = rng.normal(size=(4, 30, 3)), rotation_of(30, 20, -10)
    found = fit_similarity(points, 2.5 * points @ rotation.T + [1, 2, 3])
    assert found.scale == pytest.approx(np.full(4, 2.5))
    assert found.rotation == pytest.approx(np.broadcast_to(rotation, (4, 3, 3)))
    assert found.shift == pytest.approx(np.broadcast_to([1.0, 2, 3], (4, 3)))
    mirrored = fit_similarity(points, points * [-1, 1, 1])
    assert np.linalg.det(mirrored.rotation) == pytest.approx(np.ones(4))


def test_many_frames_at_once(face: np.ndarray) -> None:
    clip = np.stack([face, 2 * face, 3 * face])
    assert mouth_opening(clip).shape == eye_opening(clip).shape == brow_height(clip).shape == (3,)
    assert eye_openings(clip).shape == gaze(clip).shape == (3, 2)
    assert head_rotation(clip, face).shape == (3, 3, 3)


def test_correlation() -> None:
    series = np.random.default_rng(3).normal(size=(50, 2)) * [1, 0.01]
    assert correlation(series, 3 * series + 7) == pytest.approx(1)
    assert correlation(series, -series) == pytest.approx(-1)
    assert correlation(series, np.zeros_like(series)) == 0  # nothing was followed
    noise = np.random.default_rng(4).normal(size=50) * 0.01
    assert correlation(series, np.column_stack([series[:, 0], noise])) > 0.99  # the second hardly varies


def test_share_followed() -> None:
    shut = np.array([True, True, True, False])
    assert share_followed(shut, shut) == 1
    assert share_followed(shut, ~shut) == 0
    assert np.isnan(share_followed(~shut[:3], shut[:3]))
