"""Start a training from other weights: another resolution, another number of keypoints, another category."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from fomm.errors import InputError
from fomm.model import FOMM


def start_from(path: str, model: FOMM, discriminator: nn.Module | None) -> list[str]:
    """Copy a checkpoint's weights where the shapes agree, in place.

    The networks are convolutional, so the resolution may differ. Another number of keypoints changes a few tensors
    (heads, first layer of the dense motion network): those keep their fresh values.

    Args:
        path: a run's `.ckpt`, or anything that `fomm.checkpoint` loads.

    Returns: lines that say what was taken and what starts afresh.

    Raises:
        InputError: no such file, or networks of other kinds or sizes.
    """
    state, discriminator_state = _read(path)
    fresh = copy_matching(model, state, path)
    lines = [f"init {path}: {len(model.state_dict()) - len(fresh)} tensors taken over"]
    if fresh:
        lines.append(f"init {path}: other shapes, these start afresh: {', '.join(fresh)}")
    if discriminator is not None:
        if discriminator_state:
            copy_matching(discriminator, discriminator_state, path)
            lines.append(f"init {path}: its discriminator goes on")
        else:
            lines.append(f"init {path}: it has no discriminator; a fresh one is trained")
    lines.append(f"init {path}: optimisers start afresh (to go on with a run, use --ckpt_path)")
    return lines


def copy_matching(network: nn.Module, state: dict[str, Tensor], origin: str) -> list[str]:
    """Copy tensors of equal name and shape; the names of those whose shape differs.

    Raises:
        InputError: a tensor is missing or unknown, or more than a few differ in shape: this is another architecture.
    """
    own = network.state_dict()
    missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    fresh = [name for name in own if name in state and own[name].shape != state[name].shape]
    if missing or unknown or 4 * len(fresh) > len(own):
        raise InputError(
            f"{origin}: other networks than configured ({len(missing)} tensors missing {missing[:3]}, {len(unknown)} "
            f"unknown {unknown[:3]}, {len(fresh)} of other shapes {fresh[:3]}); give model.network the sizes that the "
            "checkpoint was trained with"
        )
    network.load_state_dict({**state, **{name: own[name] for name in fresh}}, strict=True)
    return fresh


def _read(path: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    if Path(path).suffix == ".ckpt":
        if not Path(path).is_file():
            raise InputError(f"{path}: no such checkpoint")
        state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        kept = "average." if any(name.startswith("average.") for name in state) else "model."
        return _inside(state, kept), _inside(state, "discriminator.")
    from fomm.checkpoint import load_weights

    return load_weights(path).state_dict(), {}


def _inside(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
