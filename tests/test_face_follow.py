"""A driving face that is covered, lost or away: held, at rest, and followed again."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from drawn_face import CENTRE, SIDE, lit_face
from pictures import ASTRONAUT, picture

from fomm.model.face.align import Aligned
from fomm.model.face.follow import COVERED_S, FADE_S, HOLD_S, Followed, Follower
from fomm.model.face.mesh import BROWS, EYES, NOSE, REFERENCE, Pose
from fomm.model.face.motion import Face
from fomm.video import VideoReader, read_image
from preprocess.faces import FaceFinder, face_crop
from preprocess.track import find_tracks

LANDMARKS = Pose(62.0, np.eye(3), np.array([*CENTRE, 0.0])).place(REFERENCE)
PICTURE = lit_face(LANDMARKS)
INTERVAL_S = 0.1


@pytest.fixture(scope="module")
def finder() -> Iterator[FaceFinder]:
    with FaceFinder() as finder:
        yield finder


def with_hand(frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The frame with a shaded hand and its arm before mouth and nose."""
    x, y = landmarks[NOSE, :2].mean(0)
    unit, mask = np.ptp(landmarks[NOSE, 1]), np.zeros(frame.shape[:2], np.float32)
    cv2.ellipse(mask, (int(x), int(y + 0.5 * unit)), (int(0.75 * unit), int(0.9 * unit)), -10, 0, 360, 1.0, -1)
    cv2.ellipse(mask, (int(x), int(y + 3 * unit)), (int(0.5 * unit), int(2.5 * unit)), 0, 0, 360, 1.0, -1)
    down, across = np.mgrid[: frame.shape[0], : frame.shape[1]]
    shade = 185 + 20 * np.sin((across - x) / (0.25 * unit)) - 15 * (down - y) / frame.shape[0]
    hand = np.dstack([shade, 0.78 * shade, 0.66 * shade])
    mask = cv2.GaussianBlur(mask, (0, 0), 1.5)[..., None]
    return np.clip(frame * (1 - mask) + hand * mask, 0, 255).astype(np.uint8)


# ------------------------------------------------------------------------------------------------ what covers the face


def test_a_photo_that_is_moved_and_lit_anew_is_not_covered_and_one_with_a_hand_is(finder: FaceFinder) -> None:
    photo = np.ascontiguousarray(read_image(picture(ASTRONAUT))[:300, 70:370])
    mesh = finder.mesh(photo).astype(np.float64)
    aligned = Aligned(photo, Face(mesh))
    side_light = np.linspace(1.1, 0.4, photo.shape[1])[None, :, None]
    rng = np.random.default_rng(0)
    for degrees, scale, shift in ((0, 1.0, 0), (9, 1.0, 8), (-7, 1.15, -6)):
        matrix = cv2.getRotationMatrix2D(tuple(mesh[1, :2]), degrees, scale)
        matrix[0, 2] += shift
        frame = cv2.warpAffine(photo, matrix, photo.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
        there = mesh.copy()
        there[:, :2] = mesh[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        lit = np.clip(frame * side_light + rng.normal(0, 3, frame.shape), 0, 255).astype(np.uint8)
        for seen in (frame, lit):
            aligned(seen, there)
            assert not aligned.covered
            aligned(with_hand(seen, there), there)
            assert aligned.covered


@pytest.mark.parametrize(
    "name", ["drive_audio.mp4", "drive_big_motion.mp4", "drive_recorder_vfr.webm", "drive_phone_rotated.mp4"]
)
def test_wide_mouths_turns_and_blinks_do_not_cover_a_face(finder: FaceFinder, name: str) -> None:
    frames = [frame.image for frame in VideoReader(picture(name)).frames(every=10)]
    crop = find_tracks(frames, finder)[0].crop(320)
    views = [crop.apply(frame) for frame in frames]
    meshes = [finder.mesh(view).astype(np.float64) for view in views]
    hands = [with_hand(view, mesh) for view, mesh in zip(views, meshes, strict=True)]
    invented = [finder.mesh(hand) for hand in hands]
    for start in (0, len(views) // 2):
        aligned, told = Aligned(views[start], Face(meshes[start])), []
        for view, mesh, hand, guess in zip(views, meshes, hands, invented, strict=True):
            aligned(view, mesh)
            assert not aligned.covered
            if guess is not None:
                aligned(hand, guess.astype(np.float64))
                told.append(aligned.covered)
        assert np.mean(told) > 0.9


# ------------------------------------------------------------------------------------------------------------ set right


def test_a_raised_brow_that_the_mesh_takes_for_a_lowered_one_is_raised(finder: FaceFinder) -> None:
    frames = [frame.image for frame in VideoReader(picture("drive_recorder_vfr.webm")).frames(stop=131)]
    crop = face_crop(finder.find(frames[0])[0], 256, scale=1.6, derotate=False)
    follower = Follower(finder, crop.apply(frames[0]))

    def raised(face: Face) -> float:
        """The right brow's height above its eye, in the head's unit."""
        eye = EYES[1]
        return face.shape[[eye.outer, eye.inner], 1].mean() - face.shape[BROWS[1], 1].mean()

    for view in map(crop.apply, frames):
        face = follower(view)
    assert raised(Face(finder.mesh(view).astype(np.float64))) < raised(follower.initial) - 0.1
    assert raised(face) > raised(follower.initial) + 0.05


# ---------------------------------------------------------------------------------------------- held, at rest, followed


class Sees:
    """Sees what the test says: landmarks for each frame in order, or None."""

    def __init__(self, *seen: np.ndarray | None) -> None:
        self._seen = iter(seen)

    def mesh(self, image: np.ndarray) -> np.ndarray | None:
        return next(self._seen)

    def person(self, image: np.ndarray) -> np.ndarray:
        raise AssertionError("nobody asks")


def at(shift: int) -> tuple[np.ndarray, np.ndarray]:
    """Picture and landmarks of the face that many pixels further to the right."""
    return np.roll(PICTURE, shift, axis=1), LANDMARKS + [shift, 0, 0]


def place(face: Face | None) -> float:
    assert face is not None
    return float((face.landmarks - LANDMARKS)[:, 0].mean())


@pytest.mark.parametrize("how", ["covered", "lost"])
def test_a_face_that_is_not_seen_is_held_comes_to_rest_and_is_followed_again(how: str) -> None:
    start, moved = at(0), at(6)
    squashed = moved[1] + 9 * np.sin(REFERENCE[:, [1, 0, 2]])  # what a detector may invent
    unseen = [with_hand(*moved), squashed] if how == "covered" else [np.full_like(PICTURE, 90), None]
    for_s = HOLD_S + FADE_S + 0.3
    away = round(for_s / INTERVAL_S)
    clip = [start, *[moved] * 8, *[unseen] * away, *[moved] * 8]
    followed = Followed()
    follower = Follower(Sees(*(seen for _, seen in clip)), interval_s=INTERVAL_S, followed=followed)
    places = [place(follower(frame)) for frame, _ in clip]
    np.testing.assert_allclose(places[8], 6, atol=0.7)
    held = places[9 : 9 + int(HOLD_S / INTERVAL_S)]
    np.testing.assert_allclose(held, places[8], atol=1e-9)
    assert (np.diff(places[9 : 9 + away]) <= 1e-9).all(), "on the way to rest it does not turn back"
    np.testing.assert_allclose(places[8 + away], 0, atol=1e-6)
    np.testing.assert_allclose(places[-1], 6, atol=0.7)
    assert (followed.covered, followed.lost) == ((away, 0) if how == "covered" else (0, away))
    says = "something covers the face" if how == "covered" else "no face"
    (said,) = followed.doubts()
    assert said.startswith(f"{says} in {away} of {len(clip)} frames")


def test_what_stays_before_the_face_is_taken_for_its_new_look() -> None:
    """Glasses that were put on, or another light, do not stop the motion for good."""
    frame, landmarks = at(4)
    worn = with_hand(frame, landmarks)
    covered, after = round(COVERED_S / INTERVAL_S), 10
    clip = [at(0), *[(worn, landmarks)] * (covered + after)]
    followed = Followed()
    follower = Follower(Sees(*(seen for _, seen in clip)), interval_s=INTERVAL_S, followed=followed)
    places = [place(follower(frame)) for frame, _ in clip]
    assert abs(followed.covered - covered) <= 1
    assert abs(places[covered - 2]) < 1e-6 and places[-1] > 2


def test_a_hand_far_from_the_nose_covers_nothing() -> None:
    frame, landmarks = at(0)
    frame = frame.copy()
    frame[int(SIDE * 0.8) :] = [190, 150, 125]
    aligned = Aligned(PICTURE, Face(LANDMARKS))
    aligned(frame, landmarks)
    assert not aligned.covered
