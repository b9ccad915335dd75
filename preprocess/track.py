"""Faces over time: boxes every few frames -> one fixed square crop for a whole track.

The crop never follows the face: a crop (or a rotation) that changes from frame to frame makes the animation wobble.
Its square is that of the original's data preparation: the union of the face boxes over the track, side = 1.2 x its
longer side. Where the square leaves the frame it is moved inside (upstream clips and stretches it); where it is larger
than the frame it is centred on that axis and the frame's border is repeated.

One pass over the frames; of each looked-at frame only a few numbers are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from preprocess.crop import Crop, crop_matrix, invert, transform
from preprocess.faces import Face, FaceFinder

TRACK_SCALE = 1.2  # crop side in longer sides of the union box
EVERY = 5  # look for faces in each 5th frame

# How far, in its sides, a face may be from where it is expected: so far in a frame, so much more in each other frame.
_REACH, _REACH_MORE, _REACH_MOST = 0.3, 0.1, 0.75  # quick heads reach 0.56 in 5 frames
# How much it may change its looks (0: equal; two people differ by 0.15 and more), by the same rule.
_CHANGE, _CHANGE_MORE, _CHANGE_MOST = 0.10, 0.03, 0.22
_PATIENCE = 3  # usual intervals between looks that a track survives without its face (blur, a hand)
_LEAVING = 0.1  # a face of which so many of its sides are outside the frame, and which is then lost, has left it
_LOOKS_GRID = 8  # a face's looks are its mean colours in so many rows and columns
_GLANCE = 128  # pixels a side of the small picture that is compared from frame to frame
_JUMP = 0.10  # mean change (0..1) around a face from frame to frame; quick heads reach 0.09
_CUT_THUMB = 0.10  # mean change between thumbnails of consecutive frames (0..1) ...
_CUT_HISTOGRAM = 0.35  # ... and distance of their colour histograms (0..1): a cut exceeds both


class Sample(NamedTuple):
    """A face in one frame of a track, in frame pixels; see `Face`."""

    index: int
    box_xyxy_px: tuple[float, float, float, float]
    centre_px: tuple[float, float]
    side_px: float
    roll_deg: float
    yaw_deg: float
    pitch_deg: float
    score: float = 1.0


class HasImage(Protocol):
    """A frame of `fomm.video.VideoReader`; of its lazy ones only a fifth is converted."""

    @property
    def image(self) -> np.ndarray: ...


@dataclass(frozen=True)
class Track:
    """One face in frames `start` <= index < `stop` of a video of `width` x `height` pixels.

    `samples` are the looked-at frames in which it was found, `looks` is how many were looked at in that time.
    """

    start: int
    stop: int
    width: int
    height: int
    samples: tuple[Sample, ...]
    looks: int

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
    def pitch_range_deg(self) -> tuple[float, float]:
        """Least and greatest pitch, positive = looking up."""
        pitches = [sample.pitch_deg for sample in self.samples]
        return min(pitches), max(pitches)

    @property
    def union_box_xyxy_px(self) -> tuple[float, float, float, float]:
        """Box around all boxes of the track."""
        boxes = np.array([sample.box_xyxy_px for sample in self.samples])
        left, top = boxes[:, :2].min(0)
        right, bottom = boxes[:, 2:].max(0)
        return float(left), float(top), float(right), float(bottom)

    def at(self, index: int) -> Sample:
        """The face in frame `index`: interpolated between samples, held before the first and after the last."""
        indices = [sample.index for sample in self.samples]
        rows = np.array([[*s.box_xyxy_px, *s.centre_px, *s[3:]] for s in self.samples])
        row = [float(np.interp(index, indices, column)) for column in rows.T]
        return Sample(index, (row[0], row[1], row[2], row[3]), (row[4], row[5]), *row[6:])

    def part(self, start: int, stop: int) -> Track:
        """The same face in fewer frames, `start` <= index < `stop`; its ends are interpolated."""
        inner = [sample for sample in self.samples if start <= sample.index < stop]
        ends = [self.at(index) for index in {start, stop - 1} - {sample.index for sample in inner}]
        samples = tuple(sorted(inner + ends))
        looks = max(len(samples), round(len(samples) / self.found_share))
        return Track(start, stop, self.width, self.height, samples, looks)

    @property
    def boxes(self) -> np.ndarray:
        """(stop - start, 4) face box of every frame, interpolated between the samples."""
        indices = [sample.index for sample in self.samples]
        frames = np.arange(self.start, self.stop)
        columns = np.array([sample.box_xyxy_px for sample in self.samples]).T
        return np.stack([np.interp(frames, indices, column) for column in columns], axis=1)

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


def find_tracks(frames: Iterable[HasImage | np.ndarray], finder: FaceFinder, *, every: int = EVERY) -> list[Track]:
    """All face tracks of a video, longest first (of equal ones the larger face); an empty list when no face is seen.

    Faces are looked for in each `every`-th frame, in the last one, on both sides of a cut, and wherever the picture
    around a known face changes at once (a jump cut, someone passing by). They are linked to those of the look before
    by place, motion, size and looks. A track ends at a cut, when its face is lost while it leaves the frame or with
    someone else in its place, and when the face is not seen for more than three times `every` frames.

    Args:
        frames: frames or pictures (H, W, 3) uint8 RGB in order, read once.
    """
    tracker = _Tracker(finder, _PATIENCE * every)
    index, looked = -1, -1
    before: HasImage | np.ndarray | None = None
    glance_before: _Glance | None = None
    for index, frame in enumerate(frames):
        glance = _Glance.of(frame, tracker.regions)
        is_cut = glance_before is not None and glance.is_cut_from(glance_before)
        jumps = is_cut or (glance_before is not None and glance.jumps_from(glance_before))
        if jumps and before is not None and looked < index - 1:
            tracker.look(index - 1, _image(before))
        if is_cut:
            tracker.cut(index)
        if index == 0 or jumps or index - looked >= every:
            tracker.look(index, _image(frame))
            looked = index
            glance = glance.around(tracker.regions)
        before, glance_before = frame, glance
    if before is not None and looked < index:
        tracker.look(index, _image(before))
    tracker.cut(index + 1)
    return sorted(tracker.done, key=lambda track: (-len(track), -track.face_side_px))


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
    ratio = face.side_px / driving.side_px
    upright = crop_matrix(face.centre_px, 1.0, face.roll_deg, 1)
    centre = transform(invert(upright), ratio * (crop.centre_px - driving.centre_px)[None])[0]
    return Crop(crop_matrix(centre, ratio * crop.side_px, face.roll_deg, size), size)


def _image(frame: HasImage | np.ndarray) -> np.ndarray:
    return frame if isinstance(frame, np.ndarray) else frame.image


_Region = tuple[float, float, float, float]  # left, top, right, bottom in widths and heights of the frame


class _Glance(NamedTuple):
    """What is kept of a frame to see whether the next one is a cut, or something jumps where a face is known."""

    small: np.ndarray  # (128, 128, 3) uint8
    thumb: np.ndarray  # (16, 16, 3) in [0, 1]
    histogram: np.ndarray  # (8, 8, 8), sums to 1
    faces: tuple[np.ndarray, ...] = ()  # (12, 12, 3) in [0, 1], around each known face

    @classmethod
    def of(cls, frame: HasImage | np.ndarray, regions: Sequence[_Region] = ()) -> _Glance:
        small = _thumbnail(frame)
        histogram = cv2.calcHist([small], [0, 1, 2], None, [8, 8, 8], [0, 256] * 3) / (_GLANCE * _GLANCE)
        thumb = cv2.resize(small, (16, 16), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        return cls(small, thumb, histogram).around(regions)

    def around(self, regions: Sequence[_Region]) -> _Glance:
        """The same frame, seen around other faces."""
        faces = []
        for region in regions:
            left, top, right, bottom = (int(_GLANCE * at) for at in region)
            part = self.small[top : bottom + 1, left : right + 1]
            faces.append(cv2.resize(part, (12, 12), interpolation=cv2.INTER_AREA).astype(np.float32) / 255)
        return self._replace(faces=tuple(faces))

    def is_cut_from(self, before: _Glance) -> bool:
        moved = np.abs(self.thumb - before.thumb).mean()
        recoloured = np.abs(self.histogram - before.histogram).sum() / 2
        return bool(moved > _CUT_THUMB and recoloured > _CUT_HISTOGRAM)

    def jumps_from(self, before: _Glance) -> bool:
        return any(np.abs(now - then).mean() > _JUMP for now, then in zip(self.faces, before.faces, strict=True))


def _thumbnail(frame: HasImage | np.ndarray) -> np.ndarray:
    """(128, 128, 3) uint8: the whole frame, squeezed."""
    if hasattr(frame, "thumbnail"):  # a lazy frame gives it without converting all of it
        return frame.thumbnail(_GLANCE)
    image = _image(frame)
    step = max(1, min(image.shape[:2]) // _GLANCE)  # averaging a whole large frame would cost more than decoding it
    return cv2.resize(np.ascontiguousarray(image[::step, ::step]), (_GLANCE, _GLANCE), interpolation=cv2.INTER_AREA)


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
    missed: int = 0  # looks since the last sample
    looks: int = 1  # looks from the first sample to the last

    def expected_px(self, index: int) -> np.ndarray:
        """(2,) where the face should be in a frame: half way between staying and moving on as before."""
        last = self.samples[-1]
        if len(self.samples) == 1:
            return np.array(last.centre_px)
        other = self.samples[-2]
        speed = np.subtract(last.centre_px, other.centre_px) / (last.index - other.index)
        return last.centre_px + 0.5 * speed * (index - last.index)

    def cost(self, index: int, face: Face, appearance: np.ndarray) -> float:
        """How unlikely it is that this is its face; infinite where it cannot be."""
        last, later = self.samples[-1], index - self.samples[-1].index - 1
        if not 0.5 < face.side_px / last.side_px < 2.0:
            return float("inf")
        away = np.linalg.norm(face.centre_px - self.expected_px(index)) / max(face.side_px, last.side_px)
        away /= min(_REACH + _REACH_MORE * later, _REACH_MOST)
        unlike = np.abs(appearance - self.appearance).mean() / min(_CHANGE + _CHANGE_MORE * later, _CHANGE_MOST)
        return float(away + unlike) if max(away, unlike) < 1 else float("inf")


@dataclass
class _Tracker:
    finder: FaceFinder
    patience: int  # frames
    open: list[_Open] = field(default_factory=list)
    done: list[Track] = field(default_factory=list)
    size_wh: tuple[int, int] = (0, 0)

    @property
    def regions(self) -> list[_Region]:
        """Around the known faces, inside the frame."""
        size = np.array(self.size_wh)
        regions = []
        for track in self.open:
            centre, half = np.array(track.samples[-1].centre_px), 0.65 * track.samples[-1].side_px
            low, high = (np.clip((centre + sign * half) / size, 0, 0.999) for sign in (-1, 1))
            regions.append((*low, *high))
        return regions

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
        for t, track in enumerate(self.open):
            if t in linked:
                track.samples.append(_sample(index, faces[linked[t]]))
                track.appearance = appearances[linked[t]]
                track.looks += track.missed + 1
                track.missed = 0
            else:
                track.missed += 1
            lost_for = index - track.samples[-1].index
            if track.missed and (lost_for > self.patience or self._is_gone(track, index, faces)):
                self._close(track, track.samples[-1].index + 1)
            else:
                still_open.append(track)
        new = [
            _Open([_sample(index, face)], appearances[f]) for f, face in enumerate(faces) if f not in linked.values()
        ]
        self.open = still_open + new

    def _is_gone(self, track: _Open, index: int, faces: Sequence[Face]) -> bool:
        """Whether a face that is not found left the frame, or has someone else where it should be."""
        last, here = track.samples[-1], track.expected_px(index)
        moved = 2 * (here - last.centre_px)  # on and on
        low, high = np.add(last.box_xyxy_px[:2], moved), np.add(last.box_xyxy_px[2:], moved)
        if max(*-low, *(high - self.size_wh)) > _LEAVING * last.side_px:
            return True
        return any(np.linalg.norm(f.centre_px - here) < 0.5 * (f.side_px + last.side_px) for f in faces)

    def cut(self, stop: int) -> None:
        """End all tracks before frame `stop`, those whose face is not seen any more where it was seen last."""
        for track in self.open:
            self._close(track, track.samples[-1].index + 1 if track.missed else stop)
        self.open = []

    def _close(self, track: _Open, stop: int) -> None:
        samples = tuple(track.samples)
        self.done.append(Track(samples[0].index, stop, *self.size_wh, samples, track.looks))


def _sample(index: int, face: Face) -> Sample:
    x, y = (float(value) for value in face.centre_px)
    angles = face.roll_deg, face.yaw_deg, face.pitch_deg
    return Sample(index, face.box_xyxy_px, (x, y), face.side_px, *angles, face.score)
