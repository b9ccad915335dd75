"""Draw a puppet: identity and pose to pixels.

The head is a tapered ellipsoid and the hair a second one around it. For every pixel the point of each that it shows is
computed; it looks up colour and relief that were painted once per identity. Eyes, brows, nose, mouth and accessories
are polygons over projected 3-D points. Coordinates: see `puppet_model`.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from fomm.model.face.motion import ramp
from preprocess.synthetic.canvas import Box, Canvas, look_up, ribbon, smoothed
from preprocess.synthetic.puppet_model import (
    ARCH,
    CIRCLE,
    CROWN,
    PIVOT,
    UNIT_SPHERE,
    Camera,
    Colour,
    Identity,
    Pose,
    T,
    brow_half,
    features_of,
    half_chin,
    landmarks_of,
    mix,
    on_head,
    place,
    rotation_of,
    taper,
    turned,
)
from preprocess.synthetic.puppet_textures import (
    OUTLINE,
    TORSO,
    TORSO_TEXELS,
    Hair,
    background,
    paint_hair,
    paint_skin,
    paint_torso,
)


class Drawing(NamedTuple):
    """One drawn frame and the truth about it."""

    image: np.ndarray  # (H, W, 3) uint8 RGB
    landmarks_px: np.ndarray  # (73, 2) float32, in the order of LANDMARKS; points behind the head are included
    face_box_xyxy_px: tuple[float, float, float, float]  # bounds of all landmarks: hairline to chin, ear to ear
    pose: Pose


def _light(normal_dot_light: np.ndarray, shadow: Colour, lit: Colour) -> np.ndarray:
    t = np.clip((normal_dot_light + np.float32(0.35)) * np.float32(1 / 1.35), 0, 1)
    return cv2.merge([np.float32(s) + np.float32(b - s) * t for s, b in zip(shadow, lit, strict=True)])


class Painter:
    """Everything that the parts of one frame share."""

    def __init__(
        self, identity: Identity, pose: Pose, width: int, height: int, camera: Camera, grey: float | None
    ) -> None:
        self.i, self.pose, self.camera = identity, pose, camera
        self.width, self.height = width, height
        self.rotation = rotation_of(pose)
        behind = background(identity, width, height, camera) if grey is None else grey
        self.canvas = Canvas(np.full((height, width, 3), behind, np.float32))
        self.unit = width / camera.view * pose.scale  # pixels per head unit
        self.skin = np.asarray(identity.skin, np.float32)
        self.features = features_of(identity, pose)
        parts = list(self.features.values())
        flat = np.split(self.px(np.concatenate(parts)), np.cumsum([len(part) for part in parts])[:-1])
        self.marks = dict(zip(self.features, flat, strict=True))  # the features in pixels
        self.head_outline = self.outline_of_head()
        self.cap = paint_hair(identity)
        self.to_light = (self.rotation.T @ np.asarray(identity.light)).astype(np.float32)  # in head axes
        self.body_shift = 0.45 * np.array([pose.shift_x + 0.25 * np.sin(pose.roll), pose.shift_y]) - (0, 0.13)

    def px(self, points: np.ndarray) -> np.ndarray:
        """Head points (N, 3) -> pixels (N, 2)."""
        return self.camera.to_pixels(place(points, self.pose, self.rotation), self.width, self.height)

    def body_px(self, points: np.ndarray) -> np.ndarray:
        """Points (N, 2) of the body's frame -> pixels."""
        turn, pivot = turned(0.10 * self.pose.roll), np.array([0.0, 2.6])
        moved = (np.asarray(points) - pivot) @ turn.T * (1 + 0.5 * (self.pose.scale - 1)) + pivot + self.body_shift
        return self.camera.to_pixels(moved, self.width, self.height)

    def view_grid(self, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """For the pixels of a box, x (1, w) and y (h, 1) of the head's view axes, relative to the pivot."""
        step, pose = self.camera.view / self.width, self.pose
        x = (np.arange(box[0], box[2]) - (self.width - 1) / 2) * step + self.camera.x - PIVOT[0] - pose.shift_x
        y = (np.arange(box[1], box[3]) - (self.height - 1) / 2) * step + self.camera.y - PIVOT[1] - pose.shift_y
        return (x / pose.scale).astype(np.float32)[None], (y / pose.scale).astype(np.float32)[:, None]

    def hit(
        self, box: Box, axes: np.ndarray, middle: np.ndarray, tapered: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The front of the ellipsoid under every pixel of the box as a direction (X, Y, Z) of the unit sphere; beside
        the ellipsoid, the nearest point of its outline."""
        x, y = self.view_grid(box)
        r = self.rotation.astype(np.float32)
        start = (PIVOT - middle).astype(np.float32)
        o = [x * r[0, k] + (y * r[1, k] + start[k]) for k in range(3)]
        d = [float(r[2, k]) for k in range(3)]
        inverse: list = [np.float32(1 / a) for a in axes]
        chin = half_chin(self.i, self.pose)
        for turn in range(3 if tapered else 1):
            O = [o[k] * inverse[k] for k in range(3)]  # noqa: E741
            D = [d[k] * inverse[k] for k in range(3)]
            a = D[0] * D[0] + D[1] * D[1] + D[2] * D[2]
            b = O[0] * D[0] + O[1] * D[1] + O[2] * D[2]
            c = O[0] * O[0] + O[1] * O[1] + O[2] * O[2] - 1
            z = (np.sqrt(np.maximum(b * b - a * c, 0)) - b) / a
            X, Y, Z = (O[k] + z * D[k] for k in range(3))
            if tapered and turn < 2:
                w = 1 / taper(self.i, np.clip(Y, -1, 1))
                height = np.where(Y > 0, np.float32(1 / chin), np.float32(1 / CROWN))
                inverse = [w / np.float32(axes[0]), height, w / np.float32(axes[2])]
        length = 1 / np.sqrt(X * X + Y * Y + Z * Z)
        return X * length, Y * length, Z * length

    def paint(self) -> None:
        """Everything, from back to front."""
        self.hair_behind()
        self.neck_and_body()
        self.ears(over_head=False)
        self.face()
        self.ears(over_head=True)
        self.before_face()
        self.hair_front()

    def face(self) -> None:
        self.head()
        self.mouth()
        for side in (-1, 1):
            self.eye(side)
            self.brow(side)
        self.nose()

    def before_face(self) -> None:
        self.spectacles()

    # ------------------------------------------------------------------------------------------------ behind the head

    def hair_behind(self) -> None:
        i, cap = self.i, self.cap
        if cap is None:
            return
        dark = np.asarray(i.hair, np.float32) * 0.62
        if i.hair_style == "long":
            right = [(0.6, -0.9, -0.2), (1.0, -0.3, -0.2), (1.08, 0.5, -0.15), (1.12, 1.3, -0.1), (1.0, 1.95, -0.1)]
            right.append((0.3, 2.1, -0.1))
            shape = np.array(right + [(-x, y, z) for x, y, z in reversed(right)]) * (cap.axes[0], 1, 1)
            points = self.px(shape)
            low = shape[:, 1] > 0.9  # the lower hair lies on the back and follows the body
            rest = self.body_px(shape[:, :2])
            weight = np.clip((shape[:, 1] - 0.5) / 1.4, 0, 1)[:, None] * 0.6
            points = np.where(low[:, None], points * (1 - weight) + rest * weight, points)
            fall = smoothed(points, 3)
            self.canvas.fill(fall, dark, lit=False)
            core = fall.mean(0) + (fall - fall.mean(0)) * (0.72, 0.9)
            self.canvas.fill(core, dark * 0.72, alpha=0.7, soft=0.12 * self.unit, lit=False)
        outline = self.outline_of_hair(cap)
        if (box := self.canvas.box(outline)) is None:
            return
        cover = self.canvas.mask(outline, box)
        x, y = self.view_grid(box)
        # head y a little behind
        height = x * self.rotation[0, 1] + y * self.rotation[1, 1] + (PIVOT[1] - 0.45 * self.rotation[2, 1])
        cover = cover * (1 - ramp(height, cap.nape - 0.05, cap.nape + 0.05)).astype(np.float32)
        self.canvas.blend(box, cover, dark, lit=False)
        if i.hair_style == "bun":
            self.ball(np.array([0.22 * i.part, -1.02, -0.25]), 0.30 + 0.05 * i.hair_volume, np.asarray(i.hair))

    def ball(self, middle: np.ndarray, radius: float, colour: np.ndarray) -> None:
        centre = self.px(middle[None])[0]
        r = radius * self.unit
        self.canvas.fill(centre + r * CIRCLE, colour * 0.7, lit=False)
        gleam = centre + np.asarray(self.i.light[:2]) * r * 0.35 + 0.55 * r * CIRCLE
        self.canvas.fill(gleam, colour * 1.12, alpha=0.7, soft=0.25 * r, lit=False)

    def outline_of_head(self) -> np.ndarray:
        """Polygon (N, 2) in pixels: the head is as good as convex."""
        rim = np.abs(UNIT_SPHERE @ (self.rotation[2] / (self.i.width, 1.0, self.i.depth))) < 0.5  # the rest is inside
        points = self.px(on_head(self.i, self.pose, UNIT_SPHERE[rim]))
        return cv2.convexHull(points.astype(np.float32))[:, 0].astype(np.float64)

    def outline_of_hair(self, cap: Hair) -> np.ndarray:
        half = self.rotation[:2] * cap.axes  # outline of an ellipsoid: sqrt(half half') times the unit circle
        root = np.linalg.cholesky(half @ half.T)
        angles = np.arange(OUTLINE) / OUTLINE * 2 * np.pi
        ring = np.stack([np.cos(angles), np.sin(angles)]) * cap.frizz
        # the frizz turns with the head
        return self.px(cap.middle[None]) + (root @ turned(self.pose.roll) @ ring).T * self.unit

    def neck_and_body(self) -> None:
        neck = self.neck()
        if neck is not None:
            self.shadow_of_head(neck, *self.clothes())

    def neck(self) -> np.ndarray | None:
        """Draw neck and collar bones. Returns the outline (N, 2) in pixels; None: it is not in the picture."""
        i, canvas = self.i, self.canvas
        wide = 0.345 + 0.3 * (i.width - 0.75) + (0.05 if i.beard else 0.0)
        top = self.px(np.array([[-wide, 0.45, -0.25], [wide, 0.45, -0.25]]))
        right = [(0.8, 2.3), (0.95, 1.72), (wide * 1.45, 1.5), (wide * 1.08, 1.32)]
        low = self.body_px(np.array([(-x, y) for x, y in reversed(right)] + right))
        middle = 0.5 * (top + low[[0, -1]])
        inward = (middle.mean(0) - middle) * 0.06
        shape = smoothed(np.concatenate([top[:1], (middle + inward)[:1], low, (middle + inward)[1:], top[1:]]), 2)
        if (box := canvas.box(shape)) is None:
            return None
        cover = canvas.mask(shape, box)
        canvas.blend(box, cover, self.skin * 0.93, lit=False)
        axis = np.array([top.mean(0), low[[0, -1]].mean(0)])
        u = self.unit
        away = -np.sign(i.light[0]) or 1.0
        for side, colour, alpha in ((away, self.skin * (0.62, 0.52, 0.50), 0.55), (-away, self.skin * 1.06, 0.35)):
            strip = ribbon(axis + (side * wide * 0.85 * u, 0), 0.24 * wide * u)
            canvas.blend(box, cover * canvas.mask(strip, box, 0.13 * u) * np.float32(alpha), colour, lit=False)
        for side in (-1, 1):  # collar bones
            bone = self.body_px(np.array([[side * 0.12, 1.72], [side * 0.4, 1.66], [side * 0.75, 1.62]]))
            line = canvas.mask(ribbon(bone, 0.02 * u), box, 0.025 * u)
            canvas.blend(box, cover * line * np.float32(0.3), self.skin * 0.72, lit=False)
        return shape

    def clothes(self) -> tuple[int, np.ndarray]:
        """Draw them. Returns the row of pixels where they may begin, and from there (H - row, W, 4)."""
        pyramid = paint_torso(self.i)
        level, k = 0, float(TORSO_TEXELS)
        while level + 1 < len(pyramid) and k > 1.3 * self.unit:
            level, k = level + 1, k / 2
        picture = pyramid[level]
        kx, ky = picture.shape[1] / (TORSO[2] - TORSO[0]), picture.shape[0] / (TORSO[3] - TORSO[1])
        corners = np.array([[TORSO[0], TORSO[1]], [TORSO[2], TORSO[1]], [TORSO[0], TORSO[3]]])
        texel = (corners - corners[0]) * (kx, ky) - 0.5
        matrix = cv2.getAffineTransform(texel.astype(np.float32), self.body_px(corners).astype(np.float32))
        first = max(int(self.body_px(np.array([[-1.0, 1.2], [1.0, 1.2]]))[:, 1].min()), 0)
        if first >= self.height:
            return first, np.zeros((0, self.width, 4), np.float32)
        matrix[1, 2] -= first
        size = (self.width, self.height - first)
        worn = cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        self.canvas.image[first:] *= 1 - worn[..., 3:]
        self.canvas.image[first:] += worn[..., :3]
        return first, worn

    def shadow_of_head(self, neck: np.ndarray, first: int, worn: np.ndarray) -> None:
        """It falls on neck and clothes, away from the light."""
        canvas, u = self.canvas, self.unit
        fall = self.head_outline + np.array([-0.16 * self.i.light[0], 0.20]) * u
        if (box := canvas.box(fall, 0.3 * u)) is not None:
            left, top, right, bottom = box
            on = canvas.mask(neck, box)
            if bottom > first:
                start = max(first - top, 0)
                on[start:] = np.maximum(on[start:], worn[top + start - first : bottom - first, left:right, 3])
            canvas.darken(box, on * canvas.mask(fall, box, 0.09 * u) * np.float32(0.8), (0.60, 0.50, 0.52))

    def ears(self, over_head: bool) -> None:
        """Both, unless hair covers them; over the head that of the side which is turned to the viewer."""
        if self.i.hair_style in ("bob", "long"):
            return
        for side in (-1, 1):
            alpha = float(ramp(side * self.rotation[2, 0], 0.02, 0.22)) if over_head else 1.0
            if alpha >= 0.02:
                self.ear(side, alpha)

    def ear_outline(self, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Middle (3,), the ways (3,) from it outwards and up, and the outline (N, 3), in head coordinates."""
        i, c, s = self.i, CIRCLE[:, :1], CIRCLE[:, 1:]
        centre = np.array([side * i.width * 0.965, 0.13, -0.06])
        out, up = np.array([side * 0.11, 0.0, -0.06]) * i.ear, np.array([side * 0.02, -0.215, 0.0]) * i.ear
        return centre, out, up, centre + out * (c + 0.15 * s * s) + up * (s * (1 - 0.12 * c) + 0.08)

    def ear(self, side: int, alpha: float) -> None:
        centre, out, up, shape = self.ear_outline(side)
        inner = centre + 0.3 * out + 0.62 * (out * CIRCLE[:, :1] + up * CIRCLE[:, 1:])
        lit = float(np.clip((np.array([0.75 * side, -0.1, 0.65]) @ self.to_light + 0.35) / 1.35, 0, 1))
        tone = 0.60 + 0.42 * lit
        self.canvas.fill(self.px(shape), self.skin * tone * (1.0, 0.91, 0.89), alpha=alpha, lit=False)
        shell = self.skin * tone * (0.70, 0.54, 0.51)
        self.canvas.fill(self.px(inner), shell, alpha=0.75 * alpha, soft=0.025 * self.unit, lit=False)
        if self.i.earrings:
            drop, r = self.px((centre - up + 0.1 * out)[None])[0], 0.04 * self.unit
            self.canvas.fill(drop + r * CIRCLE, (214, 170, 70), alpha=alpha, lit=False)
            self.canvas.fill(drop - 0.3 * r + 0.4 * r * CIRCLE, (255, 244, 200), alpha=0.8 * alpha, lit=False)

    # ------------------------------------------------------------------------------------------------ the head itself

    def head(self) -> None:
        i, canvas, outline = self.i, self.canvas, self.head_outline
        if (box := canvas.box(outline)) is None:
            return
        cover = canvas.mask(outline, box)
        axes = np.array([i.width, 0.5 * (CROWN + i.chin), i.depth])
        X, Y, Z = self.hit(box, axes, np.zeros(3), tapered=True)
        front = 1 / np.maximum(1 + Z, 0.25)
        u, v = X * front, Y * front
        albedo_levels, slope_levels = paint_skin(i)
        albedo = look_up(albedo_levels, u, v, self.unit)
        slope = look_up(slope_levels, u, v, self.unit)
        nx, ny, nz = X / axes[0], Y / axes[1], Z / axes[2]
        scale = 1 / np.sqrt(nx * nx + ny * ny + nz * nz)
        nx, ny, nz = nx * scale - 0.9 * slope[..., 0], ny * scale - 0.9 * slope[..., 1], nz * scale
        scale = 1 / np.sqrt(nx * nx + ny * ny + nz * nz)
        l = self.to_light  # noqa: E741
        toward = (nx * l[0] + ny * l[1] + nz * l[2]) * scale
        shade = _light(toward, (0.56, 0.46, 0.46), (1.09, 1.06, 1.03))
        f = self.rotation[2].astype(np.float32)
        facing = np.clip((nx * f[0] + ny * f[1] + nz * f[2]) * scale, 0, 1)
        dim = 0.80 + 0.20 * ramp(facing, 0.0, 0.55)
        shade *= cv2.merge([dim, dim, dim])
        left, top, right, bottom = box
        canvas.shade[top:bottom, left:right] = shade
        shine = np.clip(toward, 0, 1) ** 14 * 0.16
        colour = albedo * shade
        colour += (255 - colour) * cv2.merge([shine, shine, shine])
        canvas.blend(box, cover, colour, lit=False)

    def nose(self) -> None:
        i, canvas, u = self.i, self.canvas, self.unit
        bridge, base, foot = self.marks["nose_bridge"], self.marks["nose_base"], self.marks["nose_foot"]
        away = -np.sign(i.light[0]) or 1.0
        wing = base[0] if away < 0 else base[-1]
        flank = np.concatenate([bridge, [wing + (away * 0.02 * u, -0.02 * u), wing + (away * 0.03 * u, -0.10 * u)]])
        canvas.fill(flank, self.skin * (0.66, 0.54, 0.52), alpha=0.34, soft=0.035 * u)
        under = smoothed(np.concatenate([base, foot[::-1]]))
        canvas.fill(under, self.skin * (0.55, 0.42, 0.40), alpha=0.5, soft=0.022 * u)
        tip = bridge[3]
        r = i.nose_width * u
        canvas.fill(tip + (0, 0.02 * u) + 0.62 * r * CIRCLE, self.skin * (1.02, 0.93, 0.91), alpha=0.55, soft=0.028 * u)
        crease = np.array([[-0.035, -0.055], [0.008, -0.03], [0.006, 0.008], [-0.04, 0.022]])
        for end, side in ((base[0], -1), (base[4], 1)):
            middle = end + np.array([-side * 0.028, -0.012]) * u
            canvas.fill(middle + 0.055 * u * CIRCLE, self.skin * (0.97, 0.87, 0.85), alpha=0.6, soft=0.015 * u)
            curve = ribbon(end + crease * (side, 1) * u, 0.011 * u)
            canvas.fill(curve, self.skin * (0.5, 0.36, 0.34), alpha=0.5, soft=0.008 * u)
        for middle in (base[1], base[3]):
            nostril = middle + (0, 0.002 * u) + (0.036 * u, 0.016 * u) * CIRCLE
            canvas.fill(nostril, self.skin * (0.32, 0.2, 0.18), alpha=0.8, soft=0.006 * u)
        glow = tip + np.array([0.25 * i.light[0], -0.25]) * 0.1 * u
        canvas.fill(glow + 0.028 * u * CIRCLE, (255, 250, 244), alpha=0.32, soft=0.018 * u)
        gleam = ribbon(bridge[:3] + (0.012 * np.sign(i.light[0]) * u, 0), 0.014 * u)
        canvas.fill(gleam, (255, 246, 236), alpha=0.14, soft=0.016 * u)

    def eye(self, side: int) -> None:
        i, canvas, u = self.i, self.canvas, self.unit
        name = "left" if side < 0 else "right"
        upper, lower, rest = (self.marks[f"lid_{lid}_{name}"] for lid in ("upper", "lower", "rest"))
        almond = np.concatenate([upper, lower[::-1]])
        lid = self.skin * (0.86, 0.74, 0.72)
        crease = rest + (0, -0.042 * u) + np.stack([0 * T, 0.025 * np.abs(T) ** 2 * u], 1)
        canvas.fill(ribbon(crease, 0.010 * u * ARCH), self.skin * (0.5, 0.37, 0.35), alpha=0.55, soft=0.01 * u)
        if self.pose.blink > 0.02:
            canvas.fill(np.concatenate([rest, upper[::-1]]), lid, alpha=0.75, soft=0.012 * u)
        if self.pose.blink < 0.97 and (box := canvas.box(almond)) is not None:
            inside = canvas.mask(almond, box)
            canvas.blend(box, inside, (246, 243, 240))
            iris = np.asarray(i.iris, np.float32)
            disc, centre = self.marks[f"iris_{name}"], self.marks[f"pupil_centre_{name}"][0]
            canvas.blend(box, inside * canvas.mask(disc, box), iris * 0.62)
            canvas.blend(box, inside * canvas.mask(centre + 0.86 * (disc - centre), box, 0.008 * u), iris * 1.15)
            glow = canvas.mask(centre + 0.5 * (disc - centre) + (0, 0.03 * u), box, 0.02 * u)
            canvas.blend(box, inside * glow * np.float32(0.4), iris * 1.7)
            canvas.blend(box, inside * canvas.mask(self.marks[f"pupil_{name}"], box), (16, 12, 14), lit=False)
            # the upper lid shades the eyeball
            shadow = np.concatenate([upper - (0, 0.05 * u), (upper + (0, 0.042 * u))[::-1]])
            canvas.darken(box, inside * canvas.mask(shadow, box, 0.016 * u), (0.62, 0.58, 0.60))
            canvas.blend(box, inside * canvas.mask(self.marks[f"glint_{name}"], box), (255, 255, 255), lit=False)
        canvas.fill(ribbon(lower, 0.007 * u), self.skin * (0.55, 0.38, 0.36), alpha=0.55, soft=0.006 * u)
        thick = (0.013 + 0.013 * i.lashes) * u * np.clip(0.45 + 0.55 * ARCH + 0.25 * side * T, 0.15, 1.2)
        lash = upper.copy()
        if i.lashes > 0.75:  # a flick at the outer corner
            end = -1 if side > 0 else 0
            lash[end] += np.array([side * 0.03, -0.022 + 0.03 * self.pose.blink]) * u
        canvas.fill(ribbon(lash, thick), (34, 24, 24), alpha=0.92)

    def brow(self, side: int) -> None:
        line, u = self.marks["brow_left" if side < 0 else "brow_right"], self.unit
        shape = ribbon(line, brow_half(self.i, side) * u)
        self.canvas.fill(shape, self.i.brow_colour, alpha=0.85, soft=0.008 * u)

    def mouth(self) -> None:
        i, canvas, u = self.i, self.canvas, self.unit
        top, inner_top, inner_low, low = (
            self.marks[f"lip_{part}"] for part in ("outer_upper", "inner_upper", "inner_lower", "outer_lower")
        )
        lips = np.asarray(i.lips, np.float32)
        under = np.concatenate([low, (low + (0, 0.05 * u))[::-1]])[2:-2]
        canvas.fill(under, self.skin * (0.55, 0.42, 0.40), alpha=0.32, soft=0.02 * u)  # shadow under the lower lip
        canvas.fill(np.concatenate([top, inner_top[::-1]]), lips * 0.86, soft=0.006 * u)
        canvas.fill(np.concatenate([inner_low, low[::-1]]), lips * 1.04, soft=0.006 * u)
        gape = float(np.abs(inner_low[7, 1] - inner_top[7, 1]))
        if self.pose.mouth > 0.015:
            hole = np.concatenate([inner_top, inner_low[::-1]])
            if (box := canvas.box(hole)) is not None:
                inside = canvas.mask(hole, box)
                canvas.blend(box, inside, (58, 18, 22), lit=False)
                tongue = canvas.mask(self.marks["tongue"][0] + (0.15 * u, 0.085 * u) * CIRCLE, box, 0.02 * u)
                canvas.blend(box, inside * tongue, (186, 82, 84), lit=False)
                bite = min(0.075 * u, 0.45 * gape)
                teeth = np.concatenate([inner_top[2:-2] - (0, 0.02 * u), (inner_top[2:-2] + (0, bite))[::-1]])
                canvas.blend(box, inside * canvas.mask(teeth, box, 0.005 * u), (244, 240, 232), lit=True)
                shadow = np.concatenate([inner_top - (0, 0.03 * u), (inner_top + (0, 0.02 * u))[::-1]])
                canvas.darken(box, inside * canvas.mask(shadow, box, 0.012 * u), (0.72, 0.62, 0.62))
        else:
            seam = ribbon(0.5 * (inner_top + inner_low), 0.009 * u)
            canvas.fill(seam, lips * (0.42, 0.36, 0.38), alpha=0.85, soft=0.004 * u)
        shine = 0.5 * (inner_low[4:11] + low[4:11])
        canvas.fill(ribbon(shine, 0.012 * u), (255, 240, 236), alpha=0.22, soft=0.012 * u)
        for corner, side in ((top[0], -1), (top[-1], 1)):
            spot = corner + (side * 0.012 * u, 0) + 0.018 * u * CIRCLE
            canvas.fill(spot, self.skin * (0.5, 0.36, 0.34), alpha=0.5, soft=0.012 * u)

    def spectacles(self) -> None:
        i, canvas, u = self.i, self.canvas, self.unit
        if not i.glasses:
            return
        power = 1.0 if i.glasses == "round" else 0.55
        ring = np.sign(CIRCLE) * np.abs(CIRCLE) ** power * (0.245, 0.205 if i.glasses == "round" else 0.165)
        z = float(self.features["lid_lower_right"][7, 2]) + 0.15
        colour = np.asarray(i.glasses_colour, np.float32)
        for side in (-1, 1):
            flat = ring + (side * i.eye_x, i.eye_y + 0.02)
            curve = np.concatenate([flat, (z - 0.16 * np.abs(flat[:, :1] - side * 0.1) ** 1.5)], 1)
            lens = self.px(curve)
            canvas.fill(lens, (210, 226, 236), alpha=0.08, lit=False)
            away = lens - lens.mean(0)
            glint = lens.mean(0) + np.array([-0.45, -0.5]) * np.abs(away).max(0) + 0.22 * away
            canvas.fill(glint, (255, 255, 255), alpha=0.16, soft=0.02 * u, lit=False)
            canvas.fill(ribbon(lens, 0.016 * u, closed=True), colour, lit=False)
            hinge = curve[np.argmax(side * flat[:, 0])]
            arm = self.px(np.stack([hinge, [side * i.width * 1.0, 0.0, -0.05]]))
            if side * self.rotation[2, 0] > -0.1:
                canvas.fill(ribbon(arm, 0.014 * u), colour * 0.9, lit=False)
        gap, t = i.eye_x - 0.235, np.linspace(-1, 1, 7)
        bridge = np.stack([np.linspace(-gap, gap, 7), i.eye_y - 0.02 - 0.03 * (1 - t**2), np.full(7, z)], 1)
        canvas.fill(ribbon(self.px(bridge), 0.014 * u), colour, lit=False)

    def hair_front(self) -> None:
        i, cap, canvas, u = self.i, self.cap, self.canvas, self.unit
        if cap is None:
            return
        outline = self.outline_of_hair(cap)
        if (box := canvas.box(outline)) is None:
            return
        X, Y, Z = self.hit(box, cap.axes, cap.middle, tapered=False)
        front = 1 / np.maximum(1 + Z, 0.25)
        sample = look_up(cap.texture, X * front, Y * front, u)
        cover = canvas.mask(outline, box) * sample[..., 3]
        # its shadow on the forehead
        drop = max(int(round(0.045 * u)), 1)
        fallen = np.zeros_like(cover)
        fallen[drop:] = cover[:-drop]
        fallen = cv2.blur(cv2.blur(fallen, (drop, drop)), (drop, drop))
        on = canvas.mask(self.head_outline, box)
        canvas.darken(box, fallen * on * np.float32(0.55 if i.hair_style != "buzz" else 0.2), (0.55, 0.46, 0.46))
        nx, ny, nz = X / cap.axes[0], Y / cap.axes[1], Z / cap.axes[2]
        scale = 1 / np.sqrt(nx * nx + ny * ny + nz * nz)
        l = self.to_light  # noqa: E741
        toward = (nx * l[0] + ny * l[1] + nz * l[2]) * scale
        shade = _light(toward, (0.42, 0.42, 0.46), (1.12, 1.10, 1.08))
        colour = sample[..., :3] * shade
        f = self.rotation[2]
        half = l + f
        half = half / np.linalg.norm(half)
        gleam = np.clip((nx * half[0] + ny * half[1] + nz * half[2]) * scale, 0, 1)
        band = np.exp(-(((gleam - 0.86) / 0.07) ** 2)) * (0.22 if i.hair_style not in ("buzz", "curly") else 0.06)
        band *= np.clip(toward + 0.3, 0, 1)
        colour += (mix(i.hair, (255, 244, 230), 0.55) - colour) * band[..., None]
        canvas.blend(box, cover, colour, lit=False)


def draw(
    identity: Identity,
    pose: Pose,
    size: int | tuple[int, int] = 256,
    camera: Camera | None = None,
    *,
    grey: float | None = None,
) -> Drawing:
    """Draw one puppet in one pose.

    Args:
        identity: any puppet.
        pose: any pose; angles are meant for |yaw| <= 0.6, |pitch| <= 0.4 (the back of a head is not modelled).
        size: pixels of the square picture, or (width, height).
        camera: what of the scene is seen; default is the neutral head in the middle of a square.
        grey: draw before an even grey of this level (0..255) instead of the puppet's own backdrop.
    """
    width, height = (size, size) if isinstance(size, int) else size
    painter = Painter(identity, pose, width, height, camera or Camera(), grey)
    painter.paint()
    image = np.clip(painter.canvas.image + 0.5, 0, 255).astype(np.uint8)
    landmarks = landmarks_of(painter.marks).astype(np.float32)
    (x0, y0), (x1, y1) = landmarks.min(0).tolist(), landmarks.max(0).tolist()
    return Drawing(image, landmarks, (x0, y0, x1, y1), pose)
