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

_REACH = 0.75  # how far a face moves between two looks, in its sides; quick heads reach 0.56 in 5 frames
_PATIENCE = 3  # looks without the face that a track survives (blur, a hand)
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


class HasImage(Protocol):
    """A frame of `fomm.video.VideoReader`."""

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

    @property
    def boxes(self) -> np.ndarray:
        """(stop - start, 4) face box of every frame, interpolated between the samples."""
        indices = [sample.index for sample in self.samples]
        frames = np.arange(self.start, self.stop)
        columns = np.array([sample.box_xyxy_px for sample in self.samples]).T
        return np.stack([np.interp(frames, indices, column) for column in columns], axis=1)

    def crop(self, size: int = 256, *, scale: float = TRACK_SCALE) -> Crop:
        """The one square crop of the whole track: `scale` x the longer side of the union of its boxes."""
        left, top, right, bottom = self.union_box_xyxy_px
        side = scale * max(right - left, bottom - top)
        centre = [
            _moved_inside((low + high) / 2, side, length)
            for low, high, length in ((left, right, self.width), (top, bottom, self.height))
        ]
        return Crop(crop_matrix(np.array(centre), side, 0.0, size), size)


def _moved_inside(centre: float, side: float, length: int) -> float:
    """Nearest centre at which `side` around it lies in a frame of `length` pixels, or else the frame's middle."""
    if side >= length:
        return (length - 1) / 2
    return float(np.clip(centre, side / 2 - 0.5, length - 0.5 - side / 2))


def find_tracks(frames: Iterable[HasImage | np.ndarray], finder: FaceFinder, *, every: int = EVERY) -> list[Track]:
    """All face tracks of a video, longest first (of equal ones the larger face); an empty list when no face is seen.

    Faces are looked for in each `every`-th frame, in the last one and on both sides of a cut, and linked to the
    nearest one of the look before. A cut ends all tracks; so does a face that is not seen for four looks.

    Args:
        frames: frames or pictures (H, W, 3) uint8 RGB in order, read once.
    """
    tracker = _Tracker(finder)
    index, looked = -1, -1
    before: np.ndarray | None = None
    glance_before: _Glance | None = None
    for index, frame in enumerate(frames):
        image = frame if isinstance(frame, np.ndarray) else frame.image
        glance = _Glance.of(image)
        is_cut = glance_before is not None and glance.is_cut_from(glance_before)
        if is_cut:
            if before is not None and looked < index - 1:
                tracker.look(index - 1, before)
            tracker.cut(index)
        if index == 0 or is_cut or index - looked >= every:
            tracker.look(index, image)
            looked = index
        before, glance_before = image, glance
    if before is not None and looked < index:
        tracker.look(index, before)
    tracker.cut(index + 1)
    return sorted(tracker.done, key=lambda track: (-len(track), -track.face_side_px))


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


class _Glance(NamedTuple):
    """What is kept of a frame to see whether the next one is a cut."""

    thumb: np.ndarray  # (16, 16, 3) in [0, 1]
    histogram: np.ndarray  # (8, 8, 8), sums to 1

    @classmethod
    def of(cls, image: np.ndarray) -> _Glance:
        step = max(1, min(image.shape[:2]) // 128)  # averaging a whole large frame would cost more than decoding it
        small = cv2.resize(np.ascontiguousarray(image[::step, ::step]), (64, 64), interpolation=cv2.INTER_AREA)
        histogram = cv2.calcHist([small], [0, 1, 2], None, [8, 8, 8], [0, 256] * 3) / (64 * 64)
        thumb = cv2.resize(small, (16, 16), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        return cls(thumb, histogram)

    def is_cut_from(self, before: _Glance) -> bool:
        moved = np.abs(self.thumb - before.thumb).mean()
        recoloured = np.abs(self.histogram - before.histogram).sum() / 2
        return bool(moved > _CUT_THUMB and recoloured > _CUT_HISTOGRAM)


@dataclass
class _Open:
    """A track that still goes on."""

    samples: list[Sample]
    missed: int = 0  # looks since the last sample
    looks: int = 1  # looks from the first sample to the last


@dataclass
class _Tracker:
    finder: FaceFinder
    open: list[_Open] = field(default_factory=list)
    done: list[Track] = field(default_factory=list)
    size_wh: tuple[int, int] = (0, 0)

    def look(self, index: int, image: np.ndarray) -> None:
        self.size_wh = (image.shape[1], image.shape[0])
        faces = self.finder.find(image, thorough=False)
        pairs = sorted(
            (distance, t, f)
            for t, track in enumerate(self.open)
            for f, face in enumerate(faces)
            if (distance := _distance(track.samples[-1], face)) < _REACH
        )
        linked: dict[int, int] = {}
        for _, t, f in pairs:
            if t not in linked and f not in linked.values():
                linked[t] = f
        still_open = []
        for t, track in enumerate(self.open):
            if t in linked:
                track.samples.append(_sample(index, faces[linked[t]]))
                track.looks += track.missed + 1
                track.missed = 0
            else:
                track.missed += 1
            if track.missed > _PATIENCE:
                self._close(track, track.samples[-1].index + 1)
            else:
                still_open.append(track)
        new = [_Open([_sample(index, face)]) for f, face in enumerate(faces) if f not in linked.values()]
        self.open = still_open + new

    def cut(self, stop: int) -> None:
        """End all tracks before frame `stop`."""
        for track in self.open:
            self._close(track, stop)
        self.open = []

    def _close(self, track: _Open, stop: int) -> None:
        samples = tuple(track.samples)
        self.done.append(Track(samples[0].index, stop, *self.size_wh, samples, track.looks))


def _distance(sample: Sample, face: Face) -> float:
    """How far a face is from where it was last seen, in face sides; infinite where the sizes differ too much."""
    if not 0.5 < face.side_px / sample.side_px < 2.0:
        return float("inf")
    return float(np.linalg.norm(face.centre_px - sample.centre_px)) / max(face.side_px, sample.side_px)


def _sample(index: int, face: Face) -> Sample:
    x, y = (float(value) for value in face.centre_px)
    return Sample(index, face.box_xyxy_px, (x, y), face.side_px, face.roll_deg, face.yaw_deg, face.pitch_deg)
