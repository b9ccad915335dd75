"""The critic of model `face`: tells finished patches from drawn ones. Only training needs it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from fomm.model.face.generator import CHANNELS


class Judged(NamedTuple):
    """What the critic makes of patches."""

    scores: Tensor  # (B, 1, h, w), above 0 where a place looks drawn
    features: list[Tensor]  # of each layer (B, C, h, w)


class Critic(nn.Module):
    """Four convolutions and a score for each place, all with spectral norm.

    Args:
        width: channels of the first layer; 2, 4 and 4 times as many follow.
    Call: patch (B, 3, H, W) in [0, 1], the generator's conditions (B, 5, H, W) -> `Judged`.
    """

    def __init__(self, *, width: int = 32) -> None:
        super().__init__()
        widths, strides = (CHANNELS, width, 2 * width, 4 * width, 4 * width), (2, 2, 2, 1)
        self.layers = nn.ModuleList(
            spectral_norm(nn.Conv2d(a, b, 4, stride, 1))
            for a, b, stride in zip(widths, widths[1:], strides, strict=False)
        )
        self.score = spectral_norm(nn.Conv2d(widths[-1], 1, 3, padding=1))

    def forward(self, patch: Tensor, conditions: Tensor) -> Judged:
        signal, features = torch.cat([2 * patch - 1, conditions], 1), []
        for layer in self.layers:
            signal = F.leaky_relu(layer(signal), 0.2)
            features.append(signal)
        return Judged(self.score(signal), features)
