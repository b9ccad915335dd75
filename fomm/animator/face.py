"""Model `face`: a photo and a stream of driving frames become a stream of animated photos.

The driving frames are only looked at for their landmarks; the photo keeps its own size.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from fomm.animator.device import choose_device
from fomm.animator.lanes import Lanes
from fomm.errors import InputError
from fomm.model.face import Aligned, Face, FaceModel, Moved, Portrait, Sitter, Steady, move
from fomm.model.face.mesh import Pose, angles_deg, rotation_of

INTERVAL_S = 1 / 25  # between driving frames, where nobody says
HOLD_S, FADE_S = 0.4, 1.2  # a face that is lost keeps its motion, then comes to rest
BACK_S = 0.3  # when it is seen again
LIMIT_DEG = 5.0  # a turn held back by more is told


class Follow(Protocol):
    def __call__(self, frame: np.ndarray, seconds: float = ...) -> Moved: ...


class Observer(Protocol):
    """Sees faces in pictures: a `preprocess.faces.FaceFinder`."""

    def mesh(self, image: np.ndarray) -> np.ndarray | None:
        """Landmarks (478, 3) of a face in a picture (H, W, 3) uint8 that it fills well, or None."""

    def person(self, image: np.ndarray) -> np.ndarray:
        """(H, W) float32 in [0, 1]: how sure it is that a pixel shows a person."""


@dataclass
class Followed:
    """What following a driving face met: frames, those without a face, and the most that a turn was held back."""

    frames: int = 0
    lost: int = 0
    bounded_deg: float = 0.0

    def doubts(self) -> list[str]:
        """What should be told, one sentence each."""
        said = []
        if self.lost:
            said.append(f"no face in {self.lost} of {self.frames} frames: there the motion is held, then comes to rest")
        if self.bounded_deg > LIMIT_DEG:
            said.append(
                f"the head turns {self.bounded_deg:.0f} degrees further than the photo can show; "
                "the result turns less there"
            )
        return said


class FaceAnimator:
    """Animates photos with a `FaceModel`, on the CPU or, the generator, on a GPU.

    Attributes:
        model: as given, in evaluation mode.

    Args:
        model: see `fomm.model.face`.
        observer: makes what sees faces in driving frames; called once in every thread that needs one.
        device: of the generator, as for `Animator`; everything else is done by the processor.

    Raises:
        InputError: unknown or missing device.
    """

    def __init__(self, model: FaceModel, observer: Callable[[], Observer], *, device: str = "auto") -> None:
        self.device = choose_device(device)
        self.model = model.eval()
        self._make_observer = observer
        self._seen_by = threading.local()
        self._networks = deepcopy(model).to(self.device).to(memory_format=torch.channels_last)

    def __str__(self) -> str:
        return self.device.type

    @property
    def observer(self) -> Observer:
        """This thread's own."""
        if not hasattr(self._seen_by, "observer"):
            self._seen_by.observer = self._make_observer()
        return self._seen_by.observer

    def sit(self, photo: np.ndarray) -> Sitter:
        """The face of a photo (H, W, 3) uint8 that it fills well, and the person's outline.

        Raises:
            InputError: no face is seen.
        """
        landmarks = self.observer.mesh(photo)
        if landmarks is None:
            raise InputError("no face is seen in the source picture")
        return Sitter(photo, landmarks, self.observer.person(photo))

    def portrait(self, sitter: Sitter) -> Portrait:
        """The photo, ready to be put into motion; several threads may use it at once."""
        return self._networks.portrait(sitter)

    def animate(
        self,
        source: Sitter | np.ndarray,
        driving: Iterable[np.ndarray],
        *,
        initial: np.ndarray | None = None,
        relative: bool = True,
        interval_s: float = INTERVAL_S,
        followed: Followed | None = None,
    ) -> Iterator[np.ndarray]:
        """The photo (H, W, 3) uint8 with its face in motion: one picture for each driving frame, in order.

        A stream: no more frames are read ahead than are animated side by side.

        Args:
            source: the photo's face; of a picture that the face fills well it is found here.
            driving: frames (h, w, 3) uint8 that the face fills well.
            initial: the driving frame whose motion is none; by default the first with a face.
            relative: apply the change since `initial`; otherwise head and face do what the driving face does.
            interval_s: seconds between driving frames, for filtering in time.
            followed: takes down what should be told afterwards.

        Raises:
            InputError: there is no face in the source, or none in `initial`.
        """
        portrait = self.portrait(source if isinstance(source, Sitter) else self.sit(source))
        follow = self.follow(portrait.source, initial, relative=relative, interval_s=interval_s, followed=followed)
        with Lanes() as lanes:  # the next face is looked at while all lanes are at work
            yield from lanes.map(portrait, map(follow, driving), waiting=1)

    def follow(
        self,
        source: Face,
        initial: np.ndarray | None = None,
        *,
        relative: bool = True,
        interval_s: float = INTERVAL_S,
        followed: Followed | None = None,
    ) -> Follow:
        """A function from each driving frame (h, w, 3) uint8, in order, to the source's face moved.

        Its second argument, the seconds since the frame before, is `interval_s` unless it is given.

        Raises:
            InputError: no face in `initial`.
        """
        followed = followed if followed is not None else Followed()
        start, aligned = None, None
        if initial is not None:
            seen = self.observer.mesh(initial)
            if seen is None:
                raise InputError("no face is seen in the driving frame that the motion starts from")
            start = Face(seen.astype(np.float64))
            aligned = Aligned(initial, start)
        steady, last, away, back = Steady(), None, 0.0, 1.0

        def next_face(frame: np.ndarray, seconds: float = interval_s) -> Moved:
            nonlocal start, aligned, steady, last, away, back
            seen = self.observer.mesh(frame)
            followed.frames += 1
            if seen is None:
                followed.lost += 1
                away, back = away + seconds, 0.0
            else:
                if away > HOLD_S:
                    steady = Steady()
                away, back = 0.0, min(1.0, back + seconds / BACK_S)
                landmarks = seen.astype(np.float64)
                found = steady(landmarks if aligned is None else aligned(frame, landmarks), seconds)
                if aligned is None:
                    start = Face(found)
                    aligned = Aligned(frame, start)
                last = found if last is None or back == 1.0 else last + back * (found - last)
            if start is None:
                return move(source, source, source)
            rests = np.clip((away - HOLD_S) / FADE_S, 0.0, 1.0)
            now = start.landmarks if last is None else last + rests * (start.landmarks - last)
            if rests > 0:
                last = now
            moved = move(source, Face(now), start if relative else as_if(source, start))
            followed.bounded_deg = max(followed.bounded_deg, moved.bounded_deg)
            return moved

        return next_face


def as_if(source: Face, start: Face) -> Face:
    """The source's own face where the driving one started: what changes is what the two do not share.

    A photo that lies on its side is taken as if it stood.
    """
    lies_deg = 90 * np.round(angles_deg(source.pose.rotation)[2] / 90)
    stands = rotation_of(np.array([0.0, 0.0, -lies_deg])) @ source.pose.rotation
    place = Pose(start.pose.scale, stands, start.pose.shift)
    return Face(place.place(source.shape))
