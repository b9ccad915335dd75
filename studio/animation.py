"""From a photo and a driving video to a finished file: `animate_files` is the whole way."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np

from fomm.animator import AnimationSettings, Animator, ModelSettings, Rendered, animated_frames
from fomm.animator.face import FaceAnimator
from fomm.animator.provenance import hash_input, sidecar_path, synthetic_tags, write_sidecar
from fomm.animator.render import render
from fomm.checkpoint import load_model
from fomm.errors import InputError
from fomm.files import all_or_none, require_place
from fomm.model.face import Edit, FaceModel
from fomm.pretrained.face_alignment import FaceAlignmentLandmarks
from fomm.progress import Progress, silent, watched
from fomm.video import (
    DIGITAL_SOURCE_TYPE,
    MAX_VIDEO_PIXELS,
    Frame,
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
    begun, source, driving, output = time.monotonic(), Path(source), Path(driving), Path(output)
    photo, large, reader = open_both(source, driving, settings, video=is_video(output))
    work = Making({"source": source, "driving": driving}, output, settings, tools, progress, warn, begun)
    settings = work.settings

    pairing = tools.pair(photo, source, reader, settings, progress)
    work.tell(reader.notes + large + reader.warnings + pairing.doubts + tools.doubts(source, pairing))
    scene = tools.scene(photo, reader, pairing, settings)
    frames, view = reader.frames(pairing.start, pairing.stop), pairing.view
    glance = pairing.glance
    if glance is not None and not settings.side_by_side:  # what the model sees stands for the frame
        lazy = islice(reader.lazy_frames(), pairing.start, pairing.stop)
        frames, view = (Frame(glance(frame), frame.time) for frame in lazy), np.asarray

    def met(rendered: Rendered) -> list[str]:
        said = reader.warnings + rendered.warnings + scene.met()
        if rendered.frames == 1 and settings.relative:
            said.append(
                f"{driving}: has one frame; relative motion starts from it, so nothing moves; give --relative false"
            )
        return said

    crops = {"source": pairing.source_crop, "driving": pairing.driving_crop}
    return work.finish(
        animated_frames(scene.animate, frames, view),
        reader.frame_count if pairing.stop is None else pairing.stop - pairing.start,
        met,
        {
            "driving_frames": {"start": pairing.start, "stop": pairing.stop, "initial": pairing.initial_index},
            "crop_matrices": {side: crop and crop.matrix.tolist() for side, crop in crops.items()},
        },
        fps=reader.fps,
        time_base=reader.time_base,
        sound=reader,
        paste=scene.paste,
        shown=lambda frame: (photo, frame.image) if scene.paste else (pairing.source, pairing.view(frame.image)),
    )


@dataclass
class Making:
    """A result on its way, whatever it is made of; what would keep it from being written is found out at once.

    Raises: as `outputs_of`.
    """

    given: Mapping[str, Path | Edit]  # what it is made of, by option
    output: Path
    settings: AnimationSettings  # nothing of them is left open
    tools: Tools
    progress: Progress
    warn: Callable[[str], None]  # is called with each warning
    begun: float  # by `time.monotonic`
    warnings: list[str] = field(default_factory=list)  # so far, each once

    def __post_init__(self) -> None:
        self.settings = self.settings.decided(self.tools.scale)
        self.inputs = {option: value for option, value in self.given.items() if isinstance(value, Path)}
        self.outputs = outputs_of(self.output, self.settings, *self.inputs.values())

    def tell(self, sentences: list[str]) -> None:
        """Warn of what was not said before."""
        for sentence in sentences:
            if sentence not in self.warnings:
                self.warnings.append(sentence)
                self.warn(sentence)

    def finish(
        self,
        animated: Generator[tuple[Frame, np.ndarray]],
        count: int | None,
        met: Callable[[Rendered], list[str]],
        details: Mapping[str, object],
        *,
        fps: Fraction | None,
        time_base: Fraction | None,
        sound: VideoReader | None,
        sound_start: Fraction | None = None,
        paste: Callable[[np.ndarray], np.ndarray] | None,
        shown: Callable[[Frame], tuple[np.ndarray, np.ndarray]],
    ) -> Result:
        """Write, sign and describe the result.

        Args:
            animated: each driving frame with the picture that was made of it; closed in any case.
            count: of the frames, as far as it is known.
            met: what is to be told when all are written; raises InputError where the result is none.
            details: more for the sidecar.
            fps, time_base, sound, sound_start, paste, shown: as for `render`.

        Raises:
            InputError: it cannot be written or signed, or is none. Nothing is left behind.
            BrokenPipeError: the program that read the frames has gone.
        """
        outputs, settings = self.outputs, self.settings
        with all_or_none(outputs), closing(animated):  # no result without a sidecar
            rendered = render(
                watched(animated, "animate", count, self.progress),
                self.output,
                settings,
                fps=fps,
                time_base=time_base,
                sound=sound if settings.audio else None,
                sound_start=sound_start,
                paste=paste,
                side_by_side=outputs[1] if settings.side_by_side else None,
                shown=shown,
            )
            self.tell(met(rendered))
            sidecar = self._write_record(details) if outputs else None
        return Result(outputs, sidecar, rendered, time.monotonic() - self.begun, self.warnings)

    def _write_record(self, details: Mapping[str, object]) -> Path:
        """Sign the results that can carry content credentials, and write the sidecar."""
        from fomm.animator.credentials import sign, signed_ones

        checkpoint, tags = self.tools.checkpoint, synthetic_tags(pasted=bool(self.settings.embed))
        known = {"name": checkpoint.name, "sha256": checkpoint.sha256}
        hashed = {role: {"path": str(path), "sha256": hash_input(path)} for role, path in self.inputs.items()}
        signed = signed_ones(self.outputs)
        for path in signed:
            source_type = tags[DIGITAL_SOURCE_TYPE]
            sign(path, self.settings.sign, source_type=source_type, inputs=hashed, checkpoint=known)
        given = {option: str(value) for option, value in self.given.items()}
        where = {"path": str(checkpoint.path), "image_size": checkpoint.image_size}
        return write_sidecar(
            self.outputs[0],
            settings={**self.tools.used(self.settings), **given, "output": str(self.outputs[0])},
            inputs=self.inputs,
            checkpoint=known | where,
            outputs=self.outputs,
            details={
                "device": str(self.tools.animator),
                "content_credentials": [path.name for path in signed],
                "tags": tags,
                **details,
                "warnings": self.warnings,
            },
        )


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


def open_both(
    source: Path, driving: Path, settings: AnimationSettings, *, video: bool
) -> tuple[np.ndarray, list[str], VideoReader]:
    """The photo (H, W, 3) with what is to be said of it, and the driving video, each large enough to hold a face."""
    photo, said = read_photo(source, video=video)
    reader = VideoReader(driving, video_stream=settings.video_stream, audio_stream=settings.audio_stream)
    check_size(driving, reader.width, reader.height)
    return photo, said, reader


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
    """Raises InputError for a picture or video too small to hold a face."""
    if min(width, height) < MIN_SIDE_PX:
        raise InputError(f"{path}: is {width}x{height} pixels, each side needs {MIN_SIDE_PX} or more; use a larger one")


def outputs_of(output: Path, settings: AnimationSettings, *inputs: Path) -> list[Path]:
    """The files that are to be written; none where the frames go to another program.

    Raises:
        InputError: what would keep them from being written or signed, found out now and not after the work.
    """
    from fomm.animator.credentials import check_signing, signed_ones

    outputs = [output]
    if settings.side_by_side:
        outputs.append(output.parent / f"{output.stem}_side_by_side{output.suffix}")
    if feed(output):
        if settings.side_by_side or settings.sign:
            raise InputError(
                f"--output {output}: frames for another program have no file beside them and cannot be signed; leave "
                "out --side_by_side and --sign"
            )
        VideoWriter(output)
        return []
    try:
        for path in (*outputs, sidecar_path(output)):
            if path.exists() and any(path.samefile(original) for original in inputs):
                raise InputError(f"{path}: is an input too and would be overwritten; choose another --output")
        for path in outputs:
            VideoWriter(path)  # refuses names that it cannot write
        require_place(output.parent)
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be made ({error.strerror}); choose another --output") from error
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
