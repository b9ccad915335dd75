"""Who is compared on what: lists read and checked, checkpoints loaded."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fomm.animator import Animator
from fomm.animator.face import FaceAnimator, Observer
from fomm.checkpoint import load_model
from fomm.errors import InputError
from fomm.evaluation.tasks import SOURCE, Contender, Task, is_lossless, list_tasks
from fomm.files import hash_file
from fomm.manifest import SPLITS, Clip, hash_clip, read_manifest, read_pairs, select, split_overlap
from fomm.model.face import FaceModel
from fomm.report.schema import Data
from fomm.video import VIDEO_SUFFIXES, VideoReader
from fomm.video_folder import manifest_of_folder

MAX_WARNINGS = 20  # of rows that are left out; the rest is counted
SOURCE_NOTES = (
    "repeats the source picture; no network",
    "the first frame of the truth can be the source picture itself (in reconstruction it always is): it counts as the "
    "greatest PSNR there is and lifts that mean",
)
MAYBE_FACES = ("face", "unknown")  # categories of models that may be of faces
FACE_NOTES = (
    "its keypoints are the landmarks that akd_mediapipe compares: keypoints_own is not measured",
    "follows landmarks that are filtered in time, as in inference",
)


@dataclass(frozen=True)
class DataSet:
    """What is measured on, and what is to be said about it."""

    manifest: Path
    clips: list[Clip]  # of the split
    tasks: list[Task]  # what is made of them, at most `limit` of each protocol
    limit: int | None
    described: Data  # for the report; what of it was used is known only in the end


def read_data(
    path: str | Path, *, split: str = "test", pairs: str | Path | None = None, limit: int | None = None
) -> DataSet:
    """Read and check the lists; faulty rows are left out and told.

    Args:
        path: manifest of the clips, or its folder.
        split: the clips to measure on.
        pairs: CSV file with the columns source, driving, truth.
        limit: so many clips of each protocol at most, the first.

    Raises:
        InputError: no list, not one, or no clip in it to measure on.
    """
    manifest, warnings = Path(path), list[str]()
    if manifest.is_dir():
        manifest = manifest_of_folder(manifest)
    everything = read_manifest(manifest, on_fault=warnings.append)
    clips = select(everything, split)
    if not clips:
        counts = ", ".join(f"{split} {len(select(everything, split))}" for split in SPLITS)
        raise InputError(f"{manifest}: no clip has split {split!r} (clips: {counts}); give another --split")
    listed = read_pairs(pairs, clips, on_fault=warnings.append) if pairs else []
    if len(warnings) > MAX_WARNINGS:
        warnings = [*warnings[:MAX_WARNINGS], f"{len(warnings) - MAX_WARNINGS} more rows are left out"]
    if pairs and not listed:
        told = f" ({warnings[-1]})" if warnings else ""
        raise InputError(f"{pairs}: no pair of clips of split {split!r}{told}; correct its rows")
    files = [manifest.parent / clip.path for clip in clips]
    lossless = all(is_lossless(file) for file in files if file.exists())  # what is missing is a failure of its own
    if not lossless:
        warnings.append(
            "not all clips are lossless frames (PNG folders): pixels are compared with what a video codec left of the "
            "truth, which changes the numbers; compare only with reports on the same files"
        )
    overlap = split_overlap(everything, split)
    described = Data(
        manifest=str(path),
        manifest_sha256=hash_file(manifest),
        pairs=str(pairs) if pairs else None,
        pairs_sha256=hash_file(pairs) if pairs else None,
        split=split,
        clips=len(clips),
        identities=len({clip.identity for clip in clips}),
        frames=0,
        lossless=lossless,
        size=[],
        split_overlap=overlap,
        warnings=warnings,
    )
    return DataSet(manifest, clips, list_tasks(clips, listed, limit), limit, described)


def load_all(
    checkpoints: Sequence[str],
    predictions: Sequence[str],
    tasks: Sequence[Task],
    baseline: str | None = None,
    *,
    observer: Callable[[], Observer],
) -> list[Contender]:
    """Checkpoints, then frames that other programs made; the baseline, which may be either, last.

    Arguments and errors as for `load_contenders` and `load_predictions`; besides, two of them must not have one name.
    """
    others = load_predictions(predictions, tasks, baseline)
    rest = None if baseline_of(others) else baseline
    contenders = [*load_contenders(checkpoints, rest, observer=observer), *others]
    names = [contender.name for contender in contenders]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"--predictions: {', '.join(twice)} names another contender too; choose another NAME")
    return sorted(contenders, key=lambda contender: contender.role == "baseline")


def load_contenders(
    checkpoints: Sequence[str], baseline: str | None = None, *, observer: Callable[[], Observer]
) -> list[Contender]:
    """The checkpoints (names or files; `source` repeats the source picture), loaded, on the CPU; the baseline last.

    Args:
        checkpoints, baseline: as the options.
        observer: makes what sees faces for a model `face`; not called where there is none.

    Raises:
        InputError: one cannot be loaded, or is named twice.
    """
    sources = [*checkpoints, *([baseline] if baseline else [])]
    twice = sorted({source for source in sources if sources.count(source) > 1})
    if twice:
        raise InputError(f"--checkpoint, --baseline: {', '.join(twice)} is named twice; name each once")
    contenders = []
    for name, source in zip(name_apart(sources), sources, strict=True):
        role = "baseline" if source == baseline else "candidate"
        if source == SOURCE:
            contenders.append(Contender(name, role, category="", notes=SOURCE_NOTES))
            continue
        model, info = load_model(source)
        about: dict[str, Any] = {"checkpoint": str(source), "sha256": info.sha256, "category": info.category}
        about |= {"image_size": info.image_size, "notes": info.notes}
        animator: Animator | FaceAnimator
        if isinstance(model, FaceModel):
            animator = FaceAnimator(model, observer, device="cpu")
            about["notes"] += FACE_NOTES
        else:
            animator = Animator(model, device="cpu", precision="fp32")
            about["num_keypoints"] = model.config.num_keypoints
        contenders.append(Contender(name, role, animator, **about))
    return contenders


def load_predictions(given: Sequence[str], tasks: Sequence[Task], baseline: str | None = None) -> list[Contender]:
    """Frames that other programs made, as contenders.

    Args:
        given: NAME=FOLDER. FOLDER holds for each task a video or a folder of frames with the task's name: the clip's id
            in reconstruction, "source+driving" in cross-identity.
        tasks: all of them.
        baseline: the name that the others are compared with.

    Raises:
        InputError: not NAME=FOLDER, no such folder, nothing in it for any task, or nothing that is square and can be
            read. A single faulty file costs its own task only, later.
    """
    contenders = []
    for text in given:
        name, equals, where = text.partition("=")
        folder = Path(where)
        if not (name and equals and where):
            raise InputError(f"--predictions {text!r}: must be NAME=FOLDER, such as tpsmm=results/tpsmm")
        if name == SOURCE:
            raise InputError(f"--predictions {text!r}: {SOURCE} is the repeated source picture; choose another NAME")
        if not folder.is_dir():
            raise InputError(f"--predictions {text}: {folder} is no folder; it holds one video for each clip or pair")
        found = _find(folder, tasks)
        if not found:
            raise InputError(
                f"--predictions {text}: holds nothing for any clip; name videos (or folders of frames) as the clips, "
                f"such as {tasks[0].name}.mp4"
                + (f" or {tasks[-1].name}.mp4" if tasks[-1].name != tasks[0].name else "")
            )
        side = _common_side(list(found.values()))
        lines = [f"{key} {hash_clip(path)}" for key, path in sorted(found.items())]
        notes = ["frames that another program made"]
        if not all(is_lossless(path) for path in found.values()):
            notes.append("its frames went through a video codec, which costs it some in every pixel metric")
        missing = {task.protocol for task in tasks} - {key.partition("/")[0] for key in found}
        notes += [f"has no frames for {protocol}" for protocol in sorted(missing)]
        contenders.append(
            Contender(
                name,
                "baseline" if name == baseline else "candidate",
                checkpoint=where,
                sha256=hashlib.sha256("\n".join(lines).encode()).hexdigest(),
                image_size=side,
                notes=tuple(notes),
                predictions=found,
            )
        )
    return contenders


def _find(folder: Path, tasks: Sequence[Task]) -> dict[str, Path]:
    """For each task the video or folder of frames of its name, whatever its suffix; where there is one."""
    listing = cache(_by_name)  # of now: files come and go
    found: dict[str, Path] = {}
    for task in tasks:
        place = folder / task.name
        paths = listing(place.parent).get(place.name, [])
        if len(paths) > 1:
            raise InputError(f"{paths[0]} and {paths[1]}: which of them? Leave one")
        found |= {f"{task.protocol}/{task.name}": path for path in paths}
    return found


def _by_name(folder: Path) -> dict[str, list[Path]]:
    """What a folder holds, by name; videos without their suffix, too."""
    named: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        for name in {path.name, path.stem if path.suffix.lower() in VIDEO_SUFFIXES else path.name}:
            named.setdefault(name, []).append(path)
    return named


def _common_side(paths: Sequence[Path]) -> int:
    """Side of most of these videos, of those that are square and can be read; the first of them decides a tie.

    Raises InputError where there is none, and says what is wrong with the first.
    """
    sides, faults = list[int](), list[str]()
    for path in paths:
        try:
            reader = VideoReader(path)
        except InputError as error:
            faults.append(str(error))
            continue
        if reader.width == reader.height:
            sides.append(reader.width)
        else:
            faults.append(f"{path}: is {reader.width}x{reader.height}; predictions are square, as the clips are")
    if not sides:
        raise InputError(faults[0])
    return Counter(sides).most_common(1)[0][0]


def name_apart(sources: Sequence[str]) -> list[str]:
    """Short names: of files as much of the path as tells them apart, without suffix.

    >>> name_apart(["vox-adv", "a/last.ckpt", "b/last.ckpt", "x.pth.tar"])
    ['vox-adv', 'a/last', 'b/last', 'x']
    """
    parts = [Path(source.removesuffix(".pth.tar")) for source in sources]
    whole = [path.with_suffix("").parts if path.suffix in (".ckpt", ".safetensors", ".pt", ".pth") else path.parts
             for path in parts]  # fmt: skip
    taken = [1] * len(sources)
    while True:
        names = ["/".join(path[-count:]) for path, count in zip(whole, taken, strict=True)]
        longer = [i for i, n in enumerate(names) if names.count(n) > 1 and taken[i] < len(whole[i])]
        if not longer:
            return names if len(set(names)) == len(names) else list(sources)
        for i in longer:
            taken[i] += 1


def notes_on(contender: Contender, others: Sequence[Contender], size: int) -> tuple[str, ...]:
    """What a reader of the comparison should know about a contender."""
    notes = list(contender.notes)
    if contender.image_size not in (None, size):
        own = f"{contender.image_size}x{contender.image_size}"
        notes.append(f"sees frames of {own}; what it makes of them is resized to {size}x{size} for comparing")
    counts = {other.num_keypoints for other in others if other.num_keypoints is not None} - {contender.num_keypoints}
    if contender.num_keypoints is not None and counts:
        listed = ", ".join(map(str, sorted(counts)))
        notes.append(
            f"has {contender.num_keypoints} keypoints, others have {listed}: the error of its own keypoints cannot be "
            "compared with theirs"
        )
    return tuple(notes)


def on_device(contender: Contender, device: str) -> Animator | FaceAnimator | None:
    """Its animator, on the device that the models run on."""
    animator = contender.animator
    return Animator(animator.model, device=device, precision="fp32") if isinstance(animator, Animator) else animator


def baseline_of(contenders: Iterable[Contender]) -> str | None:
    """Name of the one that the others are compared with."""
    return next((contender.name for contender in contenders if contender.role == "baseline"), None)


def any_are(contenders: Iterable[Contender], *categories: str) -> bool:
    """Whether one of them is a model of one of these categories."""
    return any(contender.category in categories for contender in contenders)
