"""Files of other people's networks, read as data: what is in them is never run as code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from fomm.errors import InputError, first_line

if TYPE_CHECKING:
    import onnxruntime


def read_weights(path: Path, url: str) -> dict[str, object]:
    """What a file of `torch.save` holds by name; no code in it is run. For anything else raises InputError that names
    `url`, where the right file is."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return {str(name): value for name, value in state.items()}
    except Exception as error:  # whatever a damaged or hostile pickle raises
        raise InputError(f"{path}: not a file of weights, or damaged; get {url} again") from error


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """The network in a file, on the GPU where there is one; raises InputError for a file that is no ONNX network."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
        providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime has an exception for everything
        raise InputError(f"{path}: not an ONNX network ({first_line(error)}); export it again") from error
