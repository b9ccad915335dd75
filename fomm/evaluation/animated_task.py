"""One task, decoded once and animated by every contender."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fomm.animator import AnimationSettings
from fomm.animator.animator import batched
from fomm.animator.face import FaceAnimator
from fomm.errors import InputError
from fomm.evaluation.tasks import Contender, Task
from fomm.manifest import Clip
from fomm.pixels import to_tensor
from fomm.video import Frame, VideoReader
from fomm.video.pictures import fit_square

FRAMES_AT_ONCE = 16
SAME = "predictions need one frame for each driving frame"


class Shot(NamedTuple):
    """A run of consecutive frames of a task, (T, S, S, 3) uint8, and what the models made of it."""

    start: int
    driving: np.ndarray
    truth: np.ndarray | None
    predictions: dict[str, Tensor]  # (T, 3, S, S) float32 in [0, 1], on the models' device


class AnimatedTask:
    """A task, animated by all contenders. Iterate once.

    Args:
        folder: of the manifest.
        size: S, at which they are compared; each model sees frames of its own size.

    Raises InputError, here or while iterating, where a clip is missing or damaged, or they do not fit together.
    """

    def __init__(self, task: Task, folder: Path, contenders: Sequence[Contender], size: int) -> None:
        self._task, self._contenders, self._size = task, contenders, size
        self._driving = _opened(folder, task.driving)
        self._truth = _opened(folder, task.truth) if task.truth and task.truth != task.driving else None
        source = self._driving if task.source == task.driving else _opened(folder, task.source)
        self._source = next(iter(source)).image
        self._first = next(iter(self._driving)).image
        self._readers = [reader for reader in (source, self._driving, self._truth) if reader is not None]
        self.source = fit_square(self._source, size)  # (S, S, 3) uint8
        self.failed: dict[str, str] = {}  # contender -> why it could not go on; the others do
        self.notes: list[str] = []  # what went wrong with the files while reading
        self.sizes = sorted({(reader.width, reader.height) for reader in self._readers})  # of the clips as they are

    def __iter__(self) -> Iterator[Shot]:
        takes = {contender.name: self._take(contender) for contender in self._contenders}
        self._left: dict[str, Iterator[Frame]] = {}  # of predictions that other programs made
        start = 0
        for images in batched(self._images(), FRAMES_AT_ONCE):
            driving = [driving for driving, _ in images]
            predictions = {}
            for contender in self._contenders:
                if contender.name not in self.failed:
                    try:
                        predictions[contender.name] = takes[contender.name](driving)
                    except InputError as error:
                        self.failed[contender.name] = str(error)
            fitted = np.stack([fit_square(image, self._size) for image in driving])
            truth = None
            if self._task.truth is not None:
                own = [fit_square(truth, self._size) for _, truth in images if truth is not None]  # all or none
                truth = np.stack(own) if own else fitted
            yield Shot(start, fitted, truth, predictions)
            start += len(images)
        for name, left in self._left.items():
            if name not in self.failed and (more := sum(1 for _ in left)):
                self.failed[name] = (
                    f"{self._task.name}: has {start + more} frames, the driving clip has {start}; {SAME}"
                )
        self.notes += [warning for reader in self._readers for warning in reader.warnings]
        if start < 2:
            raise InputError(f"{self._driving.path}: has one frame, nothing moves in it; a clip needs at least 2")
        if start != self._task.driving.frames:
            self.notes.append(
                f"{self._driving.path}: has {start} frames, the manifest says {self._task.driving.frames}; all are used"
            )

    def _images(self) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """(driving, truth or None), as they are in the files."""
        if self._truth is None:
            for frame in self._driving:
                yield frame.image, None
            return
        truths = iter(self._truth)
        for frame in self._driving:
            truth = next(truths, None)
            if truth is None:
                break
            yield frame.image, truth.image
        else:
            if next(truths, None) is None:
                return
        raise InputError(
            f"{self._truth.path}: does not have as many frames as the driving clip {self._driving.path}; they must be "
            "equal"
        )

    def _take(self, contender: Contender) -> Callable[[list[np.ndarray]], Tensor]:
        """What makes (T, 3, S, S) predictions of driving frames as they are in the files."""
        animator, size = contender.animator, self._size
        if contender.predictions is not None:
            return self._take_files(contender)
        if animator is None:
            still = to_tensor(self.source[None])
            return lambda driving: still.expand(len(driving), -1, -1, -1)
        own = contender.image_size or size
        if isinstance(animator, FaceAnimator):
            return self._take_face(animator, own)
        encoded = None

        def take(driving: list[np.ndarray]) -> Tensor:
            nonlocal encoded
            encoded = encoded or animator.encode(fit_square(self._source, own))
            outputs = animator.outputs(
                encoded,
                (fit_square(image, own) for image in driving),
                AnimationSettings(relative=self._task.relative, adapt_scale=self._task.relative),
                initial=fit_square(self._first, own),
            )
            return resized(torch.cat([output.prediction.float() for output in outputs]), size)

        return take

    def _take_files(self, contender: Contender) -> Callable[[list[np.ndarray]], Tensor]:
        """As `_take`, of frames that another program made."""
        path, side = (contender.predictions or {}).get(f"{self._task.protocol}/{self._task.name}"), contender.image_size
        taken = 0

        def take(driving: list[np.ndarray]) -> Tensor:
            nonlocal taken
            if path is None:
                raise InputError(
                    f"{self._task.name}: {contender.checkpoint} has no video and no folder of this name; {SAME}"
                )
            if contender.name not in self._left:
                reader = VideoReader(path, fps=self._task.driving.fps)
                if (reader.width, reader.height) != (side, side):
                    raise InputError(
                        f"{path}: is {reader.width}x{reader.height}, others of {contender.name} are {side}x{side}; "
                        "make all predictions square and of one size"
                    )
                self._left[contender.name] = iter(reader)
            pictures = [frame.image for frame in islice(self._left[contender.name], len(driving))]
            taken += len(pictures)
            if len(pictures) < len(driving):
                raise InputError(f"{path}: has {taken} frames, the driving clip has more; {SAME}")
            return resized(to_tensor(np.stack(pictures)), self._size)

        return take

    def _take_face(self, animator: FaceAnimator, own: int) -> Callable[[list[np.ndarray]], Tensor]:
        """As `_take`, with frames of `own` pixels."""
        portrait = follow = None

        def take(driving: list[np.ndarray]) -> Tensor:
            nonlocal portrait, follow
            if portrait is None:
                portrait = animator.model.portrait(animator.sit(fit_square(self._source, own)))
                # In a reconstruction the source is the first driving frame: the change since then is the motion itself.
                follow = animator.follow(
                    portrait.source, fit_square(self._first, own), interval_s=float(1 / self._task.driving.fps)
                )
            pictures = np.stack([portrait(follow(fit_square(image, own))) for image in driving])
            return resized(to_tensor(pictures), self._size)

        return take


def _opened(folder: Path, clip: Clip) -> VideoReader:
    return VideoReader(folder / clip.path, fps=clip.fps)


def resized(pictures: Tensor, size: int) -> Tensor:
    """(T, 3, H, W) -> (T, 3, size, size), bilinear, antialiased where it shrinks."""
    if pictures.shape[-1] == size:
        return pictures
    return F.interpolate(pictures, (size, size), mode="bilinear", antialias=size < pictures.shape[-1])
