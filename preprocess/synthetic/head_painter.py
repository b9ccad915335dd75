"""Draw a head: `Head`, `Pose` and `Expression` to pixels, with the exact landmarks.

Painter's order: what a puppet has behind its face (`puppet_painter`), the skull's shape, the eyeballs and the inside of
the mouth where the skin has holes, the skin (triangles with depth, one texture look-up and one light per pixel), then
lashes, spectacles and the hair before it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np

from fomm.model.face.motion import ramp
from preprocess.synthetic.canvas import FINE, SHIFT, Box, fixed, ribbon
from preprocess.synthetic.face_mesh import (
    CHART,
    CHART_AREAS,
    LOWER_LID,
    LOWER_LIP,
    SUBDIVISION,
    TEXELS_PER_UNIT,
    TRIANGLES,
    UPPER_LID,
    UPPER_LIP,
    areas,
    around,
    around_triangles,
    normals_of,
    with_skull,
)
from preprocess.synthetic.head_textures import (
    ARC,
    CROWN_HEIGHT,
    GUM,
    IRIS_RINGS,
    IRIS_TURNS,
    LEVELS,
    TOOTH_COLUMNS,
    TOOTH_ROWS,
    paint_face,
    paint_iris,
    paint_teeth,
    wrinkles,
)
from preprocess.synthetic.heads import Expression, Eye, Head, Surface, surface_of
from preprocess.synthetic.puppet_model import CIRCLE, PIVOT, Camera, Pose, circle, turned
from preprocess.synthetic.puppet_painter import Painter


class HeadDrawing(NamedTuple):
    """One drawn frame and the truth about it."""

    image: np.ndarray  # (H, W, 3) uint8 RGB
    landmarks_px: np.ndarray  # (478, 3) float32: x, y and depth (positive away from the viewer) in pixels


class _Seen(NamedTuple):
    """What a mesh shows in the pixels of a box."""

    cover: np.ndarray  # (h, w) float32, 0..1
    rows: np.ndarray  # (N,) pixels with any cover
    columns: np.ndarray
    values: np.ndarray  # (N, K) the vertices' values there

    @property
    def normals(self) -> np.ndarray:
        """(N, 3) of length 1: columns 2 to 4 of the values."""
        normal = self.values[:, 2:5]
        return normal / (np.linalg.norm(normal, axis=1, keepdims=True) + 1e-6)

    def lay(self, picture: np.ndarray, colour: np.ndarray, opacity: float | np.ndarray = 1.0) -> None:
        """Colours (N, 3) on the box's part of a picture (h, w, 3), as far as the mesh covers it."""
        under = picture[self.rows, self.columns]
        cover = (opacity * self.cover[self.rows, self.columns])[:, None]
        picture[self.rows, self.columns] = under + (colour - under) * cover


def _rasterise(
    points: np.ndarray, depth: np.ndarray, triangles: np.ndarray, values: np.ndarray, box: Box, both_sides: bool = False
) -> _Seen:
    """Triangles over points (M, 2) in pixels, nearest (greatest `depth`) last; values (M, K) are interpolated."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    area = areas(points[triangles])
    kept = np.flatnonzero(np.abs(area) > 1e-4 if both_sides else area > 1e-4)
    kept = kept[np.argsort(depth[triangles[kept]].mean(1), kind="stable")]
    corners, area = points[triangles[kept]], area[kept]
    a, b, c = corners.transpose(1, 0, 2)
    number = np.full((height * FINE, width * FINE), -1, np.float32)
    for k, corner in enumerate(fixed((corners - (left, top) + 0.5) * FINE - 0.5)):
        cv2.fillConvexPoly(number, corner, float(k), cv2.LINE_8, SHIFT)
    number = number.reshape(height, FINE, width, FINE)
    cover = (number >= 0).mean((1, 3), dtype=np.float32)
    nearest = number.max((1, 3)).astype(np.int32)
    rows, columns = np.nonzero(nearest >= 0)
    which = nearest[rows, columns]
    x, y = (columns + left).astype(np.float32), (rows + top).astype(np.float32)

    # barycentric coordinates, kept inside: a pixel of the edge may have its centre beside its triangle
    def share(p: np.ndarray, q: np.ndarray) -> np.ndarray:
        """(T, 3) plane of a corner's share: 1 there and 0 on the line from p to q."""
        plane = np.stack([p[:, 1] - q[:, 1], q[:, 0] - p[:, 0], p[:, 0] * q[:, 1] - q[:, 0] * p[:, 1]], 1)
        return (plane / area[:, None]).astype(np.float32)

    planes = np.concatenate([share(b, c), share(c, a)], 1)
    p = planes[which]
    u = np.clip(p[:, 0] * x + p[:, 1] * y + p[:, 2], 0, 1)
    v = np.clip(p[:, 3] * x + p[:, 4] * y + p[:, 5], 0, 1)
    w = np.maximum(1 - u - v, 0)
    total = 1 / (u + v + w)
    vertex = triangles[kept][which]
    values = values.astype(np.float32)
    found = sum((part * total)[:, None] * values[vertex[:, k]] for k, part in enumerate((u, v, w)))
    return _Seen(cover, rows, columns, found)


def _look_up(texture: np.ndarray, u: np.ndarray, v: np.ndarray, level: int = 0) -> np.ndarray:
    """The values (N, ...) of a texture that was halved `level` times, at texels (N,) of the whole one."""
    count, row = len(u), 4096  # remap takes no line longer than 32767
    part = np.float32(0.5**level)
    padded = [np.resize((x.astype(np.float32) + 0.5) * part - 0.5, (-(-count // row), row)) for x in (u, v)]
    found = cv2.remap(texture, *padded, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return found.reshape(-1, *texture.shape[2:])[:count]


class _HeadPainter(Painter):
    """A puppet's painter with another face."""

    def __init__(self, head: Head, pose: Pose, expression: Expression, width: int, height: int, camera: Camera) -> None:
        self.who = head
        self.expression = expression
        self.surface: Surface = surface_of(head, expression)
        self.fine = SUBDIVISION @ with_skull(self.surface.points[:468], head.puppet.width)
        self.normals = normals_of(self.fine)
        super().__init__(head.puppet, replace(pose, mouth=expression.jaw), width, height, camera, None)
        self.canvas.image *= np.asarray(head.backdrop, np.float32)
        self.fine_px = self.px(self.fine)
        self.depth = (self.fine - PIVOT) @ self.rotation[2]

    def outline_of_head(self) -> np.ndarray:
        return cv2.convexHull(self.px(self.fine).astype(np.float32))[:, 0].astype(np.float64)

    def lit(
        self,
        albedo: np.ndarray,
        normal: np.ndarray,
        gloss: float | np.ndarray,
        sharpness: float = 18.0,
        dim: float | np.ndarray = 1.0,
        seen: float | np.ndarray = 1.0,
    ) -> np.ndarray:
        """Colours 0..255 of albedo 0..255 in the light; light adds up in linear values (of gamma 2)."""
        light = self.who.light
        linear = (albedo * np.float32(1 / 255)) ** 2 * light.on(normal, seen)
        linear += (light.mirrored(normal, sharpness) * gloss * seen)[..., None] * np.asarray(light.key, np.float32)
        linear *= np.asarray(dim, np.float32)[..., None]
        linear = linear / (1 + 0.22 * np.maximum(linear - 0.55, 0))  # film, too, bends before it burns out
        return 255 * np.sqrt(np.clip(linear, 0, 1))

    # -------------------------------------------------------------------------------------------------------- holes

    def _zoomed(self, box: Box) -> list[np.ndarray]:
        """x and y of the pixels of a box at twice the resolution."""
        ends = ((box[0], box[2]), (box[1], box[3]))
        x, y = ((np.arange((end - start) * FINE) + 0.5) / FINE - 0.5 + start for start, end in ends)
        return np.meshgrid(x.astype(np.float32), y.astype(np.float32))

    def _opening(
        self, outline_px: np.ndarray, box: Box, soft: float, shift: tuple[float, float] = (0.0, 0.0)
    ) -> np.ndarray:
        """Cover 0..1 of an outline at twice the resolution of the box, blurred by `soft` pixels."""
        mask = np.zeros(((box[3] - box[1]) * FINE, (box[2] - box[0]) * FINE), np.uint8)
        corners = fixed((outline_px + shift - box[:2] + 0.5) * FINE - 0.5)
        cv2.fillPoly(mask, [corners], 255, cv2.LINE_AA, SHIFT)
        return cv2.GaussianBlur(mask, (0, 0), max(soft * FINE, 0.3)).astype(np.float32) / 255

    def _lay(self, box: Box, outline_px: np.ndarray, picture: np.ndarray) -> None:
        """A picture at twice the resolution on the box, where the outline is, and as far as edges reach."""
        size = (box[2] - box[0], box[3] - box[1])
        cover = cv2.resize(np.clip(5 * self._opening(outline_px, box, 0.8), 0, 1), size, interpolation=cv2.INTER_AREA)
        self.canvas.blend(box, cover, cv2.resize(picture, size, interpolation=cv2.INTER_AREA), lit=False)

    def eyeball(self, side: int) -> None:
        head, u = self.who, self.unit
        eye = self.surface.eyes[side]
        outline = self.fine_px[np.array(UPPER_LID[side] + LOWER_LID[side][::-1][1:-1])]
        if (box := self.canvas.box(outline, 3)) is None:
            return
        x, y = self._zoomed(box)
        centre = self.px(eye.centre[None])[0]
        nx, ny = (x - centre[0]) / (u * eye.radius), (y - centre[1]) / (u * eye.radius)
        square = nx * nx + ny * ny
        flat = np.sqrt(np.maximum(square, 1.0))
        nx, ny = nx / flat, ny / flat
        nz = np.sqrt(np.maximum(1 - nx * nx - ny * ny, 0))
        normal = np.stack([nx, ny, nz], -1).astype(np.float32)
        gaze = (self.rotation @ eye.gaze).astype(np.float32)
        across = np.cross(self.rotation[:, 1], gaze)
        across /= np.linalg.norm(across)
        down = np.cross(gaze, across)
        facing = normal @ gaze
        reach = np.sqrt(np.maximum(2 - 2 * facing, 0))
        limbus = 2 * np.sin(0.5 * np.arcsin(head.iris_size / eye.radius))
        rho = reach / limbus
        turn = np.arctan2(normal @ down.astype(np.float32), normal @ across.astype(np.float32))
        iris = cv2.remap(
            paint_iris(head), ((turn / (2 * np.pi) + 0.5) * (IRIS_TURNS - 1)).astype(np.float32),
            (np.clip(rho, 0, 1) * (IRIS_RINGS - 1)).astype(np.float32), cv2.INTER_LINEAR,
        )  # fmt: skip
        white = np.asarray(head.sclera, np.float32)
        veins = np.random.default_rng([head.seed, 0x7E, side + 1]).normal(0, 1, (9, 14)).astype(np.float32)
        veins = cv2.resize(veins, x.shape[::-1], interpolation=cv2.INTER_CUBIC)
        red = np.clip(0.10 + 0.9 * np.clip(np.abs(reach) - 0.55, 0, 1) ** 1.2 + 0.10 * veins * np.abs(veins), 0, 0.7)
        statue = head.finish == "statue"
        red = red * 0 if statue else red
        sclera = white + (np.array([205, 120, 110], np.float32) - white) * (0.55 * red)[..., None]
        sharp = eye.radius * u * limbus * FINE
        inside = np.clip((1 - rho) * sharp * 0.5 + 0.5, 0, 1)[..., None]
        colour = sclera + (iris - sclera) * inside
        # the ball lies deep between the lids and their lashes shade it from above
        size = max(float(np.ptp(outline[:, 1])), 2.0)
        open_ = self._opening(outline, box, 0.020 * u, (0, 0.012 * u))
        shade = np.clip(0.20 + 0.90 * open_, 0, 1) if size > 0.03 * u else np.full(x.shape, 0.3, np.float32)
        depth = np.sqrt(np.maximum(1 - 0.3 * (nx * nx + ny * ny), 0))
        round_ = np.stack([0.55 * nx, 0.55 * ny, depth], -1).astype(np.float32)
        picture = self.lit(colour, round_, 0.0, dim=shade)
        caruncle = self.fine_px[UPPER_LID[side][-1]] + np.array([side * 0.012, 0.002]) * u
        near = np.exp(-0.5 * (((x - caruncle[0]) / (0.014 * u)) ** 2 + ((y - caruncle[1]) / (0.011 * u)) ** 2))
        if not statue:
            flesh = np.broadcast_to(np.array([206, 128, 120], np.float32), colour.shape)
            pink = self.lit(flesh, round_, 0.2, dim=shade)
            picture += (pink - picture) * (0.85 * near)[..., None]
            self._glints(picture, x, y, eye, gaze, centre, open_)
        self._lay(box, outline, picture)

    def _glints(
        self,
        picture: np.ndarray,
        x: np.ndarray,
        y: np.ndarray,
        eye: Eye,
        gaze: np.ndarray,
        centre: np.ndarray,
        open_: np.ndarray,
    ) -> None:
        """The mirror images of the lights on the cornea."""
        head, u = self.who, self.unit
        half = np.asarray(head.light.direction) + (0, 0, 1)
        half = half / np.linalg.norm(half)
        rng = np.random.default_rng([head.seed, 0x611])
        bright = 0.45 + 0.55 * rng.random()
        window = rng.random() < 0.4
        spots: list[tuple[np.ndarray, float, float]] = [(half, 0.008 + 0.006 * rng.random(), bright)]
        if rng.random() < 0.4:
            spots.append((half * (-0.6, 0.8, 1) + (0, 0.2, 0), 0.008, 0.35 * bright))
        for direction, radius, strength in spots:
            # a ball of the cornea's smaller radius sits on the eyeball
            at = centre + u * eye.radius * (0.50 * gaze[:2] + 0.45 * np.asarray(direction)[:2])
            dx, dy = (x - at[0]) / (u * radius), (y - at[1]) / (u * radius)
            away = np.maximum(np.abs(dx) * 1.2, np.abs(dy) * 0.9) if window else np.sqrt(dx * dx + dy * dy)
            weight = np.clip((1.15 - away) * 2, 0, 1) * strength * np.clip(open_ * 1.8 - 0.3, 0, 1)
            picture += (np.array([255, 253, 248], np.float32) - picture) * weight[..., None]
        # light from the sky along the upper half of the cornea
        dx = (x - centre[0] - u * eye.radius * 0.8 * gaze[0]) / (0.04 * u)
        dy = (y - centre[1] - u * eye.radius * (0.8 * gaze[1] - 0.28)) / (0.018 * u)
        sheen = np.exp(-0.5 * (dx**2 + dy**2))
        picture += (np.array([226, 232, 240], np.float32) - picture) * (0.12 * sheen * open_)[..., None]

    def mouth(self) -> None:
        head, u = self.who, self.unit
        outline = self.fine_px[np.array(UPPER_LIP[0] + LOWER_LIP[0][::-1][1:-1])]
        if (box := self.canvas.box(outline, 3)) is None:
            return
        x, y = self._zoomed(box)
        half = np.ptp(outline[:, 0]) / 2
        tall = float(np.ptp(outline[:, 1]))
        middle = outline.mean(0)
        statue = head.finish == "statue"
        dark = float(np.random.default_rng([head.seed, 0xDA]).uniform(0.2, 0.6))
        skin = np.asarray(head.skin, np.float32)
        # the cavity: dark red, darkest in the depth under the palate
        flesh = np.array([120, 50, 48], np.float32) if not statue else skin * 0.6
        depth = np.clip(1 - ((x - middle[0]) / (half + 1)) ** 2, 0, 1)
        picture = np.broadcast_to(flesh, (*x.shape, 3)) * np.float32(dark) * (0.6 + 0.4 * depth)[..., None]
        if tall > 0.02 * u:
            self._tongue(picture, x, y, flesh)
            self._teeth(picture, box, upper=False)
            self._teeth(picture, box, upper=True)
        # lips shade what lies behind them, the upper one most
        shadow = self._opening(outline, box, min(0.035 * u, 0.3 * tall + 0.5), (0, 0.012 * u))
        picture *= np.clip(0.25 + 0.85 * shadow, 0, 1)[..., None]
        self._lay(box, outline, picture)

    def seam(self) -> None:
        """The line between lips that touch, where they do."""
        upper, lower = (self.fine_px[np.array(rings[0])] for rings in (UPPER_LIP, LOWER_LIP))
        touching = np.clip(1 - np.linalg.norm(upper - lower, axis=1) / (0.03 * self.unit), 0, 1)
        depth = float(touching[1:-1].mean())
        if depth > 0:
            thick = 0.001 + 0.007 * touching * np.sqrt(1 - np.linspace(-1, 1, len(upper)) ** 2)
            dark = self.lit(np.asarray(self.who.lips, np.float32) * 0.36, np.array([0, 0, 1], np.float32), 0.0)
            line = ribbon((upper + lower) / 2, thick * self.unit)
            self.canvas.fill(line, dark, alpha=0.8 * depth, soft=0.7, lit=False)

    def _tongue(self, picture: np.ndarray, x: np.ndarray, y: np.ndarray, flesh: np.ndarray) -> None:
        head, u, e = self.who, self.unit, self.expression
        lift = e.tongue
        z = self.surface.lip_z
        tip = np.array([[0.02 * e.jaw_side, 0.645 - 0.09 * lift, z - 0.15 + 0.05 * lift]])
        at = self.px(self.surface.with_jaw(tip))[0]
        wide, high = 0.19 * u, (0.085 + 0.03 * lift) * u
        at = at + (0, 0.55 * high)
        dx, dy = (x - at[0]) / wide, (y - at[1]) / high
        r = dx * dx + np.where(dy < 0, dy * dy, 0.2 * dy * dy)
        cover = np.clip((1 - r) * 6, 0, 1)
        colour = np.array([190, 104, 104], np.float32) if head.finish != "statue" else np.asarray(head.skin, np.float32)
        groove = 1 - 0.18 * np.exp(-((dx / 0.12) ** 2))
        normal = np.stack([0.6 * dx, np.clip(0.9 * dy, -0.9, 0.5) - 0.15, np.ones_like(dx)], -1).astype(np.float32)
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        rough = np.random.default_rng([head.seed, 0x70]).normal(0, 1, (24, 24)).astype(np.float32)
        rough = cv2.resize(rough, x.shape[::-1], interpolation=cv2.INTER_LINEAR)
        flesh = np.broadcast_to(colour, picture.shape) * (groove * (1 + 0.05 * rough))[..., None]
        dim = np.clip(0.44 + 0.32 * dy + 0.16 * lift, 0.14, 0.8).astype(np.float32)
        lit = self.lit(flesh, normal, 0.5 + 0.3 * rough, 12.0, dim)
        picture += (lit - picture) * cover[..., None]

    def _teeth(self, picture: np.ndarray, box: Box, *, upper: bool) -> None:
        """A row of teeth as a bent strip, in the picture of a box at twice the resolution."""
        head = self.who
        arc = np.linspace(-1, 1, 33) * ARC[upper]
        bend = 2.9 if upper else 3.2
        # x along a parabola z = -bend x^2 of this arc length
        xs = np.linspace(0, 0.4, 400)
        lengths = np.concatenate([[0], np.cumsum(np.hypot(np.diff(xs), np.diff(bend * xs**2)))])
        x = np.sign(arc) * np.interp(np.abs(arc), lengths, xs)
        size = head.teeth_size
        z = self.surface.lip_z - (0.035 if upper else 0.055) - bend * x * x
        edge = 0.632 if upper else 0.618
        down = 1 if upper else -1
        total = GUM + 1.12 * CROWN_HEIGHT
        levels = np.linspace(0, 1, 4)
        neck = edge - down * CROWN_HEIGHT * size
        level, along = levels[:, None], levels[:, None] * total - GUM  # 0 at the necks
        sides = (x, neck + down * along - down * 0.10 * x * x, z - 0.02 * level + 0.01)
        points = np.stack(np.broadcast_arrays(*sides), -1).reshape(-1, 3)
        normal = np.stack([2 * bend * x, 0.0 * x - 0.1 * down, np.ones_like(x)], 1)
        normal = np.tile(normal / np.linalg.norm(normal, axis=1, keepdims=True), (len(levels), 1))
        if not upper:
            points = self.surface.with_jaw(points)
            normal = normal @ self.surface.jaw.T
        texel = np.meshgrid(np.linspace(0, TOOTH_COLUMNS - 1, len(x)), levels * (TOOTH_ROWS - 1))
        n, p = len(x), np.arange(len(points)).reshape(len(levels), -1)[:-1, :-1].ravel()
        halves = np.stack([p, p + 1, p + n, p + 1, p + n + 1, p + n], 1).reshape(-1, 3)
        place = (self.px(points) - box[:2] + 0.5) * FINE - 0.5
        values = np.column_stack([*(at.ravel() for at in texel), normal @ self.rotation.T])
        height, width = picture.shape[:2]
        depth = (points - PIVOT) @ self.rotation[2]
        seen = _rasterise(place, depth, halves, values, (0, 0, width, height), both_sides=True)
        if len(seen.rows) == 0:
            return
        sampled = _look_up(paint_teeth(head, upper), seen.values[:, 0], seen.values[:, 1])
        # cheeks shade the back teeth, which turn away
        turned = np.abs(seen.values[:, 0] / (TOOTH_COLUMNS - 1) * 2 - 1)
        dim = (1 - 0.72 * ramp(turned, 0.22, 0.85)) * (0.82 if upper else 0.62)
        colour = self.lit(sampled[:, :3], seen.normals, 0.5, 30.0, dim.astype(np.float32))
        seen.lay(picture, colour, sampled[:, 3])

    # --------------------------------------------------------------------------------------------------------- skin

    def face(self) -> None:
        for side in (-1, 1):
            self.eyeball(side)
        self.mouth()
        self.skin_of_head()
        self.seam()

    def skin_of_head(self) -> None:
        head = self.who
        if (box := self.canvas.box(self.fine_px)) is None:
            return
        values = np.column_stack([CHART, self.normals @ self.rotation.T, self._crowding(), self._reached()])
        seen = _rasterise(self.fine_px, self.depth, TRIANGLES, values, box)
        painted = paint_face(head)
        level = int(np.clip(np.log2(TEXELS_PER_UNIT / self.unit), 0, LEVELS - 2))
        u, v, crowded = seen.values[:, 0], seen.values[:, 1], ramp(seen.values[:, 5], 1.5, 4.0)[:, None]
        coarse = LEVELS - 1
        albedo = _look_up(painted.albedo[level] * self._folded(level)[..., None], u, v, level)
        albedo += (_look_up(painted.albedo[coarse], u, v, coarse) - albedo) * crowded
        gloss = _look_up(painted.gloss[level], u, v, level) * (1 - 0.8 * crowded[:, 0])
        area = self.canvas.image[box[1] : box[3], box[0] : box[2]]
        seen.lay(area, self.lit(albedo, seen.normals, gloss, seen=seen.values[:, 6]))
        # one sample a pixel is too few for skin seen edge on
        edge_on = np.zeros(area.shape[:2], np.float32)
        edge_on[seen.rows, seen.columns] = crowded[:, 0]
        edge_on = np.minimum(1.6 * cv2.GaussianBlur(edge_on, (0, 0), 0.8), 1)
        area[:] = cv2.blendLinear(cv2.GaussianBlur(area, (0, 0), 0.9), np.ascontiguousarray(area), edge_on, 1 - edge_on)

    def _crowding(self) -> np.ndarray:
        """For each vertex (M,), how many times too fine the chart is there for the pixels: skin seen edge on."""
        pixels = np.abs(areas(self.fine_px[TRIANGLES])) / self.unit**2
        return around(np.sqrt(CHART_AREAS / np.maximum(pixels, 1e-7)))

    def _reached(self) -> np.ndarray:
        """How much of the key light reaches each vertex (M,), 0..1: the nose and the brow cast shadows."""
        light = np.asarray(self.who.light.direction) @ self.rotation  # in head axes
        across = np.cross(light, [0.0, 1.0, 0.0])
        across /= np.linalg.norm(across)
        side, cells = np.stack([across, np.cross(light, across)], 1), 128
        flat, near = (self.fine @ side + 1.5) * (cells / 3.0), self.fine @ light
        corners = flat[TRIANGLES]
        lit = np.flatnonzero((self.normals[TRIANGLES].sum(1) @ light > 0) & (np.abs(areas(corners)) > 1e-3))
        level = near[TRIANGLES[lit]].mean(1)
        order = np.argsort(level, kind="stable")
        front = np.full((cells, cells), -9, np.float32)
        for corner, height in zip(fixed(corners[lit[order]]), level[order].tolist(), strict=True):
            cv2.fillConvexPoly(front, corner, height, cv2.LINE_8, SHIFT)
        over = _look_up(front, flat[:, 0], flat[:, 1]) - near
        return around(around_triangles(1 - ramp(over, 0.03, 0.12)))

    def _folded(self, level: int) -> np.ndarray:
        """Factor (512, 640), halved `level` times, on the skin: the wrinkles of age and those of this expression."""
        e, age = self.expression, self.who.age
        smile = 0.5 * (max(e.smile_left, 0) + max(e.smile_right, 0))
        raised = max(0.5 * (e.brow_left + e.brow_right) + 0.4 * e.brow_inner, 0)
        squeeze = max(-e.brow_inner, 0) + 0.5 * max(-0.5 * (e.brow_left + e.brow_right), 0)
        depth = (
            0.30 * age + 0.55 * smile + 0.3 * max(e.bare_upper_left, e.bare_upper_right) + 0.3 * e.sneer,
            0.35 * max(age - 0.4, 0) + (0.15 + 0.45 * age) * raised,
            0.30 * max(age - 0.3, 0) + (0.2 + 0.4 * age) * squeeze,
            0.35 * max(age - 0.3, 0) + (0.12 + 0.35 * age) * (smile + e.squint),
            0.30 * max(age - 0.35, 0) + 0.3 * max(-e.smile_left, -e.smile_right, 0),
            0.25 * age + 0.15 * smile,
            *((0.25 + 1.0 * self.who.lid_fold) * (1 - 0.85 * blink) for blink in (e.blink_left, e.blink_right)),
        )
        return 1 - np.clip(np.tensordot(np.asarray(depth, np.float32) * 0.5, wrinkles(level), 1), -0.2, 0.6)

    def ear(self, side: int, alpha: float) -> None:
        head, u = self.who, self.unit
        centre, out, up, shape = self.ear_outline(side)
        c, s = CIRCLE[:, :1], CIRCLE[:, 1:]
        skin = np.asarray(head.skin, np.float32)
        warm = (0.98, 0.90, 0.88) if head.finish != "statue" else (0.96, 0.96, 0.96)
        normal = self.rotation @ np.array([side * 0.75, -0.1, 0.65])
        normal /= np.linalg.norm(normal)
        rim, shell = (self.lit(skin * np.asarray(warm) * dim, normal.astype(np.float32), 0.0) for dim in (1.0, 0.72))
        self.canvas.fill(self.px(shape), rim, alpha=alpha, lit=False)
        bowl = centre + 0.15 * out + 0.08 * up + 0.62 * out * c + 0.66 * up * s
        self.canvas.fill(self.px(bowl), shell, alpha=0.8 * alpha, soft=0.03 * u, lit=False)
        fold = centre + 0.3 * out + 0.42 * out * c + 0.36 * up * s - 0.2 * up
        self.canvas.fill(self.px(fold), rim, alpha=0.6 * alpha, soft=0.02 * u, lit=False)
        if head.puppet.earrings:
            drop, r = self.px((centre - up + 0.1 * out)[None])[0], 0.04 * u
            gold = self.lit(np.array([214, 170, 70], np.float32), normal.astype(np.float32), 0.5)
            self.canvas.fill(drop + r * CIRCLE, gold, alpha=alpha, lit=False)

    # ---------------------------------------------------------------------------------------------------- before it

    def before_face(self) -> None:
        self.lashes()
        self.spectacles()

    def lashes(self) -> None:
        """Both rows of lashes of both eyes, and the dark line at the upper one's roots."""
        head, u, e = self.who, self.unit, self.expression
        if head.finish == "statue":
            return
        rng = np.random.default_rng([head.seed, 0x1A5])
        dark = np.asarray(head.brows, np.float32) * 0.35
        for side in (-1, 1):
            blink = e.blink_left if side < 0 else e.blink_right
            for upper in (True, False):
                line = self.fine_px[np.array((UPPER_LID if upper else LOWER_LID)[side])]
                hairs = self._lash_lines(rng, line, side, blink, upper)
                if (box := self.canvas.box(hairs.reshape(-1, 2))) is None:
                    continue
                cover = self._strokes(hairs, rng.integers(90, 255, len(hairs)), box)
                if upper:
                    half = (0.003 + 0.005 * head.lashes + 0.007 * head.liner) * u
                    roots = line + half * (1 - blink) * self.rotation[:2, 1]  # on the ball rather than on the lid
                    rim = self.canvas.mask(ribbon(roots, half), box, 0.4)
                    cover = np.maximum(cover * np.float32(0.3 + 0.7 * head.lashes), rim * np.float32(0.75))
                self.canvas.blend(box, cover * np.float32(0.95 if upper else 0.5), dark, lit=False)

    def _lash_lines(
        self, rng: np.random.Generator, line: np.ndarray, side: int, blink: float, upper: bool
    ) -> np.ndarray:
        """Root, middle and tip (N, 3, 2) in pixels of the lashes on a lid's edge (9, 2), outer to inner corner."""
        lashes, u = self.who.lashes, self.unit
        count, length = (26, 0.062) if upper else (18, 0.026)
        t = np.linspace(0.4, 7.6, count) + rng.uniform(-0.3, 0.3, count)
        root = np.stack([np.interp(t, np.arange(9), line[:, k]) for k in (0, 1)], 1)
        out = (4.2 - t) / 4.2  # 1 at the outer corner
        size = (length * (0.45 + 0.7 * lashes) * (0.75 + 0.35 * out) * rng.uniform(0.6, 1.2, count) * u)[:, None]
        fall = 1.35 * blink - 0.75 if upper else 0.8  # the upper ones point up on an open eye, down on a shut one
        way = np.stack([side * (0.75 * out + 0.1), np.full(count, fall)], 1)
        turn = turned(self.pose.roll)
        way = way / np.linalg.norm(way, axis=1, keepdims=True) @ turn.T
        curl = np.array([0.0, -0.25 if upper else 0.1]) @ turn.T * size
        tip = root + way * size
        return np.stack([root, (root + tip) / 2 - 0.5 * curl, tip + curl], 1)

    def _strokes(self, lines: np.ndarray, levels: np.ndarray, box: Box) -> np.ndarray:
        """Cover (h, w) 0..1 of thin lines (N, P, 2) in pixels, each of its own level 0..255."""
        zoom = 3  # they are thinner than a pixel
        mask = np.zeros(((box[3] - box[1]) * zoom, (box[2] - box[0]) * zoom), np.uint8)
        thick = max(round(zoom * self.unit / 260), 1)
        for line, level in zip(fixed((lines - box[:2] + 0.5) * zoom - 0.5), levels.tolist(), strict=True):
            cv2.polylines(mask, [line], False, level, thick, cv2.LINE_AA, SHIFT)
        cover = cv2.resize(mask, (box[2] - box[0], box[3] - box[1]), interpolation=cv2.INTER_AREA)
        return cover.astype(np.float32) / 255

    def spectacles(self) -> None:
        head, canvas, u = self.who, self.canvas, self.unit
        if not head.glasses:
            return
        rng = np.random.default_rng([head.seed, 0x61A])
        power, tall = (1.0, (0.15, 0.21)) if head.glasses == "round" else (0.5, (0.13, 0.17))
        ring = np.sign(circle(40)) * np.abs(circle(40)) ** power * (rng.uniform(0.21, 0.25), rng.uniform(*tall))
        z = float(self.surface.points[[6, 197], 2].mean()) - 0.02
        thick = {"round": 0.008, "square": 0.016, "rimless": 0.004}[head.glasses] * rng.uniform(0.8, 1.4) * u
        colour = np.asarray(head.glasses_colour, np.float32)
        colour = colour * np.sqrt(np.clip(head.light.on(np.array([0, -0.3, 0.95], np.float32)), 0.02, 1.2))
        sheen = rng.uniform(0, 0.3)
        for side in (-1, 1):
            flat = ring + (side * head.eye_x * 1.02, -0.01)
            curve = np.concatenate([flat, z - 0.25 * np.maximum(np.abs(flat[:, :1]) - 0.1, 0) ** 1.5], 1)
            lens = self.px(curve)
            canvas.fill(lens, (214, 226, 234), alpha=0.05 + 0.1 * sheen, lit=False)
            away = lens - lens.mean(0)
            glint = lens.mean(0) + np.array([-0.3, -0.45]) * np.abs(away).max(0) + 0.3 * away
            canvas.fill(glint, (255, 255, 255), alpha=sheen, soft=0.03 * u, lit=False)
            canvas.fill(ribbon(lens, thick, closed=True), colour, lit=False)
            hinge = curve[np.argmax(side * flat[:, 0])]
            if side * self.rotation[2, 0] > -0.12:
                arm = self.px(np.stack([hinge, [side * head.puppet.width * 1.0, -0.02, 0.0]]))
                canvas.fill(ribbon(arm, 0.9 * thick), colour * 0.9, lit=False)
        gap = head.eye_x * 1.02 - float(ring[:, 0].max())
        t = np.linspace(-1, 1, 7)
        bridge = np.stack([gap * t, -0.03 - 0.03 * (1 - t * t), np.full(7, z + 0.02)], 1)
        canvas.fill(ribbon(self.px(bridge), 0.9 * thick), colour, lit=False)


def draw_head(
    head: Head, pose: Pose, expression: Expression, size: int | tuple[int, int] = 256, camera: Camera | None = None
) -> HeadDrawing:
    """Draw one head.

    Args:
        head: who.
        pose: how the head is held; its mouth, blink, smile, brows and gaze are not used.
        expression: what the face does.
        size: pixels of the square picture, or (width, height).
        camera: what of the scene is seen; see `frame_head`.
    """
    width, height = (size, size) if isinstance(size, int) else size
    painter = _HeadPainter(head, pose, expression, width, height, camera or Camera())
    painter.paint()
    image = cv2.GaussianBlur(painter.canvas.image, (0, 0), 0.45)  # no lens is sharper than its pixels
    if head.finish == "paint":
        image = cv2.bilateralFilter(image, 7, 30, 2.5)
    image = np.clip(image + 0.5, 0, 255).astype(np.uint8)
    points = np.concatenate([painter.fine[:468], painter.surface.points[468:]])
    away = -((points - PIVOT) @ painter.rotation[2]) * painter.unit
    return HeadDrawing(image, np.concatenate([painter.px(points), away[:, None]], 1).astype(np.float32))
