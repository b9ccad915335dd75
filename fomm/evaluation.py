"""Several models on the same frames: the protocols, the streaming run that can be killed and resumed, the results.

A `Task` is one clip of a protocol. Its frames are decoded once, each model animates them, the measures compare; what
comes out, a value per frame, metric and model, is a `Record`: one file, written whole. A run is the tasks that have no
record yet, dealt out to the processes; the report is computed from the records alone. So a killed run goes on with the
next clip, any number of processes gives the same numbers, and memory does not grow with the data set.

Protocols (pixels are compared as float32, before any rounding to 8 bits):
- reconstruction: source = first frame of a clip, driving = all its frames, the first included, absolute keypoints; as
  in the original authors' code.
- cross_identity: the first frame of one clip animated by another clip, relative motion and adapted scale, as the
  original animates. There is no truth to compare pixels with.
- cross_identity_truth: the same where the pair has a clip that shows what should come out.
"""

from __future__ import annotations

import copy
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fomm.animator import Animator
from fomm.errors import InputError
from fomm.files import atomic_output
from fomm.manifest import Clip, Pair
from fomm.measures import ClipReference, Frames, Measure, Reference
from fomm.progress import Progress, silent
from fomm.video import VideoReader, frame_files
from fomm.video.pictures import fit_square

SOURCE = "source"
"""The contender that repeats the source picture: what a model has to beat."""

PROTOCOLS = ("reconstruction", "cross_identity", "cross_identity_truth")
COMMON_SIZE = 256
"""Side at which models of different sizes are compared."""

FRAMES_AT_ONCE = 16
LOSSLESS = (".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff")


# ---------------------------------------------------------------------------------------------------------------------
# What is compared, and on what


@dataclass(frozen=True, eq=False)
class Contender:
    """One of the models that are compared.

    Attributes:
        name: in the report; unique.
        role: "candidate" or "baseline".
        animator: None repeats the source picture.
        checkpoint, sha256, image_size, num_keypoints, category: of the weights.
        notes: what a reader should know about it, one sentence each.
    """

    name: str
    role: str
    animator: Animator | None = None
    checkpoint: str | None = None
    sha256: str | None = None
    image_size: int | None = None
    num_keypoints: int | None = None
    category: str = "unknown"
    notes: tuple[str, ...] = ()

    def described(self) -> dict[str, Any]:
        """As the report has it."""
        names = ("name", "role", "checkpoint", "sha256", "image_size", "num_keypoints")
        return {name: getattr(self, name) for name in names} | {"notes": list(self.notes)}


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
        if self.protocol == "reconstruction":
            return self.driving.clip_id
        return f"{self.source.clip_id}+{self.driving.clip_id}"

    @property
    def relative(self) -> bool:
        return self.protocol != "reconstruction"


def list_tasks(clips: Sequence[Clip], pairs: Sequence[Pair]) -> list[Task]:
    """Reconstruction of every clip and animation of every pair, in the order of the files.

    A clip of one frame that serves as the source of a pair is a still picture: there is nothing to reconstruct.
    """
    stills = {pair.source for pair in pairs} - {pair.driving for pair in pairs}
    tasks = [
        Task("reconstruction", clip, clip, clip) for clip in clips if clip.frames > 1 or clip.clip_id not in stills
    ]
    known = {clip.clip_id: clip for clip in clips}
    for pair in pairs:
        protocol = "cross_identity_truth" if pair.truth else "cross_identity"
        tasks.append(Task(protocol, known[pair.source], known[pair.driving], known.get(pair.truth)))
    return tasks


def is_lossless(path: Path) -> bool:
    """Whether a clip's frames are stored as they were: a folder of PNG frames and the like, no compressed video."""
    try:
        return path.is_dir() and all(file.suffix.lower() in LOSSLESS for file in frame_files(path))
    except InputError:
        return False


# ---------------------------------------------------------------------------------------------------------------------
# One task: decode once, animate with every model


class Shot(NamedTuple):
    """A run of consecutive frames of a task, (T, S, S, 3) uint8, and what the models made of it."""

    start: int
    driving: np.ndarray
    truth: np.ndarray | None
    predictions: dict[str, Tensor]  # (T, 3, S, S) float32 in [0, 1], on the models' device


class Performance:
    """A task, played by all contenders. Iterate once.

    Attributes:
        source: (S, S, 3) uint8.
        failed: contender -> why it could not go on. The others do.
        notes: what went wrong with the files while reading.
        sizes: (width, height) of the clips as they are.

    Args:
        task: what to play.
        folder: of the manifest.
        contenders: who plays.
        size: S, at which they are compared; each model sees frames of its own size.

    Raises:
        InputError: here or while iterating: a clip is missing or damaged, or they do not fit together.
    """

    def __init__(self, task: Task, folder: Path, contenders: Sequence[Contender], size: int) -> None:
        self._task, self._contenders, self._size = task, contenders, size
        self._driving = _opened(folder, task.driving)
        own_truth = task.truth is not None and task.truth != task.driving
        self._truth = _opened(folder, task.truth) if own_truth else None
        source = self._driving if task.source == task.driving else _opened(folder, task.source)
        self._source = next(iter(source)).image
        self._first = next(iter(self._driving)).image
        self._readers = [reader for reader in (source, self._driving, self._truth) if reader is not None]
        self.source = fit_square(self._source, size)
        self.failed: dict[str, str] = {}
        self.notes: list[str] = []
        self.sizes = sorted({(reader.width, reader.height) for reader in self._readers})

    def __iter__(self) -> Iterator[Shot]:
        takes = {contender.name: self._take(contender) for contender in self._contenders}
        start = 0
        for images in _batches(self._images(), FRAMES_AT_ONCE):
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
                truth = fitted if self._truth is None else np.stack([fit_square(t, self._size) for _, t in images])
            yield Shot(start, fitted, truth, predictions)
            start += len(images)
        self.notes += [warning for reader in self._readers for warning in reader.warnings]
        if start < 2:
            raise InputError(f"{self._driving.path}: has one frame, nothing moves in it; a clip needs at least 2")
        if start != self._task.driving.frames:
            self.notes.append(
                f"{self._driving.path}: has {start} frames, the manifest says {self._task.driving.frames}; all are used"
            )

    def _images(self) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """(driving, truth or None), as they are in the files."""
        truths = iter(self._truth) if self._truth is not None else None
        for frame in self._driving:
            truth = next(truths, None) if truths else None
            if truths and truth is None:
                break
            yield frame.image, truth and truth.image
        else:
            if truths is None or next(truths, None) is None:
                return
        raise InputError(
            f"{self._truth.path}: has not as many frames as the driving clip {self._driving.path}; they must be equal"
        )

    def _take(self, contender: Contender) -> Callable[[list[np.ndarray]], Tensor]:
        """What makes (T, 3, S, S) predictions of driving frames as they are in the files."""
        animator, size = contender.animator, self._size
        if animator is None:
            still = to_tensor(self.source[None], torch.device("cpu"))
            return lambda driving: still.expand(len(driving), -1, -1, -1)
        own = contender.image_size
        encoded = None

        def take(driving: list[np.ndarray]) -> Tensor:
            nonlocal encoded
            encoded = encoded or animator.encode(fit_square(self._source, own))
            outputs = animator.outputs(
                encoded,
                (fit_square(image, own) for image in driving),
                initial=fit_square(self._first, own),
                relative=self._task.relative,
                adapt_scale=self._task.relative,
            )
            return resized(torch.cat([output.prediction.float() for output in outputs]), size)

        return take


def _opened(folder: Path, clip: Clip) -> VideoReader:
    return VideoReader(folder / clip.path, fps=clip.fps)


def _batches(items: Iterable, size: int) -> Iterator[list]:
    items = iter(items)
    while batch := list(islice(items, size)):
        yield batch


def to_tensor(pictures: np.ndarray, device: torch.device) -> Tensor:
    """(T, H, W, 3) uint8 -> (T, 3, H, W) float32 in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).to(device).permute(0, 3, 1, 2).float() / 255


def resized(pictures: Tensor, size: int) -> Tensor:
    """(T, 3, H, W) -> (T, 3, size, size), bilinear, antialiased where it shrinks."""
    if pictures.shape[-1] == size:
        return pictures
    return F.interpolate(pictures, (size, size), mode="bilinear", antialias=size < pictures.shape[-1])


# ---------------------------------------------------------------------------------------------------------------------
# One task: measured


@dataclass
class Record:
    """What was measured on one task.

    Attributes:
        frames: that were compared.
        values: model -> metric -> (n,) float64, as `fomm.measures` hands them out.
        features: model -> (2, T, D) float32, of what it should equal and of what it made, for metrics of whole sets.
        failed: model -> why it has no values.
        notes, sizes: as in `Performance`.
    """

    frames: int = 0
    values: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    features: dict[str, np.ndarray] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        names = [(model, metric) for model, by_metric in self.values.items() for metric in by_metric]
        header = {
            "frames": self.frames, "values": names, "features": list(self.features),
            "failed": self.failed, "notes": self.notes, "sizes": self.sizes,
        }  # fmt: skip
        arrays = {f"values_{i}": self.values[model][metric] for i, (model, metric) in enumerate(names)}
        arrays |= {f"features_{i}": array for i, array in enumerate(self.features.values())}
        packed = io.BytesIO()  # a zip file that a full disk cuts short complains once more when it is thrown away
        np.savez(packed, header=np.array(json.dumps(header)), **arrays)
        with atomic_output(path) as part:
            part.write_bytes(packed.getbuffer())

    @classmethod
    def load(cls, path: Path) -> Record | None:
        """None where there is none, or a damaged one (a disk that was full, a power cut)."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                header = json.loads(str(arrays["header"]))
                record = cls(**{**header, "values": {}, "features": {}})
                record.features = {model: arrays[f"features_{i}"] for i, model in enumerate(header["features"])}
                for i, (model, metric) in enumerate(header["values"]):
                    record.values.setdefault(model, {})[metric] = arrays[f"values_{i}"]
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            return None
        record.sizes = [tuple(size) for size in record.sizes]
        return record


class Truth(NamedTuple):
    """What a data set knows exactly about a run of frames; see `fomm.measures.Reference`."""

    landmarks_px: np.ndarray | None = None  # (T, N, 2), in pixels of the clip as it is
    portraits: Callable[[], Mapping[str, np.ndarray]] | None = None


TruthOf = Callable[[Task, int, int, int], Truth]
"""(task, first frame, frame after the last, size of the frames) -> what is known about its truth."""


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
    truth_of: TruthOf | None = None,
    progress: Callable[[int], None] = lambda frames: None,
) -> Record:
    """Play a task and measure it. Bad input is part of the result and never an error.

    Args:
        task, folder, contenders, size: as for `Performance`.
        measures: each contender gets copies of its own.
        features: what is kept of each picture for FID; None: nothing.
        truth_of: exact knowledge of the data set.
        progress: hears how many more frames are done.
    """
    record = Record()
    collected = {contender.name: _Collector(measures, features, contender) for contender in contenders}
    try:
        performance = Performance(task, folder, contenders, size)
        device = next((c.animator.device for c in contenders if c.animator), torch.device("cpu"))
        clip = ClipReference(task.name, to_tensor(performance.source[None], device)[0], task.source.identity)
        for collector in collected.values():
            collector.start(clip)
        for shot in performance:
            driving = to_tensor(shot.driving, device)
            truth = driving if shot.truth is shot.driving else None
            if truth is None and shot.truth is not None:
                truth = to_tensor(shot.truth, device)
            stop = shot.start + len(driving)
            known = truth_of(task, shot.start, stop, size) if truth_of and truth is not None else Truth()
            reference = Reference(clip, driving, truth, shot.start, *known)
            for name, prediction in shot.predictions.items():
                try:
                    collected[name].update(prediction.to(device), reference)
                except InputError as error:
                    performance.failed[name] = str(error)
            record.frames = stop
            progress(len(driving))
        record.failed, record.notes, record.sizes = performance.failed, performance.notes, performance.sizes
    except InputError as error:
        return Record(failed={contender.name: str(error) for contender in contenders})
    for name, collector in collected.items():
        if name not in record.failed:
            record.values[name] = collector.finish()
            if collector.features:
                record.features[name] = np.concatenate(collector.features, axis=1)
    return record


class _Collector:
    """The measures of one contender and what they said about a clip so far."""

    def __init__(self, measures: Sequence[Measure], features: Features | None, contender: Contender) -> None:
        self._measures = [copy.copy(measure) for measure in measures]
        self._network = features
        self._values: dict[str, list[np.ndarray]] = {}
        self.features: list[np.ndarray] = []  # (2, T, D)
        self._detect = _own_detector(contender) if contender.animator else None

    def start(self, clip: ClipReference) -> None:
        for measure in self._measures:
            measure.start(clip)

    def update(self, prediction: Tensor, reference: Reference) -> None:
        frames = Frames(prediction, reference, self._detect)
        with torch.inference_mode():
            for measure in self._measures:
                self._add(measure.update(frames))
            if self._network:
                sides = [
                    frames.remember(w, ("fid", self._network), self._extract) for w in (frames.wanted, "prediction")
                ]
                self.features.append(np.stack(sides))

    def finish(self) -> dict[str, np.ndarray]:
        for measure in self._measures:
            self._add(measure.finish())
        return {name: np.concatenate(parts) for name, parts in self._values.items()}

    def _extract(self, pictures: Tensor) -> np.ndarray:
        return self._network((pictures.clamp(0, 1) * 255).round().byte()).float().cpu().numpy()

    def _add(self, values: Mapping[str, np.ndarray]) -> None:
        for name, array in values.items():
            self._values.setdefault(name, []).append(np.asarray(array, np.float64))


def _own_detector(contender: Contender) -> Callable[[Tensor], Tensor]:
    """Frames (T, 3, H, W) -> the contender's own keypoints (T, K, 2)."""
    return lambda pictures: contender.animator.model.detect(resized(pictures, contender.image_size)).points


# ---------------------------------------------------------------------------------------------------------------------
# All tasks: records, which make a run resumable


def check_records(folder: Path, settings: Mapping[str, Any]) -> None:
    """Make sure that records in this folder belong to this evaluation; the first to come says what that is.

    Raises:
        InputError: it holds the records of an evaluation with other settings.
    """
    path = folder / "settings.json"
    settings = json.loads(json.dumps(settings))
    if not path.is_file():
        with atomic_output(path) as part:
            part.write_text(json.dumps(settings, indent=1))
        return
    try:
        found = json.loads(path.read_text())
    except ValueError:
        found = {}
    if found != settings:
        keys = sorted(key for key in found.keys() | settings.keys() if found.get(key) != settings.get(key))
        raise InputError(
            f"{folder.parent}: holds an evaluation with other settings ({', '.join(keys)} differ); give another "
            f"--output, or remove {folder} to begin anew"
        )


def record_path(folder: Path, index: int) -> Path:
    """Where the record of task number `index` is kept."""
    return folder / f"{index:06d}.npz"


def run_tasks(
    tasks: Sequence[Task],
    records: Path,
    measure: Callable[[Task, Callable[[int], None]], Record],
    *,
    rank: int = 0,
    world: int = 1,
    progress: Progress = silent,
) -> int:
    """Do this process's share of the tasks: those that have no record yet, or one of a failure.

    Args:
        tasks: all of them, in the same order in every run and process.
        records: folder of the records.
        measure: `measure_task` of a task; is told of a callback for frames that are done.
        rank, world: this process's number, and how many there are.
        progress: hears of frames, by what the manifest says.

    Returns: how many tasks had a record already.
    """
    mine = range(rank, len(tasks), world)
    done = {i for i in mine if (record := Record.load(record_path(records, i))) and not record.failed}
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
