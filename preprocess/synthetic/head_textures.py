"""What is painted once per head: its skin on the chart of `face_mesh`, its irises and its teeth.

Where on the chart lips, brows, folds, beard and wrinkles lie is the same for all heads, since their landmarks are:
`_Places` marks it once. Colours are RGB 0..255, marks 0..1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, reduce
from typing import NamedTuple

import cv2
import numpy as np

from preprocess.synthetic.canvas import SHIFT, fixed
from preprocess.synthetic.face_mesh import (
    BROW,
    CHART,
    CHART_HEIGHT,
    CHART_WIDTH,
    LOWER_LID,
    LOWER_LIP,
    UPPER_LID,
    UPPER_LIP,
)
from preprocess.synthetic.heads import Head


def _noise(rng: np.random.Generator, cells: int, height: int = CHART_HEIGHT, width: int = CHART_WIDTH) -> np.ndarray:
    """Smooth noise (height, width), about -1..1, of `cells` across the height."""
    coarse = rng.uniform(-1.4, 1.4, (cells, max(cells * width // height, 2))).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def _area(points: np.ndarray, soft: float) -> np.ndarray:
    mask = np.zeros((CHART_HEIGHT, CHART_WIDTH), np.uint8)
    cv2.fillPoly(mask, [fixed(points)], 255, cv2.LINE_AA, SHIFT)
    return cv2.GaussianBlur(mask, (0, 0), soft).astype(np.float32) / 255


def _line(points: np.ndarray, thick: float, soft: float, fade: bool = True) -> np.ndarray:
    """A line that thins out at its ends; its middle is about 1."""
    t = np.linspace(0, len(points) - 1, 8 * len(points))
    fine = np.stack([np.interp(t, np.arange(len(points)), points[:, k]) for k in (0, 1)], 1)
    kernel = np.hanning(9) / np.hanning(9).sum()
    fine = np.stack([np.convolve(np.pad(fine[:, k], 4, mode="edge"), kernel, "valid") for k in (0, 1)], 1)
    mask = np.zeros((CHART_HEIGHT, CHART_WIDTH), np.float32)
    for a, b, place in zip(fine[:-1], fine[1:], np.linspace(0, 1, len(fine) - 1), strict=True):
        level = np.sin(np.pi * place) ** 0.6 if fade else 1.0
        left, top = np.maximum(np.minimum(a, b) - thick - 3, 0).astype(int)
        right, low = (np.maximum(a, b) + thick + 4).astype(int)
        piece = np.zeros((low - top, right - left), np.uint8)
        start, end = fixed(a - (left, top)), fixed(b - (left, top))
        cv2.line(piece, start, end, int(255 * level), max(round(thick), 1), cv2.LINE_AA, SHIFT)
        target = mask[top:low, left:right]
        np.maximum(target, piece[: target.shape[0], : target.shape[1]], out=target)
    mask = cv2.GaussianBlur(mask, (0, 0), soft)
    return mask / max(float(mask.max()), 1e-6)


def _sum(marks: Iterable[np.ndarray]) -> np.ndarray:
    return reduce(np.add, marks)


def _spot(centre: np.ndarray, sx: float, sy: float) -> np.ndarray:
    x = np.arange(CHART_WIDTH, dtype=np.float32)[None] - centre[0]
    y = np.arange(CHART_HEIGHT, dtype=np.float32)[:, None] - centre[1]
    return np.exp(-0.5 * ((x / sx) ** 2 + (y / sy) ** 2))


GOATEE = (
    *(57, 43, 106, 182, 83, 18, 313, 406, 335, 273, 287, 432),
    *(422, 424, 431, 262, 428, 199, 208, 32, 211, 204, 202, 212),
)
"""Landmarks around it, clockwise."""


def _at(*numbers: int) -> np.ndarray:
    return CHART[list(numbers)]


def _both(left: list[int], right: list[int], thick: float, soft: float) -> np.ndarray:
    return np.maximum(_line(_at(*left), thick, soft), _line(_at(*right), thick, soft))


def _between(one: np.ndarray, other: np.ndarray, soft: float) -> np.ndarray:
    """The area between two lines (N, 2) that run the same way."""
    return _area(np.concatenate([one, other[::-1]]), soft)


class _Places:
    """Marks (512, 640) on the chart, 0..1."""

    def __init__(self) -> None:
        self._mark_lips()
        self._mark_eyes()
        self._mark_middle()
        self._mark_beard()
        self._mark_wrinkles()

    def _mark_lips(self) -> None:
        upper, lower = _at(*UPPER_LIP[3]), _at(*LOWER_LIP[3])
        inner_upper, inner_lower = _at(*UPPER_LIP[0]), _at(*LOWER_LIP[0])
        self.lip_upper = _between(upper, (inner_upper + inner_lower) / 2, 1.4)
        self.lips = np.maximum(_between(upper, lower, 1.4), self.lip_upper)
        # the edge of their red, and their inner side, which an open mouth shows
        self.lip_rim = np.maximum(_line(upper, 1, 1.0, False), _line(lower, 1, 1.0, False))
        self.lip_wet = np.maximum(_line(inner_upper, 3, 2.0, False), _line(inner_lower, 3, 2.0, False))
        # under the lower lip, and the groove above the upper one
        philtrum = np.stack([_at(0)[0] + (0, -3), (_at(0)[0] + _at(2)[0]) / 2, _at(2)[0] + (0, 3)])
        self.lip_shadow = np.maximum(_line(lower[2:-2] + (0, 9), 5, 4.0), 0.35 * _line(philtrum, 3, 2.5))
        self.corners = _sum(_spot(_at(k)[0], 5, 4) for k in (61, 291))

    def _mark_eyes(self) -> None:
        ring = {-1: [130, 247, 30, 29, 27, 28, 56, 190, 243], 1: [359, 467, 260, 259, 257, 258, 286, 414, 463]}
        # between the eye and its crease
        self.lids = np.maximum(*(_between(_at(*UPPER_LID[s]), _at(*ring[s]), 3.5) for s in (-1, 1)))
        self.liner = np.maximum(*(_line(_at(*UPPER_LID[s][:-1]), 2, 0.9, False) for s in (-1, 1)))
        water = np.maximum(*(_line(_at(*LOWER_LID[s][1:-1]), 1, 0.9, False) for s in (-1, 1)))
        self.waterline = np.maximum(water, _sum(_spot(_at(k)[0], 3, 2.5) for k in (133, 362)))
        self.crease_left, self.crease_right = (_line(_at(*ring[s][1:-1]), 2, 1.4) for s in (-1, 1))
        self.sockets = _sum(_spot(_at(a, b).mean(0) + (0, -8), 34, 17) for a, b in ((33, 133), (263, 362)))
        self.bags = _both([110, 24, 23, 22, 26], [339, 254, 253, 252, 256], 3, 3.5)
        brows = []
        for low, high in ((_at(*BROW[s][0]), _at(*BROW[s][1])) for s in (-1, 1)):
            brows.append(_between(low, high, 2.0) * np.clip(1.5 * _line((low + high) / 2, 9, 4.0), 0, 1))
        self.brows = np.minimum(_sum(brows), 1)

    def _mark_middle(self) -> None:
        self.blush = _sum(_spot(_at(k)[0], 30, 22) for k in (50, 280))
        self.nose_red = _spot(_at(4)[0] + (0, 4), 16, 11) + 0.6 * _sum(_spot(_at(k)[0], 8, 8) for k in (64, 294))
        self.nostrils = _sum(_spot(_at(a, b).mean(0), 6.0, 2.6) for a, b in ((238, 99), (458, 328)))
        self.nose_edge = _both([49, 64, 98], [279, 294, 327], 2, 1.8)

    def _mark_beard(self) -> None:
        y, x = np.mgrid[:CHART_HEIGHT, :CHART_WIDTH].astype(np.float32)
        middle, ear, mouth = CHART_WIDTH / 2, _at(234)[0], _at(61)[0]
        heights = [mouth[1] + 30, mouth[1] - 18, ear[1] - 20]
        cheek_line = np.interp(np.abs(x - middle), [0, middle - mouth[0], middle - ear[0]], heights)
        beard = 1 / (1 + np.exp(-np.clip((y - cheek_line) / 6, -20, 20)))
        nose = _at(287, 410, 322, 391, 393, 164, 167, 165, 92, 186, 57)
        moustache = _area(np.concatenate([_at(*UPPER_LIP[3]), nose]), 3)
        beard = np.maximum(beard * (1 - _spot(mouth * (0, 1) + (middle, 26), 16, 7) * 0.6), moustache)
        goatee = np.maximum(moustache, _area(_at(*GOATEE), 5))
        skin_only = np.clip(1 - 1.5 * cv2.GaussianBlur(self.lips, (0, 0), 2.0), 0, 1)
        self.beard, self.moustache, self.goatee = (mark * skin_only for mark in (beard, moustache, goatee))

    def _mark_wrinkles(self) -> None:
        """The lines that expressions deepen."""
        self.nasolabial = _both([129, 203, 206, 216, 212], [358, 423, 426, 436, 432], 3, 4.5)
        high = _line(_at(104, 69, 108, 151, 337, 299, 333) + (0, 6), 2, 2.6)
        low = _line(_at(105, 66, 107, 9, 336, 296, 334) + (0, -14), 2, 2.6)
        self.forehead = np.minimum(high + low + _line(_at(103, 67, 109, 10, 338, 297, 332) + (0, 12), 2, 2.6), 1)
        left, right = (_line(np.stack([_at(9)[0] + (s * 9, 4), _at(8)[0] + (s * 7, 8)]), 3, 3.5) for s in (-1, 1))
        self.frown = np.minimum(left + right, 1)
        self.crow = np.zeros_like(self.lips)
        for s, corner in ((-1, 33), (1, 263)):
            for angle in (-0.5, -0.1, 0.3):
                start = _at(corner)[0] + np.array([s * 10, 26 * np.sin(angle) * 0.4])
                end = start + 22 * np.array([s * np.cos(angle), np.sin(angle)])
                self.crow = np.maximum(self.crow, _line(np.stack([start, end]), 2, 2.2))
        self.chin_crease = _both([57, 202, 210], [287, 422, 430], 3, 4.5)


_places = lru_cache(maxsize=1)(_Places)

WRINKLES = ("nasolabial", "forehead", "frown", "crow", "chin_crease", "bags", "crease_left", "crease_right")


@lru_cache(maxsize=4)
def wrinkles(level: int = 0) -> np.ndarray:
    """(8, 512, 640) float32: how much each of `WRINKLES`, as deep as it gets, darkens the skin, -1..1 (lit beside it).

    Halved `level` times.
    """
    if level:
        return np.stack([halved(mark) for mark in wrinkles(level - 1)])
    marks = (getattr(_places(), name) for name in WRINKLES)
    return np.stack([mark - 0.4 * np.roll(mark, 6, axis=0) for mark in marks]).astype(np.float32)


def halved(picture: np.ndarray) -> np.ndarray:
    """A picture (H, W, ...) at half the resolution."""
    return cv2.resize(picture, (picture.shape[1] // 2, picture.shape[0] // 2), interpolation=cv2.INTER_AREA)


def _hairs(rng: np.random.Generator, where: np.ndarray, count: int, length: float, angle: Callable) -> np.ndarray:
    """Short strokes (512, 640) 0..1 on the chart, as dense as `where` says; angle(x, y) is their direction."""
    ys, xs = np.nonzero(where > 0.05)
    if len(xs) == 0:
        return np.zeros_like(where)
    chance = where[ys, xs]
    picked = rng.choice(len(xs), count, p=chance / chance.sum())
    start = np.stack([xs[picked], ys[picked]], 1) + rng.uniform(-0.5, 0.5, (count, 2))
    turn = angle(start[:, 0], start[:, 1]) + rng.normal(0, 0.22, count)
    size = length * rng.uniform(0.6, 1.3, count)
    end = start + size[:, None] * np.stack([np.cos(turn), np.sin(turn)], 1)
    mask = np.zeros(where.shape, np.uint8)
    lines = fixed(np.stack([start, end], 1))
    for level in (255, 200, 150):
        cv2.polylines(mask, list(lines[: len(lines) // 3]), False, level, 1, cv2.LINE_AA, SHIFT)
        lines = lines[len(lines) // 3 :]
    return mask.astype(np.float32) / 255


LEVELS = 4  # of the chart, each half as fine as the one before


class Skin(NamedTuple):
    """Painted skin on the chart, in `LEVELS` resolutions."""

    albedo: list[np.ndarray]  # (512, 640, 3) float32 and smaller
    gloss: list[np.ndarray]  # (512, 640) float32, 0..1.4, and smaller


@lru_cache(maxsize=4)
def paint_face(head: Head) -> Skin:
    """The skin of a head, everything on it that moves with it: lips, brows, beard, make-up, spots, folds at rest."""
    at, rng = _places(), np.random.default_rng([head.seed, 0xFACE])
    paint = _Paint(head, rng)
    _paint_complexion(paint, head, at, rng)
    lines = _paint_lips(paint, head, at, rng)
    _paint_lids(paint, head, at)
    _paint_brows(paint, head, at, rng)
    on_lips = (0.9 * at.lips + 0.5 * at.lip_wet) * (1 - 0.25 * np.minimum(lines, 2))
    gloss = 0.25 + 0.5 * at.nose_red + 0.3 * at.sockets + on_lips + 0.5 * at.waterline
    gloss = np.clip(gloss * (1 + 0.35 * paint.fine), 0, 1.4)
    if head.beard_growth > 0:
        area = {"full": at.beard, "goatee": at.goatee, "moustache": at.moustache}[head.beard_style]
        _paint_beard(paint, head, area, rng)
        if head.beard_growth > 0.4:
            gloss = gloss * (1 - 0.7 * area)
    levels = Skin([np.clip(paint.albedo, 2, 255)], [gloss.astype(np.float32)])
    for _ in range(LEVELS - 1):
        levels.albedo.append(halved(levels.albedo[-1]))
        levels.gloss.append(halved(levels.gloss[-1]))
    return levels


class _Paint:
    """The colours of a head's skin on the chart, (512, 640, 3) float32, and how one paints on them."""

    def __init__(self, head: Head, rng: np.random.Generator) -> None:
        self.mottle = 0.6 * _noise(rng, 22) + 0.4 * _noise(rng, 70)
        fine = rng.normal(0, 1, (CHART_HEIGHT, CHART_WIDTH)).astype(np.float32)
        self.fine = fine - cv2.GaussianBlur(fine, (0, 0), 1.6)
        tone = 1 + (0.02 + 0.02 * head.blemish) * self.mottle + (0.008 + 0.016 * head.blemish) * self.fine
        self.albedo = np.empty((CHART_HEIGHT, CHART_WIDTH, 3), np.float32)
        self.albedo[:] = np.asarray(head.skin, np.float32)
        self.albedo *= tone[..., None]

    def tint(self, colour: Sequence[float] | np.ndarray, amount: np.ndarray) -> None:
        weight = np.clip(amount, 0, 1)
        for k in range(3):
            channel = self.albedo[..., k]
            channel += (np.float32(colour[k]) - channel) * weight

    def darken(self, factor: Sequence[float] | np.ndarray, amount: np.ndarray) -> None:
        for k in range(3):
            self.albedo[..., k] *= 1 - (1 - factor[k]) * np.clip(amount, 0, 1)


def _paint_complexion(paint: _Paint, head: Head, at: _Places, rng: np.random.Generator) -> None:
    """Flush, spots, and what lies in the shade of nose, lips and eyes."""
    skin = np.asarray(head.skin, np.float32)
    statue = head.finish == "statue"
    dark = 1 - float(skin.mean()) / 255
    red = skin * (1.02, 0.70, 0.68) if not statue else skin
    flush = float(rng.uniform(0.1, 0.55)) * (1 - 0.5 * dark)
    paint.tint(red, flush * (0.6 * at.blush * (1 + 0.4 * paint.mottle) + 0.55 * at.nose_red))
    if head.blemish > 0.35 and not statue:
        spots = np.zeros(paint.albedo.shape[:2], np.uint8)
        for _ in range(int(60 * head.blemish)):
            where = fixed(rng.uniform((120, 140), (520, 440)))
            cv2.circle(spots, where, int(16 * rng.uniform(0.5, 1.8)), int(rng.uniform(40, 160)), -1, cv2.LINE_AA, SHIFT)
        colour = skin * ((0.72, 0.56, 0.5) if rng.random() < 0.5 else (0.95, 0.62, 0.6))
        paint.tint(colour, cv2.GaussianBlur(spots, (0, 0), 1.2).astype(np.float32) / 255 * 0.8)
    soft = (0.80, 0.70, 0.70) if not statue else (0.82, 0.82, 0.82)
    hard = (0.42, 0.30, 0.28) if not statue else (0.5, 0.5, 0.5)
    paint.darken(soft, (0.35 + 0.5 * rng.random()) * at.sockets + 0.5 * (0.3 + head.age) * at.bags)
    paint.darken(soft, 0.9 * at.lip_shadow)
    paint.darken(hard, 0.95 * at.nostrils)
    paint.darken(hard, 0.35 * at.nose_edge + 0.30 * at.corners)


def _paint_lips(paint: _Paint, head: Head, at: _Places, rng: np.random.Generator) -> np.ndarray:
    """Lips with fine upright lines, darker towards the opening and at the corners.

    Returns: the lines (512, 640), >= 0: gloss breaks on them.
    """
    lips = np.asarray(head.lips, np.float32)
    coarse = rng.normal(0, 1, (6, 200)).astype(np.float32)
    lines = np.abs(cv2.resize(coarse, (CHART_WIDTH, CHART_HEIGHT), interpolation=cv2.INTER_LINEAR))
    shade = 1 - 0.07 * np.minimum(lines, 2.5) + 0.05 * paint.mottle
    border = float(rng.uniform(0.75, 1.0))  # how clearly the lips stand out from the skin
    weight = at.lips * border
    for k in range(3):
        channel = paint.albedo[..., k]
        channel += (lips[k] * shade * (1 - 0.14 * at.lip_upper) - channel) * weight
    paint.tint(lips * ((0.80, 0.62, 0.62) if head.finish != "statue" else (0.85, 0.85, 0.85)), 0.65 * at.lip_wet)
    paint.tint(np.minimum(np.asarray(head.skin, np.float32) * 1.06, 255), 0.25 * at.lip_rim * (1 - at.lips))
    return lines


def _paint_lids(paint: _Paint, head: Head, at: _Places) -> None:
    """The lids' rims, and make-up."""
    if head.finish != "statue":
        pink = 0.45 * np.asarray(head.skin, np.float32) + 0.55 * np.array([214, 130, 122], np.float32)
        paint.tint(pink, 0.55 * at.waterline)
    shadowed = np.clip(0.9 * at.lids + 0.5 * at.sockets * at.lids + 0.25 * at.sockets, 0, 1)
    paint.tint(head.shadow_colour, head.shadow_strength * shadowed)
    dark = (0.2, 0.16, 0.16) if head.finish != "statue" else (0.6,) * 3
    paint.darken(dark, (0.35 + 0.6 * head.liner) * at.liner)


def _paint_brows(paint: _Paint, head: Head, at: _Places, rng: np.random.Generator) -> None:
    """Brows: hairs that run outwards over a denser ground; a statue's are only a shade."""
    if head.finish == "statue":
        paint.darken((0.8,) * 3, 0.5 * at.brows)
        return
    rows = at.brows * (0.35 + 0.65 * at.brows)
    along = lambda x, y: np.where(x < CHART_WIDTH / 2, np.pi + 0.25, -0.25) + 0.0 * y  # noqa: E731
    density = head.brow_weight
    paint.tint(head.brows, np.clip(0.75 * density * rows * (1 + 0.3 * paint.fine), 0, 0.9))
    hairs = cv2.GaussianBlur(_hairs(rng, rows, int(420 * density), 9, along), (0, 0), 0.7)
    paint.tint(np.asarray(head.brows) * 0.8, 0.75 * hairs)


def _paint_beard(paint: _Paint, head: Head, area: np.ndarray, rng: np.random.Generator) -> None:
    """A beard where `area` (512, 640) is: stubble, or from a growth of 0.4 on hair."""
    growth, colour = head.beard_growth, np.asarray(head.beard)
    downward = lambda x, y: np.pi / 2 + 0.5 * (x - CHART_WIDTH / 2) / 200 + 0.0 * y  # noqa: E731
    if growth < 0.4:
        paint.tint(colour, 0.9 * growth * area * (0.8 + 0.2 * paint.mottle))
        paint.tint(colour, 0.6 * _hairs(rng, area, int(14000 * growth), 0.9, downward))
    else:
        paint.tint(colour * 0.8, np.clip(1.25 * growth, 0, 0.96) * np.clip(area * (0.9 + 0.15 * paint.mottle), 0, 1))
        paint.tint(colour * 1.25, 0.7 * _hairs(rng, area, 1800, 7, downward))
        paint.tint(colour * 0.6, 0.7 * _hairs(rng, area, 1800, 7, downward))


# ---------------------------------------------------------------------------------------------------------------------

IRIS_RINGS, IRIS_TURNS = 48, 192


@lru_cache(maxsize=8)
def paint_iris(head: Head) -> np.ndarray:
    """(48, 192, 3) float32: the iris from its middle to its rim (rows), once around (columns)."""
    rng = np.random.default_rng([head.seed, 0x1215])
    rho = np.linspace(0, 1, IRIS_RINGS, dtype=np.float32)[:, None]
    coarse = rng.normal(0, 1, (3, 96)).astype(np.float32)
    around = cv2.resize(coarse, (IRIS_TURNS, IRIS_RINGS), interpolation=cv2.INTER_LINEAR)
    iris = np.asarray(head.iris, np.float32)
    if head.finish == "statue":
        rings = iris * (1 - 0.25 * (rho > 0.9))[..., None]
        return np.tile(rings, (1, IRIS_TURNS, 1)).astype(np.float32)
    light = 1 + 0.26 * around * np.clip(1.2 - rho, 0, 1)
    collar = np.exp(-(((rho - head.pupil - 0.1) / 0.12) ** 2)) * rng.uniform(-0.1, 0.5)
    colour = iris * (light + collar)[..., None]
    warm = np.exp(-(((rho - head.pupil) / 0.2) ** 2)) * rng.uniform(0, 0.5)
    colour += (np.array([150, 96, 40], np.float32) * 0.9 - colour) * warm[..., None] * 0.5
    limbus = np.clip((rho - 0.76) / 0.24, 0, 1) ** 1.5 * rng.uniform(0.4, 0.85)
    colour *= (1 - limbus)[..., None]
    edge = np.clip((rho - head.pupil) / 0.05 + 0.5, 0, 1)[..., None]
    return np.clip(np.array([9, 7, 8], np.float32) + (colour - 8) * edge, 0, 255).astype(np.float32)


TOOTH_ROWS, TOOTH_COLUMNS = 64, 448
_UPPER_WIDTHS = (0.088, 0.070, 0.078, 0.070, 0.068, 0.100, 0.098)  # from the middle outwards, head units of arc
_LOWER_WIDTHS = (0.054, 0.060, 0.068, 0.070, 0.072, 0.108, 0.105)
_LENGTHS = (1.0, 0.88, 1.0, 0.84, 0.8, 0.72, 0.7)  # of the teeth, in the longest one's
GUM, CROWN_HEIGHT = 0.11, 0.105  # head units of gum and of the longest tooth
ARC = {True: sum(_UPPER_WIDTHS), False: sum(_LOWER_WIDTHS)}  # half length of a row of teeth


@lru_cache(maxsize=8)
def paint_teeth(head: Head, upper: bool) -> np.ndarray:
    """A row of teeth (64, 448, 4) float32 from gum (top) to edge: RGB and cover 0..1; the row's arc is the width.

    Rows cover `GUM + CROWN_HEIGHT` head units; the gum's lower end is where the teeth begin.
    """
    rng = np.random.default_rng([head.seed, 0x7EE7, int(upper)])
    widths = _UPPER_WIDTHS if upper else _LOWER_WIDTHS
    total = GUM + 1.12 * CROWN_HEIGHT
    y = (np.arange(TOOTH_ROWS, dtype=np.float32)[:, None] + 0.5) / TOOTH_ROWS * total - GUM  # 0 at the necks
    x = ((np.arange(TOOTH_COLUMNS, dtype=np.float32) + 0.5) / TOOTH_COLUMNS * 2 - 1)[None] * ARC[upper]
    tooth_colour = np.asarray(head.teeth, np.float32)
    statue = head.finish == "statue"
    gum = np.array([196, 108, 108], np.float32) if not statue else tooth_colour * 0.9
    gum = gum * (0.75 + 0.25 * np.asarray(head.skin, np.float32).mean() / 255)
    picture = np.empty((TOOTH_ROWS, TOOTH_COLUMNS, 4), np.float32)
    picture[..., :3] = gum * (1 + 0.10 * _noise(rng, 6, TOOTH_ROWS, TOOTH_COLUMNS))[..., None]
    picture[..., 3] = y < 0.012
    uneven = head.teeth_uneven
    for side in (-1, 1):
        start = 0.0
        for k, width in enumerate(widths):
            middle, half = side * (start + width / 2), width / 2
            start += width
            long = CROWN_HEIGHT * _LENGTHS[k] * head.teeth_size * (1 + 0.06 * uneven * rng.normal())
            long *= 1.0 if upper else 0.86
            lean = 0.05 * uneven * rng.normal()
            columns = np.flatnonzero(np.abs(x[0] - middle) < half + 0.02)
            own = slice(int(columns[0]), int(columns[-1]) + 1)
            area = picture[:, own]
            s = (x[:, own] - middle - lean * y) / half
            neck = 0.016 * (s * s - 0.6) * (1 if k < 3 else 0.6)
            round_ = (0.008 if k != 2 else 0.022) * (0.6 + 0.8 * rng.random())
            tip = long - round_ * np.abs(s) ** (3.0 if k != 2 else 1.6) - 0.004 * uneven * rng.normal() * s
            gap = 0.93 - 0.05 * uneven * rng.random()
            beside = np.clip((gap - np.abs(s)) * half * 400 + 0.5, 0, 1)
            inside = beside * np.clip((y - neck) * 300 + 0.5, 0, 1) * np.clip((tip - y) * 300 + 0.5, 0, 1)
            along = np.clip((y - neck) / long, 0, 1)
            colour = tooth_colour * (1 + 0.035 * uneven * rng.normal()) * (1 - 0.025 * k)
            shade = (1 - 0.16 * np.abs(s) ** 2.5) * (1 - 0.10 * (1 - along) ** 2)
            edge = np.clip((along - 0.72) / 0.28, 0, 1) * 0.16  # the edge lets the dark behind shine through
            mine = (np.abs(s) < 1) & (y > neck - 0.004)
            darker = 0.6 if statue else np.array([0.40, 0.30, 0.27]) + 0.35 * rng.random()
            between = tooth_colour * darker
            area[..., :3] = np.where((mine & (y < long * 0.92) & (y > neck))[..., None], between, area[..., :3])
            area[..., 3] = np.where(mine & (y < long * (0.90 if k < 5 else 0.95)) & (y > 0), 1.0, area[..., 3])
            body = colour * (shade * (1 - edge))[..., None]
            area[..., :3] += (body - area[..., :3]) * inside[..., None]
            area[..., 3] = np.maximum(area[..., 3], inside)
    picture[..., :3] = np.clip(picture[..., :3], 0, 255)
    return cv2.GaussianBlur(picture, (0, 0), 0.7)
