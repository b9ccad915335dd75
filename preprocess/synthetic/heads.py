"""Drawn heads near to people's: what a head is (`Head`), what its face does (`Expression`), where that puts its points.

A head is a puppet (hair, ears, clothes, backdrop: `puppet_model`) with another face: a surface whose points are
MediaPipe's landmarks (`face_mesh`), so that the exact landmarks of every drawing are known. `Pose` says how the head
is held, `Expression` what the face does; both are independent of who it is. Coordinates and units: `puppet_model`.

    head, expression, pose = random_head(1), random_expression(2), random_stance(3)
    image, landmarks_px = draw_head(head, pose, expression, 256, frame_head(head, pose))   # from `head_painter`
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from fomm.model.face.mesh import MIRROR
from preprocess.synthetic.face_mesh import (
    LIP_ALONG,
    LIP_HALF,
    LIP_POINTS,
    LIP_RING,
    LOWER_LID,
    LOWER_LID_ALONG,
    LOWER_LIP,
    MEAN,
    UPPER_LID,
    UPPER_LID_ALONG,
    UPPER_LIP,
    follow,
    near,
    settle,
)
from preprocess.synthetic.puppet_model import (
    Camera,
    Colour,
    Identity,
    Pose,
    hsv,
    mix,
    place,
    random_identity,
    rgb,
    rotation_of,
    three,
)

NUM_POINTS = 478  # 468 of the face, then centre, right, top, left, bottom of the left and of the right iris


@dataclass(frozen=True)
class Expression:
    """What a face does in one frame. 0 is at rest; 1 (or -1) as far as it goes. "Left" is the picture's left."""

    jaw: float = 0.0  # 0 shut ... 1 wide open
    jaw_side: float = 0.0  # -1 to the left ... 1
    smile_left: float = 0.0  # -1 the corner drawn down ... 1 up and out
    smile_right: float = 0.0
    stretch: float = 0.0  # -1 narrow mouth ... 1 wide
    pucker: float = 0.0  # 0 ... 1 lips pushed forward to a point
    funnel: float = 0.0  # 0 ... 1 lips rolled out to an O
    press: float = 0.0  # 0 ... 1 lips rolled in
    bare_upper_left: float = 0.0  # 0 ... 1 the upper lip raised: upper teeth bared
    bare_upper_right: float = 0.0
    bare_lower: float = 0.0  # 0 ... 1 the lower lip lowered: lower teeth bared
    tongue: float = 0.3  # 0 low ... 1 raised behind the teeth
    puff: float = 0.0  # 0 ... 1 cheeks blown up
    blink_left: float = 0.0  # 0 open ... 1 shut
    blink_right: float = 0.0
    wide: float = 0.0  # 0 ... 1 eyes torn open
    squint: float = 0.0  # 0 ... 1
    gaze_x: float = 0.0  # -1 (picture left) ... 1
    gaze_y: float = 0.0  # -1 (up) ... 1
    brow_left: float = 0.0  # -1 lowered ... 1 raised
    brow_right: float = 0.0
    brow_inner: float = 0.0  # -1 drawn together and down ... 1 raised at the nose
    sneer: float = 0.0  # 0 ... 1 wings of the nose raised


@dataclass(frozen=True)
class Light:
    """Light on a head, in view axes (x right, y down, z to the viewer); colours are factors about 1."""

    direction: tuple[float, float, float]  # unit vector to the key light
    key: Colour
    sky: Colour  # ambient light from above
    ground: Colour  # and from below
    rim: tuple[float, float, float]  # unit vector to a light from behind
    rim_strength: float  # 0 ... 1
    shine: float  # strength of the skin's gloss

    def on(self, normal: np.ndarray, seen: np.ndarray | float = 1.0) -> np.ndarray:
        """Linear light (..., 3) that matt skin of these unit normals (..., 3) sends back; `seen` (...), 0..1, is how
        much of the key light reaches it."""
        toward = normal @ np.asarray(self.direction, np.float32)
        sky, ground, key = (np.asarray(c, np.float32) for c in (self.sky, self.ground, self.key))
        up = np.clip(0.5 - 0.5 * normal[..., 1], 0, 1)[..., None]
        matt = ground + (sky - ground) * up + (np.clip((toward + 0.22) / 1.22, 0, 1) * seen)[..., None] * key
        # light that has gone through skin is red
        through = np.clip(1 - np.abs(toward + 0.05) / 0.35, 0, 1)[..., None]
        matt = matt + through * (key * np.array([0.10, 0.015, 0.0], np.float32))
        matt *= (0.72 + 0.28 * np.clip(normal[..., 2] * 1.6, 0, 1))[..., None]
        edge = np.clip(normal @ np.asarray(self.rim, np.float32), 0, 1) ** 1.5
        edge = edge * (1 - np.clip(normal[..., 2], 0, 1)) ** 2
        return matt + (1.6 * self.rim_strength * edge)[..., None] * key

    def mirrored(self, normal: np.ndarray, sharpness: float) -> np.ndarray:
        """Linear light (...,) that a gloss of 1 mirrors to the viewer."""
        half = np.asarray(self.direction, np.float32) + np.array([0, 0, 1], np.float32)
        return np.clip(normal @ (half / np.linalg.norm(half)), 0, 1) ** sharpness * np.float32(0.55 * self.shine)


@dataclass(frozen=True)
class Head:
    """How a head looks: lengths in head units (about 10 cm), colours RGB 0..255. Made by `random_head`."""

    seed: int
    puppet: Identity  # its hair, ears, clothes and backdrop
    light: Light
    backdrop: Colour  # factors on the puppet's backdrop: dark and coloured rooms
    finish: str  # "skin", "statue" (one colour, eyes too) or "paint"
    shape: float  # how far its face departs from the mean
    eye_x: float
    eye_width: float
    eye_upper: float  # height of the open upper lid over the line between the corners
    eye_lower: float
    eye_tilt: float
    lid_fold: float  # 0 none ... 1 deep crease
    lashes: float
    iris: Colour
    iris_size: float
    pupil: float  # part of the iris
    sclera: Colour
    mouth_width: float
    lip_upper: float
    lip_lower: float
    skin: Colour
    lips: Colour
    teeth: Colour
    teeth_size: float
    teeth_uneven: float
    brows: Colour
    brow_weight: float
    beard: Colour
    beard_growth: float  # 0 none, 0.3 stubble ... 1 full
    beard_style: str  # "full", "goatee" or "moustache"
    age: float  # 0 ... 1: wrinkles, bags
    blemish: float  # spots, redness
    shadow_colour: Colour  # of the eyelids' make-up
    shadow_strength: float
    liner: float
    glasses: str  # "", "round", "square" or "rimless"
    glasses_colour: Colour


# ---------------------------------------------------------------------------------------------------------------------
# The neutral face of a head

_EYE_Y, _MOUTH_Y = -0.035, 0.612


@lru_cache(maxsize=16)
def neutral_face(head: Head) -> np.ndarray:
    """The surface at rest (468, 3), without this head's own lids and lips (those are set by `surface_of`)."""
    rng = np.random.default_rng([head.seed, 0x5A])
    face = MEAN * [head.puppet.width / 0.735, 1.0, 1.0]
    for size, count, symmetric in ((0.028, 9, True), (0.009, 5, False)):
        for _ in range(count):
            weights = near([int(rng.integers(468))], float(rng.uniform(0.12, 0.4)))[:, None]
            move = rng.normal(0, head.shape * size, 3)
            face = face + weights * move
            if symmetric:
                face = face + weights[MIRROR] * (move * [-1, 1, 1])
    nose, chin = near([4, 1, 5], 0.1)[:, None], near([152, 175, 199], 0.2)[:, None]
    jaw = (near([172, 136, 58], 0.2) - near([397, 365, 288], 0.2))[:, None]
    wing = (near([64, 102, 49, 98], 0.05) - near([294, 331, 279, 327], 0.05))[:, None]
    s = head.shape
    face = face + nose * [0, rng.normal(0, 0.025 * s), rng.normal(-0.01, 0.03 * s)]
    face = face + chin * [0, rng.normal(0, 0.045 * s), rng.normal(0, 0.03 * s)]
    face = face + jaw * [rng.normal(0.0, 0.035 * s), 0, 0] + wing * [rng.normal(0.0, 0.02 * s), 0, 0]
    brow = near([63, 105, 66, 107, 296, 334, 293, 336, 9, 8], 0.12)[:, None]
    return face + brow * [0, 0, rng.normal(0.0, 0.02 * s)]


# ---------------------------------------------------------------------------------------------------------------------
# Movement


def _sides(left: list[int], right: list[int], reach: float, move: tuple[float, float, float]) -> np.ndarray:
    """Movements (2, 468, 3) of the left and of the right side; `move` is the right one's."""
    return np.stack([near(left, reach)[:, None] * np.array(move) * [-1, 1, 1], near(right, reach)[:, None] * move])


_CHEEK = _sides([50, 205, 36], [280, 425, 266], 0.13, (0.02, -0.055, 0.035))
_BROW_UP = _sides([63, 105, 66, 53, 52, 65], [293, 334, 296, 283, 282, 295], 0.10, (0.0, -0.085, 0.0))
_BROW_INNER = _sides([107, 55, 66], [336, 285, 296], 0.09, (-0.02, 0.05, 0.01))
_SNEER = _sides([129, 64, 98, 49], [358, 294, 327, 279], 0.08, (0.015, -0.035, 0.01))
_PUFF = _sides([207, 187, 192, 214, 206], [427, 411, 416, 434, 426], 0.14, (0.07, 0.0, 0.07))
_FOREHEAD = near([9, 151, 108, 337], 0.12)[:, None] * [0.0, -0.03, 0.0]

_HINGE = np.array([0.0, 0.12, 0.0])  # what the jaw turns about
_JAW_ANGLE = 0.54  # radians, wide open
_OUTER_LIP = np.unique(UPPER_LIP[3] + LOWER_LIP[3])
_LIDS = np.unique(sum((*UPPER_LID.values(), *LOWER_LID.values()), []))
_LIPS_LEAD, _LIDS_LEAD = follow(_OUTER_LIP, 0.36), follow(_LIDS, 0.17)


def _jaw_share() -> np.ndarray:
    """How much of the jaw's turn each point (468,) makes."""
    nose = [1, 2, 4, 5, 6, 8, 97, 98, 129, 164, 168, 195, 197, 326, 327, 358]
    eyes = [33, 263, 133, 362, 23, 253, 228, 448, 232, 452]
    still = [*UPPER_LIP[3][1:-1], *nose, *eyes, 50, 280, 10, 93, 127, 234, 323, 356, 454]
    chin = (152, 148, 377, 176, 400, 175, 171, 396, 199, 208, 428, 200, 201, 421, 18, 83, 313, 149, 378)
    whole = [*chin, *LOWER_LIP[3][2:-2]]
    part = {150: 0.9, 379: 0.9, 136: 0.72, 365: 0.72, 172: 0.45, 397: 0.45, 58: 0.2, 288: 0.2, 132: 0.05, 361: 0.05,
            61: 0.3, 291: 0.3, 57: 0.32, 287: 0.32}  # fmt: skip
    return settle({**{k: 0.0 for k in still}, **{k: 1.0 for k in whole}, **part})


_JAW_SHARE = _jaw_share()[:, None]


class Eye(NamedTuple):
    """An eyeball: centre (3,), radius and the unit vector (3,) it looks along, in head axes."""

    centre: np.ndarray
    radius: float
    gaze: np.ndarray


class Surface(NamedTuple):
    """Where everything on a face is, in head coordinates."""

    points: np.ndarray  # (478, 3): the landmarks
    eyes: dict[int, Eye]  # -1: the left one, 1: the right one
    lip_z: float  # how far the middle of the lips at rest comes forward
    jaw: np.ndarray  # (3, 3) turn of the lower jaw
    jaw_shift: np.ndarray  # (3,)

    def with_jaw(self, points: np.ndarray) -> np.ndarray:
        """Points (N, 3) that are fixed to the lower jaw, given where they are when it is shut."""
        return (points - _HINGE) @ self.jaw.T + _HINGE + self.jaw_shift


def _lids(head: Head, e: Expression, side: int, face: np.ndarray, eye: Eye) -> tuple[np.ndarray, np.ndarray]:
    """The upper and the lower lid's edge (9, 3), outer to inner corner."""
    blink = e.blink_left if side < 0 else e.blink_right
    smile = max(e.smile_left if side < 0 else e.smile_right, 0)
    raised = e.brow_left if side < 0 else e.brow_right
    squint = np.clip(e.squint + 0.45 * smile, 0, 1)
    lifted = 1 + 0.42 * e.wide + 0.08 * raised - 0.32 * squint - 0.40 * max(e.gaze_y, 0) - 0.14 * min(e.gaze_y, 0)
    up = head.eye_upper * lifted
    low = head.eye_lower * (1 - 0.55 * squint + 0.15 * e.wide + 0.22 * e.gaze_y) * (1 - 0.1 * blink)
    corners = face[[UPPER_LID[side][0], UPPER_LID[side][-1]], 2]
    edges = []
    for s, upper in ((UPPER_LID_ALONG, True), (LOWER_LID_ALONG, False)):
        line = _EYE_Y + head.eye_tilt * s + 0.006 * (s > 0.8)
        arch = np.maximum(1 - np.abs(s - 0.12 * (1 - s * s)) ** 2.2, 0)
        bowl = np.maximum(1 - np.abs(s + 0.12 * (1 - s * s)) ** 2.2, 0)
        y = line + low * bowl
        if upper:
            opened = line - up * arch
            y = opened + blink * (y + 0.003 * arch - opened)
        x = side * (head.eye_x - head.eye_width * s)
        away = (x - eye.centre[0]) ** 2 + (y - eye.centre[1]) ** 2
        ball = eye.centre[2] + np.sqrt(np.maximum((eye.radius + (0.016 if upper else 0.012)) ** 2 - away, 0))
        edges.append(np.stack([x, y, np.maximum(ball, np.interp(s, [-1, 1], corners))], 1))
    return edges[0], edges[1]


def _eye(head: Head, e: Expression, side: int, face: np.ndarray) -> Eye:
    radius = 0.117
    front = face[[159, 145] if side < 0 else [386, 374], 2].mean() - 0.012
    gx, gy = 0.62 * e.gaze_x, 0.45 * e.gaze_y
    gaze = np.array([np.sin(gx) * np.cos(gy), np.sin(gy), np.cos(gx) * np.cos(gy)])
    return Eye(np.array([side * head.eye_x, _EYE_Y - 0.008, front - radius]), radius, gaze)


def _lips(head: Head, e: Expression, front: float, drop: np.ndarray) -> np.ndarray:
    """The lips' points (N, 3) in the order of `LIP_POINTS`; `drop` (3,) is the way of the jaw at the lower lip."""
    t, ring, lower = LIP_ALONG, LIP_RING, LIP_HALF > 0
    right = (t + 1) / 2
    smile = e.smile_left + (e.smile_right - e.smile_left) * right
    up, down = np.maximum(smile, 0), np.maximum(-smile, 0)
    bared = e.bare_upper_left + (e.bare_upper_right - e.bare_upper_left) * right
    wide = 1 + 0.27 * up + 0.04 * down + 0.16 * e.stretch - 0.44 * e.pucker - 0.26 * e.funnel - 0.15 * e.jaw * (1 - up)
    half = head.mouth_width * wide
    power = 2.0 + 0.9 * e.jaw + 0.5 * e.funnel - 0.3 * e.pucker
    full = np.maximum(1 - np.abs(t) ** power, 0)
    edge = np.abs(t) ** 1.7
    # the corners, and the line between the lips when nothing parts them
    line = _MOUTH_Y + edge * (0.34 * drop[1] - 0.105 * up + 0.075 * down) + 0.012 * up - 0.012 * e.pucker
    line = line + 0.010 * np.exp(-((t / 0.2) ** 2)) * (1 - e.jaw)
    parted_up = full * (0.018 * e.jaw + 0.085 * bared + 0.05 * e.funnel + 0.02 * up)
    parted_down = full * (drop[1] - 0.34 * drop[1] * edge + 0.085 * e.bare_lower + 0.05 * e.funnel)
    inner = np.where(lower, line + parted_down, line - parted_up)
    swell = 1 - 0.24 * up - 0.72 * e.press + 0.30 * e.pucker + 0.18 * e.funnel - 0.10 * e.jaw - 0.12 * bared
    bow = np.maximum(1 - np.abs(t) ** 2.4, 0) * (1 - 0.24 * np.exp(-((t / 0.13) ** 2)))
    thick = np.where(lower, head.lip_lower * np.maximum(1 - t * t, 0) ** 0.8, head.lip_upper * bow) * swell
    y = inner + np.where(lower, 1, -1) * ring * thick
    x = t * half * (0.885 + 0.115 * ring) + drop[0] * np.where(lower, 0.35 + 0.65 * full, 0.3 * edge)
    profile = np.interp(ring, [0, 1 / 3, 2 / 3, 1], [0.0, 0.85, 1.0, 0.25])
    z = front - 2.0 * (t * head.mouth_width) ** 2 + profile * (0.012 + 0.55 * thick) * full
    z = z + (0.085 * e.pucker + 0.05 * e.funnel - 0.03 * e.press) * full - 0.05 * up * edge
    z = z + np.where(lower, drop[2] * (0.3 + 0.7 * full), 0.3 * drop[2] * edge) + 0.03 * e.puff * full
    return np.stack([x, y, z], 1)


def surface_of(head: Head, e: Expression) -> Surface:
    """The face of this head with this expression."""
    face = neutral_face(head)
    front = float(face[13, 2])
    moved = face.copy()
    for side, cheek, brow, wing in ((0, e.smile_left, e.brow_left, e.bare_upper_left),
                                    (1, e.smile_right, e.brow_right, e.bare_upper_right)):  # fmt: skip
        moved += max(cheek, 0) * _CHEEK[side] + (brow if brow > 0 else 0.5 * brow) * _BROW_UP[side]
        moved += max(-e.brow_inner, 0) * _BROW_INNER[side] - 0.9 * max(e.brow_inner, 0) * _BROW_INNER[side]
        moved += max(e.sneer, 0.6 * wing) * _SNEER[side] + e.puff * _PUFF[side]
        moved += 0.35 * e.squint * _CHEEK[side]
    moved += (0.5 * (e.brow_left + e.brow_right) + max(e.brow_inner, 0)) * _FOREHEAD

    jaw = rotation_of(Pose(pitch=_JAW_ANGLE * e.jaw))
    shift = np.array([0.07 * e.jaw_side, 0, 0.03 * e.jaw])
    moved += _JAW_SHARE * ((moved - _HINGE) @ jaw.T + _HINGE + shift - moved)

    at_lip = np.array([0, _MOUTH_Y, front])
    drop = jaw @ (at_lip - _HINGE) + _HINGE + shift - at_lip
    lips = _lips(head, e, front, drop)
    eyes = {side: _eye(head, e, side, face) for side in (-1, 1)}
    target = moved.copy()
    target[LIP_POINTS] = lips
    for side in (-1, 1):
        upper, lower = _lids(head, e, side, face, eyes[side])
        target[LOWER_LID[side]] = lower
        target[UPPER_LID[side]] = upper
    led = moved + _LIPS_LEAD @ (target - moved)[_OUTER_LIP] + _LIDS_LEAD @ (target - moved)[_LIDS]
    led[LIP_POINTS] = target[LIP_POINTS]
    led[_LIDS] = target[_LIDS]
    return Surface(np.concatenate([led, *(_iris(head, eyes[side]) for side in (-1, 1))]), eyes, front, jaw, shift)


def _iris(head: Head, eye: Eye) -> np.ndarray:
    """Centre, right, top, left, bottom (5, 3) of the iris' rim."""
    across = np.cross([0, 1, 0], eye.gaze)
    across /= np.linalg.norm(across)
    down = np.cross(eye.gaze, across)
    r = head.iris_size
    centre = eye.centre + eye.gaze * np.sqrt(eye.radius**2 - r * r)
    return centre + r * np.stack([0 * across, across, -down, -across, down])


# ---------------------------------------------------------------------------------------------------------------------
# Chance


_SKINS = ((250, 222, 208), (242, 208, 190), (230, 190, 168), (218, 172, 146), (202, 152, 124), (178, 128, 100),
          (150, 104, 80), (124, 84, 66), (100, 68, 54), (76, 52, 43))  # fmt: skip
_IRISES = ((72, 46, 28), (96, 62, 36), (52, 36, 26), (118, 88, 48), (110, 112, 70), (98, 124, 110), (104, 138, 160),
           (88, 118, 150), (126, 140, 148), (64, 50, 40))  # fmt: skip


_LIPSTICKS = ((176, 28, 44), (205, 70, 96), (140, 30, 50), (216, 110, 104), (120, 50, 60))
_EYE_SHADOWS = ((96, 60, 56), (60, 50, 60), (120, 80, 110), (60, 80, 110), (150, 100, 80), (40, 34, 36))
_STONES = ((226, 222, 214), (176, 170, 160), (120, 112, 100), (110, 84, 52), (84, 92, 82))  # and bronze
_FRAMES = ((30, 28, 30), (92, 58, 36), (150, 40, 44), (60, 66, 80), (180, 150, 96), (170, 172, 176))


def random_light(rng: np.random.Generator, brightness: float = 1.0) -> Light:
    """From soft frontal light to hard light from the side, warm or cold, now and then from below."""
    u = lambda low, high: float(rng.uniform(low, high))  # noqa: E731
    azimuth, height = u(-1.35, 1.35), u(-0.1, 1.0)
    direction = (np.sin(azimuth) * np.cos(height), -np.sin(height), np.cos(azimuth) * np.cos(height))
    warm = rng.normal(0, 0.10)
    hard = rng.beta(1.6, 2.0)
    key = np.array([1 + warm, 1.0, 1 - warm]) * (0.35 + 0.75 * hard)
    fill = 0.95 - 0.72 * hard
    cool = rng.normal(0, 0.07) - 0.4 * warm
    tint = np.array([1 + cool, 1.0, 1 - cool])
    exposure = brightness * np.exp(rng.normal(0.0, 0.16))
    rim = u(-2.6, -1.7) if rng.random() < 0.5 else u(1.7, 2.6)
    return Light(
        direction=three(direction, 4),
        key=three(exposure * key, 4),
        sky=three(exposure * fill * tint * u(0.85, 1.1), 4),
        ground=three(exposure * fill * np.array([1.05, 0.97, 0.92]) * u(0.45, 0.9), 4),
        rim=(round(np.sin(rim), 4), -0.3, round(np.cos(rim), 4)),
        rim_strength=max(0.0, u(-0.5, 0.7)),
        shine=u(0.05, 0.5),
    )


def random_head(seed: int) -> Head:
    """The head of this seed (>= 0): always the same, whatever was drawn before."""
    rng = np.random.default_rng([seed, 0x4EAD])
    u = lambda low, high: float(rng.uniform(low, high))  # noqa: E731
    puppet = random_identity(seed)
    woman = puppet.earrings or puppet.hair_style in ("long", "bob", "bun")
    tone = rng.random() ** 1.35 * (len(_SKINS) - 1.001)
    dark = tone / (len(_SKINS) - 1)
    skin = mix(_SKINS[int(tone)], _SKINS[int(tone) + 1], tone % 1) * (1 + rng.normal(0, [0.03, 0.03, 0.05]))
    if rng.random() < 0.03:  # painted, or no person at all
        skin = np.asarray(hsv(rng.random(), u(0.2, 0.6), u(0.4, 0.9)))
    natural = mix(skin, (190, 84, 84) if dark < 0.6 else (118, 58, 58), u(0.25, 0.6))
    painted = rng.random() < (0.4 if woman else 0.03)
    lipstick = _LIPSTICKS[rng.integers(len(_LIPSTICKS))]
    lips = mix(natural, lipstick, u(0.4, 0.9)) if painted else natural
    finish = str(rng.choice(["skin", "paint", "statue"], p=[0.88, 0.06, 0.06]))
    statue = finish == "statue"
    made_up = woman and not statue and rng.random() < 0.6
    iris = np.asarray(_IRISES[rng.integers(4 if dark > 0.5 else len(_IRISES))]) * (1 + rng.normal(0, 0.08, 3))
    if statue:
        stone = _STONES[rng.integers(len(_STONES))]
        skin = np.asarray(stone) * (1 + rng.normal(0, 0.03, 3))
        lips, iris, puppet = skin, skin * u(0.75, 1.0), replace(puppet, hair=rgb(skin * 0.9), earrings=False)
    growth = 0.0
    if not woman and not statue:
        growth = float(rng.choice([0, u(0.1, 0.35), u(0.4, 0.7), u(0.75, 1)], p=[0.4, 0.3, 0.12, 0.18]))
    hair = np.asarray(puppet.hair)
    age = float(rng.beta(1.2, 1.8))
    if age > 0.7 and not statue and rng.random() < 0.6:
        hair = mix(hair, (190, 188, 186), u(0.3, 1))
    grown = hair if hair[0] >= hair[1] >= hair[2] else np.array([58.0, 44.0, 38.0])  # brows and beards are seldom dyed
    light = random_light(rng, 1 + 0.3 * dark)
    return Head(
        seed=seed,
        puppet=_faceless(puppet, skin, hair, light, width=u(0.59, 0.73), hairline=u(-0.74, -0.5)),
        light=light,
        backdrop=three(np.clip(u(0.15, 1.1) * (1 + rng.normal(0, 0.1, 3)), 0, 1.2), 3),
        finish=finish,
        shape=u(0.4, 1.1),
        eye_x=u(0.272, 0.310),
        eye_width=u(0.118, 0.144),
        eye_upper=u(0.038, 0.068),
        eye_lower=u(0.026, 0.042),
        eye_tilt=u(-0.012, 0.026),
        lid_fold=u(0.0, 1.0) if rng.random() < 0.8 else 0.0,
        lashes=u(0.3, 1.0) if woman else u(0.0, 0.4),
        iris=rgb(iris),
        iris_size=u(0.052, 0.060),
        pupil=u(0.26, 0.62),
        sclera=rgb(skin * 0.98 if statue else mix((226, 219, 214), (206, 186, 172), u(0, 1)) * (1 - 0.24 * dark)),
        mouth_width=u(0.190, 0.250),
        lip_upper=u(0.035, 0.072) * (1 + 0.25 * dark),
        lip_lower=u(0.055, 0.095) * (1 + 0.2 * dark),
        skin=rgb(skin),
        lips=rgb(lips),
        teeth=rgb(skin if statue else mix((250, 243, 234), (226, 204, 168), rng.beta(1.3, 2.5))),
        teeth_size=u(0.88, 1.12),
        teeth_uneven=float(rng.beta(1.2, 3)),
        brows=rgb(skin * 0.92 if statue else mix(grown, (34, 26, 24), u(0.2, 0.6) if grown.mean() > 90 else 0.15)),
        brow_weight=u(0.35, 0.9) if woman else u(0.5, 1.15),
        beard=rgb(mix(grown, (40, 30, 28), u(0, 0.4))),
        beard_growth=growth,
        beard_style=str(rng.choice(["full", "goatee", "moustache"], p=[0.65, 0.2, 0.15])),
        age=age,
        blemish=float(rng.beta(1, 2.5)),
        shadow_colour=rgb(rng.choice(_EYE_SHADOWS)),
        shadow_strength=u(0.2, 0.9) if made_up else 0.0,
        liner=u(0.3, 1.0) if made_up else 0.0,
        glasses="" if statue else str(rng.choice(["", "round", "square", "rimless"], p=[0.8, 0.07, 0.07, 0.06])),
        glasses_colour=rgb(rng.choice(_FRAMES)),
    )


def _faceless(
    puppet: Identity, skin: np.ndarray, hair: np.ndarray, light: Light, *, width: float, hairline: float
) -> Identity:
    """What a head takes from a puppet (hair, neck, clothes), in the head's colours and light, without its face."""
    tone = np.sqrt(light.on(np.array([0.0, -0.2, 0.98], np.float32)))  # on what a puppet's own light falls otherwise
    return replace(
        puppet,
        width=width,
        skin=rgb(skin * tone),
        hair=rgb(hair * tone),
        beard="",
        glasses="",
        freckles=0.0,
        top_colour=rgb(np.asarray(puppet.top_colour) * tone),
        top_accent=rgb(np.asarray(puppet.top_accent) * tone),
        hairline=hairline,
        light=light.direction,
    )


# what is done of each kind of expression: from, to, and how often if not always
_KINDS: dict[str, dict[str, tuple[float, ...]]] = {
    "rest": dict(press=(0, 1, 0.25), smile_left=(-0.3, 0.3), jaw=(0, 0.08, 0.3)),
    "talk": dict(jaw=(0, 0.6), stretch=(-0.6, 0.6), funnel=(0, 1, 0.4), pucker=(0, 0.7, 0.25), smile_left=(-0.2, 0.4),
                 bare_lower=(0, 0.7, 0.4), bare_upper_left=(0, 0.5, 0.3)),
    "smile": dict(smile_left=(0.3, 1), jaw=(0, 0.25, 0.6), bare_upper_left=(0, 0.6, 0.7), bare_lower=(0, 0.5, 0.3)),
    "laugh": dict(smile_left=(0.5, 1), jaw=(0.2, 0.9), bare_upper_left=(0, 0.5), bare_lower=(0, 0.6, 0.5)),
    "wide": dict(jaw=(0.5, 1), funnel=(0, 1, 0.4), stretch=(-0.4, 0.5), smile_left=(-0.5, 0.3), bare_lower=(0, 1, 0.3)),
    "pout": dict(pucker=(0.3, 1), jaw=(0, 0.15, 0.3), smile_left=(-0.4, 0.1), puff=(0, 1, 0.3)),
    "grimace": dict(smile_left=(-1, 0.2), stretch=(0.2, 1), bare_upper_left=(0, 1), bare_lower=(0, 1),
                    jaw=(0, 0.35, 0.6), sneer=(0, 1, 0.5)),
}  # fmt: skip


def random_expression(seed: int) -> Expression:
    """Any face that people make, extremes as often as mild ones; every value within its range."""
    rng = np.random.default_rng([seed, 0xE4])
    u = lambda low, high: float(rng.uniform(low, high))  # noqa: E731

    def some(chance: float, low: float = 0.0, high: float = 1.0) -> float:
        return u(low, high) if rng.random() < chance else 0.0

    values: dict[str, float] = defaultdict(float)
    kind = rng.choice(list(_KINDS), p=[0.2, 0.24, 0.14, 0.12, 0.14, 0.08, 0.08])
    for name, (low, high, *chance) in _KINDS[kind].items():
        values[name] = some(chance[0], low, high) if chance else u(low, high)
    lopsided = 0.35 if rng.random() < 0.3 else 0.05
    values["smile_right"] = float(np.clip(values["smile_left"] + rng.normal(0, lopsided), -1, 1))
    values["bare_upper_right"] = float(np.clip(values["bare_upper_left"] * (1 + rng.normal(0, 2 * lopsided)), 0, 1))
    values["jaw_side"] = rng.normal(0, 0.3) if rng.random() < 0.25 else 0.0
    values["tongue"], values["puff"] = u(0, 1), max(values["puff"], some(0.04))
    blink = rng.choice(["open", "shut", "half", "left", "right"], p=[0.6, 0.17, 0.13, 0.05, 0.05])
    half, ajar, ajar_too = u(0.15, 0.9), u(0, 0.3), u(0, 0.3)
    left, right = {
        "open": (0.0, 0.0), "shut": (1.0, 1.0), "half": (half, half), "left": (1.0, ajar), "right": (ajar_too, 1.0)
    }[blink]  # fmt: skip
    right += rng.normal(0, 0.05) if 0 < right < 1 else 0.0
    values["blink_left"], values["blink_right"] = left, max(right, 0.0)
    values["wide"] = some(0.22) if blink == "open" else 0.0
    values["squint"] = some(0.25) if blink != "shut" else some(0.3)
    looking = rng.random() < 0.6
    values["gaze_x"] = u(-1, 1) if looking else rng.normal(0, 0.12)
    values["gaze_y"] = u(-0.9, 0.9) if looking else rng.normal(0, 0.1)
    brow = rng.normal(0, 0.5)
    for name in ("brow_left", "brow_right"):
        values[name] = brow + rng.normal(0, 0.15)
    values["brow_inner"] = rng.normal(0, 0.4)
    return Expression(**{name: float(np.clip(value, -1, 1)) for name, value in values.items()})


def random_stance(seed: int) -> Pose:
    """How a head is held: angles (radians) within bounds, mild ones more often."""
    rng = np.random.default_rng([seed, 0x57])

    def within(bound: float) -> float:
        return float(np.clip(rng.normal(0, 0.5), -1, 1)) * bound

    return Pose(
        yaw=within(0.61), pitch=within(0.35), roll=within(0.3), shift_x=float(rng.uniform(-0.1, 0.1)),
        shift_y=float(rng.uniform(-0.08, 0.08)), scale=float(rng.uniform(0.93, 1.07)),
    )  # fmt: skip


def frame_head(head: Head, poses: list[Pose], *, scale: float = 1.6) -> Camera:
    """The square that is `scale` x the longer side of the union of the resting faces of these poses."""
    face = neutral_face(head)
    seen = np.concatenate([place(face, pose, rotation_of(pose)) for pose in poses])
    low, high = seen.min(0), seen.max(0)
    x, y = (low + high) / 2
    return Camera(float(x), float(y) - 0.02, float((high - low).max()) * scale)
