"""What is compared, and on what: contenders and tasks. Imports no torch.

A task is one clip of a protocol (frames are compared as files hold them, in 8 bits):
- reconstruction: source = first frame of a clip, driving = all its frames, the first included, absolute keypoints; as
  in the original authors' code.
- cross_identity: the first frame of one clip animated by another clip, relative motion and adapted scale, as the
  original animates. There is no truth to compare pixels with.
- cross_identity_truth: the same where the pair has a clip that shows what should come out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fomm.errors import InputError
from fomm.manifest import Clip, Pair
from fomm.video import frame_files

if TYPE_CHECKING:
    from fomm.animator import Animator
    from fomm.animator.face import FaceAnimator

SOURCE = "source"
"""The contender that repeats the source picture: what a model has to beat."""

COMMON_SIZE = 256
"""Side at which models of different sizes are compared."""

LOSSLESS = (".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff")


@dataclass(frozen=True, eq=False)
class Contender:
    """One of the models that are compared."""

    name: str  # in the report; unique
    role: str  # "candidate" or "baseline"
    animator: Animator | FaceAnimator | None = None  # None repeats the source picture; a model `face` is on the CPU
    checkpoint: str | None = None
    sha256: str | None = None
    image_size: int | None = None  # side of the frames that it sees; None: as the frames that are compared
    num_keypoints: int | None = None
    category: str = "unknown"  # of the weights
    notes: tuple[str, ...] = ()  # what a reader should know about it, one sentence each
    # frames that another program made: "protocol/name of a task" -> video or folder of frames; None: animated here
    predictions: Mapping[str, Path] | None = None

    def takes_part(self, task: Task) -> bool:
        """Whether it has anything for the task's protocol; another program's frames need not be there for all."""
        return self.predictions is None or task.protocol in self.protocols

    @property
    def protocols(self) -> set[str]:
        """Those for which it has frames of another program."""
        return {name.partition("/")[0] for name in self.predictions or {}}


def common_size(contenders: Iterable[Contender]) -> int:
    """Side of the frames that are compared: the models' own where they agree, else `COMMON_SIZE`."""
    sizes = {contender.image_size for contender in contenders if contender.image_size}
    return sizes.pop() if len(sizes) == 1 else COMMON_SIZE


@dataclass(frozen=True)
class Task:
    """One clip of a protocol: `source`'s first frame, animated by `driving`, compared with `truth`."""

    protocol: str
    source: Clip
    driving: Clip
    truth: Clip | None

    @property
    def name(self) -> str:
        """In reports and files: the clip's id; of two clips "source+driving"."""
        if self.protocol == "reconstruction":
            return self.driving.clip_id
        return f"{self.source.clip_id}+{self.driving.clip_id}"

    @property
    def clips(self) -> list[Clip]:
        """Each of its clips, once."""
        return list(dict.fromkeys(filter(None, (self.source, self.driving, self.truth))))

    @property
    def relative(self) -> bool:
        """Whether keypoints move as the driver's do since its first frame, at the source's scale."""
        return self.protocol != "reconstruction"


def list_tasks(clips: Sequence[Clip], pairs: Sequence[Pair], limit: int | None = None) -> list[Task]:
    """Reconstruction of every clip and animation of every pair, in the order of the files; at most `limit` of each.

    A clip of one frame that serves as the source of a pair is a still picture: there is nothing to reconstruct.
    """
    stills = {pair.source for pair in pairs} - {pair.driving for pair in pairs}
    tasks = [
        Task("reconstruction", clip, clip, clip) for clip in clips if clip.frames > 1 or clip.clip_id not in stills
    ]
    known = {clip.clip_id: clip for clip in clips}
    for pair in pairs:
        protocol = "cross_identity_truth" if pair.truth else "cross_identity"
        tasks.append(Task(protocol, known[pair.source], known[pair.driving], known.get(pair.truth or "")))
    of: dict[str, list[Task]] = {}
    for task in tasks:
        of.setdefault(task.protocol, []).append(task)
    return [task for listed in of.values() for task in listed[:limit]]


def is_lossless(path: Path) -> bool:
    """Whether a clip's frames are stored as they were: a folder of PNG frames and the like, no compressed video."""
    try:
        return path.is_dir() and all(file.suffix.lower() in LOSSLESS for file in frame_files(path))
    except InputError:
        return False


class Truth(NamedTuple):
    """What a data set knows exactly about a run of frames; see `frames.Reference`."""

    landmarks_px: np.ndarray | None = None  # (T, N, 2), in pixels of the frames that are compared
    portraits: Callable[[], Mapping[str, np.ndarray]] | None = None

    def of(self, chosen: slice) -> Truth:
        """What is known about some of these frames."""
        draw = self.portraits
        return Truth(
            None if self.landmarks_px is None else self.landmarks_px[chosen],
            draw and (lambda: {name: pictures[chosen] for name, pictures in draw().items()}),
        )


TruthOf = Callable[[Task, int, int, int], Truth]
"""(task, first frame, frame after the last, size of the frames) -> what is known about its truth."""
