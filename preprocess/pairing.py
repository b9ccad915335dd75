"""A photo and a driving clip as a pair: crops framed alike, the frame to start from, and what makes them a poor match.

The models know upright faces seen from about the front, cropped alike on both sides, and motion that starts from the
photo's own pose. Whatever strays from that is said in plain words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from fomm.animator.settings import AnimationSettings
from fomm.errors import InputError
from fomm.progress import Progress, silent, watched
from fomm.video import LazyFrame, VideoReader, prefetch
from preprocess.crop import Crop, Region
from preprocess.faces import FACE_SCALE, Face, FaceFinder, Lookout, NoFaceError, choose_face, describe_faces
from preprocess.track import EVERY, TRACK_SCALE, Sample, Track, describe_tracks, find_tracks, matching_crop

BEST_FRAME_EVERY = 5  # a pose lasts longer than this many frames, so not each one has to be looked at

# Where a face is far from the models' training data. Angles are MediaPipe's rough ones, in degrees.
TURNED_DEG = 25.0
DRIVING_TURNED_DEG = 35.0
START_DIFFERS_DEG = 12.0
ENLARGED = 2.0  # how many times a crop may be enlarged
OUTSIDE = 0.15  # share of a crop that may lie outside of its picture
SEEN = 0.8  # least share of the looked-at frames in which the face must be found

# How a face may sit in a camera's picture when a recording starts: size in its shorter sides, place in halves of it.
START_SIZE = (0.2, 0.75)
START_ASIDE = 0.4
START_TILTED_DEG = 12.0

Landmarks = Callable[[np.ndarray], "np.ndarray | None"]
"""Picture (H, W, 3) uint8 RGB -> landmarks (N, 2), or None where there is no face."""


@dataclass(frozen=True, eq=False)
class Pairing:
    """What the model gets to see of a photo and a driving video, S pixels square."""

    source: np.ndarray  # (S, S, 3), the photo or its crop; of a portrait (H, W, 3), a part of the photo as it is
    view: Callable[[np.ndarray], np.ndarray]  # driving frame (H, W, 3) -> (S, S, 3)
    start: int = 0  # driving frames start <= index < stop are used
    stop: int | None = None  # None: to the end
    initial: np.ndarray | None = None  # (S, S, 3), the driving frame to start from; None: the first that is used
    initial_index: int = 0  # its number
    source_crop: Crop | Region | None = None  # where `source` lies in the photo, a portrait's a `Region`; None: all
    driving_crop: Crop | None = None  # where the views lie in their frames; None: all
    doubts: list[str] = field(default_factory=list)  # what speaks against the pair, a sentence each, with the file
    faces: Sequence[Face] = ()  # the choices in the photo; none where nothing was looked for
    face: Face | None = None  # the one chosen
    tracks: Sequence[Track] = ()  # the choices in the video
    track: Track | None = None
    mesh: np.ndarray | None = None  # of a portrait, its refined mesh (478, 3) in the pixels of `source`
    # of a portrait, (H, W) float32 in [0, 1], how surely a pixel of `source` shows the person; None: unknown
    person: np.ndarray | None = None
    # as `view`, of a frame that is not converted yet, in less time; None where there is no such way
    glance: Callable[[LazyFrame], np.ndarray] | None = None


class Tracked(NamedTuple):
    """The face tracks of a video, longest first; how many frames it really has; what reading all of them met."""

    tracks: list[Track]
    frame_count: int
    warnings: tuple[str, ...]


def track_driving(reader: VideoReader, finder: FaceFinder, *, progress: Progress = silent) -> Tracked:
    """Find the face tracks of a driving video, in one pass.

    Raises:
        NoFaceError: there is no face in it; says what was tried.
    """
    count = 0

    def counted() -> Iterator[LazyFrame]:
        nonlocal count
        for count, frame in enumerate(frames, 1):  # noqa: B007 - the last value is what is wanted
            yield frame

    with closing(prefetch(reader.lazy_frames())) as frames:
        tracks = find_tracks(watched(counted(), "find faces", reader.frame_count, progress), Lookout(finder))
    if not tracks:
        raise NoFaceError(
            f"{reader.path}: no face found (looked at every {EVERY}th of its {count} frames with the short-range and "
            "full-range detectors); give a video that shows a face"
        )
    return Tracked(tracks, count, tuple(reader.warnings))


def pair_faces(
    photo: np.ndarray,
    photo_path: Path,
    reader: VideoReader,
    driving: Tracked,
    finder: FaceFinder,
    settings: AnimationSettings,
    *,
    size: int,
    landmarks: Landmarks | None = None,
    progress: Progress = silent,
) -> Pairing:
    """One fixed crop of the driving face's track, and a crop of the photo's face that is framed like it and upright.

    Args:
        photo: (H, W, 3) uint8 RGB; `photo_path` names it in messages.
        reader, driving: the driving video and what `track_driving` found in it.
        finder: finds the photo's faces.
        settings: of which `face`, `track`, `scale` and `relative` (the motion is to start from the photo's own pose, so
            the starting frame's should be like it).
        size: S.
        landmarks: seek the best starting frame by these; None: start from the first.

    Raises:
        InputError: no such face or track; the choices are listed.
    """
    faces = finder.find(photo)
    face = choose_face(faces, settings.face, photo_path)
    tracks, frame_count, warnings = driving
    track, scale = choose_track(tracks, settings.track, reader.path), settings.scale or TRACK_SCALE
    driving_crop = track.crop(size, scale=scale)
    best = None
    if landmarks is not None:
        wanted = landmarks(matching_crop(face, track, size, scale=scale).apply(photo))
        best = _seek(reader, track.start, track.stop, driving_crop.apply, wanted, landmarks, progress)
    initial_index = track.start if best is None else best.frame
    source_crop = matching_crop(face, track, size, index=initial_index, scale=scale)

    doubts = [f"{photo_path}: {doubt}" for doubt in doubts_about_photo(faces, face, source_crop, photo.shape)]
    about_driving = doubts_about_driving(tracks, track, driving_crop, frame_count)
    if landmarks is not None and best is None:
        about_driving.append("no face could be compared with the photo's, so the motion starts from the first frame")
    if settings.relative:
        about_driving += doubts_about_start(face, track.at(initial_index))
    return Pairing(
        source_crop.apply(photo),
        driving_crop.apply,
        start=track.start,
        stop=track.stop,
        initial=best and best.image,
        initial_index=initial_index,
        source_crop=source_crop,
        driving_crop=driving_crop,
        doubts=[*warnings, *doubts, *(f"{reader.path}: {doubt}" for doubt in about_driving)],
        faces=faces,
        face=face,
        tracks=tracks,
        track=track,
    )


def choose_track(tracks: Sequence[Track], number: int, path: Path, option: str = "--track") -> Track:
    """Track `number` (from 1), as `option` says, of those found in the video `path`.

    Raises:
        InputError: no track of that number; lists the choices.
    """
    if not 1 <= number <= len(tracks):
        raise InputError(f"{path}: no face track {number}; choose {option} from {describe_tracks(tracks)}")
    return tracks[number - 1]


def pair_frame(
    photo: np.ndarray, face: Face, frame: np.ndarray, finder: FaceFinder, *, size: int, scale: float = TRACK_SCALE
) -> Pairing:
    """As `pair_faces` for a camera, of whose frames only the first (the neutral pose) is there yet.

    The crop leaves the room that the face will need: `scale` is meant for the union of its boxes over time.

    Args:
        photo, face: the photo (H, W, 3) uint8 RGB and its chosen face.
        frame: the camera's picture (h, w, 3) uint8 RGB.

    Raises:
        InputError: the frame shows no face.
    """
    tracks = find_tracks([frame], finder)
    if not tracks:
        raise InputError(f"camera: {start_hint([], frame.shape)}")
    track, scale = tracks[0], scale * FACE_SCALE / TRACK_SCALE
    source_crop, driving_crop = matching_crop(face, track, size, scale=scale), track.crop(size, scale=scale)
    return Pairing(
        source_crop.apply(photo),
        driving_crop.apply,
        initial=driving_crop.apply(frame),
        source_crop=source_crop,
        driving_crop=driving_crop,
        doubts=[f"camera: {doubt}" for doubt in doubts_about_start(face, track.samples[0])],
        face=face,
        tracks=tracks,
        track=track,
    )


def pair_whole(
    photo: np.ndarray,
    reader: VideoReader,
    *,
    size: int,
    landmarks: Landmarks | None = None,
    progress: Progress = silent,
) -> Pairing:
    """Both sides as they are, resized to size x size; arguments as for `pair_faces`."""
    view = partial(resized, size=size)
    source = view(photo)
    if landmarks is None:
        return Pairing(source, view)
    best = _seek(reader, 0, None, view, landmarks(source), landmarks, progress)
    if best is None:
        doubt = f"{reader.path}: no faces to compare with the photo's, so the motion starts from the first frame"
        return Pairing(source, view, doubts=[doubt])
    return Pairing(source, view, initial=best.image, initial_index=best.frame)


def _seek(
    reader: VideoReader,
    start: int,
    stop: int | None,
    view: Callable[[np.ndarray], np.ndarray],
    wanted: np.ndarray | None,
    landmarks: Landmarks,
    progress: Progress,
) -> BestFrame | None:
    """`best_frame` among every 5th frame of a video; its index is the frame's number in the video."""
    if wanted is None:
        return None
    count = reader.frame_count if stop is None else stop - start
    views = (view(frame.image) for frame in reader.frames(start, stop, BEST_FRAME_EVERY))
    looks = watched(views, "find best frame", count and -(-count // BEST_FRAME_EVERY), progress)
    best = best_frame(looks, wanted, landmarks)
    return best and best._replace(frame=start + BEST_FRAME_EVERY * best.frame)


def resized(image: np.ndarray, size: int) -> np.ndarray:
    """(H, W, 3) -> (size, size, 3), stretched where it is not square; unchanged where it has that size."""
    if image.shape[:2] == (size, size):
        return image
    shrinks = max(image.shape[:2]) > size
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


class BestFrame(NamedTuple):
    """The frame whose face is most like another one: its number, how far it still is, and the picture itself."""

    frame: int
    distance: float
    image: np.ndarray


def normalised(landmarks: np.ndarray) -> np.ndarray:
    """Landmarks (N, 2) without place and size: mean 0, convex hull of area 1 (the original's way to compare poses)."""
    centred = np.asarray(landmarks - np.mean(landmarks, axis=0), np.float32)
    area = cv2.contourArea(cv2.convexHull(centred))
    return centred / np.sqrt(area) if area > 0 else centred


def pose_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Sum of squared distances between two faces' normalised landmarks (N, 2); 0 for the same pose and expression."""
    return float(np.square(normalised(one) - normalised(other)).sum())


def best_frame(frames: Iterable[np.ndarray], wanted: np.ndarray, landmarks: Landmarks) -> BestFrame | None:
    """The frame whose face is nearest to `wanted` (N, 2) in pose and expression, whatever its place and size.

    One pass; only the best frame so far is kept. None where no frame shows a face.
    """
    best = None
    for index, image in enumerate(frames):
        found = landmarks(image)
        if found is None:
            continue
        distance = pose_distance(found, wanted)
        if best is None or distance < best.distance:
            best = BestFrame(index, distance, image)
    return best


def doubts_about_photo(faces: Sequence[Face], face: Face, crop: Crop, shape: tuple[int, ...]) -> list[str]:
    """What makes the chosen face of a photo of `shape` (H, W, ...) hard to animate, one sentence each."""
    return doubts_about_face(faces, face) + _doubts_about_crop(face.side_px, crop, shape)


def doubts_about_face(faces: Sequence[Face], face: Face) -> list[str]:
    """Whether another face could have been meant, and how the chosen one is turned, one sentence each."""
    doubts = []
    if len(faces) > 1:
        number, choices = faces.index(face) + 1, describe_faces(faces)
        doubts.append(f"{len(faces)} faces, face {number} is taken; choose with --face from {choices}")
    if abs(face.yaw_deg) > TURNED_DEG:
        side = "right" if face.yaw_deg > 0 else "left"
        doubts.append(f"the head is turned to the {side} by {abs(face.yaw_deg):.0f} degrees; frontal faces work best")
    if abs(face.pitch_deg) > TURNED_DEG:
        way = "up" if face.pitch_deg > 0 else "down"
        doubts.append(f"the head is tipped {way} by {abs(face.pitch_deg):.0f} degrees; level faces work best")
    return doubts


def doubts_about_driving(tracks: Sequence[Track], track: Track, crop: Crop, frame_count: int) -> list[str]:
    """What makes the chosen track of a clip of `frame_count` frames hard to follow, one sentence each."""
    doubts = doubts_about_track(tracks, track, frame_count)
    if track.found_share < SEEN:
        doubts.append(f"the face is lost in {1 - track.found_share:.0%} of that time; the motion there is a guess")
    turned = max(track.yaw_range_deg, key=abs)
    if abs(turned) > DRIVING_TURNED_DEG:
        doubts.append(f"the head turns by {abs(turned):.0f} degrees; the result gets weak there")
    return doubts + _doubts_about_crop(track.face_side_px, crop, (track.height, track.width))


def doubts_about_track(
    tracks: Sequence[Track],
    track: Track,
    frame_count: int,
    option: str = "--track",
    others: str = "the result is that part",
) -> list[str]:
    """Whether another track could have been meant, and how much of a clip shows the face, one sentence each.

    Args:
        option: that chooses the track.
        others: what becomes of the frames that do not show it.
    """
    doubts = []
    if len(tracks) > 1:
        number, choices = tracks.index(track) + 1, describe_tracks(tracks)
        doubts.append(f"{len(tracks)} face tracks, track {number} is taken; choose with {option} from {choices}")
    if len(track) < frame_count:
        doubts.append(f"the face is seen from frame {track.start} to {track.stop - 1} of {frame_count}; {others}")
    return doubts


def doubts_about_start(face: Face, start: Sample) -> list[str]:
    """Whether the pose that the motion starts from is unlike the photo's: relative motion takes them for the same."""
    turn, tip = start.yaw_deg - face.yaw_deg, start.pitch_deg - face.pitch_deg
    if max(abs(turn), abs(tip)) <= START_DIFFERS_DEG:
        return []
    return [
        f"the pose in its starting frame ({start.frame}) is unlike the photo's, by {abs(turn):.0f} degrees to the side "
        f"and {abs(tip):.0f} up or down; expect distortion, or use a clip with a frame in the photo's pose"
    ]


def start_hint(faces: Sequence[Face], shape: tuple[int, ...]) -> str | None:
    """What a person in front of a camera should change before a recording starts, for its picture of `shape`.

    None where the face (the first of `faces`) is as the models like it: straight, upright, in the middle, not too far.
    Left and right are not told apart: a preview may be mirrored.
    """
    if not faces:
        return "no face seen: come into the picture, with light on your face"
    face, short_side = faces[0], min(shape[:2])
    size = face.side_px / short_side
    if size < START_SIZE[0]:
        return "come closer"
    if size > START_SIZE[1]:
        return "move back a little"
    aside = np.abs(face.centre_px - (np.array([shape[1], shape[0]]) - 1) / 2) / (short_side / 2)
    if aside.max() > START_ASIDE:
        return "move to the middle of the picture"
    if abs(face.roll_deg) > START_TILTED_DEG:
        return "hold your head upright"
    if abs(face.yaw_deg) > START_DIFFERS_DEG or abs(face.pitch_deg) > TURNED_DEG:
        return "look straight into the camera"
    return None


def _doubts_about_crop(face_side_px: float, crop: Crop, shape: tuple[int, ...]) -> list[str]:
    doubts = []
    enlarged = crop.size / crop.side_px
    if enlarged > ENLARGED:
        doubts.append(
            f"the face is small ({face_side_px:.0f} px): enlarged {enlarged:.1f} times for the model, it will look soft"
        )
    square, picture = (part.corners_px.astype(np.float32) for part in (crop, Region(0, 0, shape[1], shape[0])))
    outside = 1 - cv2.intersectConvexConvex(square, picture)[0] / cv2.contourArea(square)
    if outside > OUTSIDE:
        doubts.append(f"{outside:.0%} of the crop around the face lies outside of the picture; leave more room")
    return doubts
