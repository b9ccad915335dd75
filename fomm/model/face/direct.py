"""What moves and how much: the motion of a driving face, part by part. Pure functions; coordinates as in `mesh`."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from fomm.model.face.mesh import Pose
from fomm.model.face.motion import LOWER_FACE, Face, Moved, move, move_pose


class Strength(NamedTuple):
    """How much of the driving motion each part follows: 0 none, 1 all of it, 2 twice as much.

    Attributes:
        pose: turn, size and place of the head.
        mouth: the lower face: lips, jaw, cheeks.
        eyes: the upper face: lids, gaze, brows.
    """

    pose: float = 1.0
    mouth: float = 1.0
    eyes: float = 1.0

    def of_landmarks(self) -> np.ndarray:
        """(478, 1): `mouth` in the lower face, `eyes` in the upper one, smooth in between."""
        return (self.mouth * LOWER_FACE + self.eyes * (1 - LOWER_FACE))[:, None]


ALL = Strength()


def direct(source: Face, driving: Face, initial: Face, strength: Strength) -> Moved:
    """As `move`, with as much of the motion as `strength` says.

    A part of strength 0 is the source's own, exactly. Less than all of an expression is a face between the source's and
    the one that `move` makes; more than all is a driving face that does more, held within what a face can do.
    """
    if strength == ALL:
        return move(source, driving, initial)
    pose = _between(initial.pose, driving.pose, strength.pose)
    more = np.maximum(strength.of_landmarks(), 1)
    moved = move(source, Face.of(pose, initial.shape + more * (driving.shape - initial.shape)), initial)
    shape = source.shape + np.minimum(strength.of_landmarks(), 1) * (moved.shape - source.shape)
    pose = moved.pose if strength.pose else source.pose
    return Moved(pose.place(shape), pose, shape, moved.bounded_deg)


def redirect(current: Face, rest: Face, driving: Face, initial: Face, strength: Strength) -> Moved:
    """As `direct`, for a face that moves by itself.

    The driving head's motion is added to its own. In the parts that follow, the driving expression takes the place of
    its own: it is done to `rest`, the same face at rest. A part of strength 0 is its own, exactly.
    """
    pose, bounded_deg = current.pose, 0.0
    if strength.pose:
        pose, bounded_deg = move_pose(pose, _between(initial.pose, driving.pose, strength.pose), initial.pose)
    full = direct(rest, driving, initial, Strength(0, max(strength.mouth, 1), max(strength.eyes, 1)))
    shape = current.shape + np.minimum(strength.of_landmarks(), 1) * (full.shape - current.shape)
    return Moved(pose.place(shape), pose, shape, bounded_deg)


def _between(start: Pose, end: Pose, share: float) -> Pose:
    """The pose on the way from `start` (share 0) to `end` (1), or beyond."""
    turn, _ = cv2.Rodrigues(share * cv2.Rodrigues(end.rotation @ start.rotation.T)[0])
    scale = start.scale * (end.scale / start.scale) ** share
    return Pose(scale, turn @ start.rotation, start.shift + share * (end.shift - start.shift))
