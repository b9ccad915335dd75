"""Record a driving video with a camera: a countdown with hints, then so many seconds."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from fomm.progress import Progress, silent, watched
from fomm.video import VideoWriter, prefetch
from fomm.video.camera import CLOCK, Camera, camera_frames, opened_camera
from preprocess.faces import FaceFinder
from preprocess.pairing import start_hint
from studio.animation import Options

COUNTDOWN = 3  # s before a recording


def record_webcam(options: Options, say: Callable[[str], None], *, progress: Progress = silent) -> Path:
    """Record a driving video with the camera that `options` ask for: a countdown with hints, then so many seconds.

    Args:
        say: hears the countdown and the hints, one line each.

    Returns: the recording, beside the output; it stays there, so that other options can be tried on it.

    Raises:
        InputError: no camera, or it stopped.
    """
    output = Path(options.output)
    path = output.parent / f"{output.stem}_driving.mp4"
    with opened_camera(options.camera) as camera:
        record(camera, path, options.seconds, say, progress=progress)
    return path


def record(
    camera: Camera, path: Path, seconds: float, say: Callable[[str], None], *, progress: Progress = silent
) -> None:
    """`record_webcam` with a camera that is open already."""
    with FaceFinder() as finder:
        say("look straight into the camera, head upright, mouth shut: that pose is taken for the photo's")
        for left in range(COUNTDOWN, 0, -1):  # it also gives the camera time to find its exposure
            *_, frame = camera_frames(camera, 1.0)
            hint = start_hint(finder.find(frame.image, thorough=False), frame.image.shape)
            say(f"{left} ... {hint or 'good'}")
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
