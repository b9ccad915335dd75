"""What drawn data sets know exactly, for evaluations."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from fomm.errors import InputError
from fomm.evaluation.tasks import Task, Truth
from fomm.manifest import Clip
from preprocess.synthetic.puppets import Camera, Pose, draw, load_puppet_truth, random_identity

TRUTH = {"landmarks_px", "poses", "pose_names", "camera", "identity"}  # what `load_puppet_truth` gives
PEOPLE = 8  # among whom identity_truth has to find the right one; drawing them takes longer than anything else


class PuppetTruth:
    """What drawn data sets know exactly: landmarks, and how each known person would look in the same pose.

    Args:
        folder: of the manifest.
        clips: whose identities are known.
    """

    def __init__(self, folder: Path, clips: Iterable[Clip]) -> None:
        self._folder = folder
        self._seen_in: dict[str, Clip] = {}
        for clip in clips:
            if self._file(clip).is_file():
                self._seen_in.setdefault(clip.identity, clip)

    def __call__(self, task: Task, start: int, stop: int, size: int) -> Truth:
        clip = task.truth
        if clip is None or not self._file(clip).is_file():
            return Truth()
        truth = self._load(clip, stop)
        side = min(clip.width, clip.height)
        corner = ((clip.width - side) // 2, (clip.height - side) // 2)
        landmarks = (truth["landmarks_px"][start:stop] - corner + 0.5) * (size / side) - 0.5
        known = task.source.identity in self._seen_in and clip.width == clip.height
        return Truth(
            landmarks, (lambda: self._portraits(clip, task.source.identity, start, stop, size)) if known else None
        )

    def _portraits(self, clip: Clip, identity: str, start: int, stop: int, size: int) -> dict[str, np.ndarray]:
        truth = self._load(clip)
        camera = Camera(*truth["camera"])
        names = [str(name) for name in truth["pose_names"]]
        poses = [Pose(**dict(zip(names, row, strict=True))) for row in truth["poses"][start:stop]]
        people = sorted(self._seen_in)
        first = people.index(identity)
        drawn = {}
        for name in [people[(first + i) % len(people)] for i in range(min(PEOPLE, len(people)))]:
            person = random_identity(int(self._load(self._seen_in[name])["identity"]))
            drawn[name] = np.stack([draw(person, pose, size, camera).image for pose in poses])
        return drawn

    def _file(self, clip: Clip) -> Path:
        return self._folder / f"{clip.path}.npz"

    def _load(self, clip: Clip, frames: int = 0) -> dict[str, Any]:
        try:
            truth = load_puppet_truth(self._folder / clip.path)
            if min(len(truth["landmarks_px"]), len(truth["poses"])) >= frames and truth.keys() >= TRUTH:
                return truth
        except InputError:
            raise
        except Exception:  # a damaged file makes zipfile and numpy raise nearly anything
            pass
        raise InputError(
            f"{self._file(clip)}: is not the truth of {clip.path}; draw the clip again, or remove the file"
        )
