"""Convolutions whose weights are kept in the order in which the processor's library reads them."""

from __future__ import annotations

import platform
import threading
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MANY_WEIGHTS, FEW_PIXELS = 1 << 20, 100
"""A layer with more weights and fewer pixels spends its time on reading weights."""
PACKING = threading.Lock()


@lru_cache
def packs(dtype: torch.dtype) -> bool:
    """Whether oneDNN takes weights in an order of its own here; otherwise it turns them round for every frame.

    x86 alone: on Arm it hands convolutions on to another library, which nobody has timed with this. The functions are
    not PyTorch's public ones: `torch.compile` uses them, and a version without them is served without.
    """
    names = "_reorder_convolution_weight", "_convolution_pointwise", "_is_mkldnn_bf16_supported"
    if not all(hasattr(torch.ops.mkldnn, name) for name in names):
        return False
    if platform.machine().lower() not in ("x86_64", "amd64") or not torch.backends.mkldnn.is_available():
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


class Convolution(nn.Module):
    """(B, C, H, W) of any floating type -> (B, K, H', W') of `dtype`, with square kernels and zeros around."""

    weight: Tensor
    bias: Tensor

    def __init__(
        self, weight: Tensor, bias: Tensor, padding: int, dtype: torch.dtype, *, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.heavy = weight.numel() > MANY_WEIGHTS
        layout = torch.contiguous_format if self.heavy else torch.channels_last
        self.register_buffer("weight", weight.detach().to(dtype, memory_format=layout))
        self.register_buffer("bias", bias.detach().to(dtype))
        self.padding, self.stride, self.groups = padding, stride, groups

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.weight.dtype)
        if x.is_cpu and packs(x.dtype):
            steps = [self.padding] * 2, [self.stride] * 2, [1, 1], self.groups
            return torch.ops.mkldnn._convolution_pointwise(
                x, self._packed(x, *steps), self.bias, *steps, "none", [], ""
            )
        return self._plain(x)

    def _packed(self, x: Tensor, *steps: object) -> Tensor:
        """The weights in the order that is best for pictures of the first one's size, and right for all."""
        if self.weight.layout == torch.strided:
            with PACKING:
                if self.weight.layout == torch.strided:  # as two lanes may have come here
                    reorder = torch.ops.mkldnn._reorder_convolution_weight
                    self.weight = reorder(self.weight.contiguous(), *steps, list(x.shape))
        return self.weight

    def _plain(self, x: Tensor) -> Tensor:
        kernel = self.weight.shape[-1]
        height, width = (side + 2 * self.padding + 1 - kernel for side in x.shape[-2:])
        if not self.heavy or height * width > FEW_PIXELS or x.device.type != "cpu":
            return F.conv2d(x, self.weight, self.bias, self.stride, self.padding)
        columns = F.unfold(x.contiguous(), kernel, padding=self.padding).transpose(1, 2)
        return F.linear(columns, self.weight.flatten(1), self.bias).transpose(1, 2).unflatten(2, (height, width))


class Products(Convolution):
    """A matrix for each of N values, together (N, K, C): (M, N, C), contiguous, -> (M, N, K).

    It is a convolution of one pixel in N groups, because PyTorch packs weights of convolutions, not of `bmm`.
    """

    def __init__(self, matrices: Tensor, dtype: torch.dtype) -> None:
        weight = matrices.flatten(0, 1)[:, :, None, None]
        super().__init__(weight, weight.new_zeros(len(weight)), 0, dtype, groups=len(matrices))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1)[None, None].permute(0, 3, 1, 2))[0, :, 0].T.unflatten(1, (self.groups, -1))

    def _plain(self, x: Tensor) -> Tensor:
        matrices = self.weight.flatten(1).unflatten(0, (self.groups, -1)).transpose(1, 2)
        values = x[0, :, 0].unflatten(0, (self.groups, -1)).transpose(1, 2)  # (N, M, C)
        return torch.bmm(values, matrices).transpose(1, 2).flatten(0, 1)[None, :, None]
