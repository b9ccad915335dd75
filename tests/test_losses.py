"""Losses and the thin-plate deformation: algebra, independent computation, the original's numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fomm.errors import InputError, MissingWeightsError
from fomm.model import DenseMotionConfig, DetectorConfig, GeneratorConfig, ModelConfig
from fomm.model.discriminator import Judgement
from fomm.model.geometry import Keypoints
from fomm.pretrained.vgg19 import Vgg19
from fomm.training.equivariance import ThinPlate, control_points
from fomm.training.losses import (
    LossWeights,
    PixelFeatures,
    collapse_radius,
    discriminator_gan,
    equivariance,
    feature_matching,
    generator_gan,
    l1_loss,
    make_perceptual,
)
from fomm.training.module import Training


def random_plate(batch: int = 2) -> ThinPlate:
    plate = ThinPlate.random(batch, 0.05, 0.005, 5, torch.Generator().manual_seed(0))
    return ThinPlate(*(part.double() for part in plate))


def test_thin_plate_is_the_originals(golden):
    tps = {k: torch.from_numpy(v).double() for k, v in np.load(golden / "ops.npz").items() if k.startswith("tps")}
    assert torch.equal(control_points(5).double(), tps["tps_control_points"].reshape(-1, 2))
    plate = ThinPlate(tps["tps_theta"], control_points(5).double(), tps["tps_control_params"][:, 0])
    for mine, theirs in (("points", "tps_warp"), ("jacobians", "tps_jacobian")):
        torch.testing.assert_close(getattr(plate, mine)(tps["tps_coords"]), tps[theirs], rtol=0, atol=1e-6)
    for align_corners, theirs in ((True, "tps_frame_out_ac1"), (False, "tps_frame_out_ac0")):
        warped = plate.frame(tps["tps_frame"], align_corners=align_corners)
        torch.testing.assert_close(warped, tps[theirs], rtol=0, atol=1e-5)
    affine = plate._replace(control_params=torch.zeros_like(plate.control_params))
    torch.testing.assert_close(affine.points(tps["tps_coords"]), tps["tps_affine_only_warp"], rtol=0, atol=1e-6)


def test_thin_plate_jacobian_is_the_derivative_of_its_points():
    plate, points = random_plate(1), torch.rand(1, 7, 2, dtype=torch.float64) * 2 - 1
    whole = torch.autograd.functional.jacobian(plate.points, points)[0, :, :, 0]  # (7, 2, 7, 2)
    own = torch.stack([whole[n, :, n] for n in range(7)])
    torch.testing.assert_close(plate.jacobians(points)[0], own)


def test_identity_deformation_leaves_a_frame():
    plate = ThinPlate.random(1, 0.0, 0.0, 5)
    frame = torch.rand(1, 3, 9, 12)
    torch.testing.assert_close(plate.frame(frame, align_corners=True), frame, rtol=0, atol=1e-5)


def test_keypoints_that_follow_the_deformation_cost_nothing():
    """T maps the transformed frame's coordinates to the original's: p = T(p'), J = J_T(p') J'."""
    plate = random_plate()
    transformed = Keypoints(
        torch.rand(2, 5, 2, dtype=torch.float64) - 0.5, torch.eye(2).double() + 0.1 * torch.rand(2, 5, 2, 2).double()
    )
    driving = Keypoints(plate.points(transformed.points), plate.jacobians(transformed.points) @ transformed.jacobians)
    value, jacobian = equivariance(driving, transformed, plate)
    assert value < 1e-12 and jacobian < 1e-12
    moved = Keypoints(driving.points + 0.1, 2 * driving.jacobians)
    value, jacobian = equivariance(moved, transformed, plate)
    assert value.item() == pytest.approx(0.1)
    assert jacobian.item() == pytest.approx(0.25)  # |1/2 - 1| on the diagonal, 0 beside it


def test_gan_terms_by_hand():
    predicted = {1.0: Judgement([torch.zeros(1, 1, 2, 2)], torch.tensor([[[[0.0, 1.0]]]]))}
    real = {1.0: Judgement([torch.ones(1, 1, 2, 2)], torch.tensor([[[[1.0, 0.5]]]]))}
    assert generator_gan(predicted).item() == pytest.approx(0.5)  # (1 + 0) / 2
    assert discriminator_gan(predicted, real).item() == pytest.approx((0 + 0 + 0.25 + 1) / 2)
    assert feature_matching(predicted, real, [10.0]).item() == pytest.approx(10)


def test_l1_by_hand():
    assert l1_loss(torch.tensor([0.0, 2.0]), torch.tensor([0.0, 1.0])) == 0.5
    assert l1_loss(torch.zeros(2, dtype=torch.bfloat16), torch.ones(2)).dtype == torch.float32


def test_pixel_features_of_a_ramp():
    ramp = torch.arange(4.0).expand(1, 1, 3, 4)
    colour, gradient = PixelFeatures()(ramp)
    assert colour is ramp
    assert torch.equal(gradient[:, 0], torch.ones(1, 2, 3)) and torch.equal(gradient[:, 1], torch.zeros(1, 2, 3))


def test_perceptual_of_equal_pictures_is_zero_and_weights_count():
    frame, other = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    loss = make_perceptual("pixels", scales=[1, 0.5], weights=[1, 1])
    assert loss(frame, frame) == 0
    double = make_perceptual("pixels", scales=[1, 0.5], weights=[2, 2])
    torch.testing.assert_close(double(frame, other), 2 * loss(frame, other))


def test_no_gradient_flows_into_the_target():
    frame, target = (torch.rand(1, 3, 32, 32, requires_grad=True) for _ in range(2))
    make_perceptual("pixels", scales=[1], weights=[1, 1])(frame, target).backward()
    assert frame.grad.abs().sum() > 0 and target.grad is None


def test_vgg19_is_torchvisions():
    torchvision = pytest.importorskip("torchvision")
    theirs = torchvision.models.vgg19(weights=None).eval()
    mine = Vgg19()
    mine.load_state_dict({k: v for k, v in theirs.state_dict().items() if k in mine.state_dict()})
    image = torch.rand(1, 3, 32, 32)
    expected = theirs.features[:30]((image - mine.mean) / mine.std)  # relu5_1 is layer 29
    torch.testing.assert_close(mine(image)[-1], expected)
    assert [f.shape[1] for f in mine(image)] == [64, 128, 256, 512, 512]


def test_missing_or_wrong_vgg19_stops_with_directions(tmp_path):
    options = {"scales": [1], "weights": [10] * 5}
    with pytest.raises(MissingWeightsError, match=r"vgg19-dcbb9e9d.pth.*--model.perceptual pixels"):
        make_perceptual("vgg19", **options, vgg19_file=tmp_path / "none.pth")
    (tmp_path / "page.pth").write_text("<html>")
    with pytest.raises(InputError, match="not torchvision's VGG-19"):
        make_perceptual("vgg19", **options, vgg19_file=tmp_path / "page.pth")
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "part.pth")
    with pytest.raises(InputError, match="not torchvision's VGG-19"):
        make_perceptual("vgg19", **options, vgg19_file=tmp_path / "part.pth")
    with pytest.raises(InputError, match="takes 2 weights, got 5"):
        make_perceptual("pixels", **options)


def test_collapse_radius_by_hand():
    points = torch.tensor([[[0.0, 0.0], [0.0, 0.6], [0.0, 0.3]]])
    assert collapse_radius(points) == pytest.approx(0.3)


def test_a_step_repeats_no_work():
    """Each picture goes through the perceptual network once per scale, the real one without gradient, and each frame
    through the keypoint detector once."""
    small = {"block_expansion": 4, "max_features": 8}
    network = ModelConfig(
        num_keypoints=2,
        detector=DetectorConfig(**small, num_blocks=1, scale_factor=1.0),
        dense_motion=DenseMotionConfig(**small, num_blocks=1, scale_factor=1.0),
        generator=GeneratorConfig(**small, num_down_blocks=1, num_bottleneck_blocks=1),
    )
    weights = LossWeights(perceptual=(1.0, 1.0), generator_gan=0.0)
    module = Training(network=network, perceptual="pixels", weights=weights, scales=(1.0, 0.5))
    seen: list[bool] = []
    detected: list[int] = []
    module.perceptual.features.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].requires_grad))
    module.model.detector.register_forward_hook(lambda _, inputs, __: detected.append(len(inputs[0])))
    module.generator_terms(torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16), random_plate().to(torch.zeros(1)))
    assert sorted(seen) == [False, False, True, True]
    assert detected == [2, 2, 2]  # source, driving, and the driving frame deformed
