"""Best starting frame, and what is said about a photo and a clip that fit badly."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from fomm.errors import InputError
from fomm.video import VideoReader, VideoWriter
from preprocess.crop import Crop, crop_matrix
from preprocess.faces import Face, FaceFinder
from preprocess.pairing import (
    best_frame,
    doubts_about_driving,
    doubts_about_photo,
    doubts_about_start,
    normalised,
    pair_whole,
    pose_distance,
    resized,
    track_driving,
)
from preprocess.track import Sample, Track


def points(seed: int, count: int = 30) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 2)).astype(np.float32) * 100


def face(yaw: float = 0, pitch: float = 0, side: float = 100, centre: tuple[float, float] = (200, 200)) -> Face:
    """A face whose landmarks fill a square."""
    mesh = np.random.default_rng(0).uniform(-0.5, 0.5, (468, 2)) * side / 1.06 + centre
    for index, x in ((33, -0.3), (133, -0.1), (362, 0.1), (263, 0.3)):  # eyes level
        mesh[index] = np.array(centre) + (x * side, -0.1 * side)
    return Face(mesh.astype(np.float32), 0.9, yaw, pitch)


def track(stop: int = 50, yaws: tuple[float, ...] = (0, 0), looks: int = 2, side: float = 100) -> Track:
    left = 200 - side / 2
    box = (left, left, left + side, left + side)
    samples = tuple(Sample(i * 5, box, (200.0, 200.0), side, 0.0, yaw, 0.0) for i, yaw in enumerate(yaws))
    return Track(0, stop, 400, 400, samples, looks)


def crop(side: float = 150, centre: tuple[float, float] = (200, 200), size: int = 256) -> Crop:
    return Crop(crop_matrix(np.array(centre), side, 0.0, size), size)


def test_poses_compare_whatever_their_place_and_size() -> None:
    a, b = points(0), points(1)
    assert pose_distance(a, a) == 0
    assert pose_distance(a * 7 + (30, -20), a) == pytest.approx(0, abs=1e-6)
    assert pose_distance(a, b) == pytest.approx(pose_distance(b, a)) and pose_distance(a, b) > 1
    hull = cv2.convexHull(normalised(a))
    assert cv2.contourArea(hull) == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(normalised(a).mean(0), 0, atol=1e-6)
    assert np.isfinite(normalised(np.ones((5, 2)))).all()


def test_best_frame_is_the_nearest_and_faceless_frames_do_not_count() -> None:
    shapes = {1: points(1), 2: points(2), 3: points(3)}
    frames = [np.full((4, 4, 3), n, np.uint8) for n in (1, 0, 3, 2, 3)]
    read = []

    def landmarks(image: np.ndarray) -> np.ndarray | None:
        read.append(image)
        return shapes.get(int(image[0, 0, 0]))

    best = best_frame(iter(frames), shapes[3] * 2 + 5, landmarks)
    assert best.frame == 2 and best.distance == pytest.approx(0, abs=1e-5) and best.image is frames[2]
    assert len(read) == 5
    assert best_frame(frames[1:2], shapes[3], landmarks) is None
    assert best_frame([], shapes[3], landmarks) is None


def test_a_good_pair_raises_no_doubts() -> None:
    good = face()
    assert doubts_about_photo([good], good, crop(), (400, 400, 3)) == []
    assert doubts_about_driving([track()], track(), crop(), 50) == []
    assert doubts_about_start(good, track().samples[0]) == []


@pytest.mark.parametrize(
    "given, says",
    [
        (dict(face=face(yaw=-40)), "turned to the left by 40 degrees"),
        (dict(face=face(yaw=40)), "turned to the right by 40"),
        (dict(face=face(pitch=-30)), "tipped down by 30"),
        (dict(face=face(side=40), crop=crop(60)), r"small \(4\d px\): enlarged 4.3 times"),
        (dict(crop=crop(150, (400, 200))), "50% of the crop around the face lies outside"),
    ],
)
def test_doubts_about_a_photo(given: dict, says: str) -> None:
    one = given.get("face", face())
    doubts = doubts_about_photo([one], one, given.get("crop", crop()), (400, 400, 3))
    assert len(doubts) == 1 and re.search(says, doubts[0]), doubts


def test_several_faces_are_listed() -> None:
    faces = [face(side=150), face(side=80)]
    (doubt,) = doubts_about_photo(faces, faces[1], crop(), (400, 400, 3))
    assert "2 faces, face 2 is taken; choose with --face from 1: box" in doubt and "2: box" in doubt


def test_doubts_about_a_clip() -> None:
    def about(one: Track, count: int = 50, among: list[Track] | None = None) -> str:
        (doubt,) = doubts_about_driving(among or [one], one, crop(), count)
        return doubt

    assert "from frame 0 to 49 of 80" in about(track(), count=80)
    assert "lost in 50% of that time" in about(track(looks=4))
    assert "turns by 45 degrees" in about(track(yaws=(3, -45, 20)))
    two = [track(), track(yaws=(1, 1))]
    assert "2 face tracks, track 2 is taken; choose with --track from 1: frames 0 to 49" in about(two[1], among=two)


def test_doubts_about_the_start() -> None:
    (doubt,) = doubts_about_start(face(yaw=20), track(yaws=(-5,)).samples[0])
    assert "starting frame (0)" in doubt and "25 degrees to the side" in doubt
    assert doubts_about_start(face(yaw=20), track(yaws=(12,)).samples[0]) == []


def test_resizing() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    assert resized(image, 30).shape == (30, 30, 3)
    square = image[:40, :40]
    assert resized(square, 40) is square
    flat = np.full((50, 90, 3), 77, np.uint8)
    assert (resized(flat, 200) == 77).all() and (resized(flat, 20) == 77).all()


def write_clip(path: Path, frames: int) -> VideoReader:
    with VideoWriter(path, fps=25) as writer:
        for index in range(frames):
            writer.write(np.full((64, 96, 3), 8 * index, np.uint8))
    return VideoReader(path)


def test_whole_pictures(tmp_path: Path) -> None:
    reader = write_clip(tmp_path / "a.mp4", 12)
    pairing = pair_whole(np.zeros((50, 70, 3), np.uint8), reader, size=32)
    assert pairing.source.shape == pairing.view(np.zeros((64, 96, 3), np.uint8)).shape == (32, 32, 3)
    assert (pairing.start, pairing.stop, pairing.initial, pairing.source_crop, pairing.doubts) == (
        0,
        None,
        None,
        None,
        [],
    )
    # landmarks that follow the brightness: the frame as bright as the photo is found, among every fifth
    shape = points(0)

    def bent(image: np.ndarray) -> np.ndarray:
        return shape + np.outer(np.arange(30), [image.mean() / 100, 0])

    pairing = pair_whole(np.full((50, 70, 3), 8 * 10, np.uint8), reader, size=32, landmarks=bent)
    assert pairing.initial_index == 10 and abs(int(pairing.initial.mean()) - 80) <= 2
    pairing = pair_whole(np.zeros((50, 70, 3), np.uint8), reader, size=32, landmarks=lambda image: None)
    assert pairing.initial is None and "starts from the first frame" in pairing.doubts[0]


def test_no_face_in_the_clip(tmp_path: Path) -> None:
    stages = []
    with FaceFinder() as finder, pytest.raises(InputError, match="no face found .looked at every 5th of its 12"):
        track_driving(write_clip(tmp_path / "a.mp4", 12), finder, progress=lambda *event: stages.append(event))
    assert stages[-1] == ("find faces", 12, 12)
