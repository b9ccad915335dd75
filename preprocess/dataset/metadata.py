"""Lists of clips in videos that are published apart from the videos: vox-metadata.csv, taichi-metadata.csv, your own.

Columns (AliaksandrSiarohin/video-preprocessing): `video_id`, `start`, `end` (frame numbers at `fps`, end not included),
`bbox` (left-top-right-bottom joined by "-" in the coordinates of a `width` x `height` frame), `fps`, `width`, `height`,
and perhaps `partition` (train or test) and `person_id`. A video_id may be "video#person" instead of a person_id.
"""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from fomm.errors import InputError
from fomm.manifest import MAX_FPS, MIN_FPS, require_commas, require_no_faults
from fomm.numbers import count, exact_number, number
from preprocess.dataset.clips import GivenClip, Reject, Video

REQUIRED = ("video_id", "start", "end", "bbox", "fps", "width", "height")
OPTIONAL = ("partition", "person_id")
MAX_NAME = 100  # bytes of a video's or an identity's name in the name of a clip


class Row(NamedTuple):
    """A line of a metadata file."""

    video_id: str
    person_id: str  # "" unknown
    partition: str  # "train", "test" or "" unknown
    start: int
    end: int
    box_xyxy: tuple[int, int, int, int]
    fps: Fraction | None  # None: the video's own
    size_wh: tuple[int | None, int]  # no width: that of the video at this height

    @property
    def identity(self) -> str:
        return self.person_id or self.video_id

    def checked(self) -> Row:
        """Itself.

        Raises:
            ValueError: frames, a box, a rate or a size that cannot be, or a name that cannot be part of a file's.
        """
        if not 0 <= self.start < self.end:
            raise ValueError(f"start {self.start} and end {self.end} are not 0 <= start < end")
        (left, top, right, bottom), (width, height) = self.box_xyxy, self.size_wh
        if not (0 <= left < right and 0 <= top < min(bottom, height)) or (width is not None and left >= width):
            frame = f"{'?' if width is None else width}x{height}"
            raise ValueError(f"bbox '{left}-{top}-{right}-{bottom}' holds nothing of a {frame} frame")
        if not self.video_id or not _fits_a_name(self.video_id):
            raise ValueError(f"video_id {self.video_id!r} is not the name of a video")
        if self.person_id and not _fits_a_name(self.person_id):
            raise ValueError(f"person_id {self.person_id!r} cannot be part of a file's name")
        slow = self.fps is not None and not MIN_FPS <= self.fps <= MAX_FPS
        if slow or min(side for side in self.size_wh if side is not None) <= 0:
            raise ValueError(f"fps is not from {float(MIN_FPS):g} to {MAX_FPS}, or width or height not greater than 0")
        return self


@dataclass(frozen=True)
class Asked:
    """What a metadata file asks for: the videos that are there, identities' partitions, and what was left out."""

    videos: list[Video]
    partitions: dict[str, str]
    rejects: list[Reject]


def read_metadata(path: str | Path) -> list[Row]:
    """Every row, in file order; faults are gathered and told together, with line numbers.

    Raises:
        InputError: no such file, columns missing, or faulty rows.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: there is no such metadata file; check the path")
    rows, faults = [], []
    with open(path, newline="", encoding="utf-8-sig") as stream:
        try:
            reader = csv.DictReader(stream)
            require_commas(path, reader.fieldnames or [])
            missing = [name for name in REQUIRED if name not in (reader.fieldnames or [])]
            if missing:
                raise InputError(
                    f"{path}: line 1: no columns {', '.join(missing)}; needed are {','.join(REQUIRED)}, and "
                    f"{','.join(OPTIONAL)} where they are known"
                )
            for cells in reader:
                try:
                    rows.append(_parse(cells))
                except ValueError as error:
                    faults.append(f"line {reader.line_num}: {error}")
        except (csv.Error, UnicodeDecodeError) as error:
            raise InputError(f"{path}: not a CSV text file ({error}); export it as UTF-8 CSV") from error
    require_no_faults(path, faults)
    if not rows:
        raise InputError(f"{path}: has no rows; give a file that lists clips")
    return rows


def _parse(cells: dict[str, str | None]) -> Row:
    if None in cells or any(cells[name] is None for name in REQUIRED):
        raise ValueError("has another number of values than the first line")
    texts = {name: (value or "").strip() for name, value in cells.items()}
    start, end, width, height = (number(name, texts[name], count) for name in ("start", "end", "width", "height"))
    fps = number("fps", texts["fps"], exact_number)
    video_id, _, person = texts["video_id"].partition("#")
    person = texts.get("person_id") or person
    partition = texts.get("partition", "")
    if partition not in ("", "train", "test"):
        raise ValueError(f"partition {partition!r} is not train or test")
    edges = texts["bbox"].split("-")
    if len(edges) != 4 or not all(edge.isdecimal() for edge in edges):
        raise ValueError(f"bbox {texts['bbox']!r} is not left-top-right-bottom")
    left, top, right, bottom = map(count, edges)
    box = left, top, right, bottom
    return Row(video_id, person, partition, start, end, box, fps, (width, height)).checked()


def _fits_a_name(text: str) -> bool:
    """Whether it can be part of the name of a clip."""
    return Path(text).name == text and text[0] != "." and text.isprintable() and len(text.encode()) <= MAX_NAME


def ask(rows: Sequence[Row], files: Sequence[str]) -> Asked:
    """Match rows with the video files that there are.

    Equal rows count once. An identity in both partitions keeps its test clips and loses its train clips: so the test
    list stays as published, and nobody is trained on whom the test shows. Videos that are missing are listed.

    Args:
        files: videos, relative to their folder, named VIDEO_ID.suffix (perhaps in sub-folders).
    """
    by_stem: dict[str, list[str]] = defaultdict(list)
    for file in sorted(files):
        by_stem[Path(file).stem].append(file)
    unique = Counter(rows)
    again = (unique - Counter(set(rows))).elements()
    rejects = [Reject(row.video_id, row.start, row.end, "duplicate", "the same row again") for row in again]
    tested = {row.identity for row in unique if row.partition == "test"}
    chosen: dict[str, list[Row]] = defaultdict(list)
    for row in unique:
        if row.partition == "train" and row.identity in tested:
            detail = f"{row.identity} is in both partitions; its test clips are kept"
            rejects.append(Reject(row.video_id, row.start, row.end, "other_partition", detail))
        else:
            chosen[row.video_id].append(row)
    videos = []
    for video_id in sorted(chosen):
        own = sorted(chosen[video_id])
        if not by_stem[video_id]:
            rejects.append(Reject(video_id, None, None, "missing", f"no such video; {len(own)} clips are lost"))
            continue
        for identity in sorted({row.identity for row in own}):
            given, names = [], Counter[str]()
            for row in own:
                if row.identity != identity:
                    continue
                name = "#".join(dict.fromkeys((identity, video_id))) + f"#{row.start:06d}#{row.end:06d}"
                names[name] += 1
                name += f"#{names[name]}" if names[name] > 1 else ""
                given.append(GivenClip(name, row.start, row.end, row.box_xyxy, row.fps, row.size_wh))
            videos.append(Video(by_stem[video_id][0], video_id, identity, tuple(given)))
    partitions = {row.identity: "test" if row.identity in tested else row.partition for row in unique}
    return Asked(videos, partitions, rejects)
