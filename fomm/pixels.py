"""Pictures as networks see them, (T, 3, H, W) in [0, 1], and as files hold them, (T, H, W, 3) uint8."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def to_tensor(pictures: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """(T, H, W, 3) uint8 -> (T, 3, H, W) float32 in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).to(device).permute(0, 3, 1, 2).float() / 255


def to_bytes(pictures: Tensor) -> Tensor:
    """Any shape, in [0, 1] (what lies outside is clipped) -> the same shape, uint8, on the same device."""
    return (pictures.float().clamp(0, 1) * 255).round().byte()


def in_8_bits(pictures: Tensor) -> Tensor:
    """Pictures in [0, 1] as a file would hold them: rounded to 1 / 255, float32."""
    return to_bytes(pictures).float() / 255


def to_pictures(pictures: Tensor) -> np.ndarray:
    """(T, 3, H, W) in [0, 1], on any device -> (T, H, W, 3) uint8."""
    return to_bytes(pictures.detach()).permute(0, 2, 3, 1).contiguous().cpu().numpy()
