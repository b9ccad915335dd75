"""How right the tracks of a drawn scene are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from preprocess.faces import box_iou
from preprocess.synthetic.scenes import SceneTruth
from preprocess.track import Track

_SEEN = 0.5  # a face of which this share shows counts as seen
_MATCH_IOU = 0.3  # a tracked box shows the person whose true box it overlaps most, and at least this much


class Score(NamedTuple):
    """Tracks against truth.

    Attributes:
        purity: share of all tracks' frames that show the person whom their track shows most of the time.
        iou: mean IoU of the tracked boxes in those frames with that person's true ones.
        coverage: share of all (frame, person) with the face seen that are in a track of that person.
        tracks: how many tracks there are.
        frames: how many frames they have together.
    """

    purity: float
    iou: float
    coverage: float
    tracks: int
    frames: int


def score_tracks(tracks: Sequence[Track], truth: SceneTruth) -> Score:
    """How pure, how exact and how complete the tracks of a scene are; NaN where there is nothing to judge."""
    shown: list[tuple[np.ndarray, int, int]] = []  # frames of a track with the right person; who; frames in all
    overlaps: list[float] = []
    for track in tracks:
        numbers = np.arange(track.start, track.stop)
        ious = np.array(
            [[box_iou(box, true) if np.isfinite(true).all() else 0.0 for true in truth.boxes_xyxy_px[number]]
             for number, box in zip(numbers, track.boxes, strict=True)]
        )  # fmt: skip
        who = np.where(ious.max(1) >= _MATCH_IOU, ious.argmax(1), -1)
        main = int(np.bincount(who[who >= 0], minlength=len(truth.identities)).argmax())
        right = who == main
        shown.append((numbers[right], main, len(track)))
        overlaps += ious[right, main].tolist()
    frames = sum(length for *_, length in shown)
    wanted = truth.seen >= _SEEN
    covered = np.zeros_like(wanted)
    for numbers, main, _ in shown:
        covered[numbers, main] = True
    nan = float("nan")
    return Score(
        sum(len(numbers) for numbers, *_ in shown) / frames if frames else nan,
        float(np.mean(overlaps)) if overlaps else nan,
        float((covered & wanted).sum() / wanted.sum()) if wanted.any() else nan,
        len(tracks),
        frames,
    )
