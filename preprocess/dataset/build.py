"""Many videos -> a training set: clips, a manifest, and a list of what was left out and why.

OUTPUT/manifest.csv     one row per clip; written last, from the records, always in the same order
OUTPUT/rejects.csv      what was left out
OUTPUT/clips/           VIDEO#000123#000456.mp4, or folders of PNG frames
OUTPUT/records/         one file per finished video: a run that is started again goes on behind them
OUTPUT/settings.json    what decides the result: a run goes on as it began
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
from filelock import FileLock, Timeout
from tqdm import tqdm

from fomm.errors import InputError, require
from fomm.files import atomic_output, remove_parts
from fomm.manifest import SPLITS, Clip, hash_clip, write_manifest, write_rows
from fomm.video import VIDEO_SUFFIXES
from fomm.video_folder import video_names
from preprocess.dataset import schedule
from preprocess.dataset.clips import CLIPS, Outcome, OutputFault, Reason, Reject, Rules, Video
from preprocess.dataset.metadata import MAX_NAME, Asked, ask
from preprocess.dataset.prepare import prepare_video
from preprocess.dataset.recipes import read_list
from preprocess.dataset.records import RECORDS, Records
from preprocess.faces import FaceFinder

SETTINGS, MANIFEST, REJECTS, LOCK = "settings.json", "manifest.csv", "rejects.csv", ".lock"
_TRIES = 2  # deaths of a worker at a video after which the video is given up
_SAY_EVERY_S = 60  # where no one sees a bar


def prepare_dataset(
    videos: str | Path,
    output: str | Path,
    rules: Rules = Rules(),  # noqa: B008 - frozen
    *,
    metadata: str | Path | None = None,
    val: float = 0.1,
    test: float = 0.1,
    workers: int | None = None,
    scheduler: str | None = None,
) -> Path:
    """Make a training set of a folder of videos: find faces, follow them, cut, filter, list.

    A run that was stopped goes on where it was when it is started again in the same way. Equal videos and settings
    give equal clips and an equal manifest, whatever the number and place of the workers.

    Args:
        videos: folder of videos, searched with its sub-folders. The name of the first sub-folder is the identity, else
            the video's own name is.
        output: folder to make, or to go on with.
        rules: which clips are made, and how.
        metadata: a list of clips with boxes to cut instead of looking for faces: vox-metadata.csv, taichi-metadata.csv
            or one with the same columns, HDTF's or VFHQ's folder of text files, TalkingHead-1KH's
            ..._video_tubes.txt; its videos are VIDEO_ID.mp4 (or another suffix) in `videos`.
        val: part of the identities that is held out for validation; with `metadata` a part of its training identities.
        test: part of the identities for testing; not used where `metadata` says who is tested.
        workers: processes on this machine. Default: one for each core.
        scheduler: tcp://host:port of a running Dask scheduler, to work on its workers instead; they need to see the
            same folders under the same names.

    Returns:
        the manifest, `output/manifest.csv`.

    Raises:
        InputError: no videos, faulty metadata, a value out of range, a folder in use or of other settings, a full
            disk, or not a single clip.
    """
    rules.check()
    require(val >= 0 and test >= 0 and val + test < 1, f"--val {val} --test {test}: leave no one to train on")
    require(workers is None or workers >= 1, f"--workers {workers}: must be at least 1")
    require(workers is None or scheduler is None, "--workers is for this machine; leave it out with --scheduler")
    videos, output = Path(videos).resolve(), Path(output).resolve()
    asked = _asked(videos, output, metadata)
    settings = asdict(rules) | {"scale": rules.sides}
    if metadata is not None:
        settings["metadata_sha256"] = hash_clip(metadata)
    with held(output, settings) as run_id:
        records = Records(videos, output)
        _work_all(asked.videos, records, output, rules, run_id, workers=workers, scheduler=scheduler)
        outcomes = [records.read(video) or _without_result(video) for video in asked.videos]
        clips, twins = _without_twins(sorted((c for o in outcomes for c in o.clips), key=lambda clip: clip.clip_id))
        splits = split_identities({clip.identity for clip in clips}, val=val, test=test, known=asked.partitions)
        clips = [replace(clip, split=splits[clip.identity]) for clip in clips]
        rejects = sorted([*asked.rejects, *twins, *(r for outcome in outcomes for r in outcome.rejects)], key=_order)
        write_rows(output / REJECTS, Reject._fields, rejects)
        if not clips:
            raise InputError(f"{output}: not a single clip ({_count_reasons(rejects)}); see {output / REJECTS}")
        write_manifest(output / MANIFEST, clips)
    _say(output, clips, rejects, len(asked.videos))
    print(shares({clip.identity: clip.split for clip in clips}, val=val, test=test, known=asked.partitions))
    return output / MANIFEST


def _asked(videos: Path, output: Path, metadata: str | Path | None) -> Asked:
    """The videos to work on: all of a folder, or those that metadata ask for."""
    files, unnamed = named_in_text(find_videos(videos, output))
    if metadata is None:
        return Asked(_named(files), {}, unnamed)
    listed = read_list(metadata)
    asked = ask(listed.rows, files)
    if not asked.videos:
        names = {row.video_id for row in listed.rows}
        raise InputError(f"{videos}: none of the {len(names)} videos of {metadata} is there, as VIDEO_ID.mp4")
    return replace(asked, rejects=[*asked.rejects, *listed.rejects, *unnamed])


def _work_all(
    tasks: Sequence[Video],
    records: Records,
    output: Path,
    rules: Rules,
    run_id: str,
    *,
    workers: int | None,
    scheduler: str | None,
) -> None:
    """Have every video worked on that has no record yet."""
    waiting = [task for task in tasks if records.read(task) is None]
    if not waiting:
        return
    watch = _Watch(records, waiting, len(tasks))
    work = partial(_work, videos=records.videos, output=output, rules=rules, run_id=run_id)
    check = None
    if scheduler:
        check = partial(cannot_work, records.stamp(waiting[0]), records, waiting[0], output, run_id)
    try:
        for task, error in schedule.run(waiting, work, workers=workers, scheduler=scheduler, check=check):
            if isinstance(error, schedule.Lost):
                records.write(task, Outcome(rejects=[Reject(task.path, None, None, "crashed", str(error))]))
            elif error is not None:
                raise error
            watch.tell(task, records.read(task))
    finally:
        watch.close()
        remove_parts(output, output / CLIPS, output / RECORDS)


# ------------------------------------------------------------------------------------------------------------- input


def find_videos(folder: Path, output: Path) -> list[str]:
    """Videos in a folder and its sub-folders, relative to it, in order; hidden ones are left out.

    Raises:
        InputError: no such folder, no video in it, or `output` lies in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give a folder of videos")
    if output == folder or folder in output.parents:
        raise InputError(f"{output}: lies in the folder of videos, so clips would be taken for videos; choose another")
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = Path(root).relative_to(folder)
        found += [(here / name).as_posix() for name in video_names(names)]
    if not found:
        raise InputError(f"{folder}: no videos in it; their names end in {', '.join(VIDEO_SUFFIXES)}")
    return sorted(found)


def named_in_text(files: Sequence[str]) -> tuple[list[str], list[Reject]]:
    """The files whose names are text, and the others (bytes of an old encoding): no list could name those."""
    shown = {file: file.encode(errors="replace").decode() for file in files}
    unnamed = [text for file, text in shown.items() if text != file]
    rejects = [Reject(text, None, None, "unreadable", "its name is not UTF-8; rename it") for text in unnamed]
    return [file for file, text in shown.items() if text == file], rejects


def _named(files: Sequence[str]) -> list[Video]:
    """The videos with names for their clips, each its own."""
    videos = []
    for file in files:
        folders, stem = Path(file).parts[:-1], Path(file).stem
        name = _plain("_".join([*folders[1:], stem]))
        videos.append(Video(file, name, _plain(folders[0]) if folders else name))
    taken = Counter(video.key.casefold() for video in videos)
    return [
        replace(video, name=f"{video.name}-{hashlib.sha256(video.path.encode()).hexdigest()[:8]}")
        if taken[video.key.casefold()] > 1
        else video
        for video in videos
    ]


def _plain(name: str) -> str:
    """A name that can be part of any file's name and of a CSV cell."""
    plain = re.sub(r"[^\w+=@-]", "_", name)
    if len(plain.encode()) > MAX_NAME:
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        plain = f"{plain.encode()[: MAX_NAME - 9].decode(errors='ignore')}-{digest}"
    return plain


def _without_twins(clips: Sequence[Clip]) -> tuple[list[Clip], list[Reject]]:
    """Of equal clips (one video under two names) the first: two could be in two splits."""
    first: dict[str, Clip] = {}
    kept, twins = [], []
    for clip in clips:
        twin = first.setdefault(clip.sha256, clip)
        if twin is clip:
            kept.append(clip)
        else:
            twins.append(Reject(clip.source_video, None, None, "duplicate", f"{clip.clip_id} equals {twin.clip_id}"))
    return kept, twins


def split_identities(
    identities: Iterable[str], *, val: float, test: float, known: dict[str, str] | None = None
) -> dict[str, str]:
    """The split of each identity: "train", "val" or "test".

    A hash of its name decides, so that videos that are added later never move anyone from one split to another. Only
    where so few identities leave a split empty, those next to it by their hash fill it: train first, then val, test.

    Args:
        val, test: parts of the identities.
        known: partitions ("train", "test") that are given; part `val` of the train one becomes val.
    """
    known = known or {}
    listed = any(known.values())
    place = {name: int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64 for name in identities}
    order = sorted(place, key=lambda name: (place[name], name))
    splits = {}
    for name in order:
        if known.get(name) == "test":
            splits[name] = "test"
        elif place[name] < val:
            splits[name] = "val"
        else:
            splits[name] = "test" if place[name] < val + test and not listed else "train"
    free = [name for name in order if known.get(name) != "test"]
    if free and not any(splits[name] == "train" for name in free):
        splits[free[-1]] = "train"
    for split, part in (("val", val), ("test", 0 if listed else test)):
        spare = [name for name in free if splits[name] == "train"]
        if part > 0 and split not in splits.values() and len(spare) > 1:
            splits[spare[0]] = split
    return splits


def shares(splits: Mapping[str, str], *, val: float, test: float, known: Mapping[str, str]) -> str:
    """The parts of the identities that were asked for and that the splits have, in words.

    >>> shares({"ann": "train", "bob": "train", "cid": "val", "dot": "test"}, val=0.1, test=0.1, known={})
    'identities asked for: 80 % train, 10 % val, 10 % test; obtained: 50 % train, 25 % val, 25 % test'
    """
    counts = Counter(splits.values())
    obtained = ", ".join(f"{counts[name] / len(splits):.0%} {name}".replace("%", " %") for name in SPLITS)
    parts = {"train": 1 - val - test, "val": val, "test": test}
    asked = ", ".join(f"{parts[name]:.0%} {name}".replace("%", " %") for name in SPLITS)
    if any(known.values()):
        asked = f"the metadata's test, {val:.0%} of the others val".replace("%", " %")
    return f"identities asked for: {asked}; obtained: {obtained}"


# ---------------------------------------------------------------------------------------------------- on the workers

_own = threading.local()  # a FaceFinder belongs to one thread


def _work(video: Video, *, videos: Path, output: Path, rules: Rules, run_id: str) -> None:
    """Prepare one video and leave its record; nothing that is wrong with the video gets out of here."""
    cv2.setNumThreads(1)  # the processes share the cores already
    if rules.detector == "face" and getattr(_own, "finder", None) is None:
        _own.finder = FaceFinder()
    finder = _own.finder if rules.detector == "face" else None
    try:
        _prepare(video, Records(videos, output), run_id, partial(prepare_video, video, videos, output, rules, finder))
    except OutputFault as error:
        fault = str(error)
    else:
        return
    raise OutputFault(fault)  # a new one: FFmpeg's error behind the other cannot travel


def _prepare(video: Video, records: Records, run_id: str, prepare: Callable[..., Outcome]) -> None:
    if records.read(video) is not None:  # its result was lost on the way
        return
    tries, done = records.begin(video, run_id)
    if tries > _TRIES:
        problem: tuple[Reason, str] = "crashed", f"the worker process died {_TRIES} times at this video"
    else:
        try:
            return records.write(video, prepare(done=done, on_clip=partial(records.add_clip, video)))
        except OutputFault:
            raise
        except InputError as error:
            problem = "unreadable", str(error)
        except Exception as error:  # strangers' files make decoders raise nearly anything
            _own.finder = None  # it may have broken
            problem = "error", f"{type(error).__name__}: {error}"
    reason, detail = problem
    detail = " ".join(detail.removeprefix(f"{records.source(video)}: ").split())
    records.write(video, Outcome(rejects=[Reject(video.path, None, None, reason, detail)]))


def _without_result(video: Video) -> Outcome:
    """A record counts only for the file that it was made of."""
    detail = "it changed while it was worked at, or a worker saw another file than this machine; run this again"
    return Outcome(rejects=[Reject(video.path, None, None, "error", detail)])


def cannot_work(seen_there: Sequence[int], records: Records, video: Video, output: Path, run_id: str) -> str | None:
    """Why a worker on another machine cannot take part."""
    if records.stamp(video) != seen_there:
        return f"it does not see {records.source(video)} as it is here; the folder needs the same name on all machines"
    if not (output / LOCK).is_file() or (output / LOCK).read_text() != run_id:
        return f"it does not see {output}; the folder needs the same name on all machines"
    if not os.access(output, os.W_OK):
        return f"it may not write to {output}"
    return None


# ------------------------------------------------------------------------------------------------------------ output


@contextmanager
def held(output: Path, settings: dict[str, Any]) -> Iterator[str]:
    """The output folder, held by this run alone; yields an identifier of the run.

    Raises:
        InputError: another run is at it, it was begun with other settings, it holds other things, or cannot be written.
    """
    if output.is_dir() and any(output.iterdir()) and not (output / SETTINGS).is_file():
        raise InputError(f"{output}: holds something else than a data set; give a new folder")
    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: is a file; give a new folder")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{output}: cannot be made ({error.strerror}); choose another --output") from error
    if not (output / SETTINGS).exists():
        with atomic_output(output / SETTINGS) as part:
            part.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    try:
        before = dict(json.loads((output / SETTINGS).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{output / SETTINGS}: is not that of a data set ({error}); give a new folder") from error
    differing = [
        f"{name} {before.get(name)} then, {settings.get(name)} now"
        for name in sorted({*before, *settings})
        if before.get(name) != settings.get(name)
    ]
    if differing:
        raise InputError(f"{output}: was begun with other settings ({'; '.join(differing)}); give a new folder")
    lock = FileLock(output / LOCK)
    run_id = uuid.uuid4().hex
    try:
        with lock.acquire(timeout=0):
            (output / LOCK).write_text(run_id)
            for name in (CLIPS, RECORDS):
                (output / name).mkdir(exist_ok=True)
            remove_parts(output, output / CLIPS, output / RECORDS)
            yield run_id
    except Timeout as error:
        raise InputError(f"{output}: another run is writing there; wait for it, or give another folder") from error
    except OSError as error:
        if not str(error.filename or "").startswith(str(output)):
            raise
        raise InputError(f"{error.filename}: cannot be written ({error.strerror}); choose another folder") from error


def _order(reject: Reject) -> tuple:
    return reject.video, reject.start or 0, reject.stop or 0, reject.reason, reject.detail


def _count_reasons(rejects: Sequence[Reject]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in Counter(r.reason for r in rejects).most_common())


def _say(output: Path, clips: Sequence[Clip], rejects: Sequence[Reject], videos: int) -> None:
    splits = Counter(clip.split for clip in clips)
    hours = float(sum(clip.frames / clip.fps for clip in clips)) / 3600
    print(
        f"wrote {output / MANIFEST}: {len(clips)} clips ({', '.join(f'{splits[name]} {name}' for name in SPLITS)}) of "
        f"{len({clip.identity for clip in clips})} identities from {videos} videos, {hours:.2f} hours; "
        f"left out: {_count_reasons(rejects) or 'nothing'}" + (f" (see {output / REJECTS})" if rejects else "")
    )


class _Watch:
    """Progress for a person: a bar, or a line each minute where no one sees it."""

    def __init__(self, records: Records, waiting: Sequence[Video], count: int) -> None:
        self._size = {task.path: sum(records.stamp(task)[:1]) for task in waiting}  # none of a file that has gone
        self._begun, self._said = time.monotonic(), time.monotonic()
        self._videos, self._all = count - len(waiting), count
        self._clips, self._rejects, self._seconds = 0, 0, 0.0
        self._bar = tqdm(
            total=sum(self._size.values()), unit="B", unit_scale=True, disable=not sys.stderr.isatty(),
            desc=str(self), bar_format="{percentage:3.0f}%|{bar}| {desc}, {remaining} left",
        )  # fmt: skip

    def tell(self, video: Video, outcome: Outcome | None) -> None:
        self._videos += 1
        if outcome is not None:
            self._clips += len(outcome.clips)
            self._rejects += len(outcome.rejects)
            self._seconds += outcome.seconds
        self._bar.set_description_str(str(self), refresh=False)
        self._bar.update(self._size.pop(video.path, 0))
        self._bar.refresh()
        if self._bar.disable and time.monotonic() - self._said > _SAY_EVERY_S:
            self._said = time.monotonic()
            print(self, file=sys.stderr, flush=True)

    def __str__(self) -> str:
        elapsed = time.monotonic() - self._begun
        return (
            f"{self._videos}/{self._all} videos, {self._clips} clips, {self._rejects} left out, "
            f"{self._seconds / elapsed:.1f} hours of video per hour"
        )

    def close(self) -> None:
        self._bar.close()
