"""Landmarks -> motion: the source's face in the pose and with the expression of a driving face (Sec. 3.2 of the paper,
with landmarks in the place of learnt keypoints). Pure functions; coordinates as in `mesh`.

Relative motion, as the paper's: what changed from the initial driving frame to the driving frame is done to the source.
A pose changes by a rotation, a scale and a shift of the camera's picture; an expression changes the shape in the head's
own frame, in this face's proportions. An eye or a mouth that the driving face shuts is shut.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, overload

import numpy as np

from fomm.model.face.mesh import (
    BROWS,
    CHIN,
    EYES,
    LIP_MIDDLE,
    MOUTH,
    MOUTH_CORNERS,
    NOSE_BASE,
    NUM_LANDMARKS,
    REFERENCE,
    RIGID,
    Eye,
    Pose,
    angles_deg,
    beside,
    find_pose,
    rotation_of,
)

# As what part of the open eye MediaPipe sees one, and what part of it is open: eyes of six pictures shut step by step.
# Half shut looks hardly shut to it, and nearly shut looks half shut. The two lowest are higher than measured, by
# 0.07 and 0.02: some drivers' shut lids are never seen nearer.
SEEN_OPEN, IS_OPEN = (0.32, 0.42, 0.6, 0.8, 0.9, 1.0), (0.0, 0.22, 0.4, 0.6, 0.75, 1.0)
SEEN_WIDER = 2.0  # how much more than it looks is open of an eye that is wide
OPEN_TOGETHER = (0.6, 0.85)  # parts of their own opening that both eyes have, from which on they open alike
FAR_EYE_DEG = (10.0, 20.0)  # turns of the driving head between which its farther eye is no longer believed
WIDER_EYE = 0.5  # by what part of its own opening an eye may open wider
ROUND_EYE = (0.3, 0.5)  # opening, in widths, up to which it may do so, and from which on it is round already
LOOKS_ASIDE, LOOKS_UP = (0.2, 0.32), (0.1, 0.18)  # gaze, in widths of the eye: followed up to, approaching
LOOKS_FAR = 0.24, 0.32  # the same for where the eye looks in the end: further aside no iris is seen
SHUT_MOUTH = 0.02  # gap of the lips, in the head's frame, below which a mouth counts as shut
OWN_COUNTS = 0.3  # by how much a mouth opens until its own opening counts a third, in the head's frame
TURN_DEG = (25.0, 40.0)  # turns up to the first are followed, larger ones approach the second: what a photo can show
TURN_BACK_DEG = (14.0, 24.0)  # the same in a photo that is turned already, to the side that it hides
IS_TURNED_DEG = (3.0, 17.0)  # between these the one goes over into the other
TURNED_DEG = (35.0, 50.0)  # the same for where the head looks in the end
ALIKE = 0.05  # difference of two shapes, in the head's frame, up to which they count as the same face
LOWEST_BROW = 0.3  # by how much of their distance brows may come nearer to the eyes
HIGHEST_LIP = 0.4  # the same for the upper lip and the nose
WIDE_MOUTH = (0.7, 0.8)  # widths of a mouth, of the distance of the eyes' outer corners: followed up to, approaching
WIDER = 0.05  # by how much more than its own it may be where that is as wide already
BESIDE_MOUTH = (0.3, 0.45)  # how far beside and above the mouth what holds it back is felt, in the head's frame
SCALES = (0.6, 1.7)  # bounds of the head's size against the source's


@dataclass(frozen=True, eq=False)
class Face:
    """A face (478, 3) taken apart into pose and shape."""

    landmarks: np.ndarray

    @classmethod
    def of(cls, pose: Pose, shape: np.ndarray) -> Face:
        """The face of this pose and this shape (478, 3); they are kept, not found again."""
        face = cls(pose.place(shape))
        face.__dict__.update(pose=pose, shape=shape)
        return face

    @cached_property
    def pose(self) -> Pose:
        return find_pose(self.landmarks)

    @cached_property
    def shape(self) -> np.ndarray:
        """(478, 3) in the head's frame."""
        return self.pose.shape(self.landmarks)

    @cached_property
    def eyes(self) -> tuple[tuple[float, float, np.ndarray], ...]:
        """For each of `EYES` its width in the head's frame, its opening and its gaze (2,), both in widths."""
        return tuple(_eye(self.shape, eye) for eye in EYES)

    @cached_property
    def mouth_opening(self) -> float:
        """Mean gap between the lips' inner edges in the head's frame; 0 is shut."""
        return max(0.0, float(_gaps(self.shape, MOUTH.upper, MOUTH.lower).mean()))


class Moved(NamedTuple):
    """The source's face after the motion.

    Attributes:
        landmarks: (478, 3).
        pose, shape: what they are made of.
        bounded_deg: by how many degrees a turn was held back because the photo cannot show it.
    """

    landmarks: np.ndarray
    pose: Pose
    shape: np.ndarray
    bounded_deg: float


def move(source: Face, driving: Face, initial: Face) -> Moved:
    """The source as it looks after the change from `initial` to `driving`; unchanged where they are equal."""
    pose, bounded_deg = move_pose(source.pose, driving.pose, initial.pose)
    shape = move_shape(source, driving, initial)
    return Moved(pose.place(shape), pose, shape, bounded_deg)


def move_pose(source: Pose, driving: Pose, initial: Pose) -> tuple[Pose, float]:
    """The source's pose after the change, and by how many degrees its turn was held back.

    The change acts along the source head's own axes: a photo that lies on its side moves as it does when it stands.
    """
    tilt = angles_deg(source.rotation)[2] - angles_deg(initial.rotation)[2]
    lies = rotation_of(np.array([0.0, 0.0, tilt]))
    turn = driving.rotation @ initial.rotation.T
    wanted = angles_deg(turn)
    own = angles_deg(source.rotation)[0]
    hides = float(ramp(abs(own), *IS_TURNED_DEG)) if wanted[0] * own < 0 else 0.0
    aside = [free + hides * (back - free) for free, back in zip(TURN_DEG, TURN_BACK_DEG, strict=True)]
    held = np.array([_bounded(wanted[0], *aside), _bounded(wanted[1], *TURN_DEG), wanted[2]])
    turn = turn if np.array_equal(held, wanted) else rotation_of(held)
    rotation = lies @ turn @ lies.T @ source.rotation
    looks = angles_deg(rotation)
    room = np.maximum(TURNED_DEG, np.abs(angles_deg(source.rotation))[:2, None])  # a turned source may stay so
    ends = np.array([_bounded(looks[0], *room[0]), _bounded(looks[1], *room[1]), looks[2]])
    if not np.array_equal(ends, looks):
        rotation = rotation_of(ends)
    grown = float(np.clip(driving.scale / initial.scale, *SCALES))
    shift = source.shift + lies @ (driving.shift - initial.shift) * source.scale / initial.scale
    bounded_deg = float(np.abs(wanted - held).max() + np.abs(looks - ends).max())
    return Pose(source.scale * grown, rotation, shift), bounded_deg


def move_shape(source: Face, driving: Face, initial: Face) -> np.ndarray:
    """The source's shape (478, 3) with the change of expression from `initial` to `driving`."""
    factors = _proportions(source.shape, initial.shape)
    change, drift = _without_drift(driving.shape - initial.shape, initial.shape)
    # The drift is the mesh's own error. In the same face it is the same, and so part of what is seen there.
    alike = float(np.exp(-np.square(source.shape - initial.shape).sum(1).mean() / ALIKE**2))
    change = change * factors + alike * _affine(drift, source.shape)
    _limit_brows(change, source.shape, 1 - alike)
    change[NUM_LANDMARKS - 10 :] = 0.0
    shape = source.shape + change
    _set_mouth(shape, source, driving, initial, float(factors[CHIN, 1]), 1 - alike)
    _limit_upper_lip(shape, source.shape, 1 - alike)
    _limit_mouth_width(shape, source.shape, 1 - alike)
    eyes = list(zip(source.eyes, driving.eyes, initial.eyes, strict=True))
    parts = [_opened_part(own[1], now[1], was[1], 1 - alike) for own, now, was in eyes]
    yaw = float(angles_deg(driving.pose.rotation)[0])
    near, far = (0, 1) if yaw > 0 else (1, 0)
    doubted = ramp(abs(yaw), *FAR_EYE_DEG) * (1 - ramp(parts[near], *OPEN_TOGETHER) * (parts[far] > parts[near]))
    parts[far] += (1 - alike) * doubted * (parts[near] - parts[far])
    # Open eyes are open alike; what the mesh sees between them, looking aside above all, is its error, and no wink.
    both = (1 - alike) * ramp(min(parts), *OPEN_TOGETHER)
    for eye, part, (own, now, was) in zip(EYES, parts, eyes, strict=True):
        _set_eye(shape, source.shape, eye, part + both * (sum(parts) / 2 - part), own, now, was, 1 - alike)
    return shape


def _eye(shape: np.ndarray, eye: Eye) -> tuple[float, float, np.ndarray]:
    corners = shape[[eye.outer, eye.inner]]
    width = float(np.linalg.norm(corners[1] - corners[0]))
    opening = float(_gaps(shape, eye.upper, eye.lower).mean()) / width
    return width, opening, (shape[eye.iris[0]] - corners.mean(0))[:2] / width


def _gaps(shape: np.ndarray, upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    return shape[lower, 1] - shape[upper, 1]


def _bounded(value: float, free: float, limit: float) -> float:
    """`value` up to +-`free`, beyond it approaching +-`limit` without a kink."""
    beyond = abs(value) - free
    if beyond <= 0:
        return float(value)
    room = max(limit - free, 1e-6)
    return float(np.sign(value) * (free + room * np.tanh(beyond / room)))


@overload
def ramp(value: float, low: float, high: float) -> float: ...
@overload
def ramp(value: np.ndarray, low: float | np.ndarray, high: float | np.ndarray) -> np.ndarray: ...
def ramp(value: Any, low: Any, high: Any) -> Any:
    """0 up to `low`, 1 from `high` on, smooth in between."""
    part = np.clip((value - low) / (high - low), 0.0, 1.0)
    return part * part * (3 - 2 * part)


LOWER_FACE: np.ndarray = ramp(REFERENCE[:, 1], REFERENCE[NOSE_BASE, 1] - 0.25, REFERENCE[NOSE_BASE, 1] + 0.1)
"""(478,) in [0, 1]: how much a landmark belongs to mouth and jaw."""


def _proportions(source: np.ndarray, initial: np.ndarray) -> np.ndarray:
    """(478, 3) how much larger a change is in the source's face: by the size of mouth and jaw in the lower face."""

    def sizes(shape: np.ndarray) -> np.ndarray:
        left, right = shape[list(MOUTH_CORNERS)]
        jaw = shape[CHIN] - shape[NOSE_BASE]
        return np.array([np.hypot(*(right - left)[:2]), np.hypot(jaw[1], jaw[2])])

    across, down = np.clip(sizes(source) / sizes(initial), 0.75, 1.35)
    return 1 + LOWER_FACE[:, None] * (np.array([across, down, down]) - 1)


def _affine(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:3] + matrix[3]


def _without_drift(change: np.ndarray, shape: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A change of shape (478, 3) without what even the rigid points make of it, and that part, affine (4, 3).

    In a head that turns or opens its mouth wide, the mesh as a whole gets longer, shorter or tilted.
    """
    known = np.column_stack([shape[RIGID], np.ones(len(RIGID))])
    damped = known.T @ known + np.diag([0.3, 0.3, 0.3, 0.0])
    drift = np.linalg.solve(damped, known.T @ change[RIGID])
    return change - _affine(drift, shape), drift


def _limit_brows(change: np.ndarray, source: np.ndarray, strength: float) -> None:
    """Keep brows that come down from coming too near to the eyes: at most by a part of their own distance."""
    for eye, brow, weights in zip(EYES, BROWS, _BROWS, strict=True):
        room = LOWEST_BROW * float(source[[eye.outer, eye.inner], 1].mean() - source[brow, 1].mean())
        lowered = float(change[brow, 1].mean())
        if lowered > 0 and room > 0:
            change[:, 1] -= strength * (lowered - room * np.tanh(lowered / room)) * weights


def _spread(points: np.ndarray, among: np.ndarray, reach: float) -> np.ndarray:
    """(478, len(points)) weights that carry a displacement of `points` on to the landmarks `among` near them."""
    apart = np.linalg.norm(REFERENCE[:, None, :2] - REFERENCE[points][None, :, :2], axis=2)
    near = np.exp(-((apart / (0.5 * reach)) ** 2)) + 1e-12
    weights = near / near.sum(1, keepdims=True) * np.exp(-((apart.min(1) / reach) ** 2))[:, None]
    weights[~np.isin(np.arange(NUM_LANDMARKS), among)] = 0.0
    weights[points] = np.eye(len(points))
    return weights


_BROWS = tuple(beside(brow, 0.25) for brow in BROWS)
_MOUTH_LINE = REFERENCE[list(MOUTH_CORNERS), 1].mean()
_SKIN = np.setdiff1d(np.arange(468), np.concatenate([eye.opening for eye in EYES]))
_ABOVE_MOUTH = np.setdiff1d(np.flatnonzero(REFERENCE[:468, 1] < _MOUTH_LINE), MOUTH.opening)
_BELOW_MOUTH = np.setdiff1d(np.flatnonzero(REFERENCE[:468, 1] >= _MOUTH_LINE), MOUTH.opening)
_UPPER_LIP = _spread(MOUTH.upper, _ABOVE_MOUTH, 0.25)
_LOWER_LIP = _spread(MOUTH.lower, _BELOW_MOUTH, 0.6)
_LIDS = tuple(
    (
        _spread(eye.upper, np.intersect1d(_SKIN, np.flatnonzero(REFERENCE[:, 1] < REFERENCE[eye.outer, 1])), 0.12),
        _spread(eye.lower, np.intersect1d(_SKIN, np.flatnonzero(REFERENCE[:, 1] > REFERENCE[eye.outer, 1])), 0.12),
    )
    for eye in EYES
)


def _set_mouth(shape: np.ndarray, source: Face, driving: Face, initial: Face, growth: float, strength: float) -> None:
    """Move the lips until their gaps are what they should be: shut where the driving mouth is, never crossed.

    By how much the photo's mouth is open by itself counts less, the wider the driving mouth opens. One that was hardly
    open cannot shut it: the ratio of two tiny gaps says nothing.
    """
    was, now = initial.mouth_opening, driving.mouth_opening
    left = 1 - (1 - min(1.0, now / was)) * ramp(was, SHUT_MOUTH, 3 * SHUT_MOUTH) if was > 0 else 1.0
    own = _gaps(source.shape, MOUTH.upper, MOUTH.lower)
    opened = _gaps(driving.shape, MOUTH.upper, MOUTH.lower) - _gaps(initial.shape, MOUTH.upper, MOUTH.lower)
    wider = growth * np.maximum(opened, 0)
    left *= 1 - strength * (1 - np.exp(-np.square(wider / OWN_COUNTS)))
    wanted = np.where(own > 0, left * own, own) + wider
    missing = wanted - _gaps(shape, MOUTH.upper, MOUTH.lower)
    shape[:, 1] += _LOWER_LIP @ (0.7 * missing) - _UPPER_LIP @ (0.3 * missing)


def _limit_upper_lip(shape: np.ndarray, source: np.ndarray, strength: float) -> None:
    """Keep a lip that is raised from coming too near to the nose: a photo that smiles has raised it already."""
    own, now = (float(s[LIP_MIDDLE, 1] - s[NOSE_BASE, 1]) for s in (source, shape))
    room = HIGHEST_LIP * own
    if own > now and room > 0:
        shape[:, 1] += strength * (own - now - room * np.tanh((own - now) / room)) * _UPPER_LIP.sum(1)


def _limit_mouth_width(shape: np.ndarray, source: np.ndarray, strength: float) -> None:
    """Keep a mouth from getting wider than mouths are: one that smiles in the photo and then is drawn wide."""
    corners = list(MOUTH_CORNERS)
    eyes = float(np.linalg.norm(np.subtract(*source[[eye.outer for eye in EYES]])))
    own, now = (abs(float(np.subtract(*s[corners, 0]))) for s in (source, shape))
    free = max(WIDE_MOUTH[0] * eyes, own)
    held = _bounded(now, free, max(WIDE_MOUTH[1] * eyes, free + WIDER * eyes))
    if held == now:
        return
    middle, half = shape[corners].mean(0), now / 2
    across, down = shape[:, 0] - middle[0], shape[:, 1] - middle[1]
    beyond = np.maximum(np.abs(across) - half, 0)
    felt = np.exp(-((beyond / BESIDE_MOUTH[0]) ** 2) - (down / BESIDE_MOUTH[1]) ** 2)
    inwards = np.clip(across / half, -1, 1) * felt * LOWER_FACE
    shape[:, 0] -= strength * (now - held) / 2 * inwards


def _opened_part(own: float, now: float, was: float, strength: float) -> float:
    """What part of its `own` opening an eye has that went from `was` to `now`; 0 is shut.

    It opens wider as far as eyes do. By `strength`, in [0, 1]: one's own eyes are copied as they are seen.
    """
    seen = max(0.0, now) / max(1e-3, was)
    if seen > 1:
        room = WIDER_EYE * (1 - strength * float(ramp(own, *ROUND_EYE)))
        return 1 + room * float(np.tanh(SEEN_WIDER * (seen - 1) / room)) if room > 0 else 1.0
    return seen + strength * (float(np.interp(seen, SEEN_OPEN, IS_OPEN)) - seen)


def _set_eye(
    shape: np.ndarray,
    source_shape: np.ndarray,
    eye: Eye,
    part: float,
    source: tuple[float, float, np.ndarray],
    driving: tuple[float, float, np.ndarray],
    initial: tuple[float, float, np.ndarray],
    strength: float,
) -> None:
    """Move lids and iris: opened by this part of its own opening, looking as far aside as the driving eye.

    By `strength`, in [0, 1], no further than eyes do: one's own are copied as they are seen.
    """
    width = source[0]
    own = _gaps(source_shape, eye.upper, eye.lower)
    missing = np.where(own > 0, part * own, own) - _gaps(shape, eye.upper, eye.lower)
    upper, lower = _LIDS[EYES.index(eye)]
    shape[:, 1] += lower @ (0.15 * missing) - upper @ (0.85 * missing)

    seen = ramp(min(driving[1], initial[1]), 0.06, 0.12)  # under shut lids the iris is a guess
    looks = driving[2] - initial[2]
    away = seen * np.array([_bounded(looks[0], *LOOKS_ASIDE), _bounded(looks[1], *LOOKS_UP)])
    own_aside = abs(source[2][0])
    ends = max(LOOKS_FAR[0], own_aside), max(LOOKS_FAR[1], own_aside + 0.02)
    held = _bounded(source[2][0] + away[0], *ends) - source[2][0]
    away = width * np.array([away[0] + strength * (held - away[0]), away[1]])
    corners = [eye.outer, eye.inner]
    with_corners = shape[corners].mean(0) - source_shape[corners].mean(0)
    shape[eye.iris] = source_shape[eye.iris] + with_corners
    shape[eye.iris, :2] += away
