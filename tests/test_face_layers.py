"""Model `face`: what is made of the photo alone: the side that it hides, drawn eyes, what colours may be painted."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from drawn_face import CENTRE, SIDE, lit_face, outline, somebody

from fomm.model.face import Face, FaceModel, Sitter, move
from fomm.model.face.canvas import polygon
from fomm.model.face.drawn_eyes import with_drawn_eyes
from fomm.model.face.hidden import HiddenSide
from fomm.model.face.mesh import EYES, MIRROR, REFERENCE, TRIANGLES, Pose, rotation_of
from fomm.model.face.paint import Palette
from fomm.model.face.skin import Skin
from fomm.model.face.surface import Surface


def posed(yaw: float, shape: np.ndarray = REFERENCE) -> Face:
    return Face(Pose(SIDE / 5, rotation_of(np.array([yaw, 0.0, 0.0])), np.array([*CENTRE, 0.0])).place(shape))


@pytest.fixture(scope="module")
def turned() -> Sitter:
    """A face that looks to the screen's right, where the light comes from, and hides its right side."""
    landmarks = posed(34).landmarks
    photo, person = lit_face(landmarks), outline(landmarks)
    head = polygon(cv2.convexHull(landmarks[:468, :2].astype(np.float32))[:, 0], (SIDE, SIDE)) > 127
    beside = head & (person < 0.5)  # the cheek behind the face's outline
    light = 0.75 + 0.25 * np.nonzero(beside)[1] / SIDE
    photo[beside] = np.array([190.0, 140, 115]) * light[:, None]
    return Sitter(photo, landmarks, np.maximum(person, head))


def test_every_landmark_has_one_on_the_other_side() -> None:
    np.testing.assert_array_equal(MIRROR[MIRROR], np.arange(468))
    np.testing.assert_allclose(REFERENCE[MIRROR] * [-1, 1, 1], REFERENCE[:468], atol=0.05)
    assert MIRROR[EYES[0].outer] == EYES[1].outer


def test_a_face_that_looks_ahead_hides_no_side() -> None:
    face = posed(0)
    assert HiddenSide.of(lit_face(face.landmarks), Surface(face, (SIDE, SIDE))) is None


def test_a_hidden_side_is_the_other_one_mirrored_in_its_own_light(turned: Sitter) -> None:
    photo = turned.photo.copy()
    cheek = 50  # on the screen's left, which the photo shows well
    x, y = np.round(turned.landmarks[cheek, :2]).astype(int)
    cv2.circle(photo, (int(x), int(y)), 5, (40, 160, 60), -1)
    surface = Surface(Face(turned.landmarks), (SIDE, SIDE))
    side = HiddenSide.of(photo, surface)
    assert side is not None
    at = np.round(side.points[MIRROR[cheek]]).astype(int)
    mark = side.texture[at[1], at[0], :3].astype(int)
    assert mark[1] - mark[0] > 60  # green, as on the other side
    bright = HiddenSide.of(turned.photo, surface)
    assert bright is not None
    area = np.s_[at[1] - 4 : at[1] + 5, at[0] - 4 : at[0] + 5]
    there = bright.texture[area][..., :3].mean((0, 1))
    here = turned.photo[y - 4 : y + 5, x - 4 : x + 5].mean((0, 1))
    light = turned.landmarks[[cheek, MIRROR[cheek]], 0] / SIDE * 0.25 + 0.75
    np.testing.assert_allclose(there / here, light[1] / light[0], rtol=0.06)


def test_a_turned_head_that_turns_back_shows_skin_where_the_photo_shows_none(turned: Sitter) -> None:
    source = Face(turned.landmarks)
    moved = move(source, posed(34 - 22), posed(34))
    result = FaceModel().portrait(turned)(moved).astype(int)
    inner = [p for p in (280, 425, 411, 352, 346) if moved.landmarks[p, 0] > moved.landmarks[1, 0]]
    x, y = np.round(moved.landmarks[inner, :2]).astype(int).T
    assert (result[y, x, 0] - result[y, x, 2] > 25).all()  # skin is red, what is behind it is blue


def test_bare_skin_has_the_photos_grain_and_not_its_wrinkles() -> None:
    face, rng = posed(0), np.random.default_rng(0)
    flat = np.broadcast_to([190.0, 140, 115], (SIDE, SIDE, 3))
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    middle = np.round(face.landmarks[[50, 101, 205], :2].mean(0)).astype(int)  # a cheek
    part = np.s_[middle[1] - 15 : middle[1] + 15, middle[0] - 15 : middle[0] + 15]
    points, flat_points = np.dstack([x, y])[part], np.dstack([y, x])[part]
    for level in (0.0, 2.0, 8.0):
        photo = np.clip(np.round(flat + rng.normal(0, level, flat.shape)), 0, 255).astype(np.uint8)
        grain = Skin(photo, face).at(points, flat_points).std((0, 1)).mean()
        assert 0.6 * level <= grain < 1.2 * level + 0.6
        wrinkled = photo.copy()
        for landmark in range(0, 468, 9):
            cv2.circle(wrinkled, np.round(face.landmarks[landmark, :2]).astype(int).tolist(), 6, (90, 50, 40), 1)
        seen = Skin(wrinkled, face).at(points, flat_points)
        assert seen.min() > flat.min() - 25 - 4 * level  # a wrinkle is 90 levels darker


def test_skin_under_hair_has_the_skins_colour() -> None:
    """Black hair over both temples, within the face's outline; the left half of the face is in the shade."""
    face, skin = posed(0), np.array([190.0, 140, 115])
    photo = np.broadcast_to(skin, (SIDE, SIDE, 3)).copy()
    photo[:, : int(face.landmarks[1, 0])] *= 0.5
    temples = face.landmarks[[127, 356], :2]
    for x, y in np.round(temples).astype(int).tolist():
        cv2.circle(photo, (x, y), 22, (25, 26, 32), -1)
    there = Skin(photo.astype(np.uint8), face).at(temples[None].astype(np.float32), np.zeros((1, 2, 2), np.float32))
    np.testing.assert_allclose(there[0, 0], 0.5 * skin, rtol=0.2)
    np.testing.assert_allclose(there[0, 1], skin, rtol=0.2)


def test_skin_in_the_shade_has_less_grain() -> None:
    """As pores are dark and light parts of the skin's own colour."""
    face, rng = posed(0), np.random.default_rng(0)
    shade = np.clip((np.arange(SIDE) - face.landmarks[1, 0]) / 20, -0.7, 0)[None, :, None] + 1  # left of the nose
    photo = np.array([190.0, 140, 115]) * (1 + rng.normal(0, 0.05, (SIDE, SIDE, 1)))
    skin = Skin(np.clip(np.round(photo * shade), 0, 255).astype(np.uint8), face)
    y, x = np.mgrid[-15:15, -15:15].astype(np.float32)
    spread = []
    for cheek in (205, 425):
        middle = np.round(face.landmarks[cheek, :2]).astype(np.float32)
        spread.append(skin.at(np.dstack([x, y]) + middle, np.dstack([y, x])).std((0, 1)).mean())
    assert spread[0] < 0.5 * spread[1]


def test_a_hidden_side_does_not_show_before_it_is_turned_to_the_viewer(turned: Sitter) -> None:
    side = HiddenSide.of(turned.photo, Surface(Face(turned.landmarks), (SIDE, SIDE)))
    assert side is not None
    shown = [side.shown(posed(yaw).pose) for yaw in (50, 34, 28, 10)]
    assert shown[:2] == [0, 0] and 0 < shown[2] < 1 and shown[3] == 1


def areas(points: np.ndarray) -> np.ndarray:
    a, b, c = (points[TRIANGLES[:, k], :2] for k in range(3))
    return np.cross(b - a, c - a)


@pytest.mark.parametrize("seed", range(4))
def test_next_to_nothing_is_shown_mirrored(seed: int) -> None:
    """Landmarks of a photo are wrong here and there: parts of its mesh look away that look here after the motion."""
    rng = np.random.default_rng(seed)
    start, shape = somebody(seed), somebody(seed)
    wrong = rng.choice(468, 12, replace=False)
    shape[wrong, :2] += rng.normal(0, 0.08, (12, 2))
    source = posed(0, shape)
    surface = Surface(source, (SIDE, SIDE))
    still, _ = surface.photo_points_of(move(source, posed(0, start), posed(0, start)))
    np.testing.assert_array_equal(still, surface.photo_points)
    moved = move(source, posed(1, start), posed(0, start))._replace(landmarks=posed(0, start).landmarks)
    before = (areas(moved.landmarks) > 0) & (areas(source.landmarks) <= 0)
    shown, _ = surface.photo_points_of(moved)
    after = (areas(moved.landmarks) > 0) & (areas(shown) <= 0)
    drawn = areas(moved.landmarks)
    assert before.sum() > 5 and drawn[after].sum() < 0.02 * drawn[before].sum()
    assert np.abs(shown - surface.photo_points).max() < 0.6 * source.pose.scale


def test_lids_are_moved_to_the_edge_of_eyes_that_are_drawn_larger() -> None:
    landmarks = posed(0).landmarks
    photo = lit_face(landmarks)
    assert with_drawn_eyes(photo, landmarks) is landmarks
    drawn = []
    for eye in EYES:
        points = landmarks[eye.opening, :2]
        middle, half = points.mean(0), np.ptp(points, axis=0) / 2 * [1.1, 1.7]
        cv2.ellipse(photo, [int(v) for v in np.round(middle)], [int(v) for v in half], 0, 0, 360, (250, 250, 250), -1)
        drawn.append((photo > 240).all(2))
        iris = landmarks[eye.iris, :2]
        cv2.circle(photo, [int(v) for v in np.round(iris[0])], 4, (60, 40, 30), -1)
    found = with_drawn_eyes(photo, landmarks)
    for eye in EYES:
        inside = polygon(found[eye.opening, :2], (SIDE, SIDE)) > 0
        near = cv2.dilate(inside.astype(np.uint8), np.ones((25, 25))) > 0
        white = (photo.min(2) > 240) & near
        assert white.sum() > 100 and (white & ~inside).sum() < 0.03 * white.sum()
    away = np.setdiff1d(np.arange(468), np.concatenate([[*e.opening, *e.crease, *e.bag, *e.fold] for e in EYES]))
    np.testing.assert_array_equal(found[away], landmarks[away])


def test_a_grey_photo_is_painted_grey_and_a_dark_one_dark() -> None:
    face = posed(0)
    photo = lit_face(face.landmarks)
    teeth = np.array([[[235.0, 225, 205], [150, 40, 45], [30, 10, 12]]], np.float32)
    kept = Palette(photo, face).fit(teeth.copy())
    np.testing.assert_allclose(kept[0, 1:], teeth[0, 1:], atol=2)
    grey = np.repeat(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    assert np.ptp(Palette(grey, face).fit(teeth.copy()), axis=2).max() < 2
    sepia = np.clip(grey * np.array([1.0, 0.85, 0.65]), 0, 255).astype(np.uint8)
    dark = (photo // 6).astype(np.uint8)
    held = Palette(dark, face).fit(teeth.copy())
    assert held.max() < 60 and held[0, 0].sum() > held[0, 2].sum()
    warm = Palette(sepia, face).fit(teeth.copy())
    assert (warm[0, 0, 0] > warm[0, 0, 2]).all()


def test_painted_teeth_have_the_colour_of_those_that_the_photo_shows() -> None:
    """And of the same light as they were; lips, tongue and the dark stay, and all of it where the photo shows none."""
    face = posed(0)
    palette = Palette(lit_face(face.landmarks), face)
    own, bluish, tongue, dark = (230, 205, 185), (190.0, 200, 205), (150.0, 70, 75), (30.0, 12, 14)
    patch, shown = np.full((8, 10, 3), own, np.uint8), np.full((8, 10), 255, np.uint8)
    painted = np.tile(np.array([bluish, tongue, dark], np.float32)[:, None], (1, 10, 1))[[0, 0, 0, 0, 1, 1, 2, 2]]
    made = palette.teeth_like(painted, patch, shown)
    np.testing.assert_array_equal(made[4:], painted[4:])
    np.testing.assert_allclose(made[0, 0] / made[0, 0].sum(), np.array(own) / sum(own), atol=0.005)
    light = [0.299, 0.587, 0.114]
    np.testing.assert_allclose(made[0, 0] @ light, np.array(bluish) @ light, rtol=0.01)
    np.testing.assert_array_equal(palette.teeth_like(painted, patch, np.zeros_like(shown)), painted)
    np.testing.assert_array_equal(palette.teeth_like(painted, np.full_like(patch, (120, 50, 50)), shown), painted)


def test_under_yellow_varnish_painted_teeth_are_no_whiter_than_the_eyes() -> None:
    face = posed(0)
    varnish = np.array([1.0, 0.75, 0.4])
    photo = lit_face(face.landmarks)
    for eye in EYES:
        photo[polygon(face.landmarks[eye.opening, :2], (SIDE, SIDE)) > 0] = 230
    painted = np.array([[(200, 220, 190), (160, 70, 50), (40, 20, 8)]], np.float32)
    nothing = np.zeros((1, 3, 3), np.uint8), np.zeros((1, 3), np.uint8)
    np.testing.assert_array_equal(Palette(photo, face).teeth_like(painted, *nothing), painted)
    made = Palette((photo * varnish).astype(np.uint8), face).teeth_like(painted, *nothing)
    assert made[0, 0, 2] < 0.6 * made[0, 0, 0] and made[0, 0, 1] < 0.9 * made[0, 0, 0]
    light = [0.299, 0.587, 0.114]
    assert made[0, 0] @ light == pytest.approx(painted[0, 0] @ light, rel=0.03)  # red is full
    np.testing.assert_array_equal(made[0, 1:], painted[0, 1:])
