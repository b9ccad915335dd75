"""Record a driving video with a camera: a countdown with hints, then so many seconds."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from fomm.progress import Progress, silent, watched
from fomm.video import Frame, VideoWriter, prefetch
from fomm.video.camera import CLOCK, Camera, camera_frames
from preprocess.faces import FaceFinder
from preprocess.pairing import start_hint

COUNTDOWN = 3  # s before a recording


def record(
    camera: Camera, path: Path, seconds: float, say: Callable[[str], None], *, progress: Progress = silent
) -> None:
    """Record a driving video with a camera: a countdown with hints, then so many seconds.

    Args:
        path: the recording, .mp4.
        say: is called with the countdown and the hints, one line each.

    Raises:
        InputError: the camera stopped.
    """
    with FaceFinder() as finder:
        count_down(camera, finder, say)
        say(f"recording {seconds:g} s: move and talk now")
        ahead = prefetch(camera_frames(camera, seconds), depth=64)  # frames must not wait for the encoder
        with VideoWriter(path, time_base=CLOCK) as writer, closing(ahead):
            for number, frame in enumerate(watched(ahead, "record", None, progress)):
                if number == 0:
                    hint = start_hint(finder.find(frame.image, thorough=False), frame.image.shape)
                writer.write(frame.image, frame.time)
    if hint:
        say(f"the recording may start badly ({hint}); if the result looks wrong, record again")
    say(f"recorded {path}: {number + 1} frames; to use it again: --driving {path}")


def count_down(camera: Camera, finder: FaceFinder, say: Callable[[str], None]) -> Frame:
    """Some seconds with hints on how to start well, in which the camera finds its exposure; the last picture seen."""
    say("look straight into the camera, head upright, mouth shut: that pose is taken for the photo's")
    for left in range(COUNTDOWN, 0, -1):
        *_, frame = camera_frames(camera, 1.0)
        hint = start_hint(finder.find(frame.image, thorough=False), frame.image.shape)
        say(f"{left} ... {hint or 'good'}")
    return frame
