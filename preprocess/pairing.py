"""A photo and a driving clip as a pair: the frame to start from, and what makes them a poor match.

The models know upright faces seen from about the front, cropped alike on both sides, and motion that starts from the
photo's own pose. Whatever strays from that is said in plain words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from preprocess.crop import Crop, crop_matrix, transform
from preprocess.faces import Face, describe_faces
from preprocess.track import Sample, Track, describe_tracks

# Where a face is far from the models' training data. Angles are MediaPipe's rough ones, in degrees.
TURNED_DEG = 25.0
DRIVING_TURNED_DEG = 35.0
START_DIFFERS_DEG = 12.0
ENLARGED = 2.0  # how many times a crop may be enlarged
OUTSIDE = 0.15  # share of a crop that may lie outside of its picture
SEEN = 0.8  # least share of the looked-at frames in which the face must be found


class BestFrame(NamedTuple):
    """The frame whose face is most like another one: its number, how far it still is, and the picture itself."""

    index: int
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


def upright_landmarks(face: Face) -> np.ndarray:
    """The face's landmarks (468, 2), turned so that the eyes are level, as in its derotated crop."""
    return transform(crop_matrix(face.centre_px, 1.0, face.roll_deg, 1), face.landmarks_px)


def best_frame(
    frames: Iterable[np.ndarray], landmarks: np.ndarray, find: Callable[[np.ndarray], np.ndarray | None]
) -> BestFrame | None:
    """The frame whose face is nearest to `landmarks` in pose and expression, whatever its place and size.

    One pass; only the best frame so far is kept. None where no frame shows a face.

    Args:
        frames: pictures (H, W, 3) uint8 RGB.
        landmarks: (N, 2), what to look for.
        find: gives the landmarks (N, 2) of a picture, or None where it finds no face.
    """
    best = None
    for index, image in enumerate(frames):
        found = find(image)
        if found is None:
            continue
        distance = pose_distance(found, landmarks)
        if best is None or distance < best.distance:
            best = BestFrame(index, distance, image)
    return best


def doubts_about_photo(faces: Sequence[Face], face: Face, crop: Crop, shape: tuple[int, ...]) -> list[str]:
    """What makes the chosen face of a photo of `shape` (H, W, ...) hard to animate, one sentence each."""
    doubts = []
    if len(faces) > 1:
        number = next(n for n, other in enumerate(faces, 1) if other is face)
        doubts.append(f"{len(faces)} faces, face {number} is taken; choose with --face from {describe_faces(faces)}")
    if abs(face.yaw_deg) > TURNED_DEG:
        side = "right" if face.yaw_deg > 0 else "left"
        doubts.append(f"the head is turned to the {side} by {abs(face.yaw_deg):.0f} degrees; frontal faces work best")
    if abs(face.pitch_deg) > TURNED_DEG:
        way = "up" if face.pitch_deg > 0 else "down"
        doubts.append(f"the head is tipped {way} by {abs(face.pitch_deg):.0f} degrees; level faces work best")
    return doubts + _doubts_about_crop(face.side_px, crop, shape)


def doubts_about_driving(tracks: Sequence[Track], track: Track, crop: Crop, frame_count: int) -> list[str]:
    """What makes the chosen track of a clip of `frame_count` frames hard to follow, one sentence each."""
    doubts = []
    if len(tracks) > 1:
        number = tracks.index(track) + 1
        choices = describe_tracks(tracks)
        doubts.append(f"{len(tracks)} face tracks, track {number} is taken; choose with --track from {choices}")
    if len(track) < frame_count:
        doubts.append(
            f"the face is seen from frame {track.start} to {track.stop - 1} of {frame_count}; the result is that part"
        )
    if track.found_share < SEEN:
        doubts.append(f"the face is lost in {1 - track.found_share:.0%} of that time; the motion there is a guess")
    turned = max(track.yaw_range_deg, key=abs)
    if abs(turned) > DRIVING_TURNED_DEG:
        doubts.append(f"the head turns by {abs(turned):.0f} degrees; the result gets weak there")
    return doubts + _doubts_about_crop(track.face_side_px, crop, (track.height, track.width))


def doubts_about_start(face: Face, start: Sample) -> list[str]:
    """Whether the pose that the motion starts from is unlike the photo's: relative motion takes them for the same."""
    turn, tip = start.yaw_deg - face.yaw_deg, start.pitch_deg - face.pitch_deg
    if max(abs(turn), abs(tip)) <= START_DIFFERS_DEG:
        return []
    return [
        f"the pose in its starting frame ({start.index}) is unlike the photo's, by {abs(turn):.0f} degrees to the side "
        f"and {abs(tip):.0f} up or down; expect distortion, or use a clip with a frame in the photo's pose"
    ]


def _doubts_about_crop(face_side_px: float, crop: Crop, shape: tuple[int, ...]) -> list[str]:
    doubts = []
    enlarged = crop.size / crop.side_px
    if enlarged > ENLARGED:
        doubts.append(
            f"the face is small ({face_side_px:.0f} px): enlarged {enlarged:.1f} times for the model, it will look soft"
        )
    whole = cv2.contourArea(crop.corners_px.astype(np.float32))
    height, width = shape[:2]
    frame = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32) - 0.5
    inside, _ = cv2.intersectConvexConvex(crop.corners_px.astype(np.float32), frame)
    outside = 1 - inside / whole
    if outside > OUTSIDE:
        doubts.append(f"{outside:.0%} of the crop around the face lies outside of the picture; leave more room")
    return doubts
