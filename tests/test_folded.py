"""The rewritten networks against the ones that they were made from."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fill import fill_model
from torch import nn

from fomm.animator import convolution, folded, kernels, tiles
from fomm.animator.convolution import Convolution, Products
from fomm.animator.folded import fold
from fomm.animator.tiles import Tiled, tile_matrices
from fomm.model import FOMM, DenseMotionConfig, DetectorConfig, GeneratorConfig, ModelConfig
from fomm.model.blocks import ConvBlock, DownBlock, ResBlock, UpBlock
from fomm.model.dense_motion import Motion


def small_model(*, estimate_occlusion: bool = True, align_corners: bool = True, **generator: object) -> FOMM:
    sizes = {"block_expansion": 8, "max_features": 32, "num_down_blocks": 2, "num_bottleneck_blocks": 2}
    config = ModelConfig(
        num_keypoints=5,
        detector=DetectorConfig(block_expansion=8, max_features=32, num_blocks=3, scale_factor=0.5),
        dense_motion=DenseMotionConfig(
            block_expansion=8, max_features=32, num_blocks=3, scale_factor=0.5, estimate_occlusion=estimate_occlusion
        ),
        generator=GeneratorConfig(**{**sizes, **generator}),
        align_corners=align_corners,
    )
    return fill_model(FOMM.from_config(config)).eval()


def noisy(module: nn.Module, seed: int = 0) -> nn.Module:
    """Batch norm statistics and weights that a mistake in folding them could not survive."""
    generator = torch.Generator().manual_seed(seed)
    for norm in (m for m in module.modules() if isinstance(m, nn.BatchNorm2d)):
        for tensor, low in ((norm.running_mean, -1), (norm.running_var, 0.3), (norm.weight, -1.5), (norm.bias, -1)):
            tensor.data.uniform_(low, 2, generator=generator)
    return module.eval().double()


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles also where it would not pay."""
    monkeypatch.setattr(folded, "MANY_CHANNELS", 1)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("size", [(24, 40), (17, 9), (6, 5), (1, 2)])
@pytest.mark.parametrize("tiles", [False, True])
@pytest.mark.parametrize("block", [ConvBlock, DownBlock, UpBlock, ResBlock])
def test_each_block_alone(block: type[nn.Module], tiles: bool, size: tuple[int, int]) -> None:
    """In float64 nothing is lost to rounding, at sizes that whole tiles cover and that they do not."""
    torch.manual_seed(0)
    if block is DownBlock and min(size) < 2:
        pytest.skip("nothing to halve")
    original = noisy(block(5) if block is ResBlock else block(5, 7))
    x = torch.randn(2, 5, *size, dtype=torch.float64)
    with torch.inference_mode():
        rewritten = folded.folded(original, torch.float64, tiles)
        torch.testing.assert_close(rewritten(x), original(x), atol=1e-11, rtol=1e-9)
    assert tiles == any(isinstance(module, Tiled) for module in rewritten.modules())


@pytest.fixture(params=["packed", "plain"])
def packing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Weights in oneDNN's order, as on x86, and as PyTorch has them, as elsewhere."""
    if request.param == "packed" and not convolution.packs(torch.float32):
        pytest.skip("oneDNN packs no weights here")
    if request.param == "plain":
        monkeypatch.setattr(convolution, "packs", lambda dtype: False)
    return request.param


@pytest.mark.parametrize("stride, padding", [(1, 1), (1, 0), (2, 1)])
def test_packed_weights_serve_pictures_of_any_size_and_number(packing: str, stride: int, padding: int) -> None:
    torch.manual_seed(0)
    weight, bias = torch.randn(24, 20, 3, 3), torch.randn(24)
    layer = Convolution(weight, bias, padding, torch.float32, stride=stride)
    for shape in ((1, 20, 8, 8), (3, 20, 31, 17), (1, 20, 3, 3)):
        x = torch.randn(shape)
        expected = F.conv2d(x, weight, bias, stride, padding)
        torch.testing.assert_close(layer(x), expected, atol=1e-4, rtol=1e-5)
        turned = x.contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(layer(turned), expected, atol=1e-4, rtol=1e-5)
    assert (layer.weight.layout == torch.strided) == (packing == "plain")


def test_lanes_may_pack_the_same_weights_at_once(packing: str) -> None:
    torch.manual_seed(0)
    weight, bias, x = torch.randn(64, 64, 3, 3), torch.randn(64), torch.randn(1, 64, 8, 8)
    expected = F.conv2d(x, weight, bias, padding=1)
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            layer = Convolution(weight, bias, 1, torch.float32)
            for result in pool.map(layer, [x] * 8):
                torch.testing.assert_close(result, expected, atol=1e-4, rtol=1e-5)


def test_one_matrix_for_each_value(packing: str) -> None:
    torch.manual_seed(0)
    matrices, x = torch.randn(5, 24, 16), torch.randn(7, 5, 16)
    made = Products(matrices, torch.float32)(x)
    torch.testing.assert_close(made, torch.einsum("mnc,nkc->mnk", x, matrices), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("part", [1, 6, 10**6])
@pytest.mark.parametrize("size", [(23, 11), (18, 7), (1, 1)])
def test_some_tiles_at_a_time(part: int, size: tuple[int, int], packing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "PART", part)
    generator = torch.Generator().manual_seed(0)
    weight, bias, x, rest, scale, shift = (
        torch.randn(shape, generator=generator)
        for shape in ((6, 4, 3, 3), (6,), (2, 4, *size), (2, 6, *size), (4,), (4,))
    )
    layer = Tiled(weight, bias, torch.float32)
    made = F.conv2d(x, weight, bias, padding=1)
    torch.testing.assert_close(layer(x), made.relu(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(layer(x, rest=rest), made + rest, atol=1e-4, rtol=1e-4)
    before = (x * scale[:, None, None] + shift[:, None, None]).relu()
    made = F.conv2d(before, weight, bias, padding=1)
    torch.testing.assert_close(layer(x, before=(scale, shift)), made.relu(), atol=1e-4, rtol=1e-4)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("part", [1, 6, 10**6])
def test_doubling_some_tiles_at_a_time(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "PART", part)
    original = noisy(UpBlock(5, 7))
    x = torch.randn(2, 5, 23, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        made = folded.folded(original, torch.float64, True)(x)
        torch.testing.assert_close(made, original(x), atol=1e-12, rtol=1e-5)


def test_bfloat16_is_rounded_as_pytorch_rounds_it() -> None:
    """To the nearest, ties to even: an identity kernel on values of which many lie between two that it has."""
    identity = torch.zeros(1, 1, 3, 3)
    identity[0, 0, 1, 1] = 1
    x = (1 + torch.arange(64 * 4) / 2**9).view(1, 1, 16, 16)  # bfloat16 has eight bits: every fourth is one of its own
    nothing = torch.zeros_like(x)
    values = torch.empty(16, 36, 1, dtype=torch.bfloat16)
    exact = torch.empty(16, 36, 1)
    none = np.empty(0, np.float32)
    for out in (values, exact):
        picture = tiles.channels_last(x)[0].numpy()
        kernels.take_apart(picture, 4, 0, none, none, kernels.constants(np.float32), tiles.array(out))
    assert torch.equal(values, exact.bfloat16()) and not torch.equal(values.float(), exact)
    # and read back without loss
    layer = Tiled(identity, torch.zeros(1), torch.bfloat16)
    assert layer(x, rest=nothing).dtype == torch.float32 and layer(x).dtype == torch.bfloat16
    torch.testing.assert_close(layer(x, rest=nothing), x, atol=0.05, rtol=0)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("occluded", [True, False])
def test_features_move_as_the_model_moves_them(align_corners: bool, occluded: bool) -> None:
    """Within the picture, over its borders and far outside, with a motion of another size."""
    model = small_model(align_corners=align_corners)
    assert model.generator.align_corners == align_corners
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, 32, 16, 24, generator=generator)
    deformation = 2.5 * (torch.rand(3, 9, 11, 2, generator=generator) - 0.5)
    deformation[1, :4] += 5
    occlusion = torch.rand(3, 1, 9, 11, generator=generator) if occluded else None
    mask = torch.zeros(3, 6, 9, 11)
    motion = Motion(deformation, occlusion, mask, mask)
    moved = fold(model, tiles=True).generator.move(features, motion)
    expected = model.generator.move(features.expand(3, -1, -1, -1), motion)
    assert moved.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(moved, expected, atol=1e-5, rtol=1e-5)


def test_kernels_compile_where_nothing_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """numba refuses to cache where it finds no folder that it may write to."""

    def strict(*, cache: bool, **options: object) -> object:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(**options)

    njit = kernels.njit
    monkeypatch.setattr(kernels, "njit", strict)
    assert kernels.compiled(lambda x: x + 1)(2) == 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tiles", [True, False])
def test_a_residual_block_turns_features_to_channels_last_once(dtype: torch.dtype, tiles: bool) -> None:
    """Whatever way they come in; so the next block has nothing to turn."""
    block = folded.folded(ResBlock(8).eval(), dtype, tiles)
    planes = torch.randn(2, 8, 13, 10, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        results = [block(planes), block(planes.contiguous(memory_format=torch.channels_last))]
    assert all(result.is_contiguous(memory_format=torch.channels_last) for result in results)
    torch.testing.assert_close(*results, atol=0, rtol=0)


def test_doubling_then_3x3_is_four_2x2_kernels_by_hand() -> None:
    block = UpBlock(1, 1)
    block.norm.eps = 0.0
    block.conv.weight.data = torch.arange(1.0, 10).view(1, 1, 3, 3)
    block.conv.bias.data.zero_()
    x = torch.tensor([[[[1.0, 10.0]]]])
    result = folded.folded(block.eval())(x)[0, 0]
    # Doubled: two rows of (1, 1, 10, 10). Top left: (5 + 6 + 8 + 9) * 1; the pixel right of it: 4 + 5 + 7 + 8 times 1
    # and 6 + 9 times 10.
    assert result.shape == (2, 4)
    assert result[0, 0].item() == pytest.approx(28) and result[0, 1].item() == pytest.approx(24 + 150)


@pytest.mark.parametrize("kernel", [2, 3])
def test_tile_matrices_multiply_polynomials(kernel: int) -> None:
    to_pixels, from_kernel, to_values = tile_matrices(kernel)
    made = 7 - kernel
    assert (to_pixels.shape, from_kernel.shape, to_values.shape) == ((made, 6), (6, kernel), (6, 6))
    rng = np.random.default_rng(0)
    tile, weights = rng.standard_normal(6), rng.standard_normal(kernel)
    expected = np.correlate(tile, weights, "valid")
    np.testing.assert_allclose(to_pixels @ ((from_kernel @ weights) * (to_values @ tile)), expected, atol=1e-12)


@pytest.mark.parametrize("pixels", [(8, 8), (3, 5), (40, 40)])
def test_layers_with_many_weights(pixels: tuple[int, int], packing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution, "MANY_WEIGHTS", 10)
    torch.manual_seed(0)
    weight, bias, x = torch.randn(6, 4, 3, 3), torch.randn(6), torch.randn(2, 4, *pixels)
    for padding in (0, 1):
        layer = Convolution(weight, bias, padding, torch.float32)
        torch.testing.assert_close(layer(x), F.conv2d(x, weight, bias, padding=padding), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("outputs, width, padding", [(3, 32, 3), (4, 30, 3), (1, 5, 3), (4, 30, 0), (4, 14, 0)])
def test_narrow_layers(outputs: int, width: int, padding: int) -> None:
    torch.manual_seed(0)
    conv, x = nn.Conv2d(18, outputs, 7, padding=padding), torch.randn(2, 18, 9, width)
    with torch.inference_mode():
        layer = folded.folded(conv)
        assert type(layer).__name__ == "_Narrow"
        torch.testing.assert_close(layer(x), conv(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("channels", [4, 6, 8, 12, 16, 24, 32, 64])
def test_narrow_layers_in_half_precision(channels: int) -> None:
    """oneDNN's matrix code has sizes of which it makes something else."""
    torch.manual_seed(0)
    conv, x = nn.Conv2d(channels, 3, 7, padding=3), torch.randn(1, channels, 32, 48)
    with torch.inference_mode():
        exact, half = conv(x), folded.folded(conv, torch.bfloat16)(x).float()
    assert (half - exact).abs().max() < 0.02 * exact.abs().max()


@pytest.mark.parametrize("tiles", [False, True])
@pytest.mark.parametrize(
    "options",
    [{}, {"blend_source": True}, {"num_down_blocks": 1, "num_bottleneck_blocks": 0}, {"estimate_occlusion": False}],
)
def test_the_whole_model(options: dict, tiles: bool, packing: str) -> None:
    model = small_model(**options)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    torch.manual_seed(0)
    source, driving = torch.rand(2, 3, 64, 96), torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        twin = fold(model, tiles=tiles)
        ours, theirs = twin(source, driving), model(source, driving)
        torch.testing.assert_close(ours.prediction, theirs.prediction, atol=1e-4, rtol=0)  # noise as picture: steep
        torch.testing.assert_close(ours.motion, theirs.motion, atol=1e-4, rtol=0)
        torch.testing.assert_close(ours.driving_keypoints, theirs.driving_keypoints, atol=1e-5, rtol=0)
        half = fold(model, torch.bfloat16, tiles=tiles)(source, driving)
    torch.testing.assert_close(half.driving_keypoints, theirs.driving_keypoints, atol=1e-5, rtol=0)
    assert half.prediction.dtype == torch.float32
    noise = (half.prediction - theirs.prediction).square().mean().item()
    assert 0 < noise < 10**-4  # 40 dB: small networks have few channels for rounding to average out over
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


def test_the_copy_stands_alone() -> None:
    """Hooks and modes of the one are not those of the other."""
    model = small_model()
    calls: list[int] = []
    twin = fold(model, tiles=True)
    twin.dense_motion.down.register_forward_hook(lambda *_: calls.append(1))
    with torch.inference_mode():
        model(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64))
    model.train()
    assert calls == [] and not any(module.training for module in twin.modules())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in twin.modules())
