"""The training of model `face`: pairs, losses, and `train.py fit` run for real on a small set of heads."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pictures import ROOT
from safetensors.torch import load_file
from small_heads import face_mesh, face_picture, write_heads

import train
from fomm.checkpoint import load_model
from fomm.errors import InputError
from fomm.model.face import Face, FaceModel
from fomm.model.face.generator import Output, support
from fomm.training.face import data, module
from fomm.training.face.critic import Critic, Judged
from fomm.training.face.data import FaceData, Heads, TrainPatches, find_sets, open_set
from fomm.training.face.finish import compressed, mirrored, random_look
from fomm.training.face.losses import (
    FaceLossWeights,
    coarse_l1,
    critic_hinge,
    critic_terms,
    edges_l1,
    importance,
    terms,
)
from fomm.training.face.module import rate_factor
from fomm.training.face.patches import training_pair
from preprocess.dataset.face_set import FRAMES, Seen, deal, write_faces

SPEAKER = ROOT / "fomm" / "assets" / "speaker.mp4"


@pytest.fixture(scope="module")
def heads(tmp_path_factory) -> Path:
    return write_heads(tmp_path_factory.mktemp("sets") / "heads")


def options(heads: Path, output: Path, *more: str) -> list[str]:
    return [
        "fit", "--config", str(ROOT / "configs" / "face.yaml"), "--data.folder", str(heads),
        "--model.network.width=8", "--data.batch_size=4", "--trainer.precision=32", "--trainer.accelerator=cpu",
        "--trainer.logger.init_args.save_dir", str(output), "--trainer.val_check_interval=3", "--snapshots.pairs=0",
        "--trainer.log_every_n_steps=1", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false",
        *more,
    ]  # fmt: skip


def folder(output: Path) -> Path:
    return sorted((output / "face").iterdir())[-1]


# ---- pairs --------------------------------------------------------------------------------------------------------


def test_a_frame_is_a_pair_with_itself() -> None:
    """Nothing moves, so the patch is the target."""
    mesh = face_mesh(np.random.default_rng(1))
    picture = face_picture(mesh, np.array([200, 150, 120]))
    pair = training_pair(picture, Face(mesh), picture, Face(mesh))
    assert pair.patch.shape == pair.target.shape == (80, 96, 3) and pair.conditions.shape == (5, 80, 96)
    assert np.abs(pair.patch - pair.target).max() < 0.02


def test_the_finish_is_alike_on_both_sides() -> None:
    rng = np.random.default_rng(2)
    colours = rng.random((80, 96, 3)).astype(np.float32)
    look = random_look(rng)
    assert np.array_equal(look(colours), look(colours)) and look(colours).min() >= 0 and look(colours).max() <= 1
    smooth = cv2.GaussianBlur(colours, (0, 0), 8)
    assert 0 < np.abs(compressed(smooth, 90) - smooth).mean() < 0.01
    conditions = rng.normal(size=(5, 80, 96)).astype(np.float32)
    twice = mirrored(mirrored(conditions))
    assert np.array_equal(twice, conditions)
    assert np.array_equal(mirrored(conditions)[2], -conditions[2, :, ::-1])
    greys = 0
    for _ in range(200):
        picture = random_look(rng)(np.array([[[0.9, 0.4, 0.2]]]))
        greys += np.ptp(picture) < 1e-9
    assert 8 < greys < 50  # 12 % of 200


def test_items_depend_on_nothing_but_seed_epoch_and_position(heads: Path) -> None:
    everything = Heads([open_set(heads)])
    one, other = (TrainPatches(everything, range(2, 8), seed=3) for _ in range(2))
    assert len(one) == 6 * 4
    first = one[5, 7]
    one[5, 8]
    assert all(torch.equal(tensor, other[5, 7][name]) for name, tensor in first.items())
    assert not torch.equal(first["patch"], one[6, 7]["patch"])
    assert {name: tuple(x.shape) for name, x in first.items()} == {
        "patch": (3, 80, 96), "conditions": (5, 80, 96), "target": (3, 80, 96),
    }  # fmt: skip
    assert all(x.dtype == torch.float32 for x in first.values())


def test_training_and_held_out_heads_are_apart(heads: Path) -> None:
    both = FaceData(folder=str(heads), batch_size=4, workers=0)
    both.setup()
    rows = [{row for row, _ in pairs.items} for pairs in (both.held_out_pairs, both.train_pairs)]
    assert rows == [{0, 1}, set(range(2, 8))] and both.size == 128  # a quarter, though 24 are asked for
    assert len(both.held_out_pairs) == 2 * 3


def test_several_sets_are_one(heads: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copytree(heads, tmp_path / name)
    (tmp_path / "c").mkdir()
    assert find_sets(tmp_path) == [tmp_path / "a", tmp_path / "b"] and find_sets(heads) == [heads]
    both = FaceData(folder=str(tmp_path), batch_size=4, workers=0)
    both.setup()
    found = both.held_out_pairs.heads
    assert len(found) == 16 and np.array_equal(found[11].mesh, found[3].mesh)


def test_sets_that_cannot_be_used(heads: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no set of heads; draw one with `python -m preprocess heads"):
        FaceData(folder=str(tmp_path)).setup()
    with pytest.raises(InputError, match="24 frame.s. do not fill one batch of 64"):
        FaceData(folder=str(heads), batch_size=64).setup()
    (tmp_path / "set").mkdir()
    np.save(tmp_path / "set" / "frames.npy", np.zeros((3, 2, 8, 8, 3), np.uint8))
    for wrong in (np.zeros((3, 2, 468, 3), np.float32), np.zeros((3, 2, 478, 3), "U1")):
        np.save(tmp_path / "set" / "mesh.npy", wrong)
        with pytest.raises(InputError, match="not a set of heads; make it again"):
            FaceData(folder=str(tmp_path)).setup()
    np.save(tmp_path / "set" / "mesh.npy", np.full((3, 2, 478, 3), np.nan, np.float32))
    with pytest.raises(InputError, match="landmarks that are no numbers; make it again"):
        FaceData(folder=str(tmp_path)).setup()
    (tmp_path / "set" / "mesh.npy").write_bytes(b"nothing")
    with pytest.raises(InputError, match="set: cannot be read .*; make the set again"):
        FaceData(folder=str(tmp_path)).setup()


# ---- losses -------------------------------------------------------------------------------------------------------


def test_what_is_right_costs_nothing() -> None:
    opening = torch.zeros(1, 1, 80, 96)
    opening[..., 30:50, 30:60] = 1
    target = torch.rand(1, 3, 80, 96)
    right = terms(Output(target, target, 1 - opening), opening, target, FaceLossWeights())
    assert right.keys() == vars(FaceLossWeights()).keys() - {"adversarial", "features"}
    assert all(loss == 0 for loss in right.values())
    beside = terms(Output(target, target, opening), opening, target, FaceLossWeights())
    assert beside["occlusion"] == pytest.approx(0.05 * (1 - 600 / (80 * 96)))


def test_losses_by_hand() -> None:
    """A prediction that is 0.1 too bright in an opening that is all there is."""
    opening, target = torch.ones(1, 1, 8, 8), torch.zeros(1, 3, 8, 8)
    found = terms(Output(target + 0.1, target + 0.2, 0 * opening), opening, target, FaceLossWeights())
    wanted = {"prediction": 1.3, "painted": 0.8, "edges": 0.0, "coarse": 0.3, "occlusion": 0.0}
    assert {name: round(float(loss), 5) for name, loss in found.items()} == wanted
    assert importance(opening).unique().tolist() == [13] and importance(0 * opening).unique().tolist() == [1]
    step = torch.zeros(1, 3, 4, 4)
    step[..., 2:] = 1  # a step to the right, in 4 of the 12 places where there could be one
    assert edges_l1(step, 0 * step, torch.zeros(1, 1, 4, 4)) == pytest.approx(1 / 3)
    checks = (torch.arange(64).view(1, 1, 8, 8) + torch.arange(8).view(8, 1)) % 2.0
    assert coarse_l1(checks, 0.5 + 0 * checks) == 0  # as a whole it is right
    assert support(opening).max() <= 1


def test_losses_of_the_critic_by_hand() -> None:
    predicted = Judged(torch.full((2, 1, 3, 3), -0.5), [torch.zeros(2, 4, 5, 5), torch.ones(2, 1)])
    real = Judged(torch.full((2, 1, 3, 3), 2.0), [torch.full((2, 4, 5, 5), 0.25), torch.ones(2, 1)])
    found = critic_terms(predicted, real, FaceLossWeights(adversarial=0.1, features=2))
    assert {name: float(loss) for name, loss in found.items()} == pytest.approx({"adversarial": 0.05, "features": 0.5})
    assert critic_hinge(predicted, real) == 0.5  # the drawn patches are beyond their margin, the finished ones are not
    patch, conditions = torch.rand(2, 3, 80, 96), torch.rand(2, 5, 80, 96)
    judged = Critic(width=4)(patch, conditions)
    assert judged.scores.shape[:2] == (2, 1) and [f.shape[1] for f in judged.features] == [4, 8, 16, 16]


def test_shut_mouths_are_rare(heads: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "SHUT", 0.02)  # lips that touch cover 0.012 of these wide mouths' patches
    pairs = TrainPatches(Heads([open_set(heads)]), range(8), seed=0)
    shut = {item for item in pairs.items if pairs.heads[item[0]].pair(0, item[1]).conditions[0].mean() < 0.02}
    assert 0 < len(shut) < len(pairs.items)
    before = len(shut) / len(pairs.items)
    after = np.mean([pairs[epoch, i]["conditions"][0].mean() < 0.02 for epoch in range(4) for i in range(len(pairs))])
    assert after < 0.8 * before


def test_the_learning_rate_rises_stays_and_falls() -> None:
    rates = [round(rate_factor(step, steps=8, warmup_steps=2), 3) for step in range(9)]
    assert rates == [0.5, 1.0, 1.0, 1.0, 1.0, 0.854, 0.5, 0.146, 0.0]
    assert rate_factor(0, steps=8, warmup_steps=0) == 1


# ---- train.py -----------------------------------------------------------------------------------------------------


def test_a_short_training_paints_better_than_the_warp(heads: Path, tmp_path: Path) -> None:
    more = ["--trainer.max_steps=60", "--model.warmup_steps=5", "--model.learning_rate=5e-3", "--snapshots.pairs=2"]
    cli = train.main(options(heads, tmp_path, *more, "--trainer.val_check_interval=30", "--model.average_decay=0.9"))
    rows = list(csv.DictReader((folder(tmp_path) / "metrics.csv").open()))
    ratios = [float(row["val/l1_ratio"]) for row in rows if row["val/l1_ratio"]]
    losses = [float(row["train/loss"]) for row in rows if row["train/loss"]]
    assert ratios[-1] < 0.9 and np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
    assert {"learning_rate/generator", "gradient_norm/generator", "train/painted"} <= rows[0].keys()
    loaded, info = load_model(folder(tmp_path) / "weights-last.safetensors")
    assert isinstance(loaded, FaceModel) and (info.category, info.image_size) == ("face", 128)
    assert info.provenance["steps"] == 60 and info.provenance["val_l1_ratio"] == pytest.approx(ratios[-1])
    assert len(info.provenance["mesh_sha256"]) == 64
    average = loaded.state_dict()
    assert all(torch.equal(tensor, average[name]) for name, tensor in cli.model.average.state_dict().items())
    best, other = (
        load_model(folder(tmp_path) / name) for name in ("checkpoints/best.ckpt", "weights-best.safetensors")
    )
    assert best.info.notes == ("averaged weights",) and (best.info.category, best.info.image_size) == ("face", 128)
    same = other.model.state_dict()
    assert all(torch.equal(tensor, same[name]) for name, tensor in best.model.state_dict().items())
    pictures = {file.name for file in (folder(tmp_path) / "pictures").iterdir()}
    assert {"pairs-0000060.png", "clip-0000060.mp4"} <= pictures


def test_resumed_it_is_the_same_training(heads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CRITIC_LEAD", 2)
    more = ["--trainer.max_steps=9", "--resume_point.every_n_train_steps=5", "--model.average_decay=0.9"]
    train.main(options(heads, tmp_path / "whole", *more))
    point = folder(tmp_path / "whole") / "checkpoints" / "resume.ckpt"
    assert torch.load(point, weights_only=True)["global_step"] == 5
    rows = list(csv.DictReader((folder(tmp_path / "whole") / "metrics.csv").open()))
    assert [row["step"] for row in rows if row["train/adversarial"]] == [str(step) for step in range(2, 9)]
    train.main(options(heads, tmp_path / "resumed", *more, f"--ckpt_path={point}"))
    one, other = (load_file(folder(tmp_path / n) / "weights-last.safetensors") for n in ("whole", "resumed"))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_fine_tuning_starts_from_a_checkpoint(heads: Path, tmp_path: Path) -> None:
    train.main(options(heads, tmp_path / "first", "--trainer.max_steps=1"))
    weights = folder(tmp_path / "first") / "weights-last.safetensors"
    again = ["--trainer.max_steps=1", "--model.network=null", f"--model.init={weights}", "--model.learning_rate=0"]
    cli = train.main(options(heads, tmp_path / "second", *again))
    assert cli.model.model.config.width == 8
    before, after = load_file(weights), load_file(folder(tmp_path / "second") / "weights-last.safetensors")
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    with pytest.raises(InputError, match="holds a model 'fomm', but 'face' is wanted"):
        train.main(options(heads, tmp_path, "--model.init=puppets"))
    with pytest.raises(InputError, match="holds a model 'face', but 'fomm' is wanted"):
        train.main(["fit", "--data.manifest=x", f"--model.init={weights}"])
    with pytest.raises(InputError, match="of a training of 'face', but the config trains 'fomm'"):
        checkpoint = folder(tmp_path / "first") / "checkpoints" / "last.ckpt"
        train.main(["fit", "--data.manifest=x", f"--ckpt_path={checkpoint}"])


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("--model.typo=1", "model.typo"),
        ("--data.manifest=x", "data.manifest"),
        ("--watch.collapse_radius=1", "watch.collapse_radius"),
        ("--model.weights.gan=1", "weights.gan"),
        ("--architecture=bear", "architecture bear: must be one of fomm, face"),
        ("--config=list.yaml", r"architecture \['face'\]: must be one of fomm, face"),
        ("--model.network.width=7", "model.network.width 7: impossible"),
        ("--model.network.width=0", "model.network.width 0: must be at least 1"),
        ("--model.average_decay=1", "average_decay 1.0: must be above 0 and below 1"),
        ("--model.learning_rate=-1", "learning_rate -1.0: must be at least 0"),
        ("--data.held_out=0", "data.held_out 0: must be at least 1"),
        ("--data.folder=nowhere", "nowhere: no such folder"),
        ("--model.learning_rate=1e30", r"the loss is (nan|inf)|the loss exploded"),
        ("--trainer.max_steps=-1 --trainer.max_epochs=-1", "the training has no end"),
    ],
)
def test_faults_are_named(heads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, said: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("list.yaml").write_text("architecture: [face]")
    more = ["--trainer.max_steps=9", "--watch.patience=1", "--model.warmup_steps=0", *fault.split()]
    with pytest.raises(InputError, match=said):
        train.main(options(heads, tmp_path, *more))


def test_the_short_form_of_data() -> None:
    args = ["fit", "--config", str(ROOT / "configs" / "face.yaml"), "--data", "x"]
    assert train.architecture_of(args) == "face"
    assert train.expand_shortcuts(args, "face")[-2:] == ["--data.folder", "x"]
    assert train.architecture_of([*args, "--architecture=fomm"]) == "fomm"
    assert train.architecture_of(["fit", "--config", "nowhere.yaml"]) == "fomm"


# ---- videos of one's own ------------------------------------------------------------------------------------------


def test_frames_are_dealt_over_the_whole_time() -> None:
    kept = [Seen(np.array(i), np.array(i)) for i in range(2 * FRAMES + 3)]
    dealt = [[int(seen.frame) for seen in head] for head in deal(kept)]
    assert dealt == [list(range(0, 2 * FRAMES, 2)), list(range(1, 2 * FRAMES, 2))]
    assert not list(deal(kept[: FRAMES - 1]))


def test_a_folder_of_videos_is_trained_on(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    shutil.copy(SPEAKER, videos / "one.mp4")
    shutil.copy(SPEAKER, videos / "two.mp4")
    train.main(options(videos, tmp_path, "--trainer.max_steps=1"))
    frames, mesh = open_set(videos / "faces")
    assert frames.shape == (4, FRAMES, 256, 256, 3) and np.isfinite(mesh).all() and not np.isnan(mesh).any()
    assert 60 < np.ptp(mesh[..., 0], axis=2).min() and mesh[..., :2].min() > -20 and mesh[..., :2].max() < 276
    before = (videos / "faces" / "mesh.npy").stat().st_mtime_ns
    train.main(options(videos, tmp_path, "--trainer.max_steps=1"))
    assert (videos / "faces" / "mesh.npy").stat().st_mtime_ns == before  # kept


def test_videos_without_faces_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no video in it; videos end in .mp4"):
        write_faces(tmp_path)
    from small_clips import moving_disc

    from fomm.video import VideoWriter

    with VideoWriter(tmp_path / "disc.mp4", fps=25) as writer:
        for picture in moving_disc(0, 20, 64):
            writer.write(picture)
    with pytest.raises(InputError, match=r"faces for 0 head\(s\) are seen in its 1 video\(s\)"):
        write_faces(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["disc.mp4"]
