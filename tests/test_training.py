"""The production training step against the original's golden steps, resuming, several processes, and faults."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_training import LOSS_NAMES, Record, run_steps, vgg19_file

from fomm.errors import InputError
from fomm.training.module import Deformation, LearningRates

pytestmark = pytest.mark.timeout(1800)  # 60 million parameters in float64

# ---- the same mathematics -----------------------------------------------------------------------------------------

CHECKSUMS = "checksums_after_step [sum, abs_sum, count]"
# Relative, per step: losses, gradient norms; absolute: sums of all parameters of a network.
FLOAT64 = {"losses": (1e-8, 1e-6), "norms": (1e-7, 1e-5), "sums": 1e-5}


def golden_norm(step: dict, part: str) -> float:
    """Gradient norm of `network/module` or `network/total`."""
    net, module = part.split("/")
    norms = step["grad_norm"][net]
    return norms["total"] if module == "total" else norms["modules"][module]


def check_float64(record: Record, steps: list[dict], golden: Path, name: str) -> None:
    for index, (losses, norms) in enumerate(zip(record.losses, record.norms, strict=True)):
        expected = steps[index]
        assert {LOSS_NAMES[n] for n in losses} == set(expected["losses"])
        for loss, value in losses.items():
            assert value == pytest.approx(expected["losses"][LOSS_NAMES[loss]], rel=FLOAT64["losses"][index]), loss
        for part, value in norms.items():
            assert value == pytest.approx(golden_norm(expected, part), rel=FLOAT64["norms"][index]), part
        checksums = expected[CHECKSUMS]
        for net, value in record.sums[index].items():
            if net in checksums:
                wanted = checksums[net]["parameters_without_free_biases"][0]
                assert value == pytest.approx(wanted, abs=FLOAT64["sums"]), net
        for part, value in record.buffers[index].items():
            net, kind = part.split("/")
            assert value == pytest.approx(checksums[net][f"buffers {kind}"][0], rel=1e-6), part
    assert all(part in record.norms[0] for part in ("generator/final", "kp_detector/jacobian"))
    compare_first_step(record, golden, name)


def compare_first_step(record: Record, golden: Path, name: str) -> None:
    """Outputs and gradients, element by element (stored in float32, some with a stride)."""
    arrays = np.load(golden / "train_ac1.npz")
    compared = 0
    for key in (k.removeprefix(f"{name}/") for k in arrays.files if k.startswith(f"{name}/")):
        wanted = arrays[f"{name}/{key}"]
        if key in record.outputs:
            value = record.outputs[key].numpy()
            stride = value.shape[-1] // wanted.shape[-1]
            value = value[..., ::stride, ::stride] if value.ndim == 4 and "jacobian" not in key else value
        elif key.startswith("grad_"):
            grads = {k: g for k, g in record.gradients.items() if f"grad_{k}".removesuffix("_orig").startswith(key)}
            value = next((g for k, g in grads.items() if ".bias" not in k or key.endswith("bias")), None)
            value = value.numpy()
            value = value[:, ::4] if key.endswith("kp.weight") else value
        else:
            continue
        scale = max(1.0, np.abs(wanted).max())
        np.testing.assert_allclose(value, wanted, rtol=0, atol=2e-6 * scale, err_msg=key)
        compared += 1
    assert compared >= 3


@pytest.fixture(scope="module")
def vgg19(tmp_path_factory) -> Path:
    """VGG-19 with the golden weights, as a file like torchvision's."""
    return vgg19_file(tmp_path_factory.mktemp("vgg19"))


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("vox-adv-256", 2),
        ("bair-256", 2),  # spectral normalisation: the order in which the discriminator sees frames counts
        pytest.param("vox-256", 2, marks=pytest.mark.slow),
    ],
)
def test_the_original_s_steps(golden, tmp_path, vgg19, name, count):
    record, steps = run_steps(name, "64-true", golden, tmp_path, vgg19, steps=count)
    check_float64(record, steps, golden, name)


# Float32 gradients of the original are themselves reproducible to a few per cent only, and the first Adam step is close
# to a sign step: in step 2 its own float32 and float64 norms differ by up to 121 % (vox-256, mask), so there a norm
# may lie anywhere between them, and on processors with matrix units up to 44 % beyond (vox-adv-256, mask). The golden
# numbers come from two threads; another number sums in another order. What has to agree is held in float64 above.
FLOAT32 = {"losses": (3e-4, 0.3), "norms": (0.15, 0.6), "discriminator norm": (2e-3, 0.3)}
FLOAT32_SUMS = {"generator": 5.0, "kp_detector": 5.0, "discriminator": 6e-2}  # absolute, after the first step


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vox-adv-256", "vox-256", "bair-256"])
def test_float32_stays_near_the_original(golden, tmp_path, vgg19, name, two_threads):
    record, steps = run_steps(name, "32-true", golden, tmp_path, vgg19, steps=2)
    exact = json.loads((golden / "train_losses_ac1.json").read_text())[name]["float64"]["steps"]
    for index, (losses, norms) in enumerate(zip(record.losses, record.norms, strict=True)):
        for loss, value in losses.items():
            assert value == pytest.approx(steps[index]["losses"][LOSS_NAMES[loss]], rel=FLOAT32["losses"][index]), loss
        for part, value in norms.items():
            wanted, precise = golden_norm(steps[index], part), golden_norm(exact[index], part)
            rel = FLOAT32["discriminator norm" if part == "discriminator/total" else "norms"][index]
            low, high = sorted((wanted, precise)) if index else (wanted, wanted)
            assert (1 - rel) * low <= value <= (1 + rel) * high, (index, part)
    for net, value in record.sums[0].items():
        wanted = steps[0][CHECKSUMS][net]["parameters_without_free_biases"][0]
        assert value == pytest.approx(wanted, abs=FLOAT32_SUMS[net]), net


def test_impossible_rates_are_refused():
    with pytest.raises(InputError, match="model.learning_rates.generator -1"):
        LearningRates(generator=-1)
    with pytest.raises(InputError, match="model.deformation.points 1"):
        Deformation(points=1)


def test_learning_rates_fall_at_milestones_and_along_a_cosine():
    rates = LearningRates(milestones=(60, 90))
    assert [rates.factor(step=0, epoch=e) for e in (0, 59, 60, 89, 90)] == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    rates = LearningRates(warmup_steps=10, cosine_steps=100)
    assert rates.factor(step=0, epoch=0) == pytest.approx(0.1)
    assert rates.factor(step=50, epoch=0) == pytest.approx(0.5)
    assert rates.factor(step=200, epoch=7) == 0
    assert torch.tensor(rates.factor(step=9, epoch=0)) < 1
