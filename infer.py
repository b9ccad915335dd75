"""Animate a photo with a driving video: `python infer.py --source photo.jpg --driving clip.mp4 --output result.mp4`.

`animate_files` is the whole way from two files to a finished one; the command line around it adds folders, progress
bars and exit codes. Everything heavy is imported where it is used, so that `--help` answers at once; for the same
reason annotations are not postponed: to evaluate those of `Options`, jsonargparse would run the typing-only imports.
"""

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from fomm.errors import InputError, run

if TYPE_CHECKING:
    import numpy as np

    from fomm.animator import Animator
    from fomm.checkpoint import CheckpointInfo
    from fomm.video import Frame, VideoReader
    from preprocess.crop import Crop
    from preprocess.faces import FaceFinder
    from preprocess.track import Track

T = TypeVar("T")
Progress = Callable[[str, int, int | None], None]
"""Called as (stage, frames done, frames in all or None if that is not known)."""

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".3gp", ".gif")
MIN_SIDE_PX = 16
UNLIKE = 0.1  # mean error (of 1) with which a model that knows such pictures would never give one back


@dataclass(frozen=True)
class Options:
    """Animate a photo with a driving video.

    Args:
        source: the photo, or a folder of photos (each is animated).
        driving: the video; a folder of videos (each is used), or a folder of frames.
        output: the result: .mp4, .mov, .webm, .gif, or a name without suffix for PNG frames; a folder for a batch.
            Settings and hashes go into a JSON file beside it.
        checkpoint: a known name (vox-adv, vox, taichi, ...; puppets comes with the package) or a file.
        relative: apply the driving's change of pose to the photo; otherwise its pose and shape are taken over.
        adapt_scale: scale the motion by how much larger the photo's face is than the driving's.
        best_frame: start from the driving frame most like the photo, not from the first. Default: as crop.
        best_frame_by: whose landmarks find that frame.
        crop: find the faces and crop both sides alike; otherwise both are taken whole, resized to the model's size.
        embed: put the animated face back into the full photo. Default: as crop.
        side_by_side: also write <output>_side_by_side: photo, driving and result.
        audio: keep the driving video's sound.
        label: write a visible mark into the result.
        face: which face of the photo, from 1 (the largest). The choices are listed if there are several.
        track: which face of the driving video, from 1 (the one seen longest).
        scale: side of the crop, in sizes of the driving face over the whole video.
        device: auto, cpu, cuda, cuda:1 or mps.
        precision: auto and fp32 are exact; bf16 and fp16 are faster on GPUs.
        batch_size: frames at once. Default: 16 on CUDA, 4 on MPS, 1 on a CPU.
    """

    source: str
    driving: str
    output: str
    checkpoint: str = "vox-adv"
    relative: bool = True
    adapt_scale: bool = True
    best_frame: bool | None = None
    best_frame_by: Literal["mediapipe", "face_alignment"] = "mediapipe"
    crop: bool = True
    embed: bool | None = None
    side_by_side: bool = False
    audio: bool = True
    label: bool = False
    face: int | None = None
    track: int = 1
    scale: float = 1.2
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    batch_size: int | None = None

    @property
    def embeds(self) -> bool:
        return self.crop if self.embed is None else self.embed

    @property
    def seeks_best_frame(self) -> bool:
        return self.crop if self.best_frame is None else self.best_frame

    def check(self) -> None:
        """Raises InputError for values that no file can make right."""
        if self.embeds and not self.crop:
            raise InputError("--embed true needs --crop true: without a crop there is no place in the photo to put it back")
        if not 0.5 <= self.scale <= 10:
            raise InputError(f"--scale is {self.scale}, must be from 0.5 to 10 face sizes; 1.2 is what the models know")


@dataclass
class Tools:
    """What is loaded once and serves any number of files."""

    animator: "Animator"
    checkpoint: "CheckpointInfo"
    finder: "FaceFinder | None"
    landmarks: "Callable[[np.ndarray], np.ndarray | None] | None"
    tracks: "dict[Path, tuple[list[Track], int]]" = field(default_factory=dict)  # of driving videos seen, and their length


@dataclass(frozen=True)
class Plan:
    """Which frames of the driving are used, and what the model sees of both sides.

    `initial` is the driving frame to start from as the model sees it, frame number `initial_index`.
    """

    source: "np.ndarray"
    view: "Callable[[np.ndarray], np.ndarray]"
    start: int
    stop: int | None
    initial: "np.ndarray | None"
    initial_index: int
    source_crop: "Crop | None" = None
    driving_crop: "Crop | None" = None


@dataclass(frozen=True)
class Result:
    """What was made."""

    output: Path
    side_by_side: Path | None
    sidecar: Path
    frames: int
    width: int
    height: int
    duration: Fraction
    elapsed_s: float
    warnings: list[str]

    def __str__(self) -> str:
        return (
            f"{self.output}: {self.frames} frames, {float(self.duration):.2f} s, {self.width}x{self.height}; "
            f"took {self.elapsed_s:.1f} s"
        )


# ---------------------------------------------------------------------------------------------------------- one pair


def animate_files(
    source: str | Path,
    driving: str | Path,
    output: str | Path,
    options: Options,
    tools: "Tools",
    *,
    progress: Progress = lambda stage, done, total: None,
    warn: Callable[[str], None] = lambda sentence: None,
) -> Result:
    """From a photo and a driving video to a finished file with its sidecar. Memory does not grow with the video.

    Args:
        source, driving, output: files (driving: or a folder of frames); those in `options` are not looked at.
        options: everything else.
        tools: from `load_tools`.
        progress: called after every frame of every stage ("find faces", "find best frame", "animate").
        warn: called with each warning as it arises; they are also in the result.

    Raises:
        InputError: anything wrong with the files, one line that says what to do.
    """
    from fomm.video import VideoReader, read_image

    begun = time.monotonic()
    source, driving, output = Path(source), Path(driving), Path(output)
    warnings: list[str] = []

    def tell(sentence: str) -> None:
        if sentence not in warnings:
            warnings.append(sentence)
            warn(sentence)

    photo, reader = read_image(source), VideoReader(driving)
    check_size(source, photo.shape[1], photo.shape[0])
    check_size(driving, reader.width, reader.height)
    check_outputs(outputs_of(output, options), source, driving)
    make_plan = plan_crops if options.crop else plan_whole
    plan = make_plan(source, photo, reader, options, tools, progress, tell)
    warn_if_unlike(source, plan.source, tools, tell)

    frames = reader.frames(plan.start, plan.stop)
    total = reader.frame_count if plan.stop is None else plan.stop - plan.start
    animated = watched(animate(frames, plan, options, tools.animator), "animate", total, progress)
    made = write(animated, photo, reader, plan, output, options, tell)
    for sentence in reader.warnings:
        tell(sentence)
    if made["frames"] == 1 and options.relative:
        tell(f"{driving}: one frame only; relative motion starts from it, so nothing moves; give --relative false")
    sidecar = write_record(source, driving, output, options, tools, plan, warnings)
    return Result(
        output, side_by_side_path(output) if options.side_by_side else None, sidecar, **made,
        elapsed_s=time.monotonic() - begun, warnings=warnings,
    )  # fmt: skip


def plan_crops(
    source: Path, photo: "np.ndarray", reader: "VideoReader", options: Options, tools: "Tools", progress: Progress, tell: Callable
) -> Plan:
    """Find the faces; one fixed crop of the driving track, and the photo's crop framed alike."""
    from preprocess import pairing
    from preprocess.faces import choose_face
    from preprocess.track import matching_crop

    faces = tools.finder.find(photo)
    face = choose_face(faces, options.face, source)
    tracks, count = find_driving_tracks(reader, tools, progress)
    for sentence in reader.warnings:
        tell(sentence)
    track = choose_track(tracks, options.track, reader.path, count)

    size = tools.checkpoint.image_size
    driving_crop = track.crop(size, scale=options.scale)
    initial, initial_index = None, track.start
    if options.seeks_best_frame:
        views = (driving_crop.apply(f.image) for f in reader.frames(track.start, track.stop, every=BEST_FRAME_EVERY))
        views = watched(views, "find best frame", -(-len(track) // BEST_FRAME_EVERY), progress)
        wanted = pairing.upright_landmarks(face)
        if options.best_frame_by != "mediapipe":
            wanted = tools.landmarks(matching_crop(face, track, size, scale=options.scale).apply(photo))
        best = None if wanted is None else pairing.best_frame(views, wanted, tools.landmarks)
        if best is None:
            tell(f"{reader.path}: no best frame found, so the motion starts from the first")
        else:
            initial, initial_index = best.image, track.start + BEST_FRAME_EVERY * best.index
    source_crop = matching_crop(face, track, size, index=initial_index, scale=options.scale)

    for sentence in pairing.doubts_about_photo(faces, face, source_crop, photo.shape):
        tell(f"{source}: {sentence}")
    for sentence in pairing.doubts_about_driving(tracks, track, driving_crop, count):
        tell(f"{reader.path}: {sentence}")
    for sentence in pairing.doubts_about_start(face, track.at(initial_index)) if options.relative else []:
        tell(f"{reader.path}: {sentence}")
    return Plan(
        source_crop.apply(photo), driving_crop.apply, track.start, track.stop, initial, initial_index,
        source_crop, driving_crop,
    )  # fmt: skip


BEST_FRAME_EVERY = 5
"""A pose lasts longer than this many frames, so not each one has to be looked at."""


def plan_whole(
    source: Path, photo: "np.ndarray", reader: "VideoReader", options: Options, tools: "Tools", progress: Progress, tell: Callable
) -> Plan:
    """Both sides as they are, resized to the model's size."""
    from preprocess import pairing

    size = tools.checkpoint.image_size
    seen = resized(photo, size, size)
    initial, initial_index = None, 0
    if options.seeks_best_frame:
        views = (resized(frame.image, size, size) for frame in reader.frames(every=BEST_FRAME_EVERY))
        count = reader.frame_count and -(-reader.frame_count // BEST_FRAME_EVERY)
        wanted = tools.landmarks(seen)
        best = None
        if wanted is not None:
            best = pairing.best_frame(watched(views, "find best frame", count, progress), wanted, tools.landmarks)
        if best is None:
            where = source if wanted is None else reader.path
            tell(f"{where}: no face found to compare poses by, so the motion starts from the first frame")
        else:
            initial, initial_index = best.image, BEST_FRAME_EVERY * best.index
    return Plan(seen, lambda image: resized(image, size, size), 0, None, initial, initial_index)


def find_driving_tracks(reader: "VideoReader", tools: "Tools", progress: Progress) -> "tuple[list[Track], int]":
    """Face tracks of a video, longest first, and its number of frames; looked for once."""
    from preprocess.track import find_tracks

    if reader.path not in tools.tracks:
        count = 0

        def counted() -> "Iterator[Frame]":
            nonlocal count
            for frame in prefetched(reader):
                count += 1
                yield frame

        tracks = find_tracks(watched(counted(), "find faces", reader.frame_count, progress), tools.finder)
        tools.tracks[reader.path] = tracks, count
    return tools.tracks[reader.path]


def choose_track(tracks: "list[Track]", number: int, path: Path, count: int) -> "Track":
    from preprocess.track import EVERY, describe_tracks

    if not tracks:
        raise InputError(
            f"{path}: no face found in any {EVERY}th of its {count} frames with the short-range and full-range detectors; "
            "give a video that shows a face, or use --crop false"
        )
    if not 1 <= number <= len(tracks):
        raise InputError(f"{path}: no face track {number}; choose --track from {describe_tracks(tracks)}")
    return tracks[number - 1]


def animate(
    frames: "Iterable[Frame]", plan: Plan, options: Options, animator: "Animator"
) -> "Iterator[tuple[Frame, np.ndarray]]":
    """Each driving frame with the animated crop (S, S, 3); reading, animating and what the caller does overlap."""

    def pairs() -> "Iterator[tuple[Frame, np.ndarray]]":
        waiting: deque[Frame] = deque()

        def views() -> "Iterator[np.ndarray]":
            for frame in prefetched(frames):
                waiting.append(frame)
                yield plan.view(frame.image)

        for picture in animator.animate(
            plan.source, views(), initial=plan.initial, relative=options.relative, adapt_scale=options.adapt_scale
        ):
            yield waiting.popleft(), picture

    return prefetched(pairs())


def write(
    animated: "Iterable[tuple[Frame, np.ndarray]]",
    photo: "np.ndarray",
    reader: "VideoReader",
    plan: Plan,
    output: Path,
    options: Options,
    tell: Callable[[str], None],
) -> dict:
    """Paste, mark and encode; the facts about the result that `Result` holds."""
    from fomm.provenance import Label, synthetic_tags
    from fomm.video import VideoWriter
    from preprocess.crop import Paster

    paste = Paster(photo, plan.source_crop) if options.embeds else None
    label = Label() if options.label else None
    common = dict(fps=reader.fps, time_base=reader.time_base, metadata=synthetic_tags(pasted=options.embeds))
    if options.audio and reader.has_audio:
        common["audio_from"] = reader.path
    count, first, last, shape = 0, None, None, (0, 0)
    with ExitStack() as stack:
        writers = [stack.enter_context(VideoWriter(path, **common)) for path in outputs_of(output, options)]
        for frame, picture in animated:
            picture = paste(picture) if paste else picture
            picture = label(picture) if label else picture
            writers[0].write(picture, frame.time)
            if options.side_by_side:
                writers[1].write(beside_each_other(photo if paste else plan.source, frame, picture, plan), frame.time)
            first = frame.time if first is None else first
            count, last, shape = count + 1, frame.time, picture.shape
    for sentence in writers[0].warnings:
        tell(sentence)
    interval = (last - first) / (count - 1) if count > 1 else 1 / (reader.fps or Fraction(25))
    return dict(frames=count, width=shape[1], height=shape[0], duration=last - first + interval)


def beside_each_other(source: "np.ndarray", frame: "Frame", result: "np.ndarray", plan: Plan) -> "np.ndarray":
    """Photo, driving frame and result at one height, left to right."""
    import numpy as np

    driving = frame.image if source.shape == result.shape and plan.driving_crop is None else plan.view(frame.image)
    height = min(result.shape[0], MAX_SIDE_BY_SIDE_PX) // 2 * 2
    rows = [resized(image, max(2, round(image.shape[1] * height / image.shape[0] / 2) * 2), height)
            for image in (source, driving, result)]  # fmt: skip
    return np.concatenate(rows, axis=1)


MAX_SIDE_BY_SIDE_PX = 512


def write_record(
    source: Path, driving: Path, output: Path, options: Options, tools: "Tools", plan: Plan, warnings: list[str]
) -> Path:
    """The sidecar. Where it cannot be written the results go too: none is to be without."""
    from fomm.provenance import synthetic_tags, write_sidecar
    from fomm.video import DIGITAL_SOURCE_TYPE

    settings = asdict(options) | {
        "source": str(source),
        "driving": str(driving),
        "output": str(output),
        "best_frame": options.seeks_best_frame,
        "embed": options.embeds,
        "batch_size": tools.animator.batch_size,
    }
    checkpoint = {
        "name": tools.checkpoint.name or options.checkpoint,
        "path": str(tools.checkpoint.path),
        "sha256": tools.checkpoint.sha256,
        "image_size": tools.checkpoint.image_size,
    }
    details = {
        "digital_source_type": synthetic_tags(pasted=options.embeds)[DIGITAL_SOURCE_TYPE],
        "device": str(tools.animator),
        "driving_frames": {"start": plan.start, "stop": plan.stop, "initial": plan.initial_index},
        "crops": {
            side: crop and {"size": crop.size, "matrix": crop.matrix.tolist()}
            for side, crop in (("source", plan.source_crop), ("driving", plan.driving_crop))
        },
        "warnings": warnings,
    }
    outputs = outputs_of(output, options)
    try:
        return write_sidecar(
            output,
            settings=settings,
            inputs={"source": source, "driving": driving},
            checkpoint=checkpoint,
            outputs=outputs,
            details=details,
        )
    except BaseException:
        for path in outputs:
            remove(path)
        raise


# ------------------------------------------------------------------------------------------------------ small things


def prefetched(items: Iterable[T]) -> Iterator[T]:
    from fomm.video import prefetch

    return prefetch(items)


def watched(items: Iterable[T], stage: str, total: int | None, progress: Progress) -> Iterator[T]:
    """The same items; `progress` hears of each, and at the end how many there really were."""
    progress(stage, 0, total)
    done = 0
    for done, item in enumerate(items, 1):
        yield item
        progress(stage, done, total)
    progress(stage, done, done)


def resized(image: "np.ndarray", width: int, height: int) -> "np.ndarray":
    import cv2

    if image.shape[:2] == (height, width):
        return image
    shrinks = image.shape[0] > height or image.shape[1] > width
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def side_by_side_path(output: Path) -> Path:
    return output.with_name(f"{output.stem}_side_by_side{output.suffix}")


def outputs_of(output: Path, options: Options) -> list[Path]:
    return [output, side_by_side_path(output)] if options.side_by_side else [output]


def check_size(path: Path, width: int, height: int) -> None:
    if min(width, height) < MIN_SIDE_PX:
        raise InputError(f"{path}: is {width}x{height} pixels; each side must have at least {MIN_SIDE_PX}, use a larger one")


def check_outputs(outputs: list[Path], source: Path, driving: Path) -> None:
    """Find out now, not after the work, what would keep a result from being written."""
    from fomm.provenance import sidecar_path
    from fomm.video import VideoWriter

    for path in (*outputs, sidecar_path(outputs[0])):
        for original in (source, driving):
            if path.exists() and path.samefile(original):
                raise InputError(f"{path}: is an input too and would be overwritten; choose another --output")
    for path in outputs:
        VideoWriter(path)  # knows which names it can write
        folder = path.absolute().parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{path}: its folder cannot be made ({error.strerror}); choose another --output") from error
        if not os.access(folder, os.W_OK):
            raise InputError(f"{path}: no permission to write into {folder}; choose another --output")


def warn_if_unlike(path: Path, picture: "np.ndarray", tools: "Tools", tell: Callable[[str], None]) -> None:
    """A model gives a picture of the kind that it knows back almost unchanged when nothing is to move."""
    output = next(tools.animator.outputs(picture, [picture], relative=False))
    still = output.prediction[0].permute(1, 2, 0).cpu().numpy()
    error = abs(still - picture / 255).mean()
    if error > UNLIKE:
        tell(
            f"{path}: this model cannot even reproduce the picture (error {error:.2f} of 1): it is unlike those that it was "
            f"trained on; use a --checkpoint for such pictures"
        )


def remove(path: Path) -> None:
    import shutil

    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


# ---------------------------------------------------------------------------------------------------- the command line


def load_tools(options: Options, stack: ExitStack, warn: Callable[[str], None]) -> "Tools":
    """Load the model and whatever finds faces; `stack` closes it.

    Raises:
        InputError: the checkpoint or the device is not there or not right.
    """
    from fomm.animator import Animator
    from fomm.checkpoint import load_model

    model, info = load_model(options.checkpoint)
    for note in info.notes:
        warn(f"{options.checkpoint}: {note}")
    if options.crop and info.category not in ("face", "unknown"):
        warn(f"{options.checkpoint}: it animates a {info.category}, but --crop looks for faces; give --crop false")
    animator = Animator(model, device=options.device, precision=options.precision, batch_size=options.batch_size)
    finder = landmarks = None
    if options.crop or (options.seeks_best_frame and options.best_frame_by == "mediapipe"):
        from preprocess.faces import FaceFinder

        finder = stack.enter_context(FaceFinder())
        landmarks = finder.landmarks
    if options.seeks_best_frame and options.best_frame_by == "face_alignment":
        from fomm.detectors import FaceAlignmentLandmarks

        landmarks = FaceAlignmentLandmarks(animator.device)
    return Tools(animator, info, finder, landmarks)


def list_pairs(options: Options) -> list[tuple[Path, Path, Path]]:
    """(source, driving, output) of everything that is asked for; a folder on either side makes a batch."""
    from fomm.video import frame_files

    source, driving, output = Path(options.source), Path(options.driving), Path(options.output)
    sources = frame_files(source) if source.is_dir() else [source]
    drivings = video_files(driving) or [driving]
    if not source.is_dir() and drivings == [driving]:
        return [(source, driving, output)]
    if output.suffix:
        raise InputError(f"{output}: a folder as input makes a batch, whose results need a folder; give a name without suffix")
    pairs = [(s, d, output / f"{s.stem}_{d.stem}.mp4") for d in drivings for s in sources]
    if len({path for *_, path in pairs}) < len(pairs):  # a.jpg beside a.png
        pairs = [(s, d, output / f"{s.name}_{d.name}.mp4") for s, d, _ in pairs]
    return pairs


def video_files(folder: Path) -> list[Path]:
    """Videos in a folder, by name; none if it is a file, or a folder of frames."""
    if not folder.is_dir():
        return []
    return sorted(f for f in folder.iterdir() if f.suffix.lower() in VIDEO_SUFFIXES and not f.name.startswith("."))


class Bars:
    """A progress bar on stderr for each stage, with frames per second; silent where nobody looks."""

    def __init__(self) -> None:
        self._bar, self._stage = None, ""

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        from tqdm import tqdm

        if stage != self._stage or done == 0:
            self.close()
            self._bar = tqdm(desc=f"{stage:>15}", total=total, unit=" frames", disable=not sys.stderr.isatty())
            self._stage = stage
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def print(self, line: str, file=None) -> None:
        """A line that does not tear the bar apart."""
        from tqdm import tqdm

        with tqdm.external_write_mode(file=file or sys.stderr):
            print(line, file=file or sys.stderr, flush=True)


def infer(options: Options) -> list[Result]:
    """Animate all that `options` ask for, with bars and lines for a person to read.

    Raises:
        InputError: it cannot be done; in a batch after all other pairs, with the names of those that failed.
    """
    options.check()
    pairs = list_pairs(options)
    bars = Bars()
    results, failures = [], []
    with ExitStack() as stack:
        stack.callback(bars.close)
        warn = lambda sentence: bars.print(f"warning: {sentence}")  # noqa: E731
        tools = load_tools(options, stack, warn)
        bars.print(f"model {options.checkpoint}, {tools.checkpoint.image_size}x{tools.checkpoint.image_size}; {tools.animator}")
        for source, driving, output in pairs:
            try:
                result = animate_files(source, driving, output, options, tools, progress=bars, warn=warn)
            except InputError as error:
                if len(pairs) == 1:
                    raise
                failures.append(output)
                bars.print(f"error: {error}")
                continue
            results.append(result)
            bars.print(f"wrote {result}", file=sys.stdout)
    if failures:
        names = ", ".join(path.name for path in failures)
        raise InputError(f"{len(failures)} of {len(pairs)} pairs failed (see above): {names}; the others are done")
    return results


def main() -> None:
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(description=__doc__)
    parser.add_class_arguments(Options)
    infer(Options(**parser.parse_args().as_dict()))


if __name__ == "__main__":
    run(main)
