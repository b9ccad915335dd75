"""From a photo and a driving video to a finished file: `animate_files` is the whole way.

Everything heavy is imported where it is used, so that `infer.py --help` answers at once; for the same reason
annotations are not postponed: to evaluate those of `Options`, jsonargparse would run the typing-only imports.
"""

import os
import re
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fomm.errors import InputError
from fomm.files import all_or_none
from fomm.progress import Progress, silent, watched

if TYPE_CHECKING:
    import numpy as np

    from fomm.animator import Animator, Rendered
    from fomm.checkpoint import CheckpointInfo
    from fomm.video import VideoReader
    from preprocess.faces import FaceFinder
    from preprocess.pairing import Landmarks, Pairing, Tracked


MIN_SIDE_PX = 16
UNLIKE = 0.1  # no model gives a picture of the kind that it knows back with a mean error (of 1) as large as this


@dataclass(frozen=True)
class Options:
    """Animate a photo with a driving video.

    Args:
        source: the photo, or a folder of photos (each is animated).
        driving: the video; a folder of videos (each is used), a folder of frames; or webcam (webcam:1 is the second
            one): records you after a countdown, without sound, into <output>_driving.mp4.
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
        scale: side of the crop, in sizes of the driving face over the whole video. Default: what the model was trained
            on as far as its file says (provenance, crop_scale), else 1.2, that of the released models.
        device: auto, cpu, cuda, cuda:1 or mps.
        precision: fp32 is exact; bf16 is faster and changes little (docs/speed.md); fp16 is for GPUs. auto takes bf16
            on a processor that multiplies it in hardware, else fp32 (on CUDA with TF32).
        batch_size: frames at once. Default: 16 on CUDA, 4 on MPS, 1 on a CPU.
        cuda_graphs: on CUDA, record the work on a batch of frames once and replay it; the result is the same.
        seconds: length of a recording with --driving webcam.
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
    scale: float | None = None
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    batch_size: int | None = None
    cuda_graphs: bool = False
    seconds: float = 8.0

    @property
    def embeds(self) -> bool:
        return self.crop if self.embed is None else self.embed

    @property
    def seeks_best_frame(self) -> bool:
        return self.crop if self.best_frame is None else self.best_frame

    def check(self) -> None:
        """Raises InputError for values that no file can make right."""
        if self.embeds and not self.crop:
            raise InputError("--embed true needs --crop true: only a crop has a place in the photo to go back to")
        if self.scale is not None and not 0.5 <= self.scale <= 10:
            raise InputError(f"--scale is {self.scale}, must be from 0.5 to 10 face sizes; 1.2 is what the models know")
        if not 1 <= self.seconds <= 600:
            raise InputError(f"--seconds is {self.seconds}, must be from 1 to 600")

    @property
    def camera(self) -> int | None:
        """Number of the camera that --driving asks for; None where it names a file or a folder."""
        asked = re.fullmatch(r"webcam(?::(\d+))?", self.driving)
        return int(asked[1] or 0) if asked and not os.path.exists(self.driving) else None


@dataclass
class Tools:
    """What is loaded once and serves any number of files."""

    animator: "Animator"
    checkpoint: "CheckpointInfo"
    finder: "FaceFinder | None"
    landmarks: "Landmarks | None"
    tracked: "dict[Path, Tracked]" = field(default_factory=dict)  # driving videos that were looked through before


@dataclass(frozen=True)
class Found:
    """What `look` found on both sides."""

    photo: "np.ndarray"  # (H, W, 3) uint8 RGB
    frame: "np.ndarray"  # (h, w, 3), the driving frame that the motion starts from
    pairing: "Pairing"
    scale: float  # side of the crop in face sizes
    doubts: list[str]


@dataclass(frozen=True)
class Result:
    """What was made of one photo and one driving video."""

    outputs: list[Path]  # the result, and the side-by-side video if there is one
    sidecar: Path
    rendered: "Rendered"
    elapsed_s: float
    warnings: list[str]

    def __str__(self) -> str:
        done = self.rendered
        return (
            f"{self.outputs[0]}: {done.frames} frames, {float(done.duration):.2f} s, {done.width}x{done.height}; "
            f"took {self.elapsed_s:.1f} s ({done.frames / self.elapsed_s:.1f} frames/s)"
        )


def animate_files(
    source: str | Path,
    driving: str | Path,
    output: str | Path,
    options: Options,
    tools: Tools,
    *,
    progress: Progress = silent,
    warn: Callable[[str], None] = lambda sentence: None,
) -> Result:
    """From a photo and a driving video to a finished file with its sidecar. Memory does not grow with the video.

    Args:
        source, driving, output: files (driving: or a folder of frames); those in `options` are not looked at.
        options: everything else.
        tools: from `load_tools`.
        progress: hears of every frame of every stage: "find faces", "find best frame", "animate". What it raises stops
            the work and leaves nothing behind.
        warn: hears each warning as it arises; they are also in the result.

    Raises:
        InputError: anything wrong with the files, one line that says what to do.
    """
    from fomm.animator.render import animated_frames, render
    from preprocess.crop import Paster

    begun = time.monotonic()
    source, driving, output = Path(source), Path(driving), Path(output)
    warnings: list[str] = []

    def tell(sentences: list[str]) -> None:
        for sentence in sentences:
            if sentence not in warnings:
                warnings.append(sentence)
                warn(sentence)

    photo, reader = open_both(source, driving)
    outputs = [output, side_by_side_path(output)] if options.side_by_side else [output]
    check_outputs(outputs, source, driving)

    pairing = pair(photo, source, reader, options, tools, progress)
    tell(reader.warnings + pairing.doubts)
    tell(doubts_about_model(source, pairing, tools))
    paste = Paster(photo, pairing.source_crop) if options.embeds else None
    animated = animated_frames(
        tools.animator,
        pairing.source,
        reader.frames(pairing.start, pairing.stop),
        pairing.view,
        initial=pairing.initial,
        relative=options.relative,
        adapt_scale=options.adapt_scale,
    )
    count = reader.frame_count if pairing.stop is None else pairing.stop - pairing.start
    with all_or_none(outputs), closing(animated):  # no result without a sidecar
        rendered = render(
            watched(animated, "animate", count, progress),
            output,
            reader,
            paste=paste,
            label=options.label,
            audio=options.audio,
            side_by_side=outputs[1] if options.side_by_side else None,
            shown=lambda frame: (photo, frame.image) if paste else (pairing.source, pairing.view(frame.image)),
        )
        tell(reader.warnings + rendered.warnings)
        if rendered.frames == 1 and options.relative:
            tell([f"{driving}: has one frame; relative motion starts from it, so nothing moves; give --relative false"])
        sidecar = write_record(source, driving, outputs, options, tools, pairing, warnings)
    return Result(outputs, sidecar, rendered, time.monotonic() - begun, warnings)


def look(
    source: str | Path, driving: str | Path, options: Options, tools: Tools, *, progress: Progress = silent
) -> Found:
    """What `animate_files` would start from: faces, crops and what speaks against them. Nothing is animated yet.

    The best starting frame is sought only if the options ask for it (`best_frame`). Arguments and errors as for
    `animate_files`.
    """
    source, driving = Path(source), Path(driving)
    photo, reader = open_both(source, driving)
    pairing = pair(photo, source, reader, options, tools, progress)
    frame = next(reader.frames(pairing.initial_index)).image
    doubts = list(dict.fromkeys(pairing.doubts + doubts_about_model(source, pairing, tools)))
    return Found(photo, frame, pairing, crop_scale(options, tools), doubts)


def open_both(source: Path, driving: Path) -> "tuple[np.ndarray, VideoReader]":
    """The photo (H, W, 3) and the driving video, each large enough to hold a face."""
    from fomm.video import VideoReader, read_image

    photo, reader = read_image(source), VideoReader(driving)
    check_size(source, photo.shape[1], photo.shape[0])
    check_size(driving, reader.width, reader.height)
    return photo, reader


def pair(
    photo: "np.ndarray", source: Path, reader: "VideoReader", options: Options, tools: Tools, progress: Progress
) -> "Pairing":
    """Decide what the model sees of both sides."""
    from preprocess.pairing import pair_faces, pair_whole, track_driving

    size = tools.checkpoint.image_size
    landmarks = tools.landmarks if options.seeks_best_frame else None
    if not options.crop:
        return pair_whole(photo, reader, size=size, landmarks=landmarks, progress=progress)
    if reader.path not in tools.tracked:
        tools.tracked[reader.path] = track_driving(reader, tools.finder, progress=progress)
    return pair_faces(
        photo,
        source,
        reader,
        tools.tracked[reader.path],
        tools.finder,
        size=size,
        scale=crop_scale(options, tools),
        face_number=options.face,
        track_number=options.track,
        landmarks=landmarks,
        relative=options.relative,
        progress=progress,
    )


def crop_scale(options: Options, tools: Tools) -> float:
    """Side of the crop in face sizes."""
    from preprocess.track import TRACK_SCALE

    return options.scale or tools.checkpoint.provenance.get("crop_scale") or TRACK_SCALE


def doubts_about_model(source: Path, pairing: "Pairing", tools: Tools) -> list[str]:
    """Whether the picture is of a kind that the model does not know."""
    error = tools.animator.reconstruction_error(pairing.source)
    if error <= UNLIKE:
        return []
    return [
        f"{source}: the model cannot reproduce it even at rest (error {error:.2f} of 1), so it is unlike the pictures "
        "that the model was trained on; use a --checkpoint for such pictures"
    ]


def write_record(
    source: Path,
    driving: Path,
    outputs: list[Path],
    options: Options,
    tools: Tools,
    pairing: "Pairing",
    warnings: list[str],
) -> Path:
    """Write the sidecar."""
    from fomm.animator.provenance import synthetic_tags, write_sidecar

    checkpoint = tools.checkpoint
    crops = {"source": pairing.source_crop, "driving": pairing.driving_crop}
    return write_sidecar(
        outputs[0],
        settings=asdict(options)
        | {"source": str(source), "driving": str(driving), "output": str(outputs[0])}
        | {"best_frame": options.seeks_best_frame, "embed": options.embeds}
        | {"batch_size": tools.animator.batch_size, "scale": crop_scale(options, tools)},
        inputs={"source": source, "driving": driving},
        checkpoint={
            "name": checkpoint.name,
            "path": str(checkpoint.path),
            "sha256": checkpoint.sha256,
            "image_size": checkpoint.image_size,
        },
        outputs=outputs,
        details={
            "tags": synthetic_tags(pasted=options.embeds),
            "device": str(tools.animator),
            "driving_frames": {"start": pairing.start, "stop": pairing.stop, "initial": pairing.initial_index},
            "crop_matrices": {side: crop and crop.matrix.tolist() for side, crop in crops.items()},
            "warnings": warnings,
        },
    )


def side_by_side_path(output: Path) -> Path:
    """`result.mp4` -> `result_side_by_side.mp4`."""
    return output.parent / f"{output.stem}_side_by_side{output.suffix}"


def check_size(path: Path, width: int, height: int) -> None:
    if min(width, height) < MIN_SIDE_PX:
        raise InputError(f"{path}: is {width}x{height} pixels, each side needs {MIN_SIDE_PX} or more; use a larger one")


def check_outputs(outputs: list[Path], source: Path, driving: Path) -> None:
    """Find out now, not after the work, what would keep a result from being written."""
    from fomm.animator.provenance import sidecar_path
    from fomm.video import VideoWriter

    folder = outputs[0].absolute().parent
    try:
        for path in (*outputs, sidecar_path(outputs[0])):
            if path.exists() and any(path.samefile(original) for original in (source, driving)):
                raise InputError(f"{path}: is an input too and would be overwritten; choose another --output")
        for path in outputs:
            VideoWriter(path)  # refuses names that it cannot write
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be made ({error.strerror}); choose another --output") from error
    if not os.access(folder, os.W_OK):
        raise InputError(f"{folder}: no permission to write here; choose another --output")


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
    if info.name == "puppets":
        warn("puppets: this small model knows drawn puppets only; for photos of people give --checkpoint vox-adv")
    if options.crop and info.category not in ("face", "unknown"):
        warn(f"{options.checkpoint}: it animates a {info.category}, but --crop looks for faces; give --crop false")
    animator = Animator(
        model,
        device=options.device,
        precision=options.precision,
        batch_size=options.batch_size,
        cuda_graphs=options.cuda_graphs,
    )
    finder = landmarks = None
    if options.crop or (options.seeks_best_frame and options.best_frame_by == "mediapipe"):
        from preprocess.faces import FaceFinder

        finder = stack.enter_context(FaceFinder())
        landmarks = finder.landmarks
    if options.seeks_best_frame and options.best_frame_by == "face_alignment":
        from fomm.pretrained.face_alignment import FaceAlignmentLandmarks

        landmarks = FaceAlignmentLandmarks(animator.device)
    return Tools(animator, info, finder, landmarks)
