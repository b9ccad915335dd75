"""How expressions change a face's shape, measured on drawn heads: the directions of `fomm.model.face.edit`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fomm.files import atomic_output
from fomm.model.face.mesh import MIRROR, NUM_LANDMARKS, find_pose
from preprocess.synthetic.heads import Expression, Head, random_head, surface_of

HEADS = 64
DIRECTIONS = {
    "smile": Expression(smile_left=1, smile_right=1),
    "frown": Expression(smile_left=-1, smile_right=-1),
    "open": Expression(jaw=0.75),
    "raise": Expression(brow_left=1, brow_right=1),
    "lower": Expression(brow_left=-1, brow_right=-1, brow_inner=-0.5),
}
_IRISES = np.array([473, 475, 474, 477, 476, 468, 470, 469, 472, 471]) - NUM_LANDMARKS  # seen in a mirror


def write_directions(output: str) -> Path:
    """Measure on drawn heads how a face's shape changes with each expression, in the head's own frame.

    Args:
        output: the file, .npz: (478, 3) float32 for each direction.

    Returns:
        `output`.
    """
    path, heads = Path(output), [random_head(seed) for seed in range(HEADS)]
    found = {}
    for name, expression in DIRECTIONS.items():
        change = np.mean([_change(head, expression) for head in heads], axis=0)
        mirror = np.concatenate([change[MIRROR], change[_IRISES]]) * [-1, 1, 1]
        found[name] = ((change + mirror) / 2).astype(np.float32)
    with atomic_output(path) as part:
        np.savez_compressed(part, **found)
    return path


def _change(head: Head, expression: Expression) -> np.ndarray:
    rest, moved = (
        surface_of(head, e).points * [1, 1, -1] for e in (Expression(), expression)
    )  # z away from the viewer
    pose = find_pose(rest)
    return pose.shape(moved) - pose.shape(rest)
