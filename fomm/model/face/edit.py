"""Motion by names instead of a driving face: "yaw=15 smile=0.6".

An edit is a driving face like any other: the reference of `mesh`, turned and with an expression; the reference at rest
is where it starts. So edits compose, fit any face, and are held within what a photo can show.

`directions.npz` holds how the reference's shape changes with each expression, (478, 3) in the head's frame: the mean of
drawn heads, symmetrical (`python -m preprocess directions`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fomm.errors import InputError
from fomm.model.face.mesh import EYES, MOUTH, REFERENCE, Pose, rotation_of
from fomm.model.face.motion import IS_OPEN, LOOKS_ASIDE, LOOKS_UP, SEEN_OPEN, Face

REST = Face.of(Pose(1.0, np.eye(3), np.zeros(3)), REFERENCE)
"""The reference at rest: where the motion of edits and of motion files starts."""

DIRECTIONS_FILE = Path(__file__).with_name("directions.npz")
NECK = np.array([0.0, 0.9, 1.0])  # about which a head turns, in its own frame: between the ears, somewhat lower
EYES_WIDER = 0.35  # by so much of their opening eyes are torn open

_DIRECTIONS = {name: values.astype(np.float64) for name, values in np.load(DIRECTIONS_FILE, allow_pickle=False).items()}


class Range(NamedTuple):
    """Of an edit's number: from `low` to `high`; 0 is the photo."""

    low: float
    high: float
    what: str


RANGES = {
    "yaw": Range(-25, 25, "degrees: the head turns to the screen's left (-) or right (+)"),
    "pitch": Range(-20, 20, "degrees: it looks down (-) or up (+)"),
    "roll": Range(-30, 30, "degrees: it tilts counter-clockwise (-) or clockwise (+)"),
    "smile": Range(-1, 1, "corners of the mouth down (-1) or up and out (+1)"),
    "mouth": Range(-1, 1, "an open mouth shuts (-1), any mouth opens wide (+1)"),
    "eyes": Range(-1, 1, "eyes shut (-1) or wide open (+1)"),
    "gaze": Range(
        -1, 1, "two numbers: the eyes look to the screen's left (-1) or right (+1), and down (-1) or up (+1)"
    ),
    "brows": Range(-1, 1, "brows lowered (-1) or raised (+1)"),
}
"""What can be edited, in the order in which it is told."""


@dataclass(frozen=True)
class Edit:
    """A change of a portrait; see `RANGES`. All 0 is the photo.

    Raises:
        InputError: a number out of its range.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    smile: float = 0.0
    mouth: float = 0.0
    eyes: float = 0.0
    gaze: tuple[float, float] = (0.0, 0.0)
    brows: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            low, high, what = RANGES[field.name]
            for value in np.ravel(getattr(self, field.name)):
                if not low <= value <= high:
                    raise InputError(f"edit {field.name}={value:g}: must be from {low:g} to {high:g} ({what})")

    @classmethod
    def parse(cls, text: str) -> Edit:
        """Of `--edit`.

        >>> Edit.parse("yaw=15 gaze=0.3,0")
        Edit(yaw=15.0, pitch=0.0, roll=0.0, smile=0.0, mouth=0.0, eyes=0.0, gaze=(0.3, 0.0), brows=0.0)

        Raises:
            InputError: an unknown name, one that comes twice, no number, or one out of its range.
        """
        values: dict[str, Any] = {}
        for item in text.split():
            name, _, numbers = item.partition("=")
            if name not in RANGES:
                raise InputError(f"edit {item}: {name!r} is not known; choose from {', '.join(RANGES)}, as in yaw=15")
            if name in values:
                raise InputError(f"edit {item}: {name} is given twice; give it once")
            count = 2 if name == "gaze" else 1
            parts = numbers.split(",")
            if len(parts) != count or not all(re.fullmatch(r"[+-]?(\d{1,4}(\.\d{0,9})?|\.\d{1,9})", p) for p in parts):
                wanted = (
                    "two numbers with a comma between, as in gaze=0.3,0"
                    if count == 2
                    else f"a number, as in {name}=0.5"
                )
                raise InputError(f"edit {item}: {name} takes {wanted} ({RANGES[name].what})")
            values[name] = (float(parts[0]), float(parts[1])) if count == 2 else float(parts[0])
        return cls(**values)

    def __str__(self) -> str:
        said = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                said.append(f"{field.name}=" + ",".join(f"{float(one):g}" for one in np.ravel(value)))
        return " ".join(said)

    def part(self, share: float) -> Edit:
        """So much of it, from 0 (nothing) to 1."""
        given: dict[str, Any] = {
            field.name: share * getattr(self, field.name) for field in fields(self) if field.name != "gaze"
        }
        return Edit(**given, gaze=(share * self.gaze[0], share * self.gaze[1]))

    def face(self) -> Face:
        """The driving face that does it; that of an empty edit is `REST`."""
        rotation = rotation_of(np.array([self.yaw, self.pitch, self.roll]))
        return Face.of(Pose(1.0, rotation, NECK - rotation @ NECK), self._shape())

    def _shape(self) -> np.ndarray:
        shape = REFERENCE.copy()
        for amount, more, less in ((self.smile, "smile", "frown"), (self.brows, "raise", "lower")):
            shape += abs(amount) * _DIRECTIONS[more if amount > 0 else less]
        shape += max(self.mouth, 0.0) * _DIRECTIONS["open"]
        _part(shape, MOUTH.upper, MOUTH.lower, 1 + min(self.mouth, 0.0))
        looks = np.array(self.gaze) * [LOOKS_ASIDE[0], -LOOKS_UP[0]]
        for eye, (width, *_) in zip(EYES, REST.eyes, strict=True):
            open_ = 1 + self.eyes * EYES_WIDER
            if self.eyes < 0:  # a driving face counts as MediaPipe would see it
                open_ = float(np.interp(1 + self.eyes, IS_OPEN, SEEN_OPEN))
            _part(shape, eye.upper, eye.lower, open_)
            shape[eye.iris, :2] += width * looks
        return shape


def _part(shape: np.ndarray, upper: np.ndarray, lower: np.ndarray, share: float) -> None:
    """Bring lids or lips to this share of their gap."""
    away = (share - 1) * (shape[lower, 1] - shape[upper, 1])
    shape[upper, 1] -= 0.7 * away
    shape[lower, 1] += 0.3 * away
