"""Batch norm over the batches of all processes, on any device (torch's own needs a GPU)."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from fomm.model.geometry import at_least_float32


class _Sum(torch.autograd.Function):
    """Sum of a tensor over all processes; so is its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.apply(gradient)


class SyncBatchNorm2d(nn.BatchNorm2d):
    """As nn.BatchNorm2d with the same keys; in training, statistics are those of all processes' batches together.

    Every process must bring a batch of the same shape.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and dist.is_initialized() and dist.get_world_size() > 1):
            return super().forward(x)
        world = dist.get_world_size()
        values = at_least_float32(x)
        mean = _Sum.apply(values.mean((0, 2, 3))) / world
        centred = values - mean[:, None, None]
        variance = _Sum.apply(centred.square().mean((0, 2, 3))) / world
        count = world * x.numel() / x.shape[1]
        with torch.no_grad():
            for running, seen in ((self.running_mean, mean), (self.running_var, variance * (count / (count - 1)))):
                assert running is not None and self.momentum is not None, "the networks' norms keep running averages"
                running.lerp_(seen, self.momentum)
            assert self.num_batches_tracked is not None
            self.num_batches_tracked += 1
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


def synchronise(network: nn.Module) -> None:
    """Make every nn.BatchNorm2d inside `network` a SyncBatchNorm2d, in place."""
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SyncBatchNorm2d  # the same state; only `forward` differs
