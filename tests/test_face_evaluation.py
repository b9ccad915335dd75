"""Model `face` is evaluated beside the paper's models: the same frames, its own eyes, and what cannot be measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_clips import disc_clip, write_clip

import evaluate
from fomm.animator.face import FaceAnimator
from fomm.checkpoint import save_weights
from fomm.evaluation.animated_task import AnimatedTask
from fomm.evaluation.contenders import load_contenders
from fomm.evaluation.tasks import Task
from fomm.manifest import Pair, write_manifest, write_pairs
from fomm.model.face import FaceConfig, FaceModel
from fomm.video import VideoReader
from preprocess.faces import FaceFinder

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two short clips of the drawn speaker, one of a disc, and a model `face` with fresh weights."""
    folder = tmp_path_factory.mktemp("face")
    frames = [frame.image for frame in VideoReader(ROOT / "fomm" / "assets" / "speaker.mp4")]
    side = min(frames[0].shape[:2])
    square = [frame[:side, (frame.shape[1] - side) // 2 :][:, :side] for frame in frames]
    clips = [write_clip(folder, name, square[start : start + 12 : 3], name) for name, start in (("a", 0), ("b", 50))]
    clips.append(disc_clip(folder, "disc", 3, identity="disc"))
    write_manifest(folder / "manifest.csv", clips)
    write_pairs(folder / "pairs.csv", [Pair("a", "b"), Pair("disc", "a")])
    torch.manual_seed(0)
    save_weights(folder / "drawn.safetensors", FaceModel(FaceConfig(width=8)), category="face")
    return folder


def test_beside_the_others_on_the_same_frames(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # weights of metrics that are not here: not needed
    report = evaluate.evaluate(
        evaluate.Options(
            checkpoint=[str(here / "drawn.safetensors"), "source"], baseline="puppets", data=str(here / "manifest.csv"),
            pairs=str(here / "pairs.csv"), output=str(here / "report"), device="cpu",
        )
    )  # fmt: skip
    summary = report.protocols["reconstruction"].summary
    l1 = {name: values.clip_mean for name, values in summary["l1_face"].items()}
    assert l1["drawn"] < 0.7 * l1["source"], l1
    assert summary["akd_mediapipe"]["drawn"].clip_mean < summary["akd_mediapipe"]["source"].clip_mean
    assert summary["keypoints_own"].keys() == {"puppets"}
    about = next(model for model in report.models if model.name == "drawn")
    assert about.num_keypoints is None and any("keypoints_own is not measured" in note for note in about.notes)
    assert "head_pose" in report.protocols["cross_identity"].summary
    failed = {(failure.clip, failure.model): failure.reason for failure in report.failures}
    assert failed.keys() == {("disc", "drawn"), ("disc+a", "drawn")}
    assert all("no face is seen in the source picture" in reason for reason in failed.values())


def test_what_drives_itself_comes_out_as_it_went_in(here: Path) -> None:
    with FaceFinder() as finder:
        (contender,) = load_contenders([str(here / "drawn.safetensors")], observer=lambda: finder)
        assert isinstance(contender.animator, FaceAnimator) and contender.image_size == 256
        clip = write_clip(here, "still", [next(iter(VideoReader(here / "a"))).image] * 3, "still")
        animated = AnimatedTask(Task("reconstruction", clip, clip, clip), here, [contender], 256)
        shots = list(animated)
    assert not animated.failed
    prediction = shots[0].predictions["drawn"].permute(0, 2, 3, 1).numpy()
    assert np.abs(prediction - shots[0].driving / 255).max() < 2 / 255
