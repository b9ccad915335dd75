"""The three kinds of file, read as data (pickles with `weights_only=True`, so that a checkpoint cannot run code).

* "original": `.pth.tar`, a pickle with `generator`, `kp_detector` and, if complete, discriminator, optimisers, epoch.
* "training": the `.ckpt` of a training run. Where the run kept an average of its weights, that is what loads.
* "weights": this project's safetensors with JSON metadata, written by `save_weights`.
"""

from __future__ import annotations

import json
import pickle
import re
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from fomm.download import inspect
from fomm.errors import InputError, first_line, is_out_of_memory

FORMAT_VERSION = 1
_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int32, torch.int64, torch.uint8)
DENSE_MOTION = "dense_motion_network."  # where the original keeps it, inside its generator


@dataclass(frozen=True)
class TrainingState:
    """What a checkpoint holds beside the model, for going on with a training; None for what is absent.

    Optimiser states are the original's: state dicts of one `torch.optim.Adam` each. Their parameters are numbered in
    the networks' order: for the generator `dense_motion`, then `generator`; a discriminator's and a detector's as
    `parameters()` yields them.
    """

    discriminator: dict[str, Tensor] | None = None  # its state dict
    optimizer_generator: dict[str, Any] | None = None
    optimizer_discriminator: dict[str, Any] | None = None
    optimizer_kp_detector: dict[str, Any] | None = None
    epoch: int | None = None  # the last finished one, from 0


class Contents(NamedTuple):
    """A checkpoint file, read but not yet judged."""

    format: str
    state: dict[str, Tensor]  # under the model's own names
    metadata: dict[str, Any]
    training: TrainingState
    notes: list[str]


def not_finite(state: Mapping[str, Tensor]) -> list[str]:
    """Names of the tensors that hold NaN or infinite numbers."""
    # A finite sum proves finite numbers, several times faster.
    return [n for n, t in state.items() if t.is_floating_point() and not (t.sum().isfinite() or t.isfinite().all())]


def read_contents(path: Path) -> Contents:
    """Read any of the formats; raises InputError for something else, or something damaged."""
    if inspect(path) == "safetensors":
        with _telling_damage(path):
            return _read_weights(path)
    content = unpickle(path)
    if "generator" in content and "kp_detector" in content:
        return _read_original(content, path)
    if "state_dict" in content:
        return _read_training(content, path)
    raise InputError(
        f"{path}: a dictionary of something else (keys {some(content)}); a checkpoint has generator and kp_detector, "
        "or state_dict: give one of those"
    )


def unpickle(path: Path) -> dict[str, Any]:
    """The dictionary in a file of torch.save, old or new; raises InputError for something else, something damaged, or a
    file that would call something."""
    kind = inspect(path)
    with _telling_damage(path):
        if kind == "zip":
            with zipfile.ZipFile(path) as archive:
                unpacked = sum(record.file_size for record in archive.infolist())
                names = archive.namelist()
            if not any(name.rpartition("/")[2] == "data.pkl" for name in names):
                raise InputError(
                    f"{path}: a zip archive that holds {some(names)}, not a checkpoint itself; unzip it and give the "
                    "checkpoint inside"
                )
            if unpacked > path.stat().st_size:  # torch.save never compresses
                raise InputError(
                    f"{path}: refused, because it unpacks to {unpacked:,} bytes; use an unaltered checkpoint"
                )
        content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}, not a checkpoint; give a checkpoint of this model")
    return content


@contextmanager
def _telling_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # torch's readers raise many kinds for damaged files
        match = re.search(r"(?:GLOBAL|global|class) ([\w.]+\.[\w.]+)", str(error))
        if match and isinstance(error, pickle.UnpicklingError):
            raise InputError(
                f"{path}: refused, because loading it would call `{match[1]}`, and a checkpoint must hold only tensors "
                "and plain values; use one from a source that you trust"
            ) from error
        if is_out_of_memory(error):
            raise InputError(
                f"{path}: there is not memory enough for what it says that it holds; it is damaged, or needs a larger "
                "machine"
            ) from error
        raise InputError(f"{path}: damaged or incomplete ({first_line(error)}); download or copy it again") from error


def _read_original(content: dict[str, Any], path: Path) -> Contents:
    generator, detector = (_tensors(content[key], f"{path}: {key}") for key in ("generator", "kp_detector"))
    state = {f"detector.{name}": tensor for name, tensor in detector.items()}
    for name, tensor in generator.items():
        inner = name.startswith(DENSE_MOTION)
        state["dense_motion." + name.removeprefix(DENSE_MOTION) if inner else f"generator.{name}"] = tensor
    discriminator = content.get("discriminator")
    networks = ("generator", "discriminator", "kp_detector")
    optimizers = {f"optimizer_{network}": content.get(f"optimizer_{network}") for network in networks}
    training = TrainingState(
        discriminator=None if discriminator is None else _tensors(discriminator, f"{path}: discriminator"),
        epoch=content.get("epoch"),
        **optimizers,
    )
    return Contents("original", state, {}, training, [])


def _read_training(content: dict[str, Any], path: Path) -> Contents:
    everything = _tensors(content["state_dict"], f"{path}: state_dict")
    averaged = any(name.startswith("average.") for name in everything)
    state = _inside(everything, "average." if averaged else "model.")
    if not state:
        raise InputError(f"{path}: a checkpoint of another project (tensors {some(everything)}); give one of fomm's")
    told = content.get("fomm")
    metadata = dict(told) if isinstance(told, dict) else {}
    metadata["model"] = content.get("model_config")
    training = TrainingState(
        discriminator=_inside(everything, "discriminator.") or None,
        epoch=content.get("epoch"),
        **_original_optimizers(content.get("optimizer_states")),
    )
    return Contents("training", state, metadata, training, ["averaged weights"] if averaged else [])


_ADAM = ("lr", "betas", "eps", "weight_decay", "amsgrad", "initial_lr")  # what each of its groups says, in any version


def _original_optimizers(states: object) -> dict[str, Any]:
    """The optimisers of a training run as the original has them, an Adam for each network, each numbered from 0.

    A training has one Adam with a group for each network, or perhaps two; what is something else is left out.
    """
    optimizers: dict[str, Any] = {}
    try:
        for state in states if isinstance(states, list) else ():
            for group in state["param_groups"]:
                name = {"detector": "kp_detector"}.get(group["name"], group["name"])
                moments = [dict(state["state"][n]) if n in state["state"] else None for n in group["params"]]
                rates = {key: group[key] for key in _ADAM if key in group}
                optimizers[f"optimizer_{name}"] = {
                    # old versions of torch count steps in plain numbers
                    "state": {i: m | {"step": int(m["step"])} for i, m in enumerate(moments) if m is not None},
                    "param_groups": [{"initial_lr": group["lr"]} | rates | {"params": list(range(len(moments)))}],
                }
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError):
        return {}
    known = {field.name for field in fields(TrainingState)}
    return {name: optimizer for name, optimizer in optimizers.items() if name in known}


def _read_weights(path: Path) -> Contents:
    with safetensors.safe_open(path, "pt") as stream:
        metadata = json.loads((stream.metadata() or {}).get("fomm", "{}"))
        state = _tensors({name: stream.get_tensor(name) for name in stream.keys()}, str(path))
    version = metadata.get("format_version", FORMAT_VERSION)
    if version > FORMAT_VERSION:
        raise InputError(f"{path}: format version {version}, but only {FORMAT_VERSION} is known; install a newer fomm")
    return Contents("weights", state, metadata, TrainingState(), [])


def _tensors(state: object, what: str) -> dict[str, Tensor]:
    """The tensors of a network by name, without what DataParallel puts before each name."""
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise InputError(f"{what}: must hold named tensors only; use an unaltered checkpoint")
    if strange := [name for name, tensor in state.items() if not _is_plain(tensor)]:
        raise InputError(
            f"{what}: these are no whole tensors of ordinary numbers: {some(strange)}; save them as dense float32"
        )
    if state and all(name.startswith("module.") for name in state):
        state = _inside(state, "module.")
    return state


def _is_plain(tensor: Tensor) -> bool:
    """Whether all its numbers are really there: some kinds hold none, or few that stand for very many."""
    return (
        tensor.device.type == "cpu"
        and tensor.layout == torch.strided
        and tensor.dtype in _DTYPES
        and tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()
    )


def _inside(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def some(names: Collection[object]) -> str:
    """A few names, and how many more there are."""
    shown = ", ".join(str(name)[:120] for name in islice(names, 10)) or "none"
    return shown + (f" and {len(names) - 10} more" if len(names) > 10 else "")
