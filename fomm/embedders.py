"""Networks that turn a face into a vector whose angle to another says how alike the two people look."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from torch import Tensor

MESH_FIVE = ((33, 133), (362, 263), (1,), (61,), (291,))
IBUG_FIVE = (tuple(range(36, 42)), tuple(range(42, 48)), (30,), (48,), (54,))


class Embedder(Protocol):
    """A network for `measures.Aed` and `measures.Similarity`.

    Attributes:
        name: "openface", "arcface", or the stem of the user's file.
        aligned: it wants five points of each face.

    Call: pictures (T, 3, H, W) float, RGB in [0, 1], and where `aligned` five points (T, 5, 2) in their pixels (eye,
    eye, nose tip, mouth corner, mouth corner; from picture left to right) -> (T, D) float32, rows of length 1.
    """

    name: str
    aligned: bool

    def __call__(self, pictures: Tensor, points_px: np.ndarray | None = None) -> np.ndarray: ...


def five_points(landmarks_px: np.ndarray) -> np.ndarray:
    """Middle of each eye, nose tip and mouth corners (5, 2) of 468 mesh landmarks or 68 in the order of iBUG 300-W.

    Raises:
        ValueError: another number of landmarks.
    """
    groups = {468: MESH_FIVE, 68: IBUG_FIVE}.get(len(landmarks_px))
    if groups is None:
        raise ValueError(f"five points are known of 468 or 68 landmarks, not of {len(landmarks_px)}")
    return np.stack([landmarks_px[list(group)].mean(0) for group in groups])


def load_embedder(source: str) -> Embedder:
    """By known name ("openface", "arcface") or path."""
    raise NotImplementedError
