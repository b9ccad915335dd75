"""Dancing figures: one dancer per video, the same for the same seed, in a folder that training takes as it is."""

from __future__ import annotations

from dataclasses import astuple, replace

import cv2
import numpy as np
import pytest
import yaml
from pictures import ROOT

from fomm.checkpoint import Checkpoint, load_model
from fomm.errors import InputError
from fomm.manifest import read_manifest
from fomm.model import FOMM, DenseMotionConfig, DetectorConfig, GeneratorConfig, ModelConfig
from fomm.video import VideoReader
from fomm.video_folder import manifest_of_folder
from preprocess.synthetic.figures import Posture, draw_figure, knee_between, random_dance, random_figure, write_figures


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(float) - b).mean())


def test_equal_seeds_draw_equal_pictures_and_others_differ():
    assert random_figure(3) == random_figure(3) and random_dance(3, 5) == random_dance(3, 5)
    figures = [random_figure(seed) for seed in range(5)]
    pictures = [draw_figure(figure, Posture(), 64) for figure in figures]
    np.testing.assert_array_equal(pictures[0], draw_figure(figures[0], Posture(), 64))
    assert min(difference(a, b) for i, a in enumerate(pictures) for b in pictures[:i]) > 10


def test_a_picture_is_the_same_scene_at_every_size():
    figure, posture = random_figure(1), random_dance(1, 10)[9]
    shrunk = cv2.resize(draw_figure(figure, posture, 256), (64, 64), interpolation=cv2.INTER_AREA)
    assert difference(shrunk, draw_figure(figure, posture, 64)) < 1.5


def test_edges_are_smooth():
    """Half-pixel moves change the picture by about half as much as whole-pixel moves."""
    figure = random_figure(2)
    pixel = 1.3 / 64
    still, half, whole = (draw_figure(figure, Posture(shift=shift), 64) for shift in (0.0, pixel / 2, pixel))
    assert 0.35 < difference(still, half) / difference(still, whole) < 0.7


@pytest.mark.parametrize("seed", range(8))
def test_motion_is_smooth_and_these_dancers_stay_in_the_picture(seed: int):
    motion = random_dance(seed, 100)
    values = np.array([np.hstack([np.ravel(part) for part in astuple(posture)]) for posture in motion])
    assert np.abs(np.diff(values, axis=0)).max() < 0.35  # radians or lengths from frame to frame
    assert np.ptp(values, axis=0).min() > 0.02  # everything moves
    blank = replace(random_figure(seed), wall=(0, 0, 0), floor=(0, 0, 0))
    pictures = [draw_figure(blank, posture, 64) for posture in motion[::5]]
    assert max(picture.max() for picture in pictures) > 100
    for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        assert max(picture[edge].max() for picture in pictures) == 0


def test_bones_keep_their_lengths():
    hip, foot = np.array([0.1, -0.4]), np.array([0.15, -0.05])
    for side in (-1, 1):
        knee = knee_between(hip, foot, 0.2, side)
        assert np.linalg.norm(knee - hip) == pytest.approx(0.2) == pytest.approx(np.linalg.norm(knee - foot))
        assert side * (knee[0] - (hip[0] + foot[0]) / 2) > 0
    stretched = knee_between(hip, foot, 0.1, 1)
    np.testing.assert_allclose(stretched, (hip + foot) / 2)


def test_arms_rise_outwards():
    """With raised arms the figure is wider in the picture."""
    figure = replace(random_figure(0), wall=(0, 0, 0), floor=(0, 0, 0), skin=(255, 255, 255), trousers=(0, 0, 0))
    seen = [
        draw_figure(figure, Posture(shoulders=(a, a), elbows=(0, 0)), 128).max((0, 2)) > 128 for a in (0.2, np.pi / 2)
    ]
    hanging, raised = ([int(columns.argmax()), int(columns[::-1].argmax())] for columns in seen)
    assert raised[0] < hanging[0] - 15 and raised[1] < hanging[1] - 15
    assert abs(raised[0] - raised[1]) <= 1  # both arms alike


def test_a_plain_folder_of_videos_that_training_takes(tmp_path):
    folder = write_figures(tmp_path / "figures", identities=3, frames=6, size=64, fps=20, seed=1)
    files = sorted(folder.iterdir())
    assert [file.name for file in files] == ["figure0000.mp4", "figure0001.mp4", "figure0002.mp4"]
    frames = [frame.image for frame in VideoReader(files[1])]
    own = 100_003 + 1
    expected = [draw_figure(random_figure(own), posture, 64) for posture in random_dance(own, 6, 20)]
    assert len(frames) == 6 and difference(np.stack(frames), np.stack(expected)) < 6
    clips = read_manifest(manifest_of_folder(folder))
    assert [(clip.split, clip.frames, clip.fps) for clip in clips] == [
        ("train", 6, 20),
        ("train", 6, 20),
        ("val", 6, 20),
    ]


def test_bad_requests_are_explained(tmp_path):
    for wrong in ({"identities": 0}, {"frames": 0}, {"size": 15}, {"size": 33}, {"fps": 0}):
        with pytest.raises(InputError, match=f"--{next(iter(wrong))} "):
            write_figures(tmp_path / "new", **{"identities": 1, "frames": 2} | wrong)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="exists already"):
        write_figures(tmp_path / "new", identities=1, frames=2)
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["mine.txt"]


def test_the_tutorials_networks_take_all_learnt_tensors_of_the_embedded_model():
    network = yaml.safe_load((ROOT / "configs" / "figures-64.yaml").read_text())["model"]["network"]
    parts = {"detector": DetectorConfig, "dense_motion": DenseMotionConfig, "generator": GeneratorConfig}
    model = FOMM.from_config(ModelConfig(**network | {name: kind(**network[name]) for name, kind in parts.items()}))
    report = Checkpoint.read("puppets").initialize(model)
    assert all(name.endswith(".down.weight") for name in [*report.fresh, *report.unused])  # blur kernels at most
    assert load_model("puppets").model.config.generator == model.config.generator
