"""The networks rewritten for inference: the same numbers, from fewer products.

`fold` makes a copy of a model in which
- batch norm is part of the convolution before it (a ResBlock's first one, before which there is none, is one product
  and sum per value);
- nearest-neighbour doubling and the 3x3 convolution after it are one 2x2 convolution with four times the outputs on
  the small picture, one set for each pixel of a 2x2 block: 2.25 times fewer products;
- on a processor without matrix units the generator's convolutions run on tiles of 6x6 pixels by Toom's and Cook's
  polynomial products (Winograd's form, arXiv 1509.09308): 4 times fewer products for a 3x3 kernel, 2.8 for 2x2;
- a 7x7 convolution to three colours computes a block of 2x2 pixels at once: matrix code has no use for 3 columns;
- mask and occlusion are one convolution;
- weights are kept in the order in which oneDNN reads them; where it takes none, layers with more weights than pixels
  are plain matrix products, which read each weight once.

In float32 the results differ by rounding only. In bfloat16 the weights are stored in it and rounded once. The copy
computes no gradients and cannot be trained or saved; the model that it was made from is left as it is.
"""

from __future__ import annotations

import platform
import threading
from collections.abc import Iterator
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fomm.model import FOMM
from fomm.model.blocks import ConvBlock, DownBlock, ResBlock, UpBlock
from fomm.model.dense_motion import DenseMotion

TILE = 6
"""Side of the tiles in pixels; a kernel of side r makes (7 - r) x (7 - r) output pixels of each."""
POINTS = (0.0, 2**0.5, -(2**0.5), 2**-0.5, -(2**-0.5))
"""Where the polynomials are evaluated, besides infinity. Of those tried these round best: in bfloat16 the relative
error of one layer is 0.013, against 0.026 with the usual 0, 1, -1, 2, -2, and 0.003 of the convolution itself."""
MANY_CHANNELS = 64
"""With fewer, taking tiles apart and putting them together takes longer than the products saved."""
PART = 256
"""Tiles at once where the result is taken apart again: it is still in the processor's cache then."""
Network = TypeVar("Network", bound=nn.Module)
MANY_WEIGHTS, FEW_PIXELS = 1 << 20, 100
"""A layer with more weights and fewer pixels spends its time on reading weights."""
PACKING = threading.Lock()


def fold(model: FOMM, dtype: torch.dtype = torch.float32, *, tiles: bool) -> FOMM:
    """A copy of the model for inference, on the same device.

    Args:
        model: in evaluation mode; its weights are shared where they stay as they are.
        dtype: of the dense motion network and of the generator's decoder. The keypoint detector and what encodes the
            source always are in float32: the first for its accuracy, the second because it runs once.
        tiles: compute the generator's decoder on tiles.
    """
    device = next(model.parameters()).device
    detector = _twin(model.detector)
    mask, occlusion = model.dense_motion.mask, model.dense_motion.occlusion
    dense_motion = _twin(model.dense_motion, dtype, kind=DenseMotion if occlusion is None else _DenseMotion)
    if occlusion is not None:
        (weight, bias, padding), (last_weight, last_bias, _) = _parts(mask), _parts(occlusion)
        both = torch.cat((weight, last_weight)), torch.cat((bias, last_bias))
        dense_motion.add_module("mask", _Convolution(*both, padding, dtype))
        dense_motion.occlusion = None
    generator = _twin(model.generator)
    for name in ("bottleneck", "up_blocks", "final"):
        setattr(generator, name, folded(getattr(model.generator, name), dtype, tiles))
    return FOMM(detector, dense_motion, generator, model.config).eval().to(device)


def folded(module: nn.Module, dtype: torch.dtype = torch.float32, tiles: bool = False) -> nn.Module:
    if isinstance(module, ConvBlock):
        weight, bias = _absorbed(module.conv, module.norm)
        *_, padding = _parts(module.conv)
        if isinstance(module, UpBlock) and (tiles or weight.numel() <= 4 * MANY_WEIGHTS):
            return _Doubling(weight, bias, dtype, tiles)
        convolution = nn.Sequential(_Convolution(weight, bias, padding, dtype), nn.ReLU(inplace=True))
        if isinstance(module, UpBlock):
            return nn.Sequential(nn.Upsample(scale_factor=2), *convolution)
        return nn.Sequential(*convolution, nn.AvgPool2d(2)) if isinstance(module, DownBlock) else convolution
    if isinstance(module, ResBlock):
        return _Residual(module, dtype, tiles)
    if isinstance(module, nn.Conv2d):
        kind = _Narrow if module.out_channels <= 4 and module.kernel_size == (7, 7) else _Convolution
        return kind(*_parts(module), dtype)
    return _twin(module, dtype, tiles)


def _twin(
    module: Network, dtype: torch.dtype = torch.float32, tiles: bool = False, kind: type[Network] | None = None
) -> Network:
    """A copy of a network that folds its parts and is itself left as it is, or becomes one of that kind."""
    kind = kind or type(module)
    twin = kind.__new__(kind)
    nn.Module.__init__(twin)
    twin.__dict__.update({key: value for key, value in vars(module).items() if key not in vars(twin)})
    twin._parameters, twin._buffers = dict(module._parameters), dict(module._buffers)
    for name, child in module.named_children():
        twin.add_module(name, folded(child, dtype, tiles))
    return twin


def _absorbed(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of the convolution that does what both do in evaluation mode, on the CPU, where float64 is."""
    scale, shift = _scale_and_shift(norm)
    weight, bias, _ = _parts(conv)
    weight, bias = weight.detach().cpu(), bias.detach().cpu()
    return weight * scale.to(weight.dtype)[:, None, None, None], bias * scale + shift


def _parts(conv: nn.Conv2d) -> tuple[Tensor, Tensor, int]:
    """Weight, bias, and how many zeros are around the picture on each side."""
    assert conv.bias is not None and not isinstance(conv.padding, str)
    return conv.weight, conv.bias, conv.padding[0]


def _scale_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    names = ("weight", "bias", "running_mean", "running_var")
    weight, bias, mean, variance = (getattr(norm, name).detach().cpu().double() for name in names)
    scale = weight / (variance + norm.eps).sqrt()
    return scale, bias - mean * scale


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


class _Convolution(nn.Module):
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

    def strips(self, x: Tensor, tiles: int) -> Iterator[Tensor]:
        """As `_Tiled.strips`, all of it at once."""
        yield self(x)


class _Products(_Convolution):
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


class _Narrow(_Convolution):
    """As `_Convolution`, for few outputs: a block of 2x2 pixels is computed as outputs of one larger kernel."""

    def __init__(self, weight: Tensor, bias: Tensor, padding: int, dtype: torch.dtype) -> None:
        size = weight.shape[-1]
        each = [F.pad(weight.detach(), (j, 1 - j, i, 1 - i)) for i in range(2) for j in range(2)]
        block = torch.stack(each, dim=1).flatten(0, 1)  # (4 K, C, size + 1, size + 1)
        super().__init__(block, bias.detach().repeat_interleave(4), padding, dtype, stride=2)
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        height, width = (side + 2 * self.padding + 1 - self.size for side in x.shape[-2:])
        if height % 2 or width % 2:
            x = F.pad(x, (0, width % 2, 0, height % 2))
        return F.pixel_shuffle(super().forward(x), 2)[..., :height, :width]


class _Tiled(nn.Module):
    """The convolution of (B, C, H, W) with (K, C, r, r), without padding, on tiles (module docstring).

    Pixels of a tile are the coefficients of a polynomial (in each direction). A product of polynomials is known from
    its values at as many points as it has coefficients, and values are multiplied one by one: `weight` holds the
    kernel's values at 6 x 6 points, `to_values` takes a tile there, `to_pixels` takes the product back.
    """

    bias: Tensor
    to_values: Tensor
    to_pixels: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        kernel = weight.shape[-1]
        self.made = TILE + 1 - kernel  # output pixels per tile and direction
        to_pixels, from_kernel, to_values = (torch.from_numpy(matrix) for matrix in tile_matrices(kernel))
        weight = weight.detach().cpu().double()
        values = torch.einsum("ai,bj,kcij->abkc", from_kernel, from_kernel, weight).flatten(0, 1)
        self.products = _Products(values.to(dtype), dtype)
        self.register_buffer("bias", bias.detach().to(dtype))
        self.register_buffer("to_values", torch.kron(to_values, to_values).to(dtype))
        self.register_buffer("to_pixels", torch.kron(to_pixels, to_pixels).to(dtype))

    def forward(self, x: Tensor) -> Tensor:
        return next(self.strips(x, tiles=x.numel()))

    def strips(self, x: Tensor, tiles: int) -> Iterator[Tensor]:
        """The result from the top down, made of so many tiles at a time: (B, K, h, W')."""
        batch, channels, height, width = x.shape
        above = TILE - self.made  # rows that a tile shares with the next
        height, width = height + 2 - above, width + 2 - above  # of the result
        rows, columns = -(-height // self.made), -(-width // self.made)
        pixels = self.bias.new_zeros(batch, rows * self.made + above, columns * self.made + above, channels)
        pixels[:, 1 : 1 + x.shape[2], 1 : 1 + x.shape[3]] = x.permute(0, 2, 3, 1)
        b, h, w, _ = pixels.stride()
        step = max(1, tiles // (batch * columns))
        for top in range(0, rows, step):
            count = min(step, rows - top)
            shape, strides = (batch, count, columns, TILE, TILE, channels), (b, h * self.made, w * self.made, h, w, 1)
            taken = pixels.as_strided(shape, strides, top * self.made * h).reshape(-1, TILE * TILE, channels)
            values = torch.bmm(self.to_values.expand(len(taken), -1, -1), taken)
            made = torch.bmm(self.to_pixels.expand(len(taken), -1, -1), self.products(values))
            made = made.view(batch, count, columns, self.made, self.made, -1).transpose(2, 3)
            strip = torch.empty_like(made, memory_format=torch.contiguous_format)
            strip = torch.add(made, self.bias, out=strip).flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)
            yield strip[..., : height - top * self.made, :width]


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


class _Doubling(nn.Module):
    """An UpBlock: (B, C, H, W) -> (B, K, 2 H, 2 W)."""

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype, tiles: bool) -> None:
        super().__init__()
        # After doubling, three neighbours are two pixels: the taps that fall on the same one add up. An even output
        # pixel reads (i - 1, i, i), an odd one (i, i, i + 1).
        taps = weight.new_tensor([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]])  # (parity, 2, 3)
        small = torch.einsum("api,bqj,kcij->abkcpq", taps, taps, weight).flatten(0, 2)  # (4 K, C, 2, 2)
        bias = bias.repeat(4)
        tiles = tiles and weight.shape[1] >= MANY_CHANNELS
        self.convolution = _Tiled(small, bias, dtype) if tiles else _Convolution(small, bias, 1, dtype)

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        bias = self.convolution.bias
        out = bias.new_empty(batch, 2 * height, 2 * width, len(bias) // 4).permute(0, 3, 1, 2)  # channels last
        top = 0
        for strip in self.convolution.strips(x, PART):
            y = strip.unflatten(1, (4, -1))  # (B, 4, K, h, W + 1), rows top to top + h of H + 1
            for index in range(4):
                a, b = divmod(index, 2)
                first, last = max(top - a, 0), min(top + y.shape[3] - a, height)
                block = y[:, index, :, first + a - top : last + a - top, b : b + width]
                torch.clamp_min(block, 0, out=out[:, :, a::2, b::2][:, :, first:last])
            top += y.shape[3]
        return out


class _Residual(nn.Module):
    """A ResBlock; the sum is carried in float32."""

    scale: Tensor
    shift: Tensor

    def __init__(self, block: ResBlock, dtype: torch.dtype, tiles: bool) -> None:
        super().__init__()
        scale, shift = (x.float()[:, None, None] for x in _scale_and_shift(block.norm1))
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)
        first, second = _absorbed(block.conv1, block.norm2), _parts(block.conv2)[:2]
        self.conv1, self.conv2 = (
            _Tiled(*layer, dtype) if tiles else _Convolution(*layer, 1, dtype) for layer in (first, second)
        )

    def forward(self, x: Tensor) -> Tensor:
        # Warped features come plane by plane; the convolutions would turn them round in every block.
        x = x.contiguous(memory_format=torch.channels_last)
        hidden = torch.addcmul(self.shift, x, self.scale).relu_()
        return x + self.conv2(self.conv1(hidden).relu_()).to(x.dtype)


class _DenseMotion(DenseMotion):
    """Its `mask` gives the occlusion's logits as well, after its own."""

    def heads(self, features: Tensor) -> tuple[Tensor, Tensor]:
        both = self.mask(features)
        return both[:, :-1], both[:, -1:]
