"""Crop and paste: algebra on drawn pictures, no media needed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from preprocess.crop import Crop, Paster, Region, crop_matrix, invert, resized_pixels, soft_mask, transform, warp


def a_crop(centre: tuple[float, float], side: float, roll_deg: float = 0.0, size: int = 256) -> Crop:
    return Crop(crop_matrix(np.array(centre), side, roll_deg, size), size)


def noise(height: int, width: int, seed: int = 0, blur: float = 0.0) -> np.ndarray:
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.GaussianBlur(picture, (0, 0), blur) if blur else picture


def test_matrix_puts_centre_and_corners_where_they_belong() -> None:
    crop = a_crop((100.25, 70.5), 60, roll_deg=30)
    assert crop.centre_px == pytest.approx((100.25, 70.5))
    assert crop.side_px == pytest.approx(60)
    assert crop.roll_deg == pytest.approx(30)
    assert np.linalg.norm(np.diff(crop.corners_px, axis=0), axis=1) == pytest.approx([60, 60, 60])
    # a face turned clockwise by 30 degrees has its forehead to the right of its chin
    forehead = transform(crop.inverse, np.array([[127.5, 0.0]]))[0]
    assert forehead[0] > 100.25 and forehead[1] < 70.5
    assert transform(crop.matrix, transform(crop.inverse, np.eye(2))) == pytest.approx(np.eye(2), abs=1e-9)


def test_crop_of_whole_pixels_is_a_slice() -> None:
    photo = noise(90, 120)
    crop = a_crop((9.5 + 32, 4.5 + 32), 64, size=64)  # covers pixels 10..73 and 5..68
    assert np.array_equal(crop.apply(photo), photo[5:69, 10:74])


@pytest.mark.parametrize("side, size", [(300.0, 64), (64.0, 64), (37.5, 128)])
@pytest.mark.parametrize("roll_deg", [0.0, 25.0])
def test_pixel_centres_on_a_ramp(side: float, size: int, roll_deg: float) -> None:
    """A linear ramp must come out as the same ramp, read at the crop's pixel centres, shrunk or enlarged."""
    y, x = np.mgrid[:500, :600].astype(np.float32)
    crop = a_crop((301.3, 248.8), side, roll_deg, size)
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1).reshape(-1, 2)
    expected = transform(crop.inverse, grid) @ (0.3, 0.2)
    got = warp(0.3 * x + 0.2 * y, crop.matrix, (size, size))
    assert np.abs(got.reshape(-1) - expected).max() < 0.04 * max(1.0, side / size)  # cv2 rounds to 1/32 pixel


def test_shrinking_does_not_alias() -> None:
    checkers = np.repeat((np.indices((800, 800)).sum(0) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)
    small = a_crop((400.3, 399.1), 700, 10, 96).apply(checkers)
    assert small.std() < 5 and abs(small.mean() - 127.5) < 2
    aliased = cv2.warpAffine(checkers, a_crop((400.3, 399.1), 700, 10, 96).matrix, (96, 96))
    assert aliased.std() > 30  # what the averaging is for


def test_derotation_undoes_a_rotation() -> None:
    photo = noise(300, 300, blur=4)
    turn = invert(crop_matrix(np.array([149.5, 149.5]), 300, 40, 300))  # turns the picture clockwise by 40 degrees
    turned = cv2.warpAffine(photo, turn, (300, 300), flags=cv2.INTER_CUBIC)
    centre = transform(turn, np.array([[140.0, 160.0]]))[0]
    straight, derotated = a_crop((140, 160), 120).apply(photo), a_crop(tuple(centre), 120, 40).apply(turned)
    assert np.abs(straight.astype(int) - derotated).mean() < 1


def test_resized_pixels_matches_cv2_resize() -> None:
    ramp = np.tile(np.arange(90, dtype=np.float32), (30, 1))
    small = cv2.resize(ramp, (30, 10), interpolation=cv2.INTER_AREA)
    back = resized_pixels((90, 30), (30, 10))
    assert small[0] == pytest.approx([float((back @ (x, 0, 1))[0]) for x in range(30)])


CROPS = [
    a_crop((200, 150), 90),
    a_crop((200, 150), 90, -35),
    a_crop((150.3, 120.7), 400, 12),  # larger than the picture
    a_crop((10, 290), 150, 60),  # leaves the picture
    a_crop((200, 150), 90, size=64),
    a_crop((-500, -500), 50),  # outside
]


@pytest.mark.parametrize("crop", CROPS)
def test_unchanged_crop_changes_nothing(crop: Crop) -> None:
    photo = noise(300, 401)
    assert np.array_equal(Paster(photo, crop)(crop.apply(photo)), photo)


@pytest.mark.parametrize("crop", CROPS[:5])
def test_altered_crop_is_there_and_nothing_else(crop: Crop) -> None:
    photo = noise(300, 401, blur=2)
    altered = 255 - crop.apply(photo)
    pasted = Paster(photo, crop)(altered)
    assert pasted.shape == photo.shape and pasted.dtype == np.uint8
    grid = np.stack(np.meshgrid(np.arange(401), np.arange(300)), -1).reshape(-1, 2)
    inside = transform(crop.matrix, grid).reshape(300, 401, 2)
    outside = ((inside < 0) | (inside > crop.size - 1)).any(-1)
    assert np.array_equal(pasted[outside], photo[outside])
    core = ((inside > 0.3 * crop.size) & (inside < 0.7 * crop.size)).all(-1)
    if core.any():
        wanted = warp(altered, crop.inverse, (401, 300))
        assert np.abs(pasted[core].astype(int) - wanted[core]).mean() < 4


def test_no_seam() -> None:
    """A crop that is 60 levels brighter everywhere fades in without a step."""
    photo = np.full((300, 300, 3), 90, np.uint8)
    pasted = Paster(photo, a_crop((150, 150), 160, 20))(np.full((256, 256, 3), 150, np.uint8)).astype(int)
    assert pasted[150, 150, 0] == 150
    assert max(np.abs(np.diff(pasted, axis=0)).max(), np.abs(np.diff(pasted, axis=1)).max()) <= 10


def test_large_face_keeps_detail_where_nothing_moved_and_has_no_ghost_where_it_did() -> None:
    photo = noise(600, 600, blur=1)
    crop = a_crop((299.5, 299.5), 512, size=128)  # holds a quarter of the detail
    altered = crop.apply(photo)
    altered[40:64, 40:88] = 200  # a plain patch over the noise
    pasted = Paster(photo, crop)(altered)
    patch = pasted[44 + 4 * 46 : 44 + 4 * 58, 44 + 4 * 46 : 44 + 4 * 82]
    assert np.abs(patch.astype(int) - 200).max() <= 12  # the noise of the photo does not shine through
    assert np.array_equal(pasted[44 + 4 * 80 :], photo[44 + 4 * 80 :])  # unchanged rows keep every pixel


def test_a_changed_crop_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(64, 64, 3\).*\(256, 256, 3\)"):
        Paster(noise(200, 200, blur=3), a_crop((100, 100), 100))(np.zeros((64, 64, 3), np.uint8))


def test_soft_mask() -> None:
    mask = soft_mask(256)
    assert mask[128, 128] == 1 and mask[0].max() == mask[:, -1].max() == 0
    assert np.array_equal(mask, mask.T) and np.array_equal(mask, mask[::-1])
    assert 0.6 < mask.mean() < 0.9


@pytest.mark.parametrize("shape", [(3, 3), (1, 1), (10, 20000), (20000, 10)])
def test_odd_pictures(shape: tuple[int, int]) -> None:
    photo = noise(*shape)
    for crop in (a_crop((1, 1), 2), a_crop((5, 5), 20000, 45)):
        assert crop.apply(photo).shape == (256, 256, 3)
        assert np.array_equal(Paster(photo, crop)(crop.apply(photo)), photo)


@pytest.mark.parametrize("roll_deg, side", [(0.0, 90.0), (0.0, 37.5), (25.0, 60.0)])
def test_a_crop_reads_a_part_of_the_picture_only(roll_deg: float, side: float) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    crop = Crop(crop_matrix(np.array([70.0, 52.0]), side, roll_deg, 48), 48)
    region = crop.region((160, 120))
    assert 0 < region.left and region.right < 160
    other = np.zeros_like(picture)
    region.of(other)[...] = region.of(picture)
    np.testing.assert_array_equal(crop.apply(other), crop.apply(picture))
    np.testing.assert_allclose(crop.within(region).apply(region.of(picture)).astype(int), crop.apply(picture), atol=1)


def test_a_region_is_cut_out_and_put_back_bit_for_bit() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    region = Region(10, 5, 31, 25)
    part = region.of(picture)
    assert part.shape == (20, 21, 3) and region.corners_px.tolist()[0] == [9.5, 4.5]
    np.testing.assert_array_equal(region.put(picture, part), picture)
    np.testing.assert_array_equal(transform(region.matrix, np.array([[10, 5]])), [[0, 0]])
    changed = region.put(picture, np.zeros_like(part))
    assert not region.of(changed).any() and (changed != picture).any(2).sum() <= 20 * 21
    assert Region.whole(picture) == (0, 0, 60, 40)
