"""From a source and a stream of driving frames to a finished file or another program. Reading, animating and encoding
overlap."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from fomm.animator.provenance import Label, synthetic_tags
from fomm.animator.settings import AnimationSettings
from fomm.video import Frame, VideoReader, VideoWriter, feed, prefetch

MAX_SIDE_BY_SIDE_PX = 512


@dataclass
class Rendered:
    """What was written: number of frames, their size, seconds, and what could not be kept."""

    frames: int = 0
    width: int = 0
    height: int = 0
    duration: Fraction = Fraction(0)
    warnings: list[str] = field(default_factory=list)


def animated_frames(
    animate: Callable[[Iterator[np.ndarray]], Iterable[np.ndarray]],
    frames: Iterable[Frame],
    view: Callable[[np.ndarray], np.ndarray],
) -> Generator[tuple[Frame, np.ndarray]]:
    """Each driving frame with the picture that was made of it; both are made in the background.

    Close it in any case: an interpreter that ends while its threads are still at work is aborted.

    Args:
        animate: an animator's way from driving frames to as many pictures (H, W, 3) uint8, in order.
        frames: of the driving video, read in a thread of their own.
        view: what the model sees of a driving frame.
    """

    def pairs() -> Iterator[tuple[Frame, np.ndarray]]:
        waiting: deque[Frame] = deque()  # as many as the animator takes at once

        def views() -> Iterator[np.ndarray]:
            for frame in ahead:
                waiting.append(frame)
                yield view(frame.image)

        with closing(prefetch(frames)) as ahead:
            for picture in animate(views()):
                yield waiting.popleft(), picture

    return prefetch(pairs())


def render(
    animated: Iterable[tuple[Frame, np.ndarray]],
    output: Path,
    settings: AnimationSettings,
    *,
    fps: Fraction | None,
    time_base: Fraction | None,
    sound: VideoReader | None,
    sound_start: Fraction | None = None,
    paste: Callable[[np.ndarray], np.ndarray] | None,
    side_by_side: Path | None = None,
    shown: Callable[[Frame], tuple[np.ndarray, np.ndarray]] | None = None,
) -> Rendered:
    """Write animated frames with their times, sound and the metadata of synthetic media.

    Args:
        animated: from `animated_frames`.
        output: the result; its name says the kind. What goes to another program has no sound and always the mark.
        settings: of which `label` (draw the visible mark).
        fps, time_base: mean rate, and the clock on which all times fall; None: not known.
        sound: a video whose sound goes along.
        sound_start: when in that video (s) the sound begins. By default at the time of the first frame.
        paste: puts an animated picture into the full photo; None leaves it as it is.
        side_by_side: also write source, driving and result beside each other into this file.
        shown: what that file shows of (source, driving) for a frame.

    Raises:
        InputError: it cannot be written.
        BrokenPipeError: the program that read the frames has gone.
    """
    sent = feed(output) is not None
    mark = Label() if settings.label or sent else None
    open_writer = partial(
        VideoWriter,
        fps=fps,
        time_base=time_base,
        metadata=synthetic_tags(pasted=paste is not None),
        audio_from=sound if sound is not None and sound.has_audio and not sent else None,
        audio_start=sound_start,
    )
    done, first, last = Rendered(), Fraction(0), Fraction(0)
    with ExitStack() as stack:
        writer = stack.enter_context(open_writer(output))
        beside = stack.enter_context(open_writer(side_by_side)) if side_by_side else None
        for frame, picture in animated:
            picture = paste(picture) if paste else picture
            picture = mark(picture) if mark else picture
            writer.write(picture, frame.time)
            if beside and shown:
                beside.write(beside_each_other(*shown(frame), picture), frame.time)
            first, last = (first if done.frames else frame.time), frame.time
            done.frames += 1
            done.height, done.width = picture.shape[:2]
    interval = (last - first) / (done.frames - 1) if done.frames > 1 else 1 / (fps or Fraction(25))
    done.duration, done.warnings = last - first + interval, writer.warnings
    return done


def beside_each_other(*pictures: np.ndarray) -> np.ndarray:
    """Pictures (H, W, 3) from left to right, all as high as the last one (512 pixels at most)."""
    height = min(pictures[-1].shape[0], MAX_SIDE_BY_SIDE_PX)
    widths = [max(1, round(picture.shape[1] * height / picture.shape[0])) for picture in pictures]
    columns = [
        cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        for picture, width in zip(pictures, widths, strict=True)
    ]
    return np.concatenate(columns, axis=1)
