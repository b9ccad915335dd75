"""Keypoints, coordinate grids, warping and keypoint transfer: pure functions on tensors.

The one coordinate convention of `fomm`: (x, y), x to the right, y down, both in [-1, 1], where +-1 are the
*centres* of the border pixels. `coordinate_grid` makes such coordinates and `warp` reads them; nothing else in the
package calls `grid_sample`. Section and equation numbers refer to arXiv 2003.00196.

Everything is written with element-wise products rather than matrix products: autocast would run those in bfloat16,
whose 8 bits cannot tell neighbouring pixels apart.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial import ConvexHull, QhullError
from torch import Tensor


class Keypoints(NamedTuple):
    """K keypoints per picture with the local affine frame at each.

    Attributes:
        points: (B, K, 2), (x, y) in [-1, 1].
        jacobians: (B, K, 2, 2), d(picture coordinates) / d(reference coordinates); the identity where a model
            estimates none.
    """

    points: Tensor
    jacobians: Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Half-precision tensors become float32; float32 and float64 stay."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def coordinate_grid(height: int, width: int, *, dtype: torch.dtype, device: torch.device | str) -> Tensor:
    """(height, width, 2): the coordinates (x, y) of each pixel's centre, -1 and 1 at the borders."""
    x = torch.arange(width, dtype=dtype, device=device) * (2 / (width - 1)) - 1
    y = torch.arange(height, dtype=dtype, device=device) * (2 / (height - 1)) - 1
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


def warp(image: Tensor, grid: Tensor, *, align_corners: bool) -> Tensor:
    """Sample `image` at `grid`, zeros outside (backward warping).

    Args:
        image: (B, C, H, W).
        grid: (B, h, w, 2), where in `image` each output pixel is read.
        align_corners: True reads the grid in this package's convention, so that the identity grid returns the
            picture unchanged; the released models were trained so. False reproduces what their code does under
            torch >= 1.3, where +-1 are the outer edges of the border pixels.

    Returns: (B, C, h, w) in the dtype of `image`; the arithmetic is at least float32.
    """
    return _sample(image, grid, align_corners, "zeros")


def displacement(grid: Tensor, *, align_corners: bool) -> Tensor:
    """How far from its own place each pixel is read, (B, h, w, 2) in pixels of the grid (x, y).

    So a motion can be carried over to pictures of other sizes: a pixel of the grid is as wide as what it covers.

    Args:
        grid: (B, h, w, 2) of a dense motion, as for `warp`.
        align_corners: the same as there.
    """
    height, width = grid.shape[1:3]
    own = torch.stack(torch.meshgrid(*(torch.arange(n).to(grid) for n in (width, height)), indexing="xy"), dim=-1)
    return in_pixels(grid, height, width, align_corners=align_corners) - own


def in_pixels(grid: Tensor, height: int, width: int, *, align_corners: bool) -> Tensor:
    """Coordinates (..., 2), as for `warp`, -> (x, y) in pixels of such a picture; 0, 0 is the centre of its first."""
    size = grid.new_tensor([width, height])
    return (grid + 1) / 2 * (size - 1) if align_corners else ((grid + 1) * size - 1) / 2


def warp_reflected(image: Tensor, grid: Tensor, *, align_corners: bool) -> Tensor:
    """As `warp`, with the picture mirrored at its borders (training's random deformations, Sec. 3.3)."""
    return _sample(image, grid, align_corners, "reflection")


def _sample(image: Tensor, grid: Tensor, align_corners: bool, padding: str) -> Tensor:
    dtype = torch.promote_types(image.dtype, grid.dtype)
    sampled = F.grid_sample(image.to(dtype), grid.to(dtype), align_corners=align_corners, padding_mode=padding)
    return sampled.to(image.dtype)


def gaussian_heatmaps(points: Tensor, height: int, width: int, *, variance: float) -> Tensor:
    """(B, K, 2) points -> (B, K, height, width): exp(-|z - point|^2 / (2 variance)), variance in squared grid units."""
    z = coordinate_grid(height, width, dtype=points.dtype, device=points.device)
    squared = (z - points[:, :, None, None]).square().sum(-1)
    return torch.exp(-0.5 * squared / variance)


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """Product of (..., 2, 2) matrices, kept out of autocast's reach."""
    return (a[..., :, :, None] * b[..., None, :, :]).sum(-2)


def invert(matrix: Tensor) -> Tensor:
    """Inverse of (..., 2, 2) matrices in closed form: exports to ONNX, needs no solver, costs nothing."""
    a, b, c, d = matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 1, 0], matrix[..., 1, 1]
    determinant = (a * d - b * c)[..., None, None]
    return torch.stack((d, -b, -c, a), dim=-1).unflatten(-1, (2, 2)) / determinant


def local_motion(grid: Tensor, source: Keypoints, driving: Keypoints) -> Tensor:
    """First-order motion around each keypoint: where in the source each driving pixel comes from (Eq. 4).

    Args:
        grid: (h, w, 2) coordinates in the driving picture.

    Returns: (B, K, h, w, 2) coordinates in the source picture.
    """
    jacobian = multiply(source.jacobians, invert(driving.jacobians))[:, :, None, None]
    x, y = (grid - driving.points[:, :, None, None]).split(1, dim=-1)
    # Column by column: ten times as quick as products of 2x2 matrices.
    return source.points[:, :, None, None] + (jacobian[..., 0] * x + jacobian[..., 1] * y)


def movement_scale(source: Keypoints, initial: Keypoints) -> Tensor:
    """(B,): how much larger the source's keypoint constellation is than the driving's.

    The ratio of the square roots of their convex hulls' areas; 1 where either hull is flat, since such a
    constellation tells nothing about size.
    """
    areas = [[_hull_area(points) for points in kp.points.detach().cpu().double().numpy()] for kp in (source, initial)]
    scales = [np.sqrt(s) / np.sqrt(i) if s > 0 and i > 0 else 1.0 for s, i in zip(*areas, strict=True)]
    return source.points.new_tensor(scales)


def _hull_area(points: np.ndarray) -> float:
    try:
        return float(ConvexHull(points).volume)
    except (QhullError, ValueError):  # fewer than three points, all on a line, or not finite
        return 0.0


def transfer_motion(
    source: Keypoints,
    driving: Keypoints,
    initial: Keypoints,
    *,
    relative: bool,
    scale: Tensor | float = 1.0,
) -> Keypoints:
    """Keypoints that make the source move as the driving video does (Sec. 3.4).

    Args:
        source: of the source picture, batch 1 or B.
        driving: of B driving frames.
        initial: of the driving frame whose pose is like the source's, batch 1 or B.
        relative: apply the driving's *change* since `initial` to the source; otherwise the driving's keypoints are
            used as they are.
        scale: factor on the keypoints' displacement, () or (1,) or (B,) (`movement_scale`); only used if `relative`.
    """
    if not relative:
        return driving
    scale = torch.as_tensor(scale, dtype=source.points.dtype, device=source.points.device).reshape(-1, 1, 1)
    points = (driving.points - initial.points) * scale + source.points
    change = multiply(driving.jacobians, invert(initial.jacobians))
    return Keypoints(points, multiply(change, source.jacobians))
