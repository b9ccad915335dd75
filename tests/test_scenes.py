"""Scenes of two people: exact truth, and how right the tracks are on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from track_score import score_tracks

from fomm.errors import InputError
from fomm.video import VideoReader
from preprocess.faces import FaceFinder, framing_box
from preprocess.synthetic.puppet_model import Camera, Pose, random_identity
from preprocess.synthetic.puppet_painter import draw
from preprocess.synthetic.scenes import KINDS, SceneTruth, direct, lay, load_scene_truth, write_scenes
from preprocess.track import Sample, Track, find_tracks

FRAMES, WIDTH, HEIGHT = 36, 480, 270


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One scene of each kind."""
    output = tmp_path_factory.mktemp("drawn") / "scenes"
    return write_scenes(output, scenes=4, frames=FRAMES, width=WIDTH, height=HEIGHT, seed=3)


def track(start: int, boxes: list[tuple[float, float, float, float]]) -> Track:
    samples = tuple(
        Sample(start + k, box, ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), box[3] - box[1], 0, 0, 0)
        for k, box in enumerate(boxes)
    )
    return Track(start, start + len(boxes), 100, 100, samples, len(samples))


def test_tracks_are_pure_and_boxes_agree(videos: Path) -> None:
    """The bar: 99 % of all frames of tracks show the track's person, mean IoU with the true boxes 0.9."""
    frames = right = overlap = 0.0
    with FaceFinder() as finder:
        for kind, path in zip(KINDS, sorted(videos.iterdir(), key=lambda path: path.stem[-3:]), strict=True):
            truth = load_scene_truth(path)
            assert truth.kind == kind and truth.seen.shape[0] == FRAMES
            score = score_tracks(find_tracks(VideoReader(path).lazy_frames(), finder), truth)
            assert score.coverage >= 0.8, kind
            frames += score.frames
            right += score.purity * score.frames
            overlap += score.iou * score.frames
    assert right / frames >= 0.99
    assert overlap / frames >= 0.9


def test_tracks_are_those_of_whole_frames_too(videos: Path) -> None:
    """Lazy frames and plain pictures lead to the same tracks but for the small picture that is compared."""
    path = videos / "cut002.mp4"
    with FaceFinder() as finder:
        lazy = find_tracks(VideoReader(path).lazy_frames(), finder)
        plain = find_tracks((frame.image for frame in VideoReader(path)), finder)
    assert [(one.start, one.stop) for one in lazy] == [(one.start, one.stop) for one in plain]


def test_truth_is_that_of_the_drawing() -> None:
    """An upright person in the middle: its landmarks are the drawing's, moved; the picture changes only around it."""
    identity, pose = random_identity(12), Pose(yaw=0.2, smile=0.5)
    picture = np.full((200, 300, 3), 90, np.float32)
    place = np.array([0.5, 0.5, 0.4, 0.0])  # a head of 0.4 x 200 px: 80 / 1.75 pixels per scene unit
    figure = lay(picture, identity, pose, place)
    side = round(5.2 * 80 / 1.75)
    camera = Camera(0.0, 0.75, 5.2)
    drawn = draw(identity, pose, side, camera)
    moved = drawn.landmarks_px - camera.to_pixels(np.zeros(2), side, side) + (150, 100)
    assert figure.landmarks_px == pytest.approx(moved, abs=1e-3)
    left, top, right, bottom = framing_box(figure.landmarks_px)
    assert 70 < bottom - top < 90 and 110 < left < right < 190
    assert (picture[figure.cover == 0] == 90).all() and (picture[:20] == 90).all()
    nose = figure.landmarks_px[30].round().astype(int)
    assert figure.cover[nose[1], nose[0]] == pytest.approx(1, abs=0.01)
    # where the person covers the picture, it is as drawn before its own backdrop
    x, y = drawn.landmarks_px[30].round().astype(int)
    assert np.abs(picture[nose[1], nose[0]] - drawn.image[y, x]).max() < 12


def test_a_tilted_head_is_turned_about_its_middle() -> None:
    picture = np.zeros((300, 300, 3), np.float32)
    eyes = [36, 39, 42, 45]
    points = [
        lay(picture.copy(), random_identity(3), Pose(), np.array([0.5, 0.5, 0.3, tilt])).landmarks_px[eyes]
        for tilt in (0.0, np.deg2rad(20))
    ]
    offset = points[0] - 150
    turn = np.array([[np.cos(0.349066), -np.sin(0.349066)], [np.sin(0.349066), np.cos(0.349066)]])
    assert points[1] == pytest.approx(offset @ turn.T + 150, abs=0.5)  # clockwise on the screen


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_its_difficulty(kind: str) -> None:
    shots = direct(kind, 100, np.random.default_rng(1))
    assert sum(len(shot.actors[0].places) for shot in shots) == 100
    people = {actor.person for shot in shots for actor in shot.actors}
    x = {actor.person: actor.places[:, 0] for actor in shots[0].actors}
    if kind == "apart":
        assert x[0].max() < 0.5 < x[1].min()
    if kind == "crossing":
        assert x[0][0] < x[1][0] and x[0][-1] > x[1][-1]
    if kind == "cut":
        assert [shot.backdrop == shots[1].backdrop for shot in shots] == [False, True, True]
        assert shots[1].actors[0].places[-1, 0] < 0.5 < shots[2].actors[0].places[0, 0]  # places swapped
    if kind == "leaving":
        assert people == {0, 1, 2} and x[1].min() < -0.2 and x[1].max() > 1.2


def test_scores_by_hand() -> None:
    """Person 0 on the left, 1 on the right, 10 frames; a perfect track, and one that changes over after 6 of 8."""
    left, right = (0.0, 0.0, 10.0, 10.0), (50.0, 0.0, 60.0, 10.0)
    truth = SceneTruth(("a", "b"), np.tile(np.array([left, right]), (10, 1, 1)), np.ones((10, 2)), "apart")
    perfect = score_tracks([track(0, [left] * 10)], truth)
    assert perfect == (1.0, 1.0, 0.5, 1, 10)
    shifted = (2.0, 0.0, 12.0, 10.0)  # IoU 8 / 12
    mixed = score_tracks([track(0, [left] * 10), track(2, [right] * 6 + [shifted] * 2)], truth)
    assert mixed.purity == pytest.approx((10 + 6) / 18)
    assert mixed.coverage == pytest.approx((10 + 6) / 20)
    assert mixed.iou == 1.0
    assert score_tracks([track(0, [shifted] * 4)], truth).iou == pytest.approx(8 / 12)
    nowhere = (80.0, 80.0, 90.0, 90.0)
    assert score_tracks([track(0, [nowhere] * 3)], truth).purity == 0
    empty = score_tracks([], truth)
    assert np.isnan(empty.purity) and empty.coverage == 0


def test_equal_arguments_give_equal_truth(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_scenes(tmp_path / name, scenes=1, frames=30, width=320, height=240, seed=4)
    one, other = (load_scene_truth(tmp_path / name / "videos" / "apart000.mp4") for name in ("a", "b"))
    assert one.identities == other.identities
    assert np.array_equal(one.boxes_xyxy_px, other.boxes_xyxy_px) and np.array_equal(one.seen, other.seen)


@pytest.mark.parametrize("option", [{"scenes": 0}, {"frames": 3}, {"width": 100}, {"height": 9}, {"fps": 0}])
def test_impossible_values_are_told(tmp_path: Path, option: dict[str, int]) -> None:
    (name,) = option
    with pytest.raises(InputError, match=f"--{name}"):
        write_scenes(tmp_path / "x", **option)
    assert not (tmp_path / "x").exists()


def test_no_folder_in_use_and_no_video_without_truth(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(InputError, match="exists already"):
        write_scenes(tmp_path)
    with pytest.raises(InputError, match="no ground truth"):
        load_scene_truth(tmp_path / "videos" / "a.mp4")
