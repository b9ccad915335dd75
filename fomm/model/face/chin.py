"""The skin between lower lip and chin, which the mesh loses where the mouth is open: there its points lie on the lip.

They are moved down, to where they lie between lip and jaw in the reference, as far as they are missing.
"""

from __future__ import annotations

import numpy as np

from fomm.model.face.mesh import LIPS, MOUTH, MOUTH_CORNERS, OVAL, REFERENCE, find_pose

LEAST = 0.7  # part of the way from lip to jaw, of the reference's, that a point has; rarely less in shut mouths
_LOWER_LIP = np.append(LIPS[10:], LIPS[0])  # its outer edge
_JAW = OVAL[REFERENCE[OVAL, 1] > REFERENCE[list(MOUTH_CORNERS), 1].mean() + 0.1]  # the outline below the mouth


def _edges(shape: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(468,) how far down the lip's edge and the jaw's are where landmarks of a shape (478, 3) lie."""
    lip, jaw = (np.interp(shape[:468, 0], *shape[edge][shape[edge, 0].argsort(), :2].T) for edge in (_LOWER_LIP, _JAW))
    return lip, jaw


def _below_lip() -> tuple[np.ndarray, np.ndarray]:
    """(N,) numbers of the landmarks between lip and chin, and how much of the way they lie in the reference."""
    lip, jaw = _edges(REFERENCE)
    part = (REFERENCE[:468, 1] - lip) / (jaw - lip)
    corners = REFERENCE[list(MOUTH_CORNERS)]
    below = (REFERENCE[:468, 1] > corners[:, 1].mean()) & (np.abs(REFERENCE[:468, 0]) < 0.95 * corners[:, 0].max())
    numbers = np.setdiff1d(np.flatnonzero(below & (part > 0)), np.concatenate([LIPS, MOUTH.opening, OVAL]))
    return numbers, part[numbers]


_BELOW, _PARTS = _below_lip()


def with_skin_below_lip(landmarks: np.ndarray) -> np.ndarray:
    """Landmarks (478, 3) of a face, in a picture's pixels, with skin between lip and chin; the same array where it is
    there already."""
    pose = find_pose(landmarks)
    shape = pose.shape(landmarks)
    lip, jaw = (edge[_BELOW] for edge in _edges(shape))
    missing = np.maximum(lip + LEAST * _PARTS * (jaw - lip) - shape[_BELOW, 1], 0.0)
    if not missing.any():
        return landmarks
    shape[_BELOW, 1] += missing
    found = landmarks.copy()
    found[_BELOW] = pose.place(shape[_BELOW])
    return found
