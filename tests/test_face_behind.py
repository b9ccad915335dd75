"""The background behind a person, on backgrounds that are known there too."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from fomm.model.face.behind import fill, spread

SIDE, FACE_PX = 240, 100.0


def person(size: int = SIDE, radius: int = 50) -> np.ndarray:
    """(size, size) float32, 1 on a disc, with a soft edge."""
    mask = np.zeros((size, size), np.uint8)
    cv2.circle(mask, (size // 2, size // 2), radius, 255, -1, cv2.LINE_AA)
    return cv2.GaussianBlur(mask, (0, 0), 2) / np.float32(255)


def behind(background: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """The background as it is filled in behind a magenta person; where nothing is hidden it has to be itself."""
    photo = background.copy()
    photo[hidden > 0.27] = (200, 0, 200)
    made = fill(photo, hidden, FACE_PX)
    np.testing.assert_array_equal(made[hidden == 0], background[hidden == 0])
    return made


def off(one: np.ndarray, other: np.ndarray, where: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - other)[where].mean())


def test_structure_goes_on() -> None:
    """Panels, a wall that ends, stripes: what goes on straight is found again where a smooth fill shows a blur."""
    y, x = np.mgrid[:SIDE, :SIDE]
    hidden = person()
    for wall in (
        np.where(y < 110, 200, 90),
        np.where(x // 24 % 2, 170, 110),
        np.where((y - x // 4) % 60 < 12, 60, 180),
    ):
        background = np.dstack([wall, wall, 0.8 * wall]).astype(np.uint8)
        photo = background.copy()
        photo[hidden > 0.27] = (200, 0, 200)
        smooth = spread(photo.astype(np.float32), (hidden <= 0.27).astype(np.float32))
        assert off(behind(background, hidden), background, hidden > 0) < 0.6 * off(smooth, background, hidden > 0)


@pytest.mark.parametrize(("centre", "radius"), [((60, 180), 90), ((0, 120), 130), ((40, 240), 150)])
def test_an_edge_that_no_other_place_shows_goes_on_too(centre: tuple[int, int], radius: int) -> None:
    """A round hill: nowhere else it is as steep as where the person hides it."""
    background = np.full((SIDE, SIDE, 3), (210, 225, 235), np.uint8)
    cv2.circle(background, centre, radius, (90, 120, 100), -1, cv2.LINE_AA)
    hidden = person()
    uncovered = (hidden > 0) & (cv2.distanceTransform((hidden > 0).astype(np.uint8), cv2.DIST_L2, 5) < 0.2 * FACE_PX)
    assert off(behind(background, hidden), background, uncovered) < 6


def test_a_horizon_goes_on_level() -> None:
    """Behind a tall person that leaves little beside them."""
    height, width = 360, 200
    rng = np.random.default_rng(0)
    y = np.mgrid[:height, :width][0]
    sky, hills, lake = (np.array(one) for one in ((225.0, 232, 228), (120.0, 130, 110), (180.0, 190, 195)))
    background = np.where((y < 150)[..., None], sky, np.where((y < 230)[..., None], hills, lake))
    background = np.clip(background + rng.normal(0, 3, background.shape), 0, 255).astype(np.uint8)
    hidden = np.zeros((height, width), np.float32)
    cv2.ellipse(hidden, (width // 2, 160), (55, 90), 0, 0, 360, 1.0, -1)
    hidden[200:, 20:-20] = 1
    made = behind(background, hidden)
    beside = np.s_[165:215, 48:70], np.s_[165:215, 130:152]  # what a head that moves uncovers
    for part in beside:
        assert np.abs(made[part].mean((0, 1)) - hills).max() < 25
    assert made[90:130, 60:140].mean() > 200


def test_light_goes_on_smoothly() -> None:
    y, x = np.mgrid[:SIDE, :SIDE]
    background = np.dstack([60 + 0.5 * x, 80 + 0.3 * y, 150 - 0.2 * x - 0.2 * y]).astype(np.uint8)
    hidden = person()
    made = behind(background, hidden)
    assert off(made, background, hidden > 0) < 4
    steps = np.abs(np.diff(made.astype(int), axis=1)).max(2)
    assert steps.max() <= 4  # no seam


def test_the_outline_is_not_seen() -> None:
    """Of clouds nobody can say how they go on; what is made begins where they end all the same."""
    rng = np.random.default_rng(0)
    clouds = cv2.GaussianBlur(rng.normal(0, 900, (SIDE, SIDE, 3)), (0, 0), 12)
    background = np.clip(128 + clouds, 0, 255).astype(np.uint8)
    hidden = person()
    made = behind(background, hidden)
    steps, natural = (np.abs(np.diff(one.astype(int), axis=1)).max() for one in (made, background))
    assert steps <= 2 * natural


def test_grain_goes_on() -> None:
    rng = np.random.default_rng(0)
    background = np.clip(120 + rng.normal(0, 8, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
    hidden = person()
    rim = (hidden > 0.9) & (cv2.erode(hidden, np.ones((15, 15))) < 0.5)
    assert 0.7 < behind(background, hidden)[rim].std() / background.std() < 1.2


@pytest.mark.parametrize("shape", [(240, 240), (9, 9), (5, 40), (1, 1), (60, 4)])
def test_whatever_the_photo_shows(shape: tuple[int, int]) -> None:
    """Nothing hidden, all of it, all but a corner, and photos smaller than a patch."""
    photo = np.random.default_rng(0).integers(0, 255, (*shape, 3), np.uint8)
    corner = np.ones(shape, np.float32)
    corner[: shape[0] // 8 + 1, : shape[1] // 8 + 1] = 0
    for hidden in (np.zeros(shape, np.float32), np.ones(shape, np.float32), corner):
        made = fill(photo, hidden, FACE_PX)
        assert made.shape == photo.shape and made.dtype == np.uint8
        np.testing.assert_array_equal(made[hidden == 0], photo[hidden == 0])
