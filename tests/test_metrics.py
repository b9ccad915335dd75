"""Metrics against values computed by hand, independent implementations, and each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d

import fomm.evaluation.metrics as metrics
from fomm.evaluation.definitions import METRICS, SIDE, custom_identity
from fomm.evaluation.metrics import UNKNOWN, tally


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(3, 3, 40, 48, generator=generator)
    return (truth + 0.2 * torch.randn(truth.shape, generator=generator)).clamp(0, 1), truth


def test_every_metric_says_what_it_is() -> None:
    asked = (
        "l1 psnr ssim lpips fid l1_face psnr_face ssim_face akd_face_alignment akd_mediapipe akd_truth aed_openface "
        "csim_arcface identity_truth identity_dlib identity_dlib_driver keypoints_own jitter head_pose "
        "mouth_correlation mouth_slope mouth_error eyes_correlation eyes_slope eyes_error gaze_correlation gaze_slope "
        "gaze_error brows_correlation brows_slope brows_error pose_correlation pose_slope blinks_followed "
        "expression_mesh kid fvd tof akd_pose mkr_pose"
    )
    assert set(METRICS) == set(asked.split())
    for name, info in METRICS.items():
        assert info.name == name and info.label and info.source
        assert len(info.definition) > 40 and info.definition.endswith(".")
        assert set(info.needs) <= {"truth", "weights", "extra", "cross", "mesh", "face", "body", "exact", "model"}
    own = custom_identity("my-net", "whole frames", "0123", aligned=False)
    assert own.name == "identity_my-net" and own.better == "higher" and "whole frames" in own.definition


# ------------------------------------------------------------------------------------------------------------ pictures


def test_a_picture_equals_itself(pair) -> None:
    _, truth = pair
    assert metrics.l1(truth, truth).tolist() == [0.0] * 3
    assert metrics.psnr(truth, truth).tolist() == pytest.approx([metrics.PSNR_MAX] * 3)
    assert metrics.average(metrics.ssim_map(truth, truth)).tolist() == pytest.approx([1.0] * 3, abs=1e-6)


def test_l1_and_psnr_as_numpy_has_them(pair) -> None:
    prediction, truth = (x.numpy().astype(np.float64) for x in pair)
    for t in range(3):
        assert metrics.l1(*pair)[t].item() == pytest.approx(np.abs(prediction[t] - truth[t]).mean(), rel=1e-12)
        expected = 10 * np.log10(1 / np.mean((prediction[t] - truth[t]) ** 2))
        assert metrics.psnr(*pair)[t].item() == pytest.approx(expected, rel=1e-12)


def numpy_ssim(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Wang et al. 2004, eq. 13, of one colour (H, W): Gaussian weights of sigma 1.5 on 11 x 11, mirrored border."""
    window = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    window /= window.sum()

    def blur(x: np.ndarray) -> np.ndarray:
        return correlate1d(correlate1d(x, window, 0, mode="mirror"), window, 1, mode="mirror")

    mean_one, mean_two = blur(one), blur(two)
    variance_one, variance_two = blur(one * one) - mean_one**2, blur(two * two) - mean_two**2
    covariance = blur(one * two) - mean_one * mean_two
    luminance = (2 * mean_one * mean_two + 0.01**2) / (mean_one**2 + mean_two**2 + 0.01**2)
    return luminance * (2 * covariance + 0.03**2) / (variance_one + variance_two + 0.03**2)


def test_ssim_as_numpy_and_skimage_have_it(pair) -> None:
    structural_similarity = pytest.importorskip("skimage.metrics").structural_similarity
    maps = metrics.ssim_map(*pair).numpy()
    prediction, truth = (x.numpy().astype(np.float64) for x in pair)
    for t in range(3):
        for c in range(3):
            expected = numpy_ssim(prediction[t, c], truth[t, c])
            np.testing.assert_allclose(maps[t, c], expected, atol=2e-5)
            # scikit-image leaves a border of 5 pixels out of the mean
            options = {"data_range": 1.0, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
            published = structural_similarity(prediction[t, c], truth[t, c], **options)
            assert maps[t, c, 5:-5, 5:-5].mean() == pytest.approx(published, abs=2e-5)


def test_a_mask_counts_only_what_is_inside() -> None:
    truth = torch.rand(2, 3, 32, 32)
    mask = torch.zeros(2, 32, 32, dtype=torch.bool)
    mask[0, 8:16, 4:20] = True
    prediction = truth.clone()
    prediction[0, :, :8] = 0.0  # outside the mask
    prediction[0, :, 8:16, 4:12] += 0.5  # half of it
    assert metrics.l1(prediction, truth, mask)[0].item() == pytest.approx(0.25, abs=1e-6)
    assert metrics.psnr(prediction, truth, mask)[0].item() == pytest.approx(10 * math.log10(1 / 0.125), abs=1e-5)
    assert math.isnan(metrics.l1(prediction, truth, mask)[1]), "an empty mask has no mean"
    everything = torch.ones_like(mask)
    for metric in (metrics.l1, metrics.psnr):
        assert torch.allclose(metric(prediction, truth, everything), metric(prediction, truth))


def test_hull_mask_of_a_square_and_of_points_outside_the_picture() -> None:
    corners = np.array([[4.0, 2.0], [13.6, 2.2], [14.0, 7.0], [4.0, 7.0], [9.0, 5.0]])
    mask = metrics.hull_mask(corners, 16, 20)
    assert mask.dtype == bool and mask.shape == (16, 20)
    assert mask.sum() == 11 * 6 and mask[2:8, 4:15].all()
    assert metrics.hull_mask(np.array([[-50.0, -50.0], [60.0, -50.0], [60.0, 60.0], [-50.0, 60.0]]), 16, 20).all()


# ------------------------------------------------------------------------------------- landmarks, angles, embeddings


def test_akd_of_shifts_and_turns() -> None:
    square = np.array([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])
    assert metrics.akd(square, square) == 0
    assert metrics.akd(square + (3, -4), square) == 3.5, "mean of |dx| and |dy|, not the length 5"
    quarter_turn = square @ np.array([[0.0, 1.0], [-1.0, 0.0]])  # each corner goes to the next: 2 px along one axis
    assert metrics.akd(quarter_turn, square) == pytest.approx(1.0)
    small = np.deg2rad(10)
    turned = square @ np.array([[np.cos(small), np.sin(small)], [-np.sin(small), np.cos(small)]])
    # a corner (1, 1) moves by (cos - sin - 1, cos + sin - 1)
    expected = (abs(np.cos(small) - np.sin(small) - 1) + abs(np.cos(small) + np.sin(small) - 1)) / 2
    assert metrics.akd(turned, square) == pytest.approx(expected)
    assert 1.4 < np.linalg.norm(turned - square, axis=1).mean() / metrics.akd(turned, square) < 2


def test_akd_of_many_frames_is_that_of_each() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 7, 68, 2)) * 50
    together = metrics.akd(a, b)
    assert together.shape == (7,)
    assert together == pytest.approx([np.mean(np.abs(x - y)) for x, y in zip(a, b, strict=True)])
    order = [4, 0, 6, 1, 2, 5, 3]
    assert np.array_equal(metrics.akd(a[order], b[order]), together[order])


def test_acceleration_error() -> None:
    t = np.arange(6.0)[:, None, None]
    still = np.zeros((6, 5, 2))
    assert metrics.acceleration_error(still + 3 + 2 * t, still) == pytest.approx(np.zeros(4)), "steady drift"
    assert metrics.acceleration_error(0.5 * t**2 * np.array([3.0, 4.0]), still) == pytest.approx(np.full(4, 5.0))
    shaking = still.copy()
    shaking[::2, :, 0] = 1  # 1, 0, 1, 0: second differences -2, 2, ...
    assert metrics.acceleration_error(shaking, still) == pytest.approx(np.full(4, 2.0))
    assert np.array_equal(metrics.acceleration_error(shaking, still), metrics.acceleration_error(still, shaking))


def test_angles_go_the_short_way_round() -> None:
    assert metrics.angle_error(np.array([170.0, 0, 0]), np.array([-170.0, 0, 0])) == pytest.approx(20 / 3)
    assert metrics.angle_error(np.array([[1.0, -2, 3], [0, 0, 0]]), np.zeros((2, 3))).tolist() == [2.0, 0.0]


def test_squared_distance_is_two_minus_two_cosines() -> None:
    a, b = np.random.default_rng(1).normal(size=(2, 20, 128))
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    assert metrics.squared_distance(a, b) == pytest.approx(2 - 2 * metrics.cosine(a, b))
    assert metrics.squared_distance(a, -a) == pytest.approx(np.full(20, 4.0))
    assert metrics.squared_distance(a, a).tolist() == [0.0] * 20 and metrics.cosine(a, a) == pytest.approx(np.ones(20))


def test_what_should_be_symmetric_is(pair) -> None:
    a, b = pair
    for metric in (metrics.l1, metrics.psnr, metrics.ssim_map):
        assert torch.equal(metric(a, b), metric(b, a))
    x, y = np.random.default_rng(2).normal(size=(2, 4, 10, 2))
    for metric in (metrics.akd, metrics.acceleration_error, metrics.squared_distance, metrics.cosine):
        assert np.array_equal(metric(x, y), metric(y, x))


def test_batch_and_order_do_not_matter(pair) -> None:
    order = [2, 0, 1]
    for metric in (metrics.l1, metrics.psnr, lambda a, b: metrics.average(metrics.ssim_map(a, b))):
        together = metric(*pair)
        one_by_one = torch.cat([metric(a[None], b[None]) for a, b in zip(*pair, strict=True)])
        assert torch.allclose(together, one_by_one, atol=1e-6)
        assert torch.allclose(metric(*(x[order] for x in pair)), together[order], atol=1e-6)


# ------------------------------------------------------------------------------------------------------------ averages


def test_misses_are_left_out_or_counted() -> None:
    counted = tally(np.array([1.0, np.nan, 3.0, UNKNOWN, np.nan]))
    assert (counted.total, counted.frames, counted.missed) == (4.0, 2, 2)
    assert counted.mean == 2.0
    assert counted.mean_with_misses(10.0) == (4 + 20) / 4
    assert math.isnan(counted.mean_with_misses(None))
    assert tally(np.array([1.0, 2.0])).mean_with_misses(None) == 1.5, "nothing missed, nothing to punish"
    assert math.isnan(tally(np.array([np.nan])).mean) and tally(np.array([np.nan])).mean_with_misses(3.0) == 3.0
    assert math.isnan(tally(np.array([UNKNOWN])).mean_with_misses(3.0)), "no frame that counts"


def test_a_miss_never_pays() -> None:
    """Counting a miss must read worse than a usual hit: the penalty is what two unrelated answers would score."""
    assert METRICS["akd_face_alignment"].penalty == pytest.approx(85.33, abs=0.01)
    x, y = np.random.default_rng(0).uniform(0, SIDE, (2, 200_000))
    assert np.abs(x - y).mean() == pytest.approx(SIDE / 3, rel=0.01)
    x, y = np.random.default_rng(1).uniform(-90, 90, (2, 200_000))
    assert np.abs(x - y).mean() == pytest.approx(METRICS["head_pose"].penalty, rel=0.01)
