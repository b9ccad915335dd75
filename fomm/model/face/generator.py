"""The occlusion-aware generator of model `face`: it paints what the warp cannot show, the inside of a mouth that opens.

It works on a patch around the mouth that is turned upright and scaled with the head, so that teeth are always in the
same place, and sees there what the warp made, where the mouth is open, where the photo itself showed what is seen, and
where in the head each point lies.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fomm.model.face.canvas import Canvas, polygon
from fomm.model.face.mesh import CHIN, MOUTH, NOSE_BASE
from fomm.model.face.motion import Face, Moved

PATCH_WH = (96, 80)
PER_UNIT = 76.0  # pixels of the patch per unit of the head's frame
CHANNELS = 8
BELOW_NOSE = 0.4  # where the teeth meet, in the head's frame
SUPPORT_PX = 5  # how far beyond the lips' inner edge the generator may paint, in pixels of the patch


class Output(NamedTuple):
    """Attributes:
    prediction: (B, 3, H, W) in [0, 1], the finished patch.
    painted: (B, 3, H, W) in [0, 1], the generator's colours alone.
    occlusion_map: (B, 1, H, W) in [0, 1], where the warp is kept; 0 is painted.
    """

    prediction: Tensor
    painted: Tensor
    occlusion_map: Tensor


def patch_matrix(moved: Moved) -> np.ndarray:
    """(2, 3) from the photo's pixels to those of the patch around the moved mouth."""
    axis = moved.pose.rotation[:2, 0] / np.linalg.norm(moved.pose.rotation[:2, 0])
    upright, opening = np.array([[axis[0], axis[1]], [-axis[1], axis[0]]]), moved.landmarks[MOUTH.opening, :2]
    centre = opening.mean(0)
    reach = np.abs((opening - centre) @ upright.T).max(0)
    # the widest mouths are seen smaller: all that may be painted has to lie in the patch
    factor = min(PER_UNIT / moved.pose.scale, *((np.array(PATCH_WH) / 2 - 2 * SUPPORT_PX) / np.maximum(reach, 1e-6)))
    turn = factor * upright
    return np.column_stack([turn, (np.array(PATCH_WH) - 1) / 2 - turn @ centre])


def conditions(source: Face, moved: Moved, shown: np.ndarray, to_patch: np.ndarray) -> np.ndarray:
    """(5, H, W) float32: the opening, what of it the photo showed, and each point's place in the head.

    Args:
        shown: (H, W) uint8, from `layers.Mouth.draw` on the patch.
        to_patch: (2, 3) from `patch_matrix`.
    """
    width, height = PATCH_WH
    edge = Canvas(shown, to_patch).points(moved.landmarks[MOUTH.opening, :2])
    opening = polygon(edge, PATCH_WH)
    # Teeth keep to the skull: places are measured from the nose, which no expression moves.
    middle = source.shape[[NOSE_BASE]] + [0.0, BELOW_NOSE, 0.0]
    anchor = Canvas(shown, to_patch).points(moved.pose.place(middle)[:, :2])[0]
    flat = to_patch[:, :2] @ (moved.pose.scale * moved.pose.rotation[:2, :2])
    x, y = np.meshgrid(np.arange(width) - anchor[0], np.arange(height) - anchor[1])
    back = np.linalg.inv(flat)
    across, down = back[0, 0] * x + back[0, 1] * y, back[1, 0] * x + back[1, 1] * y
    dropped = (moved.shape - source.shape)[CHIN, 1]
    places = [across, down, down - dropped]
    return np.stack([opening / 255, shown / 255, *(np.clip(p, -1, 1) for p in places)]).astype(np.float32)


def support(opening: Tensor) -> Tensor:
    """(B, 1, H, W) in [0, 1]: where painting is allowed; a soft edge around the opening (B, 1, H, W) in [0, 1]."""
    wide = opening
    for size, beyond in _windows(SUPPORT_PX):
        wide = F.max_pool2d(wide, size, 1, beyond)
    soft = wide
    for size, beyond in _windows(SUPPORT_PX - 1):
        soft = F.avg_pool2d(soft, size, 1, beyond, count_include_pad=False)
    return soft * wide


def _windows(reach: int) -> tuple[tuple[tuple[int, int], tuple[int, int]], ...]:
    """Size and padding of two windows, along and across, that one after the other do what a square one does, faster."""
    size = 2 * reach + 1
    return ((1, size), (0, reach)), ((size, 1), (reach, 0))


class Generator(nn.Module):
    """Patch and conditions -> finished patch: a U-Net that works on 2 x 2 pixels at once.

    Args:
        width: channels of the first level.
    Call: patch (B, 3, H, W) in [0, 1], conditions (B, 5, H, W) -> `Output`. H and W are multiples of 8.
    """

    def __init__(self, *, width: int = 40) -> None:
        super().__init__()
        widths = [width, 3 * width // 2, 2 * width]
        self.first = _block(4 * CHANNELS, widths[0])
        self.down = nn.ModuleList(_down(a, b) for a, b in zip(widths, widths[1:], strict=False))
        self.up = nn.ModuleList(_block(a + b, b) for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.last = nn.Conv2d(widths[0], 4 * 4, 3, padding=1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, patch: Tensor, conditions: Tensor) -> Output:
        levels = [self.first(F.pixel_unshuffle(torch.cat([patch, conditions], 1), 2))]
        for down in self.down:
            levels.append(down(levels[-1]))
        features = levels.pop()
        for up in self.up:
            features = F.interpolate(features, scale_factor=2.0, mode="nearest")
            features = up(torch.cat([features, levels.pop()], 1))
        raw = F.pixel_shuffle(self.last(features), 2)
        painted = torch.sigmoid(raw[:, :3])
        paints = torch.sigmoid(raw[:, 3:]) * support(conditions[:, :1])
        return Output(patch + paints * (painted - patch), painted, 1 - paints)


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.GroupNorm(4, outputs),
        nn.SiLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.SiLU(),
    )


def _down(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.SiLU(), _block(outputs, outputs))
