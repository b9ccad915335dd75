"""A video as source: its own head motion stays, what is asked for is the driver's, all else is untouched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from drawn_face import somebody
from made_videos import audio_codec, beeps_in, make_clip, steady

from fomm.animator import AnimationSettings, ModelSettings
from fomm.checkpoint import save_weights
from fomm.errors import InputError
from fomm.model.face import Edit, Face, FaceConfig, FaceModel, Recording, Strength
from fomm.model.face.direct import redirect
from fomm.model.face.edit import REST
from fomm.model.face.mesh import Pose, rotation_of
from fomm.model.face.recording import write_motion
from fomm.video import VideoReader, VideoWriter
from infer import Options, infer
from preprocess.crop import Region
from preprocess.synthetic.puppets import Camera, draw, random_identity
from preprocess.synthetic.puppets import Pose as Puppet
from studio.animation import load_tools
from studio.tools import PortraitTools
from studio.video_source import Outline, animate_video

SIDE, FPS = 192, 10
GREY = np.full((SIDE, SIDE, 3), 96, np.uint8)


def puppet(index: int, mouth: float = 0.0) -> np.ndarray:
    return draw(random_identity(1), Puppet(yaw=0.03 * index, mouth=mouth), SIDE, Camera(0, 0, 3.4)).image


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PortraitTools]:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "face.safetensors"
    save_weights(path, FaceModel(FaceConfig(width=8)), category="face")
    with ExitStack() as stack:
        yield load_tools(ModelSettings(str(path), device="cpu"), AnimationSettings(), stack, lambda sentence: None)


def clip_of(path: Path, pictures: list[np.ndarray]) -> Path:
    with VideoWriter(path, fps=FPS) as writer:
        for picture in pictures:
            writer.write(picture)
    return path


def frames_of(path: Path) -> np.ndarray:
    return np.stack([frame.image for frame in VideoReader(path)]).astype(int)


def test_the_head_stays_and_the_mouth_is_the_drivers() -> None:
    rest = Face(Pose(60.0, np.eye(3), np.array([100.0, 90, 0])).place(somebody(1)))
    turned = Pose(64.0, rotation_of(np.array([12.0, -4, 3])), np.array([108.0, 88, 0]))
    talking = Edit(mouth=0.7, smile=0.4).face().shape - REST.shape
    current = Face.of(turned, rest.shape + talking)
    shut = redirect(current, rest, REST, REST, Strength(0, 1, 0))
    assert shut.pose is current.pose
    np.testing.assert_allclose(shut.shape[[13, 14, 61, 291, 152]], rest.shape[[13, 14, 61, 291, 152]], atol=1e-9)
    np.testing.assert_array_equal(redirect(current, rest, REST, REST, Strength(0, 0, 0)).landmarks, current.landmarks)
    away = redirect(current, rest, Edit(yaw=10).face(), REST, Strength())
    assert away.pose.rotation[2, 0] != pytest.approx(turned.rotation[2, 0], abs=0.05)


def test_what_nobody_asked_for_is_untouched(tmp_path: Path, tools: PortraitTools) -> None:
    """Frames before the face and after it, those beyond the driver's end, and all pixels far from the mouth."""
    pictures = [GREY] * 5 + [puppet(index) for index in range(15)] + [GREY] * 5
    source = clip_of(tmp_path / "source", pictures)
    driver = tmp_path / "m.json"
    write_motion(driver, Recording.of_edits([Edit(), *[Edit(mouth=0.8)] * 12], FPS))  # 1.3 s
    result = animate_video(source, driver, tmp_path / "out", AnimationSettings(region="mouth"), tools)
    change = np.abs(frames_of(tmp_path / "out") - frames_of(source)).max(-1)
    assert len(change) == 25
    changed = [index for index, one in enumerate(change) if one.max() > 20]
    assert changed and set(changed) <= set(range(5, 13))
    assert change[:5].max() == change[13:].max() == 0
    assert (change[:, : SIDE // 2] == 0).mean() > 0.99 and (change[5:13, SIDE // 2 :] > 0).any()
    record = json.loads(result.sidecar.read_text())
    assert record["settings"]["region"] == "mouth" and record["inputs"].keys() == {"source", "driving"}


def test_a_still_source_and_a_still_driver_do_not_flicker(tmp_path: Path, tools: PortraitTools) -> None:
    source = clip_of(tmp_path / "source", [puppet(0)] * 6)
    animate_video(source, Edit(mouth=0.6), tmp_path / "out", AnimationSettings(region="mouth"), tools)
    frames = frames_of(tmp_path / "out")
    assert np.abs(frames[0] - frames_of(source)[0]).max() > 20
    changes = np.abs(frames - frames_of(source)).max((0, 3)) > 0
    assert np.abs(np.diff(frames, axis=0))[:, changes].mean() < 0.5  # of 255


def test_an_outline_is_calm_where_the_picture_is_and_follows_where_it_moves() -> None:
    rng = np.random.default_rng(0)
    region = Region(8, 4, 56, 44)
    picture = cv2.resize(rng.integers(0, 120, (8, 8, 3)).astype(np.uint8), (64, 48))
    person = np.clip(np.linspace(1.5, -0.5, 48, dtype=np.float32)[None] * np.ones((40, 1), np.float32), 0, 1)
    seen = [np.clip(person + rng.normal(0, 0.1, person.shape), 0, 1).astype(np.float32) for _ in range(30)]
    noisy = [np.clip(picture + rng.normal(0, 2, picture.shape), 0, 255).astype(np.uint8) for _ in seen]
    outline = Outline()
    calm, edges = zip(*(outline(frame, one, region) for frame, one in zip(noisy, seen, strict=True)), strict=True)
    tremble = lambda masks: np.abs(np.diff(masks, axis=0)).mean()  # noqa: E731
    assert tremble(calm[5:]) < 0.25 * tremble(seen[5:])
    assert np.abs(np.mean(calm[10:], 0) - np.mean(seen, 0)).max() < 0.1
    there = picture[4:44, 8:56].astype(int)
    assert np.abs(edges[-1].astype(int) - there).mean() < 0.5 * np.abs(noisy[-1][4:44, 8:56] - there).mean()
    elsewhere = Region(2, 4, 50, 44)  # what was not looked for before is taken as it is
    np.testing.assert_array_equal(outline(noisy[-1], seen[0], elsewhere)[0][:, :6], seen[0][:, :6])
    lit = picture + 100  # everything is new
    person, edges = outline(lit, seen[1], region)
    np.testing.assert_allclose(person, seen[1], atol=1e-6)
    np.testing.assert_array_equal(edges, lit[4:44, 8:56])


def test_sound_is_the_drivers_or_the_sources(tmp_path: Path, tools: PortraitTools) -> None:
    def clip(name: str, first: Fraction) -> Path:
        path = tmp_path / name
        make_clip(path, steady(10, FPS), size=(SIDE, SIDE), draw=lambda i, *_: puppet(i), sound=("aac", first, 1.0))
        return path

    source, driver = clip("a.mp4", Fraction(0)), clip("b.mp4", Fraction(1, 2))
    for whose, other in (("driving", driver), ("source", source)):
        settings = AnimationSettings(region="mouth", sound=whose)
        animate_video(source, driver, tmp_path / f"{whose}.mp4", settings, tools)
        np.testing.assert_allclose(beeps_in(tmp_path / f"{whose}.mp4"), beeps_in(other), atol=0.1)
        assert audio_codec(tmp_path / f"{whose}.mp4") == "aac"
    animate_video(source, Edit(smile=0.5), tmp_path / "none.mp4", AnimationSettings(region="mouth"), tools)
    assert not VideoReader(tmp_path / "none.mp4").has_audio


def test_the_drivers_sound_begins_with_its_face(tmp_path: Path, tools: PortraitTools) -> None:
    """What is heard belongs to what is seen, also where the driver's face comes later than the driver's sound."""
    source, driver = clip_of(tmp_path / "source", [puppet(0)] * 10), tmp_path / "driver.mp4"
    pictures = [GREY] * 6 + [puppet(0, mouth=0.9 * (index > 3)) for index in range(10)]
    make_clip(
        *(driver, steady(16, FPS)),
        size=(SIDE, SIDE),
        draw=lambda index, *_: pictures[index],
        sound=("aac", Fraction(0), 1.6),
    )
    said: list[str] = []
    settings = AnimationSettings(region="mouth")
    animate_video(source, driver, tmp_path / "out.mp4", settings, tools, warn=said.append)
    assert any("the face is seen from frame 6 to 15 of 16; the result is that part" in one for one in said)
    np.testing.assert_allclose(beeps_in(tmp_path / "out.mp4"), [1.0 - 0.6], atol=0.1)


def test_of_a_source_the_frames_without_the_face_stay_and_another_face_is_chosen_by_face(
    tmp_path: Path, tools: PortraitTools
) -> None:
    other = cv2.flip(cv2.resize(puppet(0), None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA), 1)
    beside = np.pad(other, ((0, SIDE - len(other)), (0, SIDE - len(other)), (0, 0)), constant_values=96)
    source = clip_of(tmp_path / "source", [GREY] * 3 + [puppet(0)] * 8 + [GREY] * 8 + [beside] * 6)
    said: list[str] = []
    animate_video(source, Edit(), tmp_path / "out", AnimationSettings(), tools, warn=said.append)
    text = " ".join(said)
    assert "2 face tracks, track 1 is taken; choose with --face from 1" in text and "--track" not in text
    assert "the face is seen from frame 3 to 10 of 25; the other frames stay as they are" in text
    for none in (0, 3):
        with pytest.raises(InputError, match=f"no face track {none}; choose --face from 1"):
            animate_video(source, Edit(), tmp_path / "none", AnimationSettings(face=none), tools)


def test_what_cannot_be_is_told(tmp_path: Path, tools: PortraitTools) -> None:
    source = clip_of(tmp_path / "nobody.mp4", [GREY] * 4)
    with pytest.raises(InputError, match="nobody.mp4: no face found"):
        animate_video(source, Edit(smile=0.5), tmp_path / "out.mp4", AnimationSettings(), tools)
    with pytest.raises(InputError, match="a video as source is always animated whole"):
        animate_video(source, Edit(smile=0.5), tmp_path / "out.mp4", AnimationSettings(crop=False), tools)
    with pytest.raises(InputError, match="--source with a video: the keypoints of puppets belong to no part of a face"):
        infer(Options(str(source), "", str(tmp_path / "out.mp4"), "puppets", edit="smile=1", device="cpu"))
    assert [path.name for path in tmp_path.iterdir()] == ["nobody.mp4"]
