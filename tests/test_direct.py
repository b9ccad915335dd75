"""Region and strength, edits and motion files: by their algebra, and as infer.py makes them."""

from __future__ import annotations

import json
import os
import re
import tracemalloc
from fractions import Fraction
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from drawn_face import lit_face, outline, somebody

from fomm import expression
from fomm.animator.settings import AnimationSettings, strengths_of
from fomm.checkpoint import save_weights
from fomm.errors import InputError
from fomm.model.face import Edit, Face, FaceConfig, FaceModel, Portrait, Recording, Strength, move
from fomm.model.face.direct import direct
from fomm.model.face.edit import RANGES, REST
from fomm.model.face.mesh import EYES, MOUTH, REFERENCE, Pose, angles_deg, rotation_of
from fomm.model.face.recording import read_motion, recorded, write_motion
from fomm.video import SYNTHETIC_COMPOSITE, VideoReader, VideoWriter, read_image, write_image
from infer import Options, infer, parse
from preprocess.__main__ import COMMANDS
from preprocess.motion import motion
from preprocess.synthetic.directions import write_directions
from preprocess.synthetic.motions import MOTIONS

ROOT = Path(__file__).resolve().parent.parent
PORTRAIT, SPEAKER = ROOT / "fomm" / "assets" / "portrait.png", ROOT / "fomm" / "assets" / "speaker.mp4"
PLACE = Pose(62.0, rotation_of(np.array([4.0, -3.0, 6.0])), np.array([160.0, 134.0, 0.0]))
INITIAL = Face(Pose(100.0, np.eye(3), np.array([200.0, 180.0, 0.0])).place(somebody(2)))
DRIVING = Face(  # turned, mouth open, one eye shut
    Pose(108.0, rotation_of(np.array([14.0, -6.0, 5.0])), np.array([214.0, 172.0, 3.0])).place(
        somebody(2) + 0.4 * (Edit(mouth=1, smile=0.5, brows=0.6, eyes=-1).face().shape - REFERENCE)
    )
)
UPPER = np.flatnonzero(REFERENCE[:, 1] < 0.45)


@pytest.fixture
def source() -> Face:
    return Face(PLACE.place(somebody(1)))


# ------------------------------------------------------------------------------------------------- region and strength


def test_what_is_not_in_the_region_is_the_sources_own_exactly(source: Face) -> None:
    mouth = direct(source, DRIVING, INITIAL, Strength(pose=0, mouth=1, eyes=0))
    np.testing.assert_allclose(mouth.landmarks[UPPER], source.landmarks[UPPER], atol=1e-9)
    whole = move(source, DRIVING, INITIAL)
    np.testing.assert_allclose(mouth.shape[[13, 14, 152]], whole.shape[[13, 14, 152]], atol=0.01)
    pose = direct(source, DRIVING, INITIAL, Strength(pose=1, mouth=0, eyes=0))
    np.testing.assert_array_equal(pose.shape, source.shape)
    np.testing.assert_allclose(pose.pose.rotation, whole.pose.rotation, atol=1e-9)
    eyes = direct(source, DRIVING, INITIAL, Strength(pose=0, mouth=0, eyes=1))
    lower = np.flatnonzero(REFERENCE[:, 1] > 0.9)
    np.testing.assert_allclose(eyes.landmarks[lower], source.landmarks[lower], atol=1e-9)
    assert eyes.landmarks[159, 1] > source.landmarks[159, 1] + 1  # the lid comes down


def test_strength_0_is_the_photo_and_1_is_all_of_it(source: Face) -> None:
    photo = lit_face(source.landmarks)
    portrait = Portrait(photo, source, outline(source.landmarks))
    np.testing.assert_array_equal(portrait(direct(source, DRIVING, INITIAL, Strength(0, 0, 0))), photo)
    whole, all_ = move(source, DRIVING, INITIAL), direct(source, DRIVING, INITIAL, Strength())
    np.testing.assert_array_equal(all_.landmarks, whole.landmarks)
    nearly = direct(source, DRIVING, INITIAL, Strength(0.999999, 1, 1))  # no jump on the way to all of it
    np.testing.assert_allclose(nearly.landmarks, whole.landmarks, atol=0.01)


def test_more_strength_is_more_motion(source: Face) -> None:
    turned, opened = [], []
    for amount in (0.0, 0.5, 1.0, 1.5, 2.0):
        moved = direct(source, DRIVING, INITIAL, Strength(amount, amount, 0))
        turned.append(angles_deg(moved.pose.rotation)[0] - angles_deg(source.pose.rotation)[0])
        opened.append(Face.of(moved.pose, moved.shape).mouth_opening)
    assert turned[1] == pytest.approx(turned[2] / 2, abs=0.5) and turned[3] == pytest.approx(1.5 * turned[2], abs=1)
    assert (np.diff(opened) > 0.02).all() and opened[0] == source.mouth_opening


def test_region_and_strength_in_words() -> None:
    assert strengths_of("all", "1") == {"pose": 1, "mouth": 1, "eyes": 1}
    assert strengths_of("mouth", "0.7") == {"pose": 0, "mouth": 0.7, "eyes": 0}
    assert strengths_of("all", "pose=0.5,mouth=1.2") == {"pose": 0.5, "mouth": 1.2, "eyes": 1}
    for either in ("expression=0.5, eyes=2", "eyes=2 expression=0.5"):
        assert strengths_of("all", either) == {"pose": 1, "mouth": 0.5, "eyes": 2}
    assert strengths_of("all", "pose=0,0.5") == {"pose": 0, "mouth": 0.5, "eyes": 0.5}


@pytest.mark.parametrize(
    ("region", "strength", "says"),
    [
        ("all", "3", "'3' must be a number from 0 to 2"),
        ("all", "nan", "'nan' must be a number"),
        ("all", "ears=1", "'ears' is no region; choose from all, pose"),
        ("mouth", "pose=0.5", "pose does not move with --region mouth"),
        ("all", "", "--strength is empty, must be a number from 0 to 2"),
        ("all", "pose=1,pose=2", "pose has two numbers"),
        ("mouth", "1,0.5", "mouth has two numbers"),
    ],
)
def test_wrong_strengths_are_told(region, strength: str, says: str) -> None:
    with pytest.raises(InputError, match=re.escape(says)):
        AnimationSettings(region=region, strength=strength).check()


# --------------------------------------------------------------------------------------------------------------- edits


def edited(source: Face, text: str) -> np.ndarray:
    return direct(source, Edit.parse(text).face(), REST, Strength()).landmarks


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_each_name_does_what_it_says_in_any_face(seed: int) -> None:
    source = Face(PLACE.place(somebody(seed)))
    own = angles_deg(source.pose.rotation)
    for number, name in enumerate(("yaw", "pitch", "roll")):
        for degrees in (-12.0, 12.0):
            turned = angles_deg(Face(edited(source, f"{name}={degrees}")).pose.rotation) - own
            assert turned[number] == pytest.approx(degrees, abs=1.5)
    width = lambda mesh: np.linalg.norm(mesh[61] - mesh[291])  # noqa: E731
    still = source.landmarks
    assert width(edited(source, "smile=1")) > 1.1 * width(still) > 1.05 * width(edited(source, "smile=-1"))
    openings = [expression.mouth_opening(edited(source, f"mouth={share}")) for share in (-1, 0, 0.5, 1)]
    assert openings[0] < 0.02 and (np.diff(openings)[1:] > 0.1).all()
    lids = [expression.eye_opening(edited(source, f"eyes={share}")) for share in (-1, -0.5, 0, 1)]
    assert (np.diff(lids) > 0.02).all() and Face(edited(source, "eyes=-1")).eyes[0][1] < 0.06
    looks = expression.gaze(edited(source, "gaze=0.5,0.5")) - expression.gaze(still)
    assert looks[0] > 0.07 and looks[1] < -0.03
    brows = [expression.brow_height(edited(source, f"brows={share}")) for share in (-1, 0, 1)]
    assert (np.diff(brows) > 0.01).all()


def test_edits_compose_and_zero_is_the_photo(source: Face) -> None:
    np.testing.assert_allclose(edited(source, ""), source.landmarks, atol=1e-9)
    np.testing.assert_allclose(edited(source, "yaw=0 gaze=0,0 smile=0"), source.landmarks, atol=1e-9)
    both = direct(source, Edit.parse("yaw=12 eyes=-1 mouth=0.6").face(), REST, Strength())
    alone = [direct(source, Edit.parse(one).face(), REST, Strength()) for one in ("yaw=12", "eyes=-1", "mouth=0.6")]
    np.testing.assert_allclose(both.pose.rotation, alone[0].pose.rotation, atol=1e-9)
    np.testing.assert_allclose(both.shape, source.shape + sum(one.shape - source.shape for one in alone), atol=0.01)


def test_an_edit_is_told_and_taken_in_parts() -> None:
    edit = Edit.parse("yaw=15 pitch=-5 roll=0 smile=0.6 gaze=0.3,0")
    assert str(edit) == "yaw=15 pitch=-5 smile=0.6 gaze=0.3,0" and Edit.parse(str(edit)) == edit
    assert edit.part(0.5) == Edit(yaw=7.5, pitch=-2.5, smile=0.3, gaze=(0.15, 0.0)) and edit.part(0) == Edit()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("yaw=40", "edit yaw=40: must be from -25 to 25 (degrees"),
        ("gaze=0,-2", "edit gaze=-2: must be from -1 to 1"),
        ("nose=1", "'nose' is not known; choose from yaw, pitch"),
        ("smile=much", "smile takes a number, as in smile=0.5"),
        ("smile", "smile takes a number"),
        ("gaze=0.5", "gaze takes two numbers"),
        ("smile=nan", "smile takes a number"),
        ("yaw=1 yaw=2", "yaw is given twice"),
    ],
)
def test_wrong_edits_are_told(text: str, says: str) -> None:
    with pytest.raises(InputError, match=re.escape(says)):
        Edit.parse(text)


def test_every_name_has_a_range_and_is_documented() -> None:
    page = (ROOT / "docs" / "direct.md").read_text()
    for name, (low, high, _) in RANGES.items():
        assert low == -high and f"| `{name}` | {low:g} to {high:g} |" in page


def test_directions_are_those_of_the_drawn_heads(tmp_path: Path) -> None:
    kept = np.load(ROOT / "fomm" / "model" / "face" / "directions.npz")
    made = np.load(write_directions(str(tmp_path / "directions.npz")))
    assert kept.files == made.files
    for name in made.files:
        np.testing.assert_allclose(made[name], kept[name], atol=1e-5)


# -------------------------------------------------------------------------------------------------------- motion files


def some_motion(driver: int) -> list[Face]:
    start = Face(PLACE.place(somebody(driver)))
    edits = [Edit(yaw=2.0 * i, mouth=0.1 * i, eyes=-0.1 * i, brows=0.05 * i) for i in range(8)]
    return [Face(direct(start, edit.face(), REST, Strength()).landmarks) for edit in edits]


def test_a_motion_file_gives_the_motion_back(tmp_path: Path) -> None:
    faces = some_motion(3)
    kept = Recording([Fraction(i, 30) for i in range(8)], [recorded(face, faces[0]) for face in faces])
    write_motion(tmp_path / "m.json", kept)
    back = read_motion(tmp_path / "m.json")
    assert back.times == list(kept.times) and back.fps == 30 and back.clock == Fraction(1, 30)
    for one, other in zip(kept.faces, back.faces, strict=True):
        assert np.linalg.norm(one.landmarks - other.landmarks, axis=1).mean() < 0.01


def test_played_it_moves_a_photo_as_the_clip_does(source: Face) -> None:
    faces = some_motion(3)
    for face in faces:
        straight = move(source, face, faces[0]).landmarks
        by_file = direct(source, recorded(face, faces[0]), REST, Strength()).landmarks
        assert np.linalg.norm((straight - by_file)[:, :2], axis=1).mean() < 0.01 * PLACE.scale


def test_it_does_not_hold_the_shape_of_the_face_that_moved(tmp_path: Path) -> None:
    """Two people who do the same leave nearly the same file, however unlike their faces are."""
    apart = np.linalg.norm(somebody(3) - somebody(7), axis=1).mean()
    one, other = ([recorded(face, faces[0]).shape for face in faces] for faces in (some_motion(3), some_motion(7)))
    assert np.linalg.norm(np.array(one) - other, axis=2).mean() < 0.15 * apart
    np.testing.assert_allclose(one[0], REFERENCE, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": "fomm-motion/9"}, "is no motion file"),
        ({"clock": "1/0"}, "damaged (no such clock)"),
        ({"clock": "1/00"}, "damaged (no such clock)"),
        ({"clock": "00/1"}, "damaged (no such clock)"),
        ({"clock": "-1/25"}, "damaged (no such clock)"),
        ({"ticks": [0, 0, 1]}, "times must rise"),
        ({"ticks": ["a", "b", "c"]}, "ticks must be whole numbers"),
        ({"ticks": [0, 1, 10**30]}, "damaged"),
        ({"poses": [[0, 0, 0, 1, 0, 0]] * 3}, "poses must be seven numbers"),
        ({"poses": [[0, 0, 0, 1e9, 0, 0, 0]] * 3}, "within their bounds"),
        ({"components": ["AAAA"]}, "damaged"),
        ({"components": ["!"]}, "damaged"),
        ({"amounts": [[None]] * 3}, "damaged"),
        ({"amounts": None}, "damaged"),
    ],
)
def test_damaged_motion_files_are_told(tmp_path: Path, change: dict, says: str) -> None:
    path = tmp_path / "m.json"
    write_motion(path, Recording.of_edits([Edit(), Edit(yaw=3, smile=0.4), Edit(yaw=5, smile=1)], 25))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=re.escape(says)):
        read_motion(path)
    path.write_text("[" * 10_000)
    with pytest.raises(InputError, match="is no JSON file"):
        read_motion(path)


def test_a_long_motion_file_is_played_without_all_its_faces_in_memory(tmp_path: Path) -> None:
    path, edits = tmp_path / "m.json", [Edit(), Edit(yaw=3, smile=0.4), Edit(mouth=0.7)]
    write_motion(path, Recording.of_edits(edits, 25))
    content = json.loads(path.read_text())
    repeated = {key: 8000 * content[key] for key in ("poses", "amounts")}
    path.write_text(json.dumps(content | repeated | {"ticks": list(range(24_000))}))
    tracemalloc.start()
    try:
        recording = read_motion(path)
        assert len(recording.faces) == 24_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 120e6, "in memory each face has 23 kB, all of them 550 MB"
    few = recording.faces[-3:]
    assert len(few) == 3 and np.array_equal(few[1].landmarks, recording.faces[1].landmarks)


def test_times_that_no_video_holds_are_told(tmp_path: Path) -> None:
    path, blank = tmp_path / "m.json", np.zeros((16, 16, 3), np.uint8)
    write_motion(path, Recording.of_edits([Edit()] * 3, 25))
    whole = json.loads(path.read_text())
    for clock, ticks in (("9999999999/1", [0, 1, 2**48]), ("9999999999/1", [0, 1, 2]), ("1/90000", [0, 1, 2**48])):
        path.write_text(json.dumps(whole | {"clock": clock, "ticks": ticks}))
        recording = read_motion(path)
        with pytest.raises(InputError, match="frame times that far apart"):
            with VideoWriter(tmp_path / "a.mp4", fps=recording.fps, time_base=recording.clock) as writer:
                for time in recording.times:
                    writer.write(blank, time)
    for clock, kept in (("1/9999999999", 1), ("1/2000", 2)):  # more frames per second than webm has ticks
        path.write_text(json.dumps(whole | {"clock": clock}))
        recording = read_motion(path)
        with VideoWriter(tmp_path / "a.webm", fps=recording.fps, time_base=recording.clock) as writer:
            for time in recording.times:
                writer.write(blank, time)
        assert len(list(VideoReader(tmp_path / "a.webm"))) == kept
    assert sorted(os.listdir(tmp_path)) == ["a.webm", "m.json"]


@pytest.mark.parametrize("name", MOTIONS)
def test_the_drawn_motions_begin_and_end_at_rest(name: str) -> None:
    path = ROOT / "fomm" / "assets" / "motions" / f"{name}.json"
    recording = read_motion(path)
    at, seconds = MOTIONS[name]
    for end in (recording.faces[0], recording.faces[-1]):
        assert np.abs(end.landmarks - REFERENCE).max() < 0.05
    far = max(recording.faces, key=lambda face: np.abs(face.landmarks - REFERENCE).max())
    assert np.abs(far.landmarks - REFERENCE).max() > 0.1 and float(recording.times[-1]) == pytest.approx(seconds)
    wanted = at(float(recording.times[20])).face().landmarks
    assert np.linalg.norm(recording.faces[20].landmarks - wanted, axis=1).mean() < 0.02
    assert path.stat().st_size / seconds < 6000


# ------------------------------------------------------------------------------------------------------------ infer.py


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "face.safetensors"
    save_weights(path, FaceModel(FaceConfig(width=8)), category="face")
    return str(path)


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The portrait, small."""
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    write_image(path, cv2.resize(read_image(PORTRAIT), (320, 240), interpolation=cv2.INTER_AREA))
    return path


def test_an_edited_portrait(tmp_path: Path, checkpoint: str, photo: Path) -> None:
    options = ["--source", str(photo), "--checkpoint", checkpoint, "--device", "cpu"]
    (made,) = infer(parse([*options, "--edit", "yaw=12 mouth=0.4", "--output", str(tmp_path / "e.png")]))
    own, made_of_it = read_image(photo), read_image(tmp_path / "e.png")
    assert made_of_it.shape == own.shape and np.abs(made_of_it.astype(int) - own).max() > 60
    record = json.loads(made.sidecar.read_text())
    assert record["settings"]["edit"] == "yaw=12 mouth=0.4" and "driving" not in record["inputs"]
    assert record["tags"]["DigitalSourceType"] == SYNTHETIC_COMPOSITE
    infer(parse([*options, "--edit", "yaw=0 smile=0", "--output", str(tmp_path / "zero.png")]))
    np.testing.assert_array_equal(read_image(tmp_path / "zero.png"), own)


def test_a_video_of_an_edit_goes_there_and_back(tmp_path: Path, checkpoint: str, photo: Path) -> None:
    infer(Options(str(photo), "", str(tmp_path / "e"), checkpoint, edit="yaw=12", device="cpu"))
    frames = [frame.image.astype(int) for frame in VideoReader(tmp_path / "e")]
    own = read_image(photo)
    change = [np.abs(frame - own).mean() for frame in frames]
    assert change[0] == change[-1] == 0 and len(frames) == 67
    middle = int(np.argmax(change))
    assert (np.diff(change[:20]) >= 0).all() and 25 <= middle <= 41


def test_a_clip_becomes_a_motion_file_that_drives_a_photo(tmp_path: Path, checkpoint: str, photo: Path, capsys) -> None:
    with VideoWriter(tmp_path / "clip", fps=10) as writer:
        for frame in islice(VideoReader(SPEAKER).frames(every=5), 12):
            writer.write(frame.image)
    motion(str(tmp_path / "clip"), output=str(tmp_path / "m.json"))
    assert "12 frames, 1.20 s" in capsys.readouterr().out
    recording = read_motion(tmp_path / "m.json")
    assert recording.times == [Fraction(i, 10) for i in range(12)]
    settings = dict(checkpoint=checkpoint, device="cpu", region="mouth")
    own, frames = read_image(photo), {}
    for driving in ("m.json", "clip"):
        infer(Options(str(photo), str(tmp_path / driving), str(tmp_path / f"by_{driving[:1]}"), **settings))
        frames[driving] = np.stack([f.image for f in VideoReader(tmp_path / f"by_{driving[:1]}")]).astype(int)
    one, other = frames.values()
    assert np.abs(one - other).mean() < 0.6 * np.abs(other - own).mean() > 0.05


def test_what_models_of_the_paper_cannot_do_is_told(tmp_path: Path) -> None:
    options = Options(str(PORTRAIT), "", str(tmp_path / "e.png"), "puppets", edit="yaw=12", device="cpu")
    with pytest.raises(InputError, match="--edit: the keypoints of puppets belong to no part of a face"):
        infer(options)
    options = Options(str(PORTRAIT), str(SPEAKER), str(tmp_path / "e.mp4"), "puppets", region="mouth", device="cpu")
    with pytest.raises(InputError, match="--region mouth --strength 1: the keypoints of puppets belong to no part"):
        infer(options)
    assert not list(tmp_path.iterdir())


def test_a_picture_in_the_place_of_a_clip_is_told_that_nothing_moves(tmp_path: Path, capsys) -> None:
    motion(str(PORTRAIT), output=str(tmp_path / "m.json"))
    assert "portrait.png: has one frame, so nothing moves; give a clip" in capsys.readouterr().err


def test_who_cannot_do_without_a_face_is_not_told_to(tmp_path: Path, checkpoint: str) -> None:
    """Model `face` needs one, so `--crop false` is no way out."""
    write_image(tmp_path / "grey.png", np.full((96, 96, 3), 96, np.uint8))
    driver = str(ROOT / "fomm" / "assets" / "speaker.mp4")
    for given in ({"edit": "smile=1"}, {"driving": driver}):
        with pytest.raises(InputError, match="no face found") as told:
            infer(Options(str(tmp_path / "grey.png"), output=str(tmp_path / "o"), checkpoint=checkpoint, **given))
        assert "--crop" not in str(told.value)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--driving", "a.mp4", "--edit", "yaw=1", "--output", "r.mp4"], "give either --driving"),
        (["--output", "r.mp4"], "give either --driving"),
        (["--edit", "yaw=1"], "--output is missing"),
    ],
)
def test_what_is_missing_is_told(given: list[str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        infer(parse(["--source", str(PORTRAIT), *given]))


def test_commands_are_listed() -> None:
    assert {"motion", "motions", "directions"} <= COMMANDS.keys()


def test_eyes_and_mouth_belong_to_their_parts() -> None:
    weights = Strength(pose=0, mouth=1, eyes=0).of_landmarks()[:, 0]
    assert (weights[np.concatenate([MOUTH.opening, [152, 61, 291]])] == 1).all()
    assert (weights[np.concatenate([eye.opening for eye in EYES] + [eye.iris for eye in EYES])] == 0).all()
