"""Drawn heads: what is said of a drawing is what is seen in it, and MediaPipe sees the same."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from fomm.errors import InputError
from fomm.model.face.mesh import MIRROR
from preprocess.synthetic.face_mesh import (
    CORNERS,
    FACE_TRIANGLES,
    FINE,
    LIP_POINTS,
    LOWER_LID,
    LOWER_LIP,
    MEAN,
    UPPER_LID,
    UPPER_LIP,
    normals_of,
)
from preprocess.synthetic.head_painter import HeadDrawing, draw_head
from preprocess.synthetic.head_set import mesh_error, opening_error, write_heads
from preprocess.synthetic.heads import (
    Expression,
    Head,
    frame_head,
    random_expression,
    random_head,
    random_stance,
    surface_of,
)
from preprocess.synthetic.puppet_model import Camera, Pose

OPEN = Expression(jaw=0.7, bare_lower=0.4)
SHUT = Expression(blink_left=1.0, blink_right=1.0)


@pytest.fixture(scope="module")
def head() -> Head:
    return replace(random_head(7), finish="skin", glasses="", beard_growth=0.0)


def portrait(head: Head, expression: Expression = Expression(), pose: Pose = Pose(), size: int = 128) -> HeadDrawing:  # noqa: B008
    return draw_head(head, pose, expression, size, frame_head(head, [Pose()], scale=1.5))


def differing(one: HeadDrawing, other: HeadDrawing, by: int = 8) -> np.ndarray:
    """(H, W) bool: pixels that differ by more than `by` levels."""
    return np.abs(one.image.astype(int) - other.image).max(-1) > by


def inside(drawing: HeadDrawing, points: list[int], grow: int = 0) -> np.ndarray:
    """(H, W) bool: the polygon of these landmarks, grown by some pixels."""
    mask = np.zeros(drawing.image.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.rint(drawing.landmarks_px[points, :2]).astype(np.int32)], 1)
    return cv2.dilate(mask, np.ones((2 * grow + 1,) * 2, np.uint8)) > 0


MOUTH = UPPER_LIP[0] + LOWER_LIP[0][::-1]
EYES = {side: UPPER_LID[side] + LOWER_LID[side][::-1] for side in (-1, 1)}


# ------------------------------------------------------------------------------------------------------ the surface


def test_the_mesh_is_a_disc_with_three_holes_and_symmetric() -> None:
    sides = FACE_TRIANGLES[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    assert len(np.unique(sides, axis=0)) == len(sides), "neighbours are wound alike: each side is gone once each way"
    edges = np.unique(np.sort(sides, 1), axis=0)
    assert len(MEAN) - len(edges) + len(FACE_TRIANGLES) == 1 - 3
    np.testing.assert_array_equal(MIRROR[MIRROR], np.arange(468))
    np.testing.assert_allclose(MEAN[MIRROR], MEAN * [-1, 1, 1], atol=2e-3)


def test_refined_borders_keep_their_corners_and_normals_point_outwards() -> None:
    np.testing.assert_allclose(FINE[CORNERS], MEAN[CORNERS])
    normals = normals_of(FINE)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-6)
    assert normals[4, 2] > 0.7 and normals[234, 0] < -0.7 and normals[454, 0] > 0.7 and normals[152, 1] > 0.5


def test_a_head_that_tilts_takes_its_landmarks_along(head: Head) -> None:
    camera, angle = Camera(0.0, 0.3, 3.4), 0.25
    rest, tilted = (draw_head(head, pose, OPEN, 96, camera).landmarks_px for pose in (Pose(), Pose(roll=angle)))
    pivot = camera.to_pixels(np.array([0.0, 0.95]), 96, 96)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    np.testing.assert_allclose(tilted[:, :2], (rest[:, :2] - pivot) @ turn.T + pivot, atol=1e-3)
    np.testing.assert_allclose(tilted[:, 2], rest[:, 2], atol=1e-3)


def test_depth_is_that_of_a_solid_head(head: Head) -> None:
    """Under yaw every point moves as x cos + z sin, with z towards the viewer."""
    camera, yaw = Camera(0.0, 0.3, 3.4), 0.3
    rest, turned = (draw_head(head, pose, OPEN, 96, camera).landmarks_px for pose in (Pose(), Pose(yaw=yaw)))
    middle = camera.to_pixels(np.zeros(2), 96, 96)[0]
    expected = (rest[:, 0] - middle) * np.cos(yaw) - rest[:, 2] * np.sin(yaw)
    np.testing.assert_allclose(turned[:, 0] - middle, expected, atol=1e-3)
    assert rest[4, 2] == rest[:468, 2].min()  # the nose's tip is nearest


@pytest.mark.parametrize("seed", range(6))
def test_shut_is_shut_and_open_is_open(seed: int) -> None:
    head = random_head(seed)
    for expression, shut in ((SHUT, True), (Expression(), False), (Expression(blink_left=1.0), None)):
        points = surface_of(head, expression).points
        left, right = points[145, 1] - points[159, 1], points[374, 1] - points[386, 1]
        assert left < 0.006 if shut is not False else left > 0.05
        assert right < 0.006 if shut else right > 0.05
    mouths = [surface_of(head, Expression(jaw=jaw)).points for jaw in (0.0, 0.5, 1.0)]
    gaps = [points[14, 1] - points[13, 1] for points in mouths]
    assert gaps[0] == pytest.approx(0, abs=1e-9) and 0.08 < gaps[1] < gaps[2]
    np.testing.assert_allclose(mouths[0][[10, 33, 263, 168]], mouths[2][[10, 33, 263, 168]], atol=1e-9)
    assert mouths[2][152, 1] > mouths[0][152, 1] + 0.1  # the chin goes down


def test_one_sided_expressions_move_one_side(head: Head) -> None:
    rest, smile = (surface_of(head, e).points for e in (Expression(), Expression(smile_left=1.0)))
    moved = np.linalg.norm(smile - rest, axis=1)
    assert moved[61] > 0.08 and moved[291] < 0.02 and moved[50] > 2 * moved[280]


# ------------------------------------------------------------------------------------------------------ the drawing


def test_equal_seeds_give_equal_pictures_whatever_was_drawn_before() -> None:
    first = portrait(random_head(3), random_expression(4), random_stance(5))
    for seed in range(20, 24):
        portrait(random_head(seed), size=64)
    again = portrait(random_head(3), random_expression(4), random_stance(5))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.landmarks_px, again.landmarks_px)
    assert first.image.shape == (128, 128, 3) and first.landmarks_px.shape == (478, 3)
    assert differing(first, portrait(random_head(4), random_expression(4), random_stance(5))).mean() > 0.2


def test_shut_lids_show_nothing_of_the_eyes(head: Head) -> None:
    other = replace(head, iris=(10.0, 200.0, 10.0), sclera=(10.0, 10.0, 200.0))
    for pose in (Pose(), Pose(yaw=0.4), Pose(pitch=0.25, roll=0.2)):
        np.testing.assert_array_equal(portrait(head, SHUT, pose).image, portrait(other, SHUT, pose).image)
    one, another = portrait(head), portrait(other)
    changed = differing(one, another)
    seen = inside(one, EYES[-1], 2) | inside(one, EYES[1], 2)
    assert changed.sum() > 40 and not (changed & ~seen).any()
    winking = differing(*(portrait(h, Expression(blink_left=1.0)) for h in (head, other)))
    assert not (winking & inside(one, EYES[-1], 2)).any() and (winking & inside(one, EYES[1])).any()


def test_an_open_mouth_shows_teeth_and_dark_and_a_shut_one_neither(head: Head) -> None:
    head = replace(head, teeth=(240.0, 232.0, 220.0))
    other = replace(head, teeth=(60.0, 60.0, 240.0))
    np.testing.assert_array_equal(portrait(head).image, portrait(other).image)
    one = portrait(head, OPEN)
    changed, mouth = differing(one, portrait(other, OPEN)), inside(one, MOUTH, 1)
    assert changed.sum() > 0.08 * mouth.sum() and not (changed & ~inside(one, MOUTH, 2)).any()
    levels = one.image[mouth].astype(float).mean(-1)
    assert np.quantile(levels, 0.1) < 70 < 120 < np.quantile(levels, 0.95)


@pytest.mark.parametrize("gaze", [-0.7, 0.0, 0.7])
def test_irises_are_where_the_landmarks_say(head: Head, gaze: float) -> None:
    expression = Expression(gaze_x=gaze, wide=1.0)
    one, another = (
        portrait(h, expression, size=256) for h in (head, replace(head, iris=(30.0, 240.0, 30.0), pupil=0.1))
    )
    changed = differing(one, another, 20)
    for side, centre in ((-1, 468), (1, 473)):
        ys, xs = np.nonzero(changed & inside(one, EYES[side], 2))
        assert (xs.min() + xs.max()) / 2 == pytest.approx(one.landmarks_px[centre, 0], abs=2.0)
        assert np.ptp(xs) < np.ptp(one.landmarks_px[centre : centre + 5, 0]) + 3


def test_light_from_one_side_lights_that_side(head: Head) -> None:
    light = replace(head.light, direction=(0.95, -0.1, 0.3), key=(1.0, 1.0, 1.0), sky=(0.2,) * 3, ground=(0.1,) * 3)
    drawing = portrait(replace(head, light=light))
    left, right = (drawing.image[inside(drawing, [k, k], 4)].mean() for k in (50, 280))
    assert right > 1.4 * left


def test_a_statue_has_one_colour() -> None:
    heads = (random_head(seed) for seed in range(200))
    drawing = portrait(next(h for h in heads if h.finish == "statue"))
    eye = inside(drawing, EYES[1])
    skin = inside(drawing, [280, 280], 3)
    hues = [drawing.image[where].astype(float).mean(0) for where in (eye, skin)]
    shares = [colour / colour.sum() for colour in hues]
    np.testing.assert_allclose(shares[0], shares[1], atol=0.03)


def test_chance_stays_within_what_the_fields_say() -> None:
    signed = {
        "jaw_side",
        "smile_left",
        "smile_right",
        "stretch",
        "gaze_x",
        "gaze_y",
        "brow_left",
        "brow_right",
        "brow_inner",
    }
    expressions = [random_expression(seed) for seed in range(400)]
    for field in fields(Expression):
        values = np.array([getattr(e, field.name) for e in expressions])
        assert values.min() >= (-1 if field.name in signed else 0) and values.max() <= 1
        assert np.ptp(values) > 0.6, field.name
    assert 0.1 < np.mean([e.blink_left == e.blink_right == 1 for e in expressions]) < 0.3
    assert 0.1 < np.mean([e.jaw > 0.5 for e in expressions]) < 0.4
    poses = [random_stance(seed) for seed in range(400)]
    assert max(abs(p.yaw) for p in poses) <= 0.61 and max(abs(p.pitch) for p in poses) <= 0.35


# ------------------------------------------------------------------------------------------------- what others see


def test_mediapipes_mesh_fits_the_drawing() -> None:
    """Lids, lips and irises within 2 % of the face's width, open and shut alike."""
    pytest.importorskip("mediapipe")
    from preprocess.faces import FaceFinder

    errors, gaps = [], []
    with FaceFinder() as finder:
        for seed in range(20):
            head = random_head(400 + seed)
            drawing = draw_head(head, random_stance(seed), random_expression(seed), 256, frame_head(head, [Pose()]))
            mesh, truth = finder.mesh(drawing.image), drawing.landmarks_px
            assert mesh is not None
            away = np.linalg.norm((mesh - truth)[:, :2], axis=1) / np.ptp(truth[:468, 0])
            lids = np.concatenate([*UPPER_LID.values(), *LOWER_LID.values()])
            errors.append([away[LIP_POINTS].mean(), away[lids].mean(), away[[468, 473]].mean()])
            gaps.append([np.linalg.norm((points[13] - points[14])[:2]) for points in (truth, mesh)])
    assert (np.median(errors, 0) < 0.02).all()
    assert np.corrcoef(np.transpose(gaps))[0, 1] > 0.93


def test_a_mesh_elsewhere_or_else_open_does_not_fit(head: Head) -> None:
    truth = portrait(head).landmarks_px
    assert mesh_error(truth, truth) == 0 and opening_error(truth, truth) <= 0
    width = np.ptp(truth[:468, 0])
    assert mesh_error(truth + [0.05 * width, 0, 0], truth) == pytest.approx(0.05, rel=1e-3)
    shut = portrait(head, SHUT).landmarks_px
    assert opening_error(truth, shut) > 0.03


def test_a_training_set_is_whole_and_equal_when_drawn_again(tmp_path: Path) -> None:
    pytest.importorskip("mediapipe")
    for name in "ab":
        write_heads(tmp_path / name, identities=2, frames=2, size=128, seed=5)
    whole = {name: np.load(tmp_path / "a" / f"{name}.npy") for name in ("frames", "mesh", "truth", "acts")}
    assert whole["frames"].shape == (2, 2, 128, 128, 3) and whole["frames"].dtype == np.uint8
    assert whole["mesh"].shape == whole["truth"].shape == (2, 2, 478, 3) and whole["acts"].shape == (2, 2, 29)
    for name, array in whole.items():
        np.testing.assert_array_equal(array, np.load(tmp_path / "b" / f"{name}.npy"))
    for mesh, truth in zip(whole["mesh"].reshape(-1, 478, 3), whole["truth"].reshape(-1, 478, 3), strict=True):
        assert mesh_error(mesh, truth) < 0.035
    with pytest.raises(InputError, match="exists already"):
        write_heads(tmp_path / "a", identities=2)
    with pytest.raises(InputError, match="identities 0"):
        write_heads(tmp_path / "c", identities=0)
