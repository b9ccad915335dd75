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
    mouth_change,
)
from fomm.model.face.mesh import EYES
from fomm.model.face.motion import Face, Moved, ramp
from fomm.model.face.surface import Field, Surface

GRID = 288  # longer side of the grid of the dense motion


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
        self._person = np.dstack([layers.person, np.round(255 * layers.matte).astype(np.uint8)])
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
        height, width = self.photo.shape[:2]
        vertices = self.surface.vertices(moved)
        field = self.surface.field(vertices, self._to_grid, self._grid_wh)
        change = np.where(field.covered[..., None], field.points - self._at_rest, 0)
        moves = ramp(np.abs(change).max(2), *STILL_PX).astype(np.float32)
        moves = cv2.dilate(moves, np.ones((3, 3), np.uint8))
        result = self.photo.copy()
        window = self._touched(field.points, moves)
        if window is not None:
            self._draw(result, window, field, moves, vertices)
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
        down, across = (slice(max(0, one.min() - 2), one.max() + 3) for one in (rows, columns))
        return down, across

    def _draw(
        self,
        result: np.ndarray,
        window: tuple[slice, slice],
        field: Field,
        moves: np.ndarray,
        vertices: np.ndarray,
    ) -> None:
        """Draw person and background into the part of `result` (H, W, 3) that is `window`, in cells."""
        low = np.array([window[1].start, window[0].start]) * self._cell
        part = tuple(slice(one.start * self._cell, one.stop * self._cell) for one in window)
        height, width = result[part].shape[:2]

        def large(values: np.ndarray) -> np.ndarray:
            values = values[window]
            size = values.shape[1] * self._cell, values.shape[0] * self._cell
            return cv2.resize(values, size, interpolation=cv2.INTER_LINEAR)[:height, :width]

        points = np.ascontiguousarray(large(field.points))
        for triangles in self.surface.details:
            self._refine(points, low, vertices, triangles)
        person = cv2.remap(self._person, points, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        alpha = person[..., 3].astype(np.float32) * (1 / 255)
        if not field.covered[window].all():
            alpha *= large(field.covered.astype(np.float32))
        background, photo = (np.ascontiguousarray(one[part]) for one in (self._background, self.photo))
        drawn = cv2.blendLinear(np.ascontiguousarray(person[..., :3]), background, alpha, 1 - alpha)
        weight = np.ascontiguousarray(large(moves))
        result[part] = cv2.blendLinear(drawn, photo, weight, 1 - weight)

    def _refine(self, points: np.ndarray, start: np.ndarray, vertices: np.ndarray, triangles: np.ndarray) -> None:
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
        field = self.surface.field(vertices, np.column_stack([np.eye(2), -low]), size, triangles)
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
