"""A driving face, frame after frame: found, set right, filtered in time, and held where it is lost or covered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fomm.errors import InputError
from fomm.model.face.align import Aligned
from fomm.model.face.chin import with_skin_below_lip
from fomm.model.face.motion import Face
from fomm.model.face.steady import Steady

INTERVAL_S = 1 / 25  # between driving frames, where nobody says
HOLD_S, FADE_S = 0.4, 1.2  # a face that is lost keeps its motion, then comes to rest
BACK_S = 0.3  # when it is seen again
COVERED_S = 5.0  # what covers the face for longer has come to stay, as glasses or another light: motion goes on
LIMIT_DEG = 5.0  # a turn held back by more is told


class Observer(Protocol):
    """Sees faces in pictures: a `preprocess.faces.FaceFinder`."""

    def mesh(self, image: np.ndarray) -> np.ndarray | None:
        """Landmarks (478, 3) of a face in a picture (H, W, 3) uint8 that it fills well, or None."""

    def person(self, image: np.ndarray) -> np.ndarray:
        """(H, W) float32 in [0, 1]: how sure it is that a pixel shows a person."""


@dataclass
class Followed:
    """What following a driving face met.

    Attributes:
        frames, lost, covered: frames in all, those without a face, and those in which something is before it.
        bounded_deg: the most that a turn was held back.
    """

    frames: int = 0
    lost: int = 0
    bounded_deg: float = 0.0
    covered: int = 0

    @property
    def unseen(self) -> int:
        """Frames that do not show what the face does."""
        return self.lost + self.covered

    def doubts(self) -> list[str]:
        """What should be told, one sentence each."""
        said = []
        if self.lost:
            said.append(f"no face in {self.lost} of {self.frames} frames: there the motion is held, then comes to rest")
        if self.covered:
            said.append(
                f"something covers the face in {self.covered} of {self.frames} frames: "
                "there the motion is held, then comes to rest"
            )
        if self.bounded_deg > LIMIT_DEG:
            said.append(
                f"the head turns {self.bounded_deg:.0f} degrees further than the photo can show; "
                "the result turns less there"
            )
        return said


class Follower:
    """Follows a driving face: `follower(frame, seconds)` for each frame (h, w, 3) uint8, in order, is its face.

    None as long as no face was seen. `seconds`, since the frame before, are `interval_s` unless they are given.

    Args:
        observer: sees faces.
        initial: the frame that the motion starts from; by default the first with a face.
        followed: takes down what should be told.

    Attributes:
        initial: the face that the motion starts from; where there was none yet, asking for it fails.

    Raises:
        InputError: no face in `initial`.
    """

    initial: Face

    def __init__(
        self,
        observer: Observer,
        initial: np.ndarray | None = None,
        *,
        interval_s: float = INTERVAL_S,
        followed: Followed | None = None,
    ) -> None:
        self._observer, self._interval_s = observer, interval_s
        self._followed = followed if followed is not None else Followed()
        self._aligned: Aligned | None = None
        self._steady = Steady()
        self._last: np.ndarray | None = None
        self._away, self._back = 0.0, 1.0  # seconds without the face; how much of the way back to it is gone
        self._covered_s = 0.0
        if initial is not None:
            seen = self._look(initial)
            if seen is None:
                raise InputError("no face is seen in the driving frame that the motion starts from")
            self._start(initial, seen)

    def _look(self, frame: np.ndarray) -> np.ndarray | None:
        mesh = self._observer.mesh(frame)
        return None if mesh is None else with_skin_below_lip(mesh.astype(np.float64))

    def _start(self, frame: np.ndarray, landmarks: np.ndarray) -> Aligned:
        self.initial = Face(landmarks)
        self._aligned = Aligned(frame, self.initial)
        return self._aligned

    def __call__(self, frame: np.ndarray, seconds: float | None = None) -> Face | None:
        seconds = self._interval_s if seconds is None else seconds
        seen = self._look(frame)
        self._followed.frames += 1
        if seen is None:
            self._followed.lost += 1
        found = None if seen is None else self._see(frame, seen, seconds)
        if found is None:
            self._away, self._back = self._away + seconds, 0.0
        else:
            self._follow(found, seconds)
        if self._aligned is None:
            return None
        rests = np.clip((self._away - HOLD_S) / FADE_S, 0.0, 1.0)
        start = self.initial.landmarks
        now = start if self._last is None else self._last + rests * (start - self._last)
        if rests > 0:
            self._last = now
        return Face(now)

    def _see(self, frame: np.ndarray, landmarks: np.ndarray, seconds: float) -> np.ndarray | None:
        """Landmarks set right; None where something covers the face."""
        if self._aligned is None:
            self._start(frame, landmarks)
            return landmarks
        found = self._aligned(frame, landmarks)
        self._covered_s = self._covered_s + seconds if self._aligned.covered else 0.0
        if 0 < self._covered_s <= COVERED_S:
            self._followed.covered += 1
            return None
        return found

    def _follow(self, found: np.ndarray, seconds: float) -> None:
        if self._away > HOLD_S:
            self._steady = Steady()
        self._away, self._back = 0.0, min(1.0, self._back + seconds / BACK_S)
        found = self._steady(found, seconds)
        whole = self._last is None or self._back == 1.0
        self._last = found if whole else self._last + self._back * (found - self._last)
