"""Frame -> keypoints with local affine frames (Sec. 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fomm.model.blocks import AntiAliasDownsample, Hourglass
from fomm.model.geometry import Keypoints, at_least_float32, coordinate_grid


class KeypointDetector(nn.Module):
    """Predict K keypoints and the local affine frame at each, without labels.

    A keypoint is the mean of a spatial softmax; its jacobian is the predicted 2x2 map averaged under that same
    softmax. The heads are 7x7 convolutions without padding: features of 64x64 give heatmaps of 58x58, and the
    coordinate grid spans [-1, 1] over those 58.

    Call: frame (B, C, H, W) in [0, 1], H and W multiples of 2**num_blocks / scale_factor -> Keypoints, float32.

    Args:
        num_keypoints: K.
        image_channels: C.
        block_expansion, max_features, num_blocks: size of the hourglass.
        scale_factor: the detector sees the frame shrunk by this factor.
        temperature: of the softmax.
        estimate_jacobian: predict the jacobians; otherwise they are the identity.
        single_jacobian_map: one jacobian map that all keypoints share.
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
        temperature: float,
        estimate_jacobian: bool,
        single_jacobian_map: bool,
    ):
        super().__init__()
        self.predictor = Hourglass(image_channels, block_expansion, num_blocks, max_features)
        self.kp = nn.Conv2d(self.predictor.out_channels, num_keypoints, kernel_size=7)
        self.jacobian = None
        if estimate_jacobian:
            maps = 1 if single_jacobian_map else num_keypoints
            self.jacobian = nn.Conv2d(self.predictor.out_channels, 4 * maps, kernel_size=7)
            # Start from identity frames: training begins as pure translation.
            nn.init.zeros_(self.jacobian.weight)
            # Not torch.eye, which on the meta device loads torch's compiler.
            self.jacobian.bias = nn.Parameter(torch.tensor([1.0, 0.0, 0.0, 1.0] * maps))
        self.down = AntiAliasDownsample(image_channels, scale_factor)
        self.temperature = temperature

    def forward(self, frame: Tensor) -> Keypoints:
        features = self.predictor(self.down(frame))
        logits = at_least_float32(self.kp(features)) / self.temperature
        batch, count, height, width = logits.shape
        heatmaps = logits.flatten(2).softmax(-1).unflatten(2, (height, width))
        grid = coordinate_grid(height, width, dtype=heatmaps.dtype, device=heatmaps.device)
        points = (heatmaps[..., None] * grid).sum((2, 3))
        if self.jacobian is None:
            return Keypoints(points, torch.eye(2).to(points).expand(batch, count, 2, 2))
        maps = at_least_float32(self.jacobian(features)).unflatten(1, (-1, 4))  # (B, K or 1, 4, h, w)
        jacobians = (heatmaps[:, :, None] * maps).sum((3, 4)).unflatten(-1, (2, 2))
        return Keypoints(points, jacobians)
