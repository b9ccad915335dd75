"""Building blocks that the networks share.

Attribute names (conv, norm, down_blocks, ...) are those of the released checkpoints, so weights load without a
table of renames. Channel counts double per level from `block_expansion` up to `max_features`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def channels_at(level: int, block_expansion: int, max_features: int) -> int:
    """Number of feature channels after `level` halvings of the resolution."""
    return min(max_features, block_expansion * 2**level)


class ConvBlock(nn.Module):
    """Convolution, batch norm, ReLU at constant size: (B, in, H, W) -> (B, out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))


class DownBlock(ConvBlock):
    """ConvBlock, then 2x2 averaging: (B, in, H, W) -> (B, out, H/2, W/2)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(super().forward(x), 2)


class UpBlock(ConvBlock):
    """Nearest-neighbour doubling, then ConvBlock: (B, in, H, W) -> (B, out, 2H, 2W)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.interpolate(x, scale_factor=2))


class ResBlock(nn.Module):
    """Pre-activation residual block (norm, ReLU, convolution, twice): (B, C, H, W) -> the same."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(channels)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.conv1(F.relu(self.norm1(x)))
        residual = self.conv2(F.relu(self.norm2(residual)))
        return x + residual


class Encoder(nn.Module):
    """The contracting half of the hourglass; returns the input and every level's output, finest first."""

    def __init__(self, in_channels: int, block_expansion: int, num_blocks: int, max_features: int):
        super().__init__()
        widths = [in_channels] + [channels_at(i + 1, block_expansion, max_features) for i in range(num_blocks)]
        self.down_blocks = nn.ModuleList(DownBlock(a, b) for a, b in zip(widths, widths[1:], strict=False))

    def forward(self, x: Tensor) -> list[Tensor]:
        levels = [x]
        for block in self.down_blocks:
            levels.append(block(levels[-1]))
        return levels


class Decoder(nn.Module):
    """The expanding half: after each doubling the encoder's output of that size is concatenated."""

    def __init__(self, in_channels: int, block_expansion: int, num_blocks: int, max_features: int):
        super().__init__()
        blocks = []
        for level in reversed(range(num_blocks)):
            skip = 1 if level == num_blocks - 1 else 2  # below the top, the input holds a skip connection too
            blocks.append(
                UpBlock(
                    skip * channels_at(level + 1, block_expansion, max_features),
                    channels_at(level, block_expansion, max_features),
                )
            )
        self.up_blocks = nn.ModuleList(blocks)
        self.out_channels = block_expansion + in_channels

    def forward(self, levels: list[Tensor]) -> Tensor:
        x = levels[-1]
        for block, skip in zip(self.up_blocks, reversed(levels[:-1]), strict=True):
            x = torch.cat((block(x), skip), dim=1)
        return x


class Hourglass(nn.Module):
    """U-Net over `num_blocks` halvings: (B, in, H, W) -> (B, block_expansion + in, H, W).

    H and W must be multiples of 2**num_blocks.
    """

    def __init__(self, in_channels: int, block_expansion: int, num_blocks: int, max_features: int):
        super().__init__()
        self.encoder = Encoder(in_channels, block_expansion, num_blocks, max_features)
        self.decoder = Decoder(in_channels, block_expansion, num_blocks, max_features)
        self.out_channels = self.decoder.out_channels

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


class AntiAliasDownsample(nn.Module):
    """Gaussian blur, then every (1 / scale)-th pixel: (B, C, H, W) -> (B, C, ceil(H scale), ceil(W scale)).

    The blur's standard deviation is (1/scale - 1)/2 pixels. Its kernel is a buffer, `weight`, because released
    checkpoints carry it; `persistent=False` keeps it out of the state dict where they do not.

    Raises:
        ValueError: 1 / scale is not a whole number.
    """

    weight: Tensor

    def __init__(self, channels: int, scale: float, *, persistent: bool = True):
        super().__init__()
        self.stride = round(1 / scale)
        if self.stride < 1 or abs(self.stride * scale - 1) > 1e-6:
            raise ValueError(f"scale {scale}: must be 1, 1/2, 1/3, 1/4, ...")
        self.channels = channels
        if self.stride == 1:
            return
        sigma = (self.stride - 1) / 2
        radius = round(4 * sigma)
        with torch.device("cpu"):  # arithmetic on the meta device loads torch's compiler, which takes two seconds
            offsets = torch.arange(2 * radius + 1, dtype=torch.float32) - radius
            bell = torch.exp(-offsets.square() / (2 * sigma**2))
            kernel = bell[:, None] * bell[None, :]
            kernel = (kernel / kernel.sum()).expand(channels, 1, -1, -1).clone()
        self.register_buffer("weight", kernel.to(torch.get_default_device()), persistent=persistent)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 1:
            return x
        # The stride computes only the pixels that are kept.
        padding = self.weight.shape[-1] // 2
        return F.conv2d(x, self.weight.to(x.dtype), stride=self.stride, padding=padding, groups=self.channels)


class ImagePyramid(nn.Module):
    """A picture at several sizes: (B, C, H, W) -> {scale: (B, C, H scale, W scale)}. Holds no weights."""

    def __init__(self, channels: int, scales: list[float]):
        super().__init__()
        self.scales = list(scales)
        self.downsamplers = nn.ModuleList(AntiAliasDownsample(channels, s, persistent=False) for s in scales)

    def forward(self, image: Tensor) -> dict[float, Tensor]:
        return {s: down(image) for s, down in zip(self.scales, self.downsamplers, strict=True)}
