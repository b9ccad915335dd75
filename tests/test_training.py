"""The production training step against the original's golden steps, resuming, several processes, and faults."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_training import LOSS_NAMES, Record, run_steps

from fomm.errors import InputError
from fomm.training import Deformation, LearningRates

pytestmark = pytest.mark.timeout(1800)  # 60 million parameters in float64

# ---- the same mathematics -----------------------------------------------------------------------------------------

CHECKSUMS = "checksums_after_step [sum, abs_sum, count]"
# Relative, per step: losses, gradient norms; absolute: sums of all parameters of a network.
FLOAT64 = {"losses": (1e-8, 1e-6), "norms": (1e-7, 1e-5), "sums": 1e-5}


def check_float64(record: Record, steps: list[dict], golden: Path, name: str) -> None:
    for index, (losses, norms) in enumerate(zip(record.losses, record.norms, strict=True)):
        expected = steps[index]
        assert {LOSS_NAMES[n] for n in losses} == set(expected["losses"])
        for loss, value in losses.items():
            assert value == pytest.approx(expected["losses"][LOSS_NAMES[loss]], rel=FLOAT64["losses"][index]), loss
        for part, value in norms.items():
            net, module = part.split("/")
            wanted = expected["grad_norm"][net]
            wanted = wanted["total"] if module == "total" else wanted["modules"][module]
            assert value == pytest.approx(wanted, rel=FLOAT64["norms"][index]), part
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


def test_vox_adv_takes_the_original_two_steps(golden, tmp_path):
    record, steps = run_steps("vox-adv-256", "64-true", golden, tmp_path, steps=2)
    check_float64(record, steps, golden, "vox-adv-256")


def test_bair_takes_the_original_first_step(golden, tmp_path):
    """Spectral normalisation: the order in which the discriminator sees frames counts."""
    record, steps = run_steps("bair-256", "64-true", golden, tmp_path, steps=1)
    check_float64(record, steps, golden, "bair-256")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vox-256", "bair-256"])
def test_the_others_take_the_original_two_steps(golden, tmp_path, name):
    record, steps = run_steps(name, "64-true", golden, tmp_path, steps=2)
    check_float64(record, steps, golden, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vox-adv-256", "vox-256", "bair-256"])
def test_float32_stays_near_the_original(golden, tmp_path, name):
    record, steps = run_steps(name, "32-true", golden, tmp_path, steps=2)
    for index, (losses, norms) in enumerate(zip(record.losses, record.norms, strict=True)):
        for loss, value in losses.items():
            rel = 3e-4 if index == 0 else 0.3
            assert value == pytest.approx(steps[index]["losses"][LOSS_NAMES[loss]], rel=rel), loss
        for part, value in norms.items():
            net, module = part.split("/")
            # After one Adam step, close to a sign step, float32 gradients are chaotic: the original's own float32 and
            # float64 norms differ by up to 67 % in step 2 (vox-256, generator).
            if module == "total" and index == 0:
                rel = 2e-3 if net == "discriminator" else 0.15
                assert value == pytest.approx(steps[index]["grad_norm"][net]["total"], rel=rel), part


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
