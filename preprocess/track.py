"""Faces over time: boxes every few frames -> one fixed square crop for a whole track.

The crop never follows the face: a crop (or a rotation) that changes from frame to frame makes the animation wobble.
Its square is that of the original's data preparation: the union of the face boxes over the track, side = 1.2 x its
longer side. Where the square leaves the frame it is moved inside (upstream clips and stretches it); where it is larger
than the frame it is centred on that axis and the frame's border is repeated.

One pass over the frames; of each looked-at frame only a few numbers are kept.

A face that is away for long and comes back begins a new track, because nothing is known of it in between. Who can do
without that time takes such tracks together (`joined`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from preprocess.crop import Crop, crop_matrix
from preprocess.faces import Face

TRACK_SCALE = 1.2  # crop side in longer sides of the union box
EVERY = 5  # look for faces in each 5th frame

# How far, in its sides, a face may be from where it is expected: so far in a frame, so much more in each other frame.
_REACH, _REACH_MORE, _REACH_MOST = 0.3, 0.1, 0.75  # quick heads reach 0.56 in 5 frames
# How much it may change its looks (0: equal; two people differ by 0.15 and more), by the same rule.
_CHANGE, _CHANGE_MORE, _CHANGE_MOST = 0.13, 0.0225, 0.22
_PATIENCE = 3  # usual intervals between looks that a track survives without its face (blur, a hand)
_BACK = 1.0  # a face that comes back in the same shot is so near, in its sides, to where it was seen last ...
_BACK_SIZE = 1.5  # ... at most so much larger or smaller ...
_BACK_CHANGE = 0.15  # ... and so little changed: two people differ by more
_LEAVING = 0.1  # a face of which so many of its sides are outside the frame, and which is then lost, has left it
_LOOKS_GRID = 8  # a face's looks are its mean colours in so many rows and columns
_GLANCE = 128  # pixels a side of the small picture that is compared from frame to frame
_STILL = 0.002  # such a change is none
_CLEAR = 0.1  # least peak (0..1) of a phase correlation that is taken for a shift
_JUMP = 0.12  # mean change (0..1) around a face from frame to frame; quick heads reach 0.11
_CUT_THUMB = 0.10  # mean change between thumbnails of consecutive frames (0..1) ...
_CUT_HISTOGRAM = 0.35  # ... and distance of their colour histograms (0..1): a cut exceeds both


class Sample(NamedTuple):
    """A face in one frame of a track, in frame pixels; see `Face`."""

    frame: int  # its number
    box_xyxy_px: tuple[float, float, float, float]
    centre_px: tuple[float, float]
    side_px: float
    roll_deg: float
    yaw_deg: float
    pitch_deg: float
    score: float = 1.0


class FindsFaces(Protocol):
    """A `FaceFinder`, or a `Lookout` of one."""

    def find(self, image: np.ndarray, *, thorough: bool = ...) -> list[Face]: ...


class HasImage(Protocol):
    """A frame of `fomm.video.VideoReader`; of its lazy ones only a fifth is converted."""

    @property
    def image(self) -> np.ndarray: ...


@dataclass(frozen=True)
class Track:
    """One face in frames `start` <= index < `stop` of a video of `width` x `height` pixels.

    `samples` are the looked-at frames in which it was found, `looks` is how many were looked at in that time. `shifts`
    has for each frame how far (x, y in pixels) the picture around the face has moved since the first one; boxes between
    samples follow it. Empty: not known, they are interpolated. `shot` counts the cuts before it. `appearance` (8, 8, 3)
    is how the face looks in the mean, for comparing it with others; None: not known.
    """

    start: int
    stop: int
    width: int
    height: int
    samples: tuple[Sample, ...]
    looks: int
    shifts: tuple[tuple[float, float], ...] = ()
    shot: int = 0
    appearance: np.ndarray | None = field(default=None, compare=False, repr=False)

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def found_share(self) -> float:
        """Share (0..1) of the looked-at frames in which the face was found."""
        return len(self.samples) / self.looks

    @property
    def confidence(self) -> float:
        """Mean detector score (0..1) over the looked-at frames; one without the face counts as 0."""
        return sum(sample.score for sample in self.samples) / self.looks

    @property
    def face_side_px(self) -> float:
        """Median size of the face (longer side of its box)."""
        return float(np.median([sample.side_px for sample in self.samples]))

    @property
    def yaw_range_deg(self) -> tuple[float, float]:
        """Least and greatest yaw, positive = turned to the screen's right."""
        yaws = [sample.yaw_deg for sample in self.samples]
        return min(yaws), max(yaws)

    @property
    def union_box_xyxy_px(self) -> tuple[float, float, float, float]:
        """Box around the boxes of all frames."""
        boxes = self.boxes
        left, top = boxes[:, :2].min(0)
        right, bottom = boxes[:, 2:].max(0)
        return float(left), float(top), float(right), float(bottom)

    def at(self, index: int) -> Sample:
        """The face in frame `index`: between samples it is interpolated, before and after them held, and shifted."""
        indices = [sample.frame for sample in self.samples]
        rows = np.array([[*s.box_xyxy_px, *s.centre_px, *s[3:]] for s in self.samples])
        row = np.array([np.interp(index, indices, column) for column in rows.T])
        row[:6] += np.tile(self._strays(np.array([index]))[0], 3)
        left, top, right, bottom, x, y, *rest = row.tolist()
        return Sample(index, (left, top, right, bottom), (x, y), *rest)

    def part(self, start: int, stop: int) -> Track:
        """The same face in fewer frames, `start` <= index < `stop`; its ends are interpolated."""
        inner = [sample for sample in self.samples if start <= sample.frame < stop]
        ends = [self.at(index) for index in {start, stop - 1} - {sample.frame for sample in inner}]
        samples = tuple(sorted(inner + ends))
        looks = max(len(samples), round(len(samples) / self.found_share))
        shifts = self.shifts[start - self.start : stop - self.start]
        return replace(self, start=start, stop=stop, samples=samples, looks=looks, shifts=shifts)

    def then(self, later: Track) -> Track:
        """The same face in a later track of the same video; in between it stays, and goes evenly to where it is."""
        gap = later.start - self.stop
        shifts: tuple[tuple[float, float], ...] = ()
        if self.shifts and later.shifts:
            x, y = self.shifts[-1]
            shifts = self.shifts + ((x, y),) * gap + tuple((x + right, y + down) for right, down in later.shifts)
        looks = self.looks + round(gap / EVERY) + later.looks
        return replace(self, stop=later.stop, samples=self.samples + later.samples, looks=looks, shifts=shifts)

    @property
    def boxes(self) -> np.ndarray:
        """(stop - start, 4) face box of every frame."""
        indices = [sample.frame for sample in self.samples]
        frames = np.arange(self.start, self.stop)
        columns = np.array([sample.box_xyxy_px for sample in self.samples]).T
        between = np.stack([np.interp(frames, indices, column) for column in columns], axis=1)
        return between + np.tile(self._strays(frames), (1, 2))

    def _strays(self, frames: np.ndarray) -> np.ndarray:
        """(N, 2) how far the face is from where the line from sample to sample has it; 0 at the samples."""
        if not self.shifts:
            return np.zeros((len(frames), 2))
        shifts = np.array(self.shifts)
        at = [sample.frame - self.start for sample in self.samples]
        here = np.clip(frames - self.start, 0, len(shifts) - 1)
        line = np.stack([np.interp(here, at, shifts[at, axis]) for axis in (0, 1)], axis=1)
        return shifts[here] - line

    def crop(self, size: int = 256, *, scale: float = TRACK_SCALE) -> Crop:
        """The one square crop of the whole track: `scale` x the longer side of the union of its boxes."""
        return square_crop(self.union_box_xyxy_px, (self.width, self.height), size, scale=scale)


def square_crop(
    box_xyxy_px: Sequence[float], frame_wh: tuple[int, int], size: int = 256, *, scale: float = TRACK_SCALE
) -> Crop:
    """The square of `scale` x the longer side of a box, moved inside the frame as far as it fits."""
    left, top, right, bottom = box_xyxy_px
    side = scale * max(right - left, bottom - top)
    centre = [
        _moved_inside((low + high) / 2, side, length)
        for low, high, length in ((left, right, frame_wh[0]), (top, bottom, frame_wh[1]))
    ]
    return Crop(crop_matrix(np.array(centre), side, 0.0, size), size)


def _moved_inside(centre: float, side: float, length: int) -> float:
    """Nearest centre at which `side` around it lies in a frame of `length` pixels, or else the frame's middle."""
    if side >= length:
        return (length - 1) / 2
    return float(np.clip(centre, side / 2 - 0.5, length - 0.5 - side / 2))


def find_tracks(frames: Iterable[HasImage | np.ndarray], finder: FindsFaces, *, every: int = EVERY) -> list[Track]:
    """All face tracks of a video, longest first (of equal ones the larger face); an empty list when no face is seen.

    Faces are looked for in each `every`-th frame, in the last one, on both sides of a cut, and wherever the picture
    around a known face changes at once (a jump cut, someone passing by). They are linked to those of the look before
    by place, motion, size and looks. A track ends at a cut, when its face is lost while it leaves the frame or with
    someone else in its place, and when the face is not seen for more than three times `every` frames.

    Args:
        frames: frames or pictures (H, W, 3) uint8 RGB in order, read once.
    """
    tracker = _Tracker(finder, _PATIENCE * every)
    index = -1
    unseen: list[tuple[int, HasImage | np.ndarray]] = []  # frames since the last look, fewer than `every`
    glance_before: _Glance | None = None
    for index, frame in enumerate(frames):
        glance = _Glance.of(frame)
        is_cut = glance_before is not None and glance.is_cut_from(glance_before)
        jumps = is_cut or (glance_before is not None and tracker.follow(glance_before, glance))
        if is_cut:
            tracker.look_to_the_end(unseen)
            tracker.cut(index)
        elif jumps and unseen:
            tracker.look(unseen[-1][0], _image(unseen[-1][1]))
        if index == 0 or jumps or len(unseen) + 1 >= every:
            tracker.look(index, _image(frame))
            unseen = []
        else:
            unseen.append((index, frame))
        glance_before = glance
    tracker.look_to_the_end(unseen)
    tracker.cut(index + 1)
    return _in_order(tracker.done)


def joined(tracks: Sequence[Track]) -> list[Track]:
    """Tracks of which those of one face in one shot are one, which is away in between; in the order of `find_tracks`.

    The same face: seen again near to where it was seen last, as large, and looking alike.
    """
    ones: list[Track] = []
    for track in sorted(tracks, key=lambda track: track.start):
        before = next((number for number, one in enumerate(ones) if _comes_back(one, track)), None)
        if before is None:
            ones.append(track)
        else:
            ones[before] = ones[before].then(track)
    return _in_order(ones)


def _in_order(tracks: Iterable[Track]) -> list[Track]:
    """Longest first, of equal ones the larger face."""
    return sorted(tracks, key=lambda track: (-len(track), -track.face_side_px))


def _comes_back(track: Track, later: Track) -> bool:
    """Whether the face of a track is that of one that begins after it."""
    if track.shot != later.shot or track.stop > later.start or track.appearance is None or later.appearance is None:
        return False
    last, first = track.samples[-1], later.samples[0]
    sides = sorted((last.side_px, first.side_px))
    away = np.subtract(first.centre_px, last.centre_px)
    return bool(
        sides[1] < _BACK_SIZE * sides[0]
        and np.linalg.norm(away) < _BACK * sides[1]
        and np.abs(track.appearance - later.appearance).mean() < _BACK_CHANGE
    )


def find_shots(frames: Iterable[HasImage | np.ndarray]) -> list[tuple[int, int]]:
    """(start, stop) of the runs of frames between cuts, in order; of no frames an empty list."""
    starts, count = [], 0
    before: _Glance | None = None
    for index, frame in enumerate(frames):
        glance = _Glance.of(frame)
        if before is None or glance.is_cut_from(before):
            starts.append(index)
        before, count = glance, index + 1
    return list(zip(starts, [*starts[1:], count], strict=True))


def describe_tracks(tracks: Sequence[Track]) -> str:
    """The tracks as a user chooses them: `1: frames 0 to 215, face 180 px at 240,210; 2: ...`."""
    return "; ".join(
        f"{number}: frames {track.start} to {track.stop - 1}, face {track.face_side_px:.0f} px at "
        + "{:.0f},{:.0f}".format(*track.samples[0].centre_px)
        for number, track in enumerate(tracks, 1)
    )


def matching_crop(
    face: Face, track: Track, size: int = 256, *, index: int | None = None, scale: float = TRACK_SCALE
) -> Crop:
    """Crop of a photo that shows its face as the track's crop shows the driving face in frame `index`.

    Same size of the face and same place in the crop; the photo is derotated by its roll. `index` is the driving
    frame that the photo is paired with (default: the track's first), `scale` that of `Track.crop`.
    """
    driving, crop = track.at(track.start if index is None else index), track.crop(size, scale=scale)
    centre = face.at(*(crop.centre_px - driving.centre_px) / driving.side_px)
    return Crop(crop_matrix(centre, face.side_px / driving.side_px * crop.side_px, face.roll_deg, size), size)


def _image(frame: HasImage | np.ndarray) -> np.ndarray:
    return frame if isinstance(frame, np.ndarray) else frame.image


class _Glance(NamedTuple):
    """What is kept of a frame to compare it with the next one."""

    small: np.ndarray  # (128, 128, 3) uint8
    thumb: np.ndarray  # (16, 16, 3) in [0, 1]
    histogram: np.ndarray  # (8, 8, 8), sums to 1

    @classmethod
    def of(cls, frame: HasImage | np.ndarray) -> _Glance:
        small = _thumbnail(frame)
        histogram = cv2.calcHist([small], [0, 1, 2], None, [8, 8, 8], [0, 256] * 3) / (_GLANCE * _GLANCE)
        thumb = cv2.resize(small, (16, 16), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        return cls(small, thumb, histogram)

    def is_cut_from(self, before: _Glance) -> bool:
        moved = np.abs(self.thumb - before.thumb).mean()
        recoloured = np.abs(self.histogram - before.histogram).sum() / 2
        return bool(moved > _CUT_THUMB and recoloured > _CUT_HISTOGRAM)


def _thumbnail(frame: HasImage | np.ndarray) -> np.ndarray:
    """(128, 128, 3) uint8: the whole frame, squeezed."""
    if hasattr(frame, "thumbnail"):  # a lazy frame gives it without converting all of it
        return frame.thumbnail(_GLANCE)
    image = _image(frame)
    step = max(1, min(image.shape[:2]) // _GLANCE)  # averaging a whole large frame would cost more than decoding it
    return cv2.resize(np.ascontiguousarray(image[::step, ::step]), (_GLANCE, _GLANCE), interpolation=cv2.INTER_AREA)


def _change(before: np.ndarray, after: np.ndarray) -> float:
    """Mean difference (0..1) of two small pictures, apart from fine detail."""
    one, other = (
        cv2.resize(part, (12, 12), interpolation=cv2.INTER_AREA).astype(np.float32) for part in (before, after)
    )
    return float(np.abs(one - other).mean()) / 255


def _shift(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(2,) how far x and y a small picture has moved, in its pixels; 0 where that is not clear."""
    one, other = (cv2.cvtColor(part, cv2.COLOR_RGB2GRAY).astype(np.float32) for part in (before, after))
    shift, peak = cv2.phaseCorrelate(one, other, _window(one.shape))
    if peak < _CLEAR or np.abs(np.divide(shift, one.shape[::-1])).max() > 0.3:
        return np.zeros(2)
    return np.array(shift)


@lru_cache(maxsize=256)
def _window(shape: tuple[int, int]) -> np.ndarray:
    return cv2.createHanningWindow(shape[::-1], cv2.CV_32F)


def _looks(image: np.ndarray, face: Face) -> np.ndarray:
    """(8, 8, 3): colours of the upright face and a little around it; a change of the light's strength is left out."""
    matrix = crop_matrix(face.centre_px, 1.3 * face.side_px, face.roll_deg, 4 * _LOOKS_GRID)
    seen = cv2.warpAffine(image, matrix, (4 * _LOOKS_GRID,) * 2, borderMode=cv2.BORDER_REPLICATE)
    colours = cv2.resize(seen, (_LOOKS_GRID,) * 2, interpolation=cv2.INTER_AREA).astype(np.float32)
    return colours / (colours.mean() + 1e-6)


@dataclass
class _Open:
    """A track that still goes on."""

    samples: list[Sample]
    appearance: np.ndarray  # `_looks` in the last sample
    shifts: list[np.ndarray] = field(default_factory=lambda: [np.zeros(2)])  # see `Track`, so far
    missed: int = 0  # looks since the last sample
    looks: int = 1  # looks from the first sample to the last
    sum_of_looks: np.ndarray = field(init=False)  # `_looks` of all samples

    def __post_init__(self) -> None:
        self.sum_of_looks = self.appearance

    def expected_px(self, index: int) -> np.ndarray:
        """(2,) where the face should be in a frame: half way between staying and moving on as before."""
        last = self.samples[-1]
        if len(self.samples) == 1:
            return np.array(last.centre_px)
        other = self.samples[-2]
        speed = np.subtract(last.centre_px, other.centre_px) / (last.frame - other.frame)
        return last.centre_px + 0.5 * speed * (index - last.frame)

    def cost(self, index: int, face: Face, appearance: np.ndarray) -> float:
        """How unlikely it is that this is its face; infinite where it cannot be."""
        last, later = self.samples[-1], index - self.samples[-1].frame - 1
        if not 0.5 < face.side_px / last.side_px < 2.0:
            return float("inf")
        away = np.linalg.norm(face.centre_px - self.expected_px(index)) / max(face.side_px, last.side_px)
        away /= min(_REACH + _REACH_MORE * later, _REACH_MOST)
        unlike = np.abs(appearance - self.appearance).mean() / min(_CHANGE + _CHANGE_MORE * later, _CHANGE_MOST)
        return float(away + unlike) if max(away, unlike) < 1 else float("inf")


@dataclass
class _Tracker:
    finder: FindsFaces
    patience: int  # frames
    open: list[_Open] = field(default_factory=list)
    done: list[Track] = field(default_factory=list)
    size_wh: tuple[int, int] = (0, 0)
    shot: int = 0

    def follow(self, before: _Glance, now: _Glance) -> bool:
        """Shift the open tracks from a frame to the next; whether something around one of them changes at once."""
        scale = _GLANCE / np.array(self.size_wh)
        jumps = False
        for track in self.open:
            last = track.samples[-1]
            moved = track.shifts[-1] - track.shifts[last.frame - track.samples[0].frame]
            centre, half = (last.centre_px + moved) * scale, 0.65 * last.side_px * scale
            left, top = np.clip(centre - half, 0, _GLANCE - 4).astype(int)
            right, bottom = np.clip(centre + half + 1, (left + 4, top + 4), _GLANCE).astype(int)
            then, there = before.small[top:bottom, left:right], now.small[top:bottom, left:right]
            change = _change(then, there)
            jumps |= change > _JUMP
            still = change < _STILL or change > _JUMP
            track.shifts.append(track.shifts[-1] + (0 if still else _shift(then, there) / scale))
        return jumps

    def look(self, index: int, image: np.ndarray) -> None:
        self.size_wh = (image.shape[1], image.shape[0])
        faces = self.finder.find(image, thorough=False)
        appearances = [_looks(image, face) for face in faces]
        pairs = sorted(
            (cost, t, f)
            for t, track in enumerate(self.open)
            for f, face in enumerate(faces)
            if (cost := track.cost(index, face, appearances[f])) < float("inf")
        )
        linked: dict[int, int] = {}
        for _, t, f in pairs:
            if t not in linked and f not in linked.values():
                linked[t] = f
        still_open = []
        for track in self.open:  # those found in the frame before, because of what happens in this one
            track.shifts += [track.shifts[-1]] * (index - track.samples[0].frame + 1 - len(track.shifts))
        for t, track in enumerate(self.open):
            if t in linked:
                track.samples.append(_sample(index, faces[linked[t]]))
                track.appearance = appearances[linked[t]]
                track.sum_of_looks = track.sum_of_looks + track.appearance
                track.looks += track.missed + 1
                track.missed = 0
            else:
                track.missed += 1
            lost_for = index - track.samples[-1].frame
            if track.missed and (lost_for > self.patience or self._is_gone(track, index, faces)):
                self._close(track, track.samples[-1].frame + 1)
            else:
                still_open.append(track)
        new = [
            _Open([_sample(index, face)], appearances[f]) for f, face in enumerate(faces) if f not in linked.values()
        ]
        self.open = still_open + new

    def look_to_the_end(self, unseen: Sequence[tuple[int, HasImage | np.ndarray]]) -> None:
        """Look at the last of these frames, and where a face is not found any more at each: when was it seen last?"""
        if not unseen:
            return
        before = copy.deepcopy((self.open, self.done))
        last, frame = unseen[-1]
        self.look(last, _image(frame))
        found = {track.samples[0] for track in self.open if track.samples[-1].frame == last}
        if any(not track.missed and track.samples[0] not in found for track in before[0]):
            self.open, self.done = before
            for index, frame in unseen:
                self.look(index, _image(frame))

    def _is_gone(self, track: _Open, index: int, faces: Sequence[Face]) -> bool:
        """Whether a face that is not found was seen only once, left the frame, or has someone else in its place."""
        if len(track.samples) == 1:
            return True
        last, here = track.samples[-1], track.expected_px(index)
        moved = 2 * (here - last.centre_px)  # on and on
        low, high = np.add(last.box_xyxy_px[:2], moved), np.add(last.box_xyxy_px[2:], moved)
        if max(*-low, *(high - self.size_wh)) > _LEAVING * last.side_px:
            return True
        return any(np.linalg.norm(f.centre_px - here) < 0.5 * (f.side_px + last.side_px) for f in faces)

    def cut(self, stop: int) -> None:
        """End all tracks before frame `stop`, those whose face is not seen any more where it was seen last."""
        for track in self.open:
            self._close(track, track.samples[-1].frame + 1 if track.missed else stop)
        self.open = []
        self.shot += 1

    def _close(self, track: _Open, stop: int) -> None:
        samples = tuple(track.samples)
        start = samples[0].frame
        shifts = tuple((float(x), float(y)) for x, y in track.shifts[: stop - start])
        appearance = track.sum_of_looks / len(samples)
        self.done.append(Track(start, stop, *self.size_wh, samples, track.looks, shifts, self.shot, appearance))


def _sample(index: int, face: Face) -> Sample:
    x, y = (float(value) for value in face.centre_px)
    angles = face.roll_deg, face.yaw_deg, face.pitch_deg
    return Sample(index, face.box_xyxy_px, (x, y), face.side_px, *angles, face.score)
