"""Source and two sets of keypoints -> dense motion (Sec. 3.2)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fomm.model.blocks import AntiAliasDownsample, Hourglass
from fomm.model.geometry import Keypoints, at_least_float32, coordinate_grid, gaussian_heatmaps, local_motion, warp

HEATMAP_VARIANCE = 0.01
"""Of the keypoints' Gaussians, in squared grid units (the original's constant)."""


class Motion(NamedTuple):
    """How the source moves to become the driving frame; h, w is the dense motion network's resolution.

    Attributes:
        deformation: (B, h, w, 2), where in the source each driving pixel is read.
        occlusion: (B, 1, h, w) in [0, 1], 0 where the source does not show what is needed; None if not estimated.
        mask: (B, K + 1, h, w), weights of the sparse motions, summing to 1; the background is first.
        sparse_deformed: (B, K + 1, C, h, w), the source warped by each sparse motion.
    """

    deformation: Tensor
    occlusion: Tensor | None
    mask: Tensor
    sparse_deformed: Tensor


class DenseMotion(nn.Module):
    """Blend the keypoints' local motions into one deformation, and find what it cannot show.

    Call: source already shrunk by `down` (B, C, h, w), source and driving Keypoints -> Motion. `down` is separate
    because a source is shrunk once and animated many times.

    Args:
        num_keypoints: K.
        image_channels: C.
        block_expansion, max_features, num_blocks: size of the hourglass.
        scale_factor: the network works on the frame shrunk by this factor.
        estimate_occlusion: predict the occlusion map.
        align_corners: convention of the warp (`fomm.model.geometry.warp`).
    """

    def __init__(
        self,
        *,
        num_keypoints: int,
        image_channels: int,
        block_expansion: int,
        max_features: int,
        num_blocks: int,
        scale_factor: float,
        estimate_occlusion: bool,
        align_corners: bool,
    ):
        super().__init__()
        in_channels = (num_keypoints + 1) * (image_channels + 1)
        self.hourglass = Hourglass(in_channels, block_expansion, num_blocks, max_features)
        self.mask = nn.Conv2d(self.hourglass.out_channels, num_keypoints + 1, kernel_size=7, padding=3)
        self.occlusion = None
        if estimate_occlusion:
            self.occlusion = nn.Conv2d(self.hourglass.out_channels, 1, kernel_size=7, padding=3)
        self.down = AntiAliasDownsample(image_channels, scale_factor)
        self.align_corners = align_corners

    def forward(self, small_source: Tensor, source: Keypoints, driving: Keypoints) -> Motion:
        height, width = small_source.shape[-2:]
        motions = sparse_motions(height, width, source, driving)  # (B, K + 1, h, w, 2)
        deformed = warp_each(small_source, motions, align_corners=self.align_corners)  # (B, K + 1, C, h, w)
        heatmaps = heatmap_difference(height, width, source, driving)  # (B, K + 1, h, w)
        # Interleaved per keypoint: heatmap, then colours.
        x = torch.cat((heatmaps[:, :, None].to(deformed.dtype), deformed), dim=2).flatten(1, 2)
        mask, occlusion = self.heads(self.hourglass(x))
        mask = at_least_float32(mask).softmax(1)
        deformation = (mask[..., None] * motions).sum(1)
        occlusion = None if occlusion is None else torch.sigmoid(at_least_float32(occlusion))
        return Motion(deformation, occlusion, mask, deformed)

    def heads(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features (B, F, h, w) -> mask (B, K + 1, h, w) and, if estimated, occlusion (B, 1, h, w), as logits."""
        return self.mask(features), None if self.occlusion is None else self.occlusion(features)


def sparse_motions(height: int, width: int, source: Keypoints, driving: Keypoints) -> Tensor:
    """(B, K + 1, h, w, 2): the identity for the background, then each keypoint's local motion."""
    grid = coordinate_grid(height, width, dtype=driving.points.dtype, device=driving.points.device)
    motions = local_motion(grid, source, driving)
    identity = grid.expand(len(motions), 1, -1, -1, -1)
    return torch.cat((identity, motions), dim=1)


def warp_each(image: Tensor, motions: Tensor, *, align_corners: bool) -> Tensor:
    """Warp (B, C, h, w) by each of (B, N, h, w, 2) -> (B, N, C, h, w)."""
    batch, count = motions.shape[:2]
    repeated = image[:, None].expand(-1, count, -1, -1, -1).flatten(0, 1)
    return warp(repeated, motions.flatten(0, 1), align_corners=align_corners).unflatten(0, (batch, count))


def heatmap_difference(height: int, width: int, source: Keypoints, driving: Keypoints) -> Tensor:
    """(B, K + 1, h, w): driving minus source Gaussians; zeros for the background."""
    difference = gaussian_heatmaps(driving.points, height, width, variance=HEATMAP_VARIANCE)
    difference = difference - gaussian_heatmaps(source.points, height, width, variance=HEATMAP_VARIANCE)
    return F.pad(difference, (0, 0, 0, 0, 1, 0))
