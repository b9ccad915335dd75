"""The ONNX files in onnxruntime against the model in PyTorch."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import processes
import pytest
import torch
from fill import fill_model

from fomm.checkpoint import export_onnx, load_model
from fomm.errors import InputError
from fomm.model import FOMM, DenseMotionConfig, DetectorConfig, GeneratorConfig, ModelConfig

ROOT = Path(__file__).resolve().parent.parent


def small_model(**changes: object) -> FOMM:
    config = ModelConfig(
        num_keypoints=5,
        detector=DetectorConfig(block_expansion=8, max_features=32, num_blocks=3, scale_factor=0.5),
        dense_motion=DenseMotionConfig(block_expansion=8, max_features=32, num_blocks=3, scale_factor=0.5),
        generator=GeneratorConfig(block_expansion=8, max_features=32, num_down_blocks=2, num_bottleneck_blocks=1),
        **changes,
    )
    return fill_model(FOMM.from_config(config)).eval()


class Runner:
    """The three files as a user without PyTorch would run them."""

    def __init__(self, folder: Path) -> None:
        self.sessions = {
            name: onnxruntime.InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"])
            for name in ("keypoint_detector", "source_encoder", "animator")
        }

    def run(self, name: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        session = self.sessions[name]
        assert {i.name for i in session.get_inputs()} == set(inputs)
        return dict(zip([o.name for o in session.get_outputs()], session.run(None, inputs), strict=True))


def agree(model: FOMM, folder: Path, source: np.ndarray, driving: np.ndarray) -> None:
    runner = Runner(folder)
    encoded = runner.run("source_encoder", source=source)
    keypoints = runner.run("keypoint_detector", frame=driving)
    prediction = runner.run("animator", source=source, **encoded, **keypoints)["prediction"]
    with torch.inference_mode():
        expected = model(torch.from_numpy(source), torch.from_numpy(driving))
    ours = [keypoints["points"], keypoints["jacobians"], encoded["source_points"], encoded["source_jacobians"]]
    for mine, theirs in zip(ours, [*expected.driving_keypoints, *expected.source_keypoints], strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-4)
    np.testing.assert_allclose(prediction, expected.prediction, atol=1e-4)
    assert np.abs(prediction - source).mean() > 1e-3  # it did something


def smooth_pictures(size: int) -> list[np.ndarray]:
    noise = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    pictures = torch.nn.functional.interpolate(noise, size=(size, size), mode="bicubic").clamp(0, 1)
    return [picture[None].numpy() for picture in pictures]


@pytest.mark.parametrize("align_corners, size", [(True, 64), (False, 32)])
def test_a_small_model(align_corners: bool, size: int, tmp_path: Path) -> None:
    model = small_model(align_corners=align_corners)
    files = export_onnx(model, tmp_path / "new" / "folder", image_size=size)
    assert [file.name for file in files] == ["keypoint_detector.onnx", "source_encoder.onnx", "animator.onnx"]
    assert sorted(files) == sorted((tmp_path / "new" / "folder").iterdir())  # nothing beside them
    sampling = [node for node in onnx.load(files[2]).graph.node if node.op_type == "GridSample"]
    modes = {attribute.i for node in sampling for attribute in node.attribute if attribute.name == "align_corners"}
    assert sampling and modes <= {int(align_corners)}
    agree(model, files[0].parent, *smooth_pictures(size))


def test_the_embedded_model_from_the_command_line(tmp_path: Path) -> None:
    command = ["-m", "fomm", "export", "puppets", str(tmp_path / "onnx")]
    done = processes.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(".onnx") == 3 and done.stderr == ""
    model, info = load_model("puppets")
    agree(model.eval(), tmp_path / "onnx", *smooth_pictures(info.image_size))


def test_what_cannot_be_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model()
    with pytest.raises(InputError, match="--size 100: must be a multiple of 16"):
        export_onnx(model, tmp_path, image_size=100)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file: cannot be written .*--output"):
        export_onnx(model, tmp_path / "file", image_size=64)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(InputError, match=r"export needs the package onnxscript; .*\[export\]"):
        export_onnx(model, tmp_path, image_size=64)
