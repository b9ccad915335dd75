"""Motions without a person who made them: the motion files that come with the package, from edits over time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from fomm.model.face.edit import Edit
from fomm.model.face.motion import ramp
from fomm.model.face.recording import Recording, write_motion

FPS = 25
SYLLABLES = (0.8, 0.25, 0.6, 0.1, 0.9, 0.4, 0.0, 0.5, 0.75, 0.2, 0.65, 0.05)  # how far the mouth opens
SYLLABLE_S = 0.19


def talk(t: float) -> Edit:
    """Syllables, with small turns of the head, and a blink."""
    place = (t - 0.3) / SYLLABLE_S
    number = int(place) if place > 0 else -1
    said = SYLLABLES[number] if 0 <= number < len(SYLLABLES) else 0.0
    opens = said * float(np.sin(np.pi * (place - number)) ** 2) if said else 0.0
    lively = _within(t, 0.2, 2.9, 0.4)
    return Edit(
        yaw=3.0 * lively * float(np.sin(1.9 * t)),
        pitch=2.5 * lively * float(np.sin(3.7 * t + 1.0)),
        roll=1.5 * lively * float(np.sin(1.3 * t)),
        smile=0.15 * lively,
        mouth=0.6 * opens,
        eyes=-_blink(t, 1.55),
        brows=0.35 * _bump(t, 0.9, 0.35) + 0.25 * _bump(t, 2.2, 0.3),
    )


def nod(t: float) -> Edit:
    """Twice down and up, with a smile."""
    swing = _within(t, 0.2, 1.9, 0.25)
    return Edit(
        pitch=float(-9.0 * swing * np.sin(2 * np.pi * (t - 0.2) / 0.8) ** 2),
        smile=0.45 * _within(t, 0.3, 2.2, 0.5),
        eyes=-_blink(t, 1.1),
    )


def look_around(t: float) -> Edit:
    """To one side, to the other, and up; the eyes go first."""
    aside = _bump(t, 0.8, 0.55) - _bump(t, 2.0, 0.55)
    eyes = _bump(t + 0.12, 0.8, 0.55) - _bump(t + 0.12, 2.0, 0.55)
    up = _bump(t, 3.1, 0.45)
    return Edit(
        yaw=-17.0 * aside,
        pitch=8.0 * up,
        gaze=(-0.6 * eyes, 0.6 * up),
        brows=0.5 * up,
        eyes=-_blink(t, 1.4) - _blink(t, 2.65),
    )


MOTIONS: dict[str, tuple[Callable[[float], Edit], float]] = {
    "talk": (talk, 3.2),
    "nod": (nod, 2.6),
    "look_around": (look_around, 3.8),
}
"""Motion at a time in seconds, and its length; all begin and end at rest."""


def write_motions(output: str) -> Path:
    """Draw the motions that come with the package (`fomm/assets/motions`).

    Args:
        output: folder for the motion files.

    Returns:
        `output`.
    """
    folder = Path(output)
    for name, (at, seconds) in MOTIONS.items():
        edits = (at(index / FPS) for index in range(round(seconds * FPS) + 1))
        write_motion(folder / f"{name}.json", Recording.of_edits(edits, FPS))
    return folder


def _bump(t: float, middle: float, half_s: float) -> float:
    """0, up to 1 in the `middle`, and 0 again, smooth."""
    away = abs(t - middle) / half_s
    return float(0.5 * (1 + np.cos(np.pi * away))) if away < 1 else 0.0


def _within(t: float, start: float, stop: float, ease_s: float) -> float:
    """1 from `start` to `stop`, 0 outside, smooth at both ends."""
    return float(ramp(min(t - start, stop - t), 0.0, ease_s))


def _blink(t: float, middle: float) -> float:
    return _bump(t, middle, 0.14)
