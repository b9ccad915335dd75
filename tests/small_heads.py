"""A small set of heads for tests: flat faces of one colour whose mouths open onto a dark inside with teeth."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from fomm.model.face.canvas import polygon
from fomm.model.face.mesh import CHIN, MOUTH, REFERENCE, Pose, rotation_of

SIDE = 128


def face_mesh(rng: np.random.Generator, side: int = SIDE) -> np.ndarray:
    """Landmarks (478, 3) of a face with a random pose and a mouth that is shut, or open by a random amount."""
    shape = REFERENCE.copy()
    gap = max(0.0, rng.uniform(-0.2, 0.35))
    drop = np.clip((shape[:, 1] - shape[MOUTH.upper, 1].mean()) / (shape[CHIN, 1] - shape[MOUTH.upper, 1].mean()), 0, 1)
    shape[:, 1] += 0.3 * gap * drop
    shape[MOUTH.lower, 1] = shape[MOUTH.upper, 1] + gap
    pose = Pose(side / 4, rotation_of(rng.normal(0, 4, 3)), np.array([side / 2, side / 2, 0]))
    return pose.place(shape)


def face_picture(mesh: np.ndarray, colour: np.ndarray, side: int = SIDE) -> np.ndarray:
    """(side, side, 3) uint8."""
    picture = np.full((side, side, 3), colour, np.uint8)
    inside = polygon(mesh[MOUTH.opening, :2], (side, side))[..., None] / 255
    teeth = np.concatenate([mesh[MOUTH.upper, :2], mesh[MOUTH.upper[::-1], :2] + [0, 4]])
    bright = polygon(teeth, (side, side))[..., None] / 255
    picture = picture * (1 - inside) + inside * (bright * 230 + (1 - bright) * [60, 20, 25])
    return cv2.GaussianBlur(picture.astype(np.uint8), (0, 0), 0.7)


def write_heads(folder: Path, *, heads: int = 8, frames: int = 4) -> Path:
    """Write frames.npy and mesh.npy; returns the folder."""
    rng = np.random.default_rng(0)
    mesh = np.array([[face_mesh(rng) for _ in range(frames)] for _ in range(heads)])
    colours = rng.uniform(90, 220, (heads, 3))
    folder.mkdir(parents=True)
    np.save(folder / "mesh.npy", mesh.astype(np.float32))
    np.save(
        folder / "frames.npy",
        np.array([[face_picture(m, colour) for m in head] for head, colour in zip(mesh, colours, strict=True)]),
    )
    return folder
