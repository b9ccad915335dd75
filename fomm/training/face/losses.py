"""What the training of model `face` minimises. Functions of tensors, each a scalar that is not weighted yet: `terms`
and `critic_terms` weight them.

Patches are (B, 3, H, W) in [0, 1]; `opening` (B, 1, H, W) in [0, 1] is where the mouth is open, the first of the
generator's conditions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from fomm.model.face.generator import Output, support
from fomm.model.geometry import at_least_float32
from fomm.training.face.critic import Judged
from fomm.training.losses import l1_loss, total

COARSE_LEVELS = 3  # halvings


@dataclass(frozen=True)
class FaceLossWeights:
    """How much each term counts.

    Attributes:
        prediction: L1 of the finished patch, the opening counting more (`importance`).
        painted: L1 of the generator's own colours, wherever it may paint.
        edges: L1 of the differences between neighbouring pixels, the opening counting more.
        coarse: L1 of the patch at 1/2, 1/4 and 1/8 of its size.
        occlusion: how much is painted beside the opening.
        adversarial: the critic's scores of the finished patch; 0: no critic is built, run or trained.
        features: L1 of the critic's features.
    """

    prediction: float = 1.0
    painted: float = 4.0
    edges: float = 1.0
    coarse: float = 1.0
    occlusion: float = 0.05
    adversarial: float = 0.0
    features: float = 0.0


def terms(output: Output, opening: Tensor, target: Tensor, weights: FaceLossWeights) -> dict[str, Tensor]:
    """The losses that need no critic, weighted, by the names of their weights."""
    output = Output(*map(at_least_float32, output))
    raw = {
        "prediction": important_l1(output.prediction, target, opening),
        # wherever the generator may paint, whether it does or not
        "painted": (support(opening) * (output.painted - target).abs()).mean(),
        "edges": edges_l1(output.prediction, target, opening),
        "coarse": coarse_l1(output.prediction, target),
        # the share of paint outside of the opening
        "occlusion": ((1 - output.occlusion_map) * (1 - opening)).mean(),
    }
    return {name: getattr(weights, name) * value for name, value in raw.items()}


def critic_terms(predicted: Judged, real: Judged, weights: FaceLossWeights) -> dict[str, Tensor]:
    """The generator's losses that a critic gives, weighted, by the names of their weights."""
    raw = {"adversarial": -at_least_float32(predicted.scores).mean(), "features": features_l1(predicted, real)}
    return {name: getattr(weights, name) * value for name, value in raw.items()}


def critic_hinge(predicted: Judged, real: Judged) -> Tensor:
    """The critic's own loss: drawn patches should score above 1, finished ones below -1."""
    low, high = (at_least_float32(judged.scores) for judged in (predicted, real))
    return torch.relu(1 - high).mean() + torch.relu(1 + low).mean()


def features_l1(predicted: Judged, real: Judged) -> Tensor:
    """Mean absolute difference of the critic's features, summed over its layers; no gradient into the real side."""
    pairs = zip(predicted.features, real.features, strict=True)
    return total(l1_loss(seen, wanted.detach()) for seen, wanted in pairs)


def importance(opening: Tensor) -> Tensor:
    """How much a pixel counts: 13 inside the opening, 1 far from it, in between around its edge."""
    return 1 + 6 * support(opening) + 6 * opening


def important_l1(prediction: Tensor, target: Tensor, opening: Tensor) -> Tensor:
    """Mean absolute difference, times `importance`."""
    return (importance(opening) * (prediction - target).abs()).mean()


def edges_l1(prediction: Tensor, target: Tensor, opening: Tensor) -> Tensor:
    """Mean absolute difference of the steps from pixel to pixel, down plus to the right, times `importance`."""
    weight, error = importance(opening), prediction - target
    down = (weight[..., :-1, :] * error.diff(dim=-2).abs()).mean()
    return down + (weight[..., :, :-1] * error.diff(dim=-1).abs()).mean()


def coarse_l1(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean absolute differences of patches halved once, twice, three times, added."""
    errors = [F.avg_pool2d(prediction - target, 2)]
    while len(errors) < COARSE_LEVELS:
        errors.append(F.avg_pool2d(errors[-1], 2))
    return total(error.abs().mean() for error in errors)
