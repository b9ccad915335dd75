"""Frame (and keypoints) -> features and a map of scores, at several scales (Sec. 3.3, supplementary)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm as legacy_spectral_norm

from fomm.model.blocks import ImagePyramid, channels_at
from fomm.model.dense_motion import HEATMAP_VARIANCE
from fomm.model.geometry import Keypoints, gaussian_heatmaps


class Judgement(NamedTuple):
    """What the discriminator thinks of a frame at one scale.

    Attributes:
        features: one (B, F, h, w) per block, finest first (for feature matching).
        scores: (B, 1, h, w), trained towards 1 for real and 0 for generated (least squares).
    """

    features: list[Tensor]
    scores: Tensor


class DiscriminatorBlock(nn.Module):
    """4x4 convolution without padding, instance norm, leaky ReLU, averaging."""

    def __init__(self, in_channels: int, out_channels: int, *, norm: bool, pool: bool, spectral_norm: bool):
        super().__init__()
        self.conv = _conv(in_channels, out_channels, 4, spectral_norm)
        self.norm = nn.InstanceNorm2d(out_channels, affine=True) if norm else None
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.norm is not None:
            x = self.norm(x)
        x = F.leaky_relu(x, 0.2)
        return F.avg_pool2d(x, 2) if self.pool else x


class Discriminator(nn.Module):
    """Patch discriminator at one scale: (B, channels, H, W) -> Judgement."""

    def __init__(self, channels: int, block_expansion: int, max_features: int, num_blocks: int, spectral_norm: bool):
        super().__init__()
        widths = [channels] + [channels_at(i + 1, block_expansion, max_features) for i in range(num_blocks)]
        self.down_blocks = nn.ModuleList(
            DiscriminatorBlock(a, b, norm=i != 0, pool=i != num_blocks - 1, spectral_norm=spectral_norm)
            for i, (a, b) in enumerate(zip(widths, widths[1:], strict=False))
        )
        self.conv = _conv(widths[-1], 1, 1, spectral_norm)

    def forward(self, x: Tensor) -> Judgement:
        features = []
        for block in self.down_blocks:
            x = block(x)
            features.append(x)
        return Judgement(features, self.conv(x))


class MultiScaleDiscriminator(nn.Module):
    """One discriminator per scale of the frame's pyramid.

    Call: frame (B, C, H, W) in [0, 1], driving Keypoints (used only with `use_keypoints`) -> {scale: Judgement}.

    Args:
        num_keypoints: K.
        image_channels: C.
        scales: sizes of the frame, each 1 / a whole number.
        block_expansion, max_features, num_blocks: size of each discriminator.
        spectral_norm: constrain every convolution (legacy parametrisation: `weight_orig`, `weight_u`, `weight_v`).
        use_keypoints: show the keypoints' heatmaps beside the colours.
    """

    def __init__(
        self,
        *,
        num_keypoints: int,
        image_channels: int,
        scales: list[float],
        block_expansion: int,
        max_features: int,
        num_blocks: int,
        spectral_norm: bool,
        use_keypoints: bool,
    ):
        super().__init__()
        channels = image_channels + (num_keypoints if use_keypoints else 0)
        self.discs = nn.ModuleDict(
            {
                # A module's name cannot hold a dot: the released checkpoints write 0-5 for 0.5 and 1 for 1.0.
                f"{scale:g}".replace(".", "-"): Discriminator(
                    channels, block_expansion, max_features, num_blocks, spectral_norm
                )
                for scale in scales
            }
        )
        self.pyramid = ImagePyramid(image_channels, scales)
        self.use_keypoints = use_keypoints

    def forward(self, frame: Tensor, keypoints: Keypoints | None = None) -> dict[float, Judgement]:
        if self.use_keypoints and keypoints is None:
            raise ValueError("this discriminator was built with use_keypoints: pass the driving keypoints")
        judgements = {}
        for (scale, picture), disc in zip(self.pyramid(frame).items(), self.discs.values(), strict=True):
            if self.use_keypoints and keypoints is not None:
                heatmaps = gaussian_heatmaps(keypoints.points, *picture.shape[-2:], variance=HEATMAP_VARIANCE)
                picture = torch.cat((picture, heatmaps.to(picture.dtype)), dim=1)
            judgements[scale] = disc(picture)
        return judgements


def _conv(in_channels: int, out_channels: int, kernel_size: int, spectral_norm: bool) -> nn.Conv2d:
    conv = nn.Conv2d(in_channels, out_channels, kernel_size)
    return legacy_spectral_norm(conv) if spectral_norm else conv
