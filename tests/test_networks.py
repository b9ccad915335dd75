"""The networks against golden numbers of the original implementation (tests/golden/README.md says how made)."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from fill import fill_discriminator, fill_model

from fomm.model import FOMM, DenseMotionConfig, DetectorConfig, DiscriminatorConfig, GeneratorConfig, ModelConfig
from fomm.model.blocks import AntiAliasDownsample
from fomm.model.dense_motion import heatmap_difference, sparse_motions, warp_each
from fomm.model.discriminator import MultiScaleDiscriminator
from fomm.model.geometry import Keypoints, coordinate_grid, gaussian_heatmaps, warp

GOLDEN = Path(__file__).parent / "golden"
CONFIGS = json.loads((GOLDEN / "configs.json").read_text())
CASES = [*CONFIGS, "nonsquare"]


def discriminator_of(name: str) -> MultiScaleDiscriminator:
    params = CONFIGS[name]["model_params"]["discriminator_params"]
    config = DiscriminatorConfig(spectral_norm=params.get("sn", False), use_keypoints=params.get("use_kp", False))
    return config.build(ModelConfig())


@cache
def filled_model(single_jacobian_map: bool) -> FOMM:
    config = ModelConfig(detector=replace(DetectorConfig(), single_jacobian_map=single_jacobian_map))
    return fill_model(FOMM.from_config(config)).eval()


def picture(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array).permute(2, 0, 1)[None].float() / 255


def close(actual: torch.Tensor, expected: np.ndarray, atol: float, mean: float | None = None) -> None:
    difference = np.abs(actual.detach().numpy() - expected)
    assert difference.max() <= atol, f"largest difference {difference.max():.2e}, allowed {atol:.0e}"
    assert mean is None or difference.mean() <= mean


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("name", CASES)
@torch.inference_mode()
def test_forward_pass_is_the_originals(name: str, align_corners: bool) -> None:
    expected = np.load(GOLDEN / f"forward_{name}_ac{int(align_corners)}.npz")
    inputs = np.load(GOLDEN / f"forward_{name}_ac1.npz")
    source, driving = picture(inputs["source"]), picture(inputs["driving"])
    model = filled_model(name == "mgif-256")
    model.dense_motion.align_corners = model.generator.align_corners = align_corners
    out = model(source, driving)
    for side, keypoints in (("source", out.source_keypoints), ("driving", out.driving_keypoints)):
        close(keypoints.points, expected[f"kp_{side}_value"], 1e-5)
        close(keypoints.jacobians, expected[f"kp_{side}_jacobian"], 1e-5)
    step = 1 if name == "vox-adv-256" else 2  # how the golden arrays were thinned out
    close(out.motion.deformation, expected["deformation"], 5e-5)
    close(out.motion.occlusion, expected["occlusion_map"], 5e-5)
    close(out.motion.mask[..., ::step, ::step], expected["mask"], 5e-5)
    close(out.motion.sparse_deformed[..., :: 2 * step, :: 2 * step], expected["sparse_deformed"], 3e-4)
    close(model.deformed(source, out.motion)[..., ::4, ::4], expected["deformed"], 1e-3, mean=1e-5)
    step = 1 if name == "vox-adv-256" else 4
    close(out.prediction[..., ::step, ::step], expected["prediction"], 1e-4, mean=5e-6)
    if name == "vox-adv-256":
        moved = model.generator.move(model.generator.encode(source), out.motion)
        close(moved[:, ::16, ::2, ::2], expected["bottleneck_input"], 1e-3, mean=1e-5)
    if name != "nonsquare":
        judgement = fill_discriminator(discriminator_of(name)).eval()(out.prediction, out.driving_keypoints)[1]
        close(judgement.scores, expected["disc_prediction_map"], 4e-4)
        statistics = [[f.mean().item(), f.abs().mean().item()] for f in judgement.features]
        np.testing.assert_allclose(statistics, expected["disc_feature_mean_absmean"], atol=1e-4)


def test_the_two_conventions_cannot_be_confused() -> None:
    """A model that ignored the setting could not meet both golden files."""
    a, b = (np.load(GOLDEN / f"forward_vox-adv-256_ac{i}.npz")["prediction"] for i in (0, 1))
    assert np.abs(a - b).max() > 0.1


@pytest.mark.parametrize("name", list(CONFIGS))
def test_tensor_names_and_shapes_are_the_released_ones(name: str) -> None:
    listing = json.loads((GOLDEN / "state_dicts.json").read_text())
    with torch.device("meta"):
        config = ModelConfig(detector=DetectorConfig(single_jacobian_map=name == "mgif-256"))
        model, discriminator = FOMM.from_config(config), discriminator_of(name)
    generator = {f"dense_motion_network.{k}": v for k, v in model.dense_motion.state_dict().items()}
    generator |= model.generator.state_dict()
    networks = {
        "kp_detector": model.detector.state_dict(),
        "generator": generator,
        "discriminator": discriminator.state_dict(),
    }
    for network, state in networks.items():
        expected = listing["lists"][listing["configs"][name][network]]
        assert [[k, list(v.shape), str(v.dtype).removeprefix("torch.")] for k, v in state.items()] == expected


def test_anti_aliased_downsampling() -> None:
    ops = np.load(GOLDEN / "ops.npz")
    for scale in (0.5, 0.25, 0.125):
        down, name = AntiAliasDownsample(3, scale), str(scale).replace(".", "-")
        close(down.weight[0, 0], ops[f"aa_kernel_{name}"], 1e-6)
        close(down(torch.from_numpy(ops["aa_in"])), ops[f"aa_out_{name}"], 1e-6)
        if scale >= 0.25:
            close(down(torch.from_numpy(ops["aa_odd_in"])), ops[f"aa_odd_out_{name}"], 1e-6)
    with pytest.raises(ValueError, match="0.3"):
        AntiAliasDownsample(3, 0.3)


def test_dense_motion_pieces() -> None:
    ops = {k: torch.from_numpy(v) for k, v in np.load(GOLDEN / "ops.npz").items()}
    source = Keypoints(ops["dm_kp_source_value"], ops["dm_kp_source_jacobian"])
    driving = Keypoints(ops["dm_kp_driving_value"], ops["dm_kp_driving_jacobian"])
    eye = torch.eye(2).expand_as(source.jacobians)
    motions = sparse_motions(12, 20, source, driving)
    close(motions, ops["dm_sparse_motion"].numpy(), 1e-6)
    plain = sparse_motions(12, 20, source._replace(jacobians=eye), driving._replace(jacobians=eye))
    close(plain, ops["dm_sparse_motion_nojac"].numpy(), 1e-6)
    close(heatmap_difference(12, 20, source, driving), ops["dm_heatmap"][:, :, 0].numpy(), 1e-6)
    for align_corners in (True, False):
        expected = ops[f"dm_sparse_deformed_ac{int(align_corners)}"].numpy()
        close(warp_each(ops["dm_source"], motions, align_corners=align_corners), expected, 1e-5)


def test_grid_and_gaussians() -> None:
    ops = np.load(GOLDEN / "ops.npz")
    close(coordinate_grid(5, 7, dtype=torch.float32, device="cpu"), ops["grid_5x7"], 1e-6)
    for variance, name in ((0.01, "0-01"), (0.1, "0-1")):
        heatmaps = gaussian_heatmaps(torch.from_numpy(ops["g_kp"]), 12, 20, variance=variance)
        close(heatmaps, ops[f"g_out_12x20_var{name}"], 1e-6)


def test_equal_keypoints_mean_no_motion() -> None:
    """With the same keypoints on both sides every sparse motion is the identity, and so is their blend."""
    model = filled_model(False)
    frame = picture(np.load(GOLDEN / "forward_vox-adv-256_ac1.npz")["source"])
    with torch.inference_mode():
        motion = model(frame, frame).motion
    close(motion.deformation[0], coordinate_grid(64, 64, dtype=torch.float32, device="cpu").numpy(), 1e-5)


def test_a_fresh_detector_starts_from_identity_frames() -> None:
    model = FOMM.from_config(ModelConfig(num_keypoints=4, detector=DetectorConfig(block_expansion=4, max_features=16)))
    jacobians = model.detect(torch.rand(2, 3, 128, 128)).jacobians
    close(jacobians, np.broadcast_to(np.eye(2, dtype=np.float32), (2, 4, 2, 2)), 1e-5)


def test_one_encoded_source_serves_a_batch() -> None:
    model = filled_model(False)
    golden = np.load(GOLDEN / "make_animation_ac1.npz")
    source = picture(golden["source"])
    drivings = torch.cat([picture(frame) for frame in golden["driving"][:2]])
    with torch.inference_mode():
        batched = model.animate(model.encode_source(source), model.detect(drivings)).prediction
        single = torch.cat([model(source, d[None]).prediction for d in drivings])
    close(batched, single.numpy(), 1e-4)


def test_sides_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="200x128.*multiple of 128"):
        filled_model(False).encode_source(torch.zeros(1, 3, 128, 200))


def test_identity_warp_returns_the_picture() -> None:
    image = torch.rand(1, 3, 9, 13)
    grid = coordinate_grid(9, 13, dtype=torch.float32, device="cpu")[None]
    close(warp(image, grid, align_corners=True), image.numpy(), 1e-5)
    assert (warp(image, grid, align_corners=False) - image).abs().max() > 0.01


def test_the_matte_blends_the_warped_source_with_the_colours() -> None:
    small = {"block_expansion": 4, "max_features": 8}
    config = ModelConfig(
        num_keypoints=3,
        detector=DetectorConfig(**small, num_blocks=2),
        dense_motion=DenseMotionConfig(**small, num_blocks=2),
        generator=GeneratorConfig(**small, num_bottleneck_blocks=1, blend_source=True),
    )
    torch.manual_seed(0)
    model = FOMM.from_config(config).eval()
    source, driving = torch.rand(2, 1, 3, 32, 32)
    with torch.inference_mode():
        model.generator.final.weight.zero_()  # every colour is sigmoid(0) = 0.5
        model.generator.final.bias.zero_()
        for logit in (50.0, 0.0, -50.0):
            model.generator.final.bias[-1] = logit
            share = torch.sigmoid(torch.tensor(logit)).item()
            out = model(source, driving)
            expected = share * model.deformed(source, out.motion) + (1 - share) * 0.5
            close(out.prediction, expected.numpy(), 1e-6)
