"""The networks rewritten for inference: the same numbers, from fewer products.

`fold` makes a copy of a model in which
- batch norm is part of the convolution before it (a ResBlock's first one, before which there is none, is one product
  and sum per value);
- nearest-neighbour doubling and the 3x3 convolution after it are one 2x2 convolution with four times the outputs on
  the small picture, one set for each pixel of a 2x2 block: 2.25 times fewer products;
- on a processor without matrix units convolutions run on tiles (`fomm.animator.tiles`): 4 times fewer products for a
  3x3 kernel, 2.8 for 2x2;
- there, the features are warped and dimmed in one pass;
- a 7x7 convolution to three colours computes a block of 2x2 pixels at once: matrix code has no use for 3 columns;
- mask and occlusion are one convolution;
- weights are kept in the order in which oneDNN reads them; where it takes none, layers with more weights than pixels
  are plain matrix products, which read each weight once.

In float32 the results differ by rounding only. In bfloat16 the weights are stored in it and rounded once. The copy
computes no gradients and cannot be trained or saved; the model that it was made from is left as it is.
"""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fomm.animator.convolution import MANY_WEIGHTS, Convolution
from fomm.animator.kernels import warp_dimmed
from fomm.animator.tiles import Tiled, array, channels_last
from fomm.model import FOMM
from fomm.model.blocks import ConvBlock, DownBlock, Hourglass, ResBlock, UpBlock
from fomm.model.dense_motion import DenseMotion, Motion
from fomm.model.generator import Generator, resize
from fomm.model.geometry import in_pixels

MANY_CHANNELS = 32
"""With fewer, taking tiles apart and putting them together takes longer than the products saved."""
LEAST_CHANNELS = 16
"""With fewer, oneDNN 3.13's matrix code is wrong where a row of weights, channels times width, is 64, 96, ... long."""
Network = TypeVar("Network", bound=nn.Module)


def fold(model: FOMM, dtype: torch.dtype = torch.float32, *, tiles: bool) -> FOMM:
    """A copy of the model for inference, on the same device.

    Args:
        model: in evaluation mode; its weights are shared where they stay as they are.
        dtype: of the dense motion network and of the generator's decoder. The keypoint detector and what encodes the
            source always are in float32: the first for its accuracy, the second because it runs once.
        tiles: compute on tiles where it pays; on the CPU only.
    """
    device = next(model.parameters()).device
    detector = _twin(model.detector, tiles=tiles)
    mask, occlusion = model.dense_motion.mask, model.dense_motion.occlusion
    dense_motion = _twin(model.dense_motion, dtype, tiles, kind=DenseMotion if occlusion is None else _DenseMotion)
    if occlusion is not None:
        (weight, bias, padding), (last_weight, last_bias, _) = _parts(mask), _parts(occlusion)
        both = torch.cat((weight, last_weight)), torch.cat((bias, last_bias))
        dense_motion.add_module("mask", Convolution(*both, padding, dtype))
        dense_motion.occlusion = None
    generator = _twin(model.generator, kind=_Generator if tiles else Generator)
    for name in ("bottleneck", "up_blocks", "final"):
        setattr(generator, name, folded(getattr(model.generator, name), dtype, tiles))
    return FOMM(detector, dense_motion, generator, model.config).eval().to(device)


def folded(module: nn.Module, dtype: torch.dtype = torch.float32, tiles: bool = False) -> nn.Module:
    if isinstance(module, ConvBlock):
        weight, bias = _absorbed(module.conv, module.norm)
        *_, padding = _parts(module.conv)
        tiles = tiles and _pays(weight)
        if isinstance(module, UpBlock) and (tiles or weight.numel() <= 4 * MANY_WEIGHTS):
            return _Doubling(weight, bias, dtype, tiles)
        plain = Convolution(weight, bias, padding, dtype), nn.ReLU(inplace=True)
        convolution = nn.Sequential(*([Tiled(weight, bias, dtype)] if tiles else plain))
        if isinstance(module, UpBlock):
            return nn.Sequential(nn.Upsample(scale_factor=2), *convolution)
        return nn.Sequential(*convolution, nn.AvgPool2d(2)) if isinstance(module, DownBlock) else convolution
    if isinstance(module, ResBlock):
        return _Residual(module, dtype, tiles)
    if isinstance(module, nn.Conv2d):
        narrow = module.out_channels <= 4 and module.kernel_size == (7, 7) and module.in_channels >= LEAST_CHANNELS
        return (_Narrow if narrow else Convolution)(*_parts(module), dtype)
    if isinstance(module, Hourglass):
        return nn.Sequential(_Cast(dtype), _twin(module, dtype, tiles))
    return _twin(module, dtype, tiles)


def _pays(weight: Tensor) -> bool:
    """Whether a convolution (K, C, r, r) takes less time on tiles. Where weights are many, pixels are few as a rule:
    reading the kernel's values, four times as many as the weights of 3x3, takes longer than the products saved."""
    return weight.shape[-1] == 3 and min(weight.shape[:2]) >= MANY_CHANNELS and weight.numel() <= MANY_WEIGHTS // 2


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


class _Narrow(Convolution):
    """As `Convolution`, for few outputs: a block of 2x2 pixels is computed as outputs of one larger kernel."""

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


class _Doubling(nn.Module):
    """An UpBlock: (B, C, H, W) -> (B, K, 2 H, 2 W)."""

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype, tiles: bool) -> None:
        super().__init__()
        # After doubling, three neighbours are two pixels: the taps that fall on the same one add up. An even output
        # pixel reads (i - 1, i, i), an odd one (i, i, i + 1).
        taps = weight.new_tensor([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]])  # (parity, 2, 3)
        # A block's right pixels come before its left ones, as `put_together_doubled` wants them.
        small = torch.einsum("api,bqj,kcij->abkcpq", taps, taps.flip(0), weight).flatten(0, 2)  # (4 K, C, 2, 2)
        bias = bias.repeat(4)
        self.convolution = Tiled(small, bias, dtype) if tiles else Convolution(small, bias, 1, dtype)

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.convolution, Tiled):
            return self.convolution.doubled(x)
        batch, _, height, width = x.shape
        y = self.convolution(x).unflatten(1, (4, -1))  # (B, 4, K, H + 1, W + 1)
        out = y.new_empty(batch, 2 * height, 2 * width, y.shape[2]).permute(0, 3, 1, 2)  # channels last
        for index, (a, b) in enumerate(((0, 1), (0, 0), (1, 1), (1, 0))):
            torch.clamp_min(y[:, index, :, a : a + height, b : b + width], 0, out=out[:, :, a::2, b::2])
        return out


class _Residual(nn.Module):
    """A ResBlock; the sum is carried in the type of what comes in."""

    scale: Tensor
    shift: Tensor

    def __init__(self, block: ResBlock, dtype: torch.dtype, tiles: bool) -> None:
        super().__init__()
        sums = torch.promote_types(dtype, torch.float32)
        scale, shift = (x.to(sums) for x in _scale_and_shift(block.norm1))
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)
        first, second = _absorbed(block.conv1, block.norm2), _parts(block.conv2)[:2]
        self.conv1, self.conv2 = (
            Tiled(*layer, dtype) if tiles else Convolution(*layer, 1, dtype) for layer in (first, second)
        )

    def forward(self, x: Tensor) -> Tensor:
        # Warped features come plane by plane; the convolutions would turn them round in every block.
        x = x.contiguous(memory_format=torch.channels_last)
        if isinstance(self.conv1, Tiled):
            return self.conv2(self.conv1(x, before=(self.scale, self.shift)), rest=x)
        hidden = torch.addcmul(self.shift[:, None, None], x, self.scale[:, None, None]).relu_()
        return x + self.conv2(self.conv1(hidden).relu_()).to(x.dtype)


class _Generator(Generator):
    """It moves features in one pass over them, and gives them as tiles want them: channels last."""

    def move(self, features: Tensor, motion: Motion) -> Tensor:
        height, width = size = features.shape[-2:]
        grid = resize(motion.deformation.permute(0, 3, 1, 2).contiguous(), size).permute(0, 2, 3, 1)
        places = in_pixels(grid, height, width, align_corners=self.align_corners).permute(0, 3, 1, 2).contiguous()
        seen = torch.ones_like(places[:, 0]) if motion.occlusion is None else resize(motion.occlusion, size)[:, 0]
        moved = features.new_empty(len(places), height, width, features.shape[1])
        source = channels_last(features).expand(len(places), -1, -1, -1)
        for arrays in zip(source, places, seen, moved, strict=True):
            warp_dimmed(*map(array, arrays))
        return moved.permute(0, 3, 1, 2)


class _Cast(nn.Module):
    """To a floating type and channels last; else each layer that the picture passes to would do it for itself."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        return x.to(self.dtype, memory_format=torch.channels_last)


class _DenseMotion(DenseMotion):
    """Its `mask` gives the occlusion's logits as well, after its own."""

    def heads(self, features: Tensor) -> tuple[Tensor, Tensor]:
        both = self.mask(features)
        return both[:, :-1], both[:, -1:]
