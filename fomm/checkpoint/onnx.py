"""A model as ONNX graphs, for use without PyTorch. A FOMM becomes three:

    keypoint_detector.onnx   frame -> points, jacobians
    source_encoder.onnx      source -> small, features, source_points, source_jacobians
    animator.onnx            source and all that the encoder made of it, points, jacobians -> prediction

Pictures are (1, C, H, W) float32 RGB in [0, 1] of the one size that was exported; keypoints are (1, K, 2) and
(1, K, 2, 2) as in `fomm.model.geometry.Keypoints`. The detector runs for every driving frame, the encoder once per
source. The animator takes the keypoints over as they are; `fomm.model.geometry.transfer_motion` has the few products
and sums that make motion relative.

A `FaceModel` becomes one, all of it that has weights; what goes in and comes out, `fomm.model.face` computes:

    generator.onnx           patch, conditions -> prediction, painted, occlusion_map
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from fomm.checkpoint.architectures import Model
from fomm.errors import InputError
from fomm.files import atomic_output
from fomm.model import FOMM, EncodedSource
from fomm.model.face import FaceModel
from fomm.model.face.generator import CHANNELS, PATCH_WH
from fomm.model.face.generator import Output as Painted
from fomm.model.geometry import Keypoints

OPSET = 18
"""Of ONNX; GridSample, with `align_corners`, is there from 16 on."""
KEYPOINTS = ["points", "jacobians"]
ENCODED = ["small", "features", "source_points", "source_jacobians"]


class _Part(nn.Module):
    def __init__(self, model: FOMM) -> None:
        super().__init__()
        self.model = model


class _Detector(_Part):
    def forward(self, frame: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.model.detect(frame))


class _Encoder(_Part):
    def forward(self, source: Tensor) -> tuple[Tensor, ...]:
        encoded = self.model.encode_source(source)
        return encoded.small, encoded.features, *encoded.keypoints


class _Animator(_Part):
    def forward(self, source: Tensor, small: Tensor, features: Tensor, *keypoints: Tensor) -> Tensor:
        encoded = EncodedSource(source, small, features, Keypoints(*keypoints[:2]))
        return self.model.animate(encoded, Keypoints(*keypoints[2:])).prediction


Graph = tuple[nn.Module, dict[str, Tensor], list[str]]
"""A network, examples of its inputs by name, names of its outputs."""


def export_onnx(model: Model, folder: Path, *, image_size: int) -> list[Path]:
    """Write the graphs into `folder`, which is made if needed.

    Args:
        model: on the CPU; set to evaluation mode.
        image_size: side of a FOMM's pictures, a multiple of its `stride`.

    Returns: the files, in the order of the module's docstring.

    Raises:
        InputError: ONNX's packages are missing, the size does not fit, or the place cannot be written.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 - PyTorch's exporter writes through it
    except ImportError as error:
        raise InputError(f"export needs the package {error.name}; install it with pip install '.[export]'") from error
    model = model.eval().float()
    graphs = _graphs(model, image_size) if isinstance(model, FOMM) else _face_graphs(model)
    files = []
    for name, (network, inputs, outputs) in graphs.items():
        file = folder / f"{name}.onnx"
        with atomic_output(file) as part:
            _export(network, inputs, outputs, part)
            onnx.checker.check_model(str(part))
        files.append(file)
    return files


def _graphs(model: FOMM, image_size: int) -> dict[str, Graph]:
    if image_size % model.stride or image_size < 1:
        raise InputError(f"--size {image_size}: must be a multiple of {model.stride}; give {model.stride} or more")
    picture = torch.zeros(1, model.config.image_channels, image_size, image_size)
    with torch.no_grad():
        encoded = _Encoder(model)(picture)
        driving = tuple(tensor.clone() for tensor in encoded[2:])  # the same tensor twice would become one input
    return {
        "keypoint_detector": (_Detector(model), {"frame": picture}, KEYPOINTS),
        "source_encoder": (_Encoder(model), {"source": picture}, ENCODED),
        "animator": (
            _Animator(model),
            {"source": picture, **dict(zip(ENCODED + KEYPOINTS, encoded + driving, strict=True))},
            ["prediction"],
        ),
    }


def _face_graphs(model: FaceModel) -> dict[str, Graph]:
    width, height = PATCH_WH
    inputs = {"patch": torch.zeros(1, 3, height, width), "conditions": torch.zeros(1, CHANNELS - 3, height, width)}
    return {"generator": (model.generator, inputs, list(Painted._fields))}


def _export(network: nn.Module, inputs: dict[str, Tensor], outputs: list[str], path: Path) -> None:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            torch.onnx.export(
                network,
                tuple(inputs.values()),
                path,
                input_names=list(inputs),
                output_names=outputs,
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        finally:
            logging.disable(logging.NOTSET)
