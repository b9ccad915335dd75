"""What a face does, as numbers that do not depend on whose face it is. Pure numpy, from MediaPipe's refined mesh.

A mesh is (..., 478, 3) in any unit: x right, y down, z in the same unit and smaller = nearer; landmarks 468 to 477 are
the irises. All functions take any number of leading axes. Distances are taken in three dimensions and divided by a
length that no expression changes, so size, place and turn of the head make no difference. "Left" and "right" are those
of the screen when the face is upright (the left eye is the subject's right one).

Angles are in degrees, signs as in `preprocess.faces`: yaw positive = turned to the screen's right, pitch positive =
looking up, roll positive = clockwise on the screen.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

LANDMARKS = 478

# Landmarks that expressions hardly move: corners of the eyes, bridge and tip of the nose, forehead, temples, cheeks.
RIGID = (
    *(33, 133, 263, 362, 168, 6, 197, 195, 5, 4, 1, 10, 151, 9, 8, 67, 297, 103, 332, 54, 284, 127, 356),
    *(234, 454, 93, 323, 132, 361),
)

EYE_CORNERS = ((33, 133), (362, 263))  # of the left and the right eye, each from left to right
UPPER_LIDS = ((160, 159, 158), (385, 386, 387))
LOWER_LIDS = ((144, 145, 153), (380, 374, 373))
IRISES = (468, 473)  # centres
BROWS = ((70, 63, 105, 66, 107), (336, 296, 334, 293, 300))
UPPER_LIP = (82, 13, 312)  # inner edge
LOWER_LIP = (87, 14, 317)
MOUTH_CORNERS = (61, 291)
LIPS_MIDDLE = (0, 13, 14, 17, 61, 291)  # their middle is the mouth's
FOREHEAD, CHIN = 10, 152

VARIES = {"mouth": 0.03, "eyes": 0.02, "gaze": 0.03, "brows": 0.015, "pose": 2.0}
"""Least standard deviation of a series (pose: degrees) that says something; below it is mostly the detector's noise."""

EYES_SHUT = (0.12, 0.15)
"""`eye_opening` below which a driver's eyes are shut, and those of a result that follows it."""

EYES_OPEN = 0.18
"""`eye_opening` above which the irises are seen."""


def eye_distance(mesh: np.ndarray) -> np.ndarray:
    """Between the outer corners of the eyes: (...)."""
    return np.linalg.norm(mesh[..., EYE_CORNERS[0][0], :] - mesh[..., EYE_CORNERS[1][1], :], axis=-1)


def mouth_opening(mesh: np.ndarray) -> np.ndarray:
    """Gap between the lips' inner edges, mean of three places, in distances of the outer eye corners: (...); shut = 0.

    About 0.3 in speech, 0.6 in a yawn.
    """
    mesh = np.asarray(mesh, np.float64)
    return _between(mesh, UPPER_LIP, LOWER_LIP).mean(-1) / eye_distance(mesh)


def mouth_width(mesh: np.ndarray) -> np.ndarray:
    """Between the corners of the mouth, in distances of the outer eye corners: (...)."""
    mesh = np.asarray(mesh, np.float64)
    return np.linalg.norm(mesh[..., MOUTH_CORNERS[0], :] - mesh[..., MOUTH_CORNERS[1], :], axis=-1) / eye_distance(mesh)


def mouth_aside(mesh: np.ndarray) -> np.ndarray:
    """How far the lips' middle lies beside the middle of the eyes, along their line, positive to the screen's right.

    In distances of the outer eye corners: (...). About 0.1 where somebody screws up the mouth.
    """
    mesh = np.asarray(mesh, np.float64)
    first, last = mesh[..., EYE_CORNERS[0][0], :], mesh[..., EYE_CORNERS[1][1], :]
    offset = mesh[..., list(LIPS_MIDDLE), :].mean(-2) - (first + last) / 2
    return _dot(offset, last - first) / np.square(last - first).sum(-1)


def eye_openings(mesh: np.ndarray) -> np.ndarray:
    """Gap between the lids, mean of three places, in widths of that eye: (..., 2), left and right; shut = 0.

    About 0.3 when open.
    """
    mesh = np.asarray(mesh, np.float64)
    gaps = [_between(mesh, *lids).mean(-1) for lids in zip(UPPER_LIDS, LOWER_LIDS, strict=True)]
    return np.stack(gaps, -1) / _eye_widths(mesh)


def eye_opening(mesh: np.ndarray) -> np.ndarray:
    """Mean of both eyes' `eye_openings`: (...)."""
    return eye_openings(mesh).mean(-1)


def gaze(mesh: np.ndarray) -> np.ndarray:
    """Where the irises stand between their eyes' corners, mean of both eyes, in eye widths: (..., 2).

    x positive = to the screen's right, y positive = down, along the face's own axes; (0, 0) is half-way between the
    corners. Without meaning while the eyes are shut.
    """
    mesh = np.asarray(mesh, np.float64)
    seen = []
    for iris, (middle, across, down) in zip(IRISES, _eyes(mesh), strict=True):
        offset = mesh[..., iris, :] - middle
        seen.append(np.stack([_dot(offset, across), _dot(offset, down)], -1))
    return np.mean(np.stack(seen, -2) / _eye_widths(mesh)[..., None], -2)


def brow_height(mesh: np.ndarray) -> np.ndarray:
    """Height of the brows above the middle of their eyes' corners, along the face, mean of both: (...).

    In distances of the outer eye corners; about 0.2 to 0.3, more when raised.
    """
    mesh = np.asarray(mesh, np.float64)
    heights = [
        _dot(middle - mesh[..., list(brow), :].mean(-2), down)
        for brow, (middle, _, down) in zip(BROWS, _eyes(mesh), strict=True)
    ]
    return np.mean(heights, 0) / eye_distance(mesh)


class Similarity(NamedTuple):
    """target = scale * rotation @ point + shift."""

    scale: np.ndarray  # (...)
    rotation: np.ndarray  # (..., 3, 3)
    shift: np.ndarray  # (..., 3)


def fit_similarity(points: np.ndarray, target: np.ndarray) -> Similarity:
    """The similarity that brings points (..., N, 3) closest to `target` (..., N, 3), least squares (Procrustes)."""
    points, target = np.asarray(points, np.float64), np.asarray(target, np.float64)
    centre, goal = points.mean(-2, keepdims=True), target.mean(-2, keepdims=True)
    spread = points - centre
    u, singular, vt = np.linalg.svd(np.swapaxes(target - goal, -1, -2) @ spread)
    signs = np.ones_like(singular)
    signs[..., 2] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * signs[..., None, :]) @ vt
    scale = (singular * signs).sum(-1) / np.square(spread).sum((-1, -2))
    shift = goal[..., 0, :] - scale[..., None] * (rotation @ centre[..., 0, :, None])[..., 0]
    return Similarity(scale, rotation, shift)


def head_rotation(mesh: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(..., 3, 3): how the head is turned against `reference`, another mesh, whatever either face expresses.

    With the same person's first mesh as reference it is the change of pose, in the camera's axes.
    """
    rigid = list(RIGID)
    return fit_similarity(np.asarray(reference)[..., rigid, :], np.asarray(mesh)[..., rigid, :]).rotation


def at_rest(mesh: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(..., 478, 3) mesh brought to the place, size and head pose of `reference` (478, 3): only expression is left.

    By the landmarks that expressions hardly move.
    """
    mesh, rigid = np.asarray(mesh, np.float64), list(RIGID)
    fit = fit_similarity(mesh[..., rigid, :], np.asarray(reference)[..., rigid, :])
    turned = mesh @ np.swapaxes(fit.rotation, -1, -2)
    return np.asarray(fit.scale)[..., None, None] * turned + fit.shift[..., None, :]


def pose_angles(rotation: np.ndarray) -> np.ndarray:
    """Yaw, pitch and roll in degrees of rotations (..., 3, 3): (..., 3). Pitch is done first, then yaw, roll last.

    >>> pose_angles(np.eye(3))
    array([0., 0., 0.])
    """
    rotation = np.asarray(rotation, np.float64)
    yaw = np.arcsin(np.clip(rotation[..., 2, 0], -1, 1))
    pitch = np.arctan2(-rotation[..., 2, 1], rotation[..., 2, 2])
    roll = np.arctan2(rotation[..., 1, 0], rotation[..., 0, 0])
    return np.degrees(np.stack([yaw, pitch, roll], -1)) + 0.0  # no -0


def rotation_of(yaw_deg: float, pitch_deg: float, roll_deg: float) -> np.ndarray:
    """(3, 3), the inverse of `pose_angles`.

    >>> pose_angles(rotation_of(10, -20, 30)).round(6)
    array([ 10., -20.,  30.])
    """
    a, b, c = np.radians([-yaw_deg, -pitch_deg, roll_deg])
    about_x = [[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]]
    about_y = [[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]]
    about_z = [[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]]
    return np.array(about_z) @ about_y @ about_x


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson correlation of two series (T,), or of series of vectors (T, D), each column about its own mean.

    The columns of a vector weigh as much as they vary. 0 where either series does not vary.

    >>> round(correlation(np.array([0.0, 1.0, 2.0]), np.array([5.0, 7.0, 9.0])), 9)
    1.0
    """
    one, other = (np.asarray(series, np.float64) for series in (one, other))
    one, other = one - one.mean(0), other - other.mean(0)
    norms = np.linalg.norm(one), np.linalg.norm(other)
    return float((one * other).sum() / (norms[0] * norms[1])) if min(norms) > 1e-9 else 0.0


def slope(driver: np.ndarray, result: np.ndarray) -> float:
    """Regression slope of a result's series (T,) or (T, D) on its driver's: 1 = as much, 0 = not at all.

    >>> slope(np.array([0.0, 1.0, 2.0]), np.array([5.0, 5.5, 6.0]))
    0.5
    """
    driver, result = (np.asarray(series, np.float64) for series in (driver, result))
    driver = driver - driver.mean(0)
    return float((driver * (result - result.mean(0))).sum() / np.square(driver).sum())


def share_followed(wanted: np.ndarray, shown: np.ndarray) -> float:
    """Share of the frames in which `wanted` (T,) bool holds that also have `shown`; NaN where it never holds.

    >>> share_followed(np.array([True, True, False]), np.array([True, False, True]))
    0.5
    """
    wanted, shown = np.asarray(wanted, bool), np.asarray(shown, bool)
    return float(shown[wanted].mean()) if wanted.any() else float("nan")


def _between(mesh: np.ndarray, one: tuple[int, ...], other: tuple[int, ...]) -> np.ndarray:
    return np.linalg.norm(mesh[..., list(one), :] - mesh[..., list(other), :], axis=-1)


def _eye_widths(mesh: np.ndarray) -> np.ndarray:
    return np.stack([np.linalg.norm(mesh[..., a, :] - mesh[..., b, :], axis=-1) for a, b in EYE_CORNERS], -1)


def _eyes(mesh: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Of each eye the middle of its corners, and unit vectors along them and, square to it, from forehead to chin."""
    for corners in EYE_CORNERS:
        first, second = mesh[..., corners[0], :], mesh[..., corners[1], :]
        across = (second - first) / np.linalg.norm(second - first, axis=-1, keepdims=True)
        down = mesh[..., CHIN, :] - mesh[..., FOREHEAD, :]
        down = down - _dot(down, across)[..., None] * across
        yield (first + second) / 2, across, down / np.linalg.norm(down, axis=-1, keepdims=True)


def _dot(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return (one * other).sum(-1)
