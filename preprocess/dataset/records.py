"""What a preparation remembers on disk of each video, so that it can go on after anything."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fomm.errors import InputError
from fomm.files import atomic_output
from fomm.manifest import Clip
from fomm.numbers import exact_number
from preprocess.dataset.clips import Outcome, OutputFault, Reject, Video

RECORDS = "records"  # folder of a data set


class Records:
    """What is known of videos that are done: `records/KEY.json`; of those begun: `records/KEY.begun`.

    A record counts only for the file it was made of (by size and time of change) and while its clips are there.
    """

    def __init__(self, videos: Path, output: Path) -> None:
        self.videos, self._output = videos, output

    def source(self, video: Video) -> Path:
        return self.videos / video.path

    def read(self, video: Video) -> Outcome | None:
        record = self._load(video, ".json")
        if record is None or record["source"] != self.stamp(video):
            return None
        clips = self._whole_clips(record)
        if len(clips) < len(record["clips"]):
            return None
        return Outcome(clips, [Reject(*reject) for reject in record["rejects"]], record["seconds"])

    def write(self, video: Video, outcome: Outcome) -> None:
        """The last thing that is done for a video."""
        record = {
            "source": self.stamp(video),
            "seconds": round(outcome.seconds, 3),
            "clips": [self._row(clip) for clip in outcome.clips],
            "rejects": outcome.rejects,
        }
        self._save(video, ".json", record)
        self._path(video, ".begun").unlink(missing_ok=True)

    def begin(self, video: Video, run_id: str) -> tuple[int, dict[str, Clip]]:
        """Note that a worker is at it; how often one has been in this run, and the clips that are finished."""
        before = self._load(video, ".json") or self._load(video, ".begun") or {}
        stamp = self.stamp(video)
        if before and before["source"] != stamp:  # clips of another file
            for row in before["clips"]:
                old = self._output / row["path"]
                shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
            before = {}
        done = {clip.clip_id: clip for clip in self._whole_clips(before)}
        tries = before.get("tries", 0) + 1 if before.get("run") == run_id else 1
        rows = [self._row(clip) for clip in done.values()]
        self._save(video, ".begun", {"run": run_id, "tries": tries, "source": stamp, "clips": rows})
        self._path(video, ".json").unlink(missing_ok=True)
        return tries, done

    def add_clip(self, video: Video, clip: Clip) -> None:
        """Note a finished clip of a video that is not finished."""
        begun = self._load(video, ".begun") or {}
        self._save(video, ".begun", {**begun, "clips": [*begun.get("clips", []), self._row(clip)]})

    def _row(self, clip: Clip) -> dict[str, Any]:
        return {**asdict(clip), "fps": str(clip.fps), "bytes": self._size(clip)}

    def _whole_clips(self, record: dict) -> list[Clip]:
        """The clips of a record that are there, of the size that they had."""
        clips = []
        for row in record.get("clips", ()):
            clip = _clip(row)
            if self._size(clip) == row["bytes"]:
                clips.append(clip)
        return clips

    def _path(self, video: Video, suffix: str) -> Path:
        return self._output / RECORDS / (video.key + suffix)

    def _load(self, video: Video, suffix: str) -> dict | None:
        with suppress(OSError, ValueError, RecursionError):
            record = json.loads(self._path(video, suffix).read_text(encoding="utf-8"))
            return record if _is_record(record) else None
        return None

    def _save(self, video: Video, suffix: str, content: dict) -> None:
        try:
            with atomic_output(self._path(video, suffix)) as part:
                part.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
        except InputError as error:
            raise OutputFault(str(error)) from error

    def stamp(self, video: Video) -> list[int]:
        """What a file is known by: size and time of change; nothing where there is none."""
        with suppress(OSError):
            status = self.source(video).stat()
            return [status.st_size, status.st_mtime_ns]
        return []

    def _size(self, clip: Clip) -> int:
        path = self._output / clip.path
        with suppress(OSError):
            return sum(file.stat().st_size for file in path.iterdir()) if path.is_dir() else path.stat().st_size
        return -1


def _clip(row: dict[str, Any]) -> Clip:
    return Clip(**{name: value for name, value in row.items() if name != "bytes"} | {"fps": exact_number(row["fps"])})


def _is_record(content: Any) -> bool:
    """Whether it is as `Records` writes it, and names no file outside of its folder: clips of it may be removed."""
    try:
        paths = [Path(_clip(row).path) for row in content["clips"] if isinstance(row["bytes"], int)]
        rejects = content.get("rejects", [])
        all(Reject(*reject) for reject in rejects)
    except (TypeError, KeyError, ValueError, AttributeError, ZeroDivisionError):
        return False
    inside = all(not path.is_absolute() and ".." not in path.parts for path in paths)
    numbers = isinstance(content.get("seconds", 0), (int, float)) and isinstance(content.get("tries", 0), int)
    return inside and numbers and isinstance(content.get("source"), list)
