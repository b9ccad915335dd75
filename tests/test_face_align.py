"""Landmarks set right by what frames show. The frames are made by moving a picture by a known way, so the true
landmarks are known; what is handed in is wrong by a known amount."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from drawn_face import CENTRE, SIDE, lit_face

from fomm.model.face import Aligned, Face
from fomm.model.face.mesh import BROWS, EYES, LIPS, MOUTH, NUM_LANDMARKS, OVAL, REFERENCE, Pose, beside

POSE = Pose(62.0, np.eye(3), np.array([*CENTRE, 0.0]))
LANDMARKS = POSE.place(REFERENCE)
PICTURE = lit_face(LANDMARKS)
SKIN = np.setdiff1d(np.arange(468), MOUTH.opening)
EDGES = np.concatenate([OVAL, LIPS, MOUTH.opening, *(eye.opening for eye in EYES)])
INNER = np.flatnonzero(beside(EDGES, 0.2)[:468] < 0.1)  # where the flow sees the skin alone


def moved(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The picture and its landmarks after an affine motion (2, 3)."""
    frame = cv2.warpAffine(PICTURE, matrix, (SIDE, SIDE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    landmarks = LANDMARKS.copy()
    landmarks[:, :2] = LANDMARKS[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    return frame, landmarks


def turned(degrees: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    matrix = cv2.getRotationMatrix2D(CENTRE, degrees, scale)
    matrix[:, 2] += shift
    return matrix


def off(landmarks: np.ndarray, truth: np.ndarray, part: np.ndarray = SKIN) -> float:
    return float(np.linalg.norm((landmarks - truth)[part, :2], axis=1).mean())


@pytest.mark.parametrize("matrix", [np.eye(2, 3), turned(0, 1, (5, -3)), turned(8, 1, (0, 0)), turned(-4, 1.1, (6, 2))])
def test_wrong_landmarks_come_right(matrix: np.ndarray) -> None:
    """A mesh that is shifted by two pixels and bent by another comes right, nearer with each frame."""
    frame, truth = moved(matrix)
    wrong = truth.copy()
    wrong[:, :2] += [1.6, -1.2]
    wrong[:, 1] += np.sin(REFERENCE[:, 0] * 2)
    aligned = Aligned(PICTURE, Face(LANDMARKS))
    once = off(aligned(frame, wrong), truth)
    for _ in range(4):
        settled = aligned(frame, wrong)
    assert off(wrong, truth) > 2
    assert once < 0.6 * off(wrong, truth)
    assert off(settled, truth) < 0.8  # of which what is left at outline, lids and lips is the most
    assert len(INNER) > 20 and off(settled, truth, INNER) < 0.5


@pytest.mark.parametrize("scale", [1.0, 1.37, 3.1])
def test_equal_frames_change_nothing(scale: float) -> None:
    """However large the face is, which parts of the frame are looked at, and however often."""
    frame = cv2.resize(PICTURE, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    landmarks = LANDMARKS * scale
    aligned = Aligned(frame, Face(landmarks))
    for _ in range(3):
        np.testing.assert_allclose(aligned(frame.copy(), landmarks), landmarks, atol=1e-4)


@pytest.mark.parametrize("raised, seen", [(0.12, -0.12), (0.12, 0.0), (-0.1, 0.05), (0.0, -0.15), (0.15, 0.15)])
def test_brows_are_where_the_frame_shows_them(raised: float, seen: float) -> None:
    """Whatever the mesh sees: it takes a raised brow for one at rest or even a lowered one. In the head's unit."""
    brows = np.concatenate(BROWS)

    def lifted(by: float) -> np.ndarray:
        return LANDMARKS - by * POSE.scale * beside(brows, 0.25)[:, None] * [0, 1, 0]

    def picture(landmarks: np.ndarray) -> np.ndarray:
        face = lit_face(landmarks)
        for brow in BROWS:
            cv2.polylines(face, [np.round(landmarks[brow, :2]).astype(np.int32)], False, (60, 42, 35), 7, cv2.LINE_AA)
        return face

    aligned = Aligned(picture(LANDMARKS), Face(LANDMARKS))
    for _ in range(4):
        found = aligned(picture(lifted(raised)), lifted(seen))
    assert (LANDMARKS - found)[brows, 1].mean() / POSE.scale == pytest.approx(raised, abs=0.025)


def test_right_landmarks_stay_where_light_and_noise_change() -> None:
    frame, truth = moved(turned(5, 1, (4, 0)))
    rng = np.random.default_rng(0)
    dim = np.clip(0.7 * frame + 20 + rng.normal(0, 2, frame.shape), 0, 255).astype(np.uint8)
    for picture in (frame, dim):
        aligned = Aligned(PICTURE, Face(LANDMARKS))
        for _ in range(3):
            found = aligned(picture, truth)
        assert off(found, truth) < 0.35


def test_openings_say_nothing() -> None:
    """A mouth's inside may look quite different: the lips do not follow it."""
    frame, truth = moved(np.eye(2, 3))
    inside = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillPoly(inside, [np.round(truth[MOUTH.opening, :2]).astype(np.int32)], 1)
    frame[inside > 0] = [240, 240, 235]
    found = Aligned(PICTURE, Face(LANDMARKS))(frame, truth)
    assert np.abs((found - truth)[:, :2]).max() < 0.6


def test_what_covers_the_face_moves_landmarks_by_a_bounded_way() -> None:
    frame, truth = moved(np.eye(2, 3))
    frame[100:220, 60:200] = np.random.default_rng(0).integers(0, 255, (120, 140, 3), np.uint8)
    aligned = Aligned(PICTURE, Face(LANDMARKS))
    for _ in range(10):
        found = aligned(frame, truth)
    assert np.isfinite(found).all()
    assert np.linalg.norm((found - truth)[:, :2], axis=1).max() < 5 * 0.08 * POSE.scale


def test_a_face_outside_the_frame_is_left_as_it_is() -> None:
    away = LANDMARKS + [10 * SIDE, 0, 0]
    assert np.array_equal(Aligned(PICTURE, Face(LANDMARKS))(PICTURE, away), away)


def test_large_frames_are_compared_at_a_common_size() -> None:
    """The same clip at twice the size: the same correction, twice as long."""
    frame, truth = moved(turned(0, 1, (3, 0)))
    wrong = truth + [1.5, 1.0, 0]
    small = Aligned(PICTURE, Face(LANDMARKS))(frame, wrong)
    large = [cv2.resize(one, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC) for one in (PICTURE, frame)]
    double = lambda points: points * 2 + [0.5, 0.5, 0]  # noqa: E731
    found = Aligned(large[0], Face(double(LANDMARKS)))(large[1], double(wrong))
    assert found.shape == (NUM_LANDMARKS, 3)
    assert np.abs(found - double(small))[SKIN, :2].mean() < 0.5
