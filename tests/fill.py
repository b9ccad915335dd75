"""Weights by formula: what the golden numbers were computed with (tests/golden/README.md, "Weight fill")."""

from __future__ import annotations

import zlib
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

GAINS = {
    "kp_detector.kp.weight": 1,
    "kp_detector.jacobian.weight": 0.25,
    "generator.dense_motion_network.mask.weight": 3,
    "generator.dense_motion_network.occlusion.weight": 3,
    "generator.final.weight": 0.4,
}


def _rng(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode("ascii")))


def filled(net: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The formula's tensors for a state dict of network `net` (kp_detector, generator, discriminator, vgg19)."""
    result = {key: _fill(f"{net}.{key}", tensor) for key, tensor in state.items()}
    for key in [k for k in state if k.endswith(".weight_u")]:
        prefix = key[: -len("weight_u")]
        matrix = result[prefix + "weight_orig"].double().flatten(1).numpy()
        u = _rng(f"{net}.{key}").standard_normal(matrix.shape[0])
        u /= np.linalg.norm(u)
        for _ in range(5):
            v = matrix.T @ u
            v /= np.linalg.norm(v)
            u = matrix @ v
            u /= np.linalg.norm(u)
        result[key] = torch.from_numpy(u).float()
        result[prefix + "weight_v"] = torch.from_numpy(v).float()
    return result


def _fill(name: str, tensor: Tensor) -> Tensor:
    last = name.rsplit(".", 1)[-1]
    if last == "num_batches_tracked" or name.endswith("down.weight") or last in ("weight_u", "weight_v"):
        return torch.zeros_like(tensor) if last == "num_batches_tracked" else tensor.clone()
    return _drawn(name, tuple(tensor.shape))


@cache
def _drawn(name: str, shape: tuple[int, ...]) -> Tensor:
    """What the generators draw; nobody may change it: all networks of a process are filled from it."""
    last, rng = name.rsplit(".", 1)[-1], _rng(name)
    if last == "running_mean":
        value = 0.1 * rng.standard_normal(shape)
    elif last == "running_var":
        value = 0.5 + rng.random(shape)
    elif last == "bias":
        value = 0.05 * rng.standard_normal(shape)
        if name == "kp_detector.jacobian.bias":
            value = value + np.tile([1.0, 0, 0, 1], shape[0] // 4)
    elif len(shape) == 1:
        value = 1 + 0.1 * rng.standard_normal(shape)
    else:
        gain = GAINS.get(name, 1)
        if name.startswith("generator.bottleneck.") and name.endswith("conv2.weight"):
            gain = 0.5
        value = rng.standard_normal(shape) * (gain * np.sqrt(2 / (shape[1] * shape[2] * shape[3])))
    return torch.from_numpy(np.asarray(value)).float()


def fill_model(model: nn.Module) -> nn.Module:
    """Fill a FOMM in place; the dense motion network lies inside the original's generator."""
    model.detector.load_state_dict(filled("kp_detector", model.detector.state_dict()))
    inner = {f"dense_motion_network.{k}": v for k, v in model.dense_motion.state_dict().items()}
    prefix = "dense_motion_network."
    model.dense_motion.load_state_dict({k[len(prefix) :]: v for k, v in filled("generator", inner).items()})
    model.generator.load_state_dict(filled("generator", model.generator.state_dict()))
    return model


def fill_discriminator(discriminator: nn.Module) -> nn.Module:
    """Fill a MultiScaleDiscriminator in place."""
    discriminator.load_state_dict(filled("discriminator", discriminator.state_dict()))
    return discriminator
