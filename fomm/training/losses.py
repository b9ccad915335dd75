"""What training minimises (Sec. 3.3): perceptual, adversarial, feature matching, equivariance.

Everything here is a function of tensors: no optimiser, no logging, no random draws. Every term is a scalar that is
already weighted, so that what is logged adds up to what is minimised.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from fomm.errors import InputError
from fomm.model.blocks import ImagePyramid
from fomm.model.discriminator import Judgement
from fomm.model.geometry import Keypoints, at_least_float32, invert, multiply
from fomm.pretrained.vgg19 import VGG19_CUTS, Vgg19
from fomm.training.equivariance import ThinPlate

PerceptualName = Literal["vgg19", "pixels"]


@dataclass(frozen=True)
class LossWeights:
    """How much each term counts.

    Attributes:
        perceptual: one weight per compared feature: five VGG-19 layers (relu1_1 ... relu5_1), or for "pixels" two
            (colour, gradient).
        generator_gan: the generator's adversarial term; 0: no discriminator is built, run or trained.
        discriminator_gan: the discriminator's own term.
        feature_matching: one weight per discriminator block.
        equivariance_value: keypoint positions under a known deformation.
        equivariance_jacobian: keypoint frames under a known deformation.
    """

    perceptual: Sequence[float] = (10.0, 10.0, 10.0, 10.0, 10.0)
    generator_gan: float = 1.0
    discriminator_gan: float = 1.0
    feature_matching: Sequence[float] = (10.0, 10.0, 10.0, 10.0)
    equivariance_value: float = 10.0
    equivariance_jacobian: float = 10.0


class PixelFeatures(nn.Module):
    """The perceptual setting that needs no pretrained weights: the colours, and their differences to the right and
    below (which reward sharp edges). Call: (B, C, H, W) -> [colours, gradients (B, 2C, H-1, W-1)]."""

    def forward(self, image: Tensor) -> list[Tensor]:
        right = image[..., :-1, 1:] - image[..., :-1, :-1]
        below = image[..., 1:, :-1] - image[..., :-1, :-1]
        return [image, torch.cat([right, below], 1)]


class Perceptual(nn.Module):
    """Mean absolute difference of features, summed over the scales of an image pyramid.

    Call: prediction, target (B, 3, H, W) -> weighted scalar. No gradient flows into the target.
    """

    def __init__(self, features: nn.Module, *, scales: Sequence[float], weights: Sequence[float]) -> None:
        super().__init__()
        self.features = features
        self.weights = tuple(weights)
        self.pyramid = ImagePyramid(3, list(scales))

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            expected = [self.features(image) for image in self.pyramid(target.detach()).values()]
        return total(
            weight * l1_loss(seen, wanted)
            for image, wanted_at_scale in zip(self.pyramid(prediction).values(), expected, strict=True)
            for weight, seen, wanted in zip(self.weights, self.features(image), wanted_at_scale, strict=True)
        )


def make_perceptual(
    name: PerceptualName, *, scales: Sequence[float], weights: Sequence[float], vgg19_file: str | Path | None = None
) -> Perceptual:
    """Build the perceptual loss by name: "vgg19" (the original's) or "pixels" (no pretrained weights).

    Raises:
        InputError: unknown name, or the wrong number of weights.
        MissingWeightsError: "vgg19" without its weights on this machine.
    """
    expected = {"vgg19": len(VGG19_CUTS), "pixels": 2}
    if name not in expected:
        raise InputError(f"perceptual {name!r}: must be one of {', '.join(expected)}")
    if len(weights) != expected[name]:
        raise InputError(f"perceptual {name!r} takes {expected[name]} weights, got {len(weights)}: {list(weights)}")
    if not scales or 0 in scales:
        raise InputError(f"model.scales {list(scales)}: needs at least one scale, such as 1, and none of 0")
    features = Vgg19.pretrained(vgg19_file) if name == "vgg19" else PixelFeatures()
    try:
        return Perceptual(features, scales=scales, weights=weights)
    except ValueError as error:
        raise InputError(f"model.scales {list(scales)}: {error}") from error


def total(terms: Iterable[Tensor]) -> Tensor:
    """Their sum; there is at least one."""
    return reduce(add, terms)


def l1_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference, in float32 or better: `l1_loss([0, 2], [0, 1]) == 0.5`."""
    return (at_least_float32(prediction) - at_least_float32(target)).abs().mean()


def equivariance(driving: Keypoints, transformed: Keypoints, deformation: ThinPlate) -> tuple[Tensor, Tensor]:
    """How far keypoints are from following a known deformation (Eq. 9 and 11), unweighted.

    Args:
        driving: keypoints of a frame.
        transformed: keypoints of the same frame seen through `deformation`.

    Returns:
        L1 of the positions, and L1 of `J_driving^-1 J_T J_transformed` to the identity.
    """
    value = l1_loss(deformation.points(transformed.points), driving.points)
    known = multiply(deformation.jacobians(transformed.points), transformed.jacobians)
    product = multiply(invert(driving.jacobians), known)
    return value, l1_loss(product, torch.eye(2).to(product).expand_as(product))


Judgements = dict[float, Judgement]  # per scale


def generator_gan(predicted: Judgements) -> Tensor:
    """Least-squares GAN, generator's side: predictions should score 1. Sum over scales, unweighted."""
    return total((1 - at_least_float32(judged.scores)).square().mean() for judged in predicted.values())


def discriminator_gan(predicted: Judgements, real: Judgements) -> Tensor:
    """Least-squares GAN, discriminator's side: real frames score 1, predictions 0. Sum over scales, unweighted."""
    return total(
        ((1 - at_least_float32(real[scale].scores)).square() + at_least_float32(judged.scores).square()).mean()
        for scale, judged in predicted.items()
    )


def feature_matching(predicted: Judgements, real: Judgements, weights: Sequence[float]) -> Tensor:
    """L1 of the discriminator's features, weighted per block, summed over scales; no gradient into the real side."""
    return total(
        weight * l1_loss(seen, wanted.detach())
        for scale, judged in predicted.items()
        for weight, seen, wanted in zip(weights, judged.features, real[scale].features, strict=True)
    )


def collapse_radius(points: Tensor) -> float:
    """Largest distance of a keypoint to the keypoints' mean, averaged over the batch, in [-1, 1] units.

    Keypoints that have all moved to one place explain no motion: training has failed.
    """
    return float((points - points.mean(1, keepdim=True)).norm(dim=-1).amax(1).mean())
