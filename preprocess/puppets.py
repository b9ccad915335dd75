"""Procedurally drawn talking heads with exact landmarks, box and pose: data that needs no download.

An `Identity` says how a puppet looks and is a pure function of a seed; a `Pose` says what it does and knows nothing of
who does it, so that every puppet can be drawn with every motion. A `Camera` cuts a picture out of the flat scene that
the puppet lives in.

Coordinates
    head     x to picture right, y down, z to the viewer, about the middle of the head of a puppet that looks straight
             ahead; the chin is near y = 1, the crown near y = -1.
    scene    (x, y) on the picture plane in the same unit; a puppet in the neutral pose has its head's middle at (0, 0).
    pixels   (x, y), an integer is the *centre* of a pixel (cv2's convention).
"Left" and "right" are those of the picture. Angles are radians. The projection is orthographic: head point p is drawn
at the scene point  pivot + shift + scale * R (p - pivot),  R = roll @ pitch @ yaw.

How a frame is made: the head is a tapered ellipsoid and the hair a second one around it. For every pixel the point of
each that it shows is computed; it looks up colour and relief that were painted once per identity. Eyes, brows, nose,
mouth and accessories are polygons over projected 3-D points.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from fractions import Fraction
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from fomm.errors import InputError
from fomm.files import atomic_output
from fomm.manifest import Clip, write_manifest

# ---------------------------------------------------------------------------------------------------------------------
# What a drawing is made from and what it returns


@dataclass(frozen=True)
class Pose:
    """What a puppet does in one frame; independent of its identity."""

    yaw: float = 0.0  # radians, positive turns the nose to picture right
    pitch: float = 0.0  # radians, positive lowers the nose
    roll: float = 0.0  # radians, positive tilts the head clockwise on screen
    shift_x: float = 0.0  # scene units
    shift_y: float = 0.0
    scale: float = 1.0
    blink: float = 0.0  # 0 eyes open ... 1 shut
    gaze_x: float = 0.0  # -1 (picture left) ... 1
    gaze_y: float = 0.0  # -1 (up) ... 1
    mouth: float = 0.0  # 0 shut ... 1 wide open
    smile: float = 0.0  # -1 ... 1
    brows: float = 0.0  # -1 lowered ... 1 raised


@dataclass(frozen=True)
class Camera:
    """The square (or, for a wide picture, the strip) of the scene that is drawn."""

    x: float = 0.0  # scene point in the middle of the picture
    y: float = 0.35
    view: float = 3.4  # scene units across the picture's width

    def to_pixels(self, points: np.ndarray, width: int, height: int) -> np.ndarray:
        """Scene points (..., 2) -> pixel coordinates (..., 2)."""
        middle = np.array([width - 1, height - 1]) / 2
        return (np.asarray(points) - (self.x, self.y)) * (width / self.view) + middle


class Drawing(NamedTuple):
    """One drawn frame and the truth about it."""

    image: np.ndarray  # (H, W, 3) uint8 RGB
    landmarks_px: np.ndarray  # (73, 2) float32, in the order of LANDMARKS; points behind the head are included
    face_box_xyxy_px: tuple[float, float, float, float]  # bounds of all landmarks: hairline to chin, ear to ear
    pose: Pose


def _names(stem: str, count: int) -> list[str]:
    return [f"{stem}_{i}" for i in range(count)]


# The first 68 follow the order of the iBUG 300-W markup; each is a fixed point of the head or of a lid or lip.
LANDMARKS: tuple[str, ...] = (
    *_names("jaw", 17),  # left ear, along the jaw, 8 = chin, ... right ear
    *_names("brow_left", 5),  # left to right
    *_names("brow_right", 5),
    *_names("nose_bridge", 4),  # top to tip (3 = tip)
    *_names("nose_base", 5),  # left wing, ..., 2 = middle, ..., right wing
    "eye_left_outer", "eye_left_upper_0", "eye_left_upper_1", "eye_left_inner", "eye_left_lower_0", "eye_left_lower_1",
    "eye_right_inner", "eye_right_upper_0", "eye_right_upper_1", "eye_right_outer", "eye_right_lower_0", "eye_right_lower_1",
    *_names("lips_outer", 12),  # 0 left corner, 1-5 upper edge to the right, 6 right corner, 7-11 lower edge to the left
    *_names("lips_inner", 8),  # 0 left, 1-3 upper, 4 right, 5-7 lower
    "pupil_left", "pupil_right",
    "forehead_left", "forehead", "forehead_right",
)  # fmt: skip

HAIR_STYLES = ("buzz", "short", "parted", "fringe", "swept", "curly", "bun", "bob", "long", "bald")
TOPS = ("crew", "vneck", "shirt", "stripes", "hoodie")
BACKDROPS = ("gradient", "bokeh", "room", "hills", "cloth")

_Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Identity:
    """How a puppet looks: lengths in head units, colours RGB 0..255. Made by `random_identity`."""

    seed: int
    width: float  # half width of the head at the temples
    depth: float
    jaw: float  # how much the face narrows to the chin
    chin: float
    skin: _Colour
    lips: _Colour
    blush: float
    freckles: float
    hair_style: str
    hair: _Colour
    hair_volume: float
    hairline: float  # y of the hairline over the nose
    part: float  # -1 ... 1, where the parting is
    eye_x: float
    eye_y: float
    eye_width: float
    eye_height: float
    eye_tilt: float
    iris: _Colour
    iris_size: float
    lashes: float
    brow_height: float
    brow_thickness: float
    brow_arch: float
    brow_colour: _Colour
    nose_length: float
    nose_width: float
    nose_out: float
    mouth_y: float
    mouth_width: float
    lip_upper: float
    lip_lower: float
    ear: float
    beard: str  # "", "stubble", "full", "goatee" or "moustache"
    glasses: str  # "", "round" or "square"
    glasses_colour: _Colour
    earrings: bool
    top: str
    top_colour: _Colour
    top_accent: _Colour
    shoulders: float
    backdrop: str
    backdrop_a: _Colour
    backdrop_b: _Colour
    light: tuple[float, float, float]  # unit vector to the light, in view axes


_SKINS = ((255, 224, 196), (250, 212, 184), (242, 196, 160), (232, 184, 142), (219, 164, 120), (200, 142, 98),
          (172, 116, 76), (142, 92, 60), (112, 72, 48), (90, 58, 42))  # fmt: skip
_HAIRS = ((28, 22, 22), (44, 32, 28), (66, 44, 32), (98, 62, 38), (138, 86, 48), (186, 134, 76), (222, 182, 116),
          (150, 66, 34), (178, 82, 40), (128, 126, 126), (196, 194, 190), (70, 60, 66))  # fmt: skip
_DYED = ((70, 110, 150), (150, 80, 120), (92, 132, 104))
_IRISES = ((84, 54, 34), (112, 72, 40), (60, 42, 32), (86, 122, 146), (98, 140, 170), (92, 124, 84), (124, 112, 66), (110, 116, 122))


def _mix(a, b, t) -> np.ndarray:
    return np.asarray(a, np.float32) * (1 - t) + np.asarray(b, np.float32) * t


def _hsv(hue: float, saturation: float, value: float) -> _Colour:
    pixel = np.uint8([[[int(hue * 179.99), int(saturation * 255), int(value * 255)]]])
    return tuple(float(c) for c in cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0])


def _colour(values) -> _Colour:
    return tuple(round(float(np.clip(v, 0, 255)), 1) for v in values)


def random_identity(seed: int) -> Identity:
    """The puppet of this seed (>= 0): the same for ever, whatever was drawn before."""
    rng = np.random.default_rng([seed, 0x1D])
    u = lambda low, high: float(rng.uniform(low, high))  # noqa: E731
    tone = u(0, len(_SKINS) - 1.001)
    skin = _mix(_SKINS[int(tone)], _SKINS[int(tone) + 1], tone % 1) + rng.normal(0, 3, 3)
    dark = tone / (len(_SKINS) - 1)
    lips = _mix(skin, (196, 70, 76) if dark < 0.6 else (128, 44, 48), u(0.35, 0.7))
    masculine = rng.random() < 0.5
    styles = (("buzz", "short", "parted", "swept", "curly", "short", "swept", "bald", "fringe") if masculine
              else ("long", "bob", "bun", "fringe", "curly", "long", "swept", "bob", "parted"))  # fmt: skip
    # dark skin with fair hair and the like exist, but natural pairs are far more common
    hairs = _HAIRS[:4] if dark > 0.55 else _HAIRS
    hair = np.asarray(hairs[rng.integers(len(hairs))] if rng.random() < 0.93 else _DYED[rng.integers(len(_DYED))], float)
    if dark > 0.55 and rng.random() < 0.12:
        hair = np.asarray(_HAIRS[9], float)
    hair = np.clip(hair + rng.normal(0, 6), 14, 235)
    beard = str(rng.choice(["", "stubble", "full", "goatee", "moustache"], p=[0.5, 0.2, 0.14, 0.08, 0.08])) if masculine else ""
    hue = rng.random()
    azimuth, height = u(-0.9, 0.9), u(0.25, 0.7)
    light = np.array([np.sin(azimuth) * np.cos(height), -np.sin(height), np.cos(azimuth) * np.cos(height)])
    top_hue = rng.random()
    return Identity(
        seed=seed, width=u(0.70, 0.80), depth=u(0.82, 0.92), jaw=u(0.06, 0.30) if not masculine else u(-0.08, 0.2),
        chin=u(0.97, 1.06), skin=_colour(skin), lips=_colour(lips), blush=u(0.1, 0.8) * (1 - 0.5 * dark),
        freckles=float(rng.random() < 0.2 and dark < 0.4), hair_style=str(rng.choice(styles)), hair=_colour(hair),
        hair_volume=u(0.0, 1.0), hairline=u(-0.62, -0.51), part=u(-1, 1),
        eye_x=u(0.31, 0.36), eye_y=u(-0.06, 0.02), eye_width=u(0.155, 0.19), eye_height=u(0.075, 0.105), eye_tilt=u(-0.02, 0.03),
        iris=_colour(np.asarray(_IRISES[rng.integers(3 if dark > 0.55 else len(_IRISES))]) + rng.normal(0, 5, 3)), iris_size=u(0.078, 0.09),
        lashes=u(0.4, 0.7) if masculine else u(0.6, 1.0), brow_height=u(0.19, 0.24), brow_thickness=u(0.03, 0.055) * (1.15 if masculine else 0.8),
        brow_arch=u(0.02, 0.07), brow_colour=_colour(_mix(hair, (40, 30, 28), 0.45 if hair.mean() > 90 else 0.15)),
        nose_length=u(0.35, 0.42), nose_width=u(0.105, 0.15), nose_out=u(0.13, 0.2),
        mouth_y=u(0.585, 0.64), mouth_width=u(0.21, 0.265), lip_upper=u(0.03, 0.055), lip_lower=u(0.045, 0.075),
        ear=u(0.85, 1.15), beard=beard, glasses=str(rng.choice(["", "round", "square"], p=[0.78, 0.11, 0.11])),
        glasses_colour=_colour(rng.choice([[30, 28, 30], [92, 58, 36], [150, 40, 44], [40, 56, 96], [170, 140, 84]])),
        earrings=bool(not masculine and rng.random() < 0.45), top=str(rng.choice(TOPS)),
        top_colour=_hsv(top_hue, u(0.2, 0.75), u(0.3, 0.9)), top_accent=_hsv((top_hue + u(0.3, 0.7)) % 1, u(0.05, 0.5), u(0.6, 0.98)),
        shoulders=u(1.45, 1.75), backdrop=str(rng.choice(BACKDROPS)),
        backdrop_a=_hsv(hue, u(0.08, 0.42), u(0.55, 0.92)), backdrop_b=_hsv((hue + u(-0.12, 0.12)) % 1, u(0.15, 0.5), u(0.3, 0.7)),
        light=tuple(round(float(v), 4) for v in light),
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# Motion


def _wander(rng: np.random.Generator, frames: int, fps: float, seconds: float) -> np.ndarray:
    """A smooth random curve (frames,) of mean 0 and standard deviation about 1 that changes in about `seconds`."""
    sigma = max(seconds * fps / 2.5, 1e-3)
    pad = int(4 * sigma) + 1
    kernel = np.exp(-0.5 * (np.arange(-pad, pad + 1) / sigma) ** 2)
    return np.convolve(rng.standard_normal(frames + 2 * pad), kernel / np.sqrt((kernel**2).sum()), "valid")


def _limit(curve: np.ndarray, bound: float) -> np.ndarray:
    return bound * np.tanh(curve / bound)


def random_motion(seed: int, frames: int, fps: float = 25.0, *, neutral_start: bool = False) -> list[Pose]:
    """A talking head's poses, smooth in time, |yaw| <= 0.5, |pitch| <= 0.3, |roll| <= 0.4.

    With `neutral_start` the first frame looks straight ahead with open eyes and a shut mouth.
    """
    rng = np.random.default_rng([seed, 0x30])
    u = rng.uniform
    lively = u(0.6, 1.3)
    time = np.arange(frames) / fps
    curve = {
        "yaw": _limit(lively * 0.22 * _wander(rng, frames, fps, u(0.6, 1.3)) + u(-0.12, 0.12), 0.5),
        "pitch": _limit(lively * 0.11 * _wander(rng, frames, fps, u(0.5, 1.0)) + u(-0.06, 0.08), 0.3),
        "roll": _limit(lively * 0.13 * _wander(rng, frames, fps, u(0.7, 1.5)) + u(-0.06, 0.06), 0.4),
        "shift_x": _limit(lively * 0.10 * _wander(rng, frames, fps, 1.5), 0.3),
        "shift_y": _limit(lively * 0.05 * _wander(rng, frames, fps, 1.2), 0.2),
        "scale": 1 + _limit(lively * 0.035 * _wander(rng, frames, fps, 2.0), 0.12),
        "gaze_x": _limit(0.5 * _wander(rng, frames, fps, 0.4), 1.0),
        "gaze_y": _limit(0.35 * _wander(rng, frames, fps, 0.4), 0.9),
        "smile": _limit(0.45 * _wander(rng, frames, fps, 0.9) + u(-0.1, 0.45), 1.0),
        "brows": _limit(0.5 * _wander(rng, frames, fps, 0.5), 1.0),
    }
    # eyes look back to the viewer when the head turns, as people's do
    curve["gaze_x"] = np.clip(curve["gaze_x"] - 0.9 * curve["yaw"], -1, 1)
    # syllables at 2.5-4.5 Hz, swelling and pausing with the phrase
    phase = 2 * np.pi * (u(2.5, 4.5) * time + 0.35 * _wander(rng, frames, fps, 0.8)) + u(0, 6)
    phrase = 1 / (1 + np.exp(-3 * (_wander(rng, frames, fps, 0.9) + 0.4)))
    stress = np.clip(0.75 + 0.25 * _wander(rng, frames, fps, 0.35), 0.2, 1.3)
    curve["mouth"] = np.clip(phrase * stress * (0.5 - 0.5 * np.cos(phase)), 0, 1)
    blink, start = np.zeros(frames), u(-1.0, 2.5)
    while start < frames / fps:
        length = u(0.26, 0.4)
        x = np.clip((time - start) / length, 0, 1)
        blink = np.maximum(blink, np.clip(1.35 * np.sin(np.pi * x) ** 1.5, 0, 1))
        start += length + u(0.8, 4.0)
    curve["blink"] = blink
    if neutral_start:
        ease = 1 - np.exp(-((time / 0.6) ** 2))
        rest = Pose()
        curve = {name: getattr(rest, name) + ease * (values - getattr(rest, name)) for name, values in curve.items()}
    return [Pose(**{name: float(values[i]) for name, values in curve.items()}) for i in range(frames)]


def random_pose(seed: int, *, yaw: float = 0.5, pitch: float = 0.3, roll: float = 0.4) -> Pose:
    """One pose, uniform within these bounds: a stiffer test of what must work than a motion's frames."""
    rng = np.random.default_rng([seed, 0x90])
    u = lambda low, high: float(rng.uniform(low, high))  # noqa: E731
    return Pose(
        yaw=u(-yaw, yaw), pitch=u(-pitch, pitch), roll=u(-roll, roll), shift_x=u(-0.2, 0.2), shift_y=u(-0.1, 0.1),
        scale=u(0.92, 1.08), blink=1.0 if rng.random() < 0.12 else u(0, 0.25), gaze_x=u(-0.8, 0.8), gaze_y=u(-0.6, 0.6),
        mouth=max(0.0, u(-0.5, 1.0)), smile=u(-0.6, 1), brows=u(-1, 1),
    )  # fmt: skip


def mix_poses(a: Pose, b: Pose, weight: float) -> Pose:
    """(1 - weight) * a + weight * b, value by value."""
    return Pose(**{f.name: (1 - weight) * getattr(a, f.name) + weight * getattr(b, f.name) for f in fields(Pose)})


# ---------------------------------------------------------------------------------------------------------------------
# Geometry of the head

_PIVOT = np.array([0.0, 0.95, -0.35])  # the neck's top: what the head turns about
_CROWN = 0.92  # half height of the head's upper half


def _rotation(pose: Pose) -> np.ndarray:
    cy, sy, cp, sp, cr, sr = (f(v) for v in (pose.yaw, pose.pitch, pose.roll) for f in (np.cos, np.sin))
    yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    pitch = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return roll @ pitch @ yaw


def _place(points: np.ndarray, pose: Pose, rotation: np.ndarray) -> np.ndarray:
    """Head points (..., 3) -> scene points (..., 2)."""
    moved = (points - _PIVOT) @ rotation[:2].T * pose.scale
    return moved + (_PIVOT[0] + pose.shift_x, _PIVOT[1] + pose.shift_y)


def _taper(identity: Identity, y):
    """Width of the head at normalised height y (-1 crown .. 1 chin), as a factor on the ellipsoid's."""
    low = np.clip(y, 0, 1)
    return 1 - identity.jaw * low * low * (1.6 - 0.6 * low)


def _chin(identity: Identity, pose: Pose) -> float:
    """Half height of the head's lower half: it grows as the jaw drops."""
    return identity.chin + 0.10 * pose.mouth


def _lift(identity: Identity, pose: Pose, xy: np.ndarray, out: float | np.ndarray = 0.0) -> np.ndarray:
    """Points (N, 2) in the head's front view -> (N, 3) on its surface, raised by `out` towards the viewer."""
    x, y = xy[:, 0], xy[:, 1]
    v = np.where(y > 0, y / _chin(identity, pose), y / _CROWN)
    w = _taper(identity, v)
    z = identity.depth * w * np.sqrt(np.clip(1 - (x / (identity.width * w)) ** 2 - v * v, 0, 1))
    return np.stack([x, y, z + out], axis=1)


def _sphere(rings: int, segments: int) -> np.ndarray:
    theta = np.linspace(0.02, np.pi - 0.02, rings)[:, None]
    phi = np.linspace(0, 2 * np.pi, segments, endpoint=False)[None]
    xyz = np.stack(np.broadcast_arrays(np.sin(theta) * np.sin(phi), -np.cos(theta), np.sin(theta) * np.cos(phi)), -1)
    return xyz.reshape(-1, 3)


_UNIT_SPHERE = _sphere(40, 56)
_T = np.linspace(-1, 1, 15)  # along a lid or a lip
_ARCH = 1 - _T**2
_CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 28, endpoint=False)), np.sin(np.linspace(0, 2 * np.pi, 28, endpoint=False))], 1)


def _on_head(identity: Identity, pose: Pose, unit: np.ndarray) -> np.ndarray:
    """Directions (N, 3) on the unit sphere -> points on the head."""
    w = _taper(identity, unit[:, 1])
    y = unit[:, 1] * np.where(unit[:, 1] > 0, _chin(identity, pose), _CROWN)
    return np.stack([unit[:, 0] * identity.width * w, y, unit[:, 2] * identity.depth * w], 1)


class _Eye(NamedTuple):
    upper: np.ndarray  # (15, 3) left to right
    lower: np.ndarray
    rest_upper: np.ndarray  # the upper lid of the open eye
    iris: np.ndarray  # (28, 3)
    pupil: np.ndarray
    glint: np.ndarray
    centre: np.ndarray  # (3,) of iris and pupil


class _Mouth(NamedTuple):
    outer_upper: np.ndarray  # (15, 3) left to right
    inner_upper: np.ndarray
    inner_lower: np.ndarray
    outer_lower: np.ndarray


def _eye(identity: Identity, pose: Pose, side: int) -> _Eye:
    i, x0 = identity, side * identity.eye_x
    x = x0 + i.eye_width * _T
    base = i.eye_y - side * i.eye_tilt * _T - 0.012 * np.abs(_T) ** 2
    open_ = 1 - pose.blink
    squint = 1 - 0.22 * max(pose.smile, 0)
    shape = np.maximum(1 - np.abs(_T) ** 2.3, 0)
    low = base + i.eye_height * 0.62 * shape * squint * (1 - 0.15 * pose.blink)
    rest = base - i.eye_height * 1.0 * shape * (1 + 0.12 * pose.brows)
    up = low - 0.012 * shape + (rest + 0.012 * shape - low) * open_
    lift = lambda y: _lift(i, pose, np.stack([x, y], 1), -0.02)  # noqa: E731
    centre = np.array([x0 + 0.062 * pose.gaze_x, i.eye_y - 0.016 + 0.032 * pose.gaze_y])
    z = _lift(i, pose, centre[None])[0, 2]
    disc = lambda r: np.concatenate([centre + r * _CIRCLE, np.full((len(_CIRCLE), 1), z)], 1)  # noqa: E731
    light = np.sign(i.light[0]) or 1.0
    glint = np.concatenate([centre + (0.4 * light * i.iris_size, -0.4 * i.iris_size) + 0.027 * _CIRCLE, np.full((len(_CIRCLE), 1), z)], 1)
    return _Eye(lift(up), lift(low), lift(rest), disc(i.iris_size), disc(0.5 * i.iris_size), glint, np.array([*centre, z]))


def _mouth(identity: Identity, pose: Pose) -> _Mouth:
    i, smile, gape = identity, pose.smile, pose.mouth
    half = i.mouth_width * (1 + 0.22 * max(smile, 0) + 0.10 * min(smile, 0) - 0.16 * gape)
    x = half * _T
    line = i.mouth_y + 0.012 * smile - (0.085 * smile if smile > 0 else 0.06 * smile) * np.abs(_T) ** 1.8
    round_ = np.maximum(1 - np.abs(_T) ** 2.4, 0)
    top = line - 0.045 * gape * round_
    low = line + (0.004 + 0.235 * gape) * round_
    bow = round_ * (1 - 0.22 * np.exp(-((_T / 0.16) ** 2)))  # the cupid's bow
    thin = 1 - 0.2 * max(smile, 0)
    outer_top = top - i.lip_upper * thin * bow
    outer_low = low + i.lip_lower * thin * round_ ** 0.85
    out = 0.03 + 0.05 * _ARCH
    lift = lambda y: _lift(i, pose, np.stack([x, y], 1), out)  # noqa: E731
    return _Mouth(lift(outer_top), lift(top), lift(low), lift(outer_low))


def _brow(identity: Identity, pose: Pose, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Middle line (15, 3), left to right, and half thickness (15,)."""
    i = identity
    x = side * (i.eye_x + 0.02 + 0.215 * _T * (1 - 0.03 * pose.brows))
    raise_ = 0.075 * pose.brows if pose.brows > 0 else 0.04 * pose.brows
    y = i.eye_y - i.brow_height - raise_ - i.brow_arch * (1 - (_T - 0.25) ** 2)
    y = y - 0.03 * min(pose.brows, 0) * (1 - _T) / 2  # a frown lowers the inner ends
    thickness = i.brow_thickness * (0.95 - 0.35 * np.clip(_T, 0, 1) ** 2) * np.clip(1.02 - np.abs(_T) ** 6, 0.12, 1)
    line = _lift(i, pose, np.stack([x, y], 1), 0.015)
    return (line, thickness) if side > 0 else (line[::-1], thickness[::-1])


def _nose(identity: Identity, pose: Pose) -> dict[str, np.ndarray]:
    """Head points of the nose, each (N, 3)."""
    i = identity
    tip = i.eye_y + i.nose_length
    base = tip + 0.055
    flare = i.nose_width * (1 + 0.06 * pose.smile)
    t = np.linspace(0, 1, 4)
    bridge = _lift(i, pose, np.stack([np.zeros(4), i.eye_y - 0.03 + (tip - i.eye_y + 0.03) * t], 1), i.nose_out * t**1.3 + 0.02)
    bottom_x = flare * np.array([-1, -0.5, 0, 0.5, 1])
    bottom = _lift(i, pose, np.stack([bottom_x, base + np.array([-0.035, 0.0, 0.012, 0.0, -0.035])], 1),
                   i.nose_out * np.array([0.12, 0.4, 0.6, 0.4, 0.12]))  # fmt: skip
    return {"bridge": bridge, "base": bottom}


def _jaw_line(identity: Identity, pose: Pose) -> np.ndarray:
    """17 points from the left ear over the chin to the right ear, and 3 on the hairline: (20, 3)."""
    t = np.linspace(-1, 1, 17)
    v = 0.02 + 0.965 * np.cos(t * np.pi / 2) ** 0.9
    # a frontal cut of the head a little before the ears, so that a turned head keeps its near jaw inside
    z = 0.16 + 0.1 * np.cos(t * np.pi / 2)
    x = np.sign(t) * np.sqrt(np.clip(1 - v * v - z * z * (1 - v * v), 0, 1))
    jaw = _on_head(identity, pose, np.stack([x, v, z * np.sqrt(1 - v * v)], 1))
    top = identity.hairline
    forehead = _lift(identity, pose, np.array([[-0.36, top + 0.05], [0.0, top], [0.36, top + 0.05]]))
    return np.concatenate([jaw, forehead])


def head_landmarks(identity: Identity, pose: Pose) -> np.ndarray:
    """Landmarks (73, 3) in head coordinates, in the order of LANDMARKS."""
    outline, nose, mouth = _jaw_line(identity, pose), _nose(identity, pose), _mouth(identity, pose)
    brows = [_brow(identity, pose, side)[0][[0, 4, 7, 10, 14]] for side in (-1, 1)]
    eyes = [_eye(identity, pose, side) for side in (-1, 1)]
    lids = [np.concatenate([e.upper[[0, 4, 10, 14]], e.lower[[10, 4]]]) for e in eyes]
    outer = np.concatenate([mouth.outer_upper[[0, 3, 5, 7, 9, 11, 14]], mouth.outer_lower[[11, 9, 7, 5, 3]]])
    inner = np.concatenate([mouth.inner_upper[[1, 4, 7, 10, 13]], mouth.inner_lower[[10, 7, 4]]])
    return np.concatenate([outline[:17], *brows, nose["bridge"], nose["base"], *lids, outer, inner,
                           [eyes[0].centre, eyes[1].centre], outline[17:]])  # fmt: skip


def scene_landmarks(identity: Identity, pose: Pose) -> np.ndarray:
    """Landmarks (73, 2) in scene units."""
    return _place(head_landmarks(identity, pose), pose, _rotation(pose))


def framing(identity: Identity, poses: Sequence[Pose], *, scale: float = 1.35, offset: tuple[float, float] = (0.0, 0.0)) -> Camera:
    """The one square in which a whole clip is drawn, as training crops are cut: `scale` x the longer side of the union
    of its face boxes, moved by `offset` (in parts of the side)."""
    points = np.concatenate([scene_landmarks(identity, pose) for pose in poses])
    low, high = points.min(0), points.max(0)
    side = float((high - low).max()) * scale
    x, y = (low + high) / 2 + np.asarray(offset) * side
    return Camera(float(x), float(y), side)


# ---------------------------------------------------------------------------------------------------------------------
# What is painted once per identity. Head and hair textures are stereographic maps of the unit sphere seen from the
# front, u = X / (1 + Z), v = Y / (1 + Z): finest over the face, and what is behind the head is what they lose.

_REACH = 1.9  # the textures cover |u|, |v| <= this
_TEXELS = 512
_OUTLINE = 160  # points around the hair


def _noise(rng: np.random.Generator, height: int, width: int, cells_y: int, cells_x: int) -> np.ndarray:
    """Smooth noise (height, width), about -1..1."""
    coarse = rng.uniform(-1, 1, (cells_y + 3, cells_x + 3)).astype(np.float32)
    large = cv2.resize(coarse, (width + 3 * width // cells_x + 1, height + 3 * height // cells_y + 1), interpolation=cv2.INTER_CUBIC)
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
    h = h + (0.03 + 0.11 * _step(y, i.eye_y - 0.1, tip)) * np.exp(-((x / ridge) ** 2)) * _step(y, i.eye_y - 0.18, i.eye_y) * (1 - _step(y, tip, tip + 0.09))
    h = h + 0.05 * _bump(x, y, 0, i.mouth_y, 0.3, 0.17)
    h = h - 0.035 * _bump(x, y, 0, i.mouth_y + 0.15, 0.16, 0.045) + 0.06 * _bump(x, y, 0, 0.9, 0.17, 0.12)
    return h - 0.02 * _bump(x, y, 0, i.mouth_y - 0.1, 0.03, 0.06)


@lru_cache(maxsize=64)
def _skin(identity: Identity) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Pyramids of albedo (N, N, 3), RGB 0..255, and of slope (N, N, 2) along head x and y."""
    i = identity
    rng = np.random.default_rng([i.seed, 0x5C])
    X, Y, Z = _texture_sphere(_TEXELS)
    x, y = X * i.width * _taper(i, Y), Y * np.where(Y > 0, i.chin, _CROWN)
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
            cv2.circle(spots, tuple(int(16 * c) for c in at), int(16 * rng.uniform(0.7, 1.5)), rng.uniform(0.3, 0.8), -1, cv2.LINE_AA, 4)
        tint(skin * (0.74, 0.58, 0.5), cv2.GaussianBlur(spots, (0, 0), 0.8) * front)
    if i.beard:
        ax = np.abs(x)
        grain = 0.9 + 0.12 * _noise(rng, _TEXELS, _TEXELS, 160, 160)
        above = i.mouth_y - 0.11
        moustache = _step(y, above - 0.06, above - 0.01) * (1 - _step(ax, 0.22, 0.32)) * (1 - _step(y, i.mouth_y, i.mouth_y + 0.06))
        cheek = _step(y, i.mouth_y - 0.2 - 0.75 * (ax - 0.42) - 0.06, i.mouth_y - 0.2 - 0.75 * (ax - 0.42) + 0.06)
        full = np.maximum(np.maximum(cheek * _step(ax, 0.2, 0.32), moustache), _step(y, i.mouth_y + 0.02, i.mouth_y + 0.14) * _step(y, 0, 0.3))
        chin = np.maximum(moustache, (1 - _step(ax, 0.24, 0.34)) * _step(y, i.mouth_y - 0.06, i.mouth_y + 0.04)) * (1 - 0 * ax)
        shape = {"stubble": 0.32 * full, "full": 0.93 * full, "goatee": 0.9 * chin, "moustache": 0.93 * moustache}[i.beard]
        tint(np.asarray(i.brow_colour) * 0.95, front * shape * grain)

    small = _TEXELS // 2
    X, Y, Z = _texture_sphere(small)
    x, y = X * i.width * _taper(i, Y), Y * np.where(Y > 0, i.chin, _CROWN)
    e = 0.012
    slope = np.stack([_relief(i, x + e, y) - _relief(i, x - e, y), _relief(i, x, y + e) - _relief(i, x, y - e)], -1) / (2 * e)
    slope *= _step(Z, 0.0, 0.4)[..., None]
    return _mips(albedo), _mips(slope)


class _Cap(NamedTuple):
    axes: np.ndarray  # (3,) of the hair's ellipsoid
    middle: np.ndarray  # (3,) in head coordinates
    nape: float  # head y where the hair behind the head ends
    texture: list[np.ndarray]  # pyramid of (N, N, 4): RGB 0..255 and cover 0..1
    frizz: np.ndarray  # (_OUTLINE,) factor on the outline's radius, by angle


#            axes over the head's (x, y, z), middle (y, z), hairline table: azimuth -> y; nape
_STYLES = {
    "buzz": ((1.012, 1.015, 1.02), (0.0, -0.01), ((0.0, 0.0), (0.55, 0.0), (0.95, 0.16), (1.15, 0.5), (1.3, 0.62), (1.5, 0.5), (2.2, 1.0)), 0.4),
    "short": ((1.045, 1.06, 1.05), (-0.02, -0.03), ((0.0, 0.02), (0.6, 0.0), (0.9, 0.2), (1.1, 0.55), (1.3, 0.64), (1.55, 0.45), (2.2, 1.0)), 0.42),
    "parted": ((1.08, 1.08, 1.06), (-0.03, -0.03), ((0.0, 0.0), (0.6, 0.1), (0.9, 0.3), (1.1, 0.62), (1.35, 0.66), (1.6, 0.5), (2.2, 1.0)), 0.45),
    "fringe": ((1.09, 1.07, 1.08), (-0.02, -0.04), ((0.0, 0.30), (0.5, 0.30), (0.8, 0.34), (1.05, 0.7), (1.35, 0.85), (1.7, 0.8), (2.2, 1.1)), 0.5),
    "swept": ((1.07, 1.11, 1.07), (-0.04, -0.02), ((0.0, 0.03), (0.55, 0.02), (0.9, 0.2), (1.1, 0.56), (1.3, 0.62), (1.55, 0.45), (2.2, 1.0)), 0.42),
    "curly": ((1.25, 1.27, 1.2), (-0.08, -0.08), ((0.0, 0.06), (0.5, 0.1), (0.85, 0.3), (1.1, 0.6), (1.35, 0.75), (1.6, 0.75), (2.2, 1.0)), 0.5),
    "bun": ((1.03, 1.045, 1.03), (-0.01, -0.02), ((0.0, 0.0), (0.5, 0.03), (0.9, 0.25), (1.1, 0.5), (1.3, 0.55), (1.5, 0.4), (2.2, 0.9)), 0.38),
    "bob": ((1.19, 1.22, 1.14), (0.08, -0.14), ((0.0, 0.04), (0.45, 0.12), (0.72, 0.4), (0.9, 0.85), (1.05, 1.25), (1.6, 1.5), (2.2, 1.6)), 0.86),
    "long": ((1.16, 1.19, 1.12), (0.07, -0.14), ((0.0, 0.02), (0.45, 0.12), (0.74, 0.42), (0.92, 0.9), (1.05, 1.4), (1.6, 1.6), (2.2, 1.7)), 1.1),
}  # fmt: skip


@lru_cache(maxsize=64)
def _cap(identity: Identity) -> _Cap | None:
    i = identity
    if i.hair_style == "bald":
        return None
    rng = np.random.default_rng([i.seed, 0xCA])
    stretch, (my, mz), table, nape = _STYLES[i.hair_style]
    swell = 1 + (np.asarray(stretch) - 1) * (0.75 + 0.5 * i.hair_volume)
    axes, middle = np.array([i.width, _CROWN, i.depth]) * swell, np.array([0.0, my, mz])
    X, Y, Z = _texture_sphere(_TEXELS)
    y = Y * axes[1] + my
    azimuth = np.arctan2(X, Z)
    knots = np.linspace(0, np.pi, 128)
    line = np.interp(knots, *np.array(table).T)
    line = np.convolve(np.pad(line, 8, mode="edge"), np.hanning(17) / np.hanning(17).sum(), "valid") + i.hairline
    edge = np.interp(np.abs(azimuth), knots, line)
    near = np.exp(-((azimuth / 0.75) ** 2))
    if i.hair_style in ("parted", "swept", "long", "bob"):  # higher where the hair parts, lower where it falls
        edge = edge + near * (0.16 * np.tanh(3 * (azimuth - 0.45 * i.part) * -np.sign(i.part or 1)) - 0.02) * (0.9 if i.hair_style != "swept" else 0.55)
    strand_u = np.arctan2(X - 0.25 * i.part * (i.hair_style in ("parted", "long", "bob", "swept")), np.maximum(y + 1.35, 0.02) + 0.25 * np.clip(-Z, 0, 1))
    grain = np.random.default_rng([i.seed, 0xCB]).uniform(-1, 1, (4, 400)).astype(np.float32)
    position = (strand_u / np.pi + 0.5) * 260 + 1.5 * _noise(rng, _TEXELS, _TEXELS, 6, 6)
    fine = sum(w * np.interp(position * f, np.arange(400), g) for w, f, g in zip((0.5, 0.35, 0.25), (0.16, 0.4, 1.0), grain, strict=False))
    if i.hair_style == "curly":
        fine = 0.8 * _noise(rng, _TEXELS, _TEXELS, 34, 34) + 0.4 * _noise(rng, _TEXELS, _TEXELS, 70, 70)
        edge = edge + 0.05 * _noise(rng, _TEXELS, _TEXELS, 30, 30)
    elif i.hair_style == "buzz":
        fine = 0.35 * _noise(rng, _TEXELS, _TEXELS, 120, 120)
    else:
        edge = edge + 0.028 * np.interp(position * 0.3, np.arange(400), grain[3])
    soft = 0.06 if i.hair_style == "buzz" else 0.022
    cover = _step(edge - y, -soft, soft) * (0.82 if i.hair_style == "buzz" else 1.0)
    # hair lies thicker away from its edge: a little darker just at the hairline, then lighter
    depth = 0.80 + 0.20 * _step(edge - y, 0.0, 0.16)
    colour = np.asarray(i.hair, np.float32) * (depth * (1 + (0.16 if i.hair_style != "buzz" else 0.1) * fine))[..., None]
    angles = np.arange(_OUTLINE) / _OUTLINE * 2 * np.pi
    frizz = np.ones(_OUTLINE)
    if i.hair_style == "curly":
        lobes = np.abs(np.sin(8 * angles + 0.8 * np.sin(3 * angles + rng.uniform(0, 6)) + rng.uniform(0, 6)))
        frizz += 0.03 * lobes + 0.012 * np.abs(np.sin(21 * angles + 1.5 * np.sin(5 * angles + rng.uniform(0, 6)))) - 0.02
    return _Cap(axes, middle, nape, _mips(np.concatenate([colour, cover[..., None]], -1)), frizz)


_TORSO = (-2.6, 0.95, 2.6, 4.75)  # scene rectangle of the torso's picture, in the body's frame
_TORSO_TEXELS = 128  # per scene unit


@lru_cache(maxsize=64)
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
    neck = {"crew": (0.47, 0.30), "stripes": (0.56, 0.30), "hoodie": (0.46, 0.26), "shirt": (0.33, 0.46), "vneck": (0.43, 0.72)}[i.top]
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
        collar = _step(0.24 - np.abs(ax - 0.30 - 0.25 * (1.75 - y)), 0, 0.02) * _step(y, 1.3, 1.34) * (1 - _step(y + 0.9 * (ax - 0.2), 1.93, 1.95))
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


@lru_cache(maxsize=32)
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
        mask = _step(x, x0 - soft, x0 + soft) * (1 - _step(x, x1 - soft, x1 + soft)) * _step(y, y0 - soft, y0 + soft) * (1 - _step(y, y1 - soft, y1 + soft))
        picture[:] += (np.asarray(colour, np.float32) - picture) * (alpha * mask)[..., None].astype(np.float32)

    if i.backdrop == "bokeh":
        for _ in range(55):
            warm = _mix(a, (255, 236, 190), rng.uniform(0.2, 0.8))
            disc(*rng.uniform(-6.5, 6.5, 2), rng.uniform(0.12, 0.5), warm, rng.uniform(0.08, 0.4), 0.06)
    elif i.backdrop == "room":
        picture[:] = _mix(a, (236, 228, 214), 0.55) * (1 - 0.04 * np.abs(x))[..., None]
        for left in (-6.2, -2.9, 1.6, 4.6):
            width, low = rng.uniform(1.1, 1.9), rng.uniform(-1.9, -1.1)
            colour = _mix(b, (250, 246, 228), 0.75 if rng.random() < 0.5 else 0.1)
            block(left, low, left + width, low + rng.uniform(1.5, 2.4), colour * 0.72, 0.9, 0.05)
            block(left + 0.1, low + 0.1, left + width - 0.1, low + 1.3, colour, 0.9, 0.06)
        block(-9, 1.7, 9, 9, _mix(b, (70, 54, 44), 0.6), 1.0, 0.08)
    elif i.backdrop == "hills":
        picture[:] = _mix(a, (200, 226, 250), 0.7) + (np.array([30, 18, -8], np.float32) * _step(y, -3, 1.2)[..., None])
        for k, level in enumerate((0.1, 0.7, 1.3)):
            ridge = level + 0.4 * np.sin(x * rng.uniform(0.5, 1.1) + rng.uniform(0, 6)) + 0.15 * np.sin(x * 2.3 + rng.uniform(0, 6))
            mask = _step(y - ridge, -0.05, 0.05)
            colour = _mix(_mix((96, 138, 92), b, 0.45), (196, 216, 226), 0.55 - 0.22 * k)
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
def _background(identity: Identity, width: int, height: int, camera: Camera) -> np.ndarray:
    """The backdrop as this camera sees it; the same for every frame of a clip."""
    k = (_BACKDROP_TEXELS - 1) / (2 * _BACKDROP)
    matrix = _placed(width, height, camera, (-_BACKDROP, -_BACKDROP), k)
    seen = cv2.warpAffine(_backdrop(identity), matrix, (width, height), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT_101)
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
        low, high = points.min(0) - pad, points.max(0) + pad
        return (max(int(low[0]), 0), max(int(low[1]), 0), min(int(high[0]) + 2, self.width), min(int(high[1]) + 2, self.height))

    def mask(self, points: np.ndarray, box: _Box, soft: float = 0.0) -> np.ndarray:
        """Cover (h, w) 0..1 of a polygon, its edge blurred by `soft` pixels."""
        left, top, right, bottom = box
        width, height = right - left, bottom - top
        # crisp edges are drawn large, blurred ones small: a wide blur at full size would cost most of the frame's time
        wide, high = (width * _SUPER, height * _SUPER) if soft < 1 else (int(width / max(soft / 1.5, 1)) + 1, int(height / max(soft / 1.5, 1)) + 1)
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
            colour = np.full_like(area, colour)
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
    along = np.gradient(line, axis=0)
    if closed:
        along[0] = along[-1] = line[1] - line[-2]
    across = np.stack([-along[:, 1], along[:, 0]], 1) / (np.hypot(along[:, 0], along[:, 1])[:, None] + 1e-6)
    across = across * np.broadcast_to(half, len(line))[:, None]
    return np.concatenate([line + across, (line - across)[::-1]])


def _smooth(points: np.ndarray, times: int = 2) -> np.ndarray:
    """A closed polygon with its corners cut (Chaikin)."""
    for _ in range(times):
        following = np.roll(points, -1, axis=0)
        points = np.stack([0.75 * points + 0.25 * following, 0.25 * points + 0.75 * following], 1).reshape(-1, points.shape[1])
    return points


def _sample(pyramid: list[np.ndarray], u: np.ndarray, v: np.ndarray, pixels_per_unit: float) -> np.ndarray:
    """Look up a stereographic texture in the level whose texels are about as large as the pixels."""
    # over the face's middle du = dx / 2, so a unit of the head is texels / (4 * _REACH) texels
    level = 0
    while level + 1 < len(pyramid) and pyramid[level].shape[0] / (4 * _REACH) > 1.2 * pixels_per_unit:
        level += 1
    texture = pyramid[level]
    k = (texture.shape[0] - 1) / (2 * _REACH)
    return cv2.remap(texture, u * np.float32(k) + np.float32(k * _REACH), v * np.float32(k) + np.float32(k * _REACH), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _light(normal_dot_light: np.ndarray, shadow, lit) -> np.ndarray:
    t = np.clip((normal_dot_light + np.float32(0.35)) * np.float32(1 / 1.35), 0, 1)
    return cv2.merge([np.float32(s) + np.float32(b - s) * t for s, b in zip(shadow, lit, strict=True)])


class _Painter:
    """Everything that the parts of one frame share."""

    def __init__(self, identity: Identity, pose: Pose, width: int, height: int, camera: Camera) -> None:
        self.i, self.pose, self.camera = identity, pose, camera
        self.width, self.height = width, height
        self.rotation = _rotation(pose)
        self.canvas = _Canvas(_background(identity, width, height, camera).copy())
        self.unit = width / camera.view * pose.scale  # pixels per head unit
        self.skin = np.asarray(identity.skin, np.float32)
        self.to_light = (self.rotation.T @ np.asarray(identity.light)).astype(np.float32)  # in head axes
        self.body_shift = 0.45 * np.array([pose.shift_x + 0.25 * np.sin(pose.roll), pose.shift_y]) - (0, 0.13)

    def px(self, points: np.ndarray) -> np.ndarray:
        """Head points (N, 3) -> pixels (N, 2)."""
        return self.camera.to_pixels(_place(points, self.pose, self.rotation), self.width, self.height)

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
        x = (np.arange(box[0], box[2]) - (self.width - 1) / 2) * step + self.camera.x - _PIVOT[0] - pose.shift_x
        y = (np.arange(box[1], box[3]) - (self.height - 1) / 2) * step + self.camera.y - _PIVOT[1] - pose.shift_y
        return (x / pose.scale).astype(np.float32)[None], (y / pose.scale).astype(np.float32)[:, None]

    def hit(self, box: _Box, axes: np.ndarray, middle: np.ndarray, taper: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The front of the ellipsoid under every pixel of the box as a direction (X, Y, Z) of the unit sphere; beside
        the ellipsoid, the nearest point of its outline."""
        x, y = self.view_grid(box)
        r = self.rotation.astype(np.float32)
        start = (_PIVOT - middle).astype(np.float32)
        o = [x * r[0, k] + (y * r[1, k] + start[k]) for k in range(3)]
        d = [float(r[2, k]) for k in range(3)]
        inverse: list = [np.float32(1 / a) for a in axes]
        chin = _chin(self.i, self.pose)
        for turn in range(3 if taper else 1):
            O = [o[k] * inverse[k] for k in range(3)]  # noqa: E741
            D = [d[k] * inverse[k] for k in range(3)]
            a = D[0] * D[0] + D[1] * D[1] + D[2] * D[2]
            b = O[0] * D[0] + O[1] * D[1] + O[2] * D[2]
            c = O[0] * O[0] + O[1] * O[1] + O[2] * O[2] - 1
            z = (np.sqrt(np.maximum(b * b - a * c, 0)) - b) / a
            X, Y, Z = (O[k] + z * D[k] for k in range(3))
            if taper and turn < 2:
                w = 1 / _taper(self.i, np.clip(Y, -1, 1))
                inverse = [w / np.float32(axes[0]), np.where(Y > 0, np.float32(1 / chin), np.float32(1 / _CROWN)), w / np.float32(axes[2])]
        length = 1 / np.sqrt(X * X + Y * Y + Z * Z)
        return X * length, Y * length, Z * length

    # ------------------------------------------------------------------------------------------------ behind the head

    def hair_behind(self) -> None:
        i, cap = self.i, _cap(self.i)
        if cap is None:
            return
        dark = np.asarray(i.hair, np.float32) * 0.62
        if i.hair_style == "long":
            half = cap.axes[0]
            shape = np.array([[-0.6, -0.9, -0.2], [-1.0, -0.3, -0.2], [-1.08, 0.5, -0.15], [-1.12, 1.3, -0.1], [-1.0, 1.95, -0.1], [-0.3, 2.1, -0.1],
                              [0.3, 2.1, -0.1], [1.0, 1.95, -0.1], [1.12, 1.3, -0.1], [1.08, 0.5, -0.15], [1.0, -0.3, -0.2], [0.6, -0.9, -0.2]])  # fmt: skip
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
        outline = self.cap_outline(cap)
        box = self.canvas.box(outline)
        if box[2] <= box[0] or box[3] <= box[1]:
            return
        cover = self.canvas.mask(outline, box)
        x, y = self.view_grid(box)
        height = x * self.rotation[0, 1] + y * self.rotation[1, 1] + (_PIVOT[1] - 0.45 * self.rotation[2, 1])  # head y a little behind
        cover = cover * (1 - _step(height, cap.nape - 0.05, cap.nape + 0.05)).astype(np.float32)
        self.canvas.blend(box, cover, dark, lit=False)
        if i.hair_style == "bun":
            self.ball(np.array([0.22 * i.part, -1.02, -0.25]), 0.30 + 0.05 * i.hair_volume, np.asarray(i.hair))

    def ball(self, middle: np.ndarray, radius: float, colour: np.ndarray) -> None:
        centre = self.px(middle[None])[0]
        r = radius * self.unit
        self.canvas.fill(centre + r * _CIRCLE, colour * 0.7, lit=False)
        light = np.asarray(self.i.light[:2])
        self.canvas.fill(centre + light * r * 0.35 + 0.55 * r * _CIRCLE, colour * 1.12, alpha=0.7, soft=0.25 * r, lit=False)

    def cap_outline(self, cap: _Cap) -> np.ndarray:
        half = self.rotation[:2] * cap.axes  # outline of an ellipsoid: sqrt(half half') times the unit circle
        root = np.linalg.cholesky(half @ half.T)
        angles = np.arange(_OUTLINE) / _OUTLINE * 2 * np.pi
        ring = np.stack([np.cos(angles), np.sin(angles)]) * cap.frizz
        # the frizz turns with the head
        turn = np.array([[np.cos(self.pose.roll), -np.sin(self.pose.roll)], [np.sin(self.pose.roll), np.cos(self.pose.roll)]])
        return self.px(cap.middle[None]) + (root @ turn @ ring).T * self.unit

    def neck_and_body(self, head_outline: np.ndarray) -> None:
        i, canvas = self.i, self.canvas
        wide = 0.345 + 0.3 * (i.width - 0.75) + (0.05 if i.beard else 0.0)
        top = self.px(np.array([[-wide, 0.45, -0.25], [wide, 0.45, -0.25]]))
        low = self.body_px(np.array([[-wide * 1.08, 1.32], [-wide * 1.45, 1.5], [-0.95, 1.72], [-0.8, 2.3], [0.8, 2.3], [0.95, 1.72], [wide * 1.45, 1.5], [wide * 1.08, 1.32]]))
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
        for side, colour, alpha in ((away, self.skin * (0.62, 0.52, 0.50), 0.55), (-away, self.skin * 1.06, 0.35)):
            strip = _ribbon(axis + (side * wide * 0.85 * u, 0), 0.24 * wide * u)
            canvas.blend(box, cover * canvas.mask(strip, box, 0.13 * u) * np.float32(alpha), colour, lit=False)
        for side in (-1, 1):  # collar bones
            bone = self.body_px(np.array([[side * 0.12, 1.72], [side * 0.4, 1.66], [side * 0.75, 1.62]]))
            canvas.blend(box, cover * canvas.mask(_ribbon(bone, 0.02 * u), box, 0.025 * u) * np.float32(0.3), self.skin * 0.72, lit=False)

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
            worn = cv2.warpAffine(picture, matrix, (self.width, self.height - first), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            canvas.image[first:] *= 1 - worn[..., 3:]
            canvas.image[first:] += worn[..., :3]
        # the head's shadow falls on neck and clothes, away from the light
        fall = head_outline + np.array([-0.16 * i.light[0], 0.20]) * u
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
        c, s = _CIRCLE[:, :1], _CIRCLE[:, 1:]
        shape = centre + out * (c + 0.15 * s * s) + up * (s * (1 - 0.12 * c) + 0.08)
        inner = centre + 0.3 * out + 0.62 * (out * c + up * s)
        lit = float(np.clip((np.array([0.75 * side, -0.1, 0.65]) @ self.to_light + 0.35) / 1.35, 0, 1))
        tone = 0.60 + 0.42 * lit
        self.canvas.fill(self.px(shape), self.skin * tone * (1.0, 0.91, 0.89), alpha=alpha, lit=False)
        self.canvas.fill(self.px(inner), self.skin * tone * (0.70, 0.54, 0.51), alpha=0.75 * alpha, soft=0.025 * self.unit, lit=False)
        if i.earrings:
            drop = self.px((centre - 1.0 * up + 0.1 * out)[None])[0]
            r = 0.04 * self.unit
            self.canvas.fill(drop + r * _CIRCLE, (214, 170, 70), alpha=alpha, lit=False)
            self.canvas.fill(drop - 0.3 * r + 0.4 * r * _CIRCLE, (255, 244, 200), alpha=0.8 * alpha, lit=False)

    # ------------------------------------------------------------------------------------------------ the head itself

    def head(self, outline: np.ndarray) -> None:
        i, canvas = self.i, self.canvas
        box = canvas.box(outline)
        if box[2] <= box[0] or box[3] <= box[1]:
            return
        cover = canvas.mask(outline, box)
        axes = np.array([i.width, 0.5 * (_CROWN + i.chin), i.depth])
        X, Y, Z = self.hit(box, axes, np.zeros(3), taper=True)
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
        parts = _nose(i, self.pose)
        bridge, base = self.px(parts["bridge"]), self.px(parts["base"])
        foot = self.px(_lift(i, self.pose, parts["base"][:, :2] + (0, 0.05)))
        away = -np.sign(i.light[0]) or 1.0
        wing = base[0] if away < 0 else base[-1]
        canvas.fill(np.concatenate([bridge, [wing + (away * 0.02 * u, -0.02 * u), wing + (away * 0.03 * u, -0.10 * u)]]), self.skin * (0.66, 0.54, 0.52), alpha=0.34, soft=0.035 * u)
        canvas.fill(_smooth(np.concatenate([base, foot[::-1]])), self.skin * (0.55, 0.42, 0.40), alpha=0.5, soft=0.022 * u)
        tip = bridge[3]
        r = i.nose_width * u
        canvas.fill(tip + (0, 0.02 * u) + 0.62 * r * _CIRCLE, self.skin * (1.02, 0.93, 0.91), alpha=0.55, soft=0.028 * u)
        for k in (0, 4):
            side = -1 if k == 0 else 1
            middle = base[k] + np.array([-side * 0.028, -0.012]) * u
            canvas.fill(middle + 0.055 * u * _CIRCLE, self.skin * (0.97, 0.87, 0.85), alpha=0.6, soft=0.015 * u)
            curve = base[k] + np.array([[-0.035 * side, -0.055], [0.008 * side, -0.03], [0.006 * side, 0.008], [-0.04 * side, 0.022]]) * u
            canvas.fill(_ribbon(curve, 0.011 * u), self.skin * (0.5, 0.36, 0.34), alpha=0.5, soft=0.008 * u)
        for k in (1, 3):
            canvas.fill(base[k] + (0, 0.002 * u) + (0.036 * u, 0.016 * u) * _CIRCLE, self.skin * (0.32, 0.2, 0.18), alpha=0.8, soft=0.006 * u)
        glow = tip + np.array([0.25 * i.light[0], -0.25]) * 0.1 * u
        canvas.fill(glow + 0.028 * u * _CIRCLE, (255, 250, 244), alpha=0.32, soft=0.018 * u)
        canvas.fill(_ribbon(bridge[:3] + (0.012 * np.sign(i.light[0]) * u, 0), 0.014 * u), (255, 246, 236), alpha=0.14, soft=0.016 * u)

    def eye(self, side: int) -> None:
        i, canvas, u = self.i, self.canvas, self.unit
        e = _eye(i, self.pose, side)
        upper, lower, rest = self.px(e.upper), self.px(e.lower), self.px(e.rest_upper)
        almond = np.concatenate([upper, lower[::-1]])
        lid = self.skin * (0.86, 0.74, 0.72)
        crease = rest + (0, -0.042 * u) + np.stack([0 * _T, 0.025 * np.abs(_T) ** 2 * u], 1)
        canvas.fill(_ribbon(crease, 0.010 * u * _ARCH), self.skin * (0.5, 0.37, 0.35), alpha=0.55, soft=0.01 * u)
        if self.pose.blink > 0.02:
            canvas.fill(np.concatenate([rest, upper[::-1]]), lid, alpha=0.75, soft=0.012 * u)
        if self.pose.blink < 0.97:
            box = canvas.box(almond)
            if box[2] > box[0] and box[3] > box[1]:
                inside = canvas.mask(almond, box)
                canvas.blend(box, inside, (246, 243, 240))
                iris = np.asarray(i.iris, np.float32)
                disc, centre = self.px(e.iris), self.px(e.centre[None])[0]
                canvas.blend(box, inside * canvas.mask(disc, box), iris * 0.62)
                canvas.blend(box, inside * canvas.mask(centre + 0.86 * (disc - centre), box, 0.008 * u), iris * 1.15)
                canvas.blend(box, inside * canvas.mask(centre + 0.5 * (disc - centre) + (0, 0.03 * u), box, 0.02 * u) * np.float32(0.4), iris * 1.7)
                canvas.blend(box, inside * canvas.mask(self.px(e.pupil), box), (16, 12, 14), lit=False)
                # the upper lid shades the eyeball
                shadow = np.concatenate([upper - (0, 0.05 * u), (upper + (0, 0.042 * u))[::-1]])
                canvas.darken(box, inside * canvas.mask(shadow, box, 0.016 * u), (0.62, 0.58, 0.60))
                canvas.blend(box, inside * canvas.mask(self.px(e.glint), box), (255, 255, 255), lit=False)
        canvas.fill(_ribbon(lower, 0.007 * u), self.skin * (0.55, 0.38, 0.36), alpha=0.55, soft=0.006 * u)
        thick = (0.013 + 0.013 * i.lashes) * u * np.clip(0.45 + 0.55 * _ARCH + 0.25 * side * _T, 0.15, 1.2)
        lash = upper.copy()
        if i.lashes > 0.75:  # a flick at the outer corner
            end = -1 if side > 0 else 0
            lash[end] += np.array([side * 0.03, -0.022 + 0.03 * self.pose.blink]) * u
        canvas.fill(_ribbon(lash, thick), (34, 24, 24), alpha=0.92)

    def brow(self, side: int) -> None:
        line, half = _brow(self.i, self.pose, side)
        u = self.unit
        shape = _ribbon(self.px(line), half * u)
        self.canvas.fill(shape, self.i.brow_colour, alpha=0.85, soft=0.008 * u)

    def mouth(self) -> None:
        i, canvas, u = self.i, self.canvas, self.unit
        m = _mouth(i, self.pose)
        top, inner_top, inner_low, low = (self.px(p) for p in m)
        lips = np.asarray(i.lips, np.float32)
        outer = np.concatenate([top, low[::-1]])
        # shadow under the lower lip
        canvas.fill(np.concatenate([low, (low + (0, 0.05 * u))[::-1]])[2:-2], self.skin * (0.55, 0.42, 0.40), alpha=0.32, soft=0.02 * u)
        canvas.fill(np.concatenate([top, inner_top[::-1]]), lips * 0.86, soft=0.006 * u)
        canvas.fill(np.concatenate([inner_low, low[::-1]]), lips * 1.04, soft=0.006 * u)
        gape = float(np.abs(inner_low[7, 1] - inner_top[7, 1]))
        if self.pose.mouth > 0.015:
            hole = np.concatenate([inner_top, inner_low[::-1]])
            box = canvas.box(hole)
            if box[2] > box[0] and box[3] > box[1]:
                inside = canvas.mask(hole, box)
                canvas.blend(box, inside, (58, 18, 22), lit=False)
                middle = self.px(_lift(i, self.pose, np.array([[0.0, i.mouth_y + 0.235 * self.pose.mouth + 0.03]])))[0]
                canvas.blend(box, inside * canvas.mask(middle + (0.15 * u, 0.085 * u) * _CIRCLE, box, 0.02 * u), (186, 82, 84), lit=False)
                bite = min(0.075 * u, 0.45 * gape)
                teeth = np.concatenate([inner_top[2:-2] - (0, 0.02 * u), (inner_top[2:-2] + (0, bite))[::-1]])
                canvas.blend(box, inside * canvas.mask(teeth, box, 0.005 * u), (244, 240, 232), lit=True)
                shadow = np.concatenate([inner_top - (0, 0.03 * u), (inner_top + (0, 0.02 * u))[::-1]])
                canvas.darken(box, inside * canvas.mask(shadow, box, 0.012 * u), (0.72, 0.62, 0.62))
        else:
            canvas.fill(_ribbon(0.5 * (inner_top + inner_low), 0.009 * u), lips * (0.42, 0.36, 0.38), alpha=0.85, soft=0.004 * u)
        shine = 0.5 * (inner_low[4:11] + low[4:11])
        canvas.fill(_ribbon(shine, 0.012 * u), (255, 240, 236), alpha=0.22, soft=0.012 * u)
        for k, side in ((0, -1), (-1, 1)):  # corners
            corner = outer[0] if k == 0 else top[-1]
            canvas.fill(corner + (side * 0.012 * u, 0) + 0.018 * u * _CIRCLE, self.skin * (0.5, 0.36, 0.34), alpha=0.5, soft=0.012 * u)

    def spectacles(self) -> None:
        i, canvas, u = self.i, self.canvas, self.unit
        if not i.glasses:
            return
        power = 1.0 if i.glasses == "round" else 0.55
        ring = np.sign(_CIRCLE) * np.abs(_CIRCLE) ** power * (0.245, 0.205 if i.glasses == "round" else 0.165)
        z = float(_lift(i, self.pose, np.array([[i.eye_x, i.eye_y]]))[0, 2]) + 0.13
        colour = np.asarray(i.glasses_colour, np.float32)
        for side in (-1, 1):
            flat = ring + (side * i.eye_x, i.eye_y + 0.02)
            curve = np.concatenate([flat, (z - 0.16 * np.abs(flat[:, :1] - side * 0.1) ** 1.5)], 1)
            lens = self.px(curve)
            canvas.fill(lens, (210, 226, 236), alpha=0.08, lit=False)
            a, b = lens.mean(0), (lens - lens.mean(0))
            canvas.fill(a + np.array([-0.45, -0.5]) * np.abs(b).max(0) + 0.22 * b, (255, 255, 255), alpha=0.16, soft=0.02 * u, lit=False)
            canvas.fill(_ribbon(lens, 0.016 * u, closed=True), colour, lit=False)
            hinge = curve[np.argmax(side * flat[:, 0])]
            arm = self.px(np.stack([hinge, [side * i.width * 1.0, 0.0, -0.05]]))
            if side * self.rotation[2, 0] > -0.1:
                canvas.fill(_ribbon(arm, 0.014 * u), colour * 0.9, lit=False)
        gap = i.eye_x - 0.235
        bridge = np.stack([np.linspace(-gap, gap, 7), i.eye_y - 0.02 - 0.03 * (1 - np.linspace(-1, 1, 7) ** 2), np.full(7, z)], 1)
        canvas.fill(_ribbon(self.px(bridge), 0.014 * u), colour, lit=False)

    def hair_front(self, head_outline: np.ndarray) -> None:
        i, cap, canvas, u = self.i, _cap(self.i), self.canvas, self.unit
        if cap is None:
            return
        outline = self.cap_outline(cap)
        box = canvas.box(outline)
        if box[2] <= box[0] or box[3] <= box[1]:
            return
        X, Y, Z = self.hit(box, cap.axes, cap.middle, taper=False)
        front = 1 / np.maximum(1 + Z, 0.25)
        sample = _sample(cap.texture, X * front, Y * front, u)
        cover = canvas.mask(outline, box) * sample[..., 3]
        # its shadow on the forehead
        drop = max(int(round(0.045 * u)), 1)
        fallen = np.zeros_like(cover)
        fallen[drop:] = cover[:-drop]
        fallen = cv2.blur(cv2.blur(fallen, (drop, drop)), (drop, drop))
        on = canvas.mask(head_outline, box)
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
        colour += (_mix(i.hair, (255, 244, 230), 0.55) - colour) * band[..., None]
        canvas.blend(box, cover, colour, lit=False)


def draw(identity: Identity, pose: Pose, size: int | tuple[int, int] = 256, camera: Camera | None = None) -> Drawing:
    """Draw one puppet in one pose.

    Args:
        identity: any puppet.
        pose: any pose; angles are meant for |yaw| <= 0.6, |pitch| <= 0.4 (the back of a head is not modelled).
        size: pixels of the square picture, or (width, height).
        camera: what of the scene is seen; default is the neutral head in the middle of a square.
    """
    width, height = (size, size) if isinstance(size, int) else size
    camera = camera or Camera()
    painter = _Painter(identity, pose, width, height, camera)
    outline = cv2.convexHull(painter.px(_on_head(identity, pose, _UNIT_SPHERE)).astype(np.float32))[:, 0].astype(np.float64)
    covered = identity.hair_style in ("bob", "long")
    painter.hair_behind()
    painter.neck_and_body(outline)
    for side in (-1, 1):
        painter.ear(side, 1.0, covered)
    painter.head(outline)
    painter.mouth()
    for side in (-1, 1):
        painter.eye(side)
        painter.brow(side)
    painter.nose()
    for side in (-1, 1):  # the ear of the side that is turned to the viewer lies over the head
        painter.ear(side, float(_step(side * painter.rotation[2, 0], 0.02, 0.22)), covered)
    painter.spectacles()
    painter.hair_front(outline)
    image = np.clip(painter.canvas.image + 0.5, 0, 255).astype(np.uint8)
    landmarks = camera.to_pixels(scene_landmarks(identity, pose), width, height).astype(np.float32)
    (x0, y0), (x1, y1) = landmarks.min(0).tolist(), landmarks.max(0).tolist()
    return Drawing(image, landmarks, (x0, y0, x1, y1), pose)


# ---------------------------------------------------------------------------------------------------------------------
# Data sets

FPS = Fraction(25)


@dataclass(frozen=True)
class _Job:
    """One clip to draw; small enough to be sent to another process."""

    identity: int
    motion: int
    frames: int
    size: int
    scale: float
    offset: tuple[float, float]
    folder: Path
    still: bool = False  # only the first frame


def split_identities(identities: int, *, val: float = 0.1, test: float = 0.1) -> list[str]:
    """Split of each identity of a data set: "train", "val" or "test"; at least one identity each.

    Raises:
        InputError: fewer than three identities.
    """
    if identities < 3:
        raise InputError(f"--identities {identities}: must be at least 3, one each to train, validate and test")
    val_count, test_count = max(1, round(identities * val)), max(1, round(identities * test))
    train_count = identities - val_count - test_count
    if train_count < 1:
        raise InputError(f"--identities {identities}: val {val} and test {test} leave none to train; lower them")
    return ["train"] * train_count + ["val"] * val_count + ["test"] * test_count


def write_dataset(
    output: str | Path,
    *,
    identities: int,
    clips: int,
    frames: int,
    size: int,
    seed: int = 0,
    val: float = 0.1,
    test: float = 0.1,
    scale_range: tuple[float, float] = (1.25, 1.6),
    workers: int = 1,
) -> Path:
    """Draw a data set: clips as folders of PNG frames, their exact truth and a manifest.

    Each clip has its own motion and its own fixed square: `scale_range` x the longer side of the union of its face
    boxes, a little off the middle. Beside the frames folder `clips/NAME` lies `clips/NAME.npz` (see `load_truth`).
    Identities belong to one split each. Equal arguments give equal files, whatever the number of workers.

    Args:
        output: folder to make; must not exist yet or be empty.
        identities, clips: how many puppets, and clips of each.
        frames, size: of each clip; frames per clip at 25 per second, pixels of the square.
        val, test: parts of the identities.
        workers: processes that draw.

    Returns:
        the manifest, `output/manifest.csv`.

    Raises:
        InputError: a count below its minimum, a folder in use, a disk that is full.
    """
    splits = split_identities(identities, val=val, test=test)
    _check_counts(clips=(clips, 1), frames=(frames, 2), size=(size, 16), workers=(workers, 1))
    rows, jobs = [], []
    for person in range(identities):
        for take in range(clips):
            name = f"puppet{person:04d}_{take:02d}"
            rng = np.random.default_rng([seed, person, take])
            job = _Job(
                identity=_person(seed, person), motion=int(rng.integers(1 << 31)), frames=frames, size=size,
                scale=float(rng.uniform(*scale_range)), offset=_offset(rng), folder=Path("clips") / name,
            )  # fmt: skip
            jobs.append(job)
            rows.append(_clip(job, name, f"puppet{person:04d}", splits[person]))
    return _write(Path(output), jobs, rows, workers)


def write_pairs(
    output: str | Path,
    *,
    identities: int,
    pairs: int,
    frames: int,
    size: int,
    seed: int = 0,
    val: float = 0.1,
    test: float = 0.1,
    scale_range: tuple[float, float] = (1.25, 1.6),
    workers: int = 1,
) -> Path:
    """Draw cross-identity animation with its exact answer, for the test identities of `write_dataset`'s data set.

    For each pair of two test identities A and B: the driving clip is B with B's motion, the truth clip is A with B's
    motion, and the source clip (one frame) is A in B's first pose, as relative motion transfer assumes. Source and
    truth share one square, found from A's face boxes by the same rule (scale and offset) as the driving clip's from
    B's. `pairs.csv` has the columns source, driving, truth: clip ids of `manifest.csv`, all of split "test".

    Args and errors as `write_dataset` (give the same `identities`, `seed`, `val` and `test`); needs two test identities.

    Returns:
        `output/pairs.csv`.
    """
    splits = split_identities(identities, val=val, test=test)
    held_out = [person for person, split in enumerate(splits) if split == "test"]
    if len(held_out) < 2:
        raise InputError(f"--identities {identities}: leaves {len(held_out)} test identity, pairs need 2; give more or raise test={test}")
    _check_counts(pairs=(pairs, 1), frames=(frames, 2), size=(size, 16), workers=(workers, 1))
    rows, jobs, table = [], [], ["source,driving,truth"]
    for k in range(pairs):
        rng = np.random.default_rng([seed, 0xAB, k])
        a, b = (held_out[int(j)] for j in rng.choice(len(held_out), 2, replace=False))
        motion, scale, offset = int(rng.integers(1 << 31)), float(rng.uniform(*scale_range)), _offset(rng)
        for role, person in (("source", a), ("driving", b), ("truth", a)):
            name = f"pair{k:04d}_{role}"
            job = _Job(_person(seed, person), motion, frames, size, scale, offset, Path("clips") / name, role == "source")
            jobs.append(job)
            rows.append(_clip(job, name, f"puppet{person:04d}", "test"))
        table.append(f"pair{k:04d}_source,pair{k:04d}_driving,pair{k:04d}_truth")
    return _write(Path(output), jobs, rows, workers, {"pairs.csv": "\n".join(table) + "\n"}).with_name("pairs.csv")


def load_truth(clip_folder: str | Path) -> dict[str, np.ndarray]:
    """What is exactly known of a drawn clip, from the .npz beside its frames folder.

    landmarks_px (T, 73, 2), face_box_xyxy_px (T, 4), poses (T, 12), camera (3,) x, y, view, identity () (its seed),
    landmark_names (73,), pose_names (12,).
    """
    clip_folder = Path(clip_folder)
    path = clip_folder.with_name(clip_folder.name + ".npz")
    if not path.is_file():
        raise InputError(f"{path}: no ground truth beside this clip; only drawn clips have it")
    with np.load(path) as arrays:
        return dict(arrays)


def _check_counts(**counts: tuple[int, int]) -> None:
    for name, (value, least) in counts.items():
        if value < least:
            raise InputError(f"--{name} {value}: must be at least {least}")


def _person(seed: int, person: int) -> int:
    """Seed of an identity: data sets of different seeds share no one."""
    return seed * 100_003 + person


def _offset(rng: np.random.Generator) -> tuple[float, float]:
    x, y = np.clip(rng.normal([0.0, 0.02], 0.02), -0.06, 0.06)
    return float(x), float(y)


def _clip(job: _Job, name: str, identity: str, split: str) -> Clip:
    return Clip(
        clip_id=name, path=job.folder.as_posix(), identity=identity, split=split, frames=1 if job.still else job.frames,
        fps=FPS, width=job.size, height=job.size, source_video="puppets",
        crop_rule=f"fixed square of {job.scale:.3f} x the longer side of the union of face boxes",
    )  # fmt: skip


def draw_clip(identity: Identity, poses: Sequence[Pose], size: int | tuple[int, int], camera: Camera) -> Iterator[Drawing]:
    """The drawings of a motion, one after another."""
    return (draw(identity, pose, size, camera) for pose in poses)


def _draw_job(job: _Job, root: Path) -> None:
    cv2.setNumThreads(1)  # processes share the cores already
    identity, poses = random_identity(job.identity), random_motion(job.motion, job.frames, float(FPS))
    camera = framing(identity, poses, scale=job.scale, offset=job.offset)
    folder = root / job.folder
    folder.mkdir(parents=True)
    shown = poses[:1] if job.still else poses
    drawings = []
    for index, drawing in enumerate(draw_clip(identity, shown, job.size, camera)):
        ok, png = cv2.imencode(".png", drawing.image[..., ::-1], (cv2.IMWRITE_PNG_COMPRESSION, 3))
        assert ok
        (folder / f"{index:06d}.png").write_bytes(png.tobytes())
        drawings.append(drawing)
    names = [f.name for f in fields(Pose)]
    np.savez(
        folder.with_name(folder.name + ".npz"),
        landmarks_px=np.stack([d.landmarks_px for d in drawings]),
        face_box_xyxy_px=np.array([d.face_box_xyxy_px for d in drawings], np.float32),
        poses=np.array([[getattr(p, name) for name in names] for p in shown]),
        camera=np.array([camera.x, camera.y, camera.view]),
        identity=np.array(job.identity),
        landmark_names=np.array(LANDMARKS),
        pose_names=np.array(names),
    )


def _write(output: Path, jobs: list[_Job], rows: list[Clip], workers: int, texts: dict[str, str] | None = None) -> Path:
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"{output}: exists already; give a new folder, or remove it first")
    with atomic_output(output) as part:
        part.mkdir()
        with tqdm(total=len(jobs), desc="drawing", unit="clip") as bar:
            if workers == 1:
                for job in jobs:
                    _draw_job(job, part)
                    bar.update()
            else:
                with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
                    for _ in pool.map(partial(_draw_job, root=part), jobs):
                        bar.update()
        for name, text in (texts or {}).items():
            (part / name).write_text(text, encoding="utf-8")
        write_manifest(part / "manifest.csv", rows)
    return output / "manifest.csv"
