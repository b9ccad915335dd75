"""A photo that can be put into motion: all layers together, at the photo's own resolution.

The dense motion is smooth: it is computed on a grid and enlarged, and what it is applied to is the photo itself.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch

from fomm.model.face.canvas import Canvas, shrunk
from fomm.model.face.generator import PATCH_WH, Generator, conditions, patch_matrix
from fomm.model.face.layers import (
    STILL_PX,
    Eyeball,
    Layers,
    Lid,
    Mouth,
    crowned,
    mouth_change,
)
from fomm.model.face.mesh import EYES
from fomm.model.face.motion import Face, Moved, ramp
from fomm.model.face.surface import Field, Surface

GRID = 288  # longer side of the grid of the dense motion
EDGE_SOFT = 0.004  # softness of the face's edge over what is behind it, in its widths


class _View:
    """A part of the photo and of the grid of the dense motion: `window` is its rows and columns, in cells."""

    def __init__(self, window: tuple[slice, slice], cell: int, shape: tuple[int, ...]) -> None:
        self._window, self._cell = window, cell
        self.part = tuple(
            slice(one.start * cell, min(one.stop * cell, n)) for one, n in zip(window, shape, strict=False)
        )
        self.low = np.array([self.part[1].start, self.part[0].start])
        self.height, self.width = (one.stop - one.start for one in self.part)

    def large(self, values: np.ndarray) -> np.ndarray:
        """Values of the grid for each pixel."""
        values = values[self._window]
        size = values.shape[1] * self._cell, values.shape[0] * self._cell
        return cv2.resize(values, size, interpolation=cv2.INTER_LINEAR)[: self.height, : self.width]

    def points(self, points: np.ndarray, at_rest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points of the grid for each pixel; (height, width) uint8, 1 where they jump: there is nothing in between."""
        shift = (points - at_rest)[self._window]
        jumps = np.zeros(shift.shape[:2], np.uint8)
        for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
            apart = np.abs(shift[one] - shift[other]).max(2) > self._cell
            jumps[one] |= apart
            jumps[other] |= apart
        smooth = self.large(points)
        nearest, jumps = (
            each.repeat(self._cell, 0).repeat(self._cell, 1)[: self.height, : self.width] for each in (shift, jumps)
        )
        np.copyto(smooth, self.large(at_rest) + nearest, where=jumps[..., None] > 0)
        return smooth, jumps


class Portrait:
    """A photo that can be put into motion: `portrait(moved)` is the photo with the face where `moved` has it.

    Args:
        photo: (H, W, 3) uint8 RGB; not copied.
        source: its face.
        person: (H, W) float32 in [0, 1], how sure it is that a pixel shows the person; None: all of it moves.
        generator: paints the inside of the mouth; None: it is left as the warp makes it.
    """

    def __init__(
        self, photo: np.ndarray, source: Face, person: np.ndarray | None, generator: Generator | None = None
    ) -> None:
        height, width = photo.shape[:2]
        self.photo, self.source, self._generator = photo, source, generator
        self.surface = Surface(source, (width, height))
        face_px = source.pose.scale * 2.2
        layers = (
            Layers(np.ones((height, width), np.float32), photo, photo)
            if person is None
            else Layers.of(photo, person, face_px)
        )
        self._background = layers.background
        self._person, self._above = crowned(layers, source)
        cell = self._cell = max(1, round(max(width, height) / GRID))
        self._grid_wh = -(-width // cell), -(-height // cell)
        self._to_grid = np.column_stack([np.eye(2) / cell, np.full(2, 0.5 / cell - 0.5)])
        across, down = ((np.arange(n, dtype=np.float32) + 0.5) * cell - 0.5 for n in self._grid_wh)
        self._at_rest = np.dstack(np.meshgrid(across, down))
        reach = round(2 * face_px / 18 / cell) + 3
        near = cv2.resize(layers.matte, self._grid_wh, interpolation=cv2.INTER_AREA)
        self._near = cv2.dilate(near, np.ones((reach, reach), np.uint8))  # (h, w) where the person may be, in cells
        self._eyeballs = [Eyeball(photo, source, eye) for eye in EYES]
        self._lids = [Lid(photo, source, eye) for eye in EYES]
        self._mouth = Mouth(photo, source)

    def __call__(self, moved: Moved) -> np.ndarray:
        """The photo (H, W, 3) uint8 in motion."""
        vertices, shown_at = self.surface.vertices(moved), self.surface.photo_points_of(moved)
        near, behind = self.surface.split(vertices)
        around, face = (
            self.surface.field(vertices, self._to_grid, self._grid_wh, part, shown_at) for part in (behind, near)
        )
        points = np.where(face.covered[..., None], face.points, around.points)
        covered = face.covered | around.covered
        change = np.where(covered[..., None], points - self._at_rest, 0)
        moves = ramp(np.abs(change).max(2), *STILL_PX).astype(np.float32)
        moves = cv2.dilate(moves, np.ones((3, 3), np.uint8))
        result = self.photo.copy()
        window = self._touched(points, moves)
        if window is not None:
            self._draw(result, window, (around, face), moves, vertices, shown_at, near)
        canvas = Canvas(result, np.eye(2, 3))
        for eyeball in self._eyeballs:
            eyeball.draw(canvas, moved)
        for lid in self._lids:
            lid.draw(canvas, moved)
        shown = self._mouth.draw(canvas, moved)
        if self._generator is not None:
            self._paint(self._generator, canvas, moved, shown)
        return result

    def _touched(self, points: np.ndarray, moves: np.ndarray) -> tuple[slice, slice] | None:
        """Rows and columns of the grid in which the person goes or was; all else is the photo. None: nothing is."""
        there = (points + 0.5) / self._cell - 0.5
        person = cv2.remap(self._near, there, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        rows, columns = np.nonzero((np.maximum(person, self._near) > 0) & (moves > 0))
        if len(rows) == 0:
            return None
        return tuple(slice(max(0, one.min() - 2), one.max() + 3) for one in (rows, columns))

    def _draw(
        self,
        result: np.ndarray,
        window: tuple[slice, slice],
        fields: tuple[Field, Field],
        moves: np.ndarray,
        vertices: np.ndarray,
        shown_at: np.ndarray,
        near: np.ndarray,
    ) -> None:
        """Draw person and background into the part of `result` (H, W, 3) that is `window`, in cells.

        The face lies over what is around it: each has a smooth motion, and a sharp edge between them.
        """
        view = _View(window, self._cell, result.shape)
        around, face = fields
        person = self._person_at(*view.points(self._continued(around), self._at_rest))
        alpha = person[..., 3].astype(np.float32) * (1 / 255)
        covered = around.covered | face.covered
        if not covered[window].all():
            alpha *= view.large(covered.astype(np.float32))
        over, inner = _silhouette(vertices[self.surface.triangles[near], :2] - view.low, view)
        if inner is not None:
            points, jumps = (each[inner] for each in view.points(self._continued(face), self._at_rest))
            points = np.ascontiguousarray(points)
            start = view.low + [inner[1].start, inner[0].start]
            for triangles in self.surface.details:
                self._refine(points, start, vertices, shown_at, triangles)
            nearer, weight = self._person_at(points, jumps), over[inner]
            person[inner] = cv2.blendLinear(nearer, np.ascontiguousarray(person[inner]), weight, 1 - weight)
            alpha[inner] += weight * (nearer[..., 3] / np.float32(255) - alpha[inner])
        background, photo = (np.ascontiguousarray(one[view.part]) for one in (self._background, self.photo))
        drawn = cv2.blendLinear(np.ascontiguousarray(person[..., :3]), background, alpha, 1 - alpha)
        weight = np.ascontiguousarray(view.large(moves))
        result[view.part] = cv2.blendLinear(drawn, photo, weight, 1 - weight)

    def _person_at(self, points: np.ndarray, jumps: np.ndarray) -> np.ndarray:
        """(h, w, 4) uint8: the person's colours and matte at points (h, w, 2) of the photo, softened at `jumps`."""
        x, y = np.ascontiguousarray(points[..., 0]), points[..., 1] + np.float32(self._above)
        person = cv2.remap(self._person, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        if jumps.any():
            np.copyto(person, cv2.blur(person, (self._cell + 1,) * 2), where=jumps[..., None] > 0)
        return person

    def _continued(self, field: Field) -> np.ndarray:
        """(h, w, 2) a field's points, carried on a little where it is not covered."""
        known = field.covered.astype(np.float32)
        shift = (field.points - self._at_rest) * known[..., None]
        near = cv2.boxFilter(np.dstack([shift, known]), -1, (5, 5), normalize=False)
        carried = self._at_rest + near[..., :2] / np.maximum(near[..., 2:], 1e-3)
        return np.where(field.covered[..., None], field.points, carried)

    def _refine(
        self,
        points: np.ndarray,
        start: np.ndarray,
        vertices: np.ndarray,
        shown_at: np.ndarray,
        triangles: np.ndarray,
    ) -> None:
        """Dense motion pixel by pixel around eyes or mouth: enlarged from the grid, lids or lips would run together.

        Args:
            points: (h, w, 2) dense motion in a part of the photo that begins at `start`.
        """
        corners = vertices[np.unique(self.surface.triangles[triangles]), :2]
        low = np.maximum(np.floor(corners.min(0)).astype(int), start)
        high = np.minimum(np.ceil(corners.max(0)).astype(int) + 1, start + points.shape[1::-1])
        if (high - low < 1).any():
            return
        size = int(high[0] - low[0]), int(high[1] - low[1])
        to = np.column_stack([np.eye(2), -low])
        field = self.surface.field(vertices, to, size, triangles, shown_at, both_sides=False)
        (left, top), (right, bottom) = low - start, high - start
        np.copyto(points[top:bottom, left:right], field.points, where=field.covered[..., None])

    @torch.inference_mode()
    def _paint(self, generator: Generator, canvas: Canvas, moved: Moved, shown: np.ndarray) -> None:
        strength = mouth_change(self.source, moved)
        if strength == 0:
            return
        to = patch_matrix(moved)
        patch = shrunk(canvas.picture, to, PATCH_WH)
        known = conditions(self.source, moved, shrunk(shown, to, PATCH_WH), to)
        device = next(generator.parameters()).device
        pictures = torch.from_numpy(patch).to(device).permute(2, 0, 1)[None].float() / 255
        made = generator(pictures, torch.from_numpy(known)[None].to(device))
        colours = (255 * made.painted[0].permute(1, 2, 0)).cpu().numpy()
        paints = (1 - made.occlusion_map[0, 0]).cpu().numpy()
        painted = np.argwhere(paints > 0.01)[:, ::-1]
        if len(painted) == 0:
            return
        back = cv2.invertAffineTransform(to)
        low, high = painted.min(0) - 1, painted.max(0) + 1
        corners = np.array([low, (high[0], low[1]), high, (low[0], high[1])], float)
        window = canvas.window(corners @ back[:, :2].T + back[:, 2])
        if window is None:
            return
        start, size = window
        back[:, 2] -= start
        weight = strength * cv2.warpAffine(paints, back, size, flags=cv2.INTER_LINEAR)
        weight *= 1 - shown[start[1] : start[1] + size[1], start[0] : start[0] + size[0]] / np.float32(255)  # is kept
        colours = cv2.warpAffine(colours, back, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        canvas.blend(start, np.clip(np.round(colours), 0, 255).astype(np.uint8), weight)


def _silhouette(corners: np.ndarray, view: _View) -> tuple[np.ndarray, tuple[slice, slice] | None]:
    """(h, w) float32 in [0, 1], where triangles (T, 3, 2) lie in a view; its rows and columns, None where none does."""
    mask = np.zeros((view.height, view.width), np.uint8)
    for triangle in np.round(corners * 16).astype(np.int32):
        cv2.fillConvexPoly(mask, triangle, 255, cv2.LINE_8, 4)
    left, top, width, height = cv2.boundingRect(mask)
    if min(width, height) < 2:
        return mask.astype(np.float32), None
    soft = cv2.GaussianBlur(mask, (0, 0), max(0.6, EDGE_SOFT * width)).astype(np.float32) * (1 / 255)
    return soft, (slice(max(0, top - 3), top + height + 3), slice(max(0, left - 3), left + width + 3))
