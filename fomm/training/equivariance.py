"""Random thin-plate deformations: what the keypoints must follow in the equivariance losses (Sec. 3.1, Eq. 8-11).

Points are (x, y) in [-1, 1]; +-1 is the centre of a border pixel.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fomm.model.geometry import coordinate_grid, warp_reflected


class ThinPlate(NamedTuple):
    """A batch of smooth deformations of the plane: affine part plus radial terms at P x P control points.

    `T(p) = theta [p; 1] + sum_c params_c * d_c^2 log(d_c + 1e-6)`, where `d_c` is the L1 distance to control point c
    (the original's choice) and the radial term moves x and y alike.
    """

    theta: Tensor  # (B, 2, 3)
    control_points: Tensor  # (P*P, 2)
    control_params: Tensor  # (B, P*P)

    @classmethod
    def random(
        cls, batch: int, sigma_affine: float, sigma_tps: float, points: int, generator: torch.Generator | None = None
    ) -> ThinPlate:
        """Draw near-identity deformations: theta first, then the radial weights (the original's order), on the CPU."""
        theta = torch.eye(2, 3) + sigma_affine * torch.randn(batch, 2, 3, generator=generator)
        params = sigma_tps * torch.randn(batch, points * points, generator=generator)
        return cls(theta, control_points(points), params)

    def to(self, reference: Tensor) -> ThinPlate:
        """The same deformations on the device and in the precision of `reference`."""
        return ThinPlate(*(part.to(reference) for part in self))

    def points(self, points: Tensor) -> Tensor:
        """Where each point goes: (B, N, 2) -> (B, N, 2)."""
        # Products written out, so that autocast leaves them alone.
        moved = (self.theta[:, None, :, :2] * points[:, :, None]).sum(-1) + self.theta[:, None, :, 2]
        distance = (points[:, :, None] - self.control_points).abs().sum(-1)  # (B, N, P*P)
        radial = (distance**2 * (distance + 1e-6).log() * self.control_params[:, None]).sum(-1, keepdim=True)
        return moved + radial

    def jacobians(self, points: Tensor) -> Tensor:
        """Derivative of `points` at each point: (B, N, 2) -> (B, N, 2, 2), row = output axis."""
        offset = points[:, :, None] - self.control_points
        distance = offset.abs().sum(-1)
        slope = 2 * distance * (distance + 1e-6).log() + distance**2 / (distance + 1e-6)
        radial = ((slope * self.control_params[:, None])[..., None] * offset.sign()).sum(2)  # (B, N, 2)
        return self.theta[:, None, :, :2] + radial[:, :, None, :]

    def frame(self, frame: Tensor, *, align_corners: bool) -> Tensor:
        """The frame seen through the deformation: (B, C, H, W) -> same; beyond the border it is mirrored."""
        height, width = frame.shape[-2:]
        grid = coordinate_grid(height, width, dtype=self.theta.dtype, device=frame.device).reshape(1, -1, 2)
        moved = self.points(grid.expand(frame.shape[0], -1, -1)).unflatten(1, (height, width))
        return warp_reflected(frame, moved, align_corners=align_corners)


def control_points(per_side: int) -> Tensor:
    """(per_side**2, 2): an even grid over the whole picture, row by row."""
    return coordinate_grid(per_side, per_side, dtype=torch.float32, device="cpu").reshape(-1, 2)
