"""The surface of a drawn head: MediaPipe's 468 landmarks as a triangle mesh, a skull behind it, and how skin moves.

`face_mesh.npz` holds the mean of what MediaPipe's mesh sees in 80 drawn puppets that look straight ahead, made
symmetric: points (468, 3) in head units (see `puppet_model`: x to picture right, y down, z to the viewer; 1 unit is
about 10 cm). The triangles between them are those of model `face`, with the eyes and the mouth left open; the cross
product of two of their sides, (b - a) x (c - a), points outwards.

The skull's rings of points are appended to the 468; `SUBDIVISION` then refines the mesh once (Loop's scheme), which
makes the borders of lids and lips smooth curves. "Left" and "right" are those of the picture.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from fomm.model.face.mesh import TRIANGLES as FACE_TRIANGLES

with np.load(Path(__file__).with_name("face_mesh.npz")) as _file:
    MEAN = _file["points"].astype(np.float64)  # (468, 3) head units

# ---------------------------------------------------------------------------------------------------------------------
# Named points. Lids run from the outer to the inner corner, lips and brows from left to right.

UPPER_LID = {-1: [33, 246, 161, 160, 159, 158, 157, 173, 133], 1: [263, 466, 388, 387, 386, 385, 384, 398, 362]}
LOWER_LID = {-1: [33, 7, 163, 144, 145, 153, 154, 155, 133], 1: [263, 249, 390, 373, 374, 380, 381, 382, 362]}
# rings of a lip from the mouth's opening outwards
UPPER_LIP = [
    [78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308],
    [62, 183, 42, 41, 38, 12, 268, 271, 272, 407, 292],
    [76, 184, 74, 73, 72, 11, 302, 303, 304, 408, 306],
    [61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291],
]
LOWER_LIP = [
    [78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308],
    [62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292],
    [76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306],
    [61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291],
]
BROW = {-1: ([46, 53, 52, 65, 55], [70, 63, 105, 66, 107]), 1: ([285, 295, 282, 283, 276], [336, 296, 334, 293, 300])}
OVAL = [10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
        152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109]  # fmt: skip
# where along a lid (outer corner -1, inner 1) and along a lip's outer and inner edge MediaPipe puts these points
UPPER_LID_ALONG = np.array([-1, -0.91, -0.76, -0.51, -0.14, 0.25, 0.59, 0.83, 1])
LOWER_LID_ALONG = np.array([-1, -0.85, -0.67, -0.41, -0.05, 0.31, 0.63, 0.85, 1])
_LIP_ALONG = np.array([[0, 0.27, 0.5, 0.69, 0.85, 1], [0, 0.315, 0.575, 0.74, 0.867, 1]])
CORNERS = [33, 133, 263, 362, 78, 308]  # where a border of the mesh is pointed


def _lips() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Points of the lips, once each: number, place along the lip -1..1, ring 0..1 outwards, upper (-1) or lower (1)."""
    rows = {}
    for half, rings in ((-1, UPPER_LIP), (1, LOWER_LIP)):
        for ring, points in enumerate(rings):
            half_way = _LIP_ALONG[0] + (_LIP_ALONG[1] - _LIP_ALONG[0]) * ring / 3
            for along, point in zip([*-half_way[:0:-1], *half_way], points, strict=True):
                rows[point] = (point, along, ring / 3, half)
    table = np.array(list(rows.values()))
    return table[:, 0].astype(int), table[:, 1], table[:, 2], table[:, 3]


LIP_POINTS, LIP_ALONG, LIP_RING, LIP_HALF = _lips()

# ---------------------------------------------------------------------------------------------------------------------
# How far, and how much along, skin moves


_A, _B = np.unique(np.sort(FACE_TRIANGLES[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), 1), axis=0).T  # ends of the edges
_LENGTHS = csr_matrix((np.linalg.norm(MEAN[_A] - MEAN[_B], axis=1), (_A, _B)), shape=(468, 468))
DISTANCE = dijkstra(_LENGTHS, directed=False)
"""Way over the skin (468, 468) between any two points, head units: around the mouth and the eyes."""


def near(points: list[int], reach: float) -> np.ndarray:
    """Weights (468,), 1 at these points and falling off with the way over the skin: Gaussian of deviation `reach`."""
    return np.exp(-0.5 * (DISTANCE[:, points].min(1) / reach) ** 2)


def follow(handles: np.ndarray, reach: float) -> np.ndarray:
    """Matrix (468, H): the part of each handle's movement that each point of the skin makes; none beyond `reach`."""
    way = DISTANCE[:, handles]
    nearest = np.exp(-(way - way.min(1, keepdims=True)) / (0.25 * reach * (0.05 + way.min(1, keepdims=True) / reach)))
    share = nearest / nearest.sum(1, keepdims=True)
    return share * np.maximum(1 - (way.min(1, keepdims=True) / reach) ** 2, 0) ** 2


def settle(fixed: dict[int, float]) -> np.ndarray:
    """Weights (468,) that take these values at these points and are as smooth as a soap film in between."""
    laplacian = np.zeros((468, 468))
    laplacian[_A, _B] = laplacian[_B, _A] = -1
    np.fill_diagonal(laplacian, -laplacian.sum(1))
    known = np.array(list(fixed))
    free = np.setdiff1d(np.arange(468), known)
    weights = np.zeros(468)
    weights[known] = list(fixed.values())
    weights[free] = np.linalg.solve(laplacian[np.ix_(free, free)], -laplacian[np.ix_(free, known)] @ weights[known])
    return weights


# ---------------------------------------------------------------------------------------------------------------------
# The skull behind the face

_RINGS = (0.12, 0.3, 0.55, 0.8, 1.0)  # parts of the way from the face's oval to the back of the head
_MIDDLE = np.array([0.0, 0.12, -0.08])  # of the skull


def with_skull(face: np.ndarray, width: float) -> np.ndarray:
    """The face (468, 3) and behind it rings around a skull of half `width`: (648, 3) head units."""
    rim = face[OVAL] - _MIDDLE
    radius = np.linalg.norm(rim, axis=1, keepdims=True)
    direction = rim / radius
    angle = np.arccos(np.clip(-direction[:, 2:], -1, 1))  # to the back
    side = np.column_stack([direction[:, :2], np.zeros(len(rim))])
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    rings = []
    for t in _RINGS:
        turned = angle * (1 - 0.9 * t)
        way = np.sin(turned) * side - np.cos(turned) * [0, 0, 1]
        below = np.clip(way[:, 1:2], 0, 1)
        skull = 1 / np.linalg.norm(way / [width, 1.02, 0.8], axis=1, keepdims=True) * (1 - 0.42 * below)
        w = t * t * (3 - 2 * t) if t < 0.6 else 1 - (1 - t) ** 2 * 0.5
        rings.append(_MIDDLE + way * (radius + (skull - radius) * min(1.0, 1.3 * w)))
    return np.concatenate([face, *rings])


def _skull_triangles() -> np.ndarray:
    points = np.concatenate([OVAL, 468 + np.arange(len(_RINGS) * len(OVAL))]).reshape(-1, len(OVAL))
    inner, outer = points[:-1], points[1:]
    next_inner, next_outer = np.roll(inner, -1, axis=1), np.roll(outer, -1, axis=1)
    return np.stack([inner, outer, next_outer, inner, next_outer, next_inner], -1).reshape(-1, 3)


# ---------------------------------------------------------------------------------------------------------------------
# One step of Loop's subdivision


def _subdivide(triangles: np.ndarray, count: int) -> tuple[csr_matrix, np.ndarray]:
    """Matrix (M, count) from coarse to fine points, the first `count` of them the coarse ones moved; fine triangles."""
    sides = np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), 1)
    edges, edge = np.unique(sides, axis=0, return_inverse=True)  # edge (3 T,): number of each triangle's side
    inner, opposite = np.bincount(edge) == 2, triangles[:, [2, 0, 1]].ravel()
    # what a point keeps of its own place, and its share of each neighbour's; a point of the rim follows the rim alone
    points, (point, other) = np.arange(count), np.concatenate([edges, edges[:, ::-1]]).T
    on_rim, degree = np.isin(points, edges[~inner]), np.bincount(point, minlength=count)
    share = np.where(on_rim, 0.125, (0.625 - (0.375 + 0.25 * np.cos(2 * np.pi / degree)) ** 2) / degree)
    own = np.where(on_rim, 0.75, 1 - degree * share)
    share[CORNERS], own[CORNERS] = 0.0, 1.0
    led = (share[point] > 0) & (~on_rim[point] | np.tile(~inner, 2))
    middle, across = count + np.arange(len(edges)), inner[edge]
    entries = [
        (points, points, own),
        (point[led], other[led], share[point[led]]),
        *((middle, end, np.where(inner, 0.375, 0.5)) for end in edges.T),
        (middle[edge[across]], opposite[across], np.full(across.sum(), 0.125)),
    ]
    rows, columns, values = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    (a, b, c), (ab, bc, ca) = triangles.T, middle[edge].reshape(-1, 3).T
    fine = np.stack([a, ab, ca, b, bc, ab, c, ca, bc, ab, bc, ca], 1).reshape(-1, 3)
    return csr_matrix((values, (rows, columns)), shape=(count + len(edges), count)), fine


_COARSE = with_skull(MEAN, 0.74)
SUBDIVISION, TRIANGLES = _subdivide(np.concatenate([FACE_TRIANGLES, _skull_triangles()]), len(_COARSE))
FINE = SUBDIVISION @ _COARSE  # (M, 3) the mean head, refined
_CORNERS = (TRIANGLES.ravel(), np.repeat(np.arange(len(TRIANGLES)), 3))
_AROUND = csr_matrix((np.ones(TRIANGLES.size), _CORNERS), (len(FINE), len(TRIANGLES)))  # sums over a point's triangles


def normals_of(points: np.ndarray) -> np.ndarray:
    """Unit normals (M, 3), out of the head, of refined points (M, 3)."""
    a, b, c = (points[TRIANGLES[:, k]] for k in range(3))
    normals = _AROUND @ np.cross(b - a, c - a)
    return normals / (np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12)


# ---------------------------------------------------------------------------------------------------------------------
# The chart on which skin is painted: around the head's upright axis, then down

CHART_WIDTH, CHART_HEIGHT = 640, 512
TEXELS_PER_UNIT = 238  # of the face
_CHART_AXIS_Z, _CHART_TOP, _CHART_DOWN = -0.14, -0.98, 2.15

_TURN = np.arctan2(FINE[:, 0], FINE[:, 2] - _CHART_AXIS_Z) / np.radians(105)
_CHART_X = (0.5 + 0.5 * _TURN) * CHART_WIDTH - 0.5
_CHART_Y = (FINE[:, 1] - _CHART_TOP) / _CHART_DOWN * CHART_HEIGHT - 0.5
CHART = np.stack([_CHART_X, _CHART_Y], 1)  # (M, 2) texels: the first 468 are the landmarks


def areas(corners: np.ndarray) -> np.ndarray:
    """Twice the area (T,) of flat triangles (T, 3, 2); below 0 where they are wound the other way."""
    (ax, ay), (bx, by) = (corners[:, 1] - corners[:, 0]).T, (corners[:, 2] - corners[:, 0]).T
    return ax * by - ay * bx


CHART_AREAS = np.abs(areas(CHART[TRIANGLES])) / TEXELS_PER_UNIT**2
"""Texels (T,) of each triangle, in squares of `TEXELS_PER_UNIT`: about its area in square head units."""
_COUNT = np.maximum(_AROUND @ np.ones(len(TRIANGLES)), 1)


def around_triangles(values: np.ndarray) -> np.ndarray:
    """Mean of values (M,) of refined points over the corners of each triangle (T,)."""
    return values[TRIANGLES].mean(1)


def around(values: np.ndarray) -> np.ndarray:
    """Mean over the triangles around each refined point (M,) of values (T,) of triangles."""
    return (_AROUND @ values) / _COUNT
