"""Puppets: what is said of a drawing is what is seen in it."""

from __future__ import annotations

import csv
import os
from dataclasses import fields, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from fomm.errors import InputError
from fomm.manifest import read_manifest
from preprocess.synthetic.puppet_model import scene_landmarks
from preprocess.synthetic.puppets import (
    LANDMARKS,
    Camera,
    Pose,
    babble,
    draw,
    framing,
    load_puppet_truth,
    puppet_splits,
    random_identity,
    random_motion,
    write_demo,
    write_puppet_pairs,
    write_puppets,
)


def random_pose(seed: int) -> Pose:
    """One pose, uniform within bounds: a stiffer test of what must work than a motion's frames."""
    rng = np.random.default_rng([seed, 0x90])
    u = lambda low, high: float(rng.uniform(low, high))  # noqa: E731
    return Pose(
        yaw=u(-0.5, 0.5), pitch=u(-0.3, 0.3), roll=u(-0.4, 0.4), shift_x=u(-0.2, 0.2), shift_y=u(-0.1, 0.1),
        scale=u(0.92, 1.08), blink=1.0 if rng.random() < 0.12 else u(0, 0.25), gaze_x=u(-0.8, 0.8), gaze_y=u(-0.6, 0.6),
        mouth=max(0.0, u(-0.5, 1.0)), smile=u(-0.6, 1), brows=u(-1, 1),
    )  # fmt: skip


def mix_poses(a: Pose, b: Pose, weight: float) -> Pose:
    """(1 - weight) * a + weight * b, value by value."""
    return Pose(**{f.name: (1 - weight) * getattr(a, f.name) + weight * getattr(b, f.name) for f in fields(Pose)})


def point(drawing, name: str) -> np.ndarray:
    return drawing.landmarks_px[LANDMARKS.index(name)]


def patch(image: np.ndarray, at: np.ndarray, radius: int) -> np.ndarray:
    x, y = np.rint(at).astype(int)
    return image[y - radius : y + radius + 1, x - radius : x + radius + 1].astype(float)


def values(poses: list[Pose], name: str) -> np.ndarray:
    return np.array([getattr(pose, name) for pose in poses])


def test_same_seed_same_picture_and_others_differ():
    first, again = random_identity(5), random_identity(5)
    assert first == again
    pose = random_pose(3)
    np.testing.assert_array_equal(draw(first, pose, 64).image, draw(again, pose, 64).image)
    faces = [draw(random_identity(seed), Pose(), 64).image.astype(float) for seed in range(5)]
    distances = [np.abs(a - b).mean() for i, a in enumerate(faces) for b in faces[:i]]
    assert min(distances) > 8


def test_drawing_does_not_depend_on_what_was_drawn_before():
    identity, pose = random_identity(11), random_pose(12)
    before = draw(identity, pose, 64).image
    for seed in range(3):
        draw(random_identity(seed), random_pose(seed), 96, Camera(0.3, 0.1, 5.0))
    np.testing.assert_array_equal(before, draw(identity, pose, 64).image)


def test_landmark_names_fit_the_points():
    assert len(LANDMARKS) == len(set(LANDMARKS)) == 73
    drawing = draw(random_identity(0), Pose(), 128)
    assert drawing.landmarks_px.shape == (73, 2)
    assert drawing.image.shape == (128, 128, 3) and drawing.image.dtype == np.uint8
    at = {name: point(drawing, name) for name in LANDMARKS}
    assert at["pupil_left"][0] < at["nose_bridge_3"][0] < at["pupil_right"][0]
    assert at["brow_left_2"][1] < at["pupil_left"][1] < at["nose_base_2"][1] < at["lips_outer_0"][1] < at["jaw_8"][1]
    assert at["forehead"][1] < at["brow_left_2"][1]
    assert at["eye_left_outer"][0] < at["pupil_left"][0] < at["eye_left_inner"][0]
    assert at["eye_right_inner"][0] < at["pupil_right"][0] < at["eye_right_outer"][0]


@pytest.mark.parametrize("seed", range(6))
def test_box_is_the_bounds_of_the_landmarks(seed: int):
    drawing = draw(random_identity(seed), random_pose(seed), 96)
    x0, y0, x1, y1 = drawing.face_box_xyxy_px
    np.testing.assert_allclose([x0, y0], drawing.landmarks_px.min(0), atol=1e-3)
    np.testing.assert_allclose([x1, y1], drawing.landmarks_px.max(0), atol=1e-3)


@pytest.mark.parametrize("seed", range(8))
def test_eyes_are_where_the_landmarks_say(seed: int):
    """Two drawings that differ in the iris' colour alone differ around the pupil, which is dark."""
    identity = replace(random_identity(seed), glasses="", hair_style="short")
    pose = replace(random_pose(seed), blink=0.0, roll=0.0, gaze_x=0.0, yaw=0.3 * (-1) ** seed)
    camera = framing(identity, [pose], scale=1.3)
    drawing = draw(identity, pose, 256, camera)
    other = draw(replace(identity, iris=tuple(255 - c for c in identity.iris)), pose, 256, camera)
    changed = np.abs(drawing.image.astype(int) - other.image).max(-1) > 20
    seen = np.zeros_like(changed)
    radius = identity.iris_size * 256 / camera.view
    for side in ("left", "right"):
        at = point(drawing, f"pupil_{side}")
        x, y = np.rint(at).astype(int)
        around = np.s_[y - 12 : y + 13, x - 12 : x + 13]
        columns = np.nonzero(changed[around].any(0))[0]
        assert columns.min() + x - 12 + columns.max() + x - 12 == pytest.approx(2 * at[0], abs=2.0), side
        assert 1.5 * radius < np.ptp(columns) + 1 < 2.2 * radius + 1
        assert patch(drawing.image, at + (0, 0.2 * radius), 0).max() < 70  # the pupil, below its glint
        seen[around] = True
    assert not (changed & ~seen).any()  # and nowhere else


@pytest.mark.parametrize("seed", range(6))
def test_lips_are_where_the_landmarks_say(seed: int):
    """Two drawings that differ in the lips' colour alone differ within the landmarks' bounds, and the open mouth
    between the inner landmarks is dark."""
    identity = replace(random_identity(seed), skin=(242.0, 196.0, 160.0), lips=(200.0, 90.0, 90.0), beard="")
    pose = replace(random_pose(seed), mouth=0.8)
    camera = framing(identity, [pose], scale=1.3)
    drawing = draw(identity, pose, 256, camera)
    other = draw(replace(identity, lips=(120.0, 150.0, 200.0)), pose, 256, camera)
    ys, xs = np.nonzero(np.abs(drawing.image.astype(int) - other.image).max(-1) > 25)
    outer = drawing.landmarks_px[[LANDMARKS.index(f"lips_outer_{i}") for i in range(12)]]
    np.testing.assert_allclose([xs.min(), ys.min()], outer.min(0), atol=3)
    np.testing.assert_allclose([xs.max(), ys.max()], outer.max(0), atol=3)
    inner = drawing.landmarks_px[[LANDMARKS.index(f"lips_inner_{i}") for i in range(8)]]
    inside = np.zeros((256, 256), np.uint8)
    cv2.fillPoly(inside, [np.rint(inner).astype(np.int32)], 1)
    assert (
        np.quantile(drawing.image[..., 0][inside > 0], 0.05)
        < 90
        < 150
        < np.quantile(drawing.image[..., 0][inside > 0], 0.95)
    )  # the dark, and tongue or teeth


def test_blink_shuts_and_jaw_drops():
    identity = replace(random_identity(2), glasses="")
    other = replace(identity, iris=tuple(255 - c for c in identity.iris))
    wide, shut = (draw(identity, Pose(blink=b), 256) for b in (0.0, 1.0))

    def gap(drawing) -> float:
        return float(point(drawing, "eye_left_lower_1")[1] - point(drawing, "eye_left_upper_0")[1])

    assert gap(wide) > 8 and abs(gap(shut)) < 0.2 * gap(wide)
    assert (draw(other, Pose(), 256).image != wide.image).any()
    np.testing.assert_array_equal(draw(other, Pose(blink=1.0), 256).image, shut.image)  # no iris is seen
    rest, gaping = (scene_landmarks(identity, Pose(mouth=m)) for m in (0.0, 1.0))
    chin = LANDMARKS.index("jaw_8")
    assert gaping[chin, 1] > rest[chin, 1] + 0.05


def test_signs_of_the_angles():
    identity = random_identity(1)
    index = {name: LANDMARKS.index(name) for name in LANDMARKS}
    rest = scene_landmarks(identity, Pose())
    yawed, lowered, tilted = (
        scene_landmarks(identity, pose) for pose in (Pose(yaw=0.3), Pose(pitch=0.2), Pose(roll=0.3))
    )
    nose, eye = index["nose_bridge_3"], index["pupil_left"]
    middle = (rest[index["jaw_0"]] + rest[index["jaw_16"]]) / 2
    turned = (yawed[index["jaw_0"]] + yawed[index["jaw_16"]]) / 2
    assert yawed[nose, 0] - turned[0] > rest[nose, 0] - middle[0] + 0.2  # the nose to the right
    assert lowered[nose, 1] - lowered[index["jaw_0"], 1] > rest[nose, 1] - rest[index["jaw_0"], 1]
    eyes = tilted[index["pupil_right"]] - tilted[eye]
    assert np.arctan2(eyes[1], eyes[0]) == pytest.approx(0.3, abs=1e-6)  # clockwise on screen, exactly


def test_parallax_is_that_of_a_solid_head():
    """Under yaw alone every point moves as x cos + z sin: the depths that two angles imply agree."""
    identity = random_identity(4)
    pivot_x = 0.0
    depth = []
    rest = scene_landmarks(identity, Pose())
    for yaw in (0.2, 0.5):
        moved = scene_landmarks(identity, Pose(yaw=yaw))
        np.testing.assert_allclose(moved[:, 1], rest[:, 1], atol=1e-9)
        depth.append((moved[:, 0] - pivot_x - (rest[:, 0] - pivot_x) * np.cos(yaw)) / np.sin(yaw))
    np.testing.assert_allclose(depth[0], depth[1], atol=1e-9)
    assert depth[0][LANDMARKS.index("nose_bridge_3")] == depth[0].max()  # the tip is foremost


def test_pose_says_nothing_of_identity():
    """Between two poses of equal expression, all puppets move by the same rotation about the same neck."""
    a, b = Pose(), Pose(roll=0.25, shift_x=0.1, shift_y=-0.05, scale=1.05)
    turn = 1.05 * np.array([[np.cos(0.25), -np.sin(0.25)], [np.sin(0.25), np.cos(0.25)]])
    for seed in range(4):
        before, after = (scene_landmarks(random_identity(seed), pose) for pose in (a, b))
        neck = np.array([0.0, 0.95])
        np.testing.assert_allclose(after, (before - neck) @ turn.T + neck + (0.1, -0.05), atol=1e-9)


def test_motion_is_smooth_bounded_and_lively():
    for seed in range(12):
        motion = random_motion(seed, 200)
        assert motion == random_motion(seed, 200)
        for name, bound, step in (
            ("yaw", 0.5, 0.08),
            ("pitch", 0.3, 0.06),
            ("roll", 0.4, 0.06),
            ("shift_x", 0.3, 0.05),
        ):
            curve = values(motion, name)
            assert np.abs(curve).max() <= bound
            assert np.abs(np.diff(curve)).max() < step, name
        for name in ("mouth", "blink"):
            curve = values(motion, name)
            assert curve.min() >= 0 and curve.max() <= 1
        assert values(motion, "mouth").max() > 0.3 and np.ptp(values(motion, "yaw")) > 0.1
    assert random_motion(1, 30) != random_motion(2, 30)


def test_a_smooth_motion_gives_a_smooth_clip():
    identity, motion = random_identity(7), random_motion(9, 12)
    camera = framing(identity, motion)
    slow = [mix_poses(motion[3], motion[4], k / 4) for k in range(5)]
    frames = [draw(identity, pose, 96, camera).image.astype(float) for pose in slow]
    whole = np.abs(frames[-1] - frames[0]).mean()
    steps = [np.abs(b - a).mean() for a, b in zip(frames[:-1], frames[1:], strict=True)]
    assert max(steps) < 0.6 * whole + 0.3  # no part pops in between


def test_neutral_start():
    first = random_motion(3, 20, neutral_start=True)[0]
    assert all(getattr(first, f.name) == pytest.approx(getattr(Pose(), f.name)) for f in fields(Pose))


def test_framing_is_one_square_around_the_whole_clip():
    identity, motion = random_identity(8), random_motion(8, 30)
    camera = framing(identity, motion, scale=1.25)
    boxes = np.array([draw(identity, pose, 64, camera).face_box_xyxy_px for pose in motion[::3]])
    points = np.concatenate([camera.to_pixels(scene_landmarks(identity, pose), 64, 64) for pose in motion])
    low, high = points.min(0), points.max(0)
    assert (boxes[:, :2] >= low - 1e-3).all() and (boxes[:, 2:] <= high + 1e-3).all()
    assert 64 / (high - low).max() == pytest.approx(1.25, rel=1e-6)
    np.testing.assert_allclose((low + high) / 2, [31.5, 31.5], atol=1e-6)


def test_the_background_stands_still():
    identity, motion = random_identity(6), random_motion(6, 30)
    camera = Camera(0.0, 0.2, 7.0)
    corners = [draw(identity, pose, 96, camera).image[:20, :20] for pose in motion[::10]]
    for corner in corners[1:]:
        np.testing.assert_array_equal(corner, corners[0])


def test_camera_zoom_and_wide_pictures_agree():
    """The same scene through another camera is the same scene."""
    identity, pose = random_identity(3), Pose(roll=0.35, yaw=0.2)
    close = draw(identity, pose, 200, Camera(0.1, 0.2, 3.0))
    wide = draw(identity, pose, (400, 300), Camera(0.1, 0.2, 6.0))
    np.testing.assert_allclose(close.landmarks_px - 99.5, wide.landmarks_px - (199.5, 149.5), atol=1e-3)
    middle = wide.image[50:250, 100:300].astype(float)
    assert np.abs(middle - close.image).mean() < 1.0


def test_mediapipe_finds_them_with_the_right_landmarks(capfd):
    """Box and mesh in at least 98 % of a sample at the full range of poses, and the mesh where the truth says."""
    mediapipe = pytest.importorskip("mediapipe")
    silence = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)  # mediapipe's native log lines have no other switch
    try:
        boxes = mediapipe.solutions.face_detection.FaceDetection(model_selection=0, min_detection_confidence=0.5)
        mesh = mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=True, min_detection_confidence=0.5)
        found, errors = [], []
        for seed in range(50):
            identity, pose = random_identity(200 + seed // 2), random_pose(seed)
            drawing = draw(identity, pose, 256, framing(identity, [pose], scale=1.4))
            faces = mesh.process(drawing.image).multi_face_landmarks
            found.append(bool(boxes.process(drawing.image).detections) and bool(faces))
            if faces:
                seen = np.array([(p.x * 256 - 0.5, p.y * 256 - 0.5) for p in faces[0].landmark])
                truth = [
                    (point(drawing, f"eye_{s}_inner") + point(drawing, f"eye_{s}_outer")) / 2 for s in ("left", "right")
                ]
                truth.append((point(drawing, "lips_outer_0") + point(drawing, "lips_outer_6")) / 2)
                found_at = [seen[[33, 133]].mean(0), seen[[362, 263]].mean(0), seen[[61, 291]].mean(0)]
                x0, y0, x1, y1 = drawing.face_box_xyxy_px
                errors.append(np.linalg.norm(np.array(truth) - found_at, axis=1) / max(x1 - x0, y1 - y0))
        boxes.close()
        mesh.close()
    finally:
        os.dup2(silence, 2)
        os.close(silence)
    assert np.mean(found) >= 0.98
    assert np.median(errors) < 0.03


# ------------------------------------------------------------------------------------------------------- data sets


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("puppets")
    return write_puppets(folder / "set", identities=5, clips=2, frames=3, size=32, seed=1)


def test_dataset_is_whole_and_its_splits_share_nobody(dataset: Path):
    clips = read_manifest(dataset)
    assert len(clips) == 10 and {clip.split for clip in clips} == {"train", "val", "test"}
    people = {split: {clip.identity for clip in clips if clip.split == split} for split in ("train", "val", "test")}
    assert (
        not people["train"] & people["val"]
        and not people["train"] & people["test"]
        and not people["val"] & people["test"]
    )
    for clip in clips:
        files = sorted((dataset.parent / clip.path).glob("*.png"))
        assert len(files) == clip.frames == 3
        assert cv2.imread(str(files[0])).shape == (clip.height, clip.width, 3) == (32, 32, 3)


def test_truth_beside_a_clip_draws_it_again(dataset: Path):
    clip = read_manifest(dataset)[3]
    truth = load_puppet_truth(dataset.parent / clip.path)
    identity, camera = random_identity(int(truth["identity"])), Camera(*truth["camera"].tolist())
    for index, row in enumerate(truth["poses"]):
        drawing = draw(identity, Pose(**dict(zip(truth["pose_names"].tolist(), row.tolist(), strict=True))), 32, camera)
        written = cv2.imread(str(dataset.parent / clip.path / f"{index:06d}.png"))[..., ::-1]
        np.testing.assert_array_equal(written, drawing.image)
        np.testing.assert_array_equal(truth["landmarks_px"][index], drawing.landmarks_px)


def test_dataset_again_is_equal_and_never_overwrites(dataset: Path, tmp_path: Path):
    again = write_puppets(tmp_path / "again", identities=5, clips=2, frames=3, size=32, seed=1)
    ours = {p.relative_to(dataset.parent): p.read_bytes() for p in dataset.parent.rglob("*") if p.is_file()}
    theirs = {p.relative_to(again.parent): p.read_bytes() for p in again.parent.rglob("*") if p.is_file()}
    assert ours == theirs
    with pytest.raises(InputError, match="exists already"):
        write_puppets(again.parent, identities=5, clips=2, frames=3, size=32)


def test_bad_counts_are_named(tmp_path: Path):
    with pytest.raises(InputError, match="identities 2"):
        puppet_splits(2)
    with pytest.raises(InputError, match="frames 1"):
        write_puppets(tmp_path / "x", identities=3, clips=1, frames=1, size=32)
    for wrong in ({"scale_range": (2.0, 1.0)}, {"scale_range": (0.0, 1.0)}, {"calm": 2.0}):
        with pytest.raises(InputError, match=f"--{next(iter(wrong))} "):
            write_puppets(tmp_path / "x", identities=3, clips=1, frames=2, size=32, **wrong)
    with pytest.raises(InputError, match="test identity"):
        write_puppet_pairs(tmp_path / "x", identities=5, pairs=1, frames=2, size=32)
    assert not (tmp_path / "x").exists()


def test_pairs_hold_the_exact_answer(tmp_path: Path, dataset: Path):
    table = write_puppet_pairs(tmp_path / "pairs", identities=20, pairs=2, frames=3, size=48, seed=1)
    clips = {clip.clip_id: clip for clip in read_manifest(table.with_name("manifest.csv"))}
    held_out = {f"puppet{person:04d}" for person, split in enumerate(puppet_splits(20)) if split == "test"}
    with open(table, newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2
    for row in rows:
        source, driving, truth = (clips[row[role]] for role in ("source", "driving", "truth"))
        assert source.identity == truth.identity != driving.identity
        assert {source.identity, driving.identity} <= held_out
        known = {role: load_puppet_truth(table.parent / clips[row[role]].path) for role in row}
        np.testing.assert_array_equal(known["truth"]["poses"], known["driving"]["poses"])
        a, camera = random_identity(int(known["truth"]["identity"])), Camera(*known["truth"]["camera"].tolist())
        names = known["driving"]["pose_names"].tolist()
        for index, pose in enumerate(known["driving"]["poses"]):
            drawn = draw(a, Pose(**dict(zip(names, pose.tolist(), strict=True))), 48, camera).image
            written = cv2.imread(str(table.parent / truth.path / f"{index:06d}.png"))[..., ::-1]
            np.testing.assert_array_equal(written, drawn)
        first = [cv2.imread(str(table.parent / clip.path / "000000.png")) for clip in (source, truth)]
        np.testing.assert_array_equal(*first)


# --------------------------------------------------------------------------------------------------- demonstration


def test_voice_follows_the_mouth():
    motion = random_motion(4, 75)
    mouth = values(motion, "mouth")
    sound = babble(mouth, 25.0)
    assert len(sound) == 3 * 48_000 and np.abs(sound).max() <= 1
    loud = np.sqrt((sound.reshape(75, -1) ** 2).mean(1))
    assert np.corrcoef(loud, mouth)[0, 1] > 0.85


def test_demo_is_a_tilted_portrait_and_a_clip_with_sound(tmp_path: Path):
    import av

    portrait, clip = write_demo(tmp_path / "demo")
    assert cv2.imread(str(portrait)).shape == (720, 960, 3)
    with av.open(str(clip)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
        assert (video.width, video.height, video.average_rate, video.frames) == (384, 384, 25, 100)
        sound = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    assert abs(len(sound) / 48_000 - 4) < 0.05 and np.sqrt((sound**2).mean()) > 0.01
