"""Draw a puppet: identity and pose to pixels.

The head is a tapered ellipsoid and the hair a second one around it. For every pixel the point of each that it shows is
computed; it looks up colour and relief that were painted once per identity. Eyes, brows, nose, mouth and accessories
are polygons over projected 3-D points. Coordinates: see `puppet_model`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from preprocess.puppet_model import (
    ARCH,
    CIRCLE,
    CROWN,
    PIVOT,
    UNIT_SPHERE,
    Camera,
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
)


class Drawing(NamedTuple):
    """One drawn frame and the truth about it."""

    image: np.ndarray  # (H, W, 3) uint8 RGB
    landmarks_px: np.ndarray  # (73, 2) float32, in the order of LANDMARKS; points behind the head are included
    face_box_xyxy_px: tuple[float, float, float, float]  # bounds of all landmarks: hairline to chin, ear to ear
    pose: Pose


# ---------------------------------------------------------------------------------------------------------------------
# What is painted once per identity. Head and hair textures are stereographic maps of the unit sphere seen from the
# front, u = X / (1 + Z), v = Y / (1 + Z): finest over the face, and what is behind the head is what they lose.

_REACH = 1.9  # the textures cover |u|, |v| <= this
_TEXELS = 512
_OUTLINE = 160  # points around the hair


def _noise(rng: np.random.Generator, height: int, width: int, cells_y: int, cells_x: int) -> np.ndarray:
    """Smooth noise (height, width), about -1..1."""
    coarse = rng.uniform(-1, 1, (cells_y + 3, cells_x + 3)).astype(np.float32)
    large = cv2.resize(
        coarse,
        (width + 3 * width // cells_x + 1, height + 3 * height // cells_y + 1),
        interpolation=cv2.INTER_CUBIC,
    )
    return large[:height, :width]


def _step(x, low, high):
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _bump(x, y, cx, cy, sx, sy):
    return np.exp(-(((x - cx) / sx) ** 2) - ((y - cy) / sy) ** 2)


def _texture_sphere(texels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    u = np.linspace(-_REACH, _REACH, texels, dtype=np.float32)[None]
    v = u.T
    s = u * u + v * v
    return 2 * u / (1 + s), 2 * v / (1 + s), (1 - s) / (1 + s)


def _mips(texture: np.ndarray) -> list[np.ndarray]:
    levels = [np.ascontiguousarray(texture, np.float32)]
    while levels[-1].shape[0] > 64:
        levels.append(cv2.resize(levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    return levels


def _relief(identity: Identity, x, y):
    """Height of the face over the plain ellipsoid at front-view points: only its slope is used, to shade."""
    i = identity
    tip = i.eye_y + i.nose_length
    h = 0.0
    for side in (-1, 1):
        h = h - 0.075 * _bump(x, y, side * i.eye_x, i.eye_y, 0.21, 0.14)  # sockets
        h = h + 0.030 * _bump(x, y, side * (i.eye_x + 0.02), i.eye_y - i.brow_height, 0.26, 0.08)  # brow ridge
        h = h + 0.055 * _bump(x, y, side * 0.42, i.eye_y + 0.32, 0.2, 0.17)  # cheekbones
        h = h - 0.014 * _bump(x, y, side * (0.3 + 0.1 * (y - 0.5)), 0.52, 0.04, 0.14)  # folds
    ridge = 0.055 + 0.05 * _step(y, i.eye_y, tip)
    h = h + (0.03 + 0.11 * _step(y, i.eye_y - 0.1, tip)) * np.exp(-((x / ridge) ** 2)) * _step(
        y, i.eye_y - 0.18, i.eye_y
    ) * (1 - _step(y, tip, tip + 0.09))
    h = h + 0.05 * _bump(x, y, 0, i.mouth_y, 0.3, 0.17)
    h = h - 0.035 * _bump(x, y, 0, i.mouth_y + 0.15, 0.16, 0.045) + 0.06 * _bump(x, y, 0, 0.9, 0.17, 0.12)
    return h - 0.02 * _bump(x, y, 0, i.mouth_y - 0.1, 0.03, 0.06)


@lru_cache(maxsize=8)
def _skin(identity: Identity) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Pyramids of albedo (N, N, 3), RGB 0..255, and of slope (N, N, 2) along head x and y."""
    i = identity
    rng = np.random.default_rng([i.seed, 0x5C])
    X, Y, Z = _texture_sphere(_TEXELS)
    x, y = X * i.width * taper(i, Y), Y * np.where(Y > 0, i.chin, CROWN)
    skin = np.asarray(i.skin, np.float32)
    albedo = np.broadcast_to(skin, (*x.shape, 3)).copy()
    blotch = _noise(rng, _TEXELS, _TEXELS, 24, 24) * 0.6 + _noise(rng, _TEXELS, _TEXELS, 90, 90) * 0.4
    albedo *= 1 + 0.018 * blotch[..., None]

    def tint(colour, amount):
        albedo[:] += (np.asarray(colour, np.float32) - albedo) * np.clip(amount, 0, 1)[..., None].astype(np.float32)

    front = _step(Z, -0.1, 0.35)
    red = skin * (1.02, 0.66, 0.66)
    for side in (-1, 1):
        tint(red, 0.55 * i.blush * front * _bump(x, y, side * 0.42, i.eye_y + 0.36, 0.2, 0.15))
        tint(skin * 0.72, 0.30 * front * _bump(x, y, side * i.eye_x, i.eye_y - 0.05, 0.2, 0.11))
    tint(red, 0.25 * i.blush * front * _bump(x, y, 0, i.eye_y + i.nose_length, 0.1, 0.08))
    if i.freckles:
        spots = np.zeros(x.shape, np.float32)
        for _ in range(70):
            at = (rng.normal([0, i.eye_y + 0.27], [0.27, 0.085]) / (2, 2) + _REACH) * (_TEXELS / (2 * _REACH))
            cv2.circle(
                spots,
                tuple(int(16 * c) for c in at),
                int(16 * rng.uniform(0.7, 1.5)),
                rng.uniform(0.3, 0.8),
                -1,
                cv2.LINE_AA,
                4,
            )
        tint(skin * (0.74, 0.58, 0.5), cv2.GaussianBlur(spots, (0, 0), 0.8) * front)
    if i.beard:
        ax = np.abs(x)
        grain = 0.9 + 0.12 * _noise(rng, _TEXELS, _TEXELS, 160, 160)
        above = i.mouth_y - 0.11
        moustache = (
            _step(y, above - 0.06, above - 0.01)
            * (1 - _step(ax, 0.22, 0.32))
            * (1 - _step(y, i.mouth_y, i.mouth_y + 0.06))
        )
        cheek = _step(y, i.mouth_y - 0.2 - 0.75 * (ax - 0.42) - 0.06, i.mouth_y - 0.2 - 0.75 * (ax - 0.42) + 0.06)
        full = np.maximum(
            cheek * _step(ax, 0.12, 0.24) * _step(y, above - 0.06, above),
            _step(y, i.mouth_y + 0.02, i.mouth_y + 0.14) * _step(y, 0, 0.3),
        )
        full = np.maximum(np.maximum(full, moustache), cheek * _step(ax, 0.2, 0.32))
        chin = np.maximum(moustache, (1 - _step(ax, 0.24, 0.34)) * _step(y, i.mouth_y - 0.06, i.mouth_y + 0.04))
        shape = {
            "stubble": 0.32 * full,
            "full": 0.93 * full,
            "goatee": 0.9 * chin,
            "moustache": 0.93 * moustache,
        }[i.beard]
        tint(np.asarray(i.brow_colour) * 0.95, front * shape * grain)

    small = _TEXELS // 2
    X, Y, Z = _texture_sphere(small)
    x, y = X * i.width * taper(i, Y), Y * np.where(Y > 0, i.chin, CROWN)
    e = 0.012
    slope = np.stack([_relief(i, x + e, y) - _relief(i, x - e, y), _relief(i, x, y + e) - _relief(i, x, y - e)], -1) / (
        2 * e
    )
    slope *= _step(Z, 0.0, 0.4)[..., None]
    return _mips(albedo), _mips(slope)


class _Cap(NamedTuple):
    axes: np.ndarray  # (3,) of the hair's ellipsoid
    middle: np.ndarray  # (3,) in head coordinates
    nape: float  # head y where the hair behind the head ends
    texture: list[np.ndarray]  # pyramid of (N, N, 4): RGB 0..255 and cover 0..1
    frizz: np.ndarray  # (_OUTLINE,) factor on the outline's radius, by angle


# axes over the head's (x, y, z), middle (y, z), nape; azimuth -> height of the hairline over its front
_STYLES = {
    "buzz": ((1.012, 1.015, 1.02), (0.0, -0.01), 0.18,
        ((0.0, 0.0), (0.55, 0.0), (0.95, 0.16), (1.15, 0.5), (1.3, 0.62), (1.5, 0.5), (2.2, 1.0))),
    "short": ((1.045, 1.06, 1.05), (-0.02, -0.03), 0.18,
        ((0.0, 0.02), (0.6, 0.0), (0.9, 0.2), (1.1, 0.55), (1.3, 0.64), (1.55, 0.45), (2.2, 1.0))),
    "parted": ((1.08, 1.08, 1.06), (-0.03, -0.03), 0.2,
        ((0.0, 0.0), (0.6, 0.1), (0.9, 0.3), (1.1, 0.62), (1.35, 0.66), (1.6, 0.5), (2.2, 1.0))),
    "fringe": ((1.09, 1.07, 1.08), (-0.02, -0.04), 0.24,
        ((0.0, 0.30), (0.5, 0.30), (0.8, 0.34), (1.05, 0.7), (1.35, 0.85), (1.7, 0.8), (2.2, 1.1))),
    "swept": ((1.07, 1.11, 1.07), (-0.04, -0.02), 0.18,
        ((0.0, 0.03), (0.55, 0.02), (0.9, 0.2), (1.1, 0.56), (1.3, 0.62), (1.55, 0.45), (2.2, 1.0))),
    "curly": ((1.25, 1.27, 1.2), (-0.08, -0.08), 0.5,
        ((0.0, 0.06), (0.5, 0.1), (0.85, 0.3), (1.1, 0.6), (1.35, 0.75), (1.6, 0.75), (2.2, 1.0))),
    "bun": ((1.03, 1.045, 1.03), (-0.01, -0.02), 0.18,
        ((0.0, 0.0), (0.5, 0.03), (0.9, 0.25), (1.1, 0.5), (1.3, 0.55), (1.5, 0.4), (2.2, 0.9))),
    "bob": ((1.19, 1.22, 1.14), (0.08, -0.14), 0.86,
        ((0.0, 0.04), (0.45, 0.12), (0.72, 0.4), (0.9, 0.85), (1.05, 1.25), (1.6, 1.5), (2.2, 1.6))),
    "long": ((1.16, 1.19, 1.12), (0.07, -0.14), 1.1,
        ((0.0, 0.02), (0.45, 0.12), (0.74, 0.42), (0.92, 0.9), (1.05, 1.4), (1.6, 1.6), (2.2, 1.7))),
}  # fmt: skip


@lru_cache(maxsize=8)
def _cap(identity: Identity) -> _Cap | None:
    i = identity
    if i.hair_style == "bald":
        return None
    rng = np.random.default_rng([i.seed, 0xCA])
    stretch, (my, mz), nape, table = _STYLES[i.hair_style]
    swell = 1 + (np.asarray(stretch) - 1) * (0.75 + 0.5 * i.hair_volume)
    axes, middle = np.array([i.width, CROWN, i.depth]) * swell, np.array([0.0, my, mz])
    X, Y, Z = _texture_sphere(_TEXELS)
    y = Y * axes[1] + my
    azimuth = np.arctan2(X, Z)
    knots = np.linspace(0, np.pi, 128)
    line = np.interp(knots, *np.array(table).T)
    line = np.convolve(np.pad(line, 8, mode="edge"), np.hanning(17) / np.hanning(17).sum(), "valid") + i.hairline
    edge = np.interp(np.abs(azimuth), knots, line)
    near = np.exp(-((azimuth / 0.75) ** 2))
    if i.hair_style in (
        "parted",
        "swept",
        "long",
        "bob",
    ):  # higher where the hair parts, lower where it falls
        edge = edge + near * (0.16 * np.tanh(3 * (azimuth - 0.45 * i.part) * -np.sign(i.part or 1)) - 0.02) * (
            0.9 if i.hair_style != "swept" else 0.55
        )
    strand_u = np.arctan2(
        X - 0.25 * i.part * (i.hair_style in ("parted", "long", "bob", "swept")),
        np.maximum(y + 1.35, 0.02) + 0.25 * np.clip(-Z, 0, 1),
    )
    grain = np.random.default_rng([i.seed, 0xCB]).uniform(-1, 1, (4, 400)).astype(np.float32)
    position = (strand_u / np.pi + 0.5) * 260 + 1.5 * _noise(rng, _TEXELS, _TEXELS, 6, 6)
    fine = sum(
        w * np.interp(position * f, np.arange(400), g)
        for w, f, g in zip((0.5, 0.35, 0.25), (0.16, 0.4, 1.0), grain, strict=False)
    )
    if i.hair_style == "curly":
        fine = 0.8 * _noise(rng, _TEXELS, _TEXELS, 34, 34) + 0.4 * _noise(rng, _TEXELS, _TEXELS, 70, 70)
        edge = edge + 0.05 * _noise(rng, _TEXELS, _TEXELS, 30, 30)
    elif i.hair_style == "buzz":
        fine = 0.35 * _noise(rng, _TEXELS, _TEXELS, 120, 120)
    else:
        edge = edge + 0.028 * np.interp(position * 0.3, np.arange(400), grain[3])
    soft = 0.06 if i.hair_style == "buzz" else 0.022
    cover = _step(edge - y, -soft, soft) * (0.82 if i.hair_style == "buzz" else 1.0)
    # under the chin the ellipsoid's rim would show as a thread across the neck
    cover = cover * (1 - _step(y, 0.55, 0.75) * (1 - _step(np.abs(X) * axes[0], 0.36, 0.5)))
    # hair lies thicker away from its edge: a little darker just at the hairline, then lighter
    depth = 0.80 + 0.20 * _step(edge - y, 0.0, 0.16)
    colour = (
        np.asarray(i.hair, np.float32) * (depth * (1 + (0.16 if i.hair_style != "buzz" else 0.1) * fine))[..., None]
    )
    angles = np.arange(_OUTLINE) / _OUTLINE * 2 * np.pi
    frizz = np.ones(_OUTLINE)
    if i.hair_style == "curly":
        lobes = np.abs(np.sin(8 * angles + 0.8 * np.sin(3 * angles + rng.uniform(0, 6)) + rng.uniform(0, 6)))
        frizz += (
            0.03 * lobes + 0.012 * np.abs(np.sin(21 * angles + 1.5 * np.sin(5 * angles + rng.uniform(0, 6)))) - 0.02
        )
    return _Cap(axes, middle, nape, _mips(np.concatenate([colour, cover[..., None]], -1)), frizz)


_TORSO = (-2.6, 0.95, 2.6, 4.75)  # scene rectangle of the torso's picture, in the body's frame
_TORSO_TEXELS = 128  # per scene unit


@lru_cache(maxsize=8)
def _torso(identity: Identity) -> list[np.ndarray]:
    """Pyramid of the clothed shoulders (N, M, 4): RGB 0..255 times cover, and cover 0..1."""
    i = identity
    rng = np.random.default_rng([i.seed, 0x70])
    left, top, right, bottom = _TORSO
    width, height = round((right - left) * _TORSO_TEXELS), round((bottom - top) * _TORSO_TEXELS)
    x = np.linspace(left, right, width, dtype=np.float32)[None]
    y = np.linspace(top, bottom, height, dtype=np.float32)[:, None]
    ax = np.abs(x)
    shoulder = 1.42 + 0.34 * (ax / i.shoulders) ** 1.6 + 1.6 * np.clip(ax / i.shoulders - 0.78, 0, 9) ** 2 * 4
    cover = _step(y - shoulder, -0.012, 0.012)
    neck = {
        "crew": (0.47, 0.30),
        "stripes": (0.56, 0.30),
        "hoodie": (0.46, 0.26),
        "shirt": (0.33, 0.46),
        "vneck": (0.43, 0.72),
    }[i.top]
    pointed = {"shirt": 1.0, "vneck": 1.15}.get(i.top, 2.2)
    hole = 1.38 + neck[1] * np.clip(1 - (ax / neck[0]) ** pointed, -1, 1)  # y of the neckline
    cover = cover * np.where(ax < neck[0], _step(y - hole, -0.012, 0.012), 1)
    base = np.broadcast_to(np.asarray(i.top_colour, np.float32), (height, width, 3)).copy()
    accent = np.asarray(i.top_accent, np.float32)

    def tint(colour, amount):
        base[:] += (np.asarray(colour, np.float32) - base) * np.clip(amount, 0, 1)[..., None].astype(np.float32)

    if i.top == "stripes":
        wave = np.sin((y + 0.06 * x * x) * 2 * np.pi / 0.3)
        tint(accent, _step(wave, 0.1, 0.25) * np.ones_like(x))
    rim = np.where(ax < neck[0] + 0.1, _step(hole + 0.075 - y, -0.012, 0.012), 0)
    if i.top in ("crew", "vneck", "stripes"):
        tint(np.asarray(i.top_colour) * 0.72, rim * 0.8)
    if i.top == "hoodie":
        hood = _step(0.30 - np.abs(np.hypot(x / 0.95, (y - 1.45) / 0.62) - 0.72), 0, 0.05) * _step(2.3 - y, 0, 0.1)
        tint(np.asarray(i.top_colour) * 1.18, 0.55 * hood)
        for side in (-1, 1):
            cord = np.abs(x - side * (0.2 - 0.04 * (y - 1.7))) < 0.022
            tint(accent, cord * _step(y, 1.72, 1.74) * (1 - _step(y, 2.3, 2.32)))
    if i.top == "shirt":
        collar = (
            _step(0.24 - np.abs(ax - 0.30 - 0.25 * (1.75 - y)), 0, 0.02)
            * _step(y, 1.3, 1.34)
            * (1 - _step(y + 0.9 * (ax - 0.2), 1.93, 1.95))
        )
        tint(accent, collar)
        edge = collar - cv2.erode(collar.astype(np.float32), np.ones((5, 5)))
        tint(accent * 0.6, edge * 0.8)
        tint(np.asarray(i.top_colour) * 0.75, (np.abs(x - 0.03) < 0.012) * _step(y, 1.85, 1.9))
        for k in range(6):
            tint(accent, 1 - _step(np.hypot(x + 0.02, y - 2.05 - 0.36 * k), 0.026, 0.036))
    light = i.light[0]
    shade = 1.0 + 0.16 * light * x / 1.6 - 0.10 * (ax / 1.7) ** 2 - 0.07 * np.clip(y - 1.6, 0, 3)
    folds = _noise(rng, height, width, 5, 9)
    shade = shade + 0.045 * folds
    shade = shade - 0.14 * np.exp(-np.clip(y - shoulder, 0, 9) / 0.07) * (ax > 0.45) * 0.6
    base *= np.clip(shade, 0.35, 1.2)[..., None]
    return _mips(np.concatenate([base * cover[..., None], cover[..., None]], -1).astype(np.float32))


_BACKDROP = 7.0  # the backdrop's picture covers |x|, |y| <= this, mirrored beyond
_BACKDROP_TEXELS = 640


@lru_cache(maxsize=8)
def _backdrop(identity: Identity) -> np.ndarray:
    """(N, N, 3) float32 RGB 0..255 of the scene behind the puppet; out of focus, so coarse is enough."""
    i = identity
    rng = np.random.default_rng([i.seed, 0xBD])
    n = _BACKDROP_TEXELS
    axis = np.linspace(-_BACKDROP, _BACKDROP, n, dtype=np.float32)
    x, y = axis[None], axis[:, None]
    a, b = np.asarray(i.backdrop_a, np.float32), np.asarray(i.backdrop_b, np.float32)
    turn = rng.uniform(-0.8, 0.8)
    picture = a + (b - a) * _step(y * np.cos(turn) + x * np.sin(turn), -3.2, 3.2)[..., None]

    def disc(cx, cy, r, colour, alpha, soft):
        distance = np.hypot(x - cx, y - cy)
        mask = (1 - _step(distance, r - soft, r + soft)) * alpha
        picture[:] += (np.asarray(colour, np.float32) - picture) * mask[..., None].astype(np.float32)

    def block(x0, y0, x1, y1, colour, alpha, soft):
        mask = (
            _step(x, x0 - soft, x0 + soft)
            * (1 - _step(x, x1 - soft, x1 + soft))
            * _step(y, y0 - soft, y0 + soft)
            * (1 - _step(y, y1 - soft, y1 + soft))
        )
        picture[:] += (np.asarray(colour, np.float32) - picture) * (alpha * mask)[..., None].astype(np.float32)

    if i.backdrop == "bokeh":
        for _ in range(55):
            warm = mix(a, (255, 236, 190), rng.uniform(0.2, 0.8))
            disc(*rng.uniform(-6.5, 6.5, 2), rng.uniform(0.12, 0.5), warm, rng.uniform(0.08, 0.4), 0.06)
    elif i.backdrop == "room":
        picture[:] = mix(a, (236, 228, 214), 0.55) * (1 - 0.04 * np.abs(x))[..., None]
        for left in (-6.2, -2.9, 1.6, 4.6):
            width, low = rng.uniform(1.1, 1.9), rng.uniform(-1.9, -1.1)
            colour = mix(b, (250, 246, 228), 0.75 if rng.random() < 0.5 else 0.1)
            block(left, low, left + width, low + rng.uniform(1.5, 2.4), colour * 0.72, 0.9, 0.05)
            block(left + 0.1, low + 0.1, left + width - 0.1, low + 1.3, colour, 0.9, 0.06)
        block(-9, 1.7, 9, 9, mix(b, (70, 54, 44), 0.6), 1.0, 0.08)
    elif i.backdrop == "hills":
        picture[:] = mix(a, (200, 226, 250), 0.7) + (np.array([30, 18, -8], np.float32) * _step(y, -3, 1.2)[..., None])
        for k, level in enumerate((0.1, 0.7, 1.3)):
            ridge = (
                level
                + 0.4 * np.sin(x * rng.uniform(0.5, 1.1) + rng.uniform(0, 6))
                + 0.15 * np.sin(x * 2.3 + rng.uniform(0, 6))
            )
            mask = _step(y - ridge, -0.05, 0.05)
            colour = mix(mix((96, 138, 92), b, 0.45), (196, 216, 226), 0.55 - 0.22 * k)
            picture += (colour - picture) * mask[..., None]
    elif i.backdrop == "cloth":
        wave = np.sin(x * rng.uniform(2.2, 4) + 0.8 * np.sin(y * 0.6 + rng.uniform(0, 6)) + rng.uniform(0, 6))
        picture *= (1 + 0.09 * wave)[..., None]
    picture *= (1 + 0.035 * (_noise(rng, n, n, 9, 9) + 0.5 * _noise(rng, n, n, 40, 40)))[..., None]
    glow = 1.06 + 0.10 * i.light[0] * x / 4 - 0.012 * (x * x + y * y) / 4
    return np.clip(picture * np.clip(glow, 0.6, 1.2)[..., None], 0, 255).astype(np.float32)


def _placed(width: int, height: int, camera: Camera, origin: tuple[float, float], texels_per_unit: float) -> np.ndarray:
    """Affine map (2, 3) from output pixels to a flat picture's pixels whose pixel 0 is centred on scene `origin`."""
    step = camera.view / width
    left, top = camera.x - (width - 1) / 2 * step, camera.y - (height - 1) / 2 * step
    k = texels_per_unit
    return np.array([[step * k, 0, (left - origin[0]) * k], [0, step * k, (top - origin[1]) * k]])


@lru_cache(maxsize=4)
def background(identity: Identity, width: int, height: int, camera: Camera) -> np.ndarray:
    """(H, W, 3) float32 in 0..255: the backdrop as this camera sees it, without the puppet. Shared and read-only."""
    k = (_BACKDROP_TEXELS - 1) / (2 * _BACKDROP)
    matrix = _placed(width, height, camera, (-_BACKDROP, -_BACKDROP), k)
    seen = cv2.warpAffine(
        _backdrop(identity),
        matrix,
        (width, height),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    seen.setflags(write=False)
    return seen


# ---------------------------------------------------------------------------------------------------------------------
# The drawing of one frame

_Box = tuple[int, int, int, int]  # left, top, right, bottom; right and bottom excluded
_SUPER, _SHIFT = 2, 4  # polygon masks are drawn at twice the resolution, vertices at 1/16 of a pixel of that


class _Canvas:
    """A float picture that soft polygons are laid on. Points in pixels."""

    def __init__(self, image: np.ndarray) -> None:
        self.image = image  # (H, W, 3) float32, 0..255
        self.height, self.width = image.shape[:2]
        self.shade = np.ones_like(image)  # light on the head, multiplied into what is painted on it

    def box(self, points: np.ndarray, pad: float = 2.0) -> _Box:
        left, top, width, height = cv2.boundingRect(points.astype(np.float32))
        pad = int(pad) + 1
        return (
            max(left - pad, 0),
            max(top - pad, 0),
            min(left + width + pad, self.width),
            min(top + height + pad, self.height),
        )

    def mask(self, points: np.ndarray, box: _Box, soft: float = 0.0) -> np.ndarray:
        """Cover (h, w) 0..1 of a polygon, its edge blurred by `soft` pixels."""
        left, top, right, bottom = box
        width, height = right - left, bottom - top
        # crisp edges are drawn large, blurred ones small: a wide blur at full size would cost most of the frame's time
        wide, high = (
            (width * _SUPER, height * _SUPER)
            if soft < 1
            else (int(width / max(soft / 1.5, 1)) + 1, int(height / max(soft / 1.5, 1)) + 1)
        )
        zoom = np.array([wide / width, high / height])
        drawn = np.zeros((high, wide), np.uint8)
        vertices = ((points - (left, top) + 0.5) * zoom - 0.5) * (1 << _SHIFT)
        cv2.fillPoly(drawn, [np.rint(vertices).astype(np.int32)], 255, cv2.LINE_AA, _SHIFT)
        if soft < 1:
            cover = cv2.resize(drawn, (width, height), interpolation=cv2.INTER_AREA)
            if soft > 0.25:
                cover = cv2.GaussianBlur(cover, (0, 0), soft)
        else:
            cover = cv2.GaussianBlur(drawn, (0, 0), soft * float(zoom[0]))
            if cover.shape != (height, width):
                cover = cv2.resize(cover, (width, height), interpolation=cv2.INTER_LINEAR)
        return cover.astype(np.float32) * np.float32(1 / 255)

    def blend(self, box: _Box, cover: np.ndarray, colour, lit: bool = True) -> None:
        """Lay a colour, (3,) or (h, w, 3), on the box where `cover` says."""
        left, top, right, bottom = box
        area = self.image[top:bottom, left:right]
        colour = np.asarray(colour, np.float32)
        if lit:
            colour = cv2.multiply(self.shade[top:bottom, left:right], (*colour.tolist(), 0.0))
        elif colour.ndim == 1:
            flat, colour = colour.tolist(), np.empty_like(area)
            cv2.rectangle(colour, (0, 0), (right, bottom), flat, cv2.FILLED)
        area[:] = cv2.blendLinear(colour, np.ascontiguousarray(area), cover, 1 - cover)

    def darken(self, box: _Box, cover: np.ndarray, factor) -> None:
        left, top, right, bottom = box
        factors = cv2.merge([1 - cover * np.float32(1 - f) for f in factor])
        self.image[top:bottom, left:right] *= factors

    def fill(self, points: np.ndarray, colour, *, alpha: float = 1.0, soft: float = 0.0, lit: bool = True) -> None:
        box = self.box(points, 2 + 3 * soft)
        if box[2] > box[0] and box[3] > box[1]:
            cover = self.mask(points, box, soft)
            self.blend(box, cover * np.float32(alpha) if alpha != 1 else cover, colour, lit)


def _ribbon(line: np.ndarray, half: np.ndarray | float, closed: bool = False) -> np.ndarray:
    """Polygon around a line (N, 2) with half widths (N,)."""
    if closed:
        line = np.concatenate([line, line[:1]])
    along = np.empty_like(line)
    along[1:-1] = line[2:] - line[:-2]
    along[0], along[-1] = line[1] - line[0], line[-1] - line[-2]
    if closed:
        along[0] = along[-1] = line[1] - line[-2]
    across = np.stack([-along[:, 1], along[:, 0]], 1) / (np.hypot(along[:, 0], along[:, 1])[:, None] + 1e-6)
    across = across * np.broadcast_to(half, len(line))[:, None]
    return np.concatenate([line + across, (line - across)[::-1]])


def _smooth(points: np.ndarray, times: int = 2) -> np.ndarray:
    """A closed polygon with its corners cut (Chaikin)."""
    for _ in range(times):
        following = np.roll(points, -1, axis=0)
        points = np.stack([0.75 * points + 0.25 * following, 0.25 * points + 0.75 * following], 1).reshape(
            -1, points.shape[1]
        )
    return points


def _sample(pyramid: list[np.ndarray], u: np.ndarray, v: np.ndarray, pixels_per_unit: float) -> np.ndarray:
    """Look up a stereographic texture in the level whose texels are about as large as the pixels."""
    # over the face's middle du = dx / 2, so a unit of the head is texels / (4 * _REACH) texels
    level = 0
    while level + 1 < len(pyramid) and pyramid[level].shape[0] / (4 * _REACH) > 1.2 * pixels_per_unit:
        level += 1
    texture = pyramid[level]
    k = (texture.shape[0] - 1) / (2 * _REACH)
    return cv2.remap(
        texture,
        u * np.float32(k) + np.float32(k * _REACH),
        v * np.float32(k) + np.float32(k * _REACH),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _light(normal_dot_light: np.ndarray, shadow, lit) -> np.ndarray:
    t = np.clip((normal_dot_light + np.float32(0.35)) * np.float32(1 / 1.35), 0, 1)
    return cv2.merge([np.float32(s) + np.float32(b - s) * t for s, b in zip(shadow, lit, strict=True)])


class _Painter:
    """Everything that the parts of one frame share."""

    def __init__(
        self, identity: Identity, pose: Pose, width: int, height: int, camera: Camera, grey: float | None
    ) -> None:
        self.i, self.pose, self.camera = identity, pose, camera
        self.width, self.height = width, height
        self.rotation = rotation_of(pose)
        if grey is None:
            self.canvas = _Canvas(background(identity, width, height, camera).copy())
        else:
            self.canvas = _Canvas(np.full((height, width, 3), grey, np.float32))
        self.unit = width / camera.view * pose.scale  # pixels per head unit
        self.skin = np.asarray(identity.skin, np.float32)
        self.features = features_of(identity, pose)
        parts = list(self.features.values())
        flat = np.split(self.px(np.concatenate(parts)), np.cumsum([len(part) for part in parts])[:-1])
        self.marks = dict(zip(self.features, flat, strict=True))  # the features in pixels
        self.head_outline = self.outline_of_head()
        self.cap = _cap(identity)
        self.hair_outline = self.outline_of_hair(self.cap) if self.cap else None
        self.to_light = (self.rotation.T @ np.asarray(identity.light)).astype(np.float32)  # in head axes
        self.body_shift = 0.45 * np.array([pose.shift_x + 0.25 * np.sin(pose.roll), pose.shift_y]) - (0, 0.13)

    def px(self, points: np.ndarray) -> np.ndarray:
        """Head points (N, 3) -> pixels (N, 2)."""
        return self.camera.to_pixels(place(points, self.pose, self.rotation), self.width, self.height)

    def body_px(self, points: np.ndarray) -> np.ndarray:
        """Points (N, 2) of the body's frame -> pixels."""
        angle = 0.10 * self.pose.roll
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        pivot = np.array([0.0, 2.6])
        moved = (np.asarray(points) - pivot) @ turn.T * (1 + 0.5 * (self.pose.scale - 1)) + pivot + self.body_shift
        return self.camera.to_pixels(moved, self.width, self.height)

    def view_grid(self, box: _Box) -> tuple[np.ndarray, np.ndarray]:
        """For the pixels of a box, x (1, w) and y (h, 1) of the head's view axes, relative to the pivot."""
        step, pose = self.camera.view / self.width, self.pose
        x = (np.arange(box[0], box[2]) - (self.width - 1) / 2) * step + self.camera.x - PIVOT[0] - pose.shift_x
        y = (np.arange(box[1], box[3]) - (self.height - 1) / 2) * step + self.camera.y - PIVOT[1] - pose.shift_y
        return (x / pose.scale).astype(np.float32)[None], (y / pose.scale).astype(np.float32)[:, None]

    def hit(
        self, box: _Box, axes: np.ndarray, middle: np.ndarray, tapered: bool
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
                inverse = [
                    w / np.float32(axes[0]),
                    np.where(Y > 0, np.float32(1 / chin), np.float32(1 / CROWN)),
                    w / np.float32(axes[2]),
                ]
        length = 1 / np.sqrt(X * X + Y * Y + Z * Z)
        return X * length, Y * length, Z * length

    # ------------------------------------------------------------------------------------------------ behind the head

    def hair_behind(self) -> None:
        i, cap = self.i, self.cap
        if cap is None:
            return
        dark = np.asarray(i.hair, np.float32) * 0.62
        if i.hair_style == "long":
            half = cap.axes[0]
            right = [(0.6, -0.9, -0.2), (1.0, -0.3, -0.2), (1.08, 0.5, -0.15), (1.12, 1.3, -0.1), (1.0, 1.95, -0.1)]
            right.append((0.3, 2.1, -0.1))
            shape = np.array(right + [(-x, y, z) for x, y, z in reversed(right)])
            shape = shape * (half, 1, 1)
            points = self.px(shape)
            low = shape[:, 1] > 0.9  # the lower hair lies on the back and follows the body
            rest = self.body_px(shape[:, :2])
            weight = np.clip((shape[:, 1] - 0.5) / 1.4, 0, 1)[:, None] * 0.6
            points = np.where(low[:, None], points * (1 - weight) + rest * weight, points)
            outline = _smooth(points, 3)
            self.canvas.fill(outline, dark, lit=False)
            core = outline.mean(0) + (outline - outline.mean(0)) * (0.72, 0.9)
            self.canvas.fill(core, dark * 0.72, alpha=0.7, soft=0.12 * self.unit, lit=False)
        outline = self.hair_outline
        box = self.canvas.box(outline)
        if box[2] <= box[0] or box[3] <= box[1]:
            return
        cover = self.canvas.mask(outline, box)
        x, y = self.view_grid(box)
        height = (
            x * self.rotation[0, 1] + y * self.rotation[1, 1] + (PIVOT[1] - 0.45 * self.rotation[2, 1])
        )  # head y a little behind
        cover = cover * (1 - _step(height, cap.nape - 0.05, cap.nape + 0.05)).astype(np.float32)
        self.canvas.blend(box, cover, dark, lit=False)
        if i.hair_style == "bun":
            self.ball(np.array([0.22 * i.part, -1.02, -0.25]), 0.30 + 0.05 * i.hair_volume, np.asarray(i.hair))

    def ball(self, middle: np.ndarray, radius: float, colour: np.ndarray) -> None:
        centre = self.px(middle[None])[0]
        r = radius * self.unit
        self.canvas.fill(centre + r * CIRCLE, colour * 0.7, lit=False)
        light = np.asarray(self.i.light[:2])
        self.canvas.fill(
            centre + light * r * 0.35 + 0.55 * r * CIRCLE, colour * 1.12, alpha=0.7, soft=0.25 * r, lit=False
        )

    def outline_of_head(self) -> np.ndarray:
        """Polygon (N, 2) in pixels: the head is as good as convex."""
        rim = np.abs(UNIT_SPHERE @ (self.rotation[2] / (self.i.width, 1.0, self.i.depth))) < 0.5  # the rest is inside
        points = self.px(on_head(self.i, self.pose, UNIT_SPHERE[rim]))
        return cv2.convexHull(points.astype(np.float32))[:, 0].astype(np.float64)

    def outline_of_hair(self, cap: _Cap) -> np.ndarray:
        half = self.rotation[:2] * cap.axes  # outline of an ellipsoid: sqrt(half half') times the unit circle
        root = np.linalg.cholesky(half @ half.T)
        angles = np.arange(_OUTLINE) / _OUTLINE * 2 * np.pi
        ring = np.stack([np.cos(angles), np.sin(angles)]) * cap.frizz
        # the frizz turns with the head
        turn = np.array(
            [
                [np.cos(self.pose.roll), -np.sin(self.pose.roll)],
                [np.sin(self.pose.roll), np.cos(self.pose.roll)],
            ]
        )
        return self.px(cap.middle[None]) + (root @ turn @ ring).T * self.unit

    def neck_and_body(self) -> None:
        i, canvas = self.i, self.canvas
        wide = 0.345 + 0.3 * (i.width - 0.75) + (0.05 if i.beard else 0.0)
        top = self.px(np.array([[-wide, 0.45, -0.25], [wide, 0.45, -0.25]]))
        low = self.body_px(
            np.array(
                [
                    [-wide * 1.08, 1.32],
                    [-wide * 1.45, 1.5],
                    [-0.95, 1.72],
                    [-0.8, 2.3],
                    [0.8, 2.3],
                    [0.95, 1.72],
                    [wide * 1.45, 1.5],
                    [wide * 1.08, 1.32],
                ]
            )
        )
        middle = 0.5 * (top + low[[0, -1]]) * (1, 1)
        inward = (middle.mean(0) - middle) * 0.06
        shape = _smooth(np.concatenate([top[:1], (middle + inward)[:1], low, (middle + inward)[1:], top[1:]]), 2)
        box = canvas.box(shape)
        if box[2] <= box[0] or box[3] <= box[1]:
            return
        cover = canvas.mask(shape, box)
        canvas.blend(box, cover, self.skin * 0.93, lit=False)
        axis = np.array([top.mean(0), low[[0, -1]].mean(0)])
        u = self.unit
        away = -np.sign(i.light[0]) or 1.0
        for side, colour, alpha in (
            (away, self.skin * (0.62, 0.52, 0.50), 0.55),
            (-away, self.skin * 1.06, 0.35),
        ):
            strip = _ribbon(axis + (side * wide * 0.85 * u, 0), 0.24 * wide * u)
            canvas.blend(box, cover * canvas.mask(strip, box, 0.13 * u) * np.float32(alpha), colour, lit=False)
        for side in (-1, 1):  # collar bones
            bone = self.body_px(np.array([[side * 0.12, 1.72], [side * 0.4, 1.66], [side * 0.75, 1.62]]))
            canvas.blend(
                box,
                cover * canvas.mask(_ribbon(bone, 0.02 * u), box, 0.025 * u) * np.float32(0.3),
                self.skin * 0.72,
                lit=False,
            )

        pyramid = _torso(i)
        level, k = 0, float(_TORSO_TEXELS)
        while level + 1 < len(pyramid) and k > 1.3 * self.unit:
            level, k = level + 1, k / 2
        picture = pyramid[level]
        kx, ky = picture.shape[1] / (_TORSO[2] - _TORSO[0]), picture.shape[0] / (_TORSO[3] - _TORSO[1])
        corners = np.array([[_TORSO[0], _TORSO[1]], [_TORSO[2], _TORSO[1]], [_TORSO[0], _TORSO[3]]])
        texel = (corners - corners[0]) * (kx, ky) - 0.5
        matrix = cv2.getAffineTransform(texel.astype(np.float32), self.body_px(corners).astype(np.float32))
        first = max(int(self.body_px(np.array([[-1.0, 1.2], [1.0, 1.2]]))[:, 1].min()), 0)
        if first < self.height:
            matrix[1, 2] -= first
            worn = cv2.warpAffine(
                picture,
                matrix,
                (self.width, self.height - first),
                flags=cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
            canvas.image[first:] *= 1 - worn[..., 3:]
            canvas.image[first:] += worn[..., :3]
        # the head's shadow falls on neck and clothes, away from the light
        fall = self.head_outline + np.array([-0.16 * i.light[0], 0.20]) * u
        box = canvas.box(fall, 0.3 * u)
        left, top_, right, bottom = box
        if right > left and bottom > top_:
            on = canvas.mask(shape, box)
            if bottom > first:
                start = max(first - top_, 0)
                on[start:] = np.maximum(on[start:], worn[top_ + start - first : bottom - first, left:right, 3])
            canvas.darken(box, on * canvas.mask(fall, box, 0.09 * u) * np.float32(0.8), (0.60, 0.50, 0.52))

    def ear(self, side: int, alpha: float, covered: bool) -> None:
        i = self.i
        if covered or alpha < 0.02:
            return
        centre = np.array([side * i.width * 0.965, 0.13, -0.06])
        out, up = np.array([side * 0.11, 0.0, -0.06]) * i.ear, np.array([side * 0.02, -0.215, 0.0]) * i.ear
        c, s = CIRCLE[:, :1], CIRCLE[:, 1:]
        shape = centre + out * (c + 0.15 * s * s) + up * (s * (1 - 0.12 * c) + 0.08)
        inner = centre + 0.3 * out + 0.62 * (out * c + up * s)
        lit = float(np.clip((np.array([0.75 * side, -0.1, 0.65]) @ self.to_light + 0.35) / 1.35, 0, 1))
        tone = 0.60 + 0.42 * lit
        self.canvas.fill(self.px(shape), self.skin * tone * (1.0, 0.91, 0.89), alpha=alpha, lit=False)
        self.canvas.fill(
            self.px(inner),
            self.skin * tone * (0.70, 0.54, 0.51),
            alpha=0.75 * alpha,
            soft=0.025 * self.unit,
            lit=False,
        )
        if i.earrings:
            drop = self.px((centre - 1.0 * up + 0.1 * out)[None])[0]
            r = 0.04 * self.unit
            self.canvas.fill(drop + r * CIRCLE, (214, 170, 70), alpha=alpha, lit=False)
            self.canvas.fill(drop - 0.3 * r + 0.4 * r * CIRCLE, (255, 244, 200), alpha=0.8 * alpha, lit=False)

    # ------------------------------------------------------------------------------------------------ the head itself

    def head(self) -> None:
        i, canvas, outline = self.i, self.canvas, self.head_outline
        box = canvas.box(outline)
        if box[2] <= box[0] or box[3] <= box[1]:
            return
        cover = canvas.mask(outline, box)
        axes = np.array([i.width, 0.5 * (CROWN + i.chin), i.depth])
        X, Y, Z = self.hit(box, axes, np.zeros(3), tapered=True)
        front = 1 / np.maximum(1 + Z, 0.25)
        u, v = X * front, Y * front
        albedo_levels, slope_levels = _skin(i)
        albedo = _sample(albedo_levels, u, v, self.unit)
        slope = _sample(slope_levels, u, v, self.unit)
        nx, ny, nz = X / axes[0], Y / axes[1], Z / axes[2]
        scale = 1 / np.sqrt(nx * nx + ny * ny + nz * nz)
        nx, ny, nz = nx * scale - 0.9 * slope[..., 0], ny * scale - 0.9 * slope[..., 1], nz * scale
        scale = 1 / np.sqrt(nx * nx + ny * ny + nz * nz)
        l = self.to_light  # noqa: E741
        toward = (nx * l[0] + ny * l[1] + nz * l[2]) * scale
        shade = _light(toward, (0.56, 0.46, 0.46), (1.09, 1.06, 1.03))
        f = self.rotation[2].astype(np.float32)
        facing = np.clip((nx * f[0] + ny * f[1] + nz * f[2]) * scale, 0, 1)
        dim = 0.80 + 0.20 * _step(facing, 0.0, 0.55)
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
        canvas.fill(
            np.concatenate([bridge, [wing + (away * 0.02 * u, -0.02 * u), wing + (away * 0.03 * u, -0.10 * u)]]),
            self.skin * (0.66, 0.54, 0.52),
            alpha=0.34,
            soft=0.035 * u,
        )
        canvas.fill(
            _smooth(np.concatenate([base, foot[::-1]])),
            self.skin * (0.55, 0.42, 0.40),
            alpha=0.5,
            soft=0.022 * u,
        )
        tip = bridge[3]
        r = i.nose_width * u
        canvas.fill(
            tip + (0, 0.02 * u) + 0.62 * r * CIRCLE,
            self.skin * (1.02, 0.93, 0.91),
            alpha=0.55,
            soft=0.028 * u,
        )
        for k in (0, 4):
            side = -1 if k == 0 else 1
            middle = base[k] + np.array([-side * 0.028, -0.012]) * u
            canvas.fill(middle + 0.055 * u * CIRCLE, self.skin * (0.97, 0.87, 0.85), alpha=0.6, soft=0.015 * u)
            curve = (
                base[k]
                + np.array(
                    [
                        [-0.035 * side, -0.055],
                        [0.008 * side, -0.03],
                        [0.006 * side, 0.008],
                        [-0.04 * side, 0.022],
                    ]
                )
                * u
            )
            canvas.fill(_ribbon(curve, 0.011 * u), self.skin * (0.5, 0.36, 0.34), alpha=0.5, soft=0.008 * u)
        for k in (1, 3):
            canvas.fill(
                base[k] + (0, 0.002 * u) + (0.036 * u, 0.016 * u) * CIRCLE,
                self.skin * (0.32, 0.2, 0.18),
                alpha=0.8,
                soft=0.006 * u,
            )
        glow = tip + np.array([0.25 * i.light[0], -0.25]) * 0.1 * u
        canvas.fill(glow + 0.028 * u * CIRCLE, (255, 250, 244), alpha=0.32, soft=0.018 * u)
        canvas.fill(
            _ribbon(bridge[:3] + (0.012 * np.sign(i.light[0]) * u, 0), 0.014 * u),
            (255, 246, 236),
            alpha=0.14,
            soft=0.016 * u,
        )

    def eye(self, side: int) -> None:
        i, canvas, u = self.i, self.canvas, self.unit
        name = "left" if side < 0 else "right"
        upper, lower, rest = (self.marks[f"lid_{lid}_{name}"] for lid in ("upper", "lower", "rest"))
        almond = np.concatenate([upper, lower[::-1]])
        lid = self.skin * (0.86, 0.74, 0.72)
        crease = rest + (0, -0.042 * u) + np.stack([0 * T, 0.025 * np.abs(T) ** 2 * u], 1)
        canvas.fill(_ribbon(crease, 0.010 * u * ARCH), self.skin * (0.5, 0.37, 0.35), alpha=0.55, soft=0.01 * u)
        if self.pose.blink > 0.02:
            canvas.fill(np.concatenate([rest, upper[::-1]]), lid, alpha=0.75, soft=0.012 * u)
        if self.pose.blink < 0.97:
            box = canvas.box(almond)
            if box[2] > box[0] and box[3] > box[1]:
                inside = canvas.mask(almond, box)
                canvas.blend(box, inside, (246, 243, 240))
                iris = np.asarray(i.iris, np.float32)
                disc, centre = self.marks[f"iris_{name}"], self.marks[f"pupil_centre_{name}"][0]
                canvas.blend(box, inside * canvas.mask(disc, box), iris * 0.62)
                canvas.blend(box, inside * canvas.mask(centre + 0.86 * (disc - centre), box, 0.008 * u), iris * 1.15)
                canvas.blend(
                    box,
                    inside
                    * canvas.mask(centre + 0.5 * (disc - centre) + (0, 0.03 * u), box, 0.02 * u)
                    * np.float32(0.4),
                    iris * 1.7,
                )
                canvas.blend(box, inside * canvas.mask(self.marks[f"pupil_{name}"], box), (16, 12, 14), lit=False)
                # the upper lid shades the eyeball
                shadow = np.concatenate([upper - (0, 0.05 * u), (upper + (0, 0.042 * u))[::-1]])
                canvas.darken(box, inside * canvas.mask(shadow, box, 0.016 * u), (0.62, 0.58, 0.60))
                canvas.blend(box, inside * canvas.mask(self.marks[f"glint_{name}"], box), (255, 255, 255), lit=False)
        canvas.fill(_ribbon(lower, 0.007 * u), self.skin * (0.55, 0.38, 0.36), alpha=0.55, soft=0.006 * u)
        thick = (0.013 + 0.013 * i.lashes) * u * np.clip(0.45 + 0.55 * ARCH + 0.25 * side * T, 0.15, 1.2)
        lash = upper.copy()
        if i.lashes > 0.75:  # a flick at the outer corner
            end = -1 if side > 0 else 0
            lash[end] += np.array([side * 0.03, -0.022 + 0.03 * self.pose.blink]) * u
        canvas.fill(_ribbon(lash, thick), (34, 24, 24), alpha=0.92)

    def brow(self, side: int) -> None:
        line, u = self.marks["brow_left" if side < 0 else "brow_right"], self.unit
        shape = _ribbon(line, brow_half(self.i, side) * u)
        self.canvas.fill(shape, self.i.brow_colour, alpha=0.85, soft=0.008 * u)

    def mouth(self) -> None:
        i, canvas, u = self.i, self.canvas, self.unit
        top, inner_top, inner_low, low = (
            self.marks[f"lip_{part}"] for part in ("outer_upper", "inner_upper", "inner_lower", "outer_lower")
        )
        lips = np.asarray(i.lips, np.float32)
        outer = np.concatenate([top, low[::-1]])
        # shadow under the lower lip
        canvas.fill(
            np.concatenate([low, (low + (0, 0.05 * u))[::-1]])[2:-2],
            self.skin * (0.55, 0.42, 0.40),
            alpha=0.32,
            soft=0.02 * u,
        )
        canvas.fill(np.concatenate([top, inner_top[::-1]]), lips * 0.86, soft=0.006 * u)
        canvas.fill(np.concatenate([inner_low, low[::-1]]), lips * 1.04, soft=0.006 * u)
        gape = float(np.abs(inner_low[7, 1] - inner_top[7, 1]))
        if self.pose.mouth > 0.015:
            hole = np.concatenate([inner_top, inner_low[::-1]])
            box = canvas.box(hole)
            if box[2] > box[0] and box[3] > box[1]:
                inside = canvas.mask(hole, box)
                canvas.blend(box, inside, (58, 18, 22), lit=False)
                middle = self.marks["tongue"][0]
                canvas.blend(
                    box,
                    inside * canvas.mask(middle + (0.15 * u, 0.085 * u) * CIRCLE, box, 0.02 * u),
                    (186, 82, 84),
                    lit=False,
                )
                bite = min(0.075 * u, 0.45 * gape)
                teeth = np.concatenate([inner_top[2:-2] - (0, 0.02 * u), (inner_top[2:-2] + (0, bite))[::-1]])
                canvas.blend(box, inside * canvas.mask(teeth, box, 0.005 * u), (244, 240, 232), lit=True)
                shadow = np.concatenate([inner_top - (0, 0.03 * u), (inner_top + (0, 0.02 * u))[::-1]])
                canvas.darken(box, inside * canvas.mask(shadow, box, 0.012 * u), (0.72, 0.62, 0.62))
        else:
            canvas.fill(
                _ribbon(0.5 * (inner_top + inner_low), 0.009 * u),
                lips * (0.42, 0.36, 0.38),
                alpha=0.85,
                soft=0.004 * u,
            )
        shine = 0.5 * (inner_low[4:11] + low[4:11])
        canvas.fill(_ribbon(shine, 0.012 * u), (255, 240, 236), alpha=0.22, soft=0.012 * u)
        for k, side in ((0, -1), (-1, 1)):  # corners
            corner = outer[0] if k == 0 else top[-1]
            canvas.fill(
                corner + (side * 0.012 * u, 0) + 0.018 * u * CIRCLE,
                self.skin * (0.5, 0.36, 0.34),
                alpha=0.5,
                soft=0.012 * u,
            )

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
            a, b = lens.mean(0), (lens - lens.mean(0))
            canvas.fill(
                a + np.array([-0.45, -0.5]) * np.abs(b).max(0) + 0.22 * b,
                (255, 255, 255),
                alpha=0.16,
                soft=0.02 * u,
                lit=False,
            )
            canvas.fill(_ribbon(lens, 0.016 * u, closed=True), colour, lit=False)
            hinge = curve[np.argmax(side * flat[:, 0])]
            arm = self.px(np.stack([hinge, [side * i.width * 1.0, 0.0, -0.05]]))
            if side * self.rotation[2, 0] > -0.1:
                canvas.fill(_ribbon(arm, 0.014 * u), colour * 0.9, lit=False)
        gap = i.eye_x - 0.235
        bridge = np.stack(
            [
                np.linspace(-gap, gap, 7),
                i.eye_y - 0.02 - 0.03 * (1 - np.linspace(-1, 1, 7) ** 2),
                np.full(7, z),
            ],
            1,
        )
        canvas.fill(_ribbon(self.px(bridge), 0.014 * u), colour, lit=False)

    def hair_front(self) -> None:
        i, cap, canvas, u = self.i, self.cap, self.canvas, self.unit
        if cap is None:
            return
        outline = self.hair_outline
        box = canvas.box(outline)
        if box[2] <= box[0] or box[3] <= box[1]:
            return
        X, Y, Z = self.hit(box, cap.axes, cap.middle, tapered=False)
        front = 1 / np.maximum(1 + Z, 0.25)
        sample = _sample(cap.texture, X * front, Y * front, u)
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
    camera = camera or Camera()
    painter = _Painter(identity, pose, width, height, camera, grey)
    covered = identity.hair_style in ("bob", "long")
    painter.hair_behind()
    painter.neck_and_body()
    for side in (-1, 1):
        painter.ear(side, 1.0, covered)
    painter.head()
    painter.mouth()
    for side in (-1, 1):
        painter.eye(side)
        painter.brow(side)
    painter.nose()
    for side in (-1, 1):  # the ear of the side that is turned to the viewer lies over the head
        painter.ear(side, float(_step(side * painter.rotation[2, 0], 0.02, 0.22)), covered)
    painter.spectacles()
    painter.hair_front()
    image = np.clip(painter.canvas.image + 0.5, 0, 255).astype(np.uint8)
    landmarks = landmarks_of(painter.marks).astype(np.float32)
    (x0, y0), (x1, y1) = landmarks.min(0).tolist(), landmarks.max(0).tolist()
    return Drawing(image, landmarks, (x0, y0, x1, y1), pose)
