"""Small ONNX networks."""

from __future__ import annotations

from pathlib import Path

import pytest


def write_video_onnx(path: Path, *, frames: int = 4, side: int = 8) -> None:
    """(N, 3, frames, side, side) -> (N, 3): mean of each colour over space and time."""
    onnx = pytest.importorskip("onnx")
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["clip"], ["means"], axes=[2, 3, 4], keepdims=0)],
        "means",
        [helper.make_tensor_value_info("clip", float32, ["n", 3, frames, side, side])],
        [helper.make_tensor_value_info("means", float32, ["n", 3])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))


def write_constant_onnx(path: Path) -> None:
    """Nothing -> (4,)."""
    onnx = pytest.importorskip("onnx")
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Constant", [], ["vector"], value_floats=[1.0, 2.0, 3.0, 4.0])],
        "constant",
        [],
        [helper.make_tensor_value_info("vector", float32, [4])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))


def write_onnx(
    path: Path, *, size: int | None = 112, batch: int | str = "faces", metadata: str = "", broken: bool = False
) -> None:
    """(T, 3, S, S) -> (T, 4): mean of each colour, and 1; `broken`: it can be loaded but not run."""
    onnx = pytest.importorskip("onnx")
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    side = size or "side"
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["face"], ["means"]),
            helper.make_node("Reshape", ["means", "shape"], ["flat"]),
            helper.make_node("Pad", ["flat", "pads", "one"], ["vector"]),
        ],
        "means",
        [helper.make_tensor_value_info("face", float32, [batch, 3, side, side])],
        [helper.make_tensor_value_info("vector", float32, [batch, 4])],
        [
            helper.make_tensor("pads", onnx.TensorProto.INT64, [4], [0, 0, 0, 1]),
            helper.make_tensor("shape", onnx.TensorProto.INT64, [2], [-1, 7 if broken else 3]),
            helper.make_tensor("one", float32, [], [1.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    if metadata:
        helper.set_model_props(model, {"fomm": metadata})
    onnx.save(model, str(path))
