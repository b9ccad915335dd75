"""A training set of drawn heads: pictures of each head with independent poses and expressions, and their meshes.

    python -m preprocess heads --output heads/ --identities 6000 --frames 6 --size 256 --workers 2

Arrays that can be read by memory map, without decoding or detector:

    frames.npy   (N, K, S, S, 3) uint8 RGB: N heads, K frames of each before the same backdrop, in the same light
    mesh.npy     (N, K, 478, 3) float32: what MediaPipe sees in the frame, in its pixels; z smaller = nearer
    truth.npy    (N, K, 478, 3) float32: the same points as drawn
    acts.npy     (N, K, 6 + 23) float32: yaw, pitch, roll, shift_x, shift_y, scale and the fields of `Expression`
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from fomm.errors import require_at_least
from fomm.files import atomic_output, require_new
from preprocess.faces import FaceFinder
from preprocess.synthetic.drawing import draw_all
from preprocess.synthetic.face_mesh import LIP_POINTS, LOWER_LID, UPPER_LID
from preprocess.synthetic.head_painter import draw_head
from preprocess.synthetic.heads import (
    NUM_POINTS,
    Expression,
    Pose,
    frame_head,
    random_expression,
    random_head,
    random_stance,
)

_STANCE = ("yaw", "pitch", "roll", "shift_x", "shift_y", "scale")
_PARTS = (LIP_POINTS, *(np.array(UPPER_LID[side] + LOWER_LID[side]) for side in (-1, 1)))
_OPENINGS = ((13, 14), (159, 145), (386, 374))  # of the mouth and the eyes
_FAR = 0.035  # a mesh this far from the truth (see `mesh_error`) is not of this face
_ELSE_OPEN = 0.03  # nor is one whose mouth or eyes are so much more or less open (see `opening_error`)
_TRIES = 4  # frames drawn for each that is kept, before a head is given up


class HeadSet(NamedTuple):
    """What is kept of a head, or of all: the files by their names."""

    frames: np.ndarray
    mesh: np.ndarray
    truth: np.ndarray
    acts: np.ndarray


@dataclass(frozen=True)
class _Job:
    """One head to draw; small enough to be sent to another process."""

    row: int
    identity: int
    frames: int
    size: int
    scale: float


def write_heads(
    output: str | Path,
    *,
    identities: int,
    frames: int = 6,
    size: int = 256,
    seed: int = 0,
    scale_range: tuple[float, float] = (1.4, 1.8),
    workers: int = 1,
) -> Path:
    """Draw a training set. Equal arguments give equal files, whatever the number of workers.

    Args:
        output: folder to make; must not exist yet or be empty.
        identities, frames: how many heads, and frames of each.
        size: pixels of the square frames.
        seed: sets of different seeds share no head.
        scale_range: of the frames' side, in longer sides of the resting face.
        workers: processes that draw.

    Returns:
        `output`.

    Raises:
        InputError: a count below its minimum, a folder in use, a disk that is full.
    """
    output = Path(output)
    require_at_least(
        identities=(identities, 1), frames=(frames, 1), size=(size, 64), seed=(seed, 0), workers=(workers, 1)
    )
    require_new(output)
    jobs = []
    for row in range(identities):
        scale = float(np.random.default_rng([seed, row, 0x4E]).uniform(*scale_range))
        jobs.append(_Job(row, seed * 1_000_003 + row, frames, size, scale))
    with atomic_output(output) as part:
        part.mkdir()
        shapes = {
            "frames": ((size, size, 3), np.uint8), "mesh": ((NUM_POINTS, 3), np.float32),
            "truth": ((NUM_POINTS, 3), np.float32), "acts": ((len(_STANCE) + len(astuple(Expression())),), np.float32),
        }  # fmt: skip
        for name, (shape, dtype) in shapes.items():
            np.lib.format.open_memmap(part / f"{name}.npy", "w+", dtype, (identities, frames, *shape)).flush()
        draw_all(partial(_draw_job, root=part), jobs, workers=workers, unit="head")
    return output


_finder: FaceFinder | None = None  # one in each process: it belongs to the process that made it


def _draw_job(job: _Job, root: Path) -> None:
    global _finder
    cv2.setNumThreads(1)  # processes share the cores already
    if _finder is None:
        _finder = FaceFinder()
    identity, drawn = job.identity, None
    while drawn is None:
        drawn = _draw_one(job, identity, _finder)
        identity += 500_009  # far from every other head's
    for name, rows in zip(HeadSet._fields, drawn, strict=True):
        table = np.lib.format.open_memmap(root / f"{name}.npy", "r+")
        table[job.row] = rows
        table.flush()


def _draw_one(job: _Job, identity: int, finder: FaceFinder) -> HeadSet | None:
    """All frames of a head, or None where too few of them are found and fit."""
    head = random_head(identity)
    camera = frame_head(head, [Pose()], scale=job.scale)
    kept: list[tuple] = []
    for attempt in range(_TRIES * job.frames):
        chance = int(np.random.default_rng([identity, attempt, 0xAC7]).integers(1 << 31))
        pose, expression = random_stance(chance), random_expression(chance)
        image, truth = draw_head(head, pose, expression, job.size, camera)
        mesh = finder.mesh(image)
        if mesh is None or mesh_error(mesh, truth) > _FAR or opening_error(mesh, truth) > _ELSE_OPEN:
            continue
        act = [*(getattr(pose, name) for name in _STANCE), *astuple(expression)]
        kept.append((image, mesh, truth, act))
        if len(kept) == job.frames:
            return HeadSet(*(np.stack(column) for column in zip(*kept, strict=True)))
    return None


def mesh_error(mesh: np.ndarray, truth: np.ndarray) -> float:
    """How far a mesh (478, 3) is from the true one: mean distance of the lips or of an eye's lids, whichever is
    greater, in widths of the true face."""
    away = np.linalg.norm((mesh - truth)[:, :2], axis=1)
    return float(max(away[part].mean() for part in _PARTS) / np.ptp(truth[:468, 0]))


def opening_error(mesh: np.ndarray, truth: np.ndarray) -> float:
    """How much more or less open mouth or eyes of a mesh (478, 3) are than the true ones, at most, in face widths and
    beyond a seventh of the true opening."""
    a, b = np.array(_OPENINGS).T
    gaps = [np.linalg.norm((points[a] - points[b])[:, :2], axis=1) for points in (mesh, truth)]
    return float((np.abs(gaps[0] - gaps[1]) - gaps[1] / 7).max() / np.ptp(truth[:468, 0]))
