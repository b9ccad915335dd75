"""How fast videos become training clips, by stage, and against the plain way. Prints tables.

    python benchmarks/preparation.py                      # draws videos of two puppets into a temporary folder
    python benchmarks/preparation.py --videos my_videos/  # your own

Each video is prepared in turns by

- plain: one loop: decode a frame, detect its faces, cut out a square around the largest, encode;
- fomm: `preprocess.dataset.prepare.prepare_video`, what `python -m preprocess dataset` runs in each worker:
  detection in every 5th frame and wherever something changes at once, one fixed crop for each track, filters, hash; all
  faces.

Both use the same reader, detector, crop size and encoder settings, in one process with one thread each; times are CPU
seconds of that process, so a busy machine does not change them much: frames per second are those of one core. Frames
are counted once, however many faces are in them. The plain loop writes one face's clip where fomm writes one for each.

Boxes are compared frame by frame: those of the tracks, interpolated between looks, with those detected in each frame
(the one of highest IoU), over the frames in which there is one.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import cv2
import numpy as np
from jsonargparse import CLI

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.page import ratio, table
from fomm.errors import InputError, run
from fomm.video import LazyFrame, VideoReader, VideoWriter
from preprocess import track
from preprocess.dataset import clips
from preprocess.dataset.clips import KEYFRAME_EVERY, ClipWriter, Rules, Video, View
from preprocess.dataset.prepare import prepare_video
from preprocess.faces import Face, FaceFinder, box_iou
from preprocess.synthetic.scenes import write_scenes
from preprocess.track import find_tracks, square_crop

SIZE = 256
# nothing is left out: both sides are to do the same work
RULES = Rules(size=SIZE, min_frames=2, max_enlargement=100.0, max_blur=1.0, min_light=0.0, min_confidence=0.0)
VOXCELEB_FRAMES = 3_940_000
T = TypeVar("T")


class Stages:
    """CPU seconds by stage; a stage inside another is not counted twice."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._running: list[str] = []
        self._since = 0.0

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        self._book()
        self._running.append(stage)
        try:
            yield
        finally:
            self._book()
            self._running.pop()

    def _book(self) -> None:
        now = time.process_time()
        if self._running:
            stage = self._running[-1]
            self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._since
        self._since = now

    def watch(self, stack: ExitStack, owner: object, name: str, stage: str) -> None:
        """From now on, calls of `owner.name` (also of generators: each step) are booked on `stage`."""
        function = getattr(owner, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            with self(stage):
                result = function(*args, **kwargs)
            return self._steps(result, stage) if hasattr(result, "__next__") else result

        stack.enter_context(patch.object(owner, name, watched))

    def _steps(self, generator: Iterator, stage: str) -> Iterator:
        with suppress(StopIteration):
            while True:
                with self(stage):
                    item = next(generator)
                yield item


def plain(path: Path, finder: FaceFinder, output: Path) -> tuple[int, list[list[Face]]]:
    """The plain loop; how many frames, and the faces of each."""
    found: list[list[Face]] = []
    last: Face | None = None
    with VideoWriter(output, keyframe_every=KEYFRAME_EVERY, threads=1) as writer:
        for frame in VideoReader(path, threads=1).lazy_frames():
            image = frame.image
            faces = finder.find(image, thorough=False)
            found.append(faces)
            last = faces[0] if faces else last
            box = last.box_xyxy_px if last else (0.0, 0.0, image.shape[1] - 1.0, image.shape[0] - 1.0)
            crop = square_crop(box, (image.shape[1], image.shape[0]), SIZE)
            writer.write(crop.apply(image), frame.time)
    return len(found), found


def ours(path: Path, finder: FaceFinder, output: Path) -> int:
    """What a worker does with the video; how many clips."""
    (output / clips.CLIPS).mkdir(parents=True, exist_ok=True)
    return len(prepare_video(Video(path.name, path.stem, path.stem), path.parent, output, RULES, finder).clips)


def measured(call: Callable[..., T], *args: object) -> tuple[float, T]:
    start = time.process_time()
    result = call(*args)
    return time.process_time() - start, result


def by_stage(path: Path, finder: FaceFinder, output: Path) -> dict[str, float]:
    """CPU seconds of our way on a video: decode, compare frames, look for faces, crop, encode, the rest."""
    stages = Stages()
    with ExitStack() as stack:
        stages.watch(stack, VideoReader, "lazy_frames", "decode")
        stages.watch(stack, LazyFrame, "thumbnail", "compare frames")
        stages.watch(stack, track._Tracker, "follow", "compare frames")
        stages.watch(stack, track._Tracker, "look", "look for faces")
        stages.watch(stack, View, "of", "crop")
        stages.watch(stack, VideoWriter, "write", "encode")
        stages.watch(stack, VideoWriter, "__exit__", "encode")
        stages.watch(stack, ClipWriter, "_measure", "filters, hash")
        stages.watch(stack, ClipWriter, "_enter", "filters, hash")
        total, _ = measured(ours, path, finder, output)
    stages.seconds["the rest"] = total - sum(stages.seconds.values())
    return stages.seconds


def agreement(path: Path, finder: FaceFinder, found: list[list[Face]]) -> list[float]:
    """IoU of the tracks' boxes with those detected in the same frames."""
    overlaps = []
    for one in find_tracks(VideoReader(path, threads=1).lazy_frames(), finder):
        for faces, box in zip(found[one.start : one.stop], one.boxes, strict=True):
            if faces:
                overlaps.append(max(box_iou(face.box_xyxy_px, box) for face in faces))
    return overlaps


def cells(name: str, totals: np.ndarray, size: str, made: str, ious: list[float]) -> list[str]:
    """A row of the table: of frames, seconds of the plain loop and ours, and boxes that agree."""
    count, plain_s, ours_s = totals
    rates = f"{count:.0f}", f"{count / plain_s:.1f}", f"{count / ours_s:.1f}"
    return [name, *rates, size, made, f"{np.mean(ious):.3f}", f"{np.percentile(ious, 5):.3f}"]


def compare(videos: Path | None = None, repeats: int = 3, frames: int = 150, scenes: int = 4) -> None:
    """Compare preparation with the plain loop.

    Args:
        videos: folder of videos; by default scenes of two puppets are drawn.
        repeats: of each video, in turns; the fastest counts.
        frames: of each drawn scene.
        scenes: how many are drawn.
    """
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as temporary, FaceFinder() as finder:
        scratch = Path(temporary)
        if videos is None:
            videos = write_scenes(scratch / "scenes", scenes=scenes, frames=frames)
        paths = sorted(path for path in videos.iterdir() if path.suffix.lower() in (".mp4", ".webm", ".mov"))
        if not paths:
            raise InputError(f"{videos}: no .mp4, .mov or .webm in it; give another --videos")
        rows = []
        totals = np.zeros(3)  # frames, seconds plain, seconds ours
        stages: dict[str, float] = {}
        overlaps: list[float] = []
        for path in paths:
            plain_s, ours_s = [], []
            for _ in range(repeats):
                seconds, (count, found) = measured(plain, path, finder, scratch / "plain.mp4")
                plain_s.append(seconds)
                seconds, made = measured(ours, path, finder, scratch / "ours")
                ours_s.append(seconds)
                shutil.rmtree(scratch / "ours")
            for stage, seconds in by_stage(path, finder, scratch / "ours").items():
                stages[stage] = stages.get(stage, 0.0) + seconds
            shutil.rmtree(scratch / "ours")
            ious = agreement(path, finder, found)
            overlaps += ious
            row = np.array([count, min(plain_s), min(ours_s)])
            totals += row
            reader = VideoReader(path)
            rows.append(cells(path.name, row, f"{reader.width}x{reader.height}", str(made), ious))
        count, plain_s, ours_s = totals
        rows.append(cells("all", totals, "", "", overlaps))
        head = ["video", "frames", "plain", "fomm", "size", "clips", "IoU, mean", "5th percentile"]
        table(head, rows, "Frames per second of one core; IoU over frames.")
        ratio("preparation, times as fast as the plain loop", plain_s / ours_s)
        staged = sum(stages.values())
        by_time = sorted(stages.items(), key=lambda item: -item[1])
        rows = [[name, f"{1000 * spent / count:.2f}", f"{100 * spent / staged:.0f} %"] for name, spent in by_time]
        table(["stage", "ms per frame", "share"], rows)
        hours = VOXCELEB_FRAMES / (count / ours_s) / 3600
        print(f"VoxCeleb's {VOXCELEB_FRAMES:,} frames at this speed: {hours:.1f} core hours.")


if __name__ == "__main__":
    run(lambda: CLI(compare, as_positional=False))
