"""The measures of benchmarks/face.py on pictures and meshes of which the right number is known."""

from __future__ import annotations

import doctest
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from fomm import expression
from fomm.expression import rotation_of
from preprocess.crop import Crop, crop_matrix

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def bench():  # noqa: ANN201 - a module
    spec = importlib.util.spec_from_file_location("face_benchmark", ROOT / "benchmarks" / "face.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def textured(size: int = 128) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 1, (size, size, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.5)
    return np.clip(128 + 60 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def shifted(picture: np.ndarray, x: float, y: float) -> np.ndarray:
    """Moved by (x, y) pixels, exactly (cv2 rounds to parts of a pixel)."""
    fy, fx = np.fft.fftfreq(picture.shape[0])[:, None], np.fft.fftfreq(picture.shape[1])
    turn = np.exp(-2j * np.pi * (fx * x + fy * y))[..., None]
    moved = np.fft.ifft2(np.fft.fft2(picture, axes=(0, 1)) * turn, axes=(0, 1)).real
    return np.clip(np.round(moved), 0, 255).astype(np.uint8)


def talking_face(frames: int = 40) -> np.ndarray:
    """(T, 478, 3): mouth, lids, irises and head go their ways."""
    rng = np.random.default_rng(1)
    rest = rng.normal(0, 60, (expression.LANDMARKS, 3))
    rest[[33, 133, 362, 263]] = [[-45, 0, 0], [-15, 0, 0], [15, 0, 0], [45, 0, 0]]
    rest[[10, 152]] = [[0, -60, 0], [0, 90, 0]]
    for upper, lower in zip(expression.UPPER_LIDS, expression.LOWER_LIDS, strict=True):
        rest[list(lower)] = rest[list(upper)]
    rest[list(expression.LOWER_LIP)] = rest[list(expression.UPPER_LIP)]
    meshes = []
    for time in np.linspace(0, 6, frames):
        mesh = rest.copy()
        mesh[list(expression.LOWER_LIP), 1] += 15 * (1 + np.sin(3 * time))
        for lids in expression.LOWER_LIDS:
            mesh[list(lids), 1] += 5 * (1 + np.cos(2 * time))
        mesh[list(expression.IRISES), 0] += 4 * np.sin(time)
        meshes.append(mesh @ rotation_of(12 * np.sin(time), 5 * np.cos(time) - 5, 0).T + 128)
    return np.array(meshes)


def test_doctests(bench) -> None:
    result = doctest.testmod(bench)
    assert result.attempted and not result.failed


def test_a_perfect_copy_comes_first_and_the_still_picture_last(bench) -> None:
    driver = talking_face()
    copy, still = bench.follow(driver, driver, []), bench.follow(driver, np.repeat(driver[:1], len(driver), 0), [])
    for name in ("mouth", "eyes", "gaze"):
        assert copy[f"{name}, correlation"] == pytest.approx(1)
        assert still[f"{name}, correlation"] == 0
    assert copy["mouth, slope"] == pytest.approx(1) and still["mouth, slope"] == 0
    assert copy["shut eyes followed, %"] == 100 and still["shut eyes followed, %"] == 0
    assert copy["pose error, degrees"] == pytest.approx(0, abs=1e-6)
    assert still["yaw error, degrees"] > 5
    assert "mouth, correlation" not in bench.follow(driver, driver, ["mouth"])


def test_trembling_is_that_of_the_pixels(bench) -> None:
    """Pictures shifted by known parts of a pixel."""
    picture, rng = textured(), np.random.default_rng(2)
    shifts = rng.normal(0, 0.1, (30, 2))
    shaken = [shifted(picture, *shift) for shift in shifts]
    points = rng.uniform(20, 108, (100, 2))
    wanted = np.sqrt(np.square(shifts - shifts.mean(0)).sum(-1).mean())
    assert bench.trembling(shaken, points) == pytest.approx(wanted, rel=0.1)
    assert bench.trembling([picture] * 5, points) == 0


def test_changed_share_counts_only_what_should_stand_still(bench) -> None:
    photo = np.zeros((10, 10, 3), np.uint8)
    result, still = photo.copy(), np.zeros((10, 10), bool)
    still[:5] = True
    result[0] = 1  # one level is rounding
    result[1, :5, 2] = 2
    result[9] = 200
    assert bench.changed_share(photo, result, still) == pytest.approx(5 / 50)
    assert np.isnan(bench.changed_share(photo, result, np.zeros_like(still)))


def test_a_blurred_face_is_less_sharp(bench) -> None:
    picture, everywhere = textured(), np.ones((128, 128), bool)
    blurred = cv2.GaussianBlur(picture, (0, 0), 3)
    assert bench.laplacian_variance(blurred, everywhere) < 0.2 * bench.laplacian_variance(picture, everywhere)


def test_what_filters_in_time_sees_every_frame(bench) -> None:
    class Echo:
        name = "echo"

        def animate(self, source: np.ndarray, driving: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
            self.seen = list(driving)
            yield from self.seen

    frames = [np.full((2, 2, 3), number, np.uint8) for number in range(10)]
    echo = Echo()
    for temporal, shown in ((False, 4), (True, 10)):
        echo.temporal = temporal
        takes = list(bench.perform(echo, frames[0], frames, 3))
        assert [take.result[0, 0, 0] for take in takes] == [take.driving[0, 0, 0] for take in takes] == [0, 3, 6, 9]
        assert len(echo.seen) == shown and [take.index for take in takes] == [0, 1, 2, 3]


def test_sized_crops_show_the_same_square(bench) -> None:
    small = Crop(crop_matrix(np.array([60.0, 70.0]), 50.0, 10.0, 64), 64)
    large = bench.sized(small, 256)
    assert large.corners_px == pytest.approx(small.corners_px)


def test_what_was_seen_is_kept(bench, tmp_path: Path) -> None:
    picture, mesh, calls = textured(16), np.arange(6.0).reshape(2, 3), []

    def see() -> np.ndarray:
        calls.append(1)
        return mesh

    for _ in range(2):
        store = bench.Store(tmp_path)
        assert (store("mesh", picture, see) == mesh).all()
        assert store("nothing", picture, lambda: None) is None
    assert len(calls) == 1
