"""A clip: what it shows, how it is written, and what it must be like.

A clip has equal bytes on every machine: one encoding thread, exact times. It appears under its name only when it is
whole and has passed all filters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np

from fomm.errors import InputError, require
from fomm.manifest import Clip, hash_clip
from fomm.video import LazyFrame, VideoReader, VideoWriter
from preprocess.crop import transform
from preprocess.faces import FaceFinder
from preprocess.track import EVERY, Track

CLIPS = "clips"  # folder of a data set
KEYFRAME_EVERY = 8  # training reads single frames: decoding starts at a key frame
MEASURED_AT = 256  # blur is measured in crops of this size, whatever the size that is written
_JUMP_S = 10  # a gap between clips that is worth jumping over
_VERIFIED = 5  # frames of a clip with a given box in which a face is looked for
_LEAST_FACE = 0.25  # of such a clip's side

Reason = Literal[
    "unreadable", "damaged", "no_face", "too_short", "too_small", "too_blurred", "too_dark", "low_confidence",
    "leaves_frame", "ends_early", "crashed", "error", "missing", "duplicate", "other_partition",
]  # fmt: skip


@dataclass(frozen=True)
class Rules:
    """Which clips are made, and how.

    Args:
        detector: face finds faces, and where boxes are given looks whether there is a face in them; none takes given
            boxes as they are, or else whole frames: for categories that are not faces.
        size: side of the clips in pixels.
        shape: square cuts a square around the box (of whole frames: the central one); stretch squeezes the box.
        scale: side of the square in longer sides of the box: of the union of the face's boxes over the clip. Default:
            1.2, the original's; with detector none 1.
        border: where the square leaves the frame: inside moves it inside (as in animating), clip cuts it at the border
            and stretches it (the original's crop-video.py), drop leaves such clips out (the original's crop_vox.py).
        format: mp4 (H.264 with a key frame every 8 frames, so that training can read single frames) or png (lossless
            folders: for evaluation; ten times as large).
        min_frames: drop shorter clips (default: VoxCeleb's shortest).
        max_frames: cut longer tracks into equal parts of at most this many frames (default: VoxCeleb's longest).
        max_enlargement: drop clips that would have to be enlarged more than this.
        max_blur: drop clips whose median blur is more: 0 is sharp, 0.6 a blur of 1 pixel in a crop of 256, 0.73 of 2.
        min_light: drop clips without any light: median 95th percentile of grey levels, 0 to 255. Not the mean, which
            would drop dark skin.
        min_confidence: drop clips whose mean detector score is less; a looked-at frame without the face counts 0.
    """

    detector: Literal["face", "none"] = "face"
    size: int = 256
    shape: Literal["square", "stretch"] = "square"
    scale: float | None = None
    border: Literal["inside", "clip", "drop"] = "inside"
    format: Literal["mp4", "png"] = "mp4"
    min_frames: int = 64
    max_frames: int = 1024
    max_enlargement: float = 2.0
    max_blur: float = 0.7
    min_light: float = 64.0
    min_confidence: float = 0.7

    @property
    def sides(self) -> float:
        """Side of the square in longer sides of the box."""
        return self.scale if self.scale is not None else 1.2 if self.detector == "face" else 1.0

    def check(self) -> None:
        """Raises InputError for a value out of range."""
        require(16 <= self.size <= 4096 and self.size % 2 == 0, f"--size {self.size}: must be even and from 16 to 4096")
        require(0.5 <= self.sides <= 10, f"--scale {self.scale}: must be from 0.5 to 10 sides of the box")
        require(self.min_frames >= 2, f"--min_frames {self.min_frames}: must be at least 2, for a pair")
        require(
            self.max_frames >= self.min_frames,
            f"--max_frames {self.max_frames}: must be at least --min_frames {self.min_frames}",
        )
        require(self.max_enlargement > 0, f"--max_enlargement {self.max_enlargement}: must be greater than 0")
        require(0 < self.max_blur <= 1, f"--max_blur {self.max_blur}: must be from 0 to 1")
        require(0 <= self.min_light < 255, f"--min_light {self.min_light}: must be from 0 to 255")
        require(0 <= self.min_confidence <= 1, f"--min_confidence {self.min_confidence}: must be from 0 to 1")


@dataclass(frozen=True)
class GivenClip:
    """A clip that a metadata file asks for: frames start <= number < stop at `fps` (None: the video's own rate), a box
    in a frame of `size_wh` (no width: that of the video at this height)."""

    clip_id: str
    start: int
    stop: int
    box_xyxy: tuple[int, int, int, int]
    fps: Fraction | None
    size_wh: tuple[int | None, int]


@dataclass(frozen=True)
class Video:
    """One video to prepare: `path` relative to the folder of videos, `name` for its clips, the clips asked for."""

    path: str
    name: str
    identity: str
    given: tuple[GivenClip, ...] | None = None  # None: find them

    @property
    def key(self) -> str:
        """Names of its clips begin with this."""
        return "#".join(dict.fromkeys((self.identity, self.name)))


class Reject(NamedTuple):
    """What was left out, and why; frames `start` <= index < `stop`, or None for a whole video."""

    video: str
    start: int | None
    stop: int | None
    reason: Reason
    detail: str


@dataclass
class Outcome:
    """What became of a video. The clips' split is not known yet: it is the identity's."""

    clips: list[Clip] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    seconds: float = 0.0  # length of the video


class OutputFault(InputError):
    """A clip cannot be written: the fault of the place, not of the video."""


@dataclass(frozen=True)
class Cut:
    """A clip to cut: frames of `since` <= time < `until`, numbered from `start`, through a crop."""

    clip_id: str
    start: int
    stop: int
    since: Fraction
    until: Fraction
    view: View
    rule: str
    track: Track | None = None


class View(NamedTuple):
    """What a clip shows: a box of whole pixels, squeezed to size x size. Outside the frame its border is repeated."""

    box_xyxy: tuple[int, int, int, int]
    frame_wh: tuple[int, int]
    size: int

    @property
    def inside_xyxy(self) -> tuple[int, int, int, int]:
        """The part of the box that lies in the frame."""
        left, top, right, bottom = self.box_xyxy
        return max(0, left), max(0, top), min(self.frame_wh[0], right), min(self.frame_wh[1], bottom)

    @property
    def outside_share(self) -> float:
        """Share (0..1) of the box that lies outside of the frame."""
        left, top, right, bottom = self.inside_xyxy
        whole = (self.box_xyxy[2] - self.box_xyxy[0]) * (self.box_xyxy[3] - self.box_xyxy[1])
        return 1 - max(0, right - left) * max(0, bottom - top) / whole

    @property
    def enlargement(self) -> float:
        """How many times larger the clip is than the longer side of its box."""
        left, top, right, bottom = self.box_xyxy
        return self.size / max(right - left, bottom - top)

    @property
    def matrix(self) -> np.ndarray:
        """(2, 3) from the frame's to the clip's pixels."""
        left, top, right, bottom = self.box_xyxy
        fx, fy = self.size / (right - left), self.size / (bottom - top)
        return np.array([[fx, 0, fx * (0.5 - left) - 0.5], [0, fy, fy * (0.5 - top) - 0.5]])

    def of(self, frame: LazyFrame) -> np.ndarray:
        """(size, size, 3) uint8 RGB."""
        picture, inside = frame.region(self.inside_xyxy), self.inside_xyxy
        if inside != self.box_xyxy:
            left, top, right, bottom = (abs(a - b) for a, b in zip(inside, self.box_xyxy, strict=True))
            picture = cv2.copyMakeBorder(picture, top, bottom, left, right, cv2.BORDER_REPLICATE)
        mode = cv2.INTER_AREA if self.enlargement < 1 else cv2.INTER_CUBIC
        return cv2.resize(picture, (self.size, self.size), interpolation=mode)


def write_clips(writings: Sequence[ClipWriter], reader: VideoReader) -> None:
    """Cut all clips of a video in one reading, jumping over longer gaps."""
    waiting = sorted(writings, key=lambda writing: (writing.cut.since, writing.cut.clip_id))
    while waiting:
        position = waiting[0].cut.since
        active: list[ClipWriter] = []
        try:
            for frame in reader.lazy_frames(since=position):
                while waiting and waiting[0].cut.since <= frame.time:
                    active.append(waiting.pop(0))
                for writing in [writing for writing in active if writing.cut.until <= frame.time]:
                    active.remove(writing)
                    writing.finish()
                if active:
                    for writing in active:
                        writing.add(frame)
                elif frame.time >= position and (not waiting or waiting[0].cut.since > frame.time + _JUMP_S):
                    break
            else:
                for writing in active:
                    writing.finish()
                for writing in waiting:
                    writing.ends_early()
                active, waiting = [], []
        finally:
            for writing in active:
                writing.abandon()


@dataclass
class ClipWriter:
    """A clip that is being written, and what is measured of it on the way."""

    cut: Cut
    output: Path  # the data set's folder
    rules: Rules
    verifier: FaceFinder | None  # looks for the face in a box that was given; None: it was found, or none is wanted
    video: Video
    outcome: Outcome  # gets the clip, or why there is none
    on_clip: Callable[[Clip], None]  # is called with the finished clip

    def __post_init__(self) -> None:
        self._name = f"{CLIPS}/{self.cut.clip_id}" + (".mp4" if self.rules.format == "mp4" else "")
        self._path = self.output / self._name
        self._expected = self.cut.stop - self.cut.start
        self._verify_every = max(1, self._expected // _VERIFIED)
        self._writer: VideoWriter | None = None
        self._count = self._spoilt = 0
        self._first = self._last = Fraction(0)
        self._blur: list[float] = []
        self._light: list[float] = []
        self._scores: list[float] = []

    def add(self, frame: LazyFrame) -> None:
        """Write the next frame; raises OutputFault where it cannot be written."""
        crop, time = self.cut.view.of(frame), frame.time
        if self._writer is None:
            self._first = time
            with _output_faults(self._path):
                self._writer = VideoWriter(self._path, keyframe_every=KEYFRAME_EVERY, threads=1)
                self._writer.__enter__()
        if self._count % EVERY == 0:
            self._measure(crop)
        with _output_faults(self._path):
            self._writer.write(crop, time - self._first)
        self._count, self._last = self._count + 1, time
        self._spoilt += frame.spoilt

    def _measure(self, crop: np.ndarray) -> None:
        grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
        self._light.append(float(np.percentile(grey[::4, ::4], 95)))
        factor = MEASURED_AT / self.rules.size
        if factor != 1:
            mode = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
            grey = cv2.resize(grey, (MEASURED_AT, MEASURED_AT), interpolation=mode)
        self._blur.append(blur(self._subject(grey, factor)))
        if self.verifier is not None and self._count % self._verify_every < EVERY:
            faces = self.verifier.find(crop, thorough=False)  # the largest first
            seen = faces and faces[0].side_px >= _LEAST_FACE * self.rules.size
            self._scores.append(faces[0].score if seen else 0.0)

    def _subject(self, grey: np.ndarray, factor: float) -> np.ndarray:
        """The face's part of a picture, or the middle of it."""
        low, high = np.full(2, 0.15 * MEASURED_AT), np.full(2, 0.85 * MEASURED_AT)
        if self.cut.track is not None:
            box = np.reshape(self.cut.track.at(self.cut.start + self._count).box_xyxy_px, (2, 2))
            low, high = factor * transform(self.cut.view.matrix, box)
        left, top = np.clip(low, 0, MEASURED_AT - 16).astype(int)
        right, bottom = np.clip(high, (left + 16, top + 16), MEASURED_AT).astype(int)
        return grey[top:bottom, left:right]

    def finish(self) -> None:
        """End the clip; it gets its name only if it passes."""
        rules = self.rules
        try:
            if self._writer is None or self._count < min(rules.min_frames, self._expected):
                self.ends_early()
            elif self._spoilt:
                self._reject("damaged", f"errors in {self._spoilt} of {self._count} frames")
            elif np.median(self._light) < rules.min_light:
                self._reject("too_dark", f"light {np.median(self._light):.0f}, less than {rules.min_light:g}")
            elif np.median(self._blur) > rules.max_blur:
                self._reject("too_blurred", f"blur {np.median(self._blur):.2f}, more than {rules.max_blur:g}")
            elif self._scores and np.mean(self._scores) < rules.min_confidence:
                self._reject(
                    "low_confidence" if any(self._scores) else "no_face",
                    f"{np.mean(self._scores):.2f} in the given box, less than {rules.min_confidence:g}",
                )
            else:
                with _output_faults(self._path):
                    self._writer.__exit__(None, None, None)
                self._writer = None
                self._enter()
        finally:
            self.abandon()

    def ends_early(self) -> None:
        """Reject it: the video has not all of its frames."""
        self._reject("ends_early", f"the video has {self._count} of its {self._expected} frames")

    def abandon(self) -> None:
        """Leave nothing behind of a clip that is not finished."""
        if self._writer is not None:
            error = InterruptedError()
            with suppress(InputError, InterruptedError):
                self._writer.__exit__(type(error), error, None)
            self._writer = None

    def _reject(self, reason: Reason, detail: str) -> None:
        self.outcome.rejects.append(Reject(self.video.path, self.cut.start, self.cut.stop, reason, detail))

    def _enter(self) -> None:
        cut, rules = self.cut, self.rules
        seen = float(np.mean(self._scores)) if self._scores else 1.0
        confidence = seen if cut.track is None else cut.track.confidence
        clip = Clip(
            clip_id=cut.clip_id,
            path=self._name,
            identity=self.video.identity,
            split="train",
            frames=self._count,
            fps=frame_rate(self._count, self._last - self._first),
            width=rules.size,
            height=rules.size,
            source_video=self.video.path,
            crop_box="-".join(map(str, cut.view.inside_xyxy)),
            crop_rule=cut.rule,
            confidence=round(confidence, 4),
            sha256=hash_clip(self._path),
        )
        self.outcome.clips.append(clip)
        self.on_clip(clip)


@contextmanager
def _output_faults(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise OutputFault(str(error)) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputFault(f"{path}: cannot be written ({reason}); free some space or choose another place") from error


def frame_rate(frames: int, first_to_last: Fraction) -> Fraction:
    """Average frames per second: the usual rate where it is one but for the rounding of times, else the exact one."""
    if frames < 2 or first_to_last <= 0:
        return Fraction(25)
    rate = (frames - 1) / first_to_last
    for usual in (*map(Fraction, (10, 12, 15, 24, 25, 30, 50, 60)), *(Fraction(k * 1000, 1001) for k in (24, 30, 60))):
        if abs(rate / usual - 1) < 2e-4:
            return usual
    return rate.limit_denominator(1000)


def blur(grey: np.ndarray) -> float:
    """How blurred a grey picture (H, W) is, 0 (sharp) to 1: what a further blur leaves of its neighbours' differences.

    The no-reference measure of Crété-Roffet et al. (2007), with a box of 9 pixels; it does not depend on contrast. Of
    faces in 256 x 256 crops: 0.38 to 0.55 sharp, 0.6 after a Gaussian of 1 pixel, 0.73 of 2, 0.8 of 3.
    """
    picture = grey.astype(np.float32)
    worst = 0.0
    for axis, box in ((1, (9, 1)), (0, (1, 9))):
        change = np.abs(np.diff(picture, axis=axis))
        left = np.abs(np.diff(cv2.blur(picture, box), axis=axis))
        total = float(change.sum())
        worst = max(worst, 1 - float(np.maximum(change - left, 0).sum()) / total if total else 1.0)
    return worst
