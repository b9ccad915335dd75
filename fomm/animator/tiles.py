"""Convolutions on tiles of 6x6 pixels by Toom's and Cook's polynomial products (Winograd's form, arXiv 1509.09308).

Pixels of a tile are the coefficients of a polynomial (in each direction). A product of polynomials is known from its
values at as many points as it has coefficients, and values are multiplied one by one: a tile is taken to its values at
6 x 6 points, these are multiplied with the kernel's, and the products are taken back to pixels. That is 4 times fewer
products for a 3x3 kernel, 2.8 for 2x2. For the CPU alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from fomm.animator.convolution import Products
from fomm.animator.kernels import POINTS, TILE, constants, put_together, put_together_doubled, take_apart

PART = 256
"""Tiles at once, at most: with fewer, the kernel's values are read too often, with more, the tiles' too late."""


class Tiled(nn.Module):
    """A convolution with (K, C, r, r), r 3 or 2, and one zero around; sums are float32 at least.

    Args:
        dtype: of the products, and of results that nothing is added to.
    """

    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        kernel = weight.shape[-1]
        self.made = TILE + 1 - kernel  # output pixels per tile and direction
        self.dtype = dtype
        _, from_kernel, _ = (torch.from_numpy(matrix) for matrix in tile_matrices(kernel))
        values = torch.einsum("ai,bj,kcij->abkc", from_kernel, from_kernel, weight.detach().cpu().double())
        self.products = Products(values.flatten(0, 1).to(dtype), dtype)
        self.register_buffer("bias", bias.detach().cpu().to(torch.promote_types(dtype, torch.float32)))
        self.constants = constants(self.bias.numpy().dtype)

    def forward(self, x: Tensor, *, before: tuple[Tensor, Tensor] | None = None, rest: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (B, K, H, W): what a 3x3 kernel makes plus `rest`, or else the positive part of it.

        Args:
            before: scale and shift (C,); what is convolved then is the positive part of scale x + shift.
            rest: (B, K, H, W).
        """
        batch, _, height, width = x.shape
        out = torch.empty(batch, height, width, len(self.bias), dtype=self.dtype if rest is None else rest.dtype)
        nothing = out.new_empty(batch, 0, 0, 0)
        added = nothing if rest is None else channels_last(rest)
        for picture, other, made in zip(channels_last(x), added, out, strict=True):
            for first, products in self._products(picture, before):
                put_together(array(products), first, array(self.bias), array(other), self.constants, array(made))
        return out.permute(0, 3, 1, 2)

    def doubled(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K / 4, 2 H, 2 W): the positive part of what a 2x2 kernel makes for each pixel of a block.

        Of K the first quarter is for the block's top right pixel; its top left one and the two below follow.
        """
        batch, _, height, width = x.shape
        out = torch.empty(batch, 2 * height, 2 * width, len(self.bias) // 4, dtype=self.dtype)
        for picture, made in zip(channels_last(x), out, strict=True):
            for first, products in self._products(picture, None):
                put_together_doubled(array(products), first, array(self.bias), self.constants, array(made))
        return out.permute(0, 3, 1, 2)

    def _products(self, picture: Tensor, before: tuple[Tensor, Tensor] | None) -> Iterator[tuple[int, Tensor]]:
        """Of a picture (H, W, C), for some tiles at a time: the first one's number, and (tiles, 36, K)."""
        height, width, channels = picture.shape
        count = -(-(height + self.made - 4) // self.made) * -(-(width + self.made - 4) // self.made)
        # The last part is as large as the others, though not all of it is read: there are numbers with which oneDNN is
        # a hundred times as slow if the weights are packed for another.
        size = -(-count // -(-count // PART))
        values = torch.empty(size, TILE * TILE, channels, dtype=self.dtype)
        scale, shift = before or (self.bias[:0], self.bias[:0])
        for first in range(0, count, size):
            part = values[: count - first]
            take_apart(array(picture), self.made, first, array(scale), array(shift), self.constants, array(part))
            yield first, self.products(values)[: len(part)]


def channels_last(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H, W, C) without gaps."""
    return x.permute(0, 2, 3, 1).contiguous()


def array(x: Tensor) -> np.ndarray:
    """A tensor on the CPU as the compiled loops take it, not copied; bfloat16 as its bits."""
    return (x.view(torch.uint16) if x.dtype == torch.bfloat16 else x).numpy()


@lru_cache
def tile_matrices(kernel: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(m, 6), (6, r), (6, 6) in float64: values -> the m output pixels, kernel -> values, tile -> values; m = 7 - r.

    The first two evaluate polynomials at `POINTS` and infinity; the third is what makes the sum over the 6 values
    output pixel i: sum_k kernel[k] tile[i + k].
    """
    made = TILE + 1 - kernel
    to_pixels = np.column_stack([np.vander(POINTS, made, increasing=True).T, np.eye(made)[-1]])
    others = [np.prod([p - q for q in POINTS if q != p]) for p in POINTS]
    from_kernel = np.vstack([np.vander(POINTS, kernel, increasing=True) / np.c_[others], np.eye(kernel)[-1]])
    pairs = [(i, k) for i in range(made) for k in range(kernel)]
    products = np.stack([to_pixels[i] * from_kernel[:, k] for i, k in pairs])
    wanted = np.stack([np.eye(TILE)[i + k] for i, k in pairs])
    return to_pixels, from_kernel, np.linalg.lstsq(products, wanted, rcond=None)[0]
