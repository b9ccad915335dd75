"""Write weights: as this project's safetensors, or in the original's format."""

from __future__ import annotations

import errno
import json
import os
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from fomm import known
from fomm.checkpoint.architectures import Model, name_of
from fomm.checkpoint.formats import DENSE_MOTION, FORMAT_VERSION, TrainingState, not_finite
from fomm.errors import InputError
from fomm.files import atomic_stream
from fomm.model import FOMM
from fomm.version import __version__


def save_weights(
    path: str | Path,
    model: Model,
    *,
    category: str = "unknown",
    image_size: int = 256,
    half: bool = False,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write the model's weights as safetensors with metadata. Equal calls write equal bytes.

    Args:
        path: the file, whole or not there.
        model: on any device.
        category: what it animates, one of `fomm.known.CATEGORIES`.
        image_size: side of the frames that it was trained on, pixels.
        half: store convolution weights as float16 (half the size; `load_model` turns them back into float32, so an
            error of about 5e-4 of each weight remains). Norms, biases and blur kernels stay float32.
        provenance: how the weights were made, as JSON: command, data, commit, scores.

    Raises:
        InputError: the file cannot be written.
        ValueError: a weight is not finite, or too large for float16; or no such category.
    """
    if category not in known.CATEGORIES:
        raise ValueError(f"category {category!r}: must be one of {', '.join(known.CATEGORIES)}")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if half:
        tensors = {
            name: t.half() if t.ndim == 4 and not name.endswith("down.weight") else t for name, t in tensors.items()
        }
    if bad := not_finite(tensors):
        raise ValueError(f"{path}: not finite{' in float16' if half else ''}: {', '.join(bad)}; nothing was written")
    metadata = {
        "format_version": FORMAT_VERSION,
        "fomm_version": __version__,
        "architecture": name_of(model),
        "model": asdict(model.config),
        "category": category,
        "image_size": image_size,
        "dtype": "float16" if half else "float32",
        "provenance": dict(provenance or {}),
    }
    # One entry only: safetensors keeps several in random order.
    blob = safetensors.torch.save(tensors, {"fomm": json.dumps(metadata, sort_keys=True)})
    with atomic_stream(path) as stream:
        stream.write(blob)


def export_original(path: str | Path, model: Model, *, training: TrainingState | None = None) -> None:
    """Write the model in the original's format, so that the original code loads it: names, order, legacy pickle.

    Args:
        path: the file, whole or not there.
        model: on any device.
        training: also write this (a complete checkpoint).

    Raises:
        InputError: the file cannot be written, or the original has no such model.
    """
    if not isinstance(model, FOMM):
        raise InputError(f"{path}: the original has no model {name_of(model)!r}; write a .safetensors file")
    if model.config.generator.blend_source:
        raise InputError(
            f"{path}: the original's generator cannot blend the source in; only models without can go there"
        )
    training = training or TrainingState()
    discriminator = training.discriminator
    checkpoint = {
        "generator": _joined({DENSE_MOTION: model.dense_motion.state_dict(), "": model.generator.state_dict()}),
        "discriminator": None if discriminator is None else _joined({"": discriminator}),
        "kp_detector": _joined({"": model.detector.state_dict()}),
        "optimizer_generator": training.optimizer_generator,
        "optimizer_discriminator": training.optimizer_discriminator,
        "optimizer_kp_detector": training.optimizer_kp_detector,
        "epoch": training.epoch or 0,  # the original's loader insists on a number
    }
    kept = {key: value for key, value in checkpoint.items() if value is not None}
    write_torch(path, kept, _use_new_zipfile_serialization=False)


def write_torch(path: str | Path, content: object, **options: Any) -> None:
    """`torch.save` to a file that is on the disk before it takes the place of an older one; raises InputError where it
    cannot be written, and leaves the older one as it was."""
    with atomic_stream(path) as stream:
        try:
            torch.save(content, stream, **options)
        except RuntimeError as error:  # how torch's writers say that the disk is full, or that they were interrupted
            known = error.__context__
            if isinstance(known, (OSError, KeyboardInterrupt)):
                raise known from error
            full = os.strerror(errno.ENOSPC) in str(error)
            raise OSError(errno.ENOSPC if full else None, str(error)) from error


def _joined(parts: Mapping[str, Mapping[str, Tensor]]) -> OrderedDict[str, Tensor]:
    """State dicts under prefixes as one, with the versions that old torch looks up before it loads spectral norms."""
    joined: OrderedDict[str, Tensor] = OrderedDict()
    versions: OrderedDict[str, Any] = OrderedDict()
    for prefix, state in parts.items():
        joined.update((prefix + name, tensor.detach().cpu().contiguous()) for name, tensor in state.items())
        theirs = getattr(state, "_metadata", {})
        versions.update(((prefix + module).rstrip("."), version) for module, version in theirs.items())
    joined._metadata = versions  # type: ignore[attr-defined]  # where torch looks for them
    return joined
