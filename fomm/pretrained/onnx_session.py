"""ONNX files of the user's: arithmetic only, no program."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from fomm.errors import InputError, first_line

if TYPE_CHECKING:
    import onnxruntime


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """The network in a file, on the GPU where there is one.

    Raises:
        InputError: not an ONNX network.
    """
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
