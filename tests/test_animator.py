"""The animator against golden numbers, against the original's scheme written out, and as a stream."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from fill import fill_model
from small_models import small_model

from fomm.animator import AnimationSettings, Animator, choose_device
from fomm.animator import animator as animator_module
from fomm.animator.animator import BATCH_SIZES
from fomm.animator.device import processor_units, tf32
from fomm.errors import InputError
from fomm.model import FOMM, ModelConfig

MODES = {
    "relative_adapt": AnimationSettings(relative=True, adapt_scale=True),
    "absolute": AnimationSettings(relative=False, adapt_scale=True),
    "relative_noadapt": AnimationSettings(relative=True, adapt_scale=False),
}


def clip(count: int, size: int = 64, seed: int = 0) -> list[np.ndarray]:
    """Smooth random pictures that differ from each other."""
    noise = np.random.default_rng(seed).random((count, 3, 8, 8), dtype=np.float32)
    frames = torch.nn.functional.interpolate(torch.from_numpy(noise), size=(size, size), mode="bicubic")
    return list((frames.clamp(0, 1) * 255).byte().permute(0, 2, 3, 1).numpy())


@pytest.fixture(scope="module")
def animator() -> Animator:
    return Animator(small_model(), device="cpu", precision="fp32", batch_size=4)


@pytest.fixture(scope="module")
def released_size() -> Animator:
    return Animator(fill_model(FOMM.from_config(ModelConfig())), device="cpu", precision="fp32", batch_size=3)


@pytest.mark.parametrize("mode", MODES)
def test_animation_is_the_originals(released_size: Animator, golden: Path, mode: str) -> None:
    expected = np.load(golden / "make_animation_ac1.npz")
    chosen = list(range(6)) if mode == "relative_adapt" else [0, 5]  # 256x256 frames take their time on a CPU
    outputs = list(released_size.outputs(expected["source"], expected["driving"][chosen], MODES[mode]))
    prediction = torch.cat([o.prediction for o in outputs]).permute(0, 2, 3, 1).numpy()
    step = 8 if mode == "relative_noadapt" else 4  # how the golden array was thinned out
    np.testing.assert_allclose(prediction[:, ::step, ::step], expected[f"{mode}_predictions"][chosen], atol=1e-4)
    means = expected[f"{mode}_prediction_mean_per_frame"][chosen]
    np.testing.assert_allclose(prediction.mean((1, 2)), means, atol=1e-5)
    for name, index in (("value", 0), ("jacobian", 1)):
        keypoints = torch.cat([o.driving_keypoints[index] for o in outputs])
        np.testing.assert_allclose(keypoints, expected[f"{mode}_kp_norm_{name}"][chosen], atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_one_pass_is_the_originals_forward_and_backward_play(animator: Animator, mode: str) -> None:
    source, driving, best = clip(1, seed=1)[0], clip(9), 3
    one_pass = list(animator.animate(source, iter(driving), MODES[mode], initial=driving[best]))
    forward = list(animator.animate(source, driving[best:], MODES[mode]))
    backward = list(animator.animate(source, driving[best::-1], MODES[mode]))
    both = np.int16(backward[::-1] + forward[1:])  # the frames stand in other batches: the last bit may differ
    assert np.abs(one_pass - both).max() <= 1 and np.abs(one_pass - both).mean() < 1e-3
    from_first = list(animator.animate(source, driving, MODES[mode]))
    assert (mode == "absolute") == np.array_equal(from_first, one_pass)


def test_batch_size_does_not_change_the_result(animator: Animator) -> None:
    source, driving = clip(1, seed=1)[0], clip(7)
    results = [
        list(Animator(animator.model, device="cpu", precision="fp32", batch_size=n).animate(source, driving))
        for n in (1, 3, 7, 50)
    ]
    assert [len(r) for r in results] == [7] * 4
    for other in results[1:]:
        assert np.abs(np.int16(results[0]) - np.int16(other)).max() <= 1  # a value on the edge may round either way


def test_pictures_are_the_rounded_prediction(animator: Animator) -> None:
    source, driving = clip(1, seed=1)[0], clip(2)
    exact = next(animator.outputs(source, driving)).prediction.permute(0, 2, 3, 1).numpy() * 255
    pictures = np.stack(list(animator.animate(source, driving)))
    assert pictures.dtype == np.uint8 and pictures.shape == (2, 64, 64, 3)
    assert np.abs(pictures - exact).max() <= 0.5 + 1e-4


def test_absolute_motion_is_the_models_own_forward_pass(animator: Animator) -> None:
    source, driving = clip(1, seed=1)[0], clip(2)
    prediction = next(animator.outputs(source, driving, AnimationSettings(relative=False))).prediction
    tensors = [torch.from_numpy(np.stack(x)).permute(0, 3, 1, 2).float() / 255 for x in ([source] * 2, driving)]
    with torch.inference_mode():
        expected = animator.model(*tensors).prediction
    torch.testing.assert_close(prediction, expected, atol=1e-5, rtol=0)


def test_the_source_as_driving_means_no_motion(animator: Animator) -> None:
    """Absolute motion to itself and relative motion from equal frames both leave the source's own keypoints."""
    source, still = clip(2, seed=1)
    for driving, options in ((source, AnimationSettings(relative=False)), (still, AnimationSettings(relative=True))):
        output = next(animator.outputs(source, [driving] * 3, options))
        for moved, own in zip(output.driving_keypoints, output.source_keypoints, strict=True):
            torch.testing.assert_close(moved, own.expand_as(moved), atol=1e-5, rtol=0)


def test_reconstruction_error_is_that_of_no_motion(animator: Animator) -> None:
    source = clip(1, seed=1)[0]
    still = (
        next(animator.outputs(source, [source], AnimationSettings(relative=False)))
        .prediction[0]
        .permute(1, 2, 0)
        .numpy()
    )
    assert animator.reconstruction_error(source) == pytest.approx(np.abs(still - source / 255).mean(), abs=1e-5)


def test_the_source_is_encoded_once(animator: Animator) -> None:
    calls = {"source features": 0, "shrunk source": 0, "driving": 0}

    def count(what: str, batch: int = 0) -> None:
        calls[what] += batch or 1

    model = animator.networks
    hooks = [
        model.generator.first.register_forward_hook(lambda *_: count("source features")),
        model.dense_motion.down.register_forward_hook(lambda *_: count("shrunk source")),
        model.detector.register_forward_hook(lambda _, args, __: count("driving", len(args[0]))),
    ]
    source = clip(1, seed=7)[0]  # of no other test
    list(animator.animate(source, clip(11)))
    list(animator.animate(source.copy(), []))  # the same picture
    for hook in hooks:
        hook.remove()
    assert calls == {"source features": 1, "shrunk source": 1, "driving": 11 + 2}  # + source + initial frame
    encoded = animator.encode(clip(1)[0])
    again = list(animator.animate(encoded, clip(3)))
    np.testing.assert_array_equal(again, list(animator.animate(clip(1)[0], clip(3))))


@pytest.fixture(params=[1, 2])
def lanes(request: pytest.FixtureRequest) -> Iterator[int]:
    """As many cores for PyTorch, so as many frames side by side."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_frames_side_by_side_are_the_same_frames(animator: Animator, lanes: int) -> None:
    source, driving = clip(1)[0], clip(9)
    follow = animator.follower(source, driving[0])
    expected = [follow([frame]).prediction for frame in driving]
    animator = Animator(animator.model, device="cpu", precision=animator.precision, batch_size=1)
    predictions = [output.prediction for output in animator.outputs(source, driving)]
    assert len(predictions) == 9
    for prediction, alone in zip(predictions, expected, strict=True):
        torch.testing.assert_close(prediction, alone, atol=4e-6, rtol=0)  # two threads split the sums of one frame
    assert torch.get_num_threads() == lanes


def test_it_reads_no_further_than_it_must(animator: Animator, lanes: int) -> None:
    read = 0

    def frames() -> Iterator[np.ndarray]:
        nonlocal read
        for frame in clip(40):
            read += 1
            yield frame

    stream = animator.animate(clip(1)[0], frames())
    assert read == 0
    for produced in range(1, 41):
        next(stream)
        assert read <= (-(-produced // animator.batch_size) + lanes - 1) * animator.batch_size


def test_memory_does_not_grow_with_the_number_of_frames(animator: Animator) -> None:
    source, few = clip(1)[0], clip(4)

    def peak(count: int) -> int:
        tracemalloc.start()
        for _ in animator.animate(source, (few[i % 4].copy() for i in range(count))):
            pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(8)
    assert peak(120) < peak(20) + 5 * source.nbytes


def test_half_precision_stays_close_and_leaves_keypoints_alone(animator: Animator) -> None:
    source, driving = clip(1, seed=1)[0], clip(2)
    half = next(Animator(animator.model, device="cpu", precision="bf16").outputs(source, driving[:1]))
    full = next(animator.outputs(source, driving[:1]))
    torch.testing.assert_close(half.driving_keypoints, full.driving_keypoints, atol=1e-5, rtol=0)
    assert half.prediction.dtype == torch.float32
    assert 0 < (half.prediction - full.prediction).abs().mean() < 0.02


@pytest.mark.parametrize(
    "broken", ["detector.kp.weight", "detector.jacobian.bias", "generator.final.bias", "generator.first.conv.weight"]
)
def test_broken_weights_are_reported(broken: str) -> None:
    model = small_model()
    with torch.no_grad():
        model.get_parameter(broken).view(-1)[0] = float("nan")
    with pytest.raises(InputError, match="NaN.*checkpoint"):
        list(Animator(model, device="cpu").animate(clip(1)[0], clip(2)))


def test_an_empty_stream_gives_an_empty_stream(animator: Animator) -> None:
    assert list(animator.animate(clip(1)[0], [])) == []


def test_sizes_that_do_not_fit_are_refused(animator: Animator) -> None:
    with pytest.raises(ValueError, match="100x100.*multiple of 16"):
        animator.encode(clip(1, size=100)[0])


@pytest.mark.parametrize(
    "options, says",
    [
        (dict(device="tpu"), "tpu.*cpu, cuda, mps"),
        (dict(device="cpu:1"), "cpu:1.*unknown"),
        (dict(precision="int8"), "int8.*fp32, bf16, fp16"),
        (dict(precision="fp16", device="cpu"), "fp16.*CPU.*bf16"),
        (dict(batch_size=0), "batch_size is 0.*1 or more"),
    ],
)
def test_bad_options(animator: Animator, options: dict, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Animator(animator.model, **options)


def test_it_says_which_device_it_uses(animator: Animator) -> None:
    assert str(animator) == "cpu, fp32, batches of 4"
    assert str(Animator(animator.model, device="cpu", precision="bf16")) == "cpu, bf16, batches of 1"
    chosen = Animator(animator.model)
    assert chosen.device.type in BATCH_SIZES and str(chosen).startswith(chosen.device.type)


@pytest.mark.parametrize("units, precision", [({"avx512_bf16"}, "bf16"), ({"amx_bf16"}, "bf16"), (set(), "fp32")])
def test_the_default_on_a_cpu_is_what_it_multiplies_fast(
    animator: Animator, monkeypatch: pytest.MonkeyPatch, units: set[str], precision: str
) -> None:
    """Forced both ways: the default computes exactly what the precision that it names computes."""
    monkeypatch.setattr(animator_module, "processor_units", lambda: units)
    chosen, named = Animator(animator.model, device="cpu"), Animator(animator.model, device="cpu", precision=precision)
    assert chosen.precision == precision and f"cpu, {precision}" in str(chosen)
    assert ("--precision fp32 is exact" in str(chosen)) == (precision == "bf16")
    source, driving = clip(1, seed=1)[0], clip(2)
    results = [list(a.animate(source, driving)) for a in (chosen, named)]
    np.testing.assert_array_equal(*results)
    exact = np.stack(list(Animator(animator.model, device="cpu", precision="fp32").animate(source, driving)))
    assert np.array_equal(results[0], exact) == (precision == "fp32")
    noise = np.square(np.float64(results[0]) - exact).mean()
    assert noise < 255**2 / 10**4.5  # 45 dB


def test_processor_units(tmp_path: Path) -> None:
    listing = tmp_path / "cpuinfo"
    listing.write_text("processor\t: 0\nflags\t\t: fpu sse2 avx512_bf16 amx_tile amx_bf16 amx_int8\n")
    assert processor_units(listing) == {"avx512_bf16", "amx_bf16"}
    listing.write_text("processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\n")
    assert processor_units(listing) == {"bf16"}
    listing.write_text("flags : fpu avx2 fma\n")
    assert processor_units(listing) == set() == processor_units(tmp_path / "macOS has none")


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without CUDA")
def test_missing_device() -> None:
    with pytest.raises(InputError, match="cuda.*not available.*--device cpu"):
        choose_device("cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("precision, tolerance", [("fp32", 1e-4), ("auto", 5e-3), ("fp16", 2e-2), ("bf16", 1e-1)])
def test_cuda_agrees_with_the_original(golden: Path, precision: str, tolerance: float) -> None:
    expected = np.load(golden / "make_animation_ac1.npz")
    animator = Animator(fill_model(FOMM.from_config(ModelConfig())), device="cuda", precision=precision)
    output = next(animator.outputs(expected["source"], expected["driving"]))
    prediction = output.prediction.permute(0, 2, 3, 1)[:, ::4, ::4].cpu().numpy()
    np.testing.assert_allclose(prediction, expected["relative_adapt_predictions"], atol=tolerance)
    points = output.driving_keypoints.points.cpu()
    np.testing.assert_allclose(points, expected["relative_adapt_kp_norm_value"], atol=1e-5)


def test_tf32_is_switched_and_nothing_else() -> None:
    cudnn = torch.backends.cudnn

    def state() -> tuple[bool, ...]:
        return cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32

    before = state()
    try:
        cudnn.deterministic = True
        for allowed in (False, True):
            with tf32(allowed):
                assert state() == (before[0], before[1], True, allowed)
            assert state() == (before[0], before[1], True, before[3])
    finally:
        cudnn.deterministic = before[2]
