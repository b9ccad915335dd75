"""Keypoint algebra: golden normalisation, hull areas, inverses, local motion."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from fomm.model.geometry import Keypoints, invert, local_motion, movement_scale, multiply, transfer_motion

GOLDEN = np.load(Path(__file__).parent / "golden" / "normalize_kp.npz")


def keypoints(prefix: str) -> Keypoints:
    return Keypoints(*(torch.from_numpy(GOLDEN[f"{prefix}_{part}"]) for part in ("value", "jacobian")))


@pytest.mark.parametrize(("index", "relative", "jacobian", "adapt"), list(product((0, 1), repeat=4)))
def test_transfer_is_the_originals(index: int, relative: int, jacobian: int, adapt: int) -> None:
    source, initial, driving = (keypoints(f"set{index}_{role}") for role in ("source", "initial", "driving"))
    result = transfer_motion(
        source,
        driving,
        initial,
        relative=bool(relative),
        relative_jacobian=bool(jacobian),
        scale=movement_scale(source, initial) if adapt else 1.0,
    )
    expected = keypoints(f"set{index}_rel{relative}_reljac{jacobian}_adapt{adapt}")
    torch.testing.assert_close(result.points, expected.points, atol=1e-6, rtol=0)
    torch.testing.assert_close(result.jacobians, expected.jacobians, atol=1e-6, rtol=0)


@pytest.mark.parametrize("index", [0, 1])
def test_movement_scale_is_the_ratio_of_hull_sizes(index: int) -> None:
    areas = GOLDEN[f"set{index}_hull_areas_source_initial"]
    scale = movement_scale(keypoints(f"set{index}_source"), keypoints(f"set{index}_initial"))
    np.testing.assert_allclose(scale, np.sqrt(areas[0]) / np.sqrt(areas[1]), rtol=1e-6)


def test_movement_scale_of_a_square_twice_as_wide_is_two_and_of_a_line_is_one() -> None:
    square = torch.tensor([[[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5], [0, 0]]])
    eye = torch.eye(2).expand(1, 5, 2, 2)
    small, large = Keypoints(square / 2, eye), Keypoints(square, eye)
    assert movement_scale(large, small).item() == pytest.approx(2)
    line = Keypoints(square * torch.tensor([1.0, 0.0]), eye)
    assert movement_scale(line, small).item() == 1


def test_driving_that_does_not_move_leaves_the_source_where_it_is() -> None:
    source, driving = keypoints("set0_source"), keypoints("set0_driving")
    result = transfer_motion(source, driving, driving, relative=True, relative_jacobian=True, scale=1.7)
    torch.testing.assert_close(result.points, source.points)
    torch.testing.assert_close(result.jacobians, source.jacobians, atol=1e-6, rtol=1e-5)


def test_closed_form_inverse_and_product_agree_with_linear_algebra() -> None:
    a, b = torch.randn(2, 50, 2, 2, dtype=torch.float64)
    torch.testing.assert_close(invert(a), torch.linalg.inv(a))
    torch.testing.assert_close(multiply(a, b), a @ b)


def test_local_motion_maps_each_driving_keypoint_onto_its_source_keypoint() -> None:
    source, driving = keypoints("set0_source"), keypoints("set0_driving")
    grid = driving.points[0][None]  # (1, K, 2): a "picture" whose pixels are the keypoints
    motion = local_motion(grid, source, driving)[0, :, 0]
    torch.testing.assert_close(motion.diagonal(dim1=0, dim2=1).T, source.points[0], atol=1e-6, rtol=0)
