"""The person as one surface over the photo: where each of its points goes, and what hides what.

Inside the face the surface is the mesh. Around it runs a fan of rings, one vertex for each point of the face's outline
and each ring, out to the edges of the work area: hair and ears turn rigidly with the head, as a skull that recedes
behind the face, and what is just around the face goes along with it until the face moves over it; below the jaw the
motion fades along the neck until the shoulders, which stand still.

Drawing the moved surface triangle by triangle, far ones first, gives the dense motion: for each point of the result
the point of the photo that is seen there.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from fomm.model.face.mesh import CHIN, EYES, FOREHEAD, MOUTH, OVAL, REFERENCE, TRIANGLES, Mouth, angles_deg
from fomm.model.face.motion import IS_TURNED_DEG, Face, Moved, ramp
from fomm.model.face.raster import draw_triangles

RINGS = np.array([1.04, 1.1, 1.18, 1.28, 1.4, 1.55, 1.75, 2.0, 2.3, 2.65, 3.05, 3.5, 4.2, 6.0, 9.0])
"""Distances from the middle of the face, in those of its outline."""
CLOSE_RINGS = 5  # of them are just around the face
SKULL_DEPTH, SKULL_REACH = 0.4, 0.42  # how far and how fast the head recedes behind the outline, in face heights
JAW_REACH = 0.3  # how far the skin around the outline follows its expression
ATTACHED = 0.5  # how far around the outline everything goes along with the face all the same, likewise
PINNED = 0.05  # how near to the photo's edge nothing does, in face heights
NECK_ROOM = 0.2  # that edge is taken to be at least as far below the chin: or a short piece of neck would be drawn out
GIVES_WAY = (0.05, 0.3)  # face heights out of the face; what would go from the first to the second comes off, and hides
STAYS = (0.7, 1.0)  # cosine to straight down: from the first on ever less of it does, and nothing below the chin
NECK = (-0.45, 1.1)  # where the motion fades, in face heights below the chin
EDGE = (0.05, 0.35)  # where, before the photo's edge, it fades in any case
TOWARDS = 0.5  # share of a direction that leads to an edge, from which on the body leaves the photo there
FACING = 0.45  # cosine to the viewer from which on the photo shows a point of the face well
SAFE = 0.55  # part of what it shows less well that is trusted: further out may be hair or background
REVEALED = (0.02, 0.12)  # by how much more points have to face the viewer until only that part is shown
MOSTLY = 0.8  # share of poorly shown points beyond the line where the photo begins to show a side poorly
ROW = 0.15  # half the height of what counts as one row of the face, in the head's frame
BEYOND = 0.12  # how far beyond the last point of a side that it hides the photo shows no face, in the head's frame
TEMPLES = (-0.5, 0.1)  # how far below the eyes' corners that counts not at all, and in full, likewise: above is hair
RIM_REACH = 0.25  # how far beyond the outline points are moved with it
UNTANGLING = 30  # steps, after half of which what is around a knot moves, too; one that is left then stays
_SOFTLY: np.ndarray = np.convolve([1.0, 2.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 2.0, 1.0]) / 81


def _openings() -> np.ndarray:
    """(46, 3) triangles that close eyes and mouth, drawn before the others."""
    triangles = []
    for part in (*EYES, MOUTH):
        start, end = (part.left, part.right) if isinstance(part, Mouth) else (part.outer, part.inner)
        upper, lower = [start, *part.upper, end], [start, *part.lower, end]
        clockwise = start != EYES[1].outer  # the right eye's outer corner is on the right
        for i in range(len(upper) - 1):
            for a, b, c in ((upper[i], upper[i + 1], lower[i + 1]), (upper[i], lower[i + 1], lower[i])):
                if len({a, b, c}) == 3:
                    triangles.append((a, b, c) if clockwise else (a, c, b))
    return np.array(triangles, np.int32)


OPENINGS = _openings()
# (468,) how far from the middle, in the head's frame, a side of the face begins: beside brows and eyes, which stay
_SIDE_BEGINS = 0.25 + 0.6 * np.exp(-(((REFERENCE[:468, 1] - REFERENCE[EYES[0].outer, 1] + 0.1) / 0.4) ** 2))


class Field(NamedTuple):
    """Dense motion on a grid of the work area.

    Attributes:
        points: (H, W, 2) float32, the photo's point (x, y) seen at each point of the grid.
        covered: (H, W) bool, whether the surface is seen there at all.
        triangle: (H, W) int32, which triangle is; -1 where none is.
    """

    points: np.ndarray
    covered: np.ndarray
    triangle: np.ndarray


class _Side(NamedTuple):
    """One side of the face as the photo has it: mean direction in the head's frame, how its vertices (V, 2) move in the
    photo when it is turned to the viewer, the same for what is beside it, and how much it faces the viewer there."""

    normal: np.ndarray
    moves: np.ndarray
    beside: np.ndarray
    facing: float


class Surface:
    """The surface over one source.

    Attributes:
        triangles: (T, 3) vertex numbers.
        photo_points: (V, 2) where the vertices lie in the photo.
        face: numbers of the triangles of the mesh, first of those that close its openings.
        close: of the face and what is just around it.
        details: of those around each eye and the mouth, where neighbouring points part.

    Args:
        source: its face in the photo's pixels.
        size_wh: of the photo.
    """

    def __init__(self, source: Face, size_wh: tuple[int, int]) -> None:
        self.source = source
        landmarks, pose = source.landmarks, source.pose
        outline = landmarks[OVAL]
        centre = outline[:, :2].mean(0)
        height = float(np.linalg.norm(landmarks[CHIN] - landmarks[FOREHEAD]))
        rays = outline[:, :2] - centre
        self._height = height
        out = RINGS[:, None] - 1  # (R, 1)
        back = SKULL_DEPTH * height * (1 - np.exp(-out / SKULL_REACH))
        xy = centre + rays * RINGS[:, None, None]
        rings = np.concatenate([xy, (outline[:, 2] + back)[..., None]], axis=2)  # (R, 36, 3)
        self._rings = pose.shape(rings.reshape(-1, 3))
        self._rings_xy = rings.reshape(-1, 3)

        down = pose.rotation[:2, 1] / np.linalg.norm(pose.rotation[:2, 1])
        below = ((xy - landmarks[CHIN, :2]) @ down / height).ravel()
        # nothing moves where the body leaves the photo
        room = _way_out(rings[..., :2].reshape(-1, 2), down, size_wh) / height
        cut = max(0.0, float(_way_out(landmarks[[CHIN], :2], down, size_wh)[0]) / height)
        end = max(NECK[0] + 0.15, min(NECK[1], cut))

        def beside(reach: float) -> np.ndarray:
            return np.repeat(np.exp(-((out[:, 0] / reach) ** 2)), len(OVAL))

        self._rigid = (1 - ramp(below, NECK[0], end)) * ramp(room, *EDGE)
        # or the neck would tear off: all of the motion would lie between the chin and the first ring
        pinned = ramp(room + max(0.0, NECK_ROOM - cut), 0.0, PINNED)
        self._attached = (1 - self._rigid) * beside(ATTACHED) * pinned
        self._jaw = beside(JAW_REACH) * (self._rigid + self._attached)
        out_of_face = rays / np.linalg.norm(rays, axis=1, keepdims=True)
        self._gives_way = np.tile(1 - ramp(out_of_face @ down, *STAYS), len(RINGS))
        self._out_of_face = np.tile(out_of_face / height, (len(RINGS), 1))

        count, rounds = len(OVAL), len(RINGS)
        numbers = np.concatenate([OVAL[None], 468 + np.arange(rounds * count).reshape(rounds, count)])
        inner, inner_next = numbers[:-1], np.roll(numbers[:-1], -1, axis=1)
        outer, outer_next = numbers[1:], np.roll(numbers[1:], -1, axis=1)
        fan = np.stack([[inner, outer, inner_next], [inner_next, outer, outer_next]]).transpose(0, 2, 3, 1)
        self.triangles = np.concatenate([fan.reshape(-1, 3), OPENINGS, TRIANGLES])
        self.face = np.arange(fan.size // 3, len(self.triangles))
        ring = np.broadcast_to(np.arange(rounds)[:, None], fan.shape[:3]).ravel()
        self.close = np.concatenate([np.flatnonzero(ring < CLOSE_RINGS), self.face])
        centres = REFERENCE[np.where(self.triangles < 468, self.triangles, 0)].mean(1)
        in_face = (self.triangles < 468).all(1)
        self.details = []
        for part, reach in ((EYES[0], 0.42), (EYES[1], 0.42), (MOUTH, 0.75)):
            middle = REFERENCE[part.opening].mean(0)
            near = in_face & (np.linalg.norm((centres - middle)[:, :2], axis=1) < reach)
            self.details.append(np.flatnonzero(near))
        self._behind = np.zeros(len(self.triangles))  # what is drawn first, whatever its depth
        self._behind[self.face[: len(OPENINGS)]] = height
        self.photo_points = np.concatenate([landmarks[:468, :2], self._rings_xy[:, :2]])
        self._sides = [side for side in map(self._side, (-1, 1)) if side is not None]

    def _side(self, sign: int) -> _Side | None:
        """What the photo shows foreshortened of one side of the face, -1 left or 1 right."""
        pose, landmarks = self.source.pose, self.source.landmarks
        normals = normals_of(landmarks[:468])
        facing = -normals[:, 2]
        side = sign * REFERENCE[:468, 0] > _SIDE_BEGINS
        if (facing[side] < FACING).sum() < 10:
            return None
        axis = pose.rotation[:2, 0] / np.linalg.norm(pose.rotation[:2, 0])
        out = sign * (landmarks[:468, :2] @ axis)
        # row by row, the point up to which it is seen well: how far out that is, and how far around the head
        height, around = REFERENCE[:468, 1], np.arctan2(sign * REFERENCE[:468, 0], 1.0 - REFERENCE[:468, 2])
        rows = np.linspace(height[side].min(), height[side].max(), 24)
        table = []
        for row in rows:
            near = np.flatnonzero(np.abs(height - row) < ROW)
            near = near[around[near].argsort()]
            poor = side[near] & (facing[near] < FACING)
            beyond = np.cumsum(poor[::-1])[::-1] / np.arange(len(near), 0, -1)  # share of poor points from each one on
            last = max(0, int(np.argmax(beyond > MOSTLY)) - 1) if beyond[-1] > MOSTLY else len(near) - 1
            table.append((out[near[: last + 1]].max(), out[near].max(), around[near[last]], around[near[-1]]))
        smooth = cv2.blur(np.array(table), (1, 5), borderType=cv2.BORDER_REPLICATE)
        begin, end, first, most = (np.interp(height, rows, column) for column in smooth.T)
        far = side & (around > first)
        part = np.clip((around - first) / np.maximum(most - first, 1e-3), 0, 1)
        shown = begin + SAFE * np.maximum(end - begin, 0) * part
        pulled = np.where(far, sign * (shown - out), 0.0)[:, None] * axis
        turned = float(ramp(sign * angles_deg(pose.rotation)[0], *IS_TURNED_DEG))
        beyond = np.maximum(end, begin) + turned * BEYOND * pose.scale
        below_temples = ramp(REFERENCE[OVAL, 1] - REFERENCE[EYES[0].outer, 1], *TEMPLES)
        out_of_face = np.where(far, sign * (beyond - out), 0.0)[OVAL] * below_temples
        wide = len(_SOFTLY) // 2
        around_it = np.concatenate([out_of_face[-wide:], out_of_face, out_of_face[:wide]])
        rim = np.convolve(around_it, _SOFTLY, "valid")[:, None] * axis  # it begins gradually
        out_of_rim = np.exp(-(((RINGS - 1) / RIM_REACH) ** 2))
        moves = np.concatenate([pulled, (out_of_rim[:, None, None] * rim).reshape(-1, 2)])
        beside = moves.copy()
        beside[OVAL] = rim
        return _Side(pose.rotation.T @ -normals[far].mean(0), moves, beside, float(facing[far].mean()))

    def photo_points_of(self, moved: Moved) -> tuple[np.ndarray, np.ndarray]:
        """(V, 2) where the photo shows the vertices, as far as it does, and the same for what is drawn beside the face.

        A side that was turned away is shown in a few pixels, the last of which are not the face's any more. Where the
        motion turns it to the viewer, the rest of these pixels is spread over it.
        """
        points = beside = self.photo_points
        for side in self._sides:
            revealed = ramp((moved.pose.rotation @ side.normal)[2] - side.facing, *REVEALED)
            points, beside = points + revealed * side.moves, beside + revealed * side.beside
        return _untangled(points, moved.landmarks[:468]), beside

    def vertices(self, moved: Moved) -> np.ndarray:
        """(V, 3) the surface's points after the motion, in the photo's pixels."""
        change = np.tile(moved.shape[OVAL] - self.source.shape[OVAL], (len(RINGS), 1))
        moves = moved.pose.place(self._rings + self._jaw[:, None] * change) - self._rings_xy
        out = (moves[:, :2] * self._out_of_face).sum(1)
        follows = self._rigid + self._attached * (1 - self._gives_way * ramp(out, *GIVES_WAY))
        rings = self._rings_xy + follows[:, None] * moves
        return np.concatenate([moved.landmarks[:468], rings])

    def split(self, vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the triangles that are the face as it is seen, and of those around and behind it."""
        seen = _areas(vertices[self.triangles, :2]) > 0
        seen[: self.face[0]] = False
        seen[self.face[: len(OPENINGS)]] = True
        return np.flatnonzero(seen), np.flatnonzero(~seen)

    def field(
        self,
        vertices: np.ndarray,
        to_grid: np.ndarray,
        size_wh: tuple[int, int],
        only: np.ndarray | None = None,
        photo_points: np.ndarray | None = None,
        *,
        both_sides: bool = True,
    ) -> Field:
        """Dense motion of the moved surface (V, 3) on a grid of `size_wh`.

        Args:
            to_grid: (2, 3) leads to the grid from the photo.
            only: numbers of the triangles to draw; by default all.
            photo_points: (V, 2), see `photo_points_of`; by default where the vertices lie in the photo.
            both_sides: draw triangles that look away, too, behind all others.
        """
        width, height = size_wh
        photo_points = self.photo_points if photo_points is None else photo_points
        grid = vertices[:, :2] @ to_grid[:, :2].T + to_grid[:, 2]
        triangles = self.triangles if only is None else self.triangles[only]
        behind = self._behind if only is None else self._behind[only]
        corners = grid[triangles.T]  # (3, T, 2)
        one, two = corners[1] - corners[0], corners[2] - corners[0]
        area = one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]
        low, high = corners.min(0), corners.max(0)
        seen = (
            ((np.abs(area) if both_sides else area) > 1e-6)
            & (high[:, 0] >= 0)
            & (high[:, 1] >= 0)
            & (low[:, 0] < width)
            & (low[:, 1] < height)
        )
        order = np.flatnonzero(seen)
        # what looks away is behind what looks here: it shows only where nothing else is
        depth = vertices[triangles[order].T, 2].mean(0) + behind[order] + 2 * self._height * (area[order] < 0)
        order = order[np.argsort(-depth, kind="stable")]
        triangle = np.full((height, width), -1, np.int32)
        draw_triangles(grid[triangles[order]], order, triangle)

        # Within a triangle the photo's point is an affine function of the grid's.
        photo = photo_points[triangles.T]
        first, second = photo[1] - photo[0], photo[2] - photo[0]
        safe = np.where(np.abs(area) > 1e-6, area, 1.0)[:, None]
        by_x = (first * two[:, 1:] - second * one[:, 1:]) / safe
        by_y = (second * one[:, :1] - first * two[:, :1]) / safe
        at_0 = photo[0] - by_x * corners[0, :, :1] - by_y * corners[0, :, 1:]
        covered, points = triangle >= 0, np.zeros((height, width, 2), np.float32)
        if len(order):
            left, top = np.clip(np.floor(low[order].min(0)).astype(int), 0, (width - 1, height - 1))
            right, bottom = np.clip(np.ceil(high[order].max(0)).astype(int) + 1, 1, (width, height))
            part = np.s_[top:bottom, left:right]
            label = np.maximum(triangle[part], 0)
            x, y = np.arange(left, right, dtype=np.float32), np.arange(top, bottom, dtype=np.float32)[:, None]
            for axis in range(2):
                a, b, c = (np.float32(values[:, axis]).take(label) for values in (by_x, by_y, at_0))
                a *= x
                b *= y
                a += b
                np.add(a, c, out=points[part][..., axis])
            # Drawn as a line, what is thinner than a pixel would show what lies far from it.
            beyond = 1.5 / float(np.hypot(to_grid[0, 0], to_grid[0, 1]))
            least, most = photo.min(0) - beyond, photo.max(0) + beyond
            thin = (np.abs(by_x) + np.abs(by_y) > most - least).any(1)
            if thin.any():
                at = (thin.take(label) & covered[part]).nonzero()
                points[part][at] = np.clip(points[part][at], least[label[at]], most[label[at]])
        return Field(points, covered, triangle)


def _untangled(shown_at: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Points of the photo (V, 2) that show moved landmarks (468, 3), moved until nothing is shown mirrored.

    A part of the face that looks away in the photo may look here after the motion: its points go to where their
    neighbours are.
    """
    drawn, lies = _areas(landmarks[TRIANGLES, :2]), _areas(shown_at[TRIANGLES])
    here = drawn > 0
    mirrored = here & (lies <= 0)
    if not mirrored.any():
        return shown_at
    smooth, moving = _smoothed(shown_at, here)
    comes = np.zeros(len(shown_at))
    comes[moving] = 1.0
    comes[TRIANGLES[mirrored]] = 0.0  # they begin to look here gradually
    np.maximum.at(comes, TRIANGLES[mirrored], (drawn / (1e-6 - lies))[mirrored, None])
    return _smoothed(shown_at + ramp(comes, 0.0, 0.2)[:, None] * (smooth - shown_at), here)[0]


def _smoothed(points: np.ndarray, here: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (V, 2) with those of mirrored triangles, of the mesh's that look `here`, moved to where their neighbours
    are; the numbers of those that were moved."""
    points, moved = points.copy(), np.zeros(0, int)
    for step in range(UNTANGLING):
        mirrored = here & (_areas(points[TRIANGLES]) <= 0)
        if not mirrored.any():
            break
        moving = np.unique(TRIANGLES[mirrored])
        if step >= UNTANGLING // 2:
            moving = np.flatnonzero(_NEIGHBOURS[moving].any(0))
        points[moving] = _NEIGHBOURS[moving] @ points[:468]
        moved = np.union1d(moved, moving)
    return points, moved


def _areas(corners: np.ndarray) -> np.ndarray:
    """Twice the areas (T,) of triangles (T, 3, 2), below 0 for those that look away."""
    one, two = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]


def _neighbours() -> np.ndarray:
    """(468, 468) that makes of points the mean of their neighbours in the mesh."""
    near = np.zeros((468, 468))
    for k in range(3):
        near[TRIANGLES[:, k], TRIANGLES[:, k - 1]] = near[TRIANGLES[:, k - 1], TRIANGLES[:, k]] = 1
    return near / near.sum(1, keepdims=True)


_NEIGHBOURS = _neighbours()


def normals_of(points: np.ndarray) -> np.ndarray:
    """(468, 3) unit normals of the mesh, away from the head."""
    a, b, c = (points[TRIANGLES[:, k]] for k in range(3))
    across, normals = np.cross(c - a, b - a), np.zeros_like(points)
    for k in range(3):
        np.add.at(normals, TRIANGLES[:, k], across)
    return normals / (np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12)


def _way_out(points: np.ndarray, direction: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """(N,) how far it is from points (N, 2) to the picture's edge in this direction, pixels; below 0 beyond it.

    Edges that the direction goes along rather than towards do not count: a head may lean against them.
    """
    far = np.where(direction > 0, np.array(size_wh) - 1.0, 0.0)
    towards = np.abs(direction) > TOWARDS
    return ((far - points)[:, towards] / direction[towards]).min(1)
