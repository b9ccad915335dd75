"""infer.py with model `face`: what comes out of a photo and a clip, what is said, and what can go wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from drawn_face import CENTRE, lit_face
from made_videos import audio_codec, beeps_in, make_clip, steady
from pictures import ASTRONAUT, picture

from fomm import expression
from fomm.animator import AnimationSettings, ModelSettings
from fomm.animator.face import Followed
from fomm.checkpoint import save_weights
from fomm.errors import InputError
from fomm.model.face import Face as Mesh
from fomm.model.face import FaceConfig, FaceModel
from fomm.model.face.mesh import MOUTH, REFERENCE, rotation_of
from fomm.model.face.mesh import Pose as MeshPose
from fomm.video import SYNTHETIC_COMPOSITE, VideoReader, read_image, write_image
from infer import Options, infer
from preprocess.crop import Region
from preprocess.faces import FaceFinder
from preprocess.portraits import Look, doubts_about_beginning, find_portrait, seek_start, sides_cut_off, steps_from
from preprocess.synthetic.puppets import Camera, Pose, draw, random_identity
from preprocess.track import find_tracks
from studio.animation import Result, animate_files, load_tools
from studio.tools import PortraitTools

ROOT = Path(__file__).resolve().parent.parent
PORTRAIT, SPEAKER = ROOT / "fomm" / "assets" / "portrait.png", ROOT / "fomm" / "assets" / "speaker.mp4"
FRAMES, FPS = 12, 12
NEAR = Camera(0, 0, 3.4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo, a clip with sound whose first half blinks, and a model that was never trained."""
    folder = tmp_path_factory.mktemp("inputs")
    write_image(
        folder / "photo.png", draw(random_identity(1), Pose(roll=0.2), (320, 250), Camera(-0.3, 0.4, 4.5)).image
    )
    shut = [1, 1, 1, 0.6, 0.3, 0, 0, 0, 0, 0, 0, 0]
    poses = [Pose(yaw=0.02 * i, blink=blink, mouth=0.7 * (i > 7)) for i, blink in enumerate(shut)]
    make_clip(
        folder / "clip.mp4",
        steady(FRAMES, FPS),
        size=(192, 192),
        draw=lambda index, *_: draw(random_identity(2), poses[index], 192, NEAR).image,
        sound=("aac", Fraction(0), FRAMES / FPS),
    )
    torch.manual_seed(0)
    save_weights(folder / "face.safetensors", FaceModel(FaceConfig(width=8)), category="face")
    return folder


@pytest.fixture(scope="module")
def tools(folder: Path) -> Iterator[PortraitTools]:
    with ExitStack() as stack:
        chosen = ModelSettings(str(folder / "face.safetensors"), device="cpu")
        yield load_tools(chosen, AnimationSettings(), stack, lambda sentence: None)


def animated(
    folder: Path, output: Path, tools: PortraitTools, settings: AnimationSettings | None = None, **given: Path
) -> tuple[Result, np.ndarray]:
    """The result of photo and clip, or what is given in their place, and its frames (N, H, W, 3)."""
    files = {"source": folder / "photo.png", "driving": folder / "clip.mp4", **given}
    result = animate_files(*files.values(), output, settings or AnimationSettings(), tools)
    return result, np.stack([frame.image for frame in VideoReader(output)])


@pytest.fixture(scope="module")
def usual(folder: Path, tools, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, np.ndarray]:
    """What comes out of the photo and the clip where nothing else is asked for."""
    return animated(folder, tmp_path_factory.mktemp("usual") / "out", tools)


def still_clip(folder: Path, image: np.ndarray, count: int) -> Path:
    for index in range(count):
        write_image(folder / f"{index}.png", image)
    return folder


# ------------------------------------------------------------------------------------------------------ what comes out


def test_a_photo_and_a_clip_become_a_finished_video(folder: Path, tmp_path: Path, capsys) -> None:
    files = str(folder / "photo.png"), str(folder / "clip.mp4"), str(tmp_path / "r.mp4")
    (result,) = infer(Options(*files, str(folder / "face.safetensors"), side_by_side=True, device="cpu"))
    assert "at the photo's own size on cpu" in capsys.readouterr().err
    video, photo = VideoReader(tmp_path / "r.mp4"), read_image(folder / "photo.png")
    frames = np.stack([frame.image for frame in video])
    assert frames.shape == (FRAMES, 250, 320, 3) and audio_codec(tmp_path / "r.mp4") == "aac"
    np.testing.assert_allclose(beeps_in(tmp_path / "r.mp4"), beeps_in(folder / "clip.mp4"), atol=0.5 / FPS)
    change = np.abs(frames.astype(int) - photo).max(-1)
    assert change[..., :60].max() < 40 and change.max() > 60
    assert VideoReader(tmp_path / "r_side_by_side.mp4").width == 320 + 250 + 320
    record = json.loads(result.sidecar.read_text())
    assert record["tags"]["DigitalSourceType"] == SYNTHETIC_COMPOSITE
    assert not {"adapt_scale", "best_frame_by", "precision", "batch_size", "detail"} & record["settings"].keys()
    again = {name: value for name, value in record["settings"].items() if value is not None}
    infer(Options(**again | {"output": str(tmp_path / "again.mp4")}))
    np.testing.assert_array_equal([frame.image for frame in VideoReader(tmp_path / "again.mp4")], frames)


def test_equal_driving_frames_give_the_photo_back_bit_for_bit(folder: Path, tmp_path: Path, tools) -> None:
    clip = still_clip(tmp_path / "clip", list(VideoReader(folder / "clip.mp4"))[6].image, 4)
    for crop in (True, False):
        _, frames = animated(folder, tmp_path / "out", tools, AnimationSettings(crop=crop), driving=clip)
        np.testing.assert_array_equal(frames, [read_image(folder / "photo.png")] * 4)


def test_what_is_far_from_the_person_stays_bit_equal(folder: Path, tools, usual) -> None:
    _, frames = usual
    photo = read_image(folder / "photo.png")
    person = cv2.dilate((tools.finder.person(photo) > 0.05).astype(np.uint8), np.ones((51, 51), np.uint8)) > 0
    assert (frames[:, ~person] == photo[~person]).all() and (~person).mean() > 0.25
    assert (frames[:, person] != photo[person]).any()


def test_without_embedding_the_part_around_the_face_comes_out(folder: Path, tmp_path: Path, tools, usual) -> None:
    _, whole = usual
    result, part = animated(folder, tmp_path / "part", tools, AnimationSettings(embed=False))
    matrix = np.array(json.loads(result.sidecar.read_text())["crop_matrices"]["source"])
    left, top = -matrix[:, 2].astype(int)
    region = Region(left, top, left + part.shape[2], top + part.shape[1])
    np.testing.assert_array_equal([region.of(frame) for frame in whole], part)


def test_only_a_part_of_a_large_photo_is_worked_on(folder: Path, tmp_path: Path, tools) -> None:
    photo = cv2.copyMakeBorder(read_image(folder / "photo.png"), 300, 0, 400, 500, cv2.BORDER_REFLECT_101)
    write_image(tmp_path / "photo.png", photo)
    seen: list[tuple[int, ...]] = []
    keep = replace(tools, animator=Watched(tools.animator, seen))
    _, frames = animated(folder, tmp_path / "out", keep, source=tmp_path / "photo.png")
    assert frames.shape[1:] == photo.shape and seen[0][0] * seen[0][1] < 0.4 * photo.shape[0] * photo.shape[1]


class Watched:
    """An animator that tells how large a picture it is given."""

    def __init__(self, animator, seen: list) -> None:
        self._animator, self._seen = animator, seen

    def __str__(self) -> str:
        return str(self._animator)

    def animate(self, source, *arguments, **more):
        self._seen.append(source.photo.shape)
        return self._animator.animate(source, *arguments, **more)


def test_a_photo_that_lies_is_animated_as_it_lies(folder: Path, tmp_path: Path, tools, usual) -> None:
    photo = read_image(folder / "photo.png")
    write_image(tmp_path / "lies.png", np.rot90(photo))
    _, stands = usual
    _, lies = animated(folder, tmp_path / "lies", tools, source=tmp_path / "lies.png")
    back = np.rot90(lies, -1, axes=(1, 2)).astype(int)
    moved = np.abs(stands.astype(int) - photo).mean()
    assert np.abs(back - stands).mean() < 0.4 * moved


def test_a_driving_frame_read_in_part_is_the_same(folder: Path, tmp_path: Path, tools, usual) -> None:
    """Where the whole frame is not shown beside the result, only what the mesh needs of it is converted."""
    _, part = usual
    _, whole = animated(folder, tmp_path / "whole", tools, AnimationSettings(side_by_side=True))
    np.testing.assert_array_equal(part, whole)


def test_sound_can_be_left_out_and_the_mark_put_in(folder: Path, tmp_path: Path, tools) -> None:
    result, frames = animated(folder, tmp_path / "a.mp4", tools, AnimationSettings(audio=False, label=True))
    assert not VideoReader(tmp_path / "a.mp4").has_audio
    change = np.abs(frames[0].astype(int) - read_image(folder / "photo.png")).max(-1)
    rows, columns = np.nonzero(change[200:, :120] > 60)
    assert len(rows) > 50


def test_absolute_motion_takes_the_drivers_pose_over(folder: Path, tmp_path: Path, tools, finder: FaceFinder) -> None:
    turned = still_clip(tmp_path / "turned", draw(random_identity(2), Pose(yaw=0.35), 192, NEAR).image, 1)
    settings = AnimationSettings(relative=False, best_frame=False)
    result, frames = animated(folder, tmp_path / "out", tools, settings, driving=turned)
    assert finder.find(frames[0])[0].yaw_deg > finder.find(read_image(folder / "photo.png"))[0].yaw_deg + 8
    result, frames = animated(folder, tmp_path / "out", tools, AnimationSettings(best_frame=False), driving=turned)
    np.testing.assert_array_equal(frames[0], read_image(folder / "photo.png"))


# ------------------------------------------------------------------------------------ the frame that motion starts from


def test_shut_eyes_and_an_open_mouth_lose(usual) -> None:
    result, _ = usual
    assert json.loads(result.sidecar.read_text())["driving_frames"]["initial"] == 5  # of 0, 5 and 10


class SeesWhatIsThere:
    """Sees the meshes that the test gives, by the number that is painted into the view's corner."""

    def __init__(self, meshes: dict[int, np.ndarray]) -> None:
        self._meshes = meshes

    def mesh(self, image: np.ndarray, *, closer: bool = True) -> np.ndarray | None:
        return self._meshes.get(int(image[0, 0, 0]))


def test_motion_does_not_start_where_the_face_is_covered_or_beside(tmp_path: Path) -> None:
    """Every fifth frame: 1 to 9; a hand is before the face in 3 to 5 and it is lost in 8; 4 has the photo's mouth."""
    at_rest = Mesh.of(MeshPose(62.0, np.eye(3), np.array([*CENTRE, 0.0])), REFERENCE).landmarks
    picture = lit_face(at_rest)
    meshes = {number: mouthed(at_rest, 0.3 - 0.01 * number) for number in range(1, 10) if number != 8}
    meshes[4] = meshes[9] = meshes[2] = at_rest
    hand = np.random.default_rng(0).normal(170, 25, picture.shape).clip(0, 255).astype(np.uint8)
    for number in range(1, 10):
        view = picture.copy()
        if 3 <= number <= 5:
            view[int(CENTRE[1] - 30) :] = cv2.GaussianBlur(hand, (0, 0), 2)[int(CENTRE[1] - 30) :]
        view[:4, :4] = number
        for index in range(5):
            write_image(tmp_path / f"{5 * (number - 1) + index:02d}.png", view)
    seek = lambda finder: seek_start(VideoReader(tmp_path), 0, None, lambda f: f.image, at_rest, finder)  # noqa: E731
    assert seek(SeesWhatIsThere(meshes)) == 0  # 2 and 6 are beside the hand, 7 and 9 beside the loss: 1 is left
    assert seek(SeesWhatIsThere({4: at_rest})) == 15  # there is no other
    assert seek(SeesWhatIsThere({})) is None


def test_a_face_with_pursed_lips_is_not_at_rest(tmp_path: Path) -> None:
    """In 2 and 3 of 7 looks the lips are pursed and the head is straight; mostly it is turned a little."""
    straight = Mesh.of(MeshPose(62.0, np.eye(3), np.array([*CENTRE, 0.0])), REFERENCE)
    turned = Mesh.of(straight.pose._replace(rotation=rotation_of(np.array([4.0, 2.0, 0.0]))), REFERENCE)
    pursed = REFERENCE.copy()
    corners = list(expression.MOUTH_CORNERS)
    pursed[corners, 0] -= 0.3 * (REFERENCE[corners, 0] - REFERENCE[corners, 0].mean())
    meshes = {number: turned.landmarks for number in range(1, 8)}
    meshes[2] = meshes[3] = Mesh.of(straight.pose, pursed).landmarks
    for index in range(5 * len(meshes)):
        view = lit_face(straight.landmarks)
        view[:4, :4] = 1 + index // 5
        write_image(tmp_path / f"{index:02d}.png", view)
    seen = SeesWhatIsThere(meshes)
    seek = lambda photo: seek_start(VideoReader(tmp_path), 0, None, lambda f: f.image, photo, seen)  # noqa: E731
    assert seek(None) not in (5, 10)
    assert seek(meshes[2]) == 5, "of a photo with pursed lips it is the one"


def a_look(
    turn=(0.0, 0.0), eyes=(0.3, 0.3), mouth=0.0, gaze=(0.0, 0.0), width=0.54, aside=0.0, place=(2.0, 2.0)
) -> Look:
    return Look(*(np.array(value) for value in (turn, eyes, mouth, gaze, width, aside, place)))


def test_eyes_are_to_be_as_open_as_this_driver_has_them() -> None:
    """Narrow eyes in the photo do not ask for a driver's half shut ones; shut eyes do ask for shut ones."""
    driver = [a_look(eyes=(opening, opening)) for opening in (0.02, 0.16, 0.3, 0.3, 0.31)]
    together = Look(*(np.stack(values) for values in zip(*driver, strict=True)))
    assert steps_from(a_look(eyes=(0.16, 0.16)), together).argmin() in (2, 3)
    assert steps_from(a_look(eyes=(0.03, 0.03)), together).argmin() == 0


def test_turn_mouth_and_gaze_count() -> None:
    driver = [a_look((20, 0)), a_look((0, 15)), a_look(mouth=0.4), a_look(gaze=(0.3, 0)), a_look((3, -2), mouth=0.02)]
    together = Look(*(np.stack(values) for values in zip(*driver, strict=True)))
    assert steps_from(a_look(), together).argmin() == 4
    assert steps_from(a_look(mouth=0.4), together).argmin() == 2


def test_motion_starts_from_a_mouth_as_it_mostly_is() -> None:
    """Where the driver screws it up to a side or purses it, nothing starts, however well the head is turned; of a photo
    with a broad smile it is the smile. People's mouths differ: one that is a little wider asks for nothing."""
    driver = [a_look((1, 0), aside=-0.1), a_look((1, 0), width=0.38), a_look((9, 0), width=0.65), *[a_look((5, 0))] * 4]
    together = Look(*(np.stack(values) for values in zip(*driver, strict=True)))
    assert steps_from(a_look(), together).argmin() == 3
    assert steps_from(a_look(width=0.59), together).argmin() == 3
    assert steps_from(a_look(width=0.75), together).argmin() == 2


def test_motion_starts_where_the_head_mostly_is() -> None:
    driver = [a_look((1, 0), place=(3.5, 2.0)), *[a_look((4, 0))] * 4]
    together = Look(*(np.stack(values) for values in zip(*driver, strict=True)))
    assert steps_from(a_look(place=(7.0, 1.0)), together).argmin() == 1


# -------------------------------------------------------------------------------------------------------- what is said


def test_a_face_that_is_lost_is_held_and_told(folder: Path, tmp_path: Path, tools) -> None:
    faces = [frame.image for frame in VideoReader(folder / "clip.mp4")]
    clip = tmp_path / "clip"
    for index, image in enumerate([*faces[5:8], *[np.full_like(faces[0], 90)] * 3, *faces[5:8]]):
        write_image(clip / f"{index}.png", image)
    result, frames = animated(folder, tmp_path / "out", tools, AnimationSettings(crop=False), driving=clip)
    assert len(frames) == 9
    assert any("no face in 3 of 9 frames" in warning for warning in result.warnings)


def test_a_face_that_is_away_for_long_comes_back_in_the_same_result(folder: Path, tmp_path: Path, tools) -> None:
    """Longer than the tracker's patience, without a cut; what covers it is as the picture around it."""
    shown = [draw(random_identity(2), Pose(yaw=0.02 * index), 192, Camera(0, 0, 5.0)).image for index in range(8)]
    left, top, right, bottom = (int(value) for value in tools.finder.find(shown[-1])[0].box_xyxy_px)
    hidden = shown[-1].copy()
    hidden[top:bottom, left:right] = cv2.GaussianBlur(hidden[top:bottom, left:right], (0, 0), 30)
    for index, image in enumerate([*shown, *[hidden] * 20, *shown[::-1]]):
        write_image(tmp_path / "clip" / f"{index:02d}.png", image)
    result, frames = animated(folder, tmp_path / "out", tools, driving=tmp_path / "clip")
    assert len(frames) == 36 and json.loads(result.sidecar.read_text())["driving_frames"]["stop"] == 36
    assert any("no face in 20 of 36 frames" in warning for warning in result.warnings)
    np.testing.assert_array_equal(frames[8], frames[9])  # held
    still = np.abs(frames[27].astype(int) - read_image(folder / "photo.png")).mean()
    assert still < np.abs(frames[35].astype(int) - frames[27]).mean() + 0.5


def test_turns_beyond_what_the_photo_can_show_are_told() -> None:
    assert Followed(10, 0, 12.0).doubts()[0].startswith("the head turns 12 degrees further than the photo can show")
    assert Followed(10, 0, 3.0).doubts() == []


def test_no_outline_is_told_and_the_whole_moves(folder: Path, tmp_path: Path, tools, monkeypatch) -> None:
    nobody = lambda self, image: np.zeros(image.shape[:2], np.float32)  # noqa: E731
    monkeypatch.setattr(FaceFinder, "person", nobody)
    result, frames = animated(folder, tmp_path / "out", tools)
    assert any("outline is not found" in warning for warning in result.warnings) and len(frames) == FRAMES


def test_faces_to_choose_from_are_listed(folder: Path, tmp_path: Path, tools) -> None:
    sides = [draw(random_identity(seed), Pose(), 300, Camera(0, 0, view)).image for seed, view in ((5, 3.4), (7, 4.2))]
    write_image(tmp_path / "two.png", np.concatenate(sides, 1))
    changed = []
    for face in (None, 2):
        settings = AnimationSettings(face=face)
        result, frames = animated(folder, tmp_path / "out", tools, settings, source=tmp_path / "two.png")
        assert any(f"2 faces, face {face or 1} is taken" in warning for warning in result.warnings)
        changed.append(np.abs(frames.astype(int) - read_image(tmp_path / "two.png")).max((0, 3)))
    assert changed[0][:, 300:].mean() < 1 < changed[0][:, :300].mean()
    assert changed[1][:, :300].mean() < 1 < changed[1][:, 300:].mean()


@pytest.mark.parametrize(
    "role, settings, says",
    [
        ("source", AnimationSettings(), "nobody.png: no face found"),
        ("source", AnimationSettings(crop=False), "nobody.png: no face is seen in the whole picture"),
        ("driving", AnimationSettings(), "nobody.mp4: no face found"),
        (None, AnimationSettings(face=3), "no face 3; choose --face from 1: box"),
        (None, AnimationSettings(track=2), "no face track 2; choose --track from 1: frames 0"),
    ],
)
def test_bad_input_is_told_in_a_line(folder: Path, tmp_path: Path, tools, role, settings, says: str) -> None:
    write_image(tmp_path / "nobody.png", np.full((200, 300, 3), 128, np.uint8))
    make_clip(tmp_path / "nobody.mp4", steady(6), size=(128, 128))
    given = {"source": tmp_path / "nobody.png", "driving": tmp_path / "nobody.mp4"}
    with pytest.raises(InputError, match=re.escape(says)):
        animated(folder, tmp_path / "out" / "r.mp4", tools, settings, **{role: given[role]} if role else {})
    assert not list((tmp_path / "out").glob("*"))


def test_a_batch_goes_on_after_a_failure(folder: Path, tmp_path: Path, capsys) -> None:
    photos = tmp_path / "photos"
    write_image(photos / "a.png", read_image(folder / "photo.png"))
    write_image(photos / "nobody.png", np.full((100, 100, 3), 90, np.uint8))
    options = Options(str(photos), str(folder / "clip.mp4"), str(tmp_path / "out"), str(folder / "face.safetensors"))
    with pytest.raises(InputError, match="1 of 2 pairs failed.*nobody_clip.mp4"):
        infer(options)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a_clip.mp4", "a_clip.mp4.json"]


def test_progress_tells_every_frame_of_every_stage(folder: Path, tmp_path: Path, tools) -> None:
    heard: list[tuple[str, int, int | None]] = []
    fresh = replace(tools, tracked={})
    animate_files(folder / "photo.png", folder / "clip.mp4", tmp_path / "a.mp4", AnimationSettings(), fresh,
                  progress=lambda *event: heard.append(event))  # fmt: skip
    stages = list(dict.fromkeys(stage for stage, *_ in heard))
    assert stages == ["find faces", "find best frame", "animate"]
    for stage, frames in (("find faces", FRAMES), ("find best frame", 3), ("animate", FRAMES)):
        assert [done for s, done, _ in heard if s == stage] == [*range(frames + 1), frames]


def mouthed(mesh: np.ndarray, opening: float) -> np.ndarray:
    """The mesh (478, 3) with its inner lips so far apart, in distances of the outer eye corners."""
    mesh = mesh.copy()
    gap = opening * expression.eye_distance(mesh)
    middle = (mesh[MOUTH.upper, 1] + mesh[MOUTH.lower, 1]) / 2
    mesh[MOUTH.upper] = mesh[MOUTH.lower]  # one above the other
    mesh[MOUTH.upper, 1], mesh[MOUTH.lower, 1] = middle - gap / 2, middle + gap / 2
    return mesh


def test_a_mouth_that_is_open_on_one_side_alone_is_told() -> None:
    shut, parted, wide = (mouthed(REFERENCE, opening) for opening in (0.0, 0.08, 0.3))
    assert doubts_about_beginning(shut, shut, 5) == doubts_about_beginning(wide, wide, 5) == []
    assert doubts_about_beginning(shut, parted, 5) == doubts_about_beginning(parted, shut, 5) == []
    (doubt,) = doubts_about_beginning(shut, wide, 5)
    assert "mouth is open in its starting frame (5) and shut in the photo" in doubt
    (doubt,) = doubts_about_beginning(wide, shut, 5)
    assert "mouth is shut in its starting frame (5) and open in the photo" in doubt


@pytest.mark.parametrize("yaw, pitch, told", [(20, 0, False), (0, -20, False), (31, 0, True), (0, -33, True)])
def test_a_pose_unlike_the_photos_is_told(yaw: float, pitch: float, told: bool) -> None:
    turned = REFERENCE @ rotation_of(np.array([float(yaw), float(pitch), 0.0])).T
    doubts = doubts_about_beginning(REFERENCE, turned, 15)
    assert bool(doubts) == told
    if told:
        assert f"by {abs(yaw)} degrees to the side and {abs(pitch)} up or down" in doubts[0]


def test_a_face_at_the_edge_of_the_picture_is_told() -> None:
    mesh = REFERENCE * 100
    mesh[:, :2] -= mesh[:, :2].min(0)  # its box begins at the picture's corner
    width, height = np.ceil(mesh[:, :2].max(0)).astype(int)
    assert sides_cut_off(mesh, (height + 1, width + 1, 3)) == []
    assert sides_cut_off(mesh - [20, 0, 0], (height + 1, width + 1, 3)) == ["left"]
    assert sides_cut_off(mesh - [0, 20, 0], (height - 40, width - 20, 3)) == ["right", "top", "bottom"]


def test_shut_eyes_and_a_cut_face_in_the_photo_are_told(tmp_path: Path, folder: Path, tools, usual) -> None:
    photo = draw(random_identity(1), Pose(blink=1.0), (320, 250), Camera(-0.3, 0.4, 4.5)).image
    write_image(tmp_path / "shut.png", photo)
    result, _ = animated(folder, tmp_path / "out", tools, source=tmp_path / "shut.png")
    assert any("shut.png: the eyes are shut" in warning for warning in result.warnings)
    whole = read_image(folder / "photo.png")
    face = tools.finder.find(whole)[0]
    left, top, right, bottom = (int(value) for value in face.box_xyxy_px)
    write_image(tmp_path / "cut.png", whole[:, left + (right - left) // 5 :])
    result, _ = animated(folder, tmp_path / "cut", tools, source=tmp_path / "cut.png")
    assert any("cut.png: the face is cut off by the picture's edge (left)" in warning for warning in result.warnings)
    result, _ = usual
    assert not any("eyes are shut" in warning or "cut off" in warning for warning in result.warnings)


# --------------------------------------------------------------------------------------------- faces and their outline


@pytest.fixture(scope="module")
def finder() -> Iterator[FaceFinder]:
    with FaceFinder() as finder:
        yield finder


def test_what_only_looks_like_a_face_is_not_taken_for_one_where_another_is_seen(finder: FaceFinder) -> None:
    head = draw(random_identity(2), Pose(), 200, Camera(0, 0, 3.4)).image
    photo = np.concatenate([np.full((200, 300, 3), 128, np.uint8), head], 1)
    (real,) = finder.find(photo)
    larger = replace(real, landmarks_px=1.2 * (real.landmarks_px - real.centre_px) + [130, 100])

    class Seen:
        find = staticmethod(lambda photo: [larger, real])
        close_mesh = finder.close_mesh

    assert find_portrait(photo, Path("photo"), Seen(), None).face is real
    with pytest.raises(InputError, match="not seen well enough"):
        find_portrait(photo, Path("photo"), Seen(), 1)


def test_the_close_mesh_is_calm_and_in_the_photos_pixels(finder: FaceFinder) -> None:
    photo = read_image(PORTRAIT)
    face = finder.find(photo)[0]
    mesh = finder.close_mesh(photo, face)
    assert np.abs(mesh[:468, :2] - face.landmarks_px).mean() < 0.01 * face.side_px
    turned = np.ascontiguousarray(np.rot90(photo))
    other = finder.close_mesh(turned, finder.find(turned)[0])
    back = np.column_stack([photo.shape[1] - 1 - other[:, 1], other[:, 0]])
    assert np.abs(back - mesh[:, :2]).mean() < 0.003 * face.side_px
    assert np.abs(other[:, 2] - mesh[:, 2]).mean() < 0.01 * face.side_px


def test_hair_that_the_photo_cuts_off_is_the_persons(finder: FaceFinder) -> None:
    """Drawn out to columns above the photo it would be half a person's, and half of it would stay behind."""
    photo = read_image(picture("photo_glasses.jpg"))
    face = finder.find(photo)[0]
    whole = finder.person_at(photo, face, Region.whole(photo))
    top = int(face.at(0.0, -0.33)[1])  # just above the brows
    cut = np.ascontiguousarray(photo[top:])
    seen = finder.person_at(cut, finder.find(cut)[0], Region.whole(cut))
    beside = np.s_[:40, int(face.centre_px[0] - face.side_px) : int(face.centre_px[0] + face.side_px)]
    assert np.abs(seen[beside] - whole[top:][beside]).mean() < 0.05


@pytest.mark.parametrize("mirrored", [False, True])
def test_hair_that_the_photo_cuts_off_at_a_side_is_too(finder: FaceFinder, mirrored: bool) -> None:
    photo = read_image(picture("photo_frontal.png"))
    photo = np.ascontiguousarray(photo[:, ::-1]) if mirrored else photo
    face = finder.find(photo)[0]
    whole = finder.person_at(photo, face, Region.whole(photo))
    right, y = int(face.at(0.42, 0.0)[0]), int(face.centre_px[1])  # beside the eye
    cut = np.ascontiguousarray(photo[:, :right])
    seen = finder.person_at(cut, finder.find(cut)[0], Region.whole(cut))
    hair = np.s_[int(y - face.side_px) : y, int(right - 0.3 * face.side_px) : right]
    assert np.mean((seen[hair] > 0.5) != (whole[hair] > 0.5)) < 0.04


def test_the_persons_outline_is_placed_into_the_photo(finder: FaceFinder) -> None:
    photo = read_image(PORTRAIT)
    face = finder.find(photo)[0]
    whole = finder.person_at(photo, face, Region.whole(photo))
    assert whole.shape == photo.shape[:2] and whole.dtype == np.float32 and 0 <= whole.min() and whole.max() <= 1
    x, y = face.centre_px.astype(int)
    assert whole[y, x] > 0.9 and whole[y, :250].max() < 0.2
    part = Region(400, 100, 900, 600)
    np.testing.assert_allclose(finder.person_at(photo, face, part), part.of(whole), atol=0.1)


def test_an_outline_that_is_none_is_left_out(finder: FaceFinder, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = read_image(PORTRAIT)
    face = finder.find(photo)[0]
    for everywhere in (0.0, 1.0):
        monkeypatch.setattr(
            FaceFinder, "person", lambda self, image, v=everywhere: np.full(image.shape[:2], v, np.float32)
        )
        assert finder.person_at(photo, face, Region.whole(photo)) is None


# ------------------------------------------------------------------------------------------------------- real pictures


@pytest.mark.parametrize(
    ("name", "clip"),
    [("photo_tilted.jpg", "drive_hevc10.mp4"), ("photo_frontal.png", "drive_hevc10.mp4"), (ASTRONAUT, SPEAKER)],
)
def test_real_photos_follow_a_clip(tmp_path: Path, tools, name: str, clip: str | Path) -> None:
    """The result's mouth does what the driver's does; far from the person nothing changes."""
    driver = clip if clip == SPEAKER else picture(clip)
    frames = [frame.image for frame in VideoReader(driver).frames(every=5)]
    for index, image in enumerate(frames):
        write_image(tmp_path / "clip" / f"{index:02d}.png", image)
    crop = find_tracks(frames, tools.finder)[0].crop(320)
    _, made = animated(tmp_path, tmp_path / "out", tools, source=picture(name), driving=tmp_path / "clip")
    photo = read_image(picture(name))
    face = tools.finder.find(photo)[0]
    driven = np.stack([tools.finder.mesh(crop.apply(image)) for image in frames])
    seen = np.stack([tools.finder.close_mesh(image, face) for image in made])
    assert expression.correlation(expression.mouth_opening(driven), expression.mouth_opening(seen)) > 0.8
    person = tools.finder.person_at(photo, face, Region.whole(photo)) > 0.05
    reach = round(0.5 * face.side_px)
    person = cv2.dilate(person.astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0
    assert (made[:, ~person] == photo[~person]).all()
