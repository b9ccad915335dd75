"""A motion as a small file, without a picture of who moved, and without the shape of that face.

What a driving face did from its starting frame on is done by the reference of `mesh`, as `motion` would do it to a
photo; the file holds the reference's pose and shape in each frame. Played, it is a driving face that starts from the
reference at rest.

The file is JSON, `fomm-motion/1`:
    clock, ticks   frame times: ticks of so many seconds ("1/90000"), rising
    poses          per frame yaw, pitch, roll in degrees, scale, and x, y, z in units of the head's frame
    components     shape changes (478, 3) in base64, int8 in 127ths of a unit: principal components of this motion
    amounts        per frame how much of each component, in 10000ths
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from pathlib import Path
from typing import Any, overload

import numpy as np

from fomm.errors import InputError
from fomm.files import atomic_output
from fomm.model.face.edit import REST, Edit
from fomm.model.face.mesh import NUM_LANDMARKS, REFERENCE, Pose, angles_deg, rotation_of
from fomm.model.face.motion import Face, move_shape
from fomm.version import __version__

FORMAT = "fomm-motion/1"
MOST_MB, MOST_FRAMES, MOST_COMPONENTS = 64, 200_000, 64
FINE = 0.006  # mean error of the landmarks that a file may have, in the head's frame: 0.4 pixels of a face of 256
_STEPS = 10_000  # of an amount
_BOUNDS = np.array([[-90.0, 90.0]] * 2 + [[-180.0, 180.0], [0.1, 10.0]] + [[-20.0, 20.0]] * 3)  # of a pose


@dataclass(frozen=True, eq=False)
class Recording:
    """A motion: faces (of the reference, from `REST` on) and their times in seconds, rising from 0."""

    times: Sequence[Fraction]
    faces: Sequence[Face]

    @property
    def fps(self) -> Fraction:
        """Mean frames per second; 25 for a single one."""
        return (len(self.times) - 1) / (self.times[-1] - self.times[0]) if len(self.times) > 1 else Fraction(25)

    @property
    def clock(self) -> Fraction:
        """Seconds of which all times are multiples."""
        return Fraction(1, lcm(*(time.denominator for time in self.times)))

    def at(self, time: Fraction) -> Face:
        """The face that is seen at a time: the last one that has begun."""
        return self.faces[max(0, bisect_right(self.times, time) - 1)]

    @property
    def end(self) -> Fraction:
        """When the last face ends."""
        return self.times[-1] + 1 / self.fps

    @classmethod
    def of_edits(cls, edits: Iterable[Edit], fps: int) -> Recording:
        """One edit after the other."""
        faces = [edit.face() for edit in edits]
        return cls([Fraction(index, fps) for index in range(len(faces))], faces)


def recorded(driving: Face, initial: Face) -> Face:
    """What the change from `initial` to `driving` makes of the reference at rest.

    The head that moved may have lain on its side: the reference stands.
    """
    stands = rotation_of(np.array([0.0, 0.0, -angles_deg(initial.pose.rotation)[2]]))
    turn = stands @ driving.pose.rotation @ initial.pose.rotation.T @ stands.T
    shift = stands @ (driving.pose.shift - initial.pose.shift) / initial.pose.scale
    shape = move_shape(REST, driving, initial)
    return Face.of(Pose(driving.pose.scale / initial.pose.scale, turn, shift), shape)


def write_motion(path: str | Path, recording: Recording) -> None:
    """Write a motion file, whole or not at all.

    Raises:
        InputError: another suffix than .json, or it cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".json":
        raise InputError(f"{path}: motion files end in .json; choose such a name")
    changes = np.array([face.shape - REFERENCE for face in recording.faces]).reshape(len(recording.faces), -1)
    components, amounts = _compressed(changes)
    clock = recording.clock
    poses = [
        [*(round(float(v), 3) for v in angles_deg(face.pose.rotation)), round(float(face.pose.scale), 5)]
        + [round(float(v), 4) for v in face.pose.shift]
        for face in recording.faces
    ]
    content = {
        "format": FORMAT,
        "made_by": f"fomm {__version__}",
        "clock": str(clock),
        "ticks": [int(time / clock) for time in recording.times],
        "poses": poses,
        "components": [base64.b64encode(one.tobytes()).decode() for one in components],
        "amounts": amounts.tolist(),
    }
    with atomic_output(path) as part:
        part.write_text(json.dumps(content, separators=(",", ":")) + "\n")


def _compressed(changes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(K, 1434) int8 and (N, K) whole numbers whose product is near to `changes` (N, 1434), with as few as will do."""
    components, left = np.zeros((0, changes.shape[1]), np.int8), changes
    amounts = np.zeros((len(changes), 0), np.int64)
    while len(components) < MOST_COMPONENTS:
        errors = np.linalg.norm(left.reshape(len(left), NUM_LANDMARKS, 3), axis=2).mean(1)
        if errors.max() <= FINE:
            break
        _, _, directions = np.linalg.svd(left, full_matrices=False)
        one = np.round(127 * directions[0] / np.abs(directions[0]).max())
        components = np.concatenate([components, one[None].astype(np.int8)])
        basis = components.astype(np.float64) / 127
        amounts = np.round(_STEPS * changes @ np.linalg.pinv(basis)).astype(np.int64)
        left = changes - amounts / _STEPS @ basis
    return components, amounts


def read_motion(path: str | Path) -> Recording:
    """Read a motion file.

    Raises:
        InputError: it is not there, too large, no motion file, of another version, or damaged.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MOST_MB * 2**20:
            raise InputError(f"{path}: is larger than {MOST_MB} MB; record a shorter motion")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is no JSON file; make one with: python -m preprocess motion clip.mp4") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path}: is no motion file ({FORMAT}); make one with: python -m preprocess motion clip.mp4")
    try:
        return _recording_of(content)
    except (KeyError, TypeError, ValueError, ArithmeticError, binascii.Error) as error:
        raise InputError(f"{path}: the motion file is damaged ({error}); record it again") from error


def _recording_of(content: dict[str, Any]) -> Recording:
    if not re.fullmatch(r"[1-9][0-9]{0,9}(/[1-9][0-9]{0,9})?", str(content["clock"])):
        raise ValueError("no such clock")
    clock = Fraction(content["clock"])
    ticks = np.array(content["ticks"])
    poses = np.array(content["poses"], np.float64)
    count = len(ticks)
    if not 1 <= count <= MOST_FRAMES or ticks.shape != (count,) or ticks.dtype.kind != "i" or abs(ticks).max() > 2**48:
        raise ValueError("ticks must be whole numbers, one per frame")
    if (np.diff(ticks) <= 0).any():
        raise ValueError("times must rise")
    if poses.shape != (count, 7) or not ((poses >= _BOUNDS[:, 0]) & (poses <= _BOUNDS[:, 1])).all():
        raise ValueError("poses must be seven numbers per frame, within their bounds")
    coded = content["components"]
    if len(coded) > MOST_COMPONENTS:
        raise ValueError("too many components")
    length = 3 * NUM_LANDMARKS
    components = np.array(
        [np.frombuffer(base64.b64decode(one, validate=True), np.int8) for one in coded], np.float64
    ).reshape(len(coded), length)
    amounts = np.array(content["amounts"], np.float64).reshape(count, -1)
    if amounts.shape != (count, len(coded)) or not (np.abs(amounts) <= 100 * _STEPS).all():
        raise ValueError("amounts must be one number per frame and component")
    components, amounts = components / 127, amounts / _STEPS
    for begin in range(0, count, 1000):
        if np.abs(REFERENCE.ravel() + amounts[begin : begin + 1000] @ components).max() > 20:
            raise ValueError("this is no face")
    faces = _Faces(poses, components, amounts)
    return Recording([int(tick - ticks[0]) * clock for tick in ticks], faces)


class _Faces(Sequence[Face]):
    """The faces of a file, each made when it is asked for: all those of a long motion would fill the memory.

    Args:
        poses: (N, 7), as in the file.
        components: (K, 1434) in units of the head's frame.
        amounts: (N, K).
    """

    def __init__(self, poses: np.ndarray, components: np.ndarray, amounts: np.ndarray) -> None:
        self._poses, self._components, self._amounts = poses, components, amounts

    def __len__(self) -> int:
        return len(self._poses)

    @overload
    def __getitem__(self, index: int) -> Face: ...
    @overload
    def __getitem__(self, index: slice) -> _Faces: ...
    def __getitem__(self, index: int | slice) -> Face | _Faces:
        poses, amounts = self._poses[index], self._amounts[index]
        if isinstance(index, slice):
            return _Faces(poses, self._components, amounts)
        shape = REFERENCE + (amounts @ self._components).reshape(NUM_LANDMARKS, 3)
        return Face.of(Pose(float(poses[3]), rotation_of(poses[:3]), poses[4:]), shape)
