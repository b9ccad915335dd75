"""Several models on the same frames: the streaming run that can be killed and resumed.

A `Task`'s frames are decoded once, each model animates them, the measures compare; what comes out, a value per frame,
metric and model, is a `Record`: one file, written whole. A run is the tasks that have no record yet, dealt out to the
processes; the report is computed from the records alone. So a killed run goes on with the next clip, any number of
processes gives the same numbers, and memory does not grow with the data set.
"""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fomm.animator import Animator
from fomm.errors import InputError
from fomm.evaluation.animated_task import AnimatedTask, resized
from fomm.evaluation.frames import ClipReference, Frames, Reference, Which
from fomm.evaluation.measures import Measure
from fomm.evaluation.tasks import Contender, Task, Truth, TruthOf
from fomm.files import atomic_output
from fomm.manifest import Clip, hash_clip
from fomm.pixels import in_8_bits, to_bytes, to_tensor
from fomm.pretrained.video_network import VideoNetwork
from fomm.progress import Progress, silent


@dataclass
class Record:
    """What was measured on one task."""

    frames: int = 0  # that were compared
    # model -> metric -> (n,) float64, as `fomm.evaluation.measures` hands them out
    values: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    # model -> (2, T, D) float32, of what it should equal and of what it made, for metrics of whole sets
    features: dict[str, np.ndarray] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)  # model -> why it has no values
    notes: list[str] = field(default_factory=list)  # as in `AnimatedTask`
    sizes: list[tuple[int, int]] = field(default_factory=list)  # as in `AnimatedTask`
    contents: dict[str, str] = field(default_factory=dict)  # path of each clip that was used -> sha256 of what it held
    video_features: dict[str, np.ndarray] = field(default_factory=dict)  # as `features`, of runs of frames

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        names = [(model, metric) for model, by_metric in self.values.items() for metric in by_metric]
        header = vars(self) | {"values": names, "features": [*self.features], "video_features": [*self.video_features]}
        arrays = {f"values_{i}": self.values[model][metric] for i, (model, metric) in enumerate(names)}
        arrays |= {f"features_{i}": array for i, array in enumerate(self.features.values())}
        arrays |= {f"video_features_{i}": array for i, array in enumerate(self.video_features.values())}
        packed = io.BytesIO()  # a zip file that a full disk cuts short complains once more when it is thrown away
        np.savez(packed, header=np.array(json.dumps(header)), **arrays)
        with atomic_output(path) as part:
            part.write_bytes(packed.getvalue())  # no view of it, as in `video.pictures.save_picture`

    @classmethod
    def load(cls, path: Path, *, features: bool = True) -> Record | None:
        """None where there is none, or a damaged one (a disk that was full, a power cut); if need be without features,
        which are by far the most of it."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                header = json.loads(str(arrays["header"]))
                record = cls(**{**header, "values": {}, "features": {}, "video_features": {}})
                for kind in ("features", "video_features") if features else ():
                    setattr(record, kind, {model: arrays[f"{kind}_{i}"] for i, model in enumerate(header[kind])})
                for i, (model, metric) in enumerate(header["values"]):
                    record.values.setdefault(model, {})[metric] = arrays[f"values_{i}"]
                record.sizes = [(int(width), int(height)) for width, height in record.sizes]
        except Exception:  # a damaged file makes zipfile and numpy raise nearly anything
            return None
        return record if isinstance(record.failed, dict) and isinstance(record.frames, int) else None


Features = Callable[[Tensor], Tensor]
"""(T, 3, H, W) uint8 -> (T, D); `fomm.pretrained.features.load_inception`."""


def measure_task(
    task: Task,
    folder: Path,
    contenders: Sequence[Contender],
    measures: Sequence[Measure],
    *,
    size: int,
    features: Features | None = None,
    video_network: VideoNetwork | None = None,
    device: torch.device = torch.device("cpu"),  # noqa: B008 - a constant
    truth_of: TruthOf | None = None,
    every: int = 1,
    progress: Callable[[int], None] = lambda frames: None,
) -> Record:
    """Play a task and measure it, in 8 bits as files would hold it. Bad input is part of the result, never an error.

    Args:
        task, folder, contenders, size: as for `AnimatedTask`.
        measures: each contender gets copies of its own.
        features: what is kept of each picture for FID and KID; None: nothing.
        video_network: what is kept of each run of pictures for FVD; None: nothing.
        device: where it is measured.
        truth_of: exact knowledge of the data set.
        every: of so many frames one is measured, the first included; all are animated.
        progress: is called with how many more frames are done.
    """
    record = Record(contents=contents_of(task, folder))
    contenders = [contender for contender in contenders if contender.takes_part(task)]
    collected = {contender.name: _Collector(measures, features, video_network, contender) for contender in contenders}
    try:
        for each in task.clips:
            require_content(each, folder, record.contents)
        animated = AnimatedTask(task, folder, contenders, size)
        source = to_tensor(animated.source[None], device)[0]
        clip = ClipReference(task.name, source, task.source.identity, float(task.driving.fps))
        for collector in collected.values():
            collector.start(clip)
        for shot in animated:
            stop = shot.start + len(shot.driving)
            progress(len(shot.driving))
            chosen = slice(-shot.start % every, None, every)
            driving = to_tensor(shot.driving[chosen], device)
            if not len(driving):
                continue
            truth = driving if shot.truth is shot.driving else None
            if truth is None and shot.truth is not None:
                truth = to_tensor(shot.truth[chosen], device)
            known = truth_of(task, shot.start, stop, size) if truth_of and truth is not None else Truth()
            reference = Reference(clip, driving, truth, *known.of(chosen))
            for name, prediction in shot.predictions.items():
                try:
                    collected[name].update(in_8_bits(prediction[chosen].to(device)), reference)
                except InputError as error:
                    animated.failed[name] = str(error)
            record.frames += len(driving)
        record.failed, record.notes, record.sizes = animated.failed, animated.notes, animated.sizes
    except InputError as error:
        return Record(failed={contender.name: str(error) for contender in contenders}, contents=record.contents)
    for name, collector in collected.items():
        if name not in record.failed:
            record.values[name] = collector.finish()
            if collector.features:
                record.features[name] = np.concatenate(collector.features, axis=1)
            if collector.video_features:
                record.video_features[name] = np.stack(collector.video_features, axis=1)
    return record


def contents_of(task: Task, folder: Path) -> dict[str, str]:
    """Path of each clip of a task -> sha256 of what it holds now; clips that cannot be read are left out."""
    contents = {}
    for clip in task.clips:
        with suppress(OSError, InputError):  # its reader says what is wrong
            contents[clip.path] = hash_clip(folder / clip.path)
    return contents


def require_content(clip: Clip, folder: Path, contents: Mapping[str, str]) -> None:
    """Raises InputError where a clip holds something else than its manifest says."""
    found = contents.get(clip.path, clip.sha256)
    if clip.sha256 and found != clip.sha256:
        raise InputError(
            f"{folder / clip.path}: has sha256 {found}, its manifest says {clip.sha256}; it was changed or replaced: "
            "restore it, or make the manifest anew"
        )


class _Collector:
    """The measures of one contender and what they said about a clip so far."""

    def __init__(
        self,
        measures: Sequence[Measure],
        features: Features | None,
        video_network: VideoNetwork | None,
        contender: Contender,
    ) -> None:
        self._measures = [copy.copy(measure) for measure in measures]
        self._network, self._video_network = features, video_network
        self._run: list[tuple[np.ndarray, np.ndarray]] = []  # frames wanted and made, fewer than the network sees
        self.video_features: list[np.ndarray] = []  # (2, D)
        self._values: dict[str, list[np.ndarray]] = {}
        self.features: list[np.ndarray] = []  # (2, T, D)
        self._detect = _own_detector(contender)

    def start(self, clip: ClipReference) -> None:
        for measure in self._measures:
            measure.start(clip)

    def update(self, prediction: Tensor, reference: Reference) -> None:
        frames = Frames(prediction, reference, self._detect)
        with torch.inference_mode():
            for measure in self._measures:
                self._add(measure.update(frames))
            if self._network:
                self._look_at_pictures(self._network, frames)
            if self._video_network:
                self._look_at_runs(self._video_network, frames)

    def _look_at_pictures(self, network: Features, frames: Frames) -> None:
        def extract(pictures: Tensor) -> np.ndarray:
            return network(to_bytes(pictures)).float().cpu().numpy()

        sides: list[Which] = [frames.wanted, "prediction"]
        self.features.append(np.stack([frames.remember(which, ("fid", network), extract) for which in sides]))

    def _look_at_runs(self, network: VideoNetwork, frames: Frames) -> None:
        self._run += zip(frames.bytes(frames.wanted), frames.bytes("prediction"), strict=True)
        while len(self._run) >= network.frames:
            wanted, made = (np.stack(side) for side in zip(*self._run[: network.frames], strict=True))
            del self._run[: network.frames]
            key = ("fvd", network, len(self.video_features))  # the reference's, once for all models
            of_wanted = frames.reference.clip.once(key, partial(network, wanted))
            self.video_features.append(np.stack([of_wanted, network(made)]))

    def finish(self) -> dict[str, np.ndarray]:
        for measure in self._measures:
            self._add(measure.finish())
        return {name: np.concatenate(parts) for name, parts in self._values.items()}

    def _add(self, values: Mapping[str, np.ndarray]) -> None:
        for name, array in values.items():
            self._values.setdefault(name, []).append(np.asarray(array, np.float64))


def _own_detector(contender: Contender) -> Callable[[Tensor], Tensor] | None:
    """Frames (T, 3, H, W) -> the contender's own keypoints (T, K, 2); None where it learnt none."""
    if not isinstance(contender.animator, Animator):
        return None
    model, side = contender.animator.model, contender.image_size
    return lambda pictures: model.detect(resized(pictures, side or pictures.shape[-1])).points


def check_records(folder: Path, settings: Mapping[str, Any]) -> None:
    """Raise InputError where a folder holds the records of an evaluation with other settings; the first to come says
    which they are."""
    path = folder / "settings.json"
    settings = json.loads(json.dumps(settings))
    if not path.is_file():
        with atomic_output(path) as part:
            part.write_text(json.dumps(settings, indent=1))
        return
    try:
        found = json.loads(path.read_text())
    except (ValueError, RecursionError):
        found = {}
    if found != settings:
        found = found if isinstance(found, dict) else {}
        keys = sorted(key for key in found.keys() | settings.keys() if found.get(key) != settings.get(key))
        raise InputError(
            f"{folder.parent}: holds an evaluation with other settings ({', '.join(keys)} differ); give another "
            f"--output, or remove {folder} to start again"
        )


RECORDS = "records"
"""Folder of them in that of an evaluation."""


def record_path(folder: Path, index: int) -> Path:
    """Where the record of task number `index` is kept."""
    return folder / f"{index:06d}.npz"


def run_tasks(
    tasks: Sequence[Task],
    records: Path,
    measure: Callable[[Task, Callable[[int], None]], Record],
    *,
    contents: Callable[[Task], dict[str, str]] = lambda task: {},
    rank: int = 0,
    world: int = 1,
    progress: Progress = silent,
) -> int:
    """Do this process's share of the tasks: those that have no record yet, or one of a failure or of other clips.

    Returns how many had one.

    Args:
        tasks: all of them, in the same order in every run and process.
        records: folder of the records.
        measure: `measure_task` of a task; gets a callback for the frames that are done.
        contents: `contents_of` a task, now.
        rank, world: this process's number, and how many there are.
        progress: is called with frames, counted as the manifest says.
    """
    mine = range(rank, len(tasks), world)

    def is_done(i: int) -> bool:
        record = Record.load(record_path(records, i))
        return record is not None and not record.failed and record.contents == contents(tasks[i])

    done = {i for i in mine if is_done(i)}
    total, frames = sum(tasks[i].driving.frames for i in mine), sum(tasks[i].driving.frames for i in done)
    progress("evaluate", frames, total)

    def tell(more: int) -> None:
        nonlocal frames
        frames += more
        progress("evaluate", frames, total)

    for i in mine:
        if i not in done:
            measure(tasks[i], tell).save(record_path(records, i))
    return len(done)
