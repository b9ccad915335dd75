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


def open_session(path: Path, what: str, *axes: str) -> onnxruntime.InferenceSession:
    """The network in an ONNX file, on the GPU where there is one.

    Args:
        what: a network of this kind has one input, pictures.
        axes: names of that input's axes; the second is that of the three colours. Files may leave sizes open.

    Raises InputError for a file that is no ONNX network, or one of another input.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
        providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime has an exception for everything
        raise InputError(f"{path}: not an ONNX network ({first_line(error)}); export it again") from error
    inputs = [(each.name, each.shape) for each in session.get_inputs()]
    shape = inputs[0][1] if len(inputs) == 1 else []
    fits = len(shape) == len(axes) and 0 not in shape and (shape[1] in (3, None) or isinstance(shape[1], str))
    if not fits:  # sizes that the file leaves open have names, or none
        raise InputError(f"{path}: its inputs are {inputs}; {what} has one, ({', '.join(axes)})")
    return session
