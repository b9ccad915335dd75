"""train.py, run for real: configs, resuming, several processes, faults, loggers, fine-tuning."""

from __future__ import annotations

import csv
import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import processes
import pytest
import safetensors
import torch
import yaml
from matplotlib.figure import Figure
from pictures import ROOT
from safetensors.torch import load_file
from small_clips import write_clips
from torchmetrics.functional.image import structural_similarity_index_measure

import train
from fomm.__main__ import convert as convert_checkpoint
from fomm.checkpoint import save_weights
from fomm.checkpoint.formats import DENSE_MOTION
from fomm.errors import InputError, run
from fomm.files import hash_file
from fomm.model import FOMM, DenseMotionConfig, DetectorConfig, GeneratorConfig, ModelConfig
from fomm.training.callbacks import LandmarkDistance, draw_curves
from fomm.training.original_config import convert, convert_config
from fomm.training.snapshots import COLUMNS, titled

TINY = str(ROOT / "tests" / "tiny.yaml")
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
ORIGINALS = [
    "bair-256", "fashion-256", "mgif-256", "nemo-256", "taichi-256", "taichi-adv-256", "vox-256", "vox-adv-256",
]  # fmt: skip


def options(manifest: Path, output: Path, *more: str) -> list[str]:
    return [
        "fit", "--config", TINY, "--data.manifest", str(manifest),
        "--trainer.logger.init_args.save_dir", str(output), *more,
    ]  # fmt: skip


def run_script(arguments: list[str], *, forked: bool = True, **environment: str) -> subprocess.Popen:
    return processes.Popen(
        [str(ROOT / "train.py"), *arguments],
        forked=forked,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def folder(output: Path) -> Path:
    return sorted((output / "train").iterdir())[-1]


def table(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "metrics.csv").open()))


def weights_about(file: Path) -> dict:
    with safetensors.safe_open(file, "pt") as stream:
        return json.loads(stream.metadata()["fomm"])


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    return write_clips(tmp_path_factory.mktemp("clips"))


# ---- configs ------------------------------------------------------------------------------------------------------


def printed(capsys, *arguments: str) -> dict:
    with pytest.raises(SystemExit) as leaving:
        train.main(["fit", *arguments, "--print_config"])
    assert leaving.value.code == 0
    return yaml.safe_load(capsys.readouterr().out)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_config_is_accepted_and_its_networks_can_be_built(path, capsys):
    network = printed(capsys, "--config", str(path))["model"]["network"]
    if network is not None:
        parts = {"detector": DetectorConfig, "dense_motion": DenseMotionConfig, "generator": GeneratorConfig}
        config = ModelConfig(**network | {name: kind(**network[name]) for name, kind in parts.items()})
        with torch.device("meta"):
            assert FOMM.from_config(config).stride <= 128
    command = re.search(r"python train\.py fit --config (\S+)", path.read_text())
    assert command and Path(command[1]).name == path.name


@pytest.mark.parametrize("name", ORIGINALS)
def test_our_configs_are_the_originals(name, golden):
    converted, notes = convert(json.loads((golden / "configs.json").read_text())[name], name)
    ours = yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text())
    del ours["model"]["category"], ours["trainer"]["logger"]
    assert ours == converted and any("per process" in note for note in notes)


def test_an_original_yaml_file_is_converted(golden, tmp_path, capsys):
    original = json.loads((golden / "configs.json").read_text())["mgif-256"]
    (tmp_path / "old.yaml").write_text(yaml.safe_dump(original))
    script = subprocess.run(
        [sys.executable, "-m", "fomm", "convert_config", str(tmp_path / "old.yaml"), str(tmp_path / "new.yaml")],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert script.returncode == 0 and "note: data.batch_size" in script.stdout, script.stderr
    accepted = printed(capsys, "--config", str(tmp_path / "new.yaml"))
    assert accepted["model"]["network"]["detector"]["single_jacobian_map"] is True
    assert accepted["data"]["augmentation"]["resize_ratio"] == [0.9, 1.1]
    original["train_params"] |= {"learning_rate": 1, 7: 1}  # keys of YAML are not all words
    (tmp_path / "old.yaml").write_text(yaml.safe_dump(original))
    with pytest.raises(InputError, match=r"train_params: unknown option\(s\) \[7, 'learning_rate'\]"):
        convert_config(tmp_path / "old.yaml", tmp_path / "new.yaml")
    original["dataset_params"]["frame_shape"] = [64]
    (tmp_path / "old.yaml").write_text(yaml.safe_dump(original))
    with pytest.raises(InputError, match=r"frame_shape: \[64\] is not \[height, width, channels\]"):
        convert_config(tmp_path / "old.yaml", tmp_path / "new.yaml")


@pytest.mark.parametrize("option", ["--model.typo", "--model.weights.gan", "--data.batchsize", "--trainer.epochs"])
def test_unknown_options_are_errors(manifest, tmp_path, option):
    with pytest.raises(InputError, match=option.rsplit(".", 1)[1]):
        train.main(options(manifest, tmp_path, f"{option}=1"))


def test_unknown_keys_of_a_config_are_errors(manifest, tmp_path):
    typo = tmp_path / "typo.yaml"
    typo.write_text("model: {learning_rates: {generater: 1.0e-4}}")
    with pytest.raises(InputError, match="generater"):
        train.main(options(manifest, tmp_path, f"--config={typo}"))


def test_help_explains_every_option(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "2000")  # each explanation on one line
    text = ""
    for what in ("--help", "--model.network.help"):
        with pytest.raises(SystemExit):
            train.main(["fit", what])
        text += capsys.readouterr().out
    assert {"--init NAME", "--model.network.detector.temperature", "--data.augmentation.hue"} <= set(
        re.findall(r"--init NAME|--[\w.]+", text)
    )
    unexplained = re.findall(r"^ +(--[\w.]+)[^\n]*\n? {4,}\((?:required, )?type:", text, re.MULTILINE)
    assert unexplained == []


# ---- one run, and what it leaves ----------------------------------------------------------------------------------


def test_a_run_learns_and_leaves_weights_curves_and_pictures(manifest, tmp_path):
    """Held-out L1 falls to less than 0.6 of that after the first epoch."""
    train.main(
        options(
            manifest, tmp_path, "--trainer.max_steps=150", "--data.repeats=8", "--snapshots.pairs=2",
            "--data.batch_size=4", "--model.weights.generator_gan=0", "--snapshots.every_n_validations=15",
        )
    )  # fmt: skip
    files = {str(p.relative_to(folder(tmp_path))) for p in folder(tmp_path).rglob("*") if p.is_file()}
    assert {"weights-best.safetensors", "weights-last.safetensors", "metrics.csv", "curves.png", "config.yaml"} <= files
    assert {"checkpoints/best.ckpt", "checkpoints/last.ckpt", "pictures/pairs-0000150.png"} <= files
    assert "pictures/clip-0000150.mp4" in files
    rows = list(csv.DictReader((folder(tmp_path) / "metrics.csv").open()))
    held_out = [float(row["val/l1"]) for row in rows if row["val/l1"]]
    assert held_out[-1] < 0.6 * held_out[0]
    assert {"gradient_norm/detector", "learning_rate/generator", "train/equivariance_value"} <= rows[0].keys()


def test_the_held_out_scores_are_those_of_the_first_weights_too(manifest, tmp_path):
    """Step 0 is what `validate` says of the same weights; SSIM is torchmetrics' on the same pictures."""
    cli = train.main(options(manifest, tmp_path, "--trainer.max_steps=1", "--model.average_decay=null"))
    first, last = ({name: float(row[name]) for name in ("val/l1", "val/l1_ratio", "val/ssim")}
                   for row in table(folder(tmp_path)) if row["val/l1"])  # fmt: skip
    pairs = [cli.datamodule.held_out_pairs[i] for i in range(len(cli.datamodule.held_out_pairs))]
    source, driving = (torch.stack([pair[side] for pair in pairs]) for side in ("source", "driving"))
    with torch.no_grad():
        prediction = cli.model.model.eval()(source, driving).prediction
    ssim = structural_similarity_index_measure(prediction, driving, data_range=1.0)
    assert last["val/ssim"] == pytest.approx(ssim.item(), abs=1e-5)
    assert last["val/l1"] == pytest.approx((prediction - driving).abs().mean().item(), rel=1e-5)
    validation = ["validate", *options(manifest, tmp_path / "again")[1:], "--model.average_decay=null"]
    untrained = {name: float(value) for name, value in train.main(validation).trainer.callback_metrics.items()}
    assert first == pytest.approx({name: untrained[name] for name in first}, rel=1e-5) and first != last


def test_akd_of_faces_is_that_of_the_evaluation(tmp_path):
    """Faces that move by 6 pixels at 256: the still picture's AKD is that of their motion, found in another process."""
    face = cv2.cvtColor(cv2.imread(str(ROOT / "fomm/assets/portrait.png")), cv2.COLOR_BGR2RGB)
    face = cv2.resize(face, (256, 256), interpolation=cv2.INTER_AREA)
    shift = [cv2.warpAffine(face, np.float32([[1, 0, d], [0, 1, 0]]), (256, 256), borderMode=cv2.BORDER_REPLICATE)
             for d in (0, 6)]  # fmt: skip
    apart = train.MeshesApart()
    score, logged = LandmarkDistance(apart), {}
    trainer = SimpleNamespace(strategy=SimpleNamespace(reduce=lambda value, reduce_op: value))
    module = SimpleNamespace(device="cpu", log=logged.__setitem__)
    still, driving, nothing = (torch.from_numpy(x).permute(2, 0, 1)[None] / 255 for x in (*shift, np.zeros_like(face)))
    score.on_validation_epoch_start(trainer, module)
    for prediction, truth in ((still, driving), (driving, driving), (nothing, driving), (still, nothing)):
        score.on_validation_batch_end(trainer, module, {"prediction": prediction, "truth": truth}, {}, 0)
    score.on_validation_epoch_end(trainer, module)
    assert logged["val/akd_mediapipe"] == pytest.approx((6 / 2 + 0) / 2, abs=0.4)  # |dx| = 6, |dy| = 0
    assert logged["val/akd_missed"] == pytest.approx(1 / 3)


def test_another_size_than_the_checkpoints_is_told(manifest, tmp_path, caplog):
    parts = {"detector": DetectorConfig, "dense_motion": DenseMotionConfig, "generator": GeneratorConfig}
    network = yaml.safe_load(Path(TINY).read_text())["model"]["network"]
    config = ModelConfig(**network | {name: kind(**network[name]) for name, kind in parts.items()})
    save_weights(tmp_path / "small.safetensors", FOMM.from_config(config), image_size=32)
    start = ["--model.network=null", f"--model.init={tmp_path / 'small.safetensors'}"]
    for size, told in ((32, False), (64, True)):
        caplog.clear()
        with caplog.at_level("INFO"):
            train.main(["validate", *options(manifest, tmp_path, *start, f"--data.size={size}")[1:]])
        assert ("warning: data.size 64, but init was trained at 32" in caplog.text) is told


def test_curves_have_axes_of_their_own_and_pictures_titles(tmp_path, monkeypatch):
    (tmp_path / "metrics.csv").write_text(
        "step,train/loss,train/perceptual,val/l1,val/l1_ratio\n0,,,0.2,1.4\n0,30,20,,\n1,3,2,,\n1,,,0.1,0.7\n"
    )
    drawn = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda figure, *to, **how: (drawn.append(figure), save(figure, *to, **how)))
    draw_curves(tmp_path / "metrics.csv", tmp_path / "curves.png")
    panels = {panel.get_title(): panel for panel in drawn[0].axes if panel.lines}
    assert list(panels) == ["train/loss", "train/perceptual", "val/l1", "val/l1_ratio"]
    curve, still = (line.get_xydata().tolist() for line in panels["val/l1_ratio"].lines)
    assert curve == [[0, 1.4], [1, 0.7]] and {y for _, y in still} == {1}
    assert panels["train/loss"].lines[0].get_xydata().tolist() == [[0, 30], [1, 3]]
    columns = np.arange(100, 106, dtype=np.uint8)[:, None, None, None, None] + np.zeros((6, 2, 32, 64, 3), np.uint8)
    picture = titled([*columns], COLUMNS)
    title, below = picture[:-64], picture[-64:]
    assert below.shape == (64, 6 * 64, 3) and (below == np.repeat(np.arange(100, 106), 64)[:, None]).all()
    ink = [(title[:, i * 64 : (i + 1) * 64] < 128).sum() for i in range(6)]
    assert all(ink) and (title[:, ::64] > 128).all()  # each column has its title, none runs into the next


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_reduced_precision_with_clipping_and_layout(manifest, tmp_path, precision, monkeypatch):
    monkeypatch.setattr(train.Training, "on_validation_model_zero_grad", lambda _: None)  # keeps the last gradients
    if precision == "16-mixed" and not torch.cuda.is_available():
        pytest.skip("float16 training needs a GPU")
    cli = train.main(
        options(
            manifest, tmp_path, f"--trainer.precision={precision}", "--model.channels_last=true",
            "--model.clip_gradient_norm=0.5", "--trainer.max_steps=2",
        )
    )  # fmt: skip
    parameters = list(cli.model.model.detector.parameters())
    assert torch.stack([p.grad.norm() for p in parameters]).norm() < 0.5 + 1e-3
    assert all(torch.isfinite(p).all() for p in cli.model.parameters())


def test_compiled_networks_take_the_same_steps(manifest, tmp_path, monkeypatch):
    """What torch makes of the captured networks is its own matter, and takes minutes of a C++ compiler."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    losses = [
        train.main(options(manifest, tmp_path / value, f"--model.compile={value}", "--trainer.max_steps=2"))
        .trainer.callback_metrics["train/loss"]
        .item()
        for value in ("false", "true")
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


# ---- resuming and several processes -------------------------------------------------------------------------------


def test_a_killed_run_resumes_bit_for_bit(manifest, tmp_path):
    def arguments(name: str) -> list[str]:
        # 5 batches an epoch: a resume point every 3 lies inside epochs.
        return options(manifest, tmp_path / name, "--trainer.max_steps=15", "--resume_point.every_n_train_steps=3")

    train.main(arguments("whole"))
    slow = run_script([*arguments("killed"), "--trainer.callbacks+=faulty.Slow"])
    point = tmp_path / "killed/train/version_0/checkpoints/resume.ckpt"
    for _ in range(1200):
        if point.is_file() and torch.load(point, weights_only=True)["global_step"] >= 6:
            break
        time.sleep(0.1)
    os.killpg(slow.pid, signal.SIGKILL)
    slow.wait()
    step = torch.load(point, weights_only=True)["global_step"]
    assert 6 <= step < 15
    train.main([*arguments("resumed"), f"--ckpt_path={point}"])
    weights = [folder(tmp_path / name) / "weights-last.safetensors" for name in ("whole", "resumed")]
    one, other = map(load_file, weights)
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    states = [torch.load(w.parent / "checkpoints/last.ckpt", weights_only=True) for w in weights]
    assert all(torch.equal(a, states[1]["state_dict"][k]) for k, a in states[0]["state_dict"].items())
    assert states[0]["global_step"] == states[1]["global_step"] == 15


def test_last_is_the_end_and_going_on_from_it_repeats_nothing(manifest, tmp_path):
    """5 batches an epoch: 7 steps end inside one. Going on from there is the same as never having stopped."""
    train.main(options(manifest, tmp_path / "whole", "--trainer.max_steps=12"))
    train.main(options(manifest, tmp_path / "first", "--trainer.max_steps=7"))
    first = folder(tmp_path / "first")
    last = torch.load(first / "checkpoints/last.ckpt", weights_only=True)
    assert last["global_step"] == 7
    about = weights_about(first / "weights-last.safetensors")
    assert about["provenance"]["steps"] == 7
    scores = {row["step"]: float(row["val/l1"]) for row in table(first) if row["val/l1"]}
    assert about["provenance"]["val_l1"] == pytest.approx(scores["6"]) and scores.keys() == {"0", "4", "6"}
    train.main(
        options(manifest, tmp_path / "on", "--trainer.max_steps=12", f"--ckpt_path={first}/checkpoints/last.ckpt")
    )
    on = folder(tmp_path / "on")
    assert [row["step"] for row in table(on) if row["train/loss"]] == ["7", "8", "9", "10", "11"]
    one, other = (load_file(folder(tmp_path / name) / "weights-last.safetensors") for name in ("whole", "on"))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_the_last_step_is_judged_whatever_the_interval(manifest, tmp_path):
    train.main(options(manifest, tmp_path, "--trainer.max_epochs=1", "--trainer.max_steps=-1",
                       "--trainer.check_val_every_n_epoch=2"))  # fmt: skip
    assert [row["step"] for row in table(folder(tmp_path)) if row["val/l1"]] == ["0", "4"]
    assert torch.load(folder(tmp_path) / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 5


def test_the_best_survives_going_on_elsewhere(manifest, tmp_path):
    """After 10 steps that learn come steps that spoil: the best is that of the first part, in the new folder too."""
    train.main(options(manifest, tmp_path / "first", "--trainer.max_steps=10"))
    first = folder(tmp_path / "first")
    train.main(
        options(
            manifest, tmp_path / "on", "--trainer.max_steps=15", "--model.learning_rates.generator=0.3",
            "--watch.explosion=1e9", f"--ckpt_path={first}/checkpoints/last.ckpt",
        )
    )  # fmt: skip
    on = folder(tmp_path / "on")
    best, spoilt = (weights_about(on / f"weights-{which}.safetensors")["provenance"] for which in ("best", "last"))
    assert best["val_l1"] < spoilt["val_l1"] and spoilt["steps"] == 15
    for file in ("weights-best.safetensors", "checkpoints/best.ckpt"):
        assert (on / file).read_bytes() == (first / file).read_bytes()
    moved = tmp_path / "moved.ckpt"  # alone, without the best beside it: what comes counts
    moved.write_bytes((first / "checkpoints/last.ckpt").read_bytes())
    train.main(options(manifest, tmp_path / "alone", "--trainer.max_steps=15", f"--ckpt_path={moved}"))
    assert weights_about(folder(tmp_path / "alone") / "weights-best.safetensors")["provenance"]["steps"] == 15


DDP = ["--trainer.devices=2"]


def test_two_processes_step_like_one(manifest, tmp_path):
    """Two ranks of batch 2 against one of batch 4, with batch norm over all and a discriminator, in float64.

    Once as two processes that Lightning starts, once as two nodes of a Slurm job, which its variables describe.
    """
    shared = ["--trainer.precision=64-true", "--trainer.max_steps=5", "--data.repeats=4"]
    train.main(options(manifest, tmp_path / "one", *shared, "--data.batch_size=4"))
    two = run_script(options(manifest, tmp_path / "two", *shared, *DDP, "--data.batch_size=2"))
    job = {"SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "2", "SLURM_NNODES": "2"}
    job |= {"SLURM_NTASKS_PER_NODE": "1", "SLURM_LOCALID": "0", "SLURM_NODELIST": "127.0.0.1"}
    nodes = [
        run_script(
            options(manifest, tmp_path / "slurm", *shared, "--trainer.num_nodes=2", "--data.batch_size=2"),
            **job,
            SLURM_PROCID=rank,
            SLURM_NODEID=rank,
        )
        for rank in "01"
    ]
    for process in (two, *nodes):
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output
    one, *others = (
        torch.load(folder(tmp_path / n) / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for n in ("one", "two", "slurm")
    )
    assert any(name.startswith("discriminator.") for name in one)
    for name, tensor in one.items():
        for other in others:
            torch.testing.assert_close(other[name], tensor, rtol=0, atol=1e-6, msg=lambda m, name=name: f"{name}: {m}")


def test_a_rank_that_crashes_ends_the_run(manifest, tmp_path):
    crash = run_script(options(manifest, tmp_path, *DDP, "--trainer.callbacks+=faulty.CrashSecondRank"))
    output, _ = crash.communicate(timeout=240)
    assert crash.returncode != 0 and "rank 1 crashed on purpose" in output


# ---- faults -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (["--model.learning_rates.generator=1e30"], r"step \d+: the loss is (nan|inf); lower the learning rates"),
        (["--watch.collapse_radius=9", "--watch.patience=1"], "all keypoints collapsed to one place"),
        (["--watch.explosion=0.5", "--watch.patience=1"], "the loss exploded"),
        (["--model.perceptual=vgg19"], "takes 5 weights, got 2"),
        (["--model.weights.feature_matching=[1]"], "one weight for each of the discriminator's 2 blocks"),
        (["--model.freeze=[detector,dense_motion,generator]"], "nothing is left to train"),
        (["--data.manifest=none.csv"], "none.csv: no such manifest"),
        (["--model.init=none.safetensors"], "none.safetensors"),
        (["--ckpt_path=none.ckpt"], "none.ckpt: no such checkpoint"),
        ([f"--ckpt_path={TINY}"], "tiny.yaml: not a checkpoint"),
        ([f"--ckpt_path={ROOT}/fomm/weights/puppets.safetensors"], "not a checkpoint of a training run"),
        (["--data.size=36"], "data.size 36: must be a multiple of 8"),
        (["--data.seed=-1"], "data.seed -1: must be at least 0"),
        (["--model.seed=-1"], "model.seed -1: must be at least 0"),
        (["--model.seed=4294967296"], "model.seed 4294967296: must be .* below"),
        (["--data.batch_size=0"], "data.batch_size 0: must be at least 1"),
        (["--model.scales=[]"], "needs at least one scale"),
        (["--model.scales=[0.3]"], "model.scales .*must be 1, 1/2"),
        (["--model.num_keypoints=0"], "num_keypoints 0: must be at least 1"),
        (["--model.network.generator.num_down_blocks=-1"], "impossible sizes"),
        (["--model.average_decay=1.5"], "average_decay 1.5: must be above 0 and below 1"),
        (["--trainer.gradient_clip_val=1"], "set model.clip_gradient_norm instead"),
        (["--trainer.accumulate_grad_batches=2"], "each batch is a step"),
        (["--trainer.precision=bf16-true"], "precision bf16-true: must be one of"),
        (["--trainer.enable_checkpointing=false"], "found `ModelCheckpoint`"),
        (["--checkpoint.every_n_train_steps=5"], "is resume_point.every_n_train_steps"),
        (["--trainer.limit_val_batches=0"], "limit_val_batches 0: .* leave it out"),
        (["--trainer.val_check_interval=0"], "val_check_interval 0: .* leave it out"),
        (["--trainer.check_val_every_n_epoch=0"], "check_val_every_n_epoch 0: .* leave it out"),
        (["--model.scales=[1,0]"], r"model.scales \[1.0, 0.0\]: needs at least one scale, such as 1, and none of 0"),
        (["--model.category=cat"], "model.category 'cat': must be one of face, body"),
        (["--model.learning_rates.cosine_steps=-1"], "learning_rates.cosine_steps -1: must be at least 0"),
        (["--data.augmentation.brightness=.inf"], "augmentation.brightness inf: must be at least 0, and finite"),
        (["--weights_file.name=/"], "weights_file.name '/': must be a name"),
        (["--snapshots.pairs=-1"], "snapshots.pairs -1: must be at least 0"),
        (["--snapshots.frames=0"], "snapshots.frames 0: must be at least 1"),
        (["--snapshots.every_n_validations=0"], "snapshots.every_n_validations 0: must be at least 1"),
    ],
)
def test_faults_are_named(manifest, tmp_path, fault, said):
    with pytest.raises(InputError, match=said):
        train.main(options(manifest, tmp_path, *fault))


@pytest.mark.parametrize("fault", ["--data.manifest=none.csv", "--model.typo=1"])
def test_a_fault_is_one_line_and_exit_code_2(manifest, tmp_path, fault, capsys):
    with pytest.raises(SystemExit) as leaving:
        run(lambda: train.main(options(manifest, tmp_path, fault)))
    said = "".join(capsys.readouterr())
    assert leaving.value.code == 2 and said.strip().splitlines()[-1].startswith("error: ")
    assert "Traceback" not in said and "usage:" not in said


# ---- fine-tuning --------------------------------------------------------------------------------------------------


def test_fine_tuning_starts_from_a_checkpoint(manifest, tmp_path, caplog):
    train.main(options(manifest, tmp_path / "first", "--trainer.max_steps=2"))
    weights = folder(tmp_path / "first") / "weights-last.safetensors"
    shared = ["--model.network=null", f"--model.init={weights}", "--trainer.max_steps=2"]
    with caplog.at_level("INFO"):
        cli = train.main(options(manifest, tmp_path / "second", *shared, "--model.freeze=[generator]"))
    assert "it has no discriminator; discriminator and optimisers start afresh" in caplog.text
    before = load_file(weights)
    after = cli.model.model.state_dict()
    assert all(torch.equal(after[k], before[k]) for k in before if k.startswith("generator."))
    assert not torch.equal(after["detector.kp.weight"], before["detector.kp.weight"])
    with caplog.at_level("INFO"):
        cli = train.main(options(manifest, tmp_path / "third", *shared, "--model.num_keypoints=5"))
    assert cli.model.model.config.num_keypoints == 5
    assert re.search("these start afresh: detector.kp.weight, detector.kp.bias", caplog.text)


def test_the_root_folder_is_that_of_all_that_a_run_writes(manifest, tmp_path):
    root = tmp_path / "root"
    words = ["fit", "--config", TINY, "--data.manifest", str(manifest), "--trainer.default_root_dir", str(root)]
    train.main([*words, "--trainer.max_steps=1"])
    assert (folder(root) / "checkpoints").is_dir() and (folder(root) / "weights-last.safetensors").is_file()


def test_shortcuts():
    assert train.expand_shortcuts(["fit", "--init", "vox", "--data=clips", "--data.size", "64"]) == [
        "fit", "--model.init", "vox", "--data.manifest=clips", "--data.size", "64",
    ]  # fmt: skip


def test_the_original_goes_on_from_a_converted_checkpoint(manifest, tmp_path, capsys):
    """What its train.py does: three Adams and their schedules take their states; a step with the same gradients is then
    the same as ours."""
    cli = train.main(options(manifest, tmp_path, "--trainer.max_steps=7", "--model.average_decay=null"))
    file = tmp_path / "converted.pth.tar"
    convert_checkpoint(str(folder(tmp_path) / "checkpoints/last.ckpt"), file)
    assert "note" not in capsys.readouterr().out
    read = torch.load(file, weights_only=True)
    ours, rates = cli.model, cli.model.learning_rates
    networks = {
        "generator": (
            [*ours.model.dense_motion.named_parameters(DENSE_MOTION[:-1]), *ours.model.generator.named_parameters()],
            rates.generator,
        ),
        "discriminator": ([*ours.discriminator.named_parameters()], rates.discriminator),
        "kp_detector": ([*ours.model.detector.named_parameters()], rates.detector),
    }
    assert read["epoch"] == 1
    for network, (named, rate) in networks.items():
        theirs = {name: torch.nn.Parameter(read[network][name].clone()) for name, _ in named}
        adam = torch.optim.Adam(list(theirs.values()), lr=123.0, betas=(0.5, 0.999))
        adam.load_state_dict(read[f"optimizer_{network}"])
        torch.optim.lr_scheduler.MultiStepLR(adam, [60, 90], gamma=0.1, last_epoch=read["epoch"] - 1)
        assert adam.param_groups[0]["lr"] == pytest.approx(rate)
        for name, own in named:
            own.grad = torch.cos(torch.arange(own.numel(), dtype=own.dtype)).view_as(own)
            theirs[name].grad = own.grad.clone()
        adam.step()
        for optimizer in cli.trainer.optimizers:
            if any(p is own for group in optimizer.param_groups for p in group["params"] for _, own in named[:1]):
                optimizer.step()
        for name, own in named:
            torch.testing.assert_close(theirs[name], own, rtol=0, atol=1e-7)
        for _, own in named:
            own.grad = None


def test_what_a_conversion_drops_is_said(manifest, tmp_path, capsys):
    train.main(options(manifest, tmp_path, "--trainer.max_steps=2", "--model.freeze=[detector]"))
    last = str(folder(tmp_path) / "checkpoints/last.ckpt")
    convert_checkpoint(last, tmp_path / "x.pth.tar")
    assert "note: without optimizer_kp_detector, which" in capsys.readouterr().out
    assert "optimizer_kp_detector" not in torch.load(tmp_path / "x.pth.tar", weights_only=True)
    convert_checkpoint(last, tmp_path / "x.safetensors")
    assert "left out, since a weights file is for inference: discriminator, optimizer_gen" in capsys.readouterr().out


# ---- loggers ------------------------------------------------------------------------------------------------------


def wandb_records(run: Path) -> list:
    """What W&B wrote of a run that has ended; its own process writes it, and on a busy machine late."""
    deadline = time.monotonic() + 60
    while True:
        try:
            records = records_until_now(run)
            if any(record.WhichOneof("record_type") == "exit" for record in records):
                return records
        except AssertionError:  # the last one is half written
            pass
        assert time.monotonic() < deadline, "the run is not written to its end"
        time.sleep(0.2)


def records_until_now(run: Path) -> list:
    from wandb.proto import wandb_internal_pb2
    from wandb.sdk.internal import datastore

    store = datastore.DataStore()
    store.open_for_scan(str(next(run.glob("*.wandb"))))
    records = []
    while (data := store.scan_data()) is not None:
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        records.append(record)
    return records


def test_wandb_offline_keeps_everything_and_resumes_under_its_id(manifest, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.chdir(tmp_path)
    wandb = [
        "--trainer.logger=WandbLogger", "--trainer.logger.offline=true", "--trainer.logger.project=test",
        f"--trainer.logger.save_dir={tmp_path}", "--snapshots.pairs=1",
    ]  # fmt: skip
    arguments = ["fit", "--config", TINY, "--data.manifest", str(manifest), *wandb]
    cli = train.main([*arguments, "--trainer.max_steps=2", "--data.repeats=1"])
    name = cli.trainer.logger.version
    import wandb as client

    client.finish()
    records = wandb_records(next((tmp_path / "wandb").glob(f"offline-run-*{name}")))
    keys = {"/".join(i.nested_key) or i.key for r in records for i in r.history.item}
    assert {"train/loss", "val/l1", "learning_rate/generator", "gradient_norm/detector"} <= keys
    assert any(key.startswith("val/pairs") for key in keys) and any(key.startswith("val/clip") for key in keys)
    config = {i.key or "/".join(i.nested_key) for r in records for i in [*r.run.config.update, *r.config.update]}
    assert {"manifest_sha256", "model", "data"} <= config
    assert any(r.artifact.name.startswith("model-") for r in records) or any(
        r.request.log_artifact.artifact.name.startswith("model-") for r in records
    )
    checkpoint = tmp_path / "test" / name / "checkpoints" / "last.ckpt"
    assert checkpoint.is_file()
    cli = train.main([*arguments, "--trainer.max_steps=3", "--data.repeats=1", f"--ckpt_path={checkpoint}"])
    assert cli.trainer.logger.version == name
    client.finish()


NOISE = re.compile(r"Tip|/-\d|FLOPs|litlogger|warn", re.IGNORECASE)


@pytest.mark.parametrize("logger", ["CSVLogger", "WandbLogger"])
def test_nothing_is_said_that_helps_nobody(manifest, tmp_path, logger):
    told = [f"--trainer.logger={logger}", f"--trainer.logger.save_dir={tmp_path / 'new'}", "--trainer.max_steps=7"]
    if logger == "WandbLogger":
        told += ["--trainer.logger.offline=true", "--trainer.logger.project=test"]
    shown = ["--trainer.enable_progress_bar=true", "--trainer.callbacks+=TQDMProgressBar", "--data.workers=1"]
    words = ["fit", "--config", TINY, "--data.manifest", str(manifest), *told, *shown]
    script = run_script(words, forked=logger != "CSVLogger")  # libraries say something as they are loaded, too
    output, _ = script.communicate(timeout=240)
    assert script.returncode == 0, output
    assert NOISE.findall(output) == [], output
    assert "Epoch 1" in output  # the bar that a terminal shows
    assert f"everything goes to {tmp_path / 'new'}" in output and "train 5 clips (83 %) of 3 identities" in output


@pytest.mark.parametrize(("asked", "uploaded"), [(None, ["weights-best.safetensors"]), ("false", [])])
def test_wandb_gets_the_best_weights_or_nothing(manifest, tmp_path, monkeypatch, asked, uploaded):
    """And the config of the networks that were built; the run's own folder has the config file."""
    import wandb as client

    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.chdir(tmp_path)
    sent = []

    def log_artifact(_: object, artifact: client.Artifact) -> None:
        sent.extend(artifact.manifest.entries)

    monkeypatch.setattr(client.sdk.wandb_run.Run, "log_artifact", log_artifact)
    weights = ROOT / "fomm/weights/puppets.safetensors"
    arguments = [
        "fit", "--config", TINY, "--data.manifest", str(manifest), "--trainer.logger=WandbLogger",
        "--trainer.logger.offline=true", "--trainer.logger.project=test", f"--trainer.logger.save_dir={tmp_path}",
        "--trainer.max_steps=1", "--model.network=null", "--model.init=puppets", "--data.size=64",
        "--model.weights.generator_gan=0", *([f"--trainer.logger.log_model={asked}"] if asked else []),
    ]  # fmt: skip
    cli = train.main(arguments)
    run = cli.trainer.logger.experiment
    config = dict(run.config)
    client.finish()
    assert sent == uploaded
    assert config["init_sha256"] == hash_file(weights)
    assert config["model"]["network"]["num_keypoints"] == cli.model.model.config.num_keypoints == 10
    own = tmp_path / "test" / cli.trainer.logger.version
    assert yaml.safe_load((own / "config.yaml").read_text())["model"]["init"] == "puppets"
    assert not (tmp_path / "config.yaml").exists()
    assert weights_about(own / "weights-last.safetensors")["provenance"]["init_sha256"] == hash_file(weights)


def test_tensorboard(manifest, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    arguments = [
        "fit",
        "--config",
        TINY,
        "--data.manifest",
        str(manifest),
        "--snapshots.pairs=1",
        "--trainer.max_steps=5",
    ]
    train.main([*arguments, "--trainer.logger=TensorBoardLogger", f"--trainer.logger.save_dir={tmp_path}"])
    events = EventAccumulator(str(next(tmp_path.rglob("events*")).parent))
    events.Reload()
    assert {"train/loss", "val/l1"} <= set(events.Tags()["scalars"]) and {"val/pairs", "val/clip"} <= set(
        events.Tags()["images"]
    )
    assert events.Images("val/clip")[0].encoded_image_string.startswith(b"GIF89a")
