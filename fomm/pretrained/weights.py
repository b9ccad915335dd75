"""Weights files of other people, read as data."""

from __future__ import annotations

from pathlib import Path

import torch

from fomm.errors import InputError


def read_weights(path: Path, url: str) -> dict[str, object]:
    """What a file of `torch.save` holds by name; no code in it is run.

    Raises:
        InputError: it holds something else, or code; names `url`, where the right file is.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return {str(name): value for name, value in state.items()}
    except Exception as error:  # whatever a damaged or hostile pickle raises
        raise InputError(f"{path}: not a file of weights, or damaged; get {url} again") from error
