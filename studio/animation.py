"""From a photo and a driving video to a finished file: `animate_files` is the whole way."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from fomm.animator import AnimationSettings, Animator, ModelSettings, Rendered, animated_frames
from fomm.animator.face import FaceAnimator
from fomm.animator.provenance import hash_input, sidecar_path, synthetic_tags, write_sidecar
from fomm.animator.render import render
from fomm.checkpoint import load_model
from fomm.errors import InputError
from fomm.files import all_or_none
from fomm.model.face import FaceModel
from fomm.pretrained.face_alignment import FaceAlignmentLandmarks
from fomm.progress import Progress, silent, watched
from fomm.video import (
    DIGITAL_SOURCE_TYPE,
    MAX_VIDEO_PIXELS,
    Frame,
    LazyFrame,
    VideoReader,
    VideoWriter,
    feed,
    picture_size,
    read_image,
)
from preprocess.faces import FaceFinder, SharedFinder
from preprocess.pairing import Pairing
from preprocess.track import TRACK_SCALE
from studio.tools import CropTools, PortraitTools, Tools

MIN_SIDE_PX = 16
PICTURES = (".png", ".jpg", ".jpeg")
BYTES_PER_PIXEL = 46  # of a photo, while it is animated by model `face` and its face fills it


@dataclass(frozen=True)
class Found:
    """What `look` found on both sides."""

    photo: np.ndarray  # (H, W, 3) uint8 RGB
    frame: np.ndarray  # (h, w, 3), the driving frame that the motion starts from
    pairing: Pairing
    scale: float  # side of the crop in face sizes
    doubts: list[str]


@dataclass(frozen=True)
class Result:
    """What was made of one photo and one driving video."""

    outputs: list[Path]  # the result, and the side-by-side video if there is one; none where frames went to a program
    sidecar: Path | None  # None: there is no file
    rendered: Rendered
    elapsed_s: float
    warnings: list[str]

    def __str__(self) -> str:
        done = self.rendered
        return (
            f"{self.outputs[0] if self.outputs else 'to another program'}: "
            f"{done.frames} frames, {float(done.duration):.2f} s, {done.width}x{done.height}; "
            f"took {self.elapsed_s:.1f} s ({done.frames / self.elapsed_s:.1f} frames/s)"
        )

    @property
    def files(self) -> list[Path]:
        """All that was written."""
        return [*self.outputs, self.sidecar] if self.sidecar else self.outputs


def animate_files(
    source: str | Path,
    driving: str | Path,
    output: str | Path,
    settings: AnimationSettings,
    tools: Tools,
    *,
    progress: Progress = silent,
    warn: Callable[[str], None] = lambda sentence: None,
) -> Result:
    """From a photo and a driving video to a finished file with its sidecar. Memory does not grow with the video.

    Args:
        source, driving, output: files (driving: or a folder of frames; output: or what `VideoWriter` hands frames to).
        settings: how.
        tools: from `load_tools`.
        progress: is called for every frame of every stage: "find faces", "find best frame", "animate". What it raises
            stops the work and leaves nothing behind.
        warn: is called with each warning as it arises; they are also in the result.

    Raises:
        InputError: anything wrong with the files, one line that says what to do.
        BrokenPipeError: the program that read the frames has gone.
    """
    begun, settings = time.monotonic(), settings.decided(tools.scale)
    source, driving, output = Path(source), Path(driving), Path(output)
    warnings: list[str] = []

    def tell(sentences: list[str]) -> None:
        for sentence in sentences:
            if sentence not in warnings:
                warnings.append(sentence)
                warn(sentence)

    photo, large, reader = open_both(source, driving, settings, video=is_video(output))
    outputs = outputs_of(output, settings, source, driving)

    pairing = tools.pair(photo, source, reader, settings, progress)
    tell(reader.notes + large + reader.warnings + pairing.doubts + tools.doubts(source, pairing))
    scene = tools.scene(photo, reader, pairing, settings)
    frames = reader.frames(pairing.start, pairing.stop)
    view = pairing.view
    if pairing.glance is not None and not settings.side_by_side:
        frames, view = glances(reader, pairing, pairing.glance), as_it_is
    animated = animated_frames(scene.animate, frames, view)
    count = reader.frame_count if pairing.stop is None else pairing.stop - pairing.start
    with all_or_none(outputs), closing(animated):  # no result without a sidecar
        rendered = render(
            watched(animated, "animate", count, progress),
            output,
            settings,
            fps=reader.fps,
            time_base=reader.time_base,
            sound=reader if settings.audio else None,
            paste=scene.paste,
            side_by_side=outputs[1] if settings.side_by_side else None,
            shown=lambda frame: (photo, frame.image) if scene.paste else (pairing.source, pairing.view(frame.image)),
        )
        tell(reader.warnings + rendered.warnings + scene.met())
        if rendered.frames == 1 and settings.relative:
            tell([f"{driving}: has one frame; relative motion starts from it, so nothing moves; give --relative false"])
        crops = {"source": pairing.source_crop, "driving": pairing.driving_crop}
        sidecar = write_record(
            outputs,
            settings,
            tools,
            given={"source": source, "driving": driving},
            details={
                "tags": synthetic_tags(pasted=bool(settings.embed)),
                "driving_frames": {"start": pairing.start, "stop": pairing.stop, "initial": pairing.initial_index},
                "crop_matrices": {side: crop and crop.matrix.tolist() for side, crop in crops.items()},
            },
            warnings=warnings,
        )
    return Result(outputs, sidecar, rendered, time.monotonic() - begun, warnings)


def look(
    source: str | Path, driving: str | Path, settings: AnimationSettings, tools: Tools, *, progress: Progress = silent
) -> Found:
    """What `animate_files` would start from: faces, crops and what speaks against them. Nothing is animated yet.

    The best starting frame is sought only if the settings ask for it (`best_frame`). Arguments and errors as for
    `animate_files`.
    """
    source, driving, settings = Path(source), Path(driving), settings.decided(tools.scale)
    photo, large, reader = open_both(source, driving, settings, video=True)
    pairing = tools.pair(photo, source, reader, settings, progress)
    frame = next(reader.frames(pairing.initial_index)).image
    doubts = list(dict.fromkeys(reader.notes + large + pairing.doubts + tools.doubts(source, pairing)))
    return Found(photo, frame, pairing, settings.scale or tools.scale, doubts)


def glances(reader: VideoReader, pairing: Pairing, glance: Callable[[LazyFrame], np.ndarray]) -> Iterator[Frame]:
    """What the model sees of each driving frame that is used, in the place of the frame."""
    for frame in islice(reader.lazy_frames(), pairing.start, pairing.stop):
        yield Frame(glance(frame), frame.time)


def as_it_is(image: np.ndarray) -> np.ndarray:
    return image


def open_both(
    source: Path, driving: Path, settings: AnimationSettings, *, video: bool
) -> tuple[np.ndarray, list[str], VideoReader]:
    """The photo (H, W, 3) with what is to be said of it, and the driving video, each large enough to hold a face."""
    photo, said = read_photo(source, video=video)
    reader = VideoReader(driving, video_stream=settings.video_stream, audio_stream=settings.audio_stream)
    check_size(driving, reader.width, reader.height)
    return photo, said, reader


def write_record(
    outputs: list[Path],
    settings: AnimationSettings,
    tools: Tools,
    *,
    given: Mapping[str, Path | str],
    details: Mapping[str, object],
    warnings: list[str],
) -> Path | None:
    """Sign the results that can carry content credentials, and write the sidecar; where there are none, nothing.

    Args:
        given: option -> what was given: files, which are hashed, or text.
    """
    if not outputs:
        return None
    from fomm.animator.credentials import sign, signed_ones

    checkpoint = tools.checkpoint
    inputs = {option: value for option, value in given.items() if isinstance(value, Path)}
    hashed = {role: {"path": str(path), "sha256": hash_input(path)} for role, path in inputs.items()}
    signed = signed_ones(outputs)
    for path in signed:
        source_type = synthetic_tags(pasted=bool(settings.embed))[DIGITAL_SOURCE_TYPE]
        known = {"name": checkpoint.name, "sha256": checkpoint.sha256}
        sign(path, settings.sign, source_type=source_type, inputs=hashed, checkpoint=known)
    return write_sidecar(
        outputs[0],
        settings={
            **tools.used(settings),
            **{option: str(value) for option, value in given.items()},
            "output": str(outputs[0]),
        },
        inputs=inputs,
        checkpoint={
            "name": checkpoint.name,
            "path": str(checkpoint.path),
            "sha256": checkpoint.sha256,
            "image_size": checkpoint.image_size,
        },
        outputs=outputs,
        details={
            "device": str(tools.animator),
            "content_credentials": [path.name for path in signed],
            **details,
            "warnings": warnings,
        },
    )


def side_by_side_path(output: Path) -> Path:
    """`result.mp4` -> `result_side_by_side.mp4`."""
    return output.parent / f"{output.stem}_side_by_side{output.suffix}"


def is_video(output: Path) -> bool:
    """Whether it is watched as a video, and is not a folder of frames or a picture."""
    return feed(output) is not None or output.suffix.lower() not in ("", *PICTURES)


def read_photo(path: Path, *, video: bool) -> tuple[np.ndarray, list[str]]:
    """A photo (H, W, 3) uint8 RGB, for a video no larger than its frames can be, and what is to be said of its size."""
    width, height = picture_size(path)
    check_size(path, width, height)
    pixels = width * height
    if pixels <= MAX_VIDEO_PIXELS:
        return read_image(path), []
    has = f"{path}: has {pixels / 1e6:.0f} million pixels"
    if not video:
        return read_image(path), [
            f"{has}, which take up to {BYTES_PER_PIXEL * pixels / 1e9:.1f} GB of memory; a smaller copy gives the "
            "same motion sooner"
        ]
    photo = read_image(path, max_pixels=MAX_VIDEO_PIXELS)
    return photo, [
        f"{has}, more than players of video take, so {photo.shape[1]}x{photo.shape[0]} are made of it; frames "
        "(--output NAME without suffix) keep its size"
    ]


def check_size(path: Path, width: int, height: int) -> None:
    if min(width, height) < MIN_SIDE_PX:
        raise InputError(f"{path}: is {width}x{height} pixels, each side needs {MIN_SIDE_PX} or more; use a larger one")


def outputs_of(output: Path, settings: AnimationSettings, *inputs: Path) -> list[Path]:
    """The files that are to be written; none where the frames go to another program.

    Raises:
        InputError: what would keep them from being written or signed, found out now and not after the work.
    """
    from fomm.animator.credentials import check_signing, signed_ones

    outputs = [output, side_by_side_path(output)] if settings.side_by_side else [output]
    if feed(output):
        if settings.side_by_side or settings.sign:
            raise InputError(
                f"--output {output}: frames for another program have no file beside them and cannot be signed; leave "
                "out --side_by_side and --sign"
            )
        VideoWriter(output)
        return []
    folder = output.absolute().parent
    try:
        for path in (*outputs, sidecar_path(output)):
            if path.exists() and any(path.samefile(original) for original in inputs):
                raise InputError(f"{path}: is an input too and would be overwritten; choose another --output")
        for path in outputs:
            VideoWriter(path)  # refuses names that it cannot write
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be made ({error.strerror}); choose another --output") from error
    if not os.access(folder, os.W_OK):
        raise InputError(f"{folder}: no permission to write here; choose another --output")
    if signed_ones(outputs):
        check_signing(settings.sign)
    return outputs


def load_tools(
    chosen: ModelSettings,
    settings: AnimationSettings,
    stack: ExitStack,
    warn: Callable[[str], None],
    *,
    meshes: SharedFinder | None = None,
) -> Tools:
    """Load the model and whatever finds faces; `stack` closes it.

    Args:
        meshes: sees the driving faces for model `face`; the caller, who has one, sets the tools' finder as well.

    Raises:
        InputError: the checkpoint or the device is not there or not right.
    """
    settings = settings.decided(TRACK_SCALE)
    model, info = load_model(chosen.checkpoint)
    for note in info.notes:
        warn(f"{chosen.checkpoint}: {note}")
    if info.name == "puppets":
        warn("puppets: this small model knows drawn puppets only; for photos of people leave out --checkpoint puppets")
    if settings.crop and info.category not in ("face", "unknown"):
        warn(f"{chosen.checkpoint}: it animates a {info.category}, but --crop looks for faces; give --crop false")
    if isinstance(model, FaceModel):
        finder = None
        if meshes is None:
            finder, meshes = stack.enter_context(FaceFinder()), stack.enter_context(SharedFinder())
        return PortraitTools(FaceAnimator(model, lambda: meshes, device=chosen.device), info, finder, None, chosen)
    animator = Animator(model, device=chosen.device, precision=chosen.precision, batch_size=chosen.batch_size)
    finder = landmarks = None
    if settings.crop or (settings.best_frame and settings.best_frame_by == "mediapipe"):
        finder = stack.enter_context(FaceFinder())
        landmarks = finder.landmarks
    if settings.best_frame and settings.best_frame_by == "face_alignment":
        landmarks = FaceAlignmentLandmarks(animator.device)
    return CropTools(animator, info, finder, landmarks, chosen)
