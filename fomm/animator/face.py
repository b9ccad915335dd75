"""Model `face`: a photo and a stream of driving frames become a stream of animated photos.

The driving frames are only looked at for their landmarks; the photo keeps its own size.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from typing import Protocol

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from fomm.animator.device import choose_device
from fomm.animator.lanes import Lanes
from fomm.errors import InputError
from fomm.model.face import Face, FaceModel, Moved, Portrait, Sitter, Strength, move
from fomm.model.face.direct import ALL, direct
from fomm.model.face.edit import REST
from fomm.model.face.follow import INTERVAL_S, Followed, Follower, Observer
from fomm.model.face.mesh import Pose, angles_deg, rotation_of


class Follow(Protocol):
    def __call__(self, frame: np.ndarray, seconds: float = ...) -> Moved: ...


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
        # NumPy's products are tiny here, and frames are made side by side: BLAS threads of its own would only spin.
        threadpool_limits(1, user_api="blas")
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
        strength: Strength = ALL,
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
            strength: how much of the motion each part of the face follows.
            interval_s: seconds between driving frames, for filtering in time.
            followed: takes down what should be told afterwards.

        Raises:
            InputError: there is no face in the source, or none in `initial`.
        """
        portrait = self.portrait(source if isinstance(source, Sitter) else self.sit(source))
        follow = self.follow(
            portrait.source,
            initial,
            relative=relative,
            strength=strength,
            interval_s=interval_s,
            followed=followed,
        )
        with Lanes() as lanes:  # the next face is looked at while all lanes are at work
            yield from lanes.map(portrait, map(follow, driving), waiting=1)

    def play(
        self,
        source: Sitter,
        faces: Iterable[Face],
        *,
        strength: Strength = ALL,
        followed: Followed | None = None,
    ) -> Iterator[np.ndarray]:
        """The photo (H, W, 3) uint8 with its face in motion: one picture for each face of a recording or an edit.

        Args:
            source: the photo's face.
            faces: driving faces whose motion starts from the reference at rest (`fomm.model.face.edit.REST`).
            strength, followed: as for `animate`.
        """
        portrait, followed = self.portrait(source), followed if followed is not None else Followed()

        def moved(face: Face) -> Moved:
            motion = direct(portrait.source, face, REST, strength)
            followed.frames += 1
            followed.bounded_deg = max(followed.bounded_deg, motion.bounded_deg)
            return motion

        with Lanes() as lanes:
            yield from lanes.map(portrait, map(moved, faces), waiting=1)

    def follow(
        self,
        source: Face,
        initial: np.ndarray | None = None,
        *,
        relative: bool = True,
        strength: Strength = ALL,
        interval_s: float = INTERVAL_S,
        followed: Followed | None = None,
    ) -> Follow:
        """A function from each driving frame (h, w, 3) uint8, in order, to the source's face moved.

        Its second argument, the seconds since the frame before, is `interval_s` unless it is given.

        Raises:
            InputError: no face in `initial`.
        """
        followed = followed if followed is not None else Followed()
        follower = Follower(self.observer, initial, interval_s=interval_s, followed=followed)

        def next_face(frame: np.ndarray, seconds: float = interval_s) -> Moved:
            face = follower(frame, seconds)
            if face is None:
                return move(source, source, source)
            start = follower.initial
            moved = direct(source, face, start if relative else as_if(source, start), strength)
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
