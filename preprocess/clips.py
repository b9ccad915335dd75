"""One video -> its clips: fixed square crops of the faces in it, of given boxes, or of the whole picture.

Faces are found and followed by `find_tracks` and cropped by its rule, both as in inference. Only the looked-at frames
and those of clips are converted to RGB, and parts without a clip are jumped over; memory does not grow with the video.

A clip is made by equal bytes on every machine: one encoding thread, exact times. It appears under its name only when
it is whole and has passed all filters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np

from fomm.errors import InputError
from fomm.manifest import Clip, hash_clip
from fomm.video import LazyFrame, VideoReader, VideoWriter
from preprocess.crop import transform
from preprocess.faces import FaceFinder
from preprocess.track import EVERY, Track, find_shots, find_tracks

CLIPS = "clips"  # folder of a data set
KEYFRAME_EVERY = 8  # training reads single frames: decoding starts at a key frame
OUTSIDE = 0.15  # share of a crop that may lie outside of its frame, where it is larger than the frame
MEASURED_AT = 256  # blur is measured in crops of this size, whatever the size that is written
_JUMP_S = 10  # a gap between clips that is worth jumping over
_VERIFIED = 5  # frames of a clip with a given box in which a face is looked for
_SAME_RATE = 0.002  # frame rates that differ by less are one rate: 29.97 and 30000/1001

Reason = Literal[
    "unreadable", "damaged", "no_face", "too_short", "too_small", "too_blurred", "too_dark", "low_confidence",
    "leaves_frame", "ends_early", "crashed", "error", "missing", "duplicate", "other_partition",
]  # fmt: skip


@dataclass(frozen=True)
class Rules:
    """Which clips are made, and how; see `preprocess.dataset.write_dataset`, which has the defaults."""

    detector: Literal["face", "none"]
    size: int
    scale: float
    shape: Literal["square", "stretch"]
    border: Literal["inside", "clip", "drop"]
    format: Literal["mp4", "png"]
    min_frames: int
    max_frames: int
    max_enlargement: float
    max_blur: float
    min_light: float
    min_confidence: float


@dataclass(frozen=True)
class GivenClip:
    """A clip that a metadata file asks for: frames start <= number < stop at `fps`, a box in a `size_wh` frame."""

    clip_id: str
    start: int
    stop: int
    box_xyxy: tuple[int, int, int, int]
    fps: Fraction
    size_wh: tuple[int, int]


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


def prepare_video(video: Video, videos: Path, output: Path, rules: Rules, finder: FaceFinder | None) -> Outcome:
    """Write all clips of a video that pass the filters into `output`/clips.

    Clips that are there already are kept: a clip under its final name is whole.

    Args:
        finder: looks for faces; None where `rules.detector` is none.

    Raises:
        InputError: the video cannot be read.
        OutputFault: a clip cannot be written.
    """
    reader = VideoReader(videos / video.path, threads=1)
    outcome = Outcome()
    if video.given is not None:
        cuts = list(_given_cuts(video, reader, rules, outcome))
    else:
        cuts, stamps = _found_cuts(video, reader, rules, finder, outcome)
        outcome.seconds = float(stamps[-1] - stamps[0]) + 1 / float(reader.fps or 25)
    _write_cuts(cuts, reader, output, rules, finder if video.given is not None else None, video, outcome)
    if reader.warnings and video.given is not None:
        outcome.rejects.append(Reject(video.path, None, None, "damaged", _sentence(reader.warnings[0], reader.path)))
    if not outcome.seconds:
        outcome.seconds = float(sum(clip.frames / clip.fps for clip in outcome.clips))
    return outcome


# ------------------------------------------------------------------------------------------------------- what to cut


@dataclass(frozen=True)
class _Cut:
    """A clip to cut: frames of `since` <= time < `until`, numbered from `start`, through a crop."""

    clip_id: str
    start: int
    stop: int
    since: Fraction
    until: Fraction
    view: _View
    box: str  # left-top-right-bottom as the manifest has it
    rule: str
    track: Track | None = None


class _View(NamedTuple):
    """What a clip shows: a box of whole pixels, squeezed to size x size. Outside the frame its border is repeated."""

    box_xyxy: tuple[int, int, int, int]
    frame_wh: tuple[int, int]
    size: int

    @property
    def inside_xyxy(self) -> tuple[int, int, int, int]:
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


def _found_cuts(
    video: Video, reader: VideoReader, rules: Rules, finder: FaceFinder | None, outcome: Outcome
) -> tuple[list[_Cut], list[Fraction]]:
    """The clips that the tracks of a video (or the shots, without a detector) make, and the times of all frames."""
    stamps: list[Fraction] = []

    def stamped() -> Iterator[LazyFrame]:
        for frame in reader.lazy_frames():
            stamps.append(frame.time)
            yield frame

    if finder is None:
        whole = (0, 0, reader.width, reader.height)
        found = [(start, stop, whole, None) for start, stop in find_shots(stamped())]
    else:
        tracks = sorted(find_tracks(stamped(), finder), key=lambda track: (track.start, track.union_box_xyxy_px))
        found = [(track.start, track.stop, None, track) for track in tracks]
        if not tracks:
            looks = -(-len(stamps) // EVERY)
            outcome.rejects.append(Reject(video.path, None, None, "no_face", f"none in {looks} looked-at frames"))
    if reader.warnings:  # the second reading may stop before it meets the damage again
        outcome.rejects.append(Reject(video.path, None, None, "damaged", _sentence(reader.warnings[0], reader.path)))
    stamps_end = [*stamps, stamps[-1] + 1] if stamps else []
    cuts, used = [], set()
    for start, stop, box, track in found:
        for first, last in _pieces(start, stop, rules.max_frames):
            piece = track.part(first, last) if track else None
            name = f"{video.key}#{first:06d}#{last:06d}"
            number = next(n for n in range(1, len(found) + 2) if (name, n) not in used)
            used.add((name, number))
            name += f"#{number}" if number > 1 else ""
            try:
                if last - first < rules.min_frames:
                    raise _LeaveOut("too_short", f"{last - first} frames, fewer than {rules.min_frames}")
                if piece and piece.confidence < rules.min_confidence:
                    raise _LeaveOut("low_confidence", f"{piece.confidence:.2f}, less than {rules.min_confidence:g}")
                bounds = (first, last, stamps_end[first], stamps_end[last])
                if piece:  # from centres of pixels to their edges
                    box = tuple(edge + 0.5 for edge in piece.union_box_xyxy_px)
                cuts.append(_cut(name, bounds, box, reader, rules, piece))
            except _LeaveOut as why:
                outcome.rejects.append(Reject(video.path, first, last, why.reason, why.detail))
    return cuts, stamps


def _given_cuts(video: Video, reader: VideoReader, rules: Rules, outcome: Outcome) -> Iterator[_Cut]:
    """The clips that metadata ask for, rescaled to the frame rate and the size that the file really has."""
    for given in video.given or ():
        real = reader.fps
        rate = real if real and abs(given.fps / real - 1) < _SAME_RATE else given.fps
        early = Fraction(1, 1000)  # of a frame: the file's clock may be coarse
        since, until = (given.start - early) / rate, (given.stop - early) / rate
        fx, fy = reader.width / given.size_wh[0], reader.height / given.size_wh[1]
        box = tuple(value * factor for value, factor in zip(given.box_xyxy, (fx, fy, fx, fy), strict=True))
        frames = round((given.stop - given.start) * float((real or given.fps) / rate))
        try:
            if frames < rules.min_frames:
                raise _LeaveOut("too_short", f"{frames} frames, fewer than {rules.min_frames}")
            yield _cut(given.clip_id, (given.start, given.stop, since, until), box, reader, rules, None)
        except _LeaveOut as why:
            outcome.rejects.append(Reject(video.path, given.start, given.stop, why.reason, why.detail))


def _cut(
    clip_id: str,
    bounds: tuple[int, int, Fraction, Fraction],
    box_xyxy: Sequence[float],
    reader: VideoReader,
    rules: Rules,
    track: Track | None,
) -> _Cut:
    """The crop around a box (left, top, right, bottom: edges, not centres, of pixels), as the rules have it.

    `Track.crop` of the box, its corners rounded to whole pixels: so the manifest's box is exact.

    Raises:
        _LeaveOut: the rules forbid it.
    """
    frame_wh = (reader.width, reader.height)
    left, top, right, bottom = box_xyxy
    whole = (left, top, right, bottom) == (0, 0, *frame_wh)
    if rules.shape == "stretch":
        rule = "whole frame, stretched" if whole else "box, stretched to a square"
        box = tuple(round(edge) for edge in box_xyxy)
    else:
        rule = "central square of the frame" if whole else f"square of {rules.scale:g} x the longer side of the box"
        side = min(frame_wh) if whole else max(2, round(rules.scale * max(right - left, bottom - top)))
        x, y = (round((low + high - side) / 2) for low, high in ((left, right), (top, bottom)))
        if rules.border == "inside" or whole:
            x, y = (
                min(max(corner, 0), length - side) if side <= length else (length - side) // 2
                for corner, length in zip((x, y), frame_wh, strict=True)
            )
            rule += "" if whole else ", moved inside the frame"
        elif rules.border == "clip":
            rule += ", clipped at the border and stretched"
        else:
            rule += ", dropped where it leaves the frame"
        box = (x, y, x + side, y + side)
    view = _View(box, frame_wh, rules.size)
    inside = view.inside_xyxy
    if rules.shape == "stretch" or rules.border == "clip":
        view = view._replace(box_xyxy=inside)
    if min(inside[2] - inside[0], inside[3] - inside[1]) < 2:
        raise _LeaveOut("leaves_frame", "the box lies outside of the frame")
    if view.outside_share > (0 if rules.border == "drop" else OUTSIDE):
        raise _LeaveOut("leaves_frame", f"{100 * view.outside_share:.0f} % of the square lie outside of the frame")
    if view.enlargement > rules.max_enlargement:
        longer = rules.size / view.enlargement
        raise _LeaveOut("too_small", f"{longer:.0f} px would be enlarged {view.enlargement:.1f} times to {rules.size}")
    if inside != view.box_xyxy:
        rule += f", border repeated to fill {side} px"
    return _Cut(clip_id, *bounds, view, "-".join(map(str, inside)), rule, track)


def _pieces(start: int, stop: int, longest: int) -> list[tuple[int, int]]:
    """Equal parts of at most `longest` frames."""
    count = -(-(stop - start) // longest)
    bounds = [start + (stop - start) * k // count for k in range(count + 1)]
    return list(zip(bounds, bounds[1:], strict=False))


class _LeaveOut(Exception):
    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


# ----------------------------------------------------------------------------------------------------------- writing


def _write_cuts(
    cuts: Sequence[_Cut],
    reader: VideoReader,
    output: Path,
    rules: Rules,
    verifier: FaceFinder | None,
    video: Video,
    outcome: Outcome,
) -> None:
    """Cut all clips of a video in one reading, jumping over longer gaps."""
    waiting = []
    for cut in sorted(cuts, key=lambda cut: (cut.since, cut.clip_id)):
        writing = _Writing(cut, output, rules, verifier, video, outcome)
        if not writing.kept():
            waiting.append(writing)
    while waiting:
        position = waiting[0].cut.since
        active: list[_Writing] = []
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
                elif not waiting or waiting[0].cut.since > frame.time + _JUMP_S:
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


class _Writing:
    """A clip that is being written, and what is measured of it on the way."""

    def __init__(
        self, cut: _Cut, output: Path, rules: Rules, verifier: FaceFinder | None, video: Video, outcome: Outcome
    ) -> None:
        self.cut, self._rules, self._video, self._outcome = cut, rules, video, outcome
        self._output = output
        self._path = f"{CLIPS}/{cut.clip_id}" + (".mp4" if rules.format == "mp4" else "")
        self._verifier = verifier
        self._expected = cut.stop - cut.start
        self._verify_every = max(1, self._expected // _VERIFIED)
        self._writer: VideoWriter | None = None
        self._count = 0
        self._first = self._last = Fraction(0)
        self._blur: list[float] = []
        self._light: list[float] = []
        self._scores: list[float] = []

    def kept(self) -> bool:
        """Whether an earlier run wrote this clip; then it is taken as it is."""
        path = self._output / self._path
        if self.cut.track is None or not path.exists():  # of a given clip's confidence nothing would be known
            return False
        times = [frame.time for frame in VideoReader(path, threads=1).lazy_frames()]
        self._count, self._first, self._last = len(times), times[0], times[-1]
        self._enter()
        return True

    def add(self, frame: LazyFrame) -> None:
        crop, time = self.cut.view.of(frame), frame.time
        if self._writer is None:
            self._first = time
            clock = Fraction(1, 90_000)
            self._writer = VideoWriter(
                self._output / self._path, time_base=clock, keyframe_every=KEYFRAME_EVERY, threads=1
            )
            self._into(self._writer.__enter__)
        if self._count % EVERY == 0:
            self._measure(crop)
        self._into(self._writer.write, crop, time - self._first)
        self._count, self._last = self._count + 1, time

    def _measure(self, crop: np.ndarray) -> None:
        grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
        self._light.append(float(np.percentile(grey[::4, ::4], 95)))
        factor = MEASURED_AT / self._rules.size
        if factor != 1:
            mode = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
            grey = cv2.resize(grey, (MEASURED_AT, MEASURED_AT), interpolation=mode)
        self._blur.append(blur(self._subject(grey, factor)))
        if self._verifier is not None and self._count % self._verify_every < EVERY:
            faces = self._verifier.find(crop, thorough=False)
            self._scores.append(max((face.score for face in faces), default=0.0))

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
        rules = self._rules
        try:
            if self._writer is None or self._count < min(rules.min_frames, self._expected):
                self.ends_early()
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
                self._into(self._writer.__exit__, None, None, None)
                self._writer = None
                self._enter()
        finally:
            self.abandon()

    def ends_early(self) -> None:
        self._reject("ends_early", f"the video has {self._count} of its {self._expected} frames")

    def abandon(self) -> None:
        """Leave nothing behind of a clip that is not finished."""
        if self._writer is not None:
            error = InterruptedError()
            with suppress(InputError, InterruptedError):
                self._writer.__exit__(type(error), error, None)
            self._writer = None

    def _reject(self, reason: Reason, detail: str) -> None:
        self._outcome.rejects.append(Reject(self._video.path, self.cut.start, self.cut.stop, reason, detail))

    def _into(self, call, *arguments) -> None:
        try:
            call(*arguments)
        except InputError as error:
            raise OutputFault(str(error)) from error

    def _enter(self) -> None:
        cut, rules = self.cut, self._rules
        path = self._output / self._path
        if cut.track is not None:
            confidence = cut.track.confidence
        else:
            confidence = float(np.mean(self._scores)) if self._scores else 1.0
        length = self._last - self._first
        self._outcome.clips.append(
            Clip(
                clip_id=cut.clip_id,
                path=self._path,
                identity=self._video.identity,
                split="train",
                frames=self._count,
                fps=frame_rate(self._count, length),
                width=rules.size,
                height=rules.size,
                source_video=self._video.path,
                crop_box=cut.box,
                crop_rule=cut.rule,
                confidence=round(confidence, 4),
                sha256=hash_clip(path),
            )
        )


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


def _sentence(warning: str, path: Path) -> str:
    return warning.removeprefix(f"{path}: ")
