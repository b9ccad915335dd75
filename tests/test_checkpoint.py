"""Checkpoints: golden numbers through every format, sizes read from tensors, damaged files, downloads over loopback."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import threading
import zipfile
from collections import OrderedDict
from dataclasses import asdict, replace
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from fill import fill_discriminator, fill_model

from fomm import known
from fomm.checkpoint import (
    Checkpoint,
    TrainingState,
    export_original,
    infer_config,
    infer_discriminator_config,
    load_model,
    save_weights,
    sizes,
)
from fomm.download import fetch
from fomm.errors import InputError, MissingWeightsError
from fomm.known import KnownCheckpoint
from fomm.model import FOMM, DenseMotionConfig, DetectorConfig, DiscriminatorConfig, GeneratorConfig, ModelConfig

GOLDEN = Path(__file__).parent / "golden"
CONFIGS = json.loads((GOLDEN / "configs.json").read_text())
LISTING = json.loads((GOLDEN / "state_dicts.json").read_text())

SMALL = ModelConfig(
    num_keypoints=3,
    detector=DetectorConfig(block_expansion=4, max_features=12, num_blocks=2, scale_factor=0.5, temperature=0.2),
    dense_motion=DenseMotionConfig(block_expansion=4, max_features=16, num_blocks=2, scale_factor=0.5),
    generator=GeneratorConfig(block_expansion=4, max_features=10, num_down_blocks=2, num_bottleneck_blocks=1),
)
"""Loads in milliseconds; every 'max_features' is reached."""


@cache
def small_model() -> FOMM:
    torch.manual_seed(0)
    return FOMM.from_config(SMALL).eval()


def golden_config(name: str) -> ModelConfig:
    return ModelConfig(detector=DetectorConfig(single_jacobian_map=name == "mgif-256"))


def golden_discriminator_config(name: str) -> DiscriminatorConfig:
    params = CONFIGS[name]["model_params"]["discriminator_params"]
    return DiscriminatorConfig(spectral_norm=params.get("sn", False), use_keypoints=params.get("use_kp", False))


def listed(name: str, network: str) -> list:
    return LISTING["lists"][LISTING["configs"][name][network]]


def same_weights(a: FOMM, b: FOMM) -> None:
    ours, theirs = a.state_dict(), b.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


# ---- golden numbers through the formats -----------------------------------------------------------------------------


def exported(name: str, folder: Path) -> Path:
    """A file as the released one of this configuration: 228 MiB, filled by the formula."""
    path = folder / f"{name.removesuffix('-256')}-cpk.pth.tar"
    export_original(path, fill_model(FOMM.from_config(golden_config(name))))
    raw = torch.load(path, weights_only=True)
    assert list(raw) == ["generator", "kp_detector", "epoch"]
    for network in ("generator", "kp_detector"):
        found = [[k, list(v.shape), str(v.dtype).removeprefix("torch.")] for k, v in raw[network].items()]
        assert found == listed(name, network)
    assert raw["generator"]._metadata["dense_motion_network.hourglass"] == {"version": 1}
    assert path.read_bytes()[:2] == b"\x80\x02"  # no zip file: torch 1.0 reads it
    return path


def golden_case(name: str) -> tuple[torch.Tensor, torch.Tensor, dict[str, np.ndarray]]:
    arrays = np.load(GOLDEN / f"forward_{name}_ac1.npz")
    source, driving = (torch.from_numpy(arrays[k]).permute(2, 0, 1)[None] / 255 for k in ("source", "driving"))
    return source, driving, arrays


@torch.inference_mode()
def test_golden_prediction_through_every_format(tmp_path: Path) -> None:
    """Filled weights -> the original's format -> loaded without a config -> own format -> loaded again."""
    path = exported("vox-adv-256", tmp_path)
    assert round(path.stat().st_size / 2**20) == 228  # the released file's size, MiB
    first = load_model(path)
    assert first.model.config == ModelConfig()
    assert (first.info.category, first.info.image_size, first.info.name) == ("face", 256, "vox-adv")
    save_weights(tmp_path / "own.safetensors", first.model, category="face")
    second = load_model(tmp_path / "own.safetensors")
    assert second.model.config == ModelConfig() and not second.model.training
    source, driving, expected = golden_case("vox-adv-256")
    difference = np.abs(second.model(source, driving).prediction.numpy() - expected["prediction"])
    assert difference.max() <= 1e-4 and difference.mean() <= 5e-6


@torch.inference_mode()
def test_golden_keypoints_of_the_model_with_one_jacobian_map(tmp_path: Path) -> None:
    loaded = load_model(exported("mgif-256", tmp_path))
    assert loaded.model.config == golden_config("mgif-256") and loaded.info.category == "animal"
    _, driving, expected = golden_case("mgif-256")
    keypoints = loaded.model.detect(driving)
    assert np.abs(keypoints.points.numpy() - expected["kp_driving_value"]).max() <= 1e-5
    assert np.abs(keypoints.jacobians.numpy() - expected["kp_driving_jacobian"]).max() <= 1e-5


@pytest.mark.parametrize("name", list(CONFIGS))
def test_sizes_of_the_released_models_are_read_from_their_tensors(name: str) -> None:
    shapes = {f"detector.{k}": tuple(shape) for k, shape, _ in listed(name, "kp_detector")}
    for key, shape, _ in listed(name, "generator"):
        inner = "dense_motion_network."
        key = f"dense_motion.{key.removeprefix(inner)}" if key.startswith(inner) else f"generator.{key}"
        shapes[key] = tuple(shape)
    assert infer_config(shapes) == golden_config(name)
    discriminator = {k: tuple(shape) for k, shape, _ in listed(name, "discriminator")}
    assert infer_discriminator_config(discriminator, golden_config(name)) == golden_discriminator_config(name)


def shapes_of(network: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def test_sizes_of_any_model_are_read_from_its_tensors() -> None:
    """Building from what was read gives the same tensors, and the same settings as far as they leave a trace."""
    rng = random.Random(0)
    for _ in range(50):
        width, blocks = rng.randint(1, 9), rng.randint(1, 5)
        hourglass = dict(block_expansion=width, max_features=rng.randint(width, 300), num_blocks=blocks)
        width = rng.randint(1, 9)
        config = ModelConfig(
            num_keypoints=rng.randint(1, 12),
            image_channels=rng.choice([1, 3, 4]),
            detector=DetectorConfig(
                **hourglass,
                scale_factor=1 / rng.randint(1, 9),
                estimate_jacobian=rng.random() < 0.8,
                single_jacobian_map=rng.random() < 0.3,
            ),
            dense_motion=DenseMotionConfig(
                block_expansion=width,
                max_features=rng.randint(width, 200),
                num_blocks=rng.randint(1, 12) if width == 1 else rng.randint(1, 5),
                scale_factor=1 / rng.randint(1, 9),
                estimate_occlusion=rng.random() < 0.8,
            ),
            generator=GeneratorConfig(
                block_expansion=rng.randint(1, 40),
                max_features=rng.randint(1, 200),
                num_down_blocks=rng.randint(0, 4),
                num_bottleneck_blocks=rng.randint(0, 12),
            ),
        )
        with torch.device("meta"):
            shapes = shapes_of(FOMM.from_config(config))
            found = infer_config(shapes)
            assert list(shapes_of(FOMM.from_config(found)).items()) == list(shapes.items())
        for ours, theirs in ((found.detector, config.detector), (found.dense_motion, config.dense_motion)):
            reached = theirs.max_features < theirs.block_expansion * 2**theirs.num_blocks
            assert not reached or ours.max_features == theirs.max_features
            assert (ours.block_expansion, ours.num_blocks) == (theirs.block_expansion, theirs.num_blocks)
            assert ours.scale_factor == pytest.approx(theirs.scale_factor)
        assert found.detector.estimate_jacobian == config.detector.estimate_jacobian
        if config.num_keypoints > 1 and config.detector.estimate_jacobian:  # else it leaves no trace
            assert found.detector.single_jacobian_map == config.detector.single_jacobian_map
        assert found.dense_motion.estimate_occlusion == config.dense_motion.estimate_occlusion
        assert found.generator.num_down_blocks == config.generator.num_down_blocks
        assert found.generator.num_bottleneck_blocks == config.generator.num_bottleneck_blocks


def test_sizes_of_any_discriminator_are_read_from_its_tensors() -> None:
    rng = random.Random(1)
    for _ in range(30):
        model = ModelConfig(num_keypoints=rng.randint(1, 12), image_channels=rng.choice([1, 3]))
        config = DiscriminatorConfig(
            scales=rng.choice([[1.0], [1.0, 0.5], [0.5, 0.25, 0.125]]),
            block_expansion=rng.randint(1, 20),
            max_features=rng.randint(1, 100),
            num_blocks=rng.randint(1, 5),
            spectral_norm=rng.random() < 0.5,
            use_keypoints=rng.random() < 0.5,
        )
        with torch.device("meta"):
            shapes = shapes_of(config.build(model))
            found = infer_discriminator_config(shapes, model)
            assert list(shapes_of(found.build(model)).items()) == list(shapes.items())
        kept = ("scales", "num_blocks", "spectral_norm", "use_keypoints")
        assert [getattr(found, k) for k in kept] == [getattr(config, k) for k in kept]


# ---- formats --------------------------------------------------------------------------------------------------------


def adam_state(parameters: list[torch.nn.Parameter], *, old: bool) -> dict:
    """An optimiser's state after a step; `old` as torch 1.0 wrote it: memory addresses, whole numbers, few settings."""
    optimizer = torch.optim.Adam(parameters, lr=2e-4, betas=(0.5, 0.999))
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    state = optimizer.state_dict()
    if not old:
        return state
    address = {number: 139_000_000_000_000 + 72 * number for number in state["state"]}
    group = {k: state["param_groups"][0][k] for k in ("lr", "betas", "eps", "weight_decay", "amsgrad")}
    return {
        "state": {address[n]: {**moments, "step": int(moments["step"])} for n, moments in state["state"].items()},
        "param_groups": [{**group, "params": list(address.values())}],
    }


def complete_checkpoint(path: Path, *, old: bool) -> tuple[FOMM, torch.nn.Module]:
    torch.manual_seed(1)
    model = FOMM.from_config(SMALL)
    discriminator = DiscriminatorConfig(
        block_expansion=2, max_features=6, num_blocks=3, spectral_norm=True, use_keypoints=True
    ).build(SMALL)
    training = TrainingState(
        optimizer_generator=adam_state([*model.dense_motion.parameters(), *model.generator.parameters()], old=old),
        optimizer_discriminator=adam_state(list(discriminator.parameters()), old=old),
        optimizer_kp_detector=adam_state(list(model.detector.parameters()), old=old),
        discriminator=discriminator.state_dict(),
        epoch=49,
    )
    export_original(path, model, training=training)
    return model, discriminator


@pytest.mark.parametrize("old", [True, False])
def test_complete_checkpoint_of_the_original(old: bool, tmp_path: Path) -> None:
    path = tmp_path / "00000049-checkpoint.pth.tar"
    model, discriminator = complete_checkpoint(path, old=old)
    assert list(torch.load(path, weights_only=True)) == LISTING["checkpoint_top_level_keys"]
    loaded = load_model(path)
    same_weights(loaded.model, model)
    assert loaded.info.epoch == 49 and loaded.info.format == "original" and loaded.info.category == "unknown"
    assert any("0.1" in note for note in loaded.info.notes)  # what was assumed is said

    training = Checkpoint.read(path).training_state()
    config = infer_discriminator_config(sizes.shapes_of(training.discriminator), loaded.model.config)
    assert training.epoch == 49 and config.spectral_norm
    rebuilt = config.build(loaded.model.config)
    rebuilt.load_state_dict(training.discriminator)
    networks = {
        "generator": [*loaded.model.dense_motion.parameters(), *loaded.model.generator.parameters()],
        "discriminator": list(rebuilt.parameters()),
        "kp_detector": list(loaded.model.detector.parameters()),
    }
    for name, parameters in networks.items():
        optimizer = torch.optim.Adam(parameters)
        optimizer.load_state_dict(getattr(training, f"optimizer_{name}"))
        for parameter in parameters:
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()  # goes on where it stopped
        assert all(int(optimizer.state[p]["step"]) == 2 for p in parameters)
        assert optimizer.param_groups[0]["lr"] == 2e-4


def test_parts_that_belong_to_other_networks_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pth.tar"
    complete_checkpoint(path, old=True)
    content = torch.load(path, weights_only=True)
    torch.save({**content, "optimizer_generator": content["optimizer_kp_detector"]}, path)
    with pytest.raises(InputError, match="optimizer_generator: belongs to other networks"):
        Checkpoint.read(path).training_state()
    torch.save({**content, "optimizer_generator": {"state": 3}}, path)
    with pytest.raises(InputError, match="optimizer_generator: not the state of an Adam"):
        Checkpoint.read(path).training_state()
    content["discriminator"].pop("discs.1.conv.bias")
    torch.save(content, path)
    with pytest.raises(InputError, match=r"discriminator: .*missing: discs\.1\.conv\.bias"):
        Checkpoint.read(path).training_state()
    load_model(path)  # the model itself is whole


def test_a_state_dict_as_torch_1_0_saved_it(tmp_path: Path) -> None:
    """OrderedDicts with metadata, on a GPU that is not here; counters of batch norm may be absent."""
    model = small_model()
    states = {"generator": OrderedDict(), "kp_detector": model.detector.state_dict()}
    for prefix, network in (("dense_motion_network.", model.dense_motion), ("", model.generator)):
        for name, tensor in network.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                states["generator"][prefix + name] = tensor
    states["generator"]._metadata = OrderedDict({"": {"version": 1}})
    path = tmp_path / "old.pth.tar"
    torch.save(states, path, _use_new_zipfile_serialization=False)
    on_cpu = path.read_bytes()
    on_gpu = on_cpu.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")  # where pickle notes the device
    assert on_gpu != on_cpu
    path.write_bytes(on_gpu)
    same_weights(load_model(path).model, model)
    torch.save(states, path)  # re-saved by a newer torch: a zip file
    same_weights(load_model(path).model, model)


def test_own_format(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "w.safetensors"
    model = FOMM.from_config(replace(SMALL, align_corners=False))
    made = {"command": "train.py", "scores": {"l1": 0.03}}
    save_weights(path, model, category="robot", image_size=64, provenance=made)
    loaded = load_model(path)
    same_weights(loaded.model, model)
    assert loaded.model.config == model.config  # exactly, temperature and align_corners too
    assert loaded.model.generator.align_corners is loaded.model.dense_motion.align_corners is False
    assert loaded.model.detector.temperature == 0.2
    info = loaded.info
    assert (info.category, info.image_size, info.provenance, info.format) == ("robot", 64, made, "weights")
    assert info.sha256 == hashlib.sha256(path.read_bytes()).hexdigest() and not info.notes
    assert all(p.requires_grad and p.is_leaf for p in loaded.model.parameters())

    overridden = load_model(path, temperature=0.5, align_corners=True, category="face", image_size=128)
    assert overridden.model.detector.temperature == 0.5 and overridden.model.generator.align_corners
    assert (overridden.info.category, overridden.info.image_size) == ("face", 128)

    again = tmp_path / "again.safetensors"
    save_weights(again, loaded.model, category="robot", image_size=64, provenance=made)
    assert again.read_bytes() == path.read_bytes()
    assert list(tmp_path.iterdir()) == [again, tmp_path / "deep"] or len(list(tmp_path.iterdir())) == 2


def test_half_precision_storage(tmp_path: Path) -> None:
    whole, half = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save_weights(whole, small_model())
    save_weights(half, small_model(), half=True)
    assert half.stat().st_size < 0.75 * whole.stat().st_size
    loaded = load_model(half).model
    for name, tensor in small_model().state_dict().items():
        found = loaded.state_dict()[name]
        assert found.dtype == tensor.dtype
        if tensor.ndim == 4 and not name.endswith("down.weight"):
            assert torch.equal(found, tensor.half().float())
        else:
            assert torch.equal(found, tensor), name  # norms, biases, blur kernels keep every bit


def test_weights_that_must_not_be_written(tmp_path: Path) -> None:
    model = FOMM.from_config(SMALL)
    with torch.no_grad():
        model.generator.final.weight[0, 0, 0, 0] = 1e5  # too large for float16
    save_weights(tmp_path / "a.safetensors", model)
    with pytest.raises(ValueError, match="float16: generator.final.weight"):
        save_weights(tmp_path / "b.safetensors", model, half=True)
    with pytest.raises(ValueError, match="faces"):
        save_weights(tmp_path / "b.safetensors", model, category="faces")
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """The largest size of a file that the process may write stands for the disk's."""
    program = """
import resource, signal, sys
from fomm.checkpoint import *
from fomm.errors import InputError
from fomm.model import *
small = dict(block_expansion=8, max_features=32)
networks = DetectorConfig(**small), DenseMotionConfig(**small), GeneratorConfig(**small)
model = FOMM.from_config(ModelConfig(10, 3, True, *networks))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
for write in save_weights, export_original:
    try:
        write(sys.argv[1], model)
    except InputError as error:
        print(error)
"""
    done = python(program, str(tmp_path / "w.bin"))
    assert done.stdout.count("w.bin: cannot be written") == 2 == done.stdout.count("\n"), done.stdout + done.stderr
    assert not list(tmp_path.iterdir())


def python(program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=Path(__file__).parent.parent,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_checkpoint_of_a_training_run(tmp_path: Path) -> None:
    """A real one, written by the trainer; the average of the weights is what loads."""
    lightning = pytest.importorskip("pytorch_lightning")
    from fomm.training.losses import LossWeights
    from fomm.training.module import Training

    module = Training(
        network=SMALL,
        discriminator=DiscriminatorConfig(block_expansion=2, max_features=8, num_blocks=2),
        weights=LossWeights(perceptual=(10, 10), feature_matching=(10, 10)),
        perceptual="pixels",
        average_decay=0.5,
        category="animal",
    )
    frames = torch.utils.data.StackDataset(source=torch.rand(4, 3, 32, 32), driving=torch.rand(4, 3, 32, 32))
    trainer = lightning.Trainer(
        max_steps=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    pairs = lightning.LightningDataModule.from_datasets(frames, batch_size=2)
    pairs.size = 32
    trainer.fit(module, datamodule=pairs)
    path = tmp_path / "last.ckpt"
    trainer.save_checkpoint(path)
    loaded = load_model(path)
    same_weights(loaded.model, module.average)
    assert not torch.equal(loaded.model.generator.final.weight, module.model.generator.final.weight)
    assert loaded.model.config == SMALL and loaded.info.format == "training"
    assert (loaded.info.category, loaded.info.image_size) == ("animal", 32)
    training = Checkpoint.read(path).training_state()
    assert infer_discriminator_config(sizes.shapes_of(training.discriminator), SMALL).block_expansion == 2
    assert training.discriminator.keys() == module.discriminator.state_dict().keys()

    plain = torch.load(path, weights_only=True)
    plain["state_dict"] = {k: v for k, v in plain["state_dict"].items() if not k.startswith("average.")}
    del plain["model_config"], plain["fomm"]  # then sizes come from the tensors
    torch.save(plain, path)
    loaded = load_model(path)
    same_weights(loaded.model, module.model)
    assert loaded.model.config.generator == SMALL.generator


# ---- partial initialisation -----------------------------------------------------------------------------------------


def test_another_number_of_keypoints_starts_afresh_where_it_must(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", small_model())
    model = FOMM.from_config(replace(SMALL, num_keypoints=5))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    report = Checkpoint.read(tmp_path / "w.safetensors").initialize(model)
    assert sorted(report.fresh) == sorted(
        [
            "detector.kp.weight", "detector.kp.bias", "detector.jacobian.weight", "detector.jacobian.bias",
            "dense_motion.mask.weight", "dense_motion.mask.bias", "dense_motion.occlusion.weight",
            "dense_motion.hourglass.encoder.down_blocks.0.conv.weight",
        ]
    )  # fmt: skip
    assert sorted(report.unused) == sorted(report.fresh)
    after, given = model.state_dict(), small_model().state_dict()
    assert all(torch.equal(after[name], given[name]) for name in report.loaded)
    assert all(torch.equal(after[name], before[name]) for name in report.fresh)
    assert len(report.loaded) + len(report.fresh) == len(after)


def test_nothing_that_fits_is_an_error(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", small_model())
    other = ModelConfig(
        detector=DetectorConfig(block_expansion=7), dense_motion=DenseMotionConfig(block_expansion=7),
        generator=GeneratorConfig(block_expansion=7),
    )  # fmt: skip
    with pytest.raises(InputError, match="no convolution of it fits"):
        Checkpoint.read(tmp_path / "w.safetensors").initialize(FOMM.from_config(other))


# ---- bad files ------------------------------------------------------------------------------------------------------


def refused(path: Path, *words: str) -> str:
    with pytest.raises(InputError) as caught:
        load_model(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    for word in words:
        assert word in message, message
    return message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html><title>Google Drive - Quota exceeded</title>", "a web page saved under this name"),
        (b"\xef\xbb\xbf\n <html lang=en>", "a web page saved under this name"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 239305153\n", "git lfs pull"),
        (b"hello", "not a checkpoint (it begins with b'hello')"),
        (b"\x89PNG\r\n\x1a\n" + bytes(2000), "not a checkpoint"),
        (b"\x80\x02}q\x00.", "not a checkpoint"),  # a plain pickle
        (b"PK\x03\x04" + bytes(100), "damaged or incomplete"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{not json at all", "damaged or incomplete"),
    ],
)
def test_files_that_are_something_else(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "vox-adv-cpk.pth.tar"
    path.write_bytes(content)
    refused(path, words)


def test_folders_and_archives(tmp_path: Path) -> None:
    folder = tmp_path / "vox-adv-cpk.pth"
    (folder / "archive").mkdir(parents=True)
    refused(folder, "a folder, not a file")
    (folder / "archive" / "data.pkl").write_bytes(b"\x80\x02.")
    refused(folder, "an unpacked checkpoint", "it is not unpacked")
    packed = tmp_path / "packed.pth.tar"
    subprocess.run(["tar", "cf", packed, "-C", tmp_path, folder.name], check=True)
    refused(packed, "really a tar archive")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may read everything")
def test_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "x.pth.tar"
    path.write_bytes(b"x")
    path.chmod(0)
    refused(path, "cannot be read")


def test_no_such_file_lists_the_known_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="vox, vox-adv, taichi, taichi-adv, fashion, bair, mgif, nemo, face, puppets"):
        load_model("vox-advv")
    with pytest.raises(InputError, match="the name of that released file is vox-adv"):
        load_model("vox-adv-cpk.pth.tar")
    with pytest.raises(InputError, match="category 'faces'"):
        load_model("vox", category="faces")


def write_all_formats(folder: Path) -> dict[str, Path]:
    paths = {"legacy": folder / "a.pth.tar", "zip": folder / "b.pth.tar", "own": folder / "c.safetensors"}
    export_original(paths["legacy"], small_model())
    torch.save(torch.load(paths["legacy"], weights_only=True), paths["zip"])
    save_weights(paths["own"], small_model())
    return paths


def test_truncated_files(tmp_path: Path) -> None:
    for path in write_all_formats(tmp_path).values():
        whole = path.read_bytes()
        for length in [1, 5, 9, 30, 100, 999, len(whole) // 3, len(whole) - 300, len(whole) - 1]:
            path.write_bytes(whole[:length])
            refused(path)
        path.write_bytes(whole[: len(whole) // 2])
        refused(path, "damaged or incomplete", "again")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_damaged_bytes_never_escape_as_other_errors(tmp_path: Path) -> None:
    rng = random.Random(0)
    for path in write_all_formats(tmp_path).values():
        whole = path.read_bytes()
        for _ in range(40):
            damaged = bytearray(whole)
            for _ in range(rng.choice([1, 4])):  # mostly where the structure is
                damaged[int(len(whole) * rng.random() ** 4)] = rng.randrange(256)
            path.write_bytes(damaged)
            try:
                load_model(path)  # a changed weight cannot be noticed
            except InputError as error:
                assert str(path) in str(error)


class Boom:
    """Runs a command when unpickled."""

    def __reduce__(self):
        return os.system, (f"touch {Boom.trace}",)


@pytest.mark.parametrize("legacy", [True, False])
def test_a_pickle_that_wants_to_run_code_is_refused(legacy: bool, tmp_path: Path) -> None:
    Boom.trace = tmp_path / "ran"
    path = tmp_path / "x.pth.tar"
    torch.save({"generator": Boom(), "kp_detector": {}}, path, _use_new_zipfile_serialization=not legacy)
    refused(path, "refused", "system")
    assert not Boom.trace.exists()


def test_a_zip_that_unpacks_to_more_than_it_is_gets_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pth.tar"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/data.pkl", bytes(10**6))
    refused(path, "refused", "unpacks to 1,000,002 bytes")


def save_altered(path: Path, alter) -> Path:
    export_original(path, small_model())
    content = torch.load(path, weights_only=True)
    alter(content)
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return path


def test_all_wrong_tensors_are_named_at_once(tmp_path: Path) -> None:
    def alter(content: dict) -> None:
        del content["generator"]["final.bias"]
        del content["kp_detector"]["predictor.encoder.down_blocks.0.norm.weight"]
        content["kp_detector"]["extra.weight"] = torch.zeros(2)
        content["generator"]["dense_motion_network.mask.weight"] = torch.zeros(9, 1, 7, 7)

    message = refused(save_altered(tmp_path / "x.pth.tar", alter))
    assert "2 missing: detector.predictor.encoder.down_blocks.0.norm.weight, generator.final.bias" in message
    assert "1 unexpected: detector.extra.weight" in message
    assert "1 misshapen: dense_motion.mask.weight (9, 1, 7, 7) instead of (4, 20, 7, 7)" in message


def test_tensors_of_an_impossible_model(tmp_path: Path) -> None:
    def blur(content: dict) -> None:
        content["kp_detector"]["down.weight"] = torch.zeros(3, 1, 7, 7)

    refused(save_altered(tmp_path / "x.pth.tar", blur))
    refused(save_altered(tmp_path / "x.pth.tar", lambda c: c.update(generator={})), "missing")

    def scalars(content: dict) -> None:
        content["kp_detector"] = {name: torch.zeros(()) for name in content["kp_detector"]}

    refused(save_altered(tmp_path / "x.pth.tar", scalars), "misshapen")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_found(value: float, tmp_path: Path) -> None:
    def alter(content: dict) -> None:
        content["generator"]["first.conv.weight"][0, 0, 0, 0] = value
        content["kp_detector"]["kp.bias"][1] = -value

    message = refused(save_altered(tmp_path / "x.pth.tar", alter), "NaN or infinite")
    assert "detector.kp.bias, generator.first.conv.weight;" in message
    with pytest.raises(InputError, match="NaN"):
        Checkpoint.read(tmp_path / "x.pth.tar").initialize(FOMM.from_config(SMALL))


def test_large_but_finite_numbers_are_not_refused(tmp_path: Path) -> None:
    def alter(content: dict) -> None:
        content["generator"]["first.conv.weight"].fill_(3e38)  # their sum is infinite

    load_model(save_altered(tmp_path / "x.pth.tar", alter))


def test_dictionaries_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "x.pth.tar"
    torch.save({"model": {}, "optimizer": {}}, path)
    refused(path, "a dictionary of something else (keys model, optimizer)", "generator and kp_detector")
    torch.save([torch.zeros(2)], path)
    refused(path, "holds a list")
    torch.save({"generator": [1, 2], "kp_detector": {}}, path)
    refused(path, "named tensors")
    torch.save({"state_dict": {"net.weight": torch.zeros(2)}}, path)
    refused(path, "a checkpoint of another project (tensors net.weight)")
    path = tmp_path / "x.safetensors"
    from safetensors.torch import save_file

    save_file({"net.weight": torch.zeros(2)}, path)
    refused(path, "unexpected: net.weight")
    save_file(small_model().state_dict(), path)  # the right tensors without metadata will do
    assert load_model(path).model.config.detector.num_blocks == 2
    save_file(small_model().state_dict(), path, {"fomm": json.dumps({"format_version": 2})})
    refused(path, "format version 2", "install a newer fomm")
    bad = {"model": {**asdict(SMALL), "colour": 3}, "image_size": 100}
    save_file(small_model().state_dict(), path, {"fomm": json.dumps(bad)})
    refused(path, "image_size 100: give a positive multiple of 8")
    assert any("colour" in note for note in load_model(path, image_size=64).info.notes)
    for metadata, words in (
        ({"image_size": 10**6}, "4096 at most"),
        ({"category": "banana"}, "category 'banana'"),
        ({"provenance": "by hand"}, "provenance"),
        ({"provenance": {"crop_scale": "wide"}}, "crop_scale from 0.5 to 10"),
        ({"provenance": {"crop_scale": -5}}, "crop_scale from 0.5 to 10"),
    ):
        save_file(small_model().state_dict(), path, {"fomm": json.dumps(metadata)})
        refused(path, words)


def test_a_model_is_loaded_without_torchs_compiler() -> None:
    """It takes as long to import as all the rest, and comes with any arithmetic on the meta device."""
    program = """
import os, sys
from fomm.checkpoint import load_model
load_model("puppets")
os._exit(bool({"torch._dynamo", "sympy"} & sys.modules.keys()))
"""
    done = python(program)
    assert done.returncode == 0, done.stderr


# ---- known checkpoints ----------------------------------------------------------------------------------------------


def test_the_table_costs_no_torch() -> None:
    done = python("import sys, fomm.known as k; assert 'torch' not in sys.modules; print(len(k.KNOWN))")
    assert done.stdout == "10\n", done.stderr


def test_the_table() -> None:
    released = {name: k for name, k in known.KNOWN.items() if not k.embedded}
    assert sorted(f"{name}-256" for name in released) == sorted(CONFIGS)
    for name, entry in released.items():
        params = CONFIGS[f"{name}-256"]["model_params"]["kp_detector_params"]
        assert entry.temperature == params["temperature"] and entry.align_corners is True
        assert CONFIGS[f"{name}-256"]["dataset_params"]["frame_shape"][:2] == [entry.image_size] * 2
        assert all(mirror.startswith("https://") and mirror.endswith(entry.file) for mirror in entry.mirrors)
        assert entry.category in known.CATEGORIES
    assert known.KNOWN["vox-adv"].md5 == "8a45a24037871c045fbb8a6a8aa95ebc"


def test_a_wrong_file_under_a_known_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FOMM_CACHE", str(tmp_path))
    path = tmp_path / "vox-adv-cpk.pth.tar"
    path.write_bytes(b"<html>Too many users have viewed or downloaded this file")
    with pytest.raises(InputError, match="a web page saved under this name"):
        load_model("vox-adv")
    export_original(path, small_model())
    with pytest.raises(InputError, match="md5 .*, that of the released vox-adv is 8a45a24037871c045fbb8a6a8aa95ebc"):
        load_model("vox-adv")
    assert path.exists()  # the user's file is not ours to remove
    info = load_model(path).info  # given by path it is used, with a word of doubt
    assert info.name == "vox-adv" and info.category == "face" and "not its md5" in info.notes[0]

    export_original(tmp_path / "taichi-cpk.pth.tar", small_model())
    info = load_model("taichi").info
    assert info.category == "body" and "could not be verified" in info.notes[0]


def test_weights_inside_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(known, "WEIGHTS_FOLDER", tmp_path)
    with pytest.raises(MissingWeightsError, match="puppets.json is missing; install the package again"):
        load_model("puppets")
    path = tmp_path / "puppets.safetensors"
    save_weights(path, small_model(), category="face", image_size=64)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "puppets.json").write_text(json.dumps({"sha256": digest}))
    (tmp_path / "puppets").mkdir()  # a data set of this name lies around
    monkeypatch.chdir(tmp_path)
    info = load_model("puppets").info
    assert (info.sha256, info.image_size, info.notes) == (digest, 64, ())
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(InputError, match="the file is damaged"):
        load_model("puppets")


class Mirror(BaseHTTPRequestHandler):
    """A file server with moods, chosen by the address's first part."""

    content: bytes
    broken: int  # answers still to be cut short
    requests: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        mood, asked = self.path.split("/")[1], self.headers.get("Range")
        self.server.seen.append((mood, asked))
        body, status, headers = self.server.content, 200, {"ETag": '"1"'}
        if mood == "missing":
            return self.send_error(404)
        if mood == "insecure":
            status, headers, body = 302, {"Location": f"http://localhost:{self.server.server_port}/good/x"}, b""
        if mood == "html":
            body, headers = b"<html>Quota exceeded</html>", {"Content-Type": "text/html; charset=utf-8"}
        if mood == "hiddenhtml":
            body = b"<!doctype html>Quota exceeded"
        if mood == "wrong":
            body = body[:-1] + b"?"
        if asked and mood not in ("norange", "html"):
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            body, status = body[start:], 206
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if mood in ("broken", "norange", "dead") and (self.server.broken > 0 or mood == "dead"):
            self.server.broken -= 1
            self.wfile.write(body[: 0 if mood == "dead" else len(body) // 2])
            self.wfile.flush()
            return self.connection.close()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server():
    http = ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    http.content, http.broken, http.seen = random.Random(0).randbytes(3_000_000), 0, []
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield http
    http.shutdown()
    thread.join()
    http.server_close()


def entry_at(server, *moods: str, md5: bool = True) -> KnownCheckpoint:
    mirrors = tuple(f"http://127.0.0.1:{server.server_port}/{mood}/toy.pth.tar" for mood in moods)
    head = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
    server.content = head + server.content[len(head) :]
    digest = hashlib.md5(server.content).hexdigest() if md5 else None
    return KnownCheckpoint("toy", "toy.pth.tar", category="face", mirrors=mirrors, md5=digest)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_download(server, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    toy = entry_at(server, "good")
    path = fetch(toy, tmp_path / "new" / "cache")
    assert path.read_bytes() == server.content and left(path.parent) == ["toy.pth.tar"]
    assert "toy.pth.tar: 100%" in capfd.readouterr().err
    assert fetch(toy, path.parent) == path and len(server.seen) == 1  # only once
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_mirrors_are_tried_in_order(server, tmp_path: Path) -> None:
    toy = entry_at(server, "missing", "html", "hiddenhtml", "wrong", "insecure", "good", "broken")
    path = fetch(toy, tmp_path, progress=False)
    assert path.read_bytes() == server.content and left(tmp_path) == ["toy.pth.tar"]
    assert [mood for mood, _ in server.seen] == ["missing", "html", "hiddenhtml", "wrong", "insecure", "good"]


def test_a_wrong_file_is_removed_and_never_used(server, tmp_path: Path) -> None:
    for mood in ("wrong", "html", "hiddenhtml"):
        with pytest.raises(MissingWeightsError, match=f"/{mood}/toy.pth.tar: gives another file"):
            fetch(entry_at(server, mood), tmp_path, progress=False)
        assert left(tmp_path) == []


def test_a_broken_connection_is_resumed(server, tmp_path: Path) -> None:
    server.broken = 3
    path = fetch(entry_at(server, "broken"), tmp_path, progress=False)
    assert path.read_bytes() == server.content
    starts = [int(asked.strip("bytes=-")) if asked else 0 for _, asked in server.seen]
    wanted = (0, 1.5e6, 2.25e6, 2.625e6)
    # Half of what was missing came each time; a last piece of less than 64 KiB may have been lost.
    assert all(0 <= want - got < 3 << 16 for got, want in zip(starts, wanted, strict=True))


def test_without_ranges_it_starts_again(server, tmp_path: Path) -> None:
    server.broken = 1
    assert fetch(entry_at(server, "norange"), tmp_path, progress=False).read_bytes() == server.content


def test_the_next_run_resumes_too(server, tmp_path: Path) -> None:
    toy = entry_at(server, "broken")
    part = tmp_path / f".toy.pth.tar.{hashlib.sha256(toy.mirrors[0].encode()).hexdigest()[:8]}.part"
    part.write_bytes(server.content[:1_000_000])
    fetch(toy, tmp_path, progress=False)
    assert server.seen == [("broken", "bytes=1000000-")]
    for leftover in (server.content, server.content + b"more"):  # complete already; or of another file
        (tmp_path / toy.file).unlink()
        part.write_bytes(leftover)
        assert fetch(toy, tmp_path, progress=False).read_bytes() == server.content


def test_a_dead_mirror_is_given_up_with_instructions(server, tmp_path: Path) -> None:
    toy = entry_at(server, "dead", "missing")
    with pytest.raises(MissingWeightsError) as caught:
        fetch(toy, tmp_path, progress=False)
    message = str(caught.value)
    assert "dead/toy.pth.tar: connection broken; " in message and "missing/toy.pth.tar: HTTP status 404" in message
    assert all(mirror in message for mirror in toy.mirrors) and toy.md5 in message
    assert f"save it, not unpacked, as {tmp_path / 'toy.pth.tar'}" in message and "\n" not in message


def test_offline(tmp_path: Path) -> None:
    toy = KnownCheckpoint("toy", "toy.pth.tar", category="face", mirrors=("http://127.0.0.1:9/toy.pth.tar",))
    with pytest.raises(MissingWeightsError, match="cannot be reached.*its hash is not known"):
        fetch(toy, tmp_path, progress=False)
    with pytest.raises(MissingWeightsError, match="no address of it is known.*find it"):
        fetch(replace(toy, mirrors=()), tmp_path)
    with pytest.raises(MissingWeightsError, match="not an https address"):
        fetch(replace(toy, mirrors=("http://example.org/toy.pth.tar",)), tmp_path)


def test_a_cache_that_cannot_be_written(server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written.*FOMM_CACHE"):
        fetch(entry_at(server, "good"), tmp_path / "file" / "cache", progress=False)


def test_two_processes_download_once(server, tmp_path: Path) -> None:
    toy = entry_at(server, "good")
    program = f"""
from pathlib import Path
from fomm.download import fetch
from fomm.known import KnownCheckpoint
print(fetch({toy!r}, Path({str(tmp_path)!r}), progress=False))
"""
    command = [sys.executable, "-c", program]
    root = Path(__file__).parent.parent
    running = [subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert {process.communicate(timeout=60)[0] for process in running} == {f"{tmp_path / toy.file}\n"}
    assert (tmp_path / toy.file).read_bytes() == server.content and len(server.seen) == 1


def test_filled_discriminators_survive_the_original_format(tmp_path: Path) -> None:
    """The listing's order of names, for the three kinds of discriminator."""
    for name in ("vox-256", "vox-adv-256", "taichi-256"):
        config = golden_discriminator_config(name)
        discriminator = fill_discriminator(config.build(ModelConfig()))
        path = tmp_path / "x.pth.tar"
        export_original(path, small_model(), training=TrainingState(discriminator=discriminator.state_dict()))
        found = torch.load(path, weights_only=True)["discriminator"]
        assert [[k, list(v.shape)] for k, v in found.items()] == [e[:2] for e in listed(name, "discriminator")]
        assert all(torch.equal(v, found[k]) for k, v in discriminator.state_dict().items())
        # torch 1.0 demands the version of each spectral norm.
        norms = [v for v in found._metadata.values() if v.get("spectral_norm") == {"weight.version": 1}]
        assert len(norms) == (5 if golden_discriminator_config(name).spectral_norm else 0)
