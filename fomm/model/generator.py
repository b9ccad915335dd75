"""Source features and motion -> frame (Sec. 3.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fomm.model.blocks import ConvBlock, DownBlock, ResBlock, UpBlock, channels_at
from fomm.model.dense_motion import Motion
from fomm.model.geometry import at_least_float32, warp


class Generator(nn.Module):
    """Occlusion-aware generator: encode the source, warp its features, hide what is occluded, decode.

    Encoding does not depend on the motion, so a source is encoded once and decoded for every driving frame.

    With `blend_source`, a matte predicted beside the colours lets the warped source itself show through: detail that
    a small network cannot carry stays sharp. The idea is that of the authors' later generator (arXiv 2104.11280,
    which blends by the occlusion map); the released models of this paper have none.

    Args:
        image_channels: C.
        block_expansion, max_features: channels of the first and the widest level.
        num_down_blocks: halvings between picture and features.
        num_bottleneck_blocks: residual blocks at the coarsest level.
        blend_source: predict a matte and blend the warped source in.
        align_corners: convention of the warp (`fomm.model.geometry.warp`).
    """

    def __init__(
        self,
        *,
        image_channels: int,
        block_expansion: int,
        max_features: int,
        num_down_blocks: int,
        num_bottleneck_blocks: int,
        blend_source: bool,
        align_corners: bool,
    ):
        super().__init__()
        widths = [channels_at(level, block_expansion, max_features) for level in range(num_down_blocks + 1)]
        self.first = ConvBlock(image_channels, widths[0], kernel_size=7)
        self.down_blocks = nn.ModuleList(DownBlock(a, b) for a, b in zip(widths, widths[1:], strict=False))
        self.up_blocks = nn.ModuleList(UpBlock(b, a) for a, b in reversed(list(zip(widths, widths[1:], strict=False))))
        self.bottleneck = nn.Sequential()
        for index in range(num_bottleneck_blocks):
            self.bottleneck.add_module(f"r{index}", ResBlock(widths[-1]))
        self.final = nn.Conv2d(widths[0], image_channels + blend_source, kernel_size=7, padding=3)
        self.blend_source = blend_source
        self.align_corners = align_corners

    def encode(self, source: Tensor) -> Tensor:
        """Source (B, C, H, W) in [0, 1] -> features (B, F, H / 2**num_down_blocks, W / 2**num_down_blocks)."""
        x = self.first(source)
        for block in self.down_blocks:
            x = block(x)
        return x

    def decode(self, features: Tensor, motion: Motion, source: Tensor) -> Tensor:
        """Features (B, F, h, w) of the source (B, C, H, W), and the motion -> frame (B, C, H, W) in [0, 1]."""
        x = self.move(features, motion)
        x = self.bottleneck(x)
        for block in self.up_blocks:
            x = block(x)
        x = torch.sigmoid(at_least_float32(self.final(x)))
        if not self.blend_source:
            return x
        colours, matte = x[:, :-1], x[:, -1:]
        return matte * self.deform(source, motion.deformation) + (1 - matte) * colours

    def move(self, features: Tensor, motion: Motion) -> Tensor:
        """Warp the features (B, F, h, w) and dim what is occluded (Eq. 9), whatever the motion's own resolution."""
        x = self.deform(features, motion.deformation)
        if motion.occlusion is not None:
            x = x * resize(motion.occlusion, x.shape[-2:]).to(x.dtype)
        return x

    def deform(self, image: Tensor, deformation: Tensor) -> Tensor:
        """Warp (B, C, H, W), a picture or features, by a deformation (B, h, w, 2) resized to H, W."""
        planes = deformation.permute(0, 3, 1, 2).contiguous()  # two channels side by side would take 7 times as long
        grid = resize(planes, image.shape[-2:]).permute(0, 2, 3, 1)
        return warp(image, grid, align_corners=self.align_corners)


def resize(x: Tensor, size: torch.Size) -> Tensor:
    """Bilinear resize of (B, C, h, w) to `size`, if it differs. Always align_corners=False, as in the original."""
    return x if x.shape[-2:] == size else F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)
