"""Model `face` through the formats of checkpoints: what is stored, what is refused, what the tools say."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from in_process import fomm
from safetensors.torch import load_file, save_file

from fomm import known
from fomm.checkpoint import Checkpoint, export_onnx, export_original, load_model, save_weights
from fomm.errors import InputError, MissingWeightsError
from fomm.model.face import FaceConfig, FaceModel

WIDTH = 8


@pytest.fixture(scope="module")
def model() -> FaceModel:
    torch.manual_seed(0)
    model = FaceModel(FaceConfig(width=WIDTH)).eval()
    torch.nn.init.normal_(model.generator.last.weight)  # whose zeros would hide what goes wrong before
    return model


@pytest.fixture
def file(model: FaceModel, tmp_path: Path) -> Path:
    save_weights(tmp_path / "w.safetensors", model, category="face", image_size=256, provenance={"steps": 3})
    return tmp_path / "w.safetensors"


def same_weights(a: FaceModel, b: FaceModel) -> None:
    assert isinstance(b, FaceModel) and a.state_dict().keys() == b.state_dict().keys()
    assert all(torch.equal(tensor, b.state_dict()[name]) for name, tensor in a.state_dict().items())


def test_it_comes_back_as_it_was(model: FaceModel, file: Path) -> None:
    loaded, info = load_model(file)
    same_weights(model, loaded)
    assert loaded.config == model.config and not loaded.training
    assert (info.format, info.category, info.image_size, info.notes) == ("weights", "face", 256, ())
    assert info.provenance == {"steps": 3}


def test_half_precision_and_the_size_of_the_file(tmp_path: Path) -> None:
    save_weights(tmp_path / "full.safetensors", FaceModel(), category="face")
    assert (tmp_path / "full.safetensors").stat().st_size <= 8e6
    save_weights(tmp_path / "half.safetensors", FaceModel(), category="face", half=True)
    assert all(tensor.dtype == torch.float32 for tensor in load_model(tmp_path / "half.safetensors").model.parameters())


def test_a_checkpoint_of_a_training_run(model: FaceModel, tmp_path: Path) -> None:
    """The average is what loads; without a usable config, its size is read from the tensors."""
    other = FaceModel(FaceConfig(width=WIDTH))
    state = {f"model.{k}": v for k, v in other.state_dict().items()}
    state |= {f"average.{k}": v for k, v in model.state_dict().items()}
    told = {"architecture": "face", "category": "face", "image_size": 256}
    content = {"state_dict": state, "epoch": 4, "model_config": asdict(model.config), "fomm": told}
    torch.save(content, tmp_path / "last.ckpt")
    loaded, info = load_model(tmp_path / "last.ckpt")
    same_weights(model, loaded)
    assert (info.format, info.epoch, info.notes) == ("training", 4, ("averaged weights",))
    torch.save({**content, "model_config": {"depth": 3}}, tmp_path / "last.ckpt")
    loaded, info = load_model(tmp_path / "last.ckpt")
    assert loaded.config == model.config and "cannot be used" in info.notes[-1]
    with pytest.raises(InputError, match="holds a model 'face', but 'fomm' is wanted"):
        Checkpoint.read(tmp_path / "last.ckpt").training_state()


def test_every_tensor_is_accounted_for(file: Path, tmp_path: Path) -> None:
    tensors, told = load_file(file), {"fomm": json.dumps({"architecture": "face", "model": {"width": WIDTH}})}
    bad = tmp_path / "bad.safetensors"
    changed = {**tensors, "generator.more": torch.zeros(2), "generator.last.bias": torch.zeros(1)}
    del changed["generator.first.0.bias"]
    save_file(changed, bad, told)
    with pytest.raises(InputError, match=r"1 missing: .*first.0.bias; 1 unexpected: .*more; 1 misshapen: .*last.bias"):
        load_model(bad)
    save_file({**tensors, "generator.last.bias": torch.full((16,), torch.nan)}, bad, told)
    with pytest.raises(InputError, match="NaN or infinite numbers in generator.last.bias"):
        load_model(bad)
    save_file(tensors, bad, {"fomm": json.dumps({"architecture": "face", "model": {"width": 7}})})
    with pytest.raises(InputError, match="no possible model"):
        load_model(bad)
    save_file(tensors, bad, {"fomm": json.dumps({"architecture": "body"})})
    with pytest.raises(InputError, match="holds a model 'body', known are fomm, face"):
        load_model(bad)


def test_what_it_has_not_got_is_refused(model: FaceModel, file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither temperature nor align_corners"):
        load_model(file, temperature=0.1)
    with pytest.raises(InputError, match="the original has no model 'face'"):
        export_original(tmp_path / "x.pth.tar", model)
    with pytest.raises(InputError, match="holds a model 'fomm', but 'face' is wanted"):
        Checkpoint.read("puppets").initialize(FaceModel(model.config))


def test_training_starts_from_it(model: FaceModel, file: Path) -> None:
    other = FaceModel(FaceConfig(width=WIDTH))
    report = Checkpoint.read(file).initialize(other)
    same_weights(model, other)
    assert not report.fresh and not report.unused
    with pytest.raises(InputError, match="no convolution of it fits"):
        Checkpoint.read(file).initialize(FaceModel(FaceConfig(width=2 * WIDTH)))


def test_inside_the_package(monkeypatch: pytest.MonkeyPatch, file: Path, tmp_path: Path) -> None:
    monkeypatch.setattr(known, "WEIGHTS_FOLDER", tmp_path)
    with pytest.raises(MissingWeightsError, match="face.json is missing"):
        load_model("face")
    file.rename(tmp_path / "face.safetensors")
    digest = hashlib.sha256((tmp_path / "face.safetensors").read_bytes()).hexdigest()
    (tmp_path / "face.json").write_text(json.dumps({"sha256": digest}))
    info = load_model("face").info
    assert (info.name, info.sha256, info.notes) == ("face", digest, ())


def test_the_tools(model: FaceModel, file: Path, tmp_path: Path) -> None:
    said = fomm("info", file)
    assert said.returncode == 0, said.stderr
    assert "FaceConfig(width=8)" in said.stdout and "478 landmarks" in said.stdout and "steps: 3" in said.stdout
    assert fomm("convert", file, tmp_path / "again.safetensors").returncode == 0
    same_weights(model, load_model(tmp_path / "again.safetensors").model)
    refused = fomm("convert", file, tmp_path / "again.pth.tar")
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and "the original has no" in refused.stderr
    refused = fomm("export", file, tmp_path / "onnx", "--size", "256")
    assert refused.returncode == 2 and "one size" in refused.stderr


@torch.inference_mode()
def test_the_generator_as_onnx(model: FaceModel, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    (path,) = export_onnx(model, tmp_path, image_size=256)
    assert path.name == "generator.onnx"
    patch, conditions = torch.rand(1, 3, 80, 96), torch.rand(1, 5, 80, 96)
    outputs = onnxruntime.InferenceSession(path).run(None, {"patch": patch.numpy(), "conditions": conditions.numpy()})
    for found, wanted in zip(outputs, model.generator(patch, conditions), strict=True):
        assert abs(found - wanted.numpy()).max() < 1e-4
