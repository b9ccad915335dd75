"""A photo that can be put into motion: all layers together, at the photo's own resolution.

The dense motion is smooth: it is computed on a grid and enlarged, and what it is applied to is the photo itself.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch

from fomm.model.face.canvas import Canvas, shrunk
from fomm.model.face.crown import crowned
from fomm.model.face.eyes import Eyeball, Lid
from fomm.model.face.generator import PATCH_WH, PER_UNIT, Generator, conditions, patch_matrix
from fomm.model.face.hidden import HiddenSide
from fomm.model.face.layers import STILL_PX, Layers
from fomm.model.face.mesh import EYES
from fomm.model.face.motion import Face, Moved, ramp
from fomm.model.face.mouth import Mouth, mouth_change, shaded, shown_by, unlit
from fomm.model.face.paint import TEETH_SOFT, Palette, deep, in_a_row, in_shadow, light_on_teeth
from fomm.model.face.raster import draw_triangles
from fomm.model.face.skin import Skin
from fomm.model.face.surface import Field, Surface

GRID = 288  # longer side of the grid of the dense motion
EDGE_SOFT = 0.008  # softness of the face's edge over what is behind it, in its widths
FINE, FINE_PX = 2, 8e6  # how much finer the person is kept to be read from linearly, in photos of up to so many pixels
GRAIN_INSIDE = 0.7  # how much of the skin's grain the inside of the mouth has
MISSED = 0.02  # face heights that a cell has to move to be drawn where the outline is wrong
MISSED_LEVELS = (4.0, 20.0)  # by how much layers at rest differ from the photo where that begins and is so in full
DRAWN_OUT = (0.3, 0.6)  # pixels of the photo for one: where there are fewer, one sees streaks
SPECK_PX = 2.5  # how far from its neighbours' median a pixel of the dense motion may be
SHARPER = 0.25  # what linear reading takes away of that
_LANCZOS: np.ndarray = np.sinc(np.arange(-3.5, 4)) * np.sinc(np.arange(-3.5, 4) / 4)
_HALF_WAY, _THERE = _LANCZOS / _LANCZOS.sum(), np.ones(1)  # kernels between two pixels, and at one


class _Texture:
    """A picture (h, w, 4) uint8 to be read from at points of the photo: colours and how much of them there is.

    Args:
        start: (2,) where the photo begins in it.
    """

    def __init__(self, picture: np.ndarray, start: np.ndarray | None = None) -> None:
        # Linear reading of a finer picture is as sharp as cubic reading, and six times as fast.
        self._fine = FINE if picture.shape[0] * picture.shape[1] <= FINE_PX else 1
        self._picture = picture if self._fine == 1 else finer(picture)
        self._start = np.zeros(2, int) if start is None else start

    def at(self, points: np.ndarray) -> np.ndarray:
        """(h, w, 4) uint8 at points (h, w, 2); the points are changed."""
        if self._start.any():
            points += self._start
        points *= self._fine
        by = cv2.INTER_CUBIC if self._fine == 1 else cv2.INTER_LINEAR
        return cv2.remap(self._picture, points, None, by, borderMode=cv2.BORDER_REPLICATE)


class _Part(NamedTuple):
    """Triangles of the moved surface that are drawn together.

    Attributes:
        vertices: (V, 3) of the surface.
        shown_at: (V, 2) where the texture shows them.
        texture: what they show.
        triangles: numbers, those that look here.
        among: numbers of triangles that may hide them, themselves among them; None: none does.
        skin: is shown where the texture would be drawn out to streaks; None: it is shown all the same.
    """

    vertices: np.ndarray
    shown_at: np.ndarray
    texture: _Texture
    triangles: np.ndarray
    among: np.ndarray | None = None
    skin: Skin | None = None


class _View:
    """A part of the photo and of the grid of the dense motion: `window` is its rows and columns, in cells."""

    def __init__(self, window: tuple[slice, slice], cell: int, shape: tuple[int, ...]) -> None:
        self.window, self._cell, self._shape = window, cell, shape
        self.part = tuple(
            slice(one.start * cell, min(one.stop * cell, n)) for one, n in zip(window, shape, strict=False)
        )
        self.low = np.array([self.part[1].start, self.part[0].start])
        self.height, self.width = (one.stop - one.start for one in self.part)

    def within(self, rows: np.ndarray, columns: np.ndarray) -> _View:
        """The part of this one that holds these rows and columns of the grid, and two around them."""
        down, across = (
            slice(max(one.start, int(cells[0]) - 2), min(one.stop, int(cells[-1]) + 3))
            for one, cells in zip(self.window, (rows, columns), strict=True)
        )
        return _View((down, across), self._cell, self._shape)

    def inside(self, other: _View) -> tuple[slice, slice]:
        """Rows and columns of this part, counted in another one that it lies in."""
        x, y = self.low - other.low
        return slice(y, y + self.height), slice(x, x + self.width)

    def large(self, values: np.ndarray) -> np.ndarray:
        """Values of this part of the grid for each pixel."""
        size = values.shape[1] * self._cell, values.shape[0] * self._cell
        return cv2.resize(values, size, interpolation=cv2.INTER_LINEAR)[: self.height, : self.width]

    def points(self, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the photo shows each pixel (height, width, 2), from how far that is from its own place on this part of
        the grid; (height, width) float32 in [0, 1], how much it jumps: there is nothing in between."""
        jumps = np.zeros(shift.shape[:2], np.uint8)
        for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
            apart = farther(shift[one] - shift[other]) > self._cell
            jumps[one] |= apart
            jumps[other] |= apart
        points = np.ascontiguousarray(self.large(shift))
        cells = cv2.findNonZero(jumps)
        if cells is not None:
            within = np.arange(self._cell)
            columns, rows = cells[:, 0].T[..., None] * self._cell + within  # (n, cell) each
            columns, rows = columns.clip(max=self.width - 1), rows.clip(max=self.height - 1)
            points[rows[:, :, None], columns[:, None]] = shift[cells[:, 0, 1], cells[:, 0, 0]][:, None, None]
        soft = self.large(cv2.blur(jumps.astype(np.float32), (3, 3)))  # else cells would be seen as steps and beads
        points[..., 0] += np.arange(self.low[0], self.low[0] + self.width, dtype=np.float32)
        points[..., 1] += np.arange(self.low[1], self.low[1] + self.height, dtype=np.float32)[:, None]
        return points, soft


def finer(picture: np.ndarray) -> np.ndarray:
    """A picture (H, W, C) uint8 with `FINE` pixels for one each way, every so-manieth as it was.

    Those in between are Lanczos' and a little too sharp: linear reading takes as much away.
    """
    height, width, channels = picture.shape
    fine = np.empty((FINE * height - 1, FINE * width - 1, channels), np.uint8)
    fine[::FINE, ::FINE] = picture
    for down, across in ((0, 1), (1, 0), (1, 1)):
        between = cv2.sepFilter2D(
            picture,
            -1,
            _HALF_WAY if across else _THERE,
            _HALF_WAY if down else _THERE,
            anchor=(3 if across else 0, 3 if down else 0),
            borderType=cv2.BORDER_REPLICATE,
        )
        fine[down::FINE, across::FINE] = between[: height - down, : width - across]
    fine = cv2.addWeighted(fine, 1 + SHARPER, cv2.GaussianBlur(fine, (0, 0), 0.6 * FINE), -SHARPER, 0)
    fine[::FINE, ::FINE] = picture
    return fine


def without_specks(points: np.ndarray) -> np.ndarray:
    """Dense motion (h, w, 2) in which no single pixel shows what lies far from what its neighbours show: triangles that
    have become thinner than a pixel do."""
    usual = cv2.merge([cv2.medianBlur(one, 3) for one in cv2.split(points)])
    return np.where(farther(points - usual)[..., None] > SPECK_PX, usual, points)


def farther(shift: np.ndarray) -> np.ndarray:
    """(h, w) the longer side of shifts (h, w, 2)."""
    return np.maximum(np.abs(shift[..., 0]), np.abs(shift[..., 1]))


def _corners_of(to_patch: np.ndarray) -> np.ndarray:
    """(4, 2) corners of the generator's patch, to which `to_patch` (2, 3) leads, in the photo's pixels."""
    width, height = PATCH_WH
    back = cv2.invertAffineTransform(to_patch)
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], float) @ back[:, :2].T + back[:, 2]


class Portrait:
    """A photo that can be put into motion: `portrait(moved)` is the photo with the face where `moved` has it.

    Args:
        photo: (H, W, 3) uint8 RGB; not copied.
        source: its face.
        person: (H, W) float32 in [0, 1], how sure it is that a pixel shows the person; None: all of it moves.
        generator: paints the inside of the mouth; None: it is left as the warp makes it.
        edges: as for `Sitter`.
    """

    def __init__(
        self,
        photo: np.ndarray,
        source: Face,
        person: np.ndarray | None,
        generator: Generator | None = None,
        edges: np.ndarray | None = None,
    ) -> None:
        height, width = photo.shape[:2]
        self.photo, self.source, self._generator = photo, source, generator
        self.surface = Surface(source, (width, height))
        face_px = source.pose.scale * 2.2
        layers = (
            Layers(np.ones((height, width), np.float32), photo, photo)
            if person is None
            else Layers.of(photo, person, face_px, edges)
        )
        self._background = layers.background
        self._person = _Texture(*crowned(layers, source))
        self._hidden = HiddenSide.of(photo, self.surface)
        self._hidden_texture = None if self._hidden is None else _Texture(self._hidden.texture)
        cell = self._cell = -(-max(width, height) // GRID)
        self._grid_wh = -(-width // cell), -(-height // cell)
        self._to_grid = np.column_stack([np.eye(2) / cell, np.full(2, 0.5 / cell - 0.5)])
        across, down = ((np.arange(n, dtype=np.float32) + 0.5) * cell - 0.5 for n in self._grid_wh)
        self._at_rest = np.dstack(np.meshgrid(across, down))
        reach = round(2 * face_px / 18 / cell) + 3
        near = cv2.resize(layers.matte, self._grid_wh, interpolation=cv2.INTER_AREA)
        self._near = cv2.dilate(near, np.ones((reach, reach), np.uint8))  # (h, w) where the person may be, in cells
        self._drawn_from = STILL_PX[1] + self._misses(layers, face_px)
        self._eyeballs = [Eyeball(photo, source, eye) for eye in EYES]
        self._mouth = Mouth(photo, source)
        self._palette = Palette(photo, source)
        self._skin = Skin(photo, source)
        self._lids = [Lid(photo, source, eye, self._skin) for eye in EYES]
        beside = len(self.surface.photo_points) - len(self._skin.unrolled)
        self._unrolled = np.pad(self._skin.unrolled, ((0, beside), (0, 0)))

    def _misses(self, layers: Layers, face_px: float) -> np.ndarray:
        """(h, w) float32, how much farther than elsewhere, in pixels, a cell has to move to be drawn at all: where the
        outline is wrong, drawn and photo differ, and what hardly moves would change from one to the other."""
        at_rest = cv2.blendLinear(layers.person, layers.background, layers.matte, 1 - layers.matte)
        differs = cv2.absdiff(at_rest, self.photo).max(2).astype(np.float32)
        differs = cv2.dilate(cv2.resize(differs, self._grid_wh, interpolation=cv2.INTER_AREA), np.ones((5, 5)))
        return cv2.blur(MISSED * face_px * ramp(differs, *MISSED_LEVELS), (5, 5)).astype(np.float32)

    def __call__(self, moved: Moved) -> np.ndarray:
        """The photo (H, W, 3) uint8 in motion."""
        vertices, (shown_at, beside) = self.surface.vertices(moved), self.surface.photo_points_of(moved)
        near, behind = self.surface.split(vertices)
        around, face = (
            self.surface.field(vertices, self._to_grid, self._grid_wh, part, points)
            for part, points in ((behind, beside), (near, shown_at))
        )
        points = np.where(face.covered[..., None], face.points, around.points)
        change = farther(points - self._at_rest) * (face.covered | around.covered)
        moves = ramp(change, STILL_PX[0], self._drawn_from).astype(np.float32)
        moves = cv2.dilate(moves, np.ones((3, 3), np.uint8))
        result = self.photo.copy()
        window = self._touched(points, moves)
        if window is not None:
            part = _Part(vertices, shown_at, self._person, near, skin=self._skin)
            self._draw(result, window, (around, face), moves, part, moved)
        canvas = Canvas(result, np.eye(2, 3))
        for eyeball in self._eyeballs:
            eyeball.draw(canvas, moved)
        for lid in self._lids:
            lid.draw(canvas, moved)
        self._draw_mouth(canvas, moved)
        return result

    def _draw_mouth(self, canvas: Canvas, moved: Moved) -> None:
        """Draw the inside of the mouth over what the warp shows of it, as far as it is another than the photo's."""
        to = patch_matrix(moved)
        window, strength = canvas.window(_corners_of(to)), mouth_change(self.source, moved)
        if strength == 0 or window is None:
            return
        (x, y), (width, height) = window
        part = canvas.picture[y : y + height, x : x + width]
        warped = part.copy()
        kept = self._mouth.draw(canvas, moved)
        if self._generator is not None:
            self._paint(self._generator, canvas, moved, shown_by(kept, canvas.picture.shape), to)
            for piece in kept:
                canvas.blend(piece.low, piece.colours, piece.weight)
        part[:] = cv2.addWeighted(part, strength, warped, 1 - strength, 0)

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
        fields: tuple[Field, Field],
        moves: np.ndarray,
        part: _Part,
        moved: Moved,
    ) -> None:
        """Draw person and background into the part of `result` (H, W, 3) that is `window`, in cells.

        The face lies over what is around it: each has a smooth motion, and a sharp edge between them.
        """
        view = _View(window, self._cell, result.shape)
        around, face = fields
        person = self._seen_at(self._person, *view.points(self._shift(around, window)))
        alpha = cv2.extractChannel(person, 3) * np.float32(1 / 255)
        covered = around.covered | face.covered
        if not covered[window].all():
            alpha *= view.large(covered[window].astype(np.float32))
        self._lay_over(person, alpha, view, face, part)
        if self._hidden is not None and self._hidden_texture is not None and (much := self._hidden.shown(moved.pose)):
            triangles = np.intersect1d(self._hidden.triangles, part.triangles)
            side = _Part(part.vertices, self._hidden.points, self._hidden_texture, triangles, part.triangles)
            seen = self.surface.field(side.vertices, self._to_grid, self._grid_wh, triangles, side.shown_at)
            self._lay_over(person, alpha, view, seen, side, much)
        background, photo = (np.ascontiguousarray(one[view.part]) for one in (self._background, self.photo))
        drawn = cv2.blendLinear(cv2.cvtColor(person, cv2.COLOR_RGBA2RGB), background, alpha, 1 - alpha)
        weight = np.ascontiguousarray(view.large(moves[window]))
        result[view.part] = cv2.blendLinear(drawn, photo, weight, 1 - weight)

    def _lay_over(
        self, person: np.ndarray, alpha: np.ndarray, view: _View, field: Field, part: _Part, much: float = 1.0
    ) -> None:
        """Draw a part over what is there, in `person` (h, w, 4) uint8 and `alpha` (h, w) float32 of a view."""
        if not field.covered[view.window].any():
            return
        rows, columns = (np.flatnonzero(field.covered.any(axis)) for axis in (1, 0))
        inner = view.within(rows, columns)
        points, jumps = inner.points(self._shift(field, inner.window))
        for triangles in self.surface.details:
            self._refine(points, inner.low, part, np.intersect1d(triangles, part.triangles))
        bare = None  # found first: reading changes `points`
        if part.skin is not None:
            bare = self._bare(part, part.skin, field, inner, points)
        nearer = self._seen_at(part.texture, points, jumps)
        if bare is not None:
            where, skin, weight = bare
            colours = cv2.cvtColor(nearer[where], cv2.COLOR_RGBA2RGB)
            nearer[where][..., :3] = cv2.blendLinear(skin, colours, weight, 1 - weight)
        soft = max(0.6, EDGE_SOFT * inner.width)
        mask = self._mask(part, inner)
        weight = cv2.GaussianBlur(mask, (0, 0), soft).astype(np.float32) * np.float32(much / 255)
        here = inner.inside(view)
        person[here] = cv2.blendLinear(nearer, np.ascontiguousarray(person[here]), weight, 1 - weight)
        alpha[here] += weight * (cv2.extractChannel(nearer, 3) * np.float32(1 / 255) - alpha[here])

    def _bare(
        self, drawn: _Part, skin: Skin, field: Field, view: _View, points: np.ndarray
    ) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray] | None:
        """Bare skin where a field shows few pixels of the photo as many: rows and columns of a view, colours (h, w, 3)
        uint8 and their weight (h, w) in [0, 1]; None where it does nowhere. `points` (h, w, 2) are the view's.
        """
        x, y = cv2.split(field.points[view.window])
        half = 0.5 / self._cell
        (x_by_x, x_by_y), (y_by_x, y_by_y) = (
            (cv2.Sobel(one, -1, 1, 0, ksize=1, scale=half), cv2.Sobel(one, -1, 0, 1, ksize=1, scale=half))
            for one in (x, y)
        )
        area = np.abs(x_by_x * y_by_y - x_by_y * y_by_x)
        longest = np.maximum(cv2.magnitude(x_by_x, y_by_x), cv2.magnitude(x_by_y, y_by_y))
        shown = area / np.maximum(longest, np.float32(1e-3))  # pixels of the photo for one, the way they are fewest
        drawn_out = (shown < DRAWN_OUT[1]) & field.covered[view.window]
        if not drawn_out.any():
            return None
        weight = np.where(drawn_out, 1 - ramp(shown, *DRAWN_OUT), 0).astype(np.float32)
        weight = cv2.GaussianBlur(cv2.erode(weight, np.ones((3, 3), np.uint8)), (0, 0), 1.5)
        rows, columns = (np.flatnonzero((weight > 0.02).any(axis)) for axis in (1, 0))
        if len(rows) == 0:
            return None
        first = view.window[0].start, view.window[1].start
        part = view.within(rows + first[0], columns + first[1])
        inside = tuple(
            slice(one.start - start, one.stop - start) for one, start in zip(part.window, first, strict=True)
        )
        where = part.inside(view)
        field = self.surface.field(drawn.vertices, self._to_grid, self._grid_wh, drawn.triangles, self._unrolled)
        return where, skin.at(points[where], part.large(field.points[part.window])), part.large(weight[inside])

    def _mask(self, part: _Part, view: _View) -> np.ndarray:
        """(h, w) uint8, 255 where a part is seen in a view: far triangles first, where others may hide it."""
        mask = np.zeros((view.height, view.width), np.uint8)
        numbers, values = part.triangles, np.full(len(part.triangles), 255)
        if part.among is not None:
            depths = part.vertices[self.surface.triangles[part.among], 2].mean(1)
            numbers = part.among[np.argsort(-depths, kind="stable")]
            values = np.where(np.isin(numbers, part.triangles), 255, 0)
        draw_triangles(part.vertices[self.surface.triangles[numbers], :2] - view.low, values, mask)
        return mask

    def _seen_at(self, texture: _Texture, points: np.ndarray, jumps: np.ndarray) -> np.ndarray:
        """(h, w, 4) uint8: what a texture shows at points (h, w, 2), softened by as much as `jumps` (h, w) says; the
        points are changed."""
        seen = texture.at(points)
        where = np.nonzero(jumps)
        if len(where[0]):
            softer = cv2.blur(seen, (2 * self._cell + 1,) * 2)[where].astype(np.float32)
            seen[where] = np.round(softer + (1 - jumps[where][:, None]) * (seen[where] - softer))
        return seen

    def _shift(self, field: Field, window: tuple[slice, slice]) -> np.ndarray:
        """(h, w, 2) how far a field's points in a window are from their places, carried on where it is not covered."""
        shift, covered = field.points[window] - self._at_rest[window], field.covered[window]
        if covered.all():
            return shift
        known = covered.astype(np.float32)
        shift *= cv2.merge([known, known])
        near = cv2.boxFilter(shift, -1, (5, 5), normalize=False)
        weight = np.maximum(cv2.boxFilter(known, -1, (5, 5), normalize=False), 1e-3)
        near /= cv2.merge([weight, weight])
        return cv2.copyTo(near, (~covered).view(np.uint8), shift)

    def _refine(self, points: np.ndarray, start: np.ndarray, part: _Part, triangles: np.ndarray) -> None:
        """Dense motion pixel by pixel around eyes or mouth: enlarged from the grid, lids or lips would run together.

        Args:
            points: (h, w, 2) dense motion in a part of the photo that begins at `start`.
        """
        if len(triangles) == 0:
            return
        corners = part.vertices[np.unique(self.surface.triangles[triangles]), :2]
        low = np.maximum(np.floor(corners.min(0)).astype(int), start)
        high = np.minimum(np.ceil(corners.max(0)).astype(int) + 1, start + points.shape[1::-1])
        if (high - low < 1).any():
            return
        size = int(high[0] - low[0]), int(high[1] - low[1])
        to = np.column_stack([np.eye(2), -low])
        field = self.surface.field(part.vertices, to, size, triangles, part.shown_at, both_sides=False)
        (left, top), (right, bottom) = low - start, high - start
        here, covered = points[top:bottom, left:right], field.covered[..., None]
        here[...] = np.where(covered, without_specks(np.where(covered, field.points, here)), here)

    @torch.inference_mode()
    def _paint(self, generator: Generator, canvas: Canvas, moved: Moved, shown: np.ndarray, to: np.ndarray) -> None:
        patch = shrunk(canvas.picture, to, PATCH_WH)
        shown = shrunk(shown, to, PATCH_WH)
        known = conditions(self.source, moved, shown, to)
        device = next(generator.parameters()).device
        pictures = torch.from_numpy(patch).to(device).permute(2, 0, 1)[None].float() / 255
        made = generator(pictures, torch.from_numpy(known)[None].to(device))
        colours = self._palette.fit((255 * made.painted[0].permute(1, 2, 0)).cpu().numpy())
        little = shaded(moved) * cv2.blur(known[0], (3, 3))
        lit = light_on_teeth(known[2], moved.pose.rotation)
        below = np.maximum.accumulate(shown > 127, axis=0) & (shown <= 127)
        below = cv2.GaussianBlur(below.astype(np.float32), (0, 0), TEETH_SOFT) * known[0]
        colours = in_a_row(colours, self._mouth.dark, known[0], little, lit, below)
        colours = deep(colours, self._mouth.dark, little)
        colours = self._palette.teeth_like(colours, patch, shown)
        colours = in_shadow(colours, self._mouth.dark, unlit(self.source, moved) * known[0])
        # It may paint over drawn lips, too, which are flat; a photo's are its own up to their edge.
        within = cv2.blur(cv2.dilate(known[0], np.ones((3, 3), np.uint8)), (3, 3))
        paints = within * (1 - made.occlusion_map[0, 0]).cpu().numpy()
        there = np.argwhere(paints > 0.01)[:, ::-1]
        if len(there) == 0:
            return
        back = cv2.invertAffineTransform(to)
        low, high = there.min(0) - 1, there.max(0) + 1
        corners = np.array([low, (high[0], low[1]), high, (low[0], high[1])], float)
        window = canvas.window(corners @ back[:, :2].T + back[:, 2])
        if window is None:
            return
        start, size = window
        back[:, 2] -= start
        weight = cv2.warpAffine(paints, back, size, flags=cv2.INTER_LINEAR)
        colours = cv2.warpAffine(colours, back, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        colours += GRAIN_INSIDE * self._skin.grain(self._flat(to, start, size))
        canvas.blend(start, np.clip(np.round(colours), 0, 255).astype(np.uint8), weight)

    def _flat(self, to: np.ndarray, start: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
        """(h, w, 2) float32, where pixels from `start` on lie in the patch that `to` (2, 3) leads to, in the photo's
        pixels: what has a pattern there goes with the mouth."""
        pixels = np.dstack(np.meshgrid(*(np.arange(n) + first for n, first in zip(size_wh, start, strict=True))))
        return ((pixels @ to[:, :2].T + to[:, 2]) * (self.source.pose.scale / PER_UNIT)).astype(np.float32)
