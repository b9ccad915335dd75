"""Faces on real photos, turned, shrunk, mirrored and spoilt. What a rotation or a mirror must do is known exactly."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import cv2
import numpy as np
import pytest
from pictures import ASTRONAUT, COFFEE, is_here, picture

from fomm import expression
from fomm.errors import InputError
from fomm.video import read_frames, read_image
from preprocess.crop import Crop, Paster, crop_matrix, transform
from preprocess.faces import (
    NOSE_TIP,
    NUM_LANDMARKS,
    NUM_REFINED,
    QUIET,
    Face,
    FaceFinder,
    Lookout,
    box_iou,
    choose_face,
    cleared,
    describe_faces,
    face_crop,
    framing_box,
    head_angles,
    line_angle,
)
from preprocess.synthetic.puppets import draw, framing, random_identity, random_motion

PHOTOS = [
    "photo_frontal.png",
    "photo_tilted.jpg",
    "photo_small_face.jpg",
    "photo_two_faces.jpg",
    "photo_glasses.jpg",
    "painting.jpg",
    ASTRONAUT,
]


@pytest.fixture(scope="module")
def finder() -> Iterator[FaceFinder]:
    with FaceFinder() as finder:
        yield finder


class Found(dict[str, tuple[np.ndarray, list[Face]]]):
    """The photos that are here with their faces; a test that asks for another one is skipped."""

    def __missing__(self, name: str) -> NoReturn:
        picture(name)
        raise KeyError(name)


@pytest.fixture(scope="module")
def found(finder: FaceFinder) -> Found:
    photos = {name: read_image(picture(name)) for name in PHOTOS if is_here(name)}
    return Found((name, (photo, finder.find(photo))) for name, photo in photos.items())


def turned(photo: np.ndarray, roll_deg: float, border: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The photo turned clockwise without losing a corner, and the matrix that leads there."""
    height, width = photo.shape[:2]
    angle = np.radians(roll_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    new_w, new_h = np.ceil(np.abs(turn) @ (width, height)).astype(int)
    shift = np.array([new_w - 1, new_h - 1]) / 2 - turn @ (np.array([width - 1, height - 1]) / 2)
    matrix = np.column_stack([turn, shift])
    return cv2.warpAffine(photo, matrix, (int(new_w), int(new_h)), borderValue=(border,) * 3), matrix


def angle_between(one_deg: float, other_deg: float) -> float:
    return abs((one_deg - other_deg + 180) % 360 - 180)


def at(faces: list[Face], point: np.ndarray, side: float) -> list[Face]:
    return [face for face in faces if np.linalg.norm(face.centre_px - point) < 0.4 * side]


def test_line_angle() -> None:
    assert line_angle((0, 0), (1, 0)) == 0
    assert line_angle((0, 0), (1, 1)) == pytest.approx(45)  # clockwise on the screen: y points down
    assert line_angle((0, 0), (-1, 0)) == pytest.approx(180)


def test_framing_box() -> None:
    box = framing_box(np.array([[100.0, 200.0], [200.0, 400.0]]))
    assert box == pytest.approx((97, 188, 203, 400))  # 1.06 x 100 and 200, moved up by 3 % of 200


def test_box_iou() -> None:
    assert box_iou((0, 0, 2, 2), (0, 0, 2, 2)) == 1
    assert box_iou((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert box_iou((0, 0, 1, 1), (2, 2, 3, 3)) == box_iou((1, 1, 1, 1), (1, 1, 1, 1)) == 0


def test_head_angles_of_a_turned_board() -> None:
    """Landmarks on a flat board turned about the vertical axis."""
    flat = np.random.default_rng(0).normal(size=(NUM_LANDMARKS, 2))
    flat[[33, 263, 61, 291, 10, 152]] = [[-1, 0], [1, 0], [-0.5, 1], [0.5, 1], [0, -1.5], [0, 1.5]]
    angle = np.radians(20)  # the board's right side away: it looks to the screen's right
    board = np.column_stack([flat[:, 0] * np.cos(angle), flat[:, 1], flat[:, 0] * np.sin(angle)])
    assert head_angles(board)[0] == pytest.approx(20)


@pytest.mark.parametrize("name", PHOTOS)
def test_photos(found: Found, name: str) -> None:
    """Count, roll and size as the photos' description has them (its size: another detector's box, so roughly)."""
    photo, faces = found[name]
    rolls, sizes = {
        "photo_frontal.png": ([3], [100]),
        "photo_tilted.jpg": ([-20], [200]),
        "photo_small_face.jpg": ([3], [138]),
        "photo_two_faces.jpg": ([1, 3], [147, 118]),
        "photo_glasses.jpg": ([3], [247]),
        "painting.jpg": ([-1], [220]),
        ASTRONAUT: ([3], [100]),
    }[name]
    assert len(faces) == len(rolls)
    for face, roll, size in zip(faces, rolls, sizes, strict=True):
        assert face.roll_deg == pytest.approx(roll, abs=2.5)
        assert 1.0 < face.side_px / size < 1.25
        left, top, right, bottom = face.box_xyxy_px
        assert ((face.landmarks_px >= (left, top)) & (face.landmarks_px <= (right, bottom + 0.01 * size))).all()
        assert face.landmarks_px.shape == (NUM_LANDMARKS, 2) and np.isfinite(face.landmarks_px).all()
        assert face.eye_left_px[0] < face.landmarks_px[NOSE_TIP, 0] < face.eye_right_px[0]
        assert abs(face.yaw_deg) < 25 and abs(face.pitch_deg) < 20 and 0.5 < face.score <= 1
    if len(faces) == 2:
        assert faces[0].centre_px[0] > photo.shape[1] / 2 > faces[1].centre_px[0]  # the larger one is on the right


@pytest.mark.parametrize("name", ["photo_no_face.jpg", COFFEE])
def test_no_face(finder: FaceFinder, name: str) -> None:
    photo = read_image(picture(name))
    faces = finder.find(photo)
    assert faces == [] and finder.landmarks(photo) is None and finder.mesh(photo) is None
    with pytest.raises(InputError, match=rf"{name}: no face found: tried .*not turned away$"):
        choose_face(faces, None, Path(name))


@pytest.mark.parametrize("roll_deg", [-60, -40, -20, 20, 40, 60])
def test_turned_photos(found: Found, finder: FaceFinder, roll_deg: int) -> None:
    """The roll follows the turn within 2 degrees, and the landmarks follow the matrix."""
    for name, (photo, faces) in found.items():
        image, matrix = turned(photo, roll_deg, border=200 if roll_deg % 40 else 0)
        again = finder.find(image)
        assert len(again) == len(faces), name
        for face in faces:
            (match,) = at(again, transform(matrix, face.centre_px[None])[0], face.side_px)
            assert angle_between(match.roll_deg, face.roll_deg + roll_deg) < 2, name
            assert match.side_px == pytest.approx(face.side_px, rel=0.06)
            error = np.abs(match.landmarks_px - transform(matrix, face.landmarks_px)).mean()
            assert error < 0.01 * face.side_px, name


@pytest.mark.parametrize("roll_deg", [90, 180, 270])
def test_quarter_turns(found: Found, finder: FaceFinder, roll_deg: int) -> None:
    for name in {"photo_frontal.png", "photo_tilted.jpg", "photo_glasses.jpg", ASTRONAUT} & found.keys():
        photo, (face,) = found[name]
        (match,) = finder.find(np.rot90(photo, -roll_deg // 90))
        assert angle_between(match.roll_deg, face.roll_deg + roll_deg) < 2


@pytest.mark.parametrize("name", PHOTOS)
def test_small_faces(found: Found, finder: FaceFinder, name: str) -> None:
    """A face of 5 % of the long side, somewhere in a busy and in a plain picture."""
    photo, (face, *_) = found[name]
    size = round(2.2 * 0.05 * 1600)
    patch = Crop(crop_matrix(face.centre_px, 2.2 * face.side_px, face.roll_deg, size), size).apply(photo)
    busy = cv2.resize(read_image(picture(COFFEE)), (1600, 1067))
    for background, (x, y) in ((busy, (200, 700)), (np.full((1067, 1600, 3), 180, np.uint8), (1234, 321))):
        image = background.copy()
        image[y : y + size, x : x + size] = patch
        (match,) = finder.find(image)
        assert np.linalg.norm(match.centre_px - (x + size / 2, y + size / 2)) < 10
        assert match.side_px == pytest.approx(80, rel=0.1) and abs(match.roll_deg) < 2


def test_a_lookout_saves_views_but_misses_no_face_for_long(found: Found, finder: FaceFinder) -> None:
    closely: list[bool] = []

    class Seen:  # the finder, and how closely it was asked to look
        def find(self, image: np.ndarray, *, thorough: bool, closer: bool) -> list[Face]:
            closely.append(closer)
            return finder.find(image, thorough=thorough, closer=closer)

    cup = read_image(picture("photo_no_face.jpg"))
    photo, (face,) = found["photo_tilted.jpg"]
    patch = Crop(crop_matrix(face.centre_px, 2.2 * face.side_px, 0, 80), 80).apply(photo)
    small = cup.copy()
    small[300:380, 40:120] = np.rot90(patch)  # the whole picture alone does not show it
    assert finder.find(small, thorough=False, closer=False) == []
    assert len(finder.find(small, thorough=False)) == 1

    lookout = Lookout(Seen())
    assert not any(lookout.find(cup) for _ in range(17))
    assert [look for look, closer in enumerate(closely) if closer] == [0, 1, 2, 3, 8, 16]
    found_at = [look for look in range(17, 25) if lookout.find(small)]
    assert found_at == [24] and closely[-1]
    assert lookout.find(cup) == [] and closely[-1]  # everything is looked at closely again
    for _ in range(4):
        lookout.find(cup)
    assert not closely[-1] and lookout.find(photo) != [] and not closely[-1]  # an ordinary face is found at once


@pytest.mark.parametrize("name", ["photo_tilted.jpg", ASTRONAUT])
def test_resizing_and_mirroring(found: Found, finder: FaceFinder, name: str) -> None:
    photo, (face,) = found[name]
    (large,) = finder.find(cv2.resize(photo, None, fx=6, fy=6, interpolation=cv2.INTER_LINEAR))
    assert np.abs((large.landmarks_px + 0.5) / 6 - 0.5 - face.landmarks_px).mean() < 0.01 * face.side_px
    (mirrored,) = finder.find(photo[:, ::-1])
    assert mirrored.roll_deg == pytest.approx(-face.roll_deg, abs=2)
    assert mirrored.yaw_deg == pytest.approx(-face.yaw_deg, abs=6)
    assert mirrored.pitch_deg == pytest.approx(face.pitch_deg, abs=6)


@pytest.mark.parametrize("name", ["photo_tilted.jpg", ASTRONAUT])
def test_face_crop_is_upright(found: Found, finder: FaceFinder, name: str) -> None:
    photo, (face,) = found[name]
    crop = face_crop(face, 256, scale=1.5)
    (again,) = finder.find(crop.apply(photo))
    assert abs(again.roll_deg) < 1
    assert again.side_px == pytest.approx(256 / 1.5, rel=0.04)
    assert again.centre_px == pytest.approx([127.5, 127.5], abs=4)
    kept = face_crop(face, 256, derotate=False)
    assert kept.roll_deg == 0 and kept.centre_px == pytest.approx(crop.centre_px)


def test_pasted_real_faces(found: Found, finder: FaceFinder) -> None:
    """An altered face is really there: its mouth is found where it was moved to, and the photo around is untouched."""
    for name, (photo, (face, *_)) in found.items():
        crop = face_crop(face, 256)
        original = crop.apply(photo)
        assert np.array_equal(Paster(photo, crop)(original), photo)
        y, x = np.mgrid[:256, :256].astype(np.float32)
        low = np.exp(-(((x - 128) / 60) ** 2 + ((y - 160) / 50) ** 2)).astype(np.float32)
        altered = cv2.remap(original, x, y - 12 * low, cv2.INTER_CUBIC)  # mouth and chin move down
        pasted = Paster(photo, crop)(altered)
        assert pasted.shape == photo.shape
        before, after = (finder.landmarks(crop.apply(image)) for image in (photo, pasted))
        in_altered = finder.landmarks(altered)
        assert before is not None and after is not None and in_altered is not None
        assert (after - before)[13, 1] > 5, name  # upper lip
        assert np.abs(after - in_altered).mean() < 1.5, name


def test_choose_face(found: Found) -> None:
    _, faces = found["photo_two_faces.jpg"]
    assert choose_face(faces, None, "p.jpg") is choose_face(faces, 1, "p.jpg") is faces[0]
    assert choose_face(faces, 2, "p.jpg") is faces[1]
    assert describe_faces(faces).startswith("1: box 7") and "; 2: box 2" in describe_faces(faces)
    for number in (0, 3, -1):
        with pytest.raises(InputError, match=rf"p.jpg: no face {number}; choose --face from 1: box .*; 2: box "):
            choose_face(faces, number, "p.jpg")


@pytest.mark.parametrize("shape", [(3, 3), (1, 1), (11, 500), (10, 20000), (20000, 12), (64, 64), (0, 5), (5, 0)])
def test_pictures_without_room_for_a_face(finder: FaceFinder, shape: tuple[int, int]) -> None:
    assert finder.find(np.zeros((*shape, 3), np.uint8)) == []


def test_wrong_arrays(finder: FaceFinder) -> None:
    for image in (np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3), np.float32)):
        with pytest.raises(ValueError, match="uint8 RGB"):
            finder.find(image)


def test_another_thread_is_refused(found: Found, finder: FaceFinder) -> None:
    photo, faces = found[ASTRONAUT]
    caught: list[BaseException] = []

    def work() -> None:
        try:
            finder.find(photo)
        except RuntimeError as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert "thread and process" in str(caught[0])
    assert len(finder.find(photo)) == len(faces)  # and the finder still works


def test_silent_and_closed_twice(found: Found, capfd: pytest.CaptureFixture[str]) -> None:
    photo, _ = found[ASTRONAUT]
    open_files = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with FaceFinder() as finder:
        assert finder.find(photo)
    finder.close()
    assert capfd.readouterr().err == ""
    if open_files:
        assert len(os.listdir("/proc/self/fd")) <= open_files


def test_stderr_comes_back_only_when_the_last_thread_needs_no_silence(capfd: pytest.CaptureFixture[str]) -> None:
    first, second = threading.Event(), threading.Event()

    def other() -> None:
        with QUIET:
            first.set()
            assert second.wait(10)

    thread = threading.Thread(target=other)
    with QUIET:
        thread.start()
        assert first.wait(10)
    os.write(2, b"not yet")
    second.set()
    thread.join()
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"


def test_a_picture_without_a_face_is_searched_once(finder: FaceFinder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several metrics ask for the face of the same picture; another picture, or a closer look at it, is a new one."""
    views = []
    process = finder._process
    monkeypatch.setattr(finder, "_process", lambda *what: (views.append(what), process(*what))[1])

    def looks(picture: np.ndarray, *, thorough: bool = False) -> int:
        views.clear()
        assert finder.find(picture, thorough=thorough) == []
        return len(views)

    picture = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    whole = looks(picture)
    assert looks(picture.copy()) * 5 < whole and looks(picture, thorough=True) > whole / 2
    picture[5, 5] ^= 1
    assert looks(picture) == whole
    assert looks(picture.reshape(48, 192, 3)) == whole


def test_puppets_are_found(finder: FaceFinder) -> None:
    """Drawn heads go through the same pipeline; their roll and yaw are known."""
    yaws = []
    for seed in range(6):
        who, motion = random_identity(seed), random_motion(seed + 500, 30)
        drawing = draw(who, motion[29], 256, framing(who, motion))
        faces = finder.find(drawing.image)
        assert faces, seed
        assert faces[0].roll_deg == pytest.approx(np.degrees(motion[29].roll), abs=5)
        assert box_iou(faces[0].box_xyxy_px, drawing.face_box_xyxy_px) > 0.6
        yaws.append((np.degrees(motion[29].yaw), faces[0].yaw_deg))
    assert np.corrcoef(np.array(yaws).T)[0, 1] > 0.9


def test_refined_mesh(found: Found, finder: FaceFinder) -> None:
    """It agrees with the landmarks of the same face, its irises lie in the eyes, and it finds small faces too."""
    for name, (photo, faces) in found.items():
        mesh = finder.mesh(photo)
        assert mesh.shape == (NUM_REFINED, 3) and np.isfinite(mesh).all(), name
        (face,) = at(faces, mesh[:NUM_LANDMARKS, :2].mean(0), faces[0].side_px)
        apart = np.linalg.norm(mesh[:NUM_LANDMARKS, :2] - face.landmarks_px, axis=1)
        assert np.median(apart) < 0.03 * face.side_px, name
        for iris, centre in ((468, face.eye_left_px), (473, face.eye_right_px)):
            assert np.linalg.norm(mesh[iris, :2] - centre) < 0.06 * face.side_px, name
        assert mesh[NOSE_TIP, 2] < mesh[[234, 454], 2].min()  # nearer than the cheeks


@pytest.mark.parametrize("name", ["photo_frontal.png", ASTRONAUT])
def test_person_mask(found: Found, finder: FaceFinder, name: str) -> None:
    photo, (face,) = found[name]
    mask = finder.person(photo)
    assert mask.shape == photo.shape[:2] and mask.dtype == np.float32
    x, y = face.centre_px.astype(int)
    assert mask[y, x] > 0.9 and mask[:20, -20:].max() < 0.1


def test_an_open_mouth_stays_open_in_the_noise_of_a_dark_room(finder: FaceFinder) -> None:
    frames = read_frames(picture("drive_audio.mp4"), range(70, 95, 4))
    crop = face_crop(finder.find(frames[0])[0], 320, scale=1.6)
    rng = np.random.default_rng(0)
    for frame in frames:
        view = crop.apply(frame)
        assert cleared(view) is view, "what is well lit is looked at as it is"
        dark = (0.2 * view + rng.normal(0, 4, view.shape)).clip(0, 255).astype(np.uint8)
        seen, wanted = (finder.mesh(one) for one in (dark, view))
        assert expression.mouth_opening(wanted) > 0.3
        assert abs(expression.mouth_opening(seen) - expression.mouth_opening(wanted)) < 0.12
        assert np.abs(seen - wanted)[:, :2].mean() < 0.01 * 320
