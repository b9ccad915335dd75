"""Which files are made of those that are named, and which way leads to each."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from fomm.animator.settings import AnimationSettings
from fomm.errors import InputError
from fomm.model.face import Edit
from fomm.progress import Progress, silent
from fomm.video import VIDEO_SUFFIXES, feed, frame_files
from fomm.video.pictures import local_file
from fomm.video_folder import video_names
from studio.animation import Result, animate_files
from studio.portrait import play_files
from studio.tools import Tools
from studio.video_source import animate_video


def list_pairs(source: str, driver: str | Edit, output: str) -> list[tuple[Path, Path, Path]]:
    """(source, driving, output) of everything that is asked for; a folder on either side makes a batch.

    With an edit, driving is but a name for the results of a batch.

    Raises:
        InputError: a path that is not there, or a batch whose output is no folder.
    """
    edited = isinstance(driver, Edit)
    for name in [source] if edited else [source, str(driver)]:  # said before a checkpoint is downloaded
        if not os.path.isdir(name):
            local_file(name)
    photo, target, driving = Path(source), Path(output), Path("edited" if edited else str(driver))
    photos = frame_files(photo) if photo.is_dir() else [photo]
    videos = sorted(video_names(os.listdir(driving))) if not edited and driving.is_dir() else []
    drivings = [driving / name for name in videos] or [driving]
    if not photo.is_dir() and drivings == [driving]:
        return [(photo, driving, target)]
    if feed(target):
        raise InputError(f"--output {output}: takes the frames of one photo and one video; give no folder")
    if target.suffix:
        raise InputError(f"{output}: with a folder as input the results need a folder too; give a name without suffix")
    kind = ".png" if edited else ".mp4"
    pairs = [(s, d, target / f"{s.stem}_{d.stem}{kind}") for d in drivings for s in photos]
    if len({path for *_, path in pairs}) < len(pairs):  # a.jpg beside a.png
        pairs = [(s, d, target / f"{s.name}_{d.name}{kind}") for s, d, _ in pairs]
    return pairs


def animate(
    source: Path,
    driver: Path | Edit,
    output: Path,
    settings: AnimationSettings,
    tools: Tools,
    *,
    progress: Progress = silent,
    warn: Callable[[str], None] = lambda sentence: None,
) -> Result:
    """From a photo or a video, and a video, a motion file or an edit, to a finished file with its sidecar.

    Arguments and errors as for `studio.animation.animate_files`, `studio.portrait.play_files` and
    `studio.video_source.animate_video`, of which it calls the one that fits.
    """
    if source.suffix.lower() in VIDEO_SUFFIXES:
        return animate_video(source, driver, output, settings, tools, progress=progress, warn=warn)
    if isinstance(driver, Edit) or driver.suffix.lower() == ".json":
        return play_files(source, driver, output, settings, tools, progress=progress, warn=warn)
    return animate_files(source, driver, output, settings, tools, progress=progress, warn=warn)
