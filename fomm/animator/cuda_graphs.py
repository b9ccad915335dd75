"""Work on a GPU, recorded once and replayed: one launch instead of one for each of several hundred kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")  # a tensor, None, or (named) tuples of such
WARM_UP = 3
"""Runs before recording: cuDNN and cuBLAS choose their ways and take their memory in the first ones."""


class Recorded(Generic[T]):
    """`function` of one CUDA tensor, as a CUDA graph: `recorded(x)` gives what `function(x)` would, in new tensors.

    Args:
        function: works on the GPU alone, without waiting for it, and always in the same way. All other tensors that
            it reads must stay where they are.
        example: its argument; later ones have the same shape and type.
    """

    def __init__(self, function: Callable[[Tensor], T], example: Tensor) -> None:
        self._input = example.clone()
        with torch.cuda.device(example.device):
            beside = torch.cuda.Stream()
            beside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(beside):
                for _ in range(WARM_UP):
                    function(self._input)
            torch.cuda.current_stream().wait_stream(beside)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                self._output = function(self._input)

    def __call__(self, x: Tensor) -> T:
        self._input.copy_(x)
        self._graph.replay()
        return copied(self._output)  # the next replay writes to the same place


def copied(value: Any) -> Any:
    """The same with a copy of each tensor."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, tuple):
        parts = [copied(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value
