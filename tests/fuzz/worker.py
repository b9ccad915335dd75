"""One process of the fuzzer: reads files that it is told of, and says what came of each.

A line of stdin is {"target": ..., "path": ...}; a line of stdout "read", "refused: MESSAGE" or "fault: TRACEBACK".
"""

from __future__ import annotations

import contextlib
import io
import json
import resource
import shutil
import sys
import traceback
from collections.abc import Callable
from itertools import islice
from pathlib import Path

MEMORY_BYTES = 3 << 30
MAX_FRAMES = 60  # of a video; a broken one may promise any number


def video(path: Path) -> None:
    from fomm.video import VideoReader, VideoWriter, read_frames

    reader = VideoReader(path, threads=1)
    with VideoWriter(path.with_name("copy.mp4"), fps=25, audio_from=reader, threads=1) as writer:
        for index, frame in enumerate(islice(reader.lazy_frames(), MAX_FRAMES)):
            if index < 3:
                height, width = frame.image.shape[:2]
                frame.region((0, 0, max(1, width // 2), max(1, height // 2)))
                frame.thumbnail(16)
            writer.write(frame.image, frame.time)
    read_frames(path, [0, 2])


def picture(path: Path) -> None:
    from fomm.video import VideoReader, read_image

    read_image(path)
    for _ in islice(VideoReader(path), MAX_FRAMES):
        pass


def checkpoint(path: Path) -> None:
    from fomm.checkpoint import Checkpoint, run_checkpoint
    from fomm.checkpoint.architectures import FOMM_NAME

    found = Checkpoint.read(path)
    model, about = found.model()
    str(about), str(model.config)
    if about.format == "training":
        if found.architecture == FOMM_NAME:
            found.training_state()
        run_checkpoint(path)


def record(path: Path) -> None:
    from fomm.evaluation.measuring import Record

    Record.load(path)


def manifest(path: Path) -> None:
    from fomm.evaluation.contenders import read_data
    from fomm.manifest import read_manifest, write_manifest

    write_manifest(path.with_name("copy.csv"), read_manifest(path))
    assert read_manifest(path.with_name("copy.csv")) == read_manifest(path)
    read_data(path)


def pairs(path: Path) -> None:
    from fractions import Fraction

    from fomm.manifest import Clip, read_pairs

    read_pairs(path, [Clip(name, name, "ann", "test", 4, Fraction(25), 64, 64) for name in "ab"])


def metadata(path: Path) -> None:
    from preprocess.dataset.metadata import ask, read_metadata

    ask(read_metadata(path), ["v.mp4"])


def times(path: Path) -> None:
    import numpy as np

    from fomm.video import VideoReader, VideoWriter, write_image

    for index in range(3):
        write_image(path.parent / "frames" / f"{index}.png", np.zeros((20, 20, 3), np.uint8))
    shutil.copy(path, path.parent / "frames" / "times.txt")
    reader = VideoReader(path.parent / "frames")
    with VideoWriter(path.with_name("copy.mp4"), fps=reader.fps, time_base=reader.time_base, threads=1) as writer:
        for frame in reader:
            writer.write(frame.image, frame.time)


def config(path: Path) -> None:
    from fomm.training.original_config import convert_config

    convert_config(path, path.with_name("converted.yaml"))


def train_config(path: Path) -> None:
    import train

    try:
        with contextlib.redirect_stdout(io.StringIO()):
            train.main(["fit", "--config", str(path), "--data.manifest", "none.csv", "--print_config"])
    except SystemExit as leaving:
        assert not leaving.code, f"left with exit code {leaving.code}"


def motion(path: Path) -> None:
    import numpy as np

    from fomm.model.face.direct import Strength, direct
    from fomm.model.face.edit import REST
    from fomm.model.face.recording import read_motion
    from fomm.video import VideoWriter
    from studio.portrait import reach_of

    recording = read_motion(path)
    assert np.isfinite(reach_of(recording))
    blank = np.zeros((64, 64, 3), np.uint8)
    for name in ("copy.mp4", "copy.webm", "copy.gif"):
        with VideoWriter(path.with_name(name), fps=recording.fps, time_base=recording.clock, threads=1) as writer:
            for face, time in islice(zip(recording.faces, recording.times, strict=True), MAX_FRAMES):
                assert np.isfinite(direct(REST, face, REST, Strength(mouth=0.5)).landmarks).all()
                assert recording.at(time).landmarks.shape == face.landmarks.shape
                writer.write(blank, time)


def report(path: Path) -> None:
    from fomm.report import write_report

    shutil.copy(path, path.with_name("report.json"))
    write_report(path.parent)


def settings(path: Path) -> None:
    from fomm.evaluation.measuring import check_records

    (path.parent / "records").mkdir(exist_ok=True)
    shutil.copy(path, path.parent / "records" / "settings.json")
    check_records(path.parent / "records", {"data": {"split": "test"}, "models": {"a": "b"}})


TARGETS: dict[str, Callable[[Path], None]] = {
    "video": video, "picture": picture, "checkpoint": checkpoint, "record": record, "manifest": manifest,
    "pairs": pairs, "metadata": metadata, "times": times, "config": config, "train config": train_config,
    "motion": motion, "report": report, "settings": settings,
}  # fmt: skip


def outcome(target: str, path: Path) -> str:
    from fomm.errors import InputError

    try:
        TARGETS[target](path)
        return "read"
    except InputError as error:
        if not str(error).strip() or len(str(error)) > 4000:
            return f"fault: a message of {len(str(error))} characters: {str(error)[:300]}"
        return f"refused: {error}"
    except BaseException:
        return f"fault: {traceback.format_exc()}"


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        case = json.loads(line)
        print(json.dumps(outcome(case["target"], Path(case["path"]))), file=answers, flush=True)


if __name__ == "__main__":
    main()
