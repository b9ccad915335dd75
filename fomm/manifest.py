"""The list of clips that training and evaluation read, one CSV row each, and lists of pairs among them.

Paths are relative to the folder of the manifest, so that a data set can be moved as a whole. Writing is
deterministic: equal clips give equal bytes, so the sha256 of a manifest names a data set.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

from fomm.errors import InputError, listed
from fomm.files import atomic_output, hash_file
from fomm.numbers import Number, count, exact_number, number

SPLITS = ("train", "val", "test")
MAX_NAME_BYTES = 255  # of a file or folder, on all systems in use
MIN_FPS, MAX_FPS = Fraction(1, 1000), 100_000


@dataclass(frozen=True)
class Clip:
    """One clip: a video file or a folder of frames, cropped and ready to train on.

    `identity` is who or what is seen: clips of one identity belong to one split. `crop_box` is
    "left-top-right-bottom" in pixels of the source video ("" when the clip is the whole picture), `crop_rule` says
    in words how the box was found. `confidence` in [0, 1] is the detector's, `sha256` that of the clip ("" unknown).
    """

    clip_id: str
    path: str
    identity: str
    split: str
    frames: int
    fps: Fraction
    width: int
    height: int
    source_video: str = ""
    crop_box: str = ""
    crop_rule: str = ""
    confidence: float = 1.0
    sha256: str = ""


COLUMNS = tuple(field.name for field in fields(Clip))
REQUIRED = COLUMNS[: COLUMNS.index("source_video")]


@dataclass(frozen=True)
class Pair:
    """Which clip's first frame is animated by which clip, as clip ids.

    `truth` is a clip of the source's identity with the driving clip's motion, frame by frame ("" where there is none).
    """

    source: str
    driving: str
    truth: str = ""


PAIR_COLUMNS = tuple(field.name for field in fields(Pair))
ORIGINAL_COLUMNS = ("distance", "frame")  # of the original's lists (taichi256.csv); its code reads neither


def read_manifest(path: str | Path, *, on_fault: Callable[[str], None] | None = None) -> list[Clip]:
    """Every clip of a manifest, in file order; its faults are gathered and told together.

    Args:
        on_fault: is called with each faulty row's fault, and the row left out, instead of the error.

    Raises:
        InputError: no such file, unknown or missing columns, or faulty rows (named by line number).
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such manifest; make one with `python -m preprocess`, or give a folder of videos")
    rows = _read_rows(path, "a manifest", REQUIRED, COLUMNS)
    clips: list[Clip] = []
    faults: list[str] = []
    seen: dict[str, int] = {}
    for line, row in rows:
        try:
            clip = _parse(row)
            if clip.clip_id in seen:
                raise ValueError(f"clip_id {clip.clip_id!r} was used on line {seen[clip.clip_id]}")
        except ValueError as error:
            faults.append(f"line {line}: {error}")
        else:
            seen[clip.clip_id] = line
            clips.append(clip)
    _tell(path, faults, on_fault)
    return clips


def read_pairs(path: str | Path, clips: Iterable[Clip], *, on_fault: Callable[[str], None] | None = None) -> list[Pair]:
    """The pairs of a list, a CSV file with the columns source, driving and (optional) truth, in file order.

    The original's lists are read as they are (distance,source,driving,frame); a clip may be named with or without .mp4.

    Args:
        clips: of the manifest; a pair names three of them.
        on_fault: is called with each faulty row's fault, and the row left out, instead of the error.

    Raises:
        InputError: no such file, unknown or missing columns, or faulty rows: an id that no clip has, a pair that is
            there twice.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such list of pairs; it is a CSV file with the columns {','.join(PAIR_COLUMNS)}")
    known = {clip.clip_id for clip in clips}
    pairs: dict[Pair, int] = {}
    faults: list[str] = []
    for line, row in _read_rows(path, "a list of pairs", PAIR_COLUMNS[:2], (*PAIR_COLUMNS, *ORIGINAL_COLUMNS)):
        pair = Pair(**{name: _known_as((row.get(name) or "").strip(), known) for name in PAIR_COLUMNS})
        strangers = [f"{name} {value!r}" for name, value in zip(PAIR_COLUMNS, astuple(pair), strict=True)
                     if value not in known and (value or name != "truth")]  # fmt: skip
        if strangers:
            faults.append(f"line {line}: no clip is called {', '.join(strangers)}")
        elif pair in pairs:
            faults.append(f"line {line}: the same pair is on line {pairs[pair]}")
        else:
            pairs[pair] = line
    _tell(path, faults, on_fault)
    return list(pairs)


def _known_as(name: str, known: Container[str]) -> str:
    """A clip's id, where the name differs from it by ".mp4" only."""
    return next((n for n in (name, name.removesuffix(".mp4"), f"{name}.mp4") if n in known), name) if name else ""


def cell(text: str) -> str:
    """Text for a cell of a CSV file that people open: one that a spreadsheet would take for a formula gets a `'`.

    >>> [cell(text) for text in ("ann", "=1+1", "'=1")]
    ['ann', "'=1+1", "''=1"]
    """
    return f"'{text}" if re.match(r"'*[=+\-@\t\r]", text) else text


def text_of(cell: str) -> str:
    """What was given to `cell`; of cells that others wrote themselves.

    >>> [text_of(text) for text in ("ann", "'=1+1", "''=1", "=1+1", "'tis")]
    ['ann', '=1+1', "'=1", '=1+1', "'tis"]
    """
    return cell[1:] if re.match(r"'+[=+\-@\t\r]", cell) else cell


def require_commas(path: Path, header: Sequence[str]) -> None:
    """Raises InputError for a table whose first line is separated by something else than commas."""
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and separator in header[0]:
            raise InputError(f"{path}: line 1: its values are separated by {name}; export it with commas")


def write_pairs(path: str | Path, pairs: Iterable[Pair]) -> None:
    """Write pairs in the order given; the file is whole or not there."""
    write_rows(path, PAIR_COLUMNS, [astuple(pair) for pair in pairs])


def write_manifest(path: str | Path, clips: Iterable[Clip]) -> None:
    """Write clips in the order given; the file is whole or not there. What it writes, `read_manifest` accepts."""
    write_rows(path, COLUMNS, [[getattr(clip, name) for name in COLUMNS] for clip in clips])


def hash_clip(path: str | Path) -> str:
    """sha256 of a clip: of its file; of a folder of frames, that of its lines "name hash" in the order of names.

    Lines are made of the PNG files; where there are none, of all files.
    """
    path = Path(path)
    if not path.is_dir():
        return hash_file(path)
    files = sorted(path.glob("*.png")) or sorted(file for file in path.iterdir() if file.is_file())
    lines = [f"{file.name} {hash_file(file)}\n" for file in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def select(clips: Iterable[Clip], split: str) -> list[Clip]:
    """The clips of one split, in order; raises InputError where `split` is not one of train, val, test."""
    if split not in SPLITS:
        raise InputError(f"split {split!r}: must be one of {', '.join(SPLITS)}")
    return [clip for clip in clips if clip.split == split]


def split_overlap(clips: Iterable[Clip], split: str = "test") -> list[str]:
    """Identities of `split` that are in the training split too: a model may know them. Sorted; none for "train"."""
    clips = list(clips)
    known = {clip.identity for clip in clips if clip.split == "train" != split}
    return sorted(known & {clip.identity for clip in clips if clip.split == split})


def _read_rows(
    path: Path, what: str, required: Sequence[str], columns: Sequence[str]
) -> list[tuple[int, dict[str, str | None]]]:
    """(line number, row) of a CSV file whose columns are checked."""
    with open(path, newline="", encoding="utf-8-sig") as stream:
        try:
            reader = csv.DictReader(stream, strict=True)
            header = reader.fieldnames or []
            missing = [name for name in required if name not in header]
            unknown = [name for name in header if name not in columns]
            require_commas(path, header)
            if missing or unknown:
                raise InputError(
                    f"{path}: line 1: missing columns {missing}, unknown columns {unknown}; "
                    f"{what} has the columns {','.join(columns)}"
                )
            return [(reader.line_num, {k: v and text_of(v) for k, v in row.items()} if None not in row else row)
                    for row in reader]  # fmt: skip
        except (csv.Error, UnicodeDecodeError) as error:
            raise InputError(f"{path}: not a CSV text file ({error}); export it as UTF-8 CSV") from error


def _tell(path: Path, faults: list[str], on_fault: Callable[[str], None] | None) -> None:
    if on_fault is not None:
        for fault in faults:
            on_fault(f"{path}: {fault}; this row is left out")
    else:
        require_no_faults(path, faults)


def require_no_faults(path: Path, faults: Sequence[str]) -> None:
    """Raises InputError that names the first faults of a list's rows, if there are any."""
    if faults:
        raise InputError(f"{path}: {listed(faults)}; correct or remove these rows")


def write_rows(path: str | Path, columns: Sequence[str], rows: Iterable[Sequence]) -> None:
    """Write a CSV file that people open, whole or not there; None leaves its cell empty."""
    with csv_output(path, columns) as writer:
        writer.writerows([_written(value) for value in row] for row in rows)


@contextmanager
def csv_output(path: str | Path, columns: Sequence[str]) -> Iterator[Any]:
    """Yield a `csv.writer` of a file, whole or not there, that has its header already; raises InputError where a name
    of a file is written that is no text."""
    with atomic_output(path) as part, open(part, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        try:
            yield writer
        except UnicodeEncodeError as error:
            row = error.object.strip()
            raise InputError(f"{path}: cannot hold {row!a}, which is not UTF-8; rename that file or folder") from error


def _written(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else cell(str(value))


def _parse(row: dict[str, str | None]) -> Clip:
    if None in row:
        raise ValueError("more values than columns")
    absent = [name for name in REQUIRED if not (row.get(name) or "").strip()]
    if absent:
        raise ValueError(f"no value for {', '.join(absent)}")
    text = {name: (value or "").strip() for name, value in row.items()}
    if text["split"] not in SPLITS:
        raise ValueError(f"split {text['split']!r} is not one of {', '.join(SPLITS)}")
    if Path(text["path"]).is_absolute() or ".." in Path(text["path"]).parts:
        raise ValueError(f"path {text['path']!r} must stay inside the manifest's folder")
    if any(len(os.fsencode(part)) > MAX_NAME_BYTES for part in Path(text["path"]).parts) or "\0" in text["path"]:
        raise ValueError(f"path {text['path'][:40]!r}... is no name that a file can have")
    numbers = {name: _positive(name, text[name], count) for name in ("frames", "width", "height")}
    fps = _positive("fps", text["fps"], exact_number)
    confidence = float(number("confidence", text.get("confidence") or "1", float))
    if not 0 <= confidence <= 1:
        raise ValueError(f"confidence {confidence} is not in [0, 1]")
    if not MIN_FPS <= fps <= MAX_FPS:
        raise ValueError(f"fps {text['fps']} is not from {float(MIN_FPS):g} to {MAX_FPS}")
    box = text.get("crop_box", "")
    if box and (box.count("-") != 3 or not all(part.isdigit() for part in box.split("-"))):
        raise ValueError(f"crop_box {box!r} is not left-top-right-bottom")
    values: dict[str, Any] = {**text, **numbers, "fps": fps, "confidence": confidence}
    return Clip(**values)


def _positive(name: str, text: str, kind: Callable[[str], Number]) -> Number:
    value = number(name, text, kind)
    if value <= 0:
        raise ValueError(f"{name} {text[:40]!r} must be greater than 0")
    return value
