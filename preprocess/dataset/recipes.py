"""Lists of clips as data sets publish them, each in a form of its own: HDTF, VFHQ, TalkingHead-1KH, VoxCeleb.

HDTF (repository MRzzm/HDTF, a folder of text files, three for each of the parts RD, WDA and WRA):
    WDA_annotion_time.txt   `VIDEO.mp4 00:30-01:00 01:30-02:30`: clips 0, 1, ... of a video, minutes and seconds
    WDA_crop_wh.txt         `VIDEO_0.mp4 LEFT WIDTH TOP HEIGHT` of a clip; some clips have none
    WDA_resolution.txt      `VIDEO.mp4 720`: the height of the frame in which the boxes are given
VFHQ (a folder `meta_info` with a file for each clip, Clip+VIDEO+P0+C0+F1537-1825.txt): lines H, W, FPS and
    CROP LEFT TOP RIGHT BOTTOM; P counts the people of a video, C a person's clips, F are the first and the last frame,
    of which the data set's own script takes what lies between. (Landmarks follow, and are not read.)
TalkingHead-1KH (repository tcwang0509/TalkingHead-1KH, train_video_tubes.txt): lines
    VIDEO_0000,H,W,FIRST,LAST,LEFT,TOP,RIGHT,BOTTOM: frames of one piece of a video that was cut into minutes, the last
    one included, at its own rate; the box in a frame of W x H.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from fomm.errors import InputError
from fomm.manifest import require_no_faults
from fomm.numbers import count, exact_number
from preprocess.dataset.clips import Reject
from preprocess.dataset.metadata import Row, read_metadata

_HDTF_TIMES = "_annotion_time.txt"
_VFHQ_CLIP = re.compile(r"Clip\+(?P<video>[^+]+)\+P\d+\+C\d+\+F(?P<first>\d+)-(?P<last>\d+)\.txt")
_TIME = re.compile(r"(?:(\d{1,2}):)?(\d{1,3}):(\d{2})")


class Listed(NamedTuple):
    """What a list asks for, and clips of it that cannot be cut since it does not say where."""

    rows: list[Row]
    rejects: list[Reject]


def read_list(path: str | Path) -> Listed:
    """The clips of a published list, in its order; which form it has is seen from the files.

    Args:
        path: a CSV file with VoxCeleb's columns (see `metadata`), HDTF's folder, VFHQ's folder, or TalkingHead-1KH's
            ..._video_tubes.txt.

    Raises:
        InputError: none of these, or faulty lines, which are told together.
    """
    path = Path(path)
    if path.is_dir():
        if any(path.glob(f"*{_HDTF_TIMES}")):
            return _read_hdtf(path)
        if files := sorted(path.rglob("Clip+*.txt")):
            return Listed(_parsed(path, ((file.name, file) for file in files), _vfhq_row), [])
        raise InputError(
            f"{path}: no list of clips in it; HDTF's folder has *{_HDTF_TIMES}, VFHQ's Clip+VIDEO+P0+C0+F0-99.txt"
        )
    if path.suffix == ".txt" and path.is_file():
        lines = ((f"line {number}", line) for number, line in enumerate(_lines(path), 1))
        return Listed(_parsed(path, lines, _talking_head_row), [])
    return Listed(read_metadata(path), [])


def _parsed(path: Path, sources: Iterable[tuple[str, object]], parse: Callable[..., Row]) -> list[Row]:
    rows, faults = [], []
    for name, source in sources:
        try:
            rows.append(parse(source))
        except (ValueError, ZeroDivisionError) as error:
            faults.append(f"{name}: {error}")
    require_no_faults(path, faults)
    if not rows:
        raise InputError(f"{path}: lists no clips; give a file that does")
    return rows


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); download it again") from error


def _read_hdtf(folder: Path) -> Listed:
    rejects: list[Reject] = []

    def clips() -> Iterator[tuple[str, object]]:
        for times in sorted(folder.glob(f"*{_HDTF_TIMES}")):
            part = times.name.removesuffix(_HDTF_TIMES)
            boxes, heights = (_table(folder / f"{part}_{what}.txt") for what in ("crop_wh", "resolution"))
            for video, intervals in _table(times).items():
                stem = video.removesuffix(".mp4")
                for number, interval in enumerate(intervals):
                    box, height = boxes.get(f"{stem}_{number}.mp4"), heights.get(video)
                    if box is None or height is None:
                        rejects.append(Reject(stem, None, None, "missing", f"the list has no box of clip {number}"))
                    else:
                        yield f"{times.name}: {video} {interval}", (part, stem, interval, box, height)

    return Listed(_parsed(folder, clips(), _hdtf_row), rejects)


def _table(path: Path) -> dict[str, list[str]]:
    """The words of each line behind its first one."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; HDTF has it beside the others, put it there")
    return {words[0]: words[1:] for words in (line.split() for line in _lines(path))}


def _hdtf_row(clip: tuple[str, str, str, list[str], list[str]]) -> Row:
    part, stem, interval, box, height = clip
    start, _, end = interval.partition("-")
    left, width, top, tall = _numbers(box, 4, "a box is LEFT WIDTH TOP HEIGHT")
    (resolution,) = _numbers(height, 1, "a resolution is one number")
    # AnnWagner0 and AnnWagner1 are two videos of one person; Radio1 and Radio2 are just two.
    person = stem if part == "RD" else stem.rstrip("0123456789") or stem
    box_xyxy = left, top, left + width, top + tall
    # Whole seconds are frames at one a second. Boxes are scaled by the height: widths are not told.
    seconds = _seconds(start), _seconds(end)
    return Row(stem, person, "", *seconds, box_xyxy, Fraction(1), (None, resolution)).checked()


def _seconds(text: str) -> int:
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is not minutes:seconds")
    hours, minutes, seconds = (int(number or 0) for number in match.groups())
    return 3600 * hours + 60 * minutes + seconds


def _vfhq_row(file: Path) -> Row:
    name = _VFHQ_CLIP.fullmatch(file.name)
    if name is None:
        raise ValueError("is not called Clip+VIDEO+P0+C0+F0-99.txt")
    words = {line.split()[0].rstrip(":"): line.replace(":", " ").split()[1:] for line in _lines(file)}
    if missing := [key for key in ("H", "W", "FPS", "CROP") if not words.get(key)]:
        raise ValueError(f"has no line {', '.join(missing)}")
    (height,), (width,) = (_numbers(words[key][-1:], 1, "") for key in ("H", "W"))
    left, top, right, bottom = _numbers(words["CROP"][-4:], 4, "CROP is LEFT TOP RIGHT BOTTOM")
    # All people of a video count as one identity, so that no background is in two splits.
    start, end, fps = count(name["first"]) + 1, count(name["last"]), exact_number(words["FPS"][-1])
    return Row(name["video"], "", "", start, end, (left, top, right, bottom), fps, (width, height)).checked()


def _talking_head_row(line: str) -> Row:
    video, *rest = line.strip().split(",")
    what = "a line is VIDEO,H,W,FIRST,LAST,LEFT,TOP,RIGHT,BOTTOM"
    height, width, first, last, left, top, right, bottom = _numbers(rest, 8, what)
    person = re.sub(r"_\d{4}$", "", video)  # the pieces of a video show one
    return Row(video, person, "", first, last + 1, (left, top, right, bottom), None, (width, height)).checked()


def _numbers(words: list[str], number: int, what: str) -> list[int]:
    if len(words) != number:
        raise ValueError(f"{' '.join(words)[:40]!r}: {what}")
    return [count(word) for word in words]
