"""What a puppet is (`Identity`), what it does (`Pose`), and where that puts every point of its head.

Coordinates
    head     x to picture right, y down, z to the viewer, about the middle of the head of a puppet that looks straight
             ahead; the chin is near y = 1, the crown near y = -1.
    scene    (x, y) on the picture plane in the same unit; a puppet in the neutral pose has its head's middle at (0, 0).
    pixels   (x, y), an integer is the *centre* of a pixel (cv2's convention).
"Left" and "right" are those of the picture. Angles are radians. The projection is orthographic: head point p is drawn
at the scene point  pivot + shift + scale * R (p - pivot),  R = roll @ pitch @ yaw.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from numpy.typing import ArrayLike

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


def _names(stem: str, count: int) -> list[str]:
    return [f"{stem}_{i}" for i in range(count)]


# The first 68 follow the order of the iBUG 300-W markup; each is a fixed point of the head or of a lid or lip.
LANDMARKS: tuple[str, ...] = (
    *_names("jaw", 17),  # left ear, along the jaw, 8 = chin, ... right ear
    *_names("brow_left", 5),  # left to right
    *_names("brow_right", 5),
    *_names("nose_bridge", 4),  # top to tip (3 = tip)
    *_names("nose_base", 5),  # left wing, ..., 2 = middle, ..., right wing
    *(f"eye_left_{part}" for part in ("outer", "upper_0", "upper_1", "inner", "lower_0", "lower_1")),
    *(f"eye_right_{part}" for part in ("inner", "upper_0", "upper_1", "outer", "lower_0", "lower_1")),
    *_names("lips_outer", 12),  # 0 left corner, 1-5 upper edge to the right, 6 right corner, 7-11 lower edge, back
    *_names("lips_inner", 8),  # 0 left, 1-3 upper, 4 right, 5-7 lower
    "pupil_left", "pupil_right",
    "forehead_left", "forehead", "forehead_right",
)  # fmt: skip

TOPS = ("crew", "vneck", "shirt", "stripes", "hoodie")
BACKDROPS = ("gradient", "bokeh", "room", "hills", "cloth")

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Identity:
    """How a puppet looks: lengths in head units, colours RGB 0..255. Made by `random_identity`."""

    seed: int
    width: float  # half width of the head at the temples
    depth: float
    jaw: float  # how much the face narrows to the chin
    chin: float
    skin: Colour
    lips: Colour
    blush: float
    freckles: float
    hair_style: str
    hair: Colour
    hair_volume: float
    hairline: float  # y of the hairline over the nose
    part: float  # -1 ... 1, where the parting is
    eye_x: float
    eye_y: float
    eye_width: float
    eye_height: float
    eye_tilt: float
    iris: Colour
    iris_size: float
    lashes: float
    brow_height: float
    brow_thickness: float
    brow_arch: float
    brow_colour: Colour
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
    glasses_colour: Colour
    earrings: bool
    top: str
    top_colour: Colour
    top_accent: Colour
    shoulders: float
    backdrop: str
    backdrop_a: Colour
    backdrop_b: Colour
    light: tuple[float, float, float]  # unit vector to the light, in view axes


_SKINS = ((255, 224, 196), (250, 212, 184), (242, 196, 160), (232, 184, 142), (219, 164, 120), (200, 142, 98),
          (172, 116, 76), (142, 92, 60), (112, 72, 48), (90, 58, 42))  # fmt: skip
_HAIRS = ((28, 22, 22), (44, 32, 28), (66, 44, 32), (98, 62, 38), (138, 86, 48), (186, 134, 76), (222, 182, 116),
          (150, 66, 34), (178, 82, 40), (128, 126, 126), (196, 194, 190), (70, 60, 66))  # fmt: skip
_DYED = ((70, 110, 150), (150, 80, 120), (92, 132, 104))
_IRISES = ((84, 54, 34), (112, 72, 40), (60, 42, 32), (86, 122, 146), (98, 140, 170), (92, 124, 84), (124, 112, 66),
           (110, 116, 122))  # fmt: skip


def mix(a: ArrayLike, b: ArrayLike, t: float) -> np.ndarray:
    """`a` for t = 0 to `b` for t = 1."""
    return np.asarray(a, np.float32) * (1 - t) + np.asarray(b, np.float32) * t


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """The colour (RGB, 0..255) of these, each in 0..1."""
    pixel = np.array([[[int(hue * 179.99), int(saturation * 255), int(value * 255)]]], np.uint8)
    return three(cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0], 1)


def rgb(values: Iterable[float]) -> Colour:
    """The colour of red, green and blue, cut to 0..255."""
    return three((np.clip(v, 0, 255) for v in values), 1)


def three(values: Iterable[float], digits: int) -> tuple[float, float, float]:
    """Three numbers, rounded."""
    a, b, c = (round(float(v), digits) for v in values)
    return a, b, c


def random_identity(seed: int) -> Identity:
    """The puppet of this seed (>= 0): always the same, whatever was drawn before."""
    rng = np.random.default_rng([seed, 0x1D])
    u = lambda low, high: float(rng.uniform(low, high))  # noqa: E731
    tone = u(0, len(_SKINS) - 1.001)
    skin = mix(_SKINS[int(tone)], _SKINS[int(tone) + 1], tone % 1) + rng.normal(0, 3, 3)
    dark = tone / (len(_SKINS) - 1)
    lips = mix(skin, (196, 70, 76) if dark < 0.6 else (128, 44, 48), u(0.35, 0.7))
    masculine = rng.random() < 0.5
    styles = (("buzz", "short", "parted", "swept", "curly", "short", "swept", "bald", "fringe") if masculine
              else ("long", "bob", "bun", "fringe", "curly", "long", "swept", "bob", "parted"))  # fmt: skip
    # dark skin with fair hair and the like exist, but natural pairs are far more common
    natural = _HAIRS[:4] if dark > 0.55 else _HAIRS
    hairs: Sequence[Colour] = natural if rng.random() < 0.93 else _DYED
    hair = np.asarray(hairs[rng.integers(len(hairs))], float)
    if dark > 0.55 and rng.random() < 0.12:
        hair = np.asarray(_HAIRS[9], float)
    hair = np.clip(hair + rng.normal(0, 6), 14, 235)
    beards = ["", "stubble", "full", "goatee", "moustache"]
    beard = str(rng.choice(beards, p=[0.5, 0.2, 0.14, 0.08, 0.08])) if masculine else ""
    hue = rng.random()
    azimuth, height = u(-0.9, 0.9), u(0.25, 0.7)
    light = np.array([np.sin(azimuth) * np.cos(height), -np.sin(height), np.cos(azimuth) * np.cos(height)])
    top_hue = rng.random()
    return Identity(
        seed=seed, width=u(0.70, 0.80), depth=u(0.82, 0.92), jaw=u(0.06, 0.30) if not masculine else u(-0.08, 0.2),
        chin=u(0.97, 1.06), skin=rgb(skin), lips=rgb(lips), blush=u(0.1, 0.8) * (1 - 0.5 * dark),
        freckles=float(rng.random() < 0.2 and dark < 0.4), hair_style=str(rng.choice(styles)), hair=rgb(hair),
        hair_volume=u(0.0, 1.0), hairline=u(-0.62, -0.51), part=u(-1, 1),
        eye_x=u(0.31, 0.36), eye_y=u(-0.06, 0.02), eye_width=u(0.155, 0.19), eye_height=u(0.075, 0.105),
        eye_tilt=u(-0.02, 0.03),
        iris=rgb(np.asarray(_IRISES[rng.integers(3 if dark > 0.55 else len(_IRISES))]) + rng.normal(0, 5, 3)),
        iris_size=u(0.078, 0.09), lashes=u(0.4, 0.7) if masculine else u(0.6, 1.0), brow_height=u(0.19, 0.24),
        brow_thickness=u(0.03, 0.055) * (1.15 if masculine else 0.8), brow_arch=u(0.02, 0.07),
        brow_colour=rgb(mix(hair, (40, 30, 28), 0.45 if hair.mean() > 90 else 0.15)),
        nose_length=u(0.35, 0.42), nose_width=u(0.105, 0.15), nose_out=u(0.13, 0.2),
        mouth_y=u(0.585, 0.64), mouth_width=u(0.21, 0.265), lip_upper=u(0.03, 0.055), lip_lower=u(0.045, 0.075),
        ear=u(0.85, 1.15), beard=beard, glasses=str(rng.choice(["", "round", "square"], p=[0.78, 0.11, 0.11])),
        glasses_colour=rgb(rng.choice([[30, 28, 30], [92, 58, 36], [150, 40, 44], [40, 56, 96], [170, 140, 84]])),
        earrings=bool(not masculine and rng.random() < 0.45), top=str(rng.choice(TOPS)),
        top_colour=hsv(top_hue, u(0.2, 0.75), u(0.3, 0.9)),
        top_accent=hsv((top_hue + u(0.3, 0.7)) % 1, u(0.05, 0.5), u(0.6, 0.98)),
        shoulders=u(1.45, 1.75), backdrop=str(rng.choice(BACKDROPS)),
        backdrop_a=hsv(hue, u(0.08, 0.42), u(0.55, 0.92)),
        backdrop_b=hsv((hue + u(-0.12, 0.12)) % 1, u(0.15, 0.5), u(0.3, 0.7)),
        light=three(light, 4),
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


# ---------------------------------------------------------------------------------------------------------------------
# Geometry of the head

PIVOT = np.array([0.0, 0.95, -0.35])  # the neck's top: what the head turns about
CROWN = 0.92  # half height of the head's upper half


def rotation_of(pose: Pose) -> np.ndarray:
    """(3, 3) turn of the head."""
    cy, sy, cp, sp, cr, sr = (f(v) for v in (pose.yaw, pose.pitch, pose.roll) for f in (np.cos, np.sin))
    yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    pitch = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return roll @ pitch @ yaw


def turned(angle: float) -> np.ndarray:
    """(2, 2) turn of the picture's plane, clockwise."""
    return rotation_of(Pose(roll=angle))[:2, :2]


def place(points: np.ndarray, pose: Pose, rotation: np.ndarray) -> np.ndarray:
    """Head points (..., 3) -> scene points (..., 2)."""
    moved = (points - PIVOT) @ rotation[:2].T * pose.scale
    return moved + (PIVOT[0] + pose.shift_x, PIVOT[1] + pose.shift_y)


def taper(identity: Identity, y: ArrayLike) -> np.ndarray:
    """Width of the head at normalised height y (-1 crown .. 1 chin), as a factor on the ellipsoid's."""
    low = np.clip(y, 0, 1)
    return 1 - identity.jaw * low * low * (1.6 - 0.6 * low)


def half_chin(identity: Identity, pose: Pose) -> float:
    """Half height of the head's lower half: it grows as the jaw drops."""
    return identity.chin + 0.10 * pose.mouth


Features = dict[str, np.ndarray]
"""Name -> points (N, 3) in head coordinates, left to right."""


def _raised(
    i: Identity, pose: Pose, x: ArrayLike, y: ArrayLike, out: ArrayLike = 0.0, at: tuple[float, float] | None = None
) -> np.ndarray:
    """Points (N, 3) on the head of the front view (x, y), raised by `out`; a flat disc is as deep as the point `at`."""
    x, y = np.broadcast_arrays(x, y)
    over, v = (x, y) if at is None else at
    v = v / np.where(np.asarray(v) > 0, half_chin(i, pose), CROWN)
    w = taper(i, v)
    z = i.depth * w * np.sqrt(np.maximum(1 - (over / (i.width * w)) ** 2 - v * v, 0)) + out
    return np.stack(np.broadcast_arrays(x, y, z), 1)


def _sphere(rings: int, segments: int) -> np.ndarray:
    theta = np.linspace(0.02, np.pi - 0.02, rings)[:, None]
    phi = np.linspace(0, 2 * np.pi, segments, endpoint=False)[None]
    xyz = np.stack(np.broadcast_arrays(np.sin(theta) * np.sin(phi), -np.cos(theta), np.sin(theta) * np.cos(phi)), -1)
    return xyz.reshape(-1, 3)


UNIT_SPHERE = _sphere(40, 56)
T = np.linspace(-1, 1, 15)  # along a lid or a lip
ARCH = 1 - T**2


def circle(points: int) -> np.ndarray:
    """(N, 2) around the unit circle."""
    angles = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.stack([np.cos(angles), np.sin(angles)], 1)


CIRCLE = circle(28)


def on_head(identity: Identity, pose: Pose, unit: np.ndarray) -> np.ndarray:
    """Directions (N, 3) on the unit sphere -> points on the head."""
    w = taper(identity, unit[:, 1])
    y = unit[:, 1] * np.where(unit[:, 1] > 0, half_chin(identity, pose), CROWN)
    return np.stack([unit[:, 0] * identity.width * w, y, unit[:, 2] * identity.depth * w], 1)


def _eye(i: Identity, pose: Pose, side: int) -> Features:
    name = "left" if side < 0 else "right"
    raised = partial(_raised, i, pose)
    x0 = side * i.eye_x
    x = x0 + i.eye_width * T
    base = i.eye_y - side * i.eye_tilt * T - 0.012 * T**2
    shape = np.maximum(1 - np.abs(T) ** 2.3, 0)
    squint = 1 - 0.22 * max(pose.smile, 0)
    low = base + i.eye_height * 0.62 * shape * squint * (1 - 0.15 * pose.blink)
    rest = base - i.eye_height * shape * (1 + 0.12 * pose.brows)
    closed = low - 0.012 * shape
    at = (x0 + 0.062 * pose.gaze_x, i.eye_y - 0.016 + 0.032 * pose.gaze_y)
    lean = 0.4 * (np.sign(i.light[0]) or 1.0) * i.iris_size

    def disc(radius: float, right: float = 0.0, down: float = 0.0) -> np.ndarray:
        return raised(at[0] + right + radius * CIRCLE[:, 0], at[1] + down + radius * CIRCLE[:, 1], at=at)

    return {
        f"lid_upper_{name}": raised(x, closed + (rest - closed) * (1 - pose.blink), -0.02),
        f"lid_lower_{name}": raised(x, low, -0.02),
        f"lid_rest_{name}": raised(x, rest, -0.02),  # the upper lid of the open eye
        f"pupil_centre_{name}": raised([at[0]], [at[1]]),
        f"iris_{name}": disc(i.iris_size),
        f"pupil_{name}": disc(0.5 * i.iris_size),
        f"glint_{name}": disc(0.027, lean, -0.4 * i.iris_size),
    }


def _brow(i: Identity, pose: Pose, side: int) -> Features:
    """The middle line of a brow, left to right; `brow_half` is its half thickness."""
    t = side * T  # -1 at the nose, 1 at the temple
    raised = 0.075 * pose.brows if pose.brows > 0 else 0.04 * pose.brows
    y = i.eye_y - i.brow_height - raised - i.brow_arch * (1 - (t - 0.25) ** 2)
    y = y - 0.03 * min(pose.brows, 0) * (1 - t) / 2  # a frown lowers the inner ends
    x = side * (i.eye_x + 0.02 + 0.215 * t * (1 - 0.03 * pose.brows))
    return {"brow_left" if side < 0 else "brow_right": _raised(i, pose, x, y, 0.015)}


def brow_half(i: Identity, side: int) -> np.ndarray:
    """(15,) half thickness of a brow, left to right, head units."""
    t = side * T
    return i.brow_thickness * (0.95 - 0.35 * np.clip(t, 0, 1) ** 2) * np.clip(1.02 - np.abs(t) ** 6, 0.12, 1)


def _nose(i: Identity, pose: Pose) -> Features:
    tip = i.eye_y + i.nose_length
    flare = i.nose_width * (1 + 0.06 * pose.smile)
    t = np.linspace(0, 1, 4)
    x, y = flare * np.array([-1, -0.5, 0, 0.5, 1]), tip + 0.055 + np.array([-0.035, 0.0, 0.012, 0.0, -0.035])
    bridge_y, bridge_out = i.eye_y - 0.03 + (i.nose_length + 0.03) * t, i.nose_out * t**1.3 + 0.02
    return {
        "nose_bridge": _raised(i, pose, np.zeros(4), bridge_y, bridge_out),
        "nose_base": _raised(i, pose, x, y, i.nose_out * np.array([0.12, 0.4, 0.6, 0.4, 0.12])),
        "nose_foot": _raised(i, pose, x, y + 0.05),
    }


def _mouth(i: Identity, pose: Pose) -> Features:
    smile, gape = pose.smile, pose.mouth
    half = i.mouth_width * (1 + 0.22 * max(smile, 0) + 0.10 * min(smile, 0) - 0.16 * gape)
    line = i.mouth_y + 0.012 * smile - (0.085 * smile if smile > 0 else 0.06 * smile) * np.abs(T) ** 1.8
    full = np.maximum(1 - np.abs(T) ** 2.4, 0)
    top, low = line - 0.045 * gape * full, line + (0.004 + 0.235 * gape) * full
    bow = full * (1 - 0.22 * np.exp(-((T / 0.16) ** 2)))  # the cupid's bow
    lips = {
        "lip_outer_upper": top - i.lip_upper * (1 - 0.2 * max(smile, 0)) * bow,
        "lip_inner_upper": top,
        "lip_inner_lower": low,
        "lip_outer_lower": low + i.lip_lower * (1 - 0.2 * max(smile, 0)) * full**0.85,
    }
    raised = {name: _raised(i, pose, half * T, y, 0.03 + 0.05 * ARCH) for name, y in lips.items()}
    return raised | {"tongue": _raised(i, pose, [0.0], [i.mouth_y + 0.235 * gape + 0.03])}


def features_of(identity: Identity, pose: Pose) -> Features:
    """Everything on the face that moves or is marked."""
    top = identity.hairline
    forehead = _raised(identity, pose, [-0.36, 0.0, 0.36], [top + 0.05, top, top + 0.05])
    # the jaw: a cut through the head a little before the ears
    t = np.linspace(-1, 1, 17)
    v = 0.02 + 0.965 * np.cos(t * np.pi / 2) ** 0.9
    z = 0.16 + 0.1 * np.cos(t * np.pi / 2)
    ring = np.sqrt(1 - v * v)
    jaw = on_head(identity, pose, np.stack([np.sign(t) * ring * np.sqrt(1 - z * z), v, z * ring], 1))
    eyes, brows = (part(identity, pose, -1) | part(identity, pose, 1) for part in (_eye, _brow))
    return {**eyes, **brows, **_nose(identity, pose), **_mouth(identity, pose), "forehead": forehead, "jaw": jaw}


def landmarks_of(features: Features) -> np.ndarray:
    """The points of LANDMARKS out of the features', in whatever coordinates these are."""
    f = features
    lids = [
        np.concatenate([f[f"lid_upper_{side}"][[0, 4, 10, 14]], f[f"lid_lower_{side}"][[10, 4]]])
        for side in ("left", "right")
    ]
    return np.concatenate([
        f["jaw"], *(f[f"brow_{side}"][[0, 4, 7, 10, 14]] for side in ("left", "right")),
        f["nose_bridge"], f["nose_base"], *lids, f["lip_outer_upper"][[0, 3, 5, 7, 9, 11, 14]],
        f["lip_outer_lower"][[11, 9, 7, 5, 3]],
        f["lip_inner_upper"][[1, 4, 7, 10, 13]], f["lip_inner_lower"][[10, 7, 4]],
        f["pupil_centre_left"], f["pupil_centre_right"], f["forehead"],
    ])  # fmt: skip


def scene_landmarks(identity: Identity, pose: Pose) -> np.ndarray:
    """Landmarks (73, 2) in scene units, in the order of LANDMARKS."""
    return place(landmarks_of(features_of(identity, pose)), pose, rotation_of(pose))


def framing(
    identity: Identity, poses: Sequence[Pose], *, scale: float = 1.35, offset: tuple[float, float] = (0.0, 0.0)
) -> Camera:
    """The one square in which a whole clip is drawn, as training crops are cut: `scale` x the longer side of the union
    of its face boxes, moved by `offset` (in parts of the side)."""
    points = np.concatenate([scene_landmarks(identity, pose) for pose in poses])
    low, high = points.min(0), points.max(0)
    side = float((high - low).max()) * scale
    x, y = (low + high) / 2 + np.asarray(offset) * side
    return Camera(float(x), float(y), side)
