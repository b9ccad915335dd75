"""What is painted once per identity: skin, hair, clothes, backdrop.

Head and hair textures are stereographic maps of the unit sphere seen from the front, u = X / (1 + Z), v = Y / (1 + Z):
finest over the face, and what is behind the head is what they lose. Coordinates: see `puppet_model`.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike

from fomm.model.face.motion import ramp
from preprocess.synthetic.puppet_model import CROWN, Camera, Identity, mix, taper

REACH = 1.9  # the textures cover |u|, |v| <= this
_TEXELS = 512
OUTLINE = 160  # points around the hair


def _noise(rng: np.random.Generator, height: int, width: int, cells_y: int, cells_x: int) -> np.ndarray:
    """Smooth noise (height, width), about -1..1."""
    coarse = rng.uniform(-1, 1, (cells_y + 3, cells_x + 3)).astype(np.float32)
    size = width + 3 * width // cells_x + 1, height + 3 * height // cells_y + 1
    return cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)[:height, :width]


def _tint(picture: np.ndarray, colour: ArrayLike, amount: np.ndarray) -> None:
    """Bring a picture (H, W, 3) nearer to a colour, in place, as far as `amount` (H, W), cut to 0..1, says."""
    picture += (np.asarray(colour, np.float32) - picture) * np.clip(amount, 0, 1)[..., None].astype(np.float32)


def _bump(x: np.ndarray, y: np.ndarray, cx: float | np.ndarray, cy: float, sx: float, sy: float) -> np.ndarray:
    return np.exp(-(((x - cx) / sx) ** 2) - ((y - cy) / sy) ** 2)


def _texture_sphere(texels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    u = np.linspace(-REACH, REACH, texels, dtype=np.float32)[None]
    v = u.T
    s = u * u + v * v
    return 2 * u / (1 + s), 2 * v / (1 + s), (1 - s) / (1 + s)


def _mips(texture: np.ndarray) -> list[np.ndarray]:
    levels = [np.ascontiguousarray(texture, np.float32)]
    while levels[-1].shape[0] > 64:
        levels.append(cv2.resize(levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    return levels


def _relief(identity: Identity, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Height of the face over the plain ellipsoid at front-view points: only its slope is used, to shade."""
    i = identity
    tip = i.eye_y + i.nose_length
    h: np.ndarray = np.zeros((), x.dtype)
    for side in (-1, 1):
        h = h - 0.075 * _bump(x, y, side * i.eye_x, i.eye_y, 0.21, 0.14)  # sockets
        h = h + 0.030 * _bump(x, y, side * (i.eye_x + 0.02), i.eye_y - i.brow_height, 0.26, 0.08)  # brow ridge
        h = h + 0.055 * _bump(x, y, side * 0.42, i.eye_y + 0.32, 0.2, 0.17)  # cheekbones
        h = h - 0.014 * _bump(x, y, side * (0.3 + 0.1 * (y - 0.5)), 0.52, 0.04, 0.14)  # folds
    ridge = 0.055 + 0.05 * ramp(y, i.eye_y, tip)
    along = ramp(y, i.eye_y - 0.18, i.eye_y)
    nose = (0.03 + 0.11 * ramp(y, i.eye_y - 0.1, tip)) * np.exp(-((x / ridge) ** 2)) * along
    h = h + nose * (1 - ramp(y, tip, tip + 0.09))
    h = h + 0.05 * _bump(x, y, 0, i.mouth_y, 0.3, 0.17)
    h = h - 0.035 * _bump(x, y, 0, i.mouth_y + 0.15, 0.16, 0.045) + 0.06 * _bump(x, y, 0, 0.9, 0.17, 0.12)
    return h - 0.02 * _bump(x, y, 0, i.mouth_y - 0.1, 0.03, 0.06)


@lru_cache(maxsize=8)
def paint_skin(identity: Identity) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Pyramids of albedo (N, N, 3), RGB 0..255, and of slope (N, N, 2) along head x and y."""
    i = identity
    rng = np.random.default_rng([i.seed, 0x5C])
    X, Y, Z = _texture_sphere(_TEXELS)
    x, y = X * i.width * taper(i, Y), Y * np.where(Y > 0, i.chin, CROWN)
    skin = np.asarray(i.skin, np.float32)
    albedo = np.broadcast_to(skin, (*x.shape, 3)).copy()
    blotch = _noise(rng, _TEXELS, _TEXELS, 24, 24) * 0.6 + _noise(rng, _TEXELS, _TEXELS, 90, 90) * 0.4
    albedo *= 1 + 0.018 * blotch[..., None]
    tint = partial(_tint, albedo)
    front = ramp(Z, -0.1, 0.35)
    red = skin * (1.02, 0.66, 0.66)
    for side in (-1, 1):
        tint(red, 0.55 * i.blush * front * _bump(x, y, side * 0.42, i.eye_y + 0.36, 0.2, 0.15))
        tint(skin * 0.72, 0.30 * front * _bump(x, y, side * i.eye_x, i.eye_y - 0.05, 0.2, 0.11))
    tint(red, 0.25 * i.blush * front * _bump(x, y, 0, i.eye_y + i.nose_length, 0.1, 0.08))
    if i.freckles:
        tint(skin * (0.74, 0.58, 0.5), _freckles(i, rng) * front)
    if i.beard:
        grain = 0.9 + 0.12 * _noise(rng, _TEXELS, _TEXELS, 160, 160)
        tint(np.asarray(i.brow_colour) * 0.95, front * _beard(i, x, y) * grain)

    small = _TEXELS // 2
    X, Y, Z = _texture_sphere(small)
    x, y = X * i.width * taper(i, Y), Y * np.where(Y > 0, i.chin, CROWN)
    e = 0.012
    rise = _relief(i, x + e, y) - _relief(i, x - e, y), _relief(i, x, y + e) - _relief(i, x, y - e)
    slope = np.stack(rise, -1) / (2 * e) * ramp(Z, 0.0, 0.4)[..., None]
    return _mips(albedo), _mips(slope)


def _freckles(i: Identity, rng: np.random.Generator) -> np.ndarray:
    """(N, N) 0..1."""
    spots = np.zeros((_TEXELS, _TEXELS), np.float32)
    for _ in range(70):
        x, y = (rng.normal([0, i.eye_y + 0.27], [0.27, 0.085]) / (2, 2) + REACH) * (_TEXELS / (2 * REACH))
        radius, strength = int(16 * rng.uniform(0.7, 1.5)), rng.uniform(0.3, 0.8)
        cv2.circle(spots, (int(16 * x), int(16 * y)), radius, strength, -1, cv2.LINE_AA, 4)
    return cv2.GaussianBlur(spots, (0, 0), 0.8)


def _beard(i: Identity, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(N, N) 0..1, how much of the skin it covers."""
    ax, above = np.abs(x), i.mouth_y - 0.11
    moustache = ramp(y, above - 0.06, above - 0.01) * (1 - ramp(ax, 0.22, 0.32))
    moustache = moustache * (1 - ramp(y, i.mouth_y, i.mouth_y + 0.06))
    if i.beard == "moustache":
        return 0.93 * moustache
    if i.beard == "goatee":
        chin = (1 - ramp(ax, 0.24, 0.34)) * ramp(y, i.mouth_y - 0.06, i.mouth_y + 0.04)
        return 0.9 * np.maximum(moustache, chin)
    line = i.mouth_y - 0.2 - 0.75 * (ax - 0.42)
    cheek = ramp(y, line - 0.06, line + 0.06)
    chin = ramp(y, i.mouth_y + 0.02, i.mouth_y + 0.14) * ramp(y, 0, 0.3)
    full = np.maximum(cheek * ramp(ax, 0.12, 0.24) * ramp(y, above - 0.06, above), chin)
    full = np.maximum(np.maximum(full, moustache), cheek * ramp(ax, 0.2, 0.32))
    return {"stubble": 0.32, "full": 0.93}[i.beard] * full


class Hair(NamedTuple):
    """An ellipsoid over the head's, with a texture."""

    axes: np.ndarray  # (3,) of the hair's ellipsoid
    middle: np.ndarray  # (3,) in head coordinates
    nape: float  # head y where the hair behind the head ends
    texture: list[np.ndarray]  # pyramid of (N, N, 4): RGB 0..255 and cover 0..1
    frizz: np.ndarray  # (OUTLINE,) factor on the outline's radius, by angle


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
def paint_hair(identity: Identity) -> Hair | None:
    """The hair of an identity; None of a bald one."""
    i, buzz = identity, identity.hair_style == "buzz"
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
    parts = i.hair_style in ("parted", "swept", "long", "bob")
    if parts:  # higher where the hair parts, lower where it falls
        fall = 0.16 * np.tanh(3 * (azimuth - 0.45 * i.part) * -np.sign(i.part or 1)) - 0.02
        edge = edge + near * fall * (0.9 if i.hair_style != "swept" else 0.55)
    strand_u = np.arctan2(X - 0.25 * i.part * parts, np.maximum(y + 1.35, 0.02) + 0.25 * np.clip(-Z, 0, 1))
    grain = np.random.default_rng([i.seed, 0xCB]).uniform(-1, 1, (4, 400)).astype(np.float32)
    position = (strand_u / np.pi + 0.5) * 260 + 1.5 * _noise(rng, _TEXELS, _TEXELS, 6, 6)
    octaves = zip((0.5, 0.35, 0.25), (0.16, 0.4, 1.0), grain, strict=False)
    fine = sum(w * np.interp(position * f, np.arange(400), g) for w, f, g in octaves)
    if i.hair_style == "curly":
        fine = 0.8 * _noise(rng, _TEXELS, _TEXELS, 34, 34) + 0.4 * _noise(rng, _TEXELS, _TEXELS, 70, 70)
        edge = edge + 0.05 * _noise(rng, _TEXELS, _TEXELS, 30, 30)
    elif buzz:
        fine = 0.35 * _noise(rng, _TEXELS, _TEXELS, 120, 120)
    else:
        edge = edge + 0.028 * np.interp(position * 0.3, np.arange(400), grain[3])
    soft = 0.06 if buzz else 0.022
    cover = ramp(edge - y, -soft, soft) * (0.82 if buzz else 1.0)
    # under the chin the ellipsoid's rim would show as a thread across the neck
    cover = cover * (1 - ramp(y, 0.55, 0.75) * (1 - ramp(np.abs(X) * axes[0], 0.36, 0.5)))
    # hair lies thicker away from its edge: a little darker just at the hairline, then lighter
    depth = 0.80 + 0.20 * ramp(edge - y, 0.0, 0.16)
    colour = np.asarray(i.hair, np.float32) * (depth * (1 + (0.1 if buzz else 0.16) * fine))[..., None]
    angles = np.arange(OUTLINE) / OUTLINE * 2 * np.pi
    frizz = np.ones(OUTLINE)
    if i.hair_style == "curly":
        lobes = np.abs(np.sin(8 * angles + 0.8 * np.sin(3 * angles + rng.uniform(0, 6)) + rng.uniform(0, 6)))
        curls = np.abs(np.sin(21 * angles + 1.5 * np.sin(5 * angles + rng.uniform(0, 6))))
        frizz += 0.03 * lobes + 0.012 * curls - 0.02
    return Hair(axes, middle, nape, _mips(np.concatenate([colour, cover[..., None]], -1)), frizz)


TORSO = (-2.6, 0.95, 2.6, 4.75)  # scene rectangle of the torso's picture, in the body's frame
TORSO_TEXELS = 128  # per scene unit
# half width, depth and how round
_NECKLINES = {"crew": (0.47, 0.30, 2.2), "stripes": (0.56, 0.30, 2.2), "hoodie": (0.46, 0.26, 2.2),
              "shirt": (0.33, 0.46, 1.0), "vneck": (0.43, 0.72, 1.15)}  # fmt: skip


@lru_cache(maxsize=8)
def paint_torso(identity: Identity) -> list[np.ndarray]:
    """Pyramid of the clothed shoulders (N, M, 4): RGB 0..255 times cover, and cover 0..1."""
    i = identity
    rng = np.random.default_rng([i.seed, 0x70])
    left, top, right, bottom = TORSO
    width, height = round((right - left) * TORSO_TEXELS), round((bottom - top) * TORSO_TEXELS)
    x = np.linspace(left, right, width, dtype=np.float32)[None]
    y = np.linspace(top, bottom, height, dtype=np.float32)[:, None]
    ax = np.abs(x)
    shoulder = 1.42 + 0.34 * (ax / i.shoulders) ** 1.6 + 1.6 * np.clip(ax / i.shoulders - 0.78, 0, 9) ** 2 * 4
    cover = ramp(y - shoulder, -0.012, 0.012)
    wide, deep, pointed = _NECKLINES[i.top]
    hole = 1.38 + deep * np.clip(1 - (ax / wide) ** pointed, -1, 1)  # y of the neckline
    cover = cover * np.where(ax < wide, ramp(y - hole, -0.012, 0.012), 1)
    base = np.broadcast_to(np.asarray(i.top_colour, np.float32), (height, width, 3)).copy()
    accent = np.asarray(i.top_accent, np.float32)
    tint = partial(_tint, base)
    if i.top == "stripes":
        wave = np.sin((y + 0.06 * x * x) * 2 * np.pi / 0.3)
        tint(accent, ramp(wave, 0.1, 0.25) * np.ones_like(x))
    rim = np.where(ax < wide + 0.1, ramp(hole + 0.075 - y, -0.012, 0.012), 0)
    if i.top in ("crew", "vneck", "stripes"):
        tint(np.asarray(i.top_colour) * 0.72, rim * 0.8)
    if i.top == "hoodie":
        hood = ramp(0.30 - np.abs(np.hypot(x / 0.95, (y - 1.45) / 0.62) - 0.72), 0, 0.05) * ramp(2.3 - y, 0, 0.1)
        tint(np.asarray(i.top_colour) * 1.18, 0.55 * hood)
        for side in (-1, 1):
            cord = np.abs(x - side * (0.2 - 0.04 * (y - 1.7))) < 0.022
            tint(accent, cord * ramp(y, 1.72, 1.74) * (1 - ramp(y, 2.3, 2.32)))
    if i.top == "shirt":
        collar = ramp(0.24 - np.abs(ax - 0.30 - 0.25 * (1.75 - y)), 0, 0.02) * ramp(y, 1.3, 1.34)
        collar = collar * (1 - ramp(y + 0.9 * (ax - 0.2), 1.93, 1.95))
        tint(accent, collar)
        edge = collar - cv2.erode(collar.astype(np.float32), np.ones((5, 5)))
        tint(accent * 0.6, edge * 0.8)
        tint(np.asarray(i.top_colour) * 0.75, (np.abs(x - 0.03) < 0.012) * ramp(y, 1.85, 1.9))
        for k in range(6):
            tint(accent, 1 - ramp(np.hypot(x + 0.02, y - 2.05 - 0.36 * k), 0.026, 0.036))
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
    picture = a + (b - a) * ramp(y * np.cos(turn) + x * np.sin(turn), -3.2, 3.2)[..., None]

    def disc(cx: float, cy: float, r: float, colour: ArrayLike, alpha: float, soft: float) -> None:
        (left, top), (right, bottom) = (np.searchsorted(axis, (cx + end, cy + end)) for end in (-r - soft, r + soft))
        distance = np.hypot(x[:, left:right] - cx, y[top:bottom] - cy)  # beyond the mask is 0
        _tint(picture[top:bottom, left:right], colour, (1 - ramp(distance, r - soft, r + soft)) * alpha)

    def block(x0: float, y0: float, x1: float, y1: float, colour: ArrayLike, alpha: float, soft: float) -> None:
        across = ramp(x, x0 - soft, x0 + soft) * (1 - ramp(x, x1 - soft, x1 + soft))
        mask = across * ramp(y, y0 - soft, y0 + soft) * (1 - ramp(y, y1 - soft, y1 + soft))
        _tint(picture, colour, alpha * mask)

    if i.backdrop == "bokeh":
        for _ in range(55):
            warm = mix(a, (255, 236, 190), rng.uniform(0.2, 0.8))
            cx, cy = rng.uniform(-6.5, 6.5, 2)
            disc(cx, cy, rng.uniform(0.12, 0.5), warm, rng.uniform(0.08, 0.4), 0.06)
    elif i.backdrop == "room":
        picture[:] = mix(a, (236, 228, 214), 0.55) * (1 - 0.04 * np.abs(x))[..., None]
        for left in (-6.2, -2.9, 1.6, 4.6):
            width, low = rng.uniform(1.1, 1.9), rng.uniform(-1.9, -1.1)
            colour = mix(b, (250, 246, 228), 0.75 if rng.random() < 0.5 else 0.1)
            block(left, low, left + width, low + rng.uniform(1.5, 2.4), colour * 0.72, 0.9, 0.05)
            block(left + 0.1, low + 0.1, left + width - 0.1, low + 1.3, colour, 0.9, 0.06)
        block(-9, 1.7, 9, 9, mix(b, (70, 54, 44), 0.6), 1.0, 0.08)
    elif i.backdrop == "hills":
        picture[:] = mix(a, (200, 226, 250), 0.7) + (np.array([30, 18, -8], np.float32) * ramp(y, -3, 1.2)[..., None])
        for k, level in enumerate((0.1, 0.7, 1.3)):
            ridge = level + 0.4 * np.sin(x * rng.uniform(0.5, 1.1) + rng.uniform(0, 6))
            ridge = ridge + 0.15 * np.sin(x * 2.3 + rng.uniform(0, 6))
            colour = mix(mix((96, 138, 92), b, 0.45), (196, 216, 226), 0.55 - 0.22 * k)
            _tint(picture, colour, ramp(y - ridge, -0.05, 0.05))
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
    how, size = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, (width, height)
    seen = cv2.warpAffine(_backdrop(identity), matrix, size, flags=how, borderMode=cv2.BORDER_REFLECT_101)
    seen.setflags(write=False)
    return seen
