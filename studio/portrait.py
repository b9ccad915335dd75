"""A photo put into motion without a driving video: by an edit, or by a motion file."""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np

from fomm.animator.face import Followed
from fomm.animator.settings import AnimationSettings
from fomm.errors import InputError
from fomm.model.face import Edit, Recording, Sitter, Strength
from fomm.model.face.direct import direct
from fomm.model.face.edit import REST
from fomm.model.face.mesh import REFERENCE
from fomm.model.face.recording import read_motion
from fomm.progress import Progress, silent
from fomm.video import MAX_VIDEO_PIXELS, Frame, prefetch, read_image
from preprocess.crop import Region, shrunk
from preprocess.faces import FaceFinder
from preprocess.portraits import doubts_about_portrait, find_portrait, find_whole_portrait, region_around
from studio.animation import PICTURES, Making, Result, is_video, read_photo
from studio.tools import PortraitTools, Tools

EDIT_FPS = 25
EDIT_PX = 512  # longer side of a portrait while it is edited
EASE_S, STAY_S = 1.0, 0.6  # a video of an edit goes there, stays and goes back


def portrait_tools(tools: Tools, option: str) -> PortraitTools:
    """Raises InputError where the model does not know what a face is made of."""
    if isinstance(tools, PortraitTools):
        return tools
    raise InputError(
        f"{option}: the keypoints of {tools.checkpoint.title} belong to no part of a face, so they cannot be told what "
        "to do; use --checkpoint face"
    )


def role_of(driver: Edit | Path) -> str:
    """The option by which it is given."""
    return "edit" if isinstance(driver, Edit) else "driving"


def recording_of(edit: Edit, output: Path) -> Recording:
    """The edit itself for a picture; for a video there and back, eased."""
    if output.suffix.lower() in PICTURES:
        return Recording.of_edits([edit], EDIT_FPS)
    ease = (1 - np.cos(np.pi * np.linspace(0, 1, round(EASE_S * EDIT_FPS) + 1))) / 2
    shares = [*ease, *[1.0] * round(STAY_S * EDIT_FPS), *ease[::-1]]
    return Recording.of_edits([edit.part(float(share)) for share in shares], EDIT_FPS)


def play_files(
    source: str | Path,
    motion: Edit | Path,
    output: str | Path,
    settings: AnimationSettings,
    tools: Tools,
    *,
    progress: Progress = silent,
    warn: Callable[[str], None] = lambda sentence: None,
) -> Result:
    """From a photo and an edit or a motion file (.json) to a finished file with its sidecar.

    Args:
        output: a picture (.png, .jpg) for an edit; or a video, in which an edit goes there and back in 2.7 seconds.
        settings: of which `crop`, `embed`, `face`, `region`, `strength`, `side_by_side` and `label` matter.
        tools: of a model `face`.
        progress, warn: as for `studio.animation.animate_files`.

    Raises:
        InputError: anything wrong with the files, one line that says what to do.
    """
    begun, source, output = time.monotonic(), Path(source), Path(output)
    tools = portrait_tools(tools, f"--{role_of(motion)}")
    recording = recording_of(motion, output) if isinstance(motion, Edit) else read_motion(motion)
    photo, large = read_photo(source, video=is_video(output))
    work = Making({"source": source, role_of(motion): motion}, output, settings, tools, progress, warn, begun)
    settings = work.settings

    sitter, region, doubts = sit(photo, source, tools.faces, settings, reach_of(recording))
    work.tell(large + doubts)
    followed = Followed()
    pictures = tools.animator.play(sitter, recording.faces, strength=Strength(**settings.strengths), followed=followed)
    frames = (Frame(picture, at) for picture, at in zip(pictures, recording.times, strict=True))
    paste = partial(region.put, photo) if settings.embed else None
    return work.finish(
        prefetch((frame, frame.image) for frame in frames),
        len(recording.faces),
        lambda rendered: [f"{source}: {said}" for said in followed.doubts()] + rendered.warnings,
        {},
        fps=Fraction(recording.fps),
        time_base=recording.clock,
        sound=None,
        paste=paste,
        shown=lambda frame: (photo if paste else sitter.photo,) * 2,
    )


def sit(
    photo: np.ndarray, path: Path, finder: FaceFinder, settings: AnimationSettings, reach: float = 0.0
) -> tuple[Sitter, Region, list[str]]:
    """The face of a photo (H, W, 3) uint8 RGB, the part of it that may move, and what speaks against them.

    Args:
        reach: how far the face will go, in its sides.

    Raises:
        InputError: no such face.
    """
    if settings.crop:
        faces, face, mesh = find_portrait(photo, path, finder, settings.face)
        region = region_around(face, photo.shape, reach)
    else:
        faces, face, mesh = find_whole_portrait(photo, path, finder)
        region = Region.whole(photo)
    person = finder.person_at(photo, face, region)
    doubts = [f"{path}: {doubt}" for doubt in doubts_about_portrait(faces, face, mesh, photo.shape, person)]
    return Sitter(region.of(photo), mesh - [region.left, region.top, 0], person), region, doubts


def reach_of(recording: Recording) -> float:
    """How far a recording's face goes, in its sides."""
    side = float(np.ptp(REFERENCE[:, :2], axis=0).max())
    return max(float(np.abs(face.pose.shift[:2]).max()) for face in recording.faces) / side


class EditedPortrait:
    """A photo whose edits are shown at once, small: `edited(edit)` is (before, after), each (H, W, 3) uint8.

    Args:
        photo: path of the picture.
        tools: of a model `face`.

    Raises:
        InputError: it shows no face.
    """

    def __init__(self, photo: str, tools: Tools) -> None:
        tools = portrait_tools(tools, "the portrait")
        self.photo = photo
        picture = shrunk(read_image(photo, max_pixels=MAX_VIDEO_PIXELS), EDIT_PX)
        sitter, self._region, _ = sit(picture, Path(photo), tools.faces, AnimationSettings())
        self._picture, self._portrait = picture, tools.animator.portrait(sitter)

    def __call__(self, edit: Edit) -> tuple[np.ndarray, np.ndarray]:
        moved = direct(self._portrait.source, edit.face(), REST, Strength())
        return self._picture, self._region.put(self._picture, self._portrait(moved))
