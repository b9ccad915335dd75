"""A photo's own detail: what the dense motion does to the photo, and where the network's colours stand instead."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from small_models import small_model

from fomm.animator import AnimationSettings, Animator, SourceDetail
from fomm.checkpoint import CheckpointInfo, load_model, save_weights
from fomm.model import Output
from fomm.model.dense_motion import Motion
from fomm.model.geometry import Keypoints, coordinate_grid, displacement, warp
from fomm.pixels import to_pictures, to_tensor
from fomm.video import read_image, write_image
from preprocess.crop import Crop, Paster, crop_matrix, soft_mask, transform
from preprocess.faces import FaceFinder
from preprocess.synthetic.puppets import Camera, Pose, draw, framing, random_identity, random_motion
from studio.animation import CropTools, animate_files

GRID, SIZE = 32, 64  # of the dense motion, and of the network's pictures
NOWHERE = Keypoints(torch.zeros(1, 1, 2), torch.eye(2)[None, None])


def photo_of(side: int, seed: int = 0, coarse: int = 12) -> np.ndarray:
    """(side, side, 3) uint8, smooth enough that resampling it twice changes little."""
    noise = np.random.default_rng(seed).random((coarse, coarse, 3), dtype=np.float32)
    return np.clip(255 * cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)


def output(prediction: np.ndarray, deformation: torch.Tensor, occlusion: torch.Tensor | None) -> Output:
    """What a model would say; `prediction` (h, w, 3) uint8."""
    nothing = torch.zeros(0)
    motion = Motion(deformation, occlusion, nothing, nothing)
    return Output(to_tensor(prediction[None]), motion, NOWHERE, NOWHERE)


def identity() -> torch.Tensor:
    return coordinate_grid(GRID, GRID, dtype=torch.float32, device="cpu")[None]


def made(detail: SourceDetail, *arguments: object, align_corners: bool = True) -> np.ndarray:
    (picture,) = detail.pictures(output(*arguments), align_corners=align_corners)
    return picture


def turned_crop(photo: np.ndarray) -> Crop:
    return Crop(crop_matrix(np.array([70.0, 84.0]), 100.0, 17.0, SIZE), SIZE)


def reach(mask: np.ndarray, crop: Crop, photo: np.ndarray) -> np.ndarray:
    """(H, W) bool: where a mask (h, w) of a crop may change the photo, give or take the rounding at its edge."""
    there = cv2.warpAffine(mask, crop.inverse, (photo.shape[1], photo.shape[0])) > 0
    return cv2.dilate(there.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0


@pytest.mark.parametrize("align_corners", [True, False])
def test_displacement_is_where_warp_reads(align_corners: bool) -> None:
    """A picture that holds its own coordinates says, warped, where each pixel came from."""
    height, width = 5, 9
    own = torch.stack(torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy")).float()[None]
    inner = 0.7 * coordinate_grid(height, width, dtype=torch.float32, device="cpu")[None] + 0.05
    read = warp(own, inner, align_corners=align_corners)
    moved = displacement(inner, align_corners=align_corners).permute(0, 3, 1, 2)
    torch.testing.assert_close(own + moved, read, atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", [64, 100, 171, 256])
def test_no_motion_gives_the_photo_back_to_the_bit(side: int) -> None:
    photo = np.random.default_rng(1).integers(0, 256, (side, side, 3), np.uint8)
    seen = cv2.resize(photo, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    still = made(SourceDetail(photo, (SIZE, SIZE)), seen, identity(), torch.ones(1, 1, GRID, GRID))
    np.testing.assert_array_equal(still, photo)
    np.testing.assert_array_equal(made(SourceDetail(photo, (SIZE, SIZE)), seen, identity(), None), photo)


def test_a_motion_without_corners_aligned_is_none_at_its_own_pixels() -> None:
    photo = photo_of(128)
    own = identity() * (1 - 1 / GRID)  # +-1 are the outer edges of the border pixels
    seen = cv2.resize(photo, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(made(SourceDetail(photo, (SIZE, SIZE)), seen, own, None, align_corners=False), photo)


@pytest.mark.parametrize("side", [96, 256])
def test_a_shift_of_whole_cells_is_a_shift_of_whole_pixels(side: int) -> None:
    photo, cells = photo_of(side), 3
    deformation = identity() + torch.tensor([2 * cells / (GRID - 1), 0.0])
    pixels = cells * side // GRID
    expected = np.concatenate([photo[:, pixels:], np.repeat(photo[:, -1:], pixels, 1)], 1)
    seen = cv2.resize(expected, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    moved = made(SourceDetail(photo, (SIZE, SIZE)), seen, deformation, None)
    assert np.abs(moved.astype(int) - expected)[:, : -pixels - 4].max() <= 1


def test_a_turn_in_a_turned_crop_is_that_turn_in_the_photo() -> None:
    """An affine dense motion, against one affine matrix in the photo's own pixels."""
    photo = photo_of(160)
    crop = turned_crop(photo)
    turn = cv2.getRotationMatrix2D((SIZE / 2 - 0.5,) * 2, 9.0, 1.08)  # where each pixel of the crop is read
    cells = (np.dstack(np.meshgrid(np.arange(GRID), np.arange(GRID))).reshape(-1, 2) + 0.5) * SIZE / GRID - 0.5
    read = (transform(turn, cells) + 0.5) * GRID / SIZE - 0.5
    deformation = torch.from_numpy(read / (GRID - 1) * 2 - 1).float().view(1, GRID, GRID, 2)
    in_photo = crop.inverse @ np.vstack([turn, [0, 0, 1]]) @ np.vstack([crop.matrix, [0, 0, 1]])
    expected = cv2.warpAffine(
        photo, in_photo, (160, 160), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
    mask = np.zeros((SIZE, SIZE), np.float32)
    mask[6:-6, 6:-6] = 1  # beyond the outermost cells' centres the motion goes on as it is there
    detail = SourceDetail(photo, (SIZE, SIZE), crop.matrix, mask)
    moved = made(detail, crop.apply(expected), deformation, None)
    inside = cv2.warpAffine(mask, crop.inverse, (160, 160)) == 1
    assert inside.sum() > 4000 and np.abs(expected.astype(int) - photo)[inside].mean() > 10
    assert np.abs(moved.astype(int) - expected)[inside].max() <= 3
    reached = reach(mask, crop, photo)
    np.testing.assert_array_equal(moved[~reached], photo[~reached])


def test_where_something_is_occluded_the_networks_colours_stand() -> None:
    photo, painted = photo_of(256), np.full((SIZE, SIZE, 3), (10, 200, 90), np.uint8)
    occlusion = torch.ones(1, 1, GRID, GRID)
    occlusion[..., GRID // 2 :] = 0
    near = cv2.resize(photo, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    near[:, SIZE // 2 :] = painted[:, SIZE // 2 :]
    mixed = made(SourceDetail(photo, (SIZE, SIZE)), near, identity(), occlusion)
    assert np.abs(mixed[:, 150:].astype(int) - (10, 200, 90)).max() <= 1
    np.testing.assert_array_equal(mixed[:, :100], photo[:, :100])
    nothing = made(SourceDetail(photo, (SIZE, SIZE)), painted, identity(), torch.zeros(1, 1, GRID, GRID))
    np.testing.assert_array_equal(nothing, np.broadcast_to(painted[0, 0], photo.shape))


def test_what_no_motion_can_bring_is_the_networks() -> None:
    """A mouth that the network opened stays open, whatever it says of occlusion; the rest keeps the photo's detail."""
    photo = photo_of(256)
    photo[::2] = np.clip(photo[::2].astype(int) + 12, 0, 255)  # finer than the network can see
    seen = cv2.resize(photo, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    cv2.circle(seen, (32, 40), 7, (0, 0, 0), -1)
    mixed = made(SourceDetail(photo, (SIZE, SIZE)), seen, identity(), torch.ones(1, 1, GRID, GRID))
    assert mixed[150:172, 118:140].max() <= 30
    np.testing.assert_array_equal(mixed[:90], photo[:90])


def test_a_crop_beside_the_photo_changes_nothing() -> None:
    photo = photo_of(60)
    away = SourceDetail(photo, (SIZE, SIZE), np.array([[1.0, 0, 500], [0, 1, 0]]))
    np.testing.assert_array_equal(made(away, photo_of(SIZE), identity() + 0.3, None), photo)


@pytest.fixture(scope="module")
def animator() -> Animator:
    return Animator(load_model("puppets").model, device="cpu", precision="fp32")


def test_puppets_are_sharper_and_no_less_true(animator: Animator) -> None:
    """Drawn at twice the model's resolution, against the drawn truth and the model's enlarged pictures."""
    side = 512
    errors, sharpness = [], []
    for seed in (5000, 5001):
        puppet, motion = random_identity(seed), random_motion(seed, 5, 6, neutral_start=True)
        camera = framing(puppet, motion, scale=1.6)
        truths = [draw(puppet, pose, side, camera).image for pose in motion]
        small = [cv2.resize(truth, (256, 256), interpolation=cv2.INTER_AREA) for truth in truths]
        absolute = AnimationSettings(relative=False)
        plain = animator.animate(small[0], small[1:], absolute)
        detail = SourceDetail(truths[0], (256, 256))
        for truth, one, other in zip(
            truths[1:], plain, animator.animate(small[0], small[1:], absolute, detail=detail), strict=True
        ):
            enlarged = cv2.resize(one, (side, side), interpolation=cv2.INTER_CUBIC)
            assert other.shape == truth.shape
            pictures = (truth, enlarged, other)
            errors.append([np.abs(picture.astype(float) - truth).mean() for picture in pictures[1:]])
            sharpness.append([cv2.Laplacian(picture, cv2.CV_32F).var() for picture in pictures])
    plain_error, error = np.mean(errors, 0)
    drawn, plain_sharpness, own_sharpness = np.mean(sharpness, 0)
    assert error < plain_error
    assert plain_sharpness < 0.2 * drawn and own_sharpness > 0.4 * drawn


def test_off_is_the_models_own_pictures_to_the_bit(animator: Animator) -> None:
    puppet, motion = random_identity(7), random_motion(8, 3, 6, neutral_start=True)
    frames = [draw(puppet, pose, 256, framing(puppet, motion, scale=1.6)).image for pose in motion]
    expected = [picture for one in animator.outputs(frames[0], frames) for picture in to_pictures(one.prediction)]
    np.testing.assert_array_equal(list(animator.animate(frames[0], frames, detail=None)), expected)


# ------------------------------------------------------------------------------------------------- from files to files


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    write_image(
        folder / "photo.png", draw(random_identity(1), Pose(roll=0.25), (640, 500), Camera(-0.3, 0.4, 4.5)).image
    )
    puppet, motion = random_identity(2), random_motion(3, 4, 12, neutral_start=True)
    (folder / "clip").mkdir()
    for index, pose in enumerate(motion):
        write_image(folder / "clip" / f"{index}.png", draw(puppet, pose, 192, framing(puppet, motion, scale=1.6)).image)
    save_weights(folder / "small.safetensors", small_model(), category="face", image_size=SIZE)
    return folder


@pytest.fixture(scope="module")
def tools(folder: Path) -> Iterator[CropTools]:
    model, info = load_model(folder / "small.safetensors")
    assert isinstance(info, CheckpointInfo)
    with FaceFinder() as finder:
        yield CropTools(Animator(model, device="cpu", precision="fp32"), info, finder, finder.landmarks)


def results(folder: Path, target: Path, tools: CropTools, **settings: object) -> list[np.ndarray]:
    animate_files(folder / "photo.png", folder / "clip", target, AnimationSettings(best_frame=False, **settings), tools)
    return [read_image(path) for path in sorted(target.glob("*.png"))]


def crops_of(folder: Path, target: Path) -> tuple[Crop, Crop]:
    matrices = json.loads((folder / f"{target.name}.json").read_text())["crop_matrices"]
    return tuple(Crop(np.array(matrices[side]), SIZE) for side in ("source", "driving"))  # type: ignore[return-value]


def test_off_is_the_pasted_crop_to_the_bit(folder: Path, tmp_path: Path, tools: CropTools) -> None:
    pictures = results(folder, tmp_path / "plain", tools)
    photo = read_image(folder / "photo.png")
    source, driving = crops_of(tmp_path, tmp_path / "plain")
    paste, frames = Paster(photo, source), [read_image(path) for path in sorted((folder / "clip").glob("*.png"))]
    expected = [paste(one) for one in tools.animator.animate(source.apply(photo), map(driving.apply, frames))]
    assert len(pictures) == 4
    np.testing.assert_array_equal(pictures, expected)


def test_the_photo_moves_within_its_crop_only(folder: Path, tmp_path: Path, tools: CropTools) -> None:
    pictures = results(folder, tmp_path / "source", tools, detail="source")
    photo = read_image(folder / "photo.png")
    source, _ = crops_of(tmp_path, tmp_path / "source")
    reached = reach(soft_mask(SIZE), source, photo)
    assert len(pictures) == 4 and 0.02 < reached.mean() < 0.9
    for picture in pictures:
        np.testing.assert_array_equal(picture[~reached], photo[~reached])
        assert (picture[reached] != photo[reached]).mean() > 0.5


def test_sizes_of_what_is_not_put_back(folder: Path, tmp_path: Path, tools: CropTools) -> None:
    cropped = results(folder, tmp_path / "cropped", tools, detail="source", embed=False)
    side = round(crops_of(tmp_path, tmp_path / "cropped")[0].side_px)
    assert side > SIZE and {picture.shape for picture in cropped} == {(side, side, 3)}
    whole = results(folder, tmp_path / "whole", tools, detail="source", crop=False)
    assert {picture.shape for picture in whole} == {(500, 640, 3)}
