"""What there is to see of an evaluation: the best, median and worst clip of each protocol, as small videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from fomm.animator.provenance import synthetic_tags
from fomm.evaluation.animated_task import AnimatedTask
from fomm.evaluation.definitions import MetricInfo
from fomm.evaluation.tasks import Contender, Task
from fomm.pixels import to_pictures
from fomm.report.schema import Protocol
from fomm.video import VideoWriter

SHOWN_FRAMES, SHOWN_SIDE_PX = 250, 160
SHOWN_BY = ("l1", "head_pose", "jitter")  # the first of these that a protocol has chooses what is shown of it


def choose_shown(protocol: Protocol, model: str, infos: Mapping[str, MetricInfo]) -> list[tuple[str, str, str]]:
    """(kind, clip, metric): the best, median and worst clip of a model, by the first metric of `SHOWN_BY` there is."""
    for metric in SHOWN_BY:
        means = [(mean, clip.clip) for clip in protocol.clips if (mean := clip.mean(metric, model)) is not None]
        if means:
            names = [name for _, name in sorted(means, reverse=infos[metric].better == "higher")]
            kinds = {"best": names[0], "worst": names[-1], "median": names[len(names) // 2]}
            shown = {name: kind for kind, name in reversed(kinds.items())}  # of few clips: best, then worst
            return sorted((kind, name, metric) for name, kind in shown.items())  # best, median, worst: by the alphabet
    return []


def write_shown(task: Task, folder: Path, contenders: Sequence[Contender], size: int, output: Path) -> list[str]:
    """Animate a task once more into a small video: source, driving, truth, each model, the first model's error.

    Returns what the columns show; raises InputError as `AnimatedTask`, or where the video cannot be written.
    """
    animated = AnimatedTask(task, folder, contenders, size)
    names = [contender.name for contender in contenders]
    own_truth = task.truth != task.driving
    columns = ["source", "driving", *(["truth"] if task.truth and own_truth else []), *names]
    columns += ["error"] if task.truth is not None else []
    side = min(size, SHOWN_SIDE_PX)
    with VideoWriter(output, fps=task.driving.fps, metadata=synthetic_tags(pasted=False)) as writer:
        for shot in animated:
            shown = {name: to_pictures(prediction) for name, prediction in shot.predictions.items()}
            nothing = np.zeros((size, size, 3), np.uint8)
            for t, driving in enumerate(shot.driving):
                pictures = [animated.source, driving]
                if shot.truth is not None and own_truth:
                    pictures.append(shot.truth[t])
                pictures += [shown[name][t] if name in shown else nothing for name in names]
                if shot.truth is not None:
                    pictures.append(error_map(shown[names[0]][t], shot.truth[t]) if names[0] in shown else nothing)
                tiles = [cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA) for picture in pictures]
                writer.write(np.concatenate(tiles, axis=1))
            if shot.start + len(shot.driving) >= SHOWN_FRAMES:
                break
    return columns


def error_map(picture: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 twice -> where they differ, (H, W, 3) uint8: dark for equal, bright for a quarter and more."""
    error = np.abs(picture.astype(np.int16) - truth).mean(-1)
    grey = np.minimum(4 * error, 255).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(grey, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
