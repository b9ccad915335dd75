"""train.py, run for real: configs, resuming, several processes, faults, loggers, fine-tuning."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from pictures import ROOT
from safetensors.torch import load_file
from small_clips import write_clips

import train
from fomm.errors import InputError
from fomm.model import FOMM, DenseMotionConfig, DetectorConfig, GeneratorConfig, ModelConfig
from fomm.training.original_config import convert, convert_config

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


def run_script(arguments: list[str], **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def folder(output: Path) -> Path:
    return sorted((output / "train").iterdir())[-1]


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
    original["train_params"]["learning_rate"] = 1
    (tmp_path / "old.yaml").write_text(yaml.safe_dump(original))
    with pytest.raises(InputError, match=r"train_params: unknown option\(s\) \['learning_rate'\]"):
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


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_reduced_precision_with_clipping_and_layout(manifest, tmp_path, precision):
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


@pytest.mark.slow
def test_compiled_networks_take_the_same_steps(manifest, tmp_path):
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
    ],
)
def test_faults_are_named(manifest, tmp_path, fault, said):
    with pytest.raises(InputError, match=said):
        train.main(options(manifest, tmp_path, *fault))


@pytest.mark.parametrize("fault", ["--data.manifest=none.csv", "--model.typo=1"])
def test_a_fault_is_one_line_and_exit_code_2(manifest, tmp_path, fault):
    script = run_script(options(manifest, tmp_path, fault))
    output, _ = script.communicate(timeout=120)
    assert script.returncode == 2 and output.strip().splitlines()[-1].startswith("error: ")
    assert "Traceback" not in output and "usage:" not in output


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


# ---- loggers ------------------------------------------------------------------------------------------------------


def wandb_records(run: Path) -> list:
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
    folder, deadline, keys = next((tmp_path / "wandb").glob(f"offline-run-*{name}")), time.monotonic() + 60, set()
    while not keys and time.monotonic() < deadline:  # W&B's own process writes the file, late on a busy machine
        records = wandb_records(folder)
        keys = {"/".join(i.nested_key) or i.key for r in records for i in r.history.item}
        time.sleep(0.5)
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
