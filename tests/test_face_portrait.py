"""Model `face`: dense motion and layers."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from drawn_face import CENTRE, SIDE, lit_face, outline, somebody

from fomm.model.face import Face, FaceModel, Moved, Sitter, move
from fomm.model.face.canvas import Canvas, polygon, shrunk
from fomm.model.face.crown import crowned
from fomm.model.face.generator import PATCH_WH, SUPPORT_PX, conditions, patch_matrix
from fomm.model.face.layers import LAYERS_PX, Layers
from fomm.model.face.matte import foreground, refine_matte, strands
from fomm.model.face.mesh import (
    BROWS,
    CHIN,
    EYES,
    FOREHEAD,
    LIPS,
    MOUTH,
    MOUTH_CORNERS,
    OVAL,
    REFERENCE,
    Eye,
    Pose,
    rotation_of,
)
from fomm.model.face.motion import move_pose
from fomm.model.face.paint import (
    ARCH,
    ARCH_START,
    DARKNESS,
    GAP_DARK,
    GAP_WIDTH,
    TEETH_END,
    deep,
    in_a_row,
    light_on_teeth,
)
from fomm.model.face.portrait import finer, without_specks
from fomm.model.face.surface import NECK_ROOM, Surface

AT_REST = Pose(SIDE / 5, rotation_of(np.array([4.0, -3.0, 2.0])), np.array([*CENTRE, 0.0]))


@pytest.fixture(scope="module")
def sitter() -> Sitter:
    landmarks = AT_REST.place(somebody(1))
    return Sitter(lit_face(landmarks), landmarks, outline(landmarks))


def turned(sitter: Sitter, angles: tuple[float, float, float], shift: tuple[float, float] = (0, 0)) -> Moved:
    source = Face(sitter.landmarks)
    place = np.array([*shift, 0.0])
    driving = Pose(AT_REST.scale, rotation_of(np.array(angles)) @ AT_REST.rotation, AT_REST.shift + place)
    return move(source, Face(driving.place(source.shape)), source)


def test_the_photo_comes_back_unchanged_where_nothing_moves(sitter: Sitter) -> None:
    np.testing.assert_array_equal(FaceModel().portrait(sitter)(turned(sitter, (0, 0, 0))), sitter.photo)


def test_dense_motion_at_rest_is_the_identity(sitter: Sitter) -> None:
    surface = Surface(Face(sitter.landmarks), (SIDE, SIDE))
    field = surface.field(surface.vertices(turned(sitter, (0, 0, 0))), np.eye(2, 3), (SIDE, SIDE))
    x, y = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    assert field.covered.all()
    np.testing.assert_allclose(field.points, np.dstack([x, y]), atol=0.01)


def test_dense_motion_leads_landmarks_back_to_where_the_photo_has_them(sitter: Sitter) -> None:
    source = Face(sitter.landmarks)
    surface, moved = Surface(source, (SIDE, SIDE)), turned(sitter, (8, 5, -6), (12, -7))
    field = surface.field(surface.vertices(moved), np.eye(2, 3), (SIDE, SIDE))
    inner = [1, 4, 6, 9, 50, 280, 151, 205, 425, 199]  # away from lids, lips and the outline
    x, y = moved.landmarks[inner, :2].T.astype(np.float32)
    found = cv2.remap(field.points, x, y, cv2.INTER_LINEAR).reshape(-1, 2)
    np.testing.assert_allclose(found, source.landmarks[inner, :2], atol=0.5)


@pytest.mark.parametrize("angles", [(22, -4, 6), (30, 0, 0), (-38, 10, 5), (10, -25, -20)])
def test_triangles_that_are_seen_as_a_line_show_nothing_from_afar(
    sitter: Sitter, angles: tuple[float, float, float]
) -> None:
    surface = Surface(Face(sitter.landmarks), (SIDE, SIDE))
    for part in np.linspace(0.5, 1, 8):
        moved = turned(sitter, tuple(part * np.array(angles)))
        field = surface.field(surface.vertices(moved), np.eye(2, 3), (SIDE, SIDE))
        photo = surface.photo_points[surface.triangles][field.triangle[field.covered]]
        least, most = photo.min(1), photo.max(1)
        shown = field.points[field.covered]
        assert (np.maximum(least - shown, shown - most) <= np.maximum(most - least, 0) + 3.1).all()


def test_hair_at_the_temple_stays_where_it_is_when_a_hidden_side_turns_to_the_viewer() -> None:
    """Beside the cheek the photo is read from beyond the face, or the face's edge would be seen twice."""
    away = Pose(AT_REST.scale, rotation_of(np.array([30.0, 0.0, 0.0])), AT_REST.shift)
    source = Face(away.place(somebody(1)))
    moved = move(source, Face(AT_REST.place(source.shape)), source)
    _, beside = Surface(source, (SIDE, SIDE)).photo_points_of(moved)
    moves = np.linalg.norm(beside[OVAL] - source.landmarks[OVAL, :2], axis=1) / AT_REST.scale
    below_eyes = REFERENCE[OVAL, 1] - REFERENCE[EYES[0].outer, 1]
    assert moves[below_eyes > 0.2].max() > 0.1
    assert moves[below_eyes < -0.5].max() < 0.06


@pytest.mark.parametrize("angles", [(30, 0, 0), (-38, 10, 5), (0, 25, 0), (10, -25, -20), (20, 20, 60)])
def test_no_holes_inside_the_head(sitter: Sitter, angles: tuple[float, float, float]) -> None:
    surface, moved = Surface(Face(sitter.landmarks), (SIDE, SIDE)), turned(sitter, angles)
    vertices = surface.vertices(moved)
    field = surface.field(vertices, np.eye(2, 3), (SIDE, SIDE))
    head = polygon(cv2.convexHull(vertices[:, :2].astype(np.float32)[:468])[:, 0], (SIDE, SIDE)) > 128
    assert field.covered[head].all()


def test_what_is_hidden_is_hidden_by_depth(sitter: Sitter) -> None:
    """A head turned far: the nose lies over the far cheek, and the nearest surface is what is seen."""
    surface, moved = Surface(Face(sitter.landmarks), (SIDE, SIDE)), turned(sitter, (38, 0, 0))
    vertices = surface.vertices(moved)
    field = surface.field(vertices, np.eye(2, 3), (SIDE, SIDE))
    x, y = np.round(moved.landmarks[4, :2]).astype(int)
    seen = surface.triangles[field.triangle[y, x]]
    nearest = vertices[surface.triangles, 2].mean(1)[_triangles_at(surface, vertices, (x, y))].min()
    assert vertices[seen, 2].mean() < nearest + 0.03 * AT_REST.scale


def _triangles_at(surface: Surface, vertices: np.ndarray, point: tuple[int, int]) -> list[int]:
    corners = vertices[surface.triangles, :2].astype(np.float32)
    return [i for i, c in enumerate(corners) if cv2.pointPolygonTest(c, (float(point[0]), float(point[1])), False) >= 0]


def test_the_background_stands_still_and_shoulders_stay(sitter: Sitter) -> None:
    moved = turned(sitter, (15, 5, 8), (14, 6))
    result = FaceModel().portrait(sitter)(moved)
    landmarks = moved.landmarks
    away = (outline(sitter.landmarks, grown=1.25) == 0) & (outline(landmarks, grown=1.25) == 0)
    assert away.mean() > 0.2
    np.testing.assert_array_equal(result[away], sitter.photo[away])
    assert np.abs(result[-1].astype(int) - sitter.photo[-1]).mean() < 0.5  # where the picture cuts the body


@pytest.mark.parametrize("below", [0.05, 0.12, 0.3])
def test_a_neck_stays_at_the_chin_where_the_photo_shows_little_of_it(sitter: Sitter, below: float) -> None:
    """The photo ends below the chin, by this part of the face's height: there nothing moves, or just outside of it if
    that is near, and what lies between is drawn out evenly."""
    source = Face(sitter.landmarks)
    height = float(np.linalg.norm(source.landmarks[CHIN] - source.landmarks[FOREHEAD]))
    edge = round(source.landmarks[CHIN, 1] + below * height)
    surface, moved = Surface(source, (SIDE, edge + 1)), turned(sitter, (0, 0, 0), (0, -0.1 * height))
    rises = (surface.photo_points - surface.vertices(moved)[:, :2])[:, 1] / (0.1 * height)
    rings, ring_rises = (one[468:].reshape(-1, len(OVAL), *one.shape[1:]) for one in (surface.photo_points, rises))
    chin = int(np.flatnonzero(OVAL == CHIN)[0])
    assert ring_rises[0, chin] > 0.9
    still = rings[..., 1] >= source.landmarks[CHIN, 1] + max(below, NECK_ROOM) * height
    np.testing.assert_allclose(ring_rises[still], 0, atol=1e-6)
    assert (np.diff(ring_rises[:, chin]) <= 1e-6).all() and ring_rises[-1, chin] == 0


def test_the_jaw_hides_what_it_moves_over_and_takes_along_what_it_leaves(sitter: Sitter) -> None:
    """A collar beside it: it would stick to the cheek, or a gap would open. Below the chin a neck is there."""
    source = Face(sitter.landmarks)
    height = float(np.linalg.norm(source.landmarks[CHIN] - source.landmarks[FOREHEAD]))
    surface, moved = Surface(source, (SIDE, SIDE)), turned(sitter, (0, 0, 0), (0.3 * height, 0))
    follows = (surface.vertices(moved)[:, 0] - surface.photo_points[:, 0]) / (0.3 * height)
    ring = follows[468 + 2 * len(OVAL) :][: len(OVAL)]
    around = REFERENCE[OVAL]
    jaw = (around[:, 1] > 0.55) & (np.abs(around[:, 0]) > 0.3)
    over, left = ring[jaw & (around[:, 0] > 0)], ring[jaw & (around[:, 0] < 0)][::-1]
    assert len(over) == len(left) > 2
    assert (left > 0.8).all() and (over < left + 1e-3).all() and (left - over).max() > 0.1
    assert ring[OVAL == CHIN] > 0.8


def test_a_shoulder_that_the_outline_misses_stays_while_the_head_hardly_moves(sitter: Sitter) -> None:
    """Else it would come and go from frame to frame."""
    photo, person = sitter.photo.copy(), sitter.person.copy()
    x, y = np.round(sitter.landmarks[CHIN, :2]).astype(int)
    person[y + 5 :, x + 20 :] = 0
    missed = cv2.erode(((sitter.person > 0.5) & (person == 0)).astype(np.uint8), np.ones((7, 7))) > 0
    photo[missed & (np.arange(SIDE)[:, None] // 4 % 2 > 0)] = 20  # a striped shirt
    portrait = FaceModel().portrait(Sitter(photo, sitter.landmarks, person))
    for shift in (0.6, 1.0):
        assert np.abs(portrait(turned(sitter, (0, 0, 0), (shift, 0))).astype(int) - photo)[missed].mean() < 2


def test_the_face_is_as_sharp_as_the_photo(sitter: Sitter) -> None:
    moved = turned(sitter, (3, 2, 1), (2.4, 1.7))
    result = FaceModel().portrait(sitter)(moved)

    def detail(picture: np.ndarray, landmarks: np.ndarray) -> float:
        """Of the skin: eyes and mouth are layers of their own."""
        skin = cv2.erode(polygon(landmarks[OVAL, :2], (SIDE, SIDE)), np.ones((15, 15))) > 128
        for part in (*EYES, MOUTH):
            skin &= cv2.dilate(polygon(landmarks[part.opening, :2], (SIDE, SIDE)), np.ones((31, 31))) == 0
        return float(cv2.Laplacian(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.CV_64F)[skin].var())

    assert detail(result, moved.landmarks) > 0.9 * detail(sitter.photo, sitter.landmarks)


def test_lids_close_over_the_eyes(sitter: Sitter) -> None:
    """The photo's eyes are white, its skin is not: where the lids are shut no white is left."""
    source = Face(sitter.landmarks)
    shut = source.shape.copy()
    for eye in EYES:
        shut[eye.upper, 1] = shut[eye.lower, 1]
    moved = move(source, Face(source.pose.place(shut)), source)
    result = FaceModel().portrait(sitter)(moved)
    eyes = sum(polygon(sitter.landmarks[eye.opening, :2], (SIDE, SIDE)) > 128 for eye in EYES) > 0
    white = (sitter.photo.min(2) > 225) & eyes
    assert white.sum() > 50
    assert (result.min(2) > 225)[eyes].sum() < 0.25 * white.sum()  # where the lids meet, a line one pixel wide
    for eye in EYES:  # and in their place is skin, not a stretched shadow
        x, y = np.round((moved.landmarks[eye.crease, :2] + moved.landmarks[eye.upper, :2]) / 2).astype(int).T
        assert np.abs(result[y[2:5], x[2:5]].mean(0) - (175, 129, 106)).max() < 25


def test_what_is_made_has_the_skins_grain(sitter: Sitter) -> None:
    """Shut lids, and what is painted into the mouth."""
    noise = np.random.default_rng(0).normal(0, 6, sitter.photo.shape)
    grainy = np.clip(sitter.photo + noise, 0, 255).astype(np.uint8)
    source, model = Face(sitter.landmarks), FaceModel()
    torch.nn.init.constant_(model.generator.last.bias[12:], 4.0)  # paints grey wherever it may
    shape = source.shape.copy()
    shape[MOUTH.lower, 1] += 0.3
    for eye in EYES:
        shape[eye.upper, 1] = shape[eye.lower, 1]
    moved = move(source, Face(source.pose.place(shape)), source)
    result = model.portrait(Sitter(grainy, sitter.landmarks, sitter.person))(moved).astype(np.float32)
    fine = result - cv2.GaussianBlur(result, (0, 0), 2)
    lids = [[eye.outer, *eye.crease, eye.inner, *eye.upper[::-1]] for eye in EYES]
    for part in (*lids, MOUTH.opening):
        mask = polygon(cv2.convexHull(moved.landmarks[part, :2].astype(np.float32))[:, 0], (SIDE, SIDE))
        inside = cv2.erode(mask, np.ones((9, 9))) > 128
        assert inside.sum() > 50 and 2 < 1.4826 * np.median(np.abs(fine[inside])) < 8


def between_lids(landmarks: np.ndarray, eye: Eye, inner_px: int) -> np.ndarray:
    """(SIDE, SIDE) bool, what is at least so far from the lids' edge."""
    mask = polygon(landmarks[eye.opening, :2], (SIDE, SIDE)) > 128
    return cv2.erode(mask.astype(np.uint8), np.ones((2 * inner_px + 1,) * 2)) > 0


@pytest.mark.parametrize("side", [-1, 1])
def test_an_iris_that_turns_leaves_white_behind(sitter: Sitter, side: int) -> None:
    source = Face(sitter.landmarks)
    looking = source.shape.copy()
    for eye in EYES:
        looking[eye.iris, 0] += side * 0.18 * np.linalg.norm(looking[eye.outer] - looking[eye.inner])
    moved = move(source, Face(source.pose.place(looking)), source)
    result = FaceModel().portrait(sitter)(moved)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for eye in EYES:
        seen = between_lids(moved.landmarks, eye, 3)
        was, now = sitter.landmarks[eye.iris], moved.landmarks[eye.iris]
        radius = np.linalg.norm(was[1:, :2] - was[0, :2], axis=1).mean()
        from_was, from_now = (np.hypot(columns - iris[0, 0], rows - iris[0, 1]) / radius for iris in (was, now))
        left = between_lids(moved.landmarks, eye, 1) & (from_was < 0.8) & (from_now > 1.2)
        assert left.sum() >= 20 and result[left].min(1).mean() > 224, "up to the lids"
        assert np.median(result[seen & (from_now < 0.8)].max(1)) < 90


def test_eyes_that_open_wider_show_more_of_the_ball(sitter: Sitter) -> None:
    """And the skin that was there is gone; the iris that the lid had cut off is whole."""
    source = Face(sitter.landmarks)
    wide = source.shape.copy()
    for eye in EYES:
        wide[eye.upper, 1] -= 0.35 * (wide[eye.lower, 1] - wide[eye.upper, 1])
    moved = move(source, Face(source.pose.place(wide)), source)
    result = FaceModel().portrait(sitter)(moved).astype(int)
    for eye in EYES:
        new = between_lids(moved.landmarks, eye, 1) & ~between_lids(sitter.landmarks, eye, 0)
        assert new.sum() > 15
        spread = np.ptp(result[new], axis=1)  # skin is red, the ball white or dark
        assert np.median(spread) < 45 < np.median(np.ptp(sitter.photo[new].astype(int), axis=1))


def test_a_generator_paints_only_at_an_open_mouth(sitter: Sitter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fomm.model.face.portrait.GRAIN_INSIDE", 0.0)
    source, model = Face(sitter.landmarks), FaceModel()
    torch.nn.init.constant_(model.generator.last.bias, 4.0)  # paints white wherever it may
    opened = source.shape.copy()
    opened[MOUTH.lower, 1] += 0.3
    moved = move(source, Face(source.pose.place(opened)), source)
    with_it = model.portrait(sitter)(moved).astype(int)
    model.generator = None
    without = model.portrait(sitter)(moved).astype(int)
    mouth = polygon(moved.landmarks[MOUTH.opening, :2], (SIDE, SIDE)) > 128
    changed = np.abs(with_it - without).max(2) > 2
    inside = cv2.erode(mouth.astype(np.uint8), np.ones((5, 5))) > 0
    assert np.mean(with_it[inside].min(1) > 240) > 0.7  # all but what the photo showed of the mouth's inside
    assert not changed[cv2.dilate(mouth.astype(np.uint8), np.ones((11, 11))) == 0].any()  # the lips are the photo's


def test_single_pixels_of_the_motion_go_and_edges_stay() -> None:
    """A triangle thinner than a pixel shows what lies far away; lids and lips are where the motion jumps."""
    motion = np.dstack(np.meshgrid(np.linspace(0, 30, 40), np.linspace(5, 25, 30))).astype(np.float32)
    motion[:, 20:] += 8.0
    np.testing.assert_array_equal(without_specks(motion), motion)
    specked = motion.copy()
    specked[10, 5], specked[20, 30] = (25.0, 3.0), (0.0, 20.0)
    assert np.abs(without_specks(specked) - motion).max() < 1.0


@pytest.mark.parametrize("angles", [(16, -4, 6), (-14, -8, 3), (-20, 6, 4)])
def test_no_pixel_shows_anything_else_than_its_neighbours_do(
    sitter: Sitter, angles: tuple[float, float, float]
) -> None:
    """On a photo that gets lighter to the right and redder downwards, moved, skin is smooth."""
    y, x = np.mgrid[:SIDE, :SIDE] * (230 / SIDE)
    moved = turned(sitter, angles, (3, 2))
    result = FaceModel().portrait(Sitter(np.dstack([y, x, x]).astype(np.uint8), sitter.landmarks, None))(moved)
    landmarks = moved.landmarks[:, :2]
    skin = cv2.erode(polygon(landmarks[OVAL], (SIDE, SIDE)), np.ones((9, 9)))
    for opening in (MOUTH.opening, *(eye.opening for eye in EYES)):
        skin[cv2.dilate(polygon(landmarks[opening], (SIDE, SIDE)), np.ones((9, 9))) > 0] = 0
    apart = np.abs(result.astype(int) - cv2.medianBlur(result, 5)).max(2)
    assert apart[skin > 128].max() < 5


def test_flesh_behind_lips_that_are_little_parted_is_darker_than_they_are_and_teeth_stay() -> None:
    lips = np.array([180.0, 110, 100])
    for teeth in ((225.0, 220, 205), (150.0, 140, 120)):  # bright ones, and paler ones in a dim picture
        painted = np.stack([[teeth, lips, 1.1 * lips, 0.3 * lips]] * 12).repeat(6, 1)  # columns of six pixels each
        got = deep(painted.astype(np.float32), DARKNESS * lips, np.ones(painted.shape[:2], np.float32))[6, 2::6]
        assert np.abs(got[0] - teeth).max() < 12
        assert (got[1:3].sum(1) < 0.7 * lips.sum()).all() and np.allclose(got[3], 0.3 * lips, rtol=0.05)
    painted = np.full((8, 8, 3), lips, np.float32)
    np.testing.assert_array_equal(deep(painted, DARKNESS * lips, np.zeros((8, 8), np.float32)), painted)


def test_teeth_between_lips_that_are_little_parted_are_one_even_row() -> None:
    """Two long ones with flesh between and beside them, and a narrow one that hangs from them."""
    lips, tooth, flesh = np.array([180.0, 110, 100]), np.array([225.0, 220, 205]), np.array([120.0, 60, 55])
    opening = np.zeros((40, 80), np.float32)
    opening[10:30, 20:60] = 1
    painted = np.where(opening[..., None] > 0, flesh, lips).astype(np.float32)
    painted[10:18, 30:38] = painted[10:18, 42:50] = tooth
    painted[18:26, 33:35] = tooth
    dark = DARKNESS * lips
    lit = np.ones_like(opening)
    none = np.zeros_like(opening)
    even = in_a_row(painted, dark, opening, opening, lit, none)
    assert np.abs(even[13:15, 30:50] - tooth).max() < 20  # flesh is 160 off
    assert np.abs(even[23:28, 26:54] - flesh).max() < 12
    np.testing.assert_array_equal(even[opening == 0], painted[opening == 0])
    np.testing.assert_array_equal(in_a_row(painted, dark, opening, none, lit, none), painted)
    np.testing.assert_array_equal(in_a_row(painted, dark, none, opening, lit, none), painted)
    shines = painted.copy()
    shines[25:30, 24:56] = 1.15 * lips  # a lower lip, as light as teeth
    np.testing.assert_allclose(in_a_row(shines, dark, opening, opening, lit, none)[13:15], even[13:15], atol=12)
    below = np.where(np.arange(40)[:, None] >= 14, opening, none)  # the photo's teeth end there
    cut = in_a_row(painted, dark, opening, none, lit, below)
    assert np.abs(cut[16:, 30:50] - flesh)[opening[16:, 30:50] > 0].max() < 25
    np.testing.assert_array_equal(cut[:14], painted[:14])
    lit[:, 40] = 0.5  # a gap is seen in teeth, and in nothing else
    gap = in_a_row(painted, dark, opening, opening, lit, none)
    assert (gap[13:15, 40] < 0.6 * even[13:15, 40]).all()
    np.testing.assert_allclose(gap[25:28, 40], even[25:28, 40], atol=8)
    on_lip, without = (in_a_row(shines, dark, opening, opening, one, none) for one in (lit, np.ones_like(lit)))
    assert np.abs(on_lip - without)[25:28].max() < 8
    np.testing.assert_array_equal(np.delete(gap, 40, 1), np.delete(even, 40, 1))


@pytest.mark.parametrize("angles", [(0, 0, 0), (25, 0, 0), (-25, 10, 5)])
def test_upper_teeth_stand_in_an_arch(angles: tuple[float, float, float]) -> None:
    """It is darkest where the points at which they meet are seen, of a head in any pose."""
    pose = Pose(100.0, rotation_of(np.array(angles, float)), np.array([30.0, 20.0, 0.0]))
    ends = np.concatenate([-TEETH_END[:0:-1], TEETH_END])
    arch = np.column_stack([ends, 0 * ends, ARCH_START + ARCH * ends**2])
    from_base = (pose.place(arch) - pose.shift)[:, :2]
    expected = np.linalg.solve(pose.scale * pose.rotation[:2, :2], from_base.T)[0]
    across = np.linspace(-1.2, 1.2, 4801)
    light = light_on_teeth(across[None], pose.rotation)[0]
    assert light.max() <= 1
    clear = np.diff(expected) > 4 * GAP_WIDTH  # far from the viewer they are seen behind one another
    for place in expected[1:-1][clear[:-1] & clear[1:]]:
        beside = np.abs(across - place)
        assert light[beside < 2 * GAP_WIDTH].argmin() == pytest.approx(beside[beside < 2 * GAP_WIDTH].argmin(), abs=4)
        assert light[beside.argmin()] < (1 - 0.6 * GAP_DARK) * light[beside < 0.04].max()


def test_it_is_dark_behind_pursed_lips(sitter: Sitter) -> None:
    source, model = Face(sitter.landmarks), FaceModel()
    torch.nn.init.constant_(model.generator.last.bias, 4.0)  # paints white wherever it may
    seen = []
    for narrow, gap in ((1.0, 0.2), (0.65, 0.2), (0.65, 0.6)):
        shape = source.shape.copy()
        shape[MOUTH.lower, 1] += gap
        shape[[*MOUTH.opening, *MOUTH_CORNERS], 0] *= narrow
        moved = move(source, Face(source.pose.place(shape)), source)
        x, y = np.round(moved.landmarks[MOUTH.opening, :2].mean(0)).astype(int)
        seen.append(int(model.portrait(sitter)(moved)[y, x - 2 : x + 3].max()))  # the middle is between two teeth
    assert seen[0] > 240 and seen[1] < 80 and seen[2] > 200  # light comes into one that is wide open


def test_the_patch_stands_upright_whatever_the_head_does(sitter: Sitter) -> None:
    for angles in ((0, 0, 0), (0, 0, 50), (20, -10, -30)):
        moved = turned(sitter, angles)
        to = patch_matrix(moved)
        corners = moved.landmarks[[61, 291], :2] @ to[:, :2].T + to[:, 2]
        known = conditions(Face(sitter.landmarks), moved, np.zeros(PATCH_WH[::-1], np.uint8), to)
        slope = np.degrees(np.arctan2(*(corners[1] - corners[0])[::-1]))
        assert abs(slope) < 8 and known.shape == (5, PATCH_WH[1], PATCH_WH[0])
        middle = known[2, PATCH_WH[1] // 2]
        assert (np.diff(middle) > 0).all() and abs(middle[PATCH_WH[0] // 2]) < 0.15  # across the head, 0 in its middle


@pytest.mark.parametrize("wider", [0.6, 1.0, 1.8, 3.0])
def test_the_patch_holds_all_that_may_be_painted(sitter: Sitter, wider: float) -> None:
    source = Face(sitter.landmarks)
    shape = source.shape.copy()
    middle = shape[MOUTH.opening].mean(0)
    shape[MOUTH.opening] = middle + [wider, 1 + wider, 1] * (shape[MOUTH.opening] - middle)
    moved = move(source, Face(source.pose.place(shape)), source)._replace(shape=shape, landmarks=AT_REST.place(shape))
    opening = Canvas(sitter.photo, patch_matrix(moved)).points(moved.landmarks[MOUTH.opening, :2])
    assert (opening > SUPPORT_PX).all() and (opening < np.array(PATCH_WH) - 1 - SUPPORT_PX).all()


def test_the_photos_teeth_go_along_with_a_mouth_that_is_drawn_aside(sitter: Sitter) -> None:
    """A smile without an open jaw: at the corner that moves away there is no gap as wide as the whole way."""
    shape = Face(sitter.landmarks).shape.copy()
    shape[MOUTH.lower, 1] += 0.12
    landmarks = AT_REST.place(shape)
    photo = sitter.photo.copy()
    photo[polygon(landmarks[MOUTH.opening, :2], (SIDE, SIDE)) > 128] = (235, 225, 215)
    source = Face(landmarks)
    aside = source.shape.copy()
    aside[np.union1d(LIPS, MOUTH.opening), 0] += 0.12
    moved = move(source, Face(source.pose.place(aside)), source)
    result = FaceModel().portrait(Sitter(photo, landmarks, None))(moved)
    inside = cv2.erode(polygon(moved.landmarks[MOUTH.opening, :2], (SIDE, SIDE)), np.ones((3, 3))) > 128
    assert np.mean(result[inside].max(1) < 120) < 0.17


def test_the_photos_teeth_lie_over_what_is_painted(sitter: Sitter) -> None:
    """Up to their soft edge, in which neither the dark behind them nor a line shows; below them there are no others."""
    shape = somebody(1)
    shape[MOUTH.lower, 1] += 0.12  # a smile with teeth
    landmarks = AT_REST.place(shape)
    photo = lit_face(landmarks)
    teeth = polygon(landmarks[MOUTH.opening, :2], (SIDE, SIDE)) > 128
    photo[teeth] = (235, 225, 215)
    source, model = Face(landmarks), FaceModel()
    opened = source.shape.copy()
    opened[MOUTH.lower, 1] += 0.3
    moved = move(source, Face(source.pose.place(opened)), source)
    torch.nn.init.constant_(model.generator.last.bias, 4.0)  # paints white wherever it may
    result = model.portrait(Sitter(photo, landmarks, outline(landmarks)))(moved)
    mouth = polygon(moved.landmarks[MOUTH.opening, :2], (SIDE, SIDE))
    inside = cv2.erode(mouth, np.ones((5, 5))) > 250
    kept = inside & (np.abs(result.astype(int) - (235, 225, 215)).max(2) < 4)
    assert kept.sum() > 0.2 * inside.sum()
    middle = result[:, round(moved.landmarks[MOUTH.opening, 0].mean())]
    rows = np.flatnonzero(inside[:, round(moved.landmarks[MOUTH.opening, 0].mean())])
    end = rows[0] + np.argmin(middle[rows].min(1) > 200)
    assert end > rows[0] + 0.12 * AT_REST.scale  # as high as the photo shows them
    assert (np.diff(middle[end : rows[-1] - 3].min(1).astype(int)) <= 12).all() and middle[rows[-1] - 3].max() < 120


def test_the_photos_teeth_go_down_with_the_lip_that_would_cover_them(sitter: Sitter) -> None:
    """Or another row would be painted below theirs; behind pursed lips they stay where they are."""
    shape = somebody(1)
    shape[MOUTH.lower, 1] += 0.2
    landmarks = AT_REST.place(shape)
    photo, tooth = lit_face(landmarks), np.array([235, 225, 215])
    photo[polygon(landmarks[MOUTH.opening, :2], (SIDE, SIDE)) > 128] = tooth
    source, model = Face(landmarks), FaceModel()
    torch.nn.init.constant_(model.generator.last.bias, -4.0)  # paints black wherever it may
    portrait = model.portrait(Sitter(photo, landmarks, outline(landmarks)))
    share = []
    for narrower in (1.0, 0.6):
        lower = source.shape.copy()
        lower[[*MOUTH.upper, *MOUTH.lower, CHIN], 1] += 0.12
        lower[LIPS, 0] *= narrower
        moved = move(source, Face(source.pose.place(lower)), source)
        x, y = np.round(moved.landmarks[[13], :2].mean(0) + (0, 0.14 * AT_REST.scale)).astype(int)
        share.append((np.abs(portrait(moved)[y, x - 5 : x + 6].astype(int) - tooth).max(1) < 60).mean())
    assert share[0] > 0.8 and share[1] < 0.5


def test_the_photos_tongue_does_not_lie_over_what_is_painted(sitter: Sitter) -> None:
    """A wide open mouth gets smaller: its upper and lower teeth stay, the flesh between them is painted."""
    shape = somebody(1)
    shape[MOUTH.lower, 1] += 0.5
    landmarks = AT_REST.place(shape)
    photo, tooth, flesh = lit_face(landmarks), np.array([235, 225, 215]), (130, 50, 50)
    photo[polygon(landmarks[MOUTH.opening, :2], (SIDE, SIDE)) > 128] = flesh
    for lip, by in ((MOUTH.upper, 0.08), (MOUTH.lower, -0.08)):
        end = shape[lip] + [0, by, 0]
        row = np.concatenate([landmarks[lip, :2], AT_REST.place(end)[::-1, :2]])
        photo[polygon(row, (SIDE, SIDE)) > 128] = tooth
    source, model = Face(landmarks), FaceModel()
    less = source.shape.copy()
    less[[*MOUTH.lower, CHIN], 1] -= 0.25
    moved = move(source, Face(source.pose.place(less)), source)
    torch.nn.init.constant_(model.generator.last.bias, -4.0)  # paints black wherever it may
    result = model.portrait(Sitter(photo, landmarks, outline(landmarks)))(moved).astype(int)
    inside = cv2.erode(polygon(moved.landmarks[MOUTH.opening, :2], (SIDE, SIDE)), np.ones((5, 5))) > 250
    assert (np.abs(result - flesh).max(2) < 30)[inside].mean() < 0.01
    rows = np.flatnonzero((inside & (np.abs(result - tooth).max(2) < 40)).any(1))
    assert len(rows) > 4 and np.diff(rows).max() > 8, "teeth above and below, and nothing like them between"


def test_a_wide_open_mouth_that_hardly_changes_stays_the_photos() -> None:
    """Painted and photographed mouths differ: from frame to frame, one would see the one and the other."""
    shape = somebody(1)
    wide = shape.copy()
    wide[[*MOUTH.lower, CHIN], 1] += 0.5
    for gap, stays in ((wide, True), (shape, False)):
        landmarks = AT_REST.place(gap)
        photo = lit_face(landmarks)
        photo[polygon(landmarks[MOUTH.opening, :2], (SIDE, SIDE)) > 128] = (0, 255, 0)
        source, model = Face(landmarks), FaceModel()
        model.generator = None
        more = source.shape.copy()
        more[[*MOUTH.lower, CHIN], 1] += 0.055
        moved = move(source, Face(source.pose.place(more)), source)
        result = model.portrait(Sitter(photo, landmarks, outline(landmarks)))(moved).astype(int)
        inside = cv2.erode(polygon(moved.landmarks[MOUTH.opening, :2], (SIDE, SIDE)), np.ones((7, 7))) > 250
        green = (result[..., 1] - result[..., 0])[inside] > 128
        assert green.mean() > 0.85 if stays else green.mean() < 0.05


def test_what_the_photo_shows_of_a_mouth_has_no_rim_of_its_lips() -> None:
    """The opening's edge in the photo, green here, stays behind when the lips go."""
    shape = somebody(1)
    shape[MOUTH.lower, 1] += 0.3
    landmarks = AT_REST.place(shape)
    photo = lit_face(landmarks)
    opening = landmarks[MOUTH.opening, :2]
    photo[polygon(opening, (SIDE, SIDE)) > 128] = (120, 60, 60)
    cv2.polylines(photo, [np.round(opening).astype(np.int32)], True, (0, 255, 0), 3)
    source, model = Face(landmarks), FaceModel()
    model.generator = None
    opened = source.shape.copy()
    opened[MOUTH.lower, 1] += 0.3
    moved = move(source, Face(source.pose.place(opened)), source)
    result = model.portrait(Sitter(photo, landmarks, outline(landmarks)))(moved).astype(int)
    inside = cv2.erode(polygon(moved.landmarks[MOUTH.opening, :2], (SIDE, SIDE)), np.ones((7, 7))) > 250
    rim = (result[..., 1] - result[..., 0])[inside] > 150  # more than half of it
    assert inside.sum() > 300 and rim.mean() < 0.02


@pytest.mark.parametrize("roll", [0.0, 60.0])
def test_the_photos_teeth_go_on_under_a_lip_that_rises(roll: float) -> None:
    place = Pose(AT_REST.scale, rotation_of(np.array([0.0, 0.0, roll])) @ AT_REST.rotation, AT_REST.shift)
    shape = somebody(1)
    shape[MOUTH.lower, 1] += 0.12
    landmarks = place.place(shape)
    photo = lit_face(landmarks)
    photo[polygon(landmarks[MOUTH.opening, :2], (SIDE, SIDE)) > 128] = (235, 225, 215)
    shadow = np.round(landmarks[MOUTH.upper, :2]).astype(np.int32)
    cv2.polylines(photo, [shadow], False, (120, 70, 60), 3)  # the lip's, on the upper ends of the teeth
    source, model = Face(landmarks), FaceModel()
    model.generator = None
    raised = source.shape.copy()
    raised[MOUTH.upper, 1] -= 0.05
    moved = move(source, Face(source.pose.place(raised)), source)
    result = model.portrait(Sitter(photo, landmarks, outline(landmarks)))(moved)
    middle = moved.landmarks[MOUTH.upper[len(MOUTH.upper) // 2], :2]
    down = place.rotation[:2, 1] / np.linalg.norm(place.rotation[:2, 1])
    for below in (2.5, 4.0, 6.0):
        x, y = np.round(middle + below * down).astype(int)
        assert result[y, x].min() > 180, "the dark behind the teeth shows"


def test_lips_that_are_barely_parted_show_nothing_of_the_inside() -> None:
    """A shadow, or the lips' own red, is not what an open mouth shows."""
    shape = somebody(1)
    shape[MOUTH.lower, 1] += 0.5 * (shape[MOUTH.upper, 1] - shape[MOUTH.lower, 1])  # 0.04 apart
    source = Face(AT_REST.place(shape))
    photo = lit_face(source.landmarks)
    photo[polygon(source.landmarks[MOUTH.opening, :2], (SIDE, SIDE)) > 0] = (0, 255, 0)
    opened = source.shape.copy()
    opened[MOUTH.lower, 1] += 0.3
    moved = move(source, Face(source.pose.place(opened)), source)
    model = FaceModel()
    torch.nn.init.constant_(model.generator.last.bias, 4.0)  # paints white wherever it may
    result = model.portrait(Sitter(photo, source.landmarks, outline(source.landmarks)))(moved)
    inside = cv2.erode(polygon(moved.landmarks[MOUTH.opening, :2], (SIDE, SIDE)), np.ones((5, 5))) > 250
    assert result[inside].min() > 200


def test_a_matte_follows_the_edges_and_nothing_is_filled_far_from_the_person() -> None:
    photo = np.full((200, 200, 3), 200, np.uint8)
    cv2.circle(photo, (100, 100), 60, (60, 40, 30), -1)
    person = cv2.GaussianBlur((photo[..., 0] < 100).astype(np.float32), (0, 0), 8)  # soft, as a small network's is
    matte = refine_matte(photo, person, 120.0)
    assert np.abs(matte - (photo[..., 0] < 100)).mean() < 0.02
    background = Layers.of(photo, person, 120.0).background
    assert np.abs(background.astype(int) - 200).max() <= 3  # the disc is gone
    far = person < 1e-4
    np.testing.assert_array_equal(background[far], photo[far])
    colours = foreground(photo, matte, 120.0)
    assert np.abs(colours[matte > 0.5].astype(int) - (60, 40, 30)).max() < 25  # of 170 that lie between the two
    beyond = np.hypot(*(np.mgrid[:200, :200] - 100)) < 80  # and where the outline may come to lie
    assert np.abs(colours[beyond].astype(int) - (60, 40, 30)).max() < 40


def test_hair_that_stands_off_goes_with_the_head_and_lines_of_the_background_stay() -> None:
    rng = np.random.default_rng(0)
    hair = np.zeros((200, 200), np.uint8)
    for end in ((30, 65), (100, 22), (172, 70)):
        cv2.line(hair, (100, 100), end, 255, 1, cv2.LINE_AA)
    head = cv2.circle(np.zeros((200, 200), np.uint8), (100, 100), 55, 255, -1, cv2.LINE_AA)
    wires = cv2.line(np.zeros((200, 200), np.uint8), (0, 52), (199, 52), 255, 1)
    standing_off = (hair > 200) & (cv2.dilate(head, np.ones((7, 7))) == 0)
    assert standing_off.sum() > 30

    def photo(drawn: np.ndarray, grain: float) -> np.ndarray:
        wall = 200 + rng.normal(0, grain, (200, 200, 3))
        wall = wall + drawn[..., None] / 255.0 * (np.array([60, 40, 30]) - wall)
        return np.clip(wall, 0, 255).astype(np.uint8)

    matte = head / np.float32(255)
    with_hair = photo(cv2.max(head, hair), 2)
    found = strands(with_hair, matte, 110.0)
    assert found[standing_off].mean() > 0.5
    assert found[cv2.dilate(cv2.max(head, hair), np.ones((3, 3))) == 0].max() < 0.1  # and nothing else
    background = Layers.of(with_hair, cv2.GaussianBlur(matte, (0, 0), 4), 110.0).background
    assert np.abs(background[standing_off].astype(int) - 200).max() < 25
    assert strands(photo(cv2.max(head, wires), 2), matte, 110.0).max() < 0.1  # goes on far from the head
    assert (strands(photo(head, 40), matte, 110.0) > 0.1).mean() < 1e-3  # a rough wall


def test_shrinking_averages_and_lands_where_the_matrix_says() -> None:
    picture = np.zeros((400, 400), np.uint8)
    picture[100:300, 100:300] = 255
    to = np.array([[0.2, 0, 3.0], [0, 0.2, 5.0]])
    small = shrunk(picture, to, (96, 80)).astype(float)
    y, x = np.mgrid[:80, :96]
    weight = small / small.sum()
    np.testing.assert_allclose(
        [(weight * x).sum(), (weight * y).sum()], to[:, :2] @ [199.5, 199.5] + to[:, 2], atol=0.1
    )
    checks = (np.indices((400, 400)).sum(0) % 2 * 255).astype(np.uint8)
    assert np.abs(shrunk(checks, to, (70, 70))[10:60, 10:60].astype(int) - 127).max() <= 2


def test_a_finer_picture_keeps_its_pixels_and_is_read_as_sharp() -> None:
    rng = np.random.default_rng(0)
    picture = cv2.GaussianBlur(rng.integers(0, 256, (40, 50, 4), dtype=np.uint8), (0, 0), 1.2)
    fine = finer(picture)
    assert fine.shape == (79, 99, 4)
    np.testing.assert_array_equal(fine[::2, ::2], picture)
    to = np.diag([2.0, 2.0, 1.0])[:2]  # independent: OpenCV's own Lanczos at the places in between
    lanczos = cv2.warpAffine(picture, to, (99, 79), flags=cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
    off = np.abs(fine.astype(int) - lanczos)
    assert off.mean() < 1.5  # sharpened a little
    assert finer(picture[:1, :1]).shape == (1, 1, 4)


def test_scale_is_bounded() -> None:
    pose, _ = move_pose(AT_REST, AT_REST._replace(scale=10 * AT_REST.scale), AT_REST)
    assert pose.scale < 2 * AT_REST.scale


def test_layers_of_a_large_face_are_those_of_a_small_one(sitter: Sitter) -> None:
    """They are found in a smaller photo; where one layer alone is seen, the photo's own pixels stay."""
    photo, person = (
        cv2.resize(one, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC) for one in (sitter.photo, sitter.person)
    )
    face_px = 4 * 2.2 * AT_REST.scale
    assert face_px > LAYERS_PX
    large, small = Layers.of(photo, person, face_px), Layers.of(sitter.photo, sitter.person, face_px / 4)
    assert large.person.shape == large.background.shape == photo.shape
    there = cv2.resize(small.matte, None, fx=4, fy=4, interpolation=cv2.INTER_LINEAR)
    assert np.abs(large.matte - there).mean() < 0.01
    inside, outside = cv2.erode(person, np.ones((81, 81))) > 0.99, cv2.dilate(person, np.ones((161, 161))) == 0
    assert inside.mean() > 0.05 and outside.mean() > 0.05
    np.testing.assert_array_equal(large.person[inside], photo[inside])
    np.testing.assert_array_equal(large.background[outside], photo[outside])


def test_only_the_part_that_moves_is_drawn(sitter: Sitter) -> None:
    """A raised brow leaves every pixel away from it alone."""
    portrait, source = FaceModel().portrait(sitter), Face(sitter.landmarks)
    shape = source.shape.copy()
    shape[[70, 63, 105, 66, 107]] += [0.0, -0.08, 0.0]
    brow = source.landmarks[[70, 63, 105, 66, 107], :2]
    changed = portrait(Moved(source.pose.place(shape), source.pose, shape, 0.0)) != sitter.photo
    rows, columns = np.nonzero(changed.any(2))
    reach = 0.35 * source.pose.scale
    assert len(rows) > 20 and (np.abs(columns - brow[:, 0].mean()) < np.ptp(brow[:, 0]) / 2 + reach).all()
    assert (np.abs(rows - brow[:, 1].mean()) < 2 * reach).all()


def test_every_triangle_is_drawn_once(sitter: Sitter) -> None:
    surface = Surface(Face(sitter.landmarks), (SIDE, SIDE))
    for angles in ((0, 0, 0), (30, 10, 0), (-38, -5, 20)):
        near, behind = surface.split(surface.vertices(turned(sitter, angles)))
        assert sorted([*near, *behind]) == list(range(len(surface.triangles)))
        assert np.isin(near, surface.face).all()


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_side_that_comes_into_view_shows_skin(sign: int) -> None:
    """A head that looks aside in the photo, before green: turned to the front, its far cheek has no green in it."""
    pose = AT_REST._replace(rotation=rotation_of(np.array([30.0 * sign, 0.0, 0.0])))
    landmarks = pose.place(somebody(1))
    photo = lit_face(landmarks)
    hull = cv2.fillConvexPoly(np.zeros((SIDE, SIDE), np.uint8), cv2.convexHull(np.int32(landmarks[:468, :2])), 1)
    photo[outline(landmarks) < 0.9] = (170, 120, 100)
    photo[hull == 0] = (0, 200, 0)
    source = Face(landmarks)
    front = pose._replace(rotation=np.eye(3))
    moved = move(source, Face(front.place(source.shape)), source)
    result = FaceModel().portrait(Sitter(photo, landmarks, None))(moved).astype(int)
    shown = cv2.fillConvexPoly(np.zeros((SIDE, SIDE), np.uint8), cv2.convexHull(np.int32(moved.landmarks[OVAL, :2])), 1)
    inside = cv2.erode(shown, np.ones((9, 9), np.uint8)) > 0
    green = result[..., 1] > result[..., 0] + 30
    assert green[inside].mean() < 0.004


@pytest.mark.parametrize("sign", [-1, 1])
def test_what_is_beside_the_eye_is_not_drawn_out_to_a_streak(sitter: Sitter, sign: int) -> None:
    """The end of a brow, or hair, seen in a few pixels of a side that is then turned to the viewer."""
    photo = sitter.photo.copy()
    eye = EYES[0] if sign > 0 else EYES[1]  # turned to the right, the left side comes into view
    start, end = (sitter.landmarks[number, :2].astype(int) for number in (eye.fold[0], (162, 389)[sign < 0]))
    row, (left, right) = int((start[1] + end[1]) / 2), sorted((start[0], end[0]))
    photo[row - 2 : row + 3, left:right] = 20
    marked = Sitter(photo, sitter.landmarks, sitter.person)
    moved = turned(marked, (sign * 25.0, 0, 0))

    def dark(picture: np.ndarray) -> int:
        near = np.s_[row - 25 : row + 25]
        return int((picture[near].max(2) < 60).sum() - (sitter.photo[near].max(2) < 60).sum())

    assert dark(FaceModel().portrait(marked)(moved)) < 1.2 * dark(photo)


@pytest.mark.parametrize("edge", ["top", "left", "right"])
def test_a_cut_off_head_goes_on_beyond_the_photo(sitter: Sitter, edge: str) -> None:
    """The photo's edge cuts the head. Moved away from it, it has a round outline and not the edge's streaks."""
    x, y = sitter.landmarks[OVAL, :2].T
    rows, columns = {
        "top": np.s_[int(y.min()) - 12 :, :],
        "left": np.s_[:, int(x.min()) - 8 :],
        "right": np.s_[:, : int(x.max()) + 9],
    }[edge]
    landmarks = sitter.landmarks - [columns.start or 0, rows.start or 0, 0]
    photo, person = sitter.photo[rows, columns].copy(), outline(sitter.landmarks)[rows, columns].copy()
    whole, (left, top) = crowned(Layers(person, photo, photo), Face(landmarks))
    height, width = person.shape
    np.testing.assert_array_equal(whole[top : top + height, left : left + width, :3], photo)
    added, cut = {  # from the outermost line on; the line of the photo beside it
        "top": (whole[:top], person[0]),
        "left": (whole[:, :left].transpose(1, 0, 2), person[:, 0]),
        "right": (whole[:, left + width :][:, ::-1].transpose(1, 0, 2), person[:, -1]),
    }[edge]
    assert (left > 0, top > 0, whole.shape[1] > left + width) == tuple(edge == one for one in ("left", "top", "right"))
    assert len(added) > 8
    head = slice(0, int(landmarks[CHIN, 1])) if edge != "top" else slice(None)
    widths = (added[:, head, 3] > 128).sum(1)
    assert widths[0] == 0
    assert (np.diff(widths) >= 0).all()
    assert widths[-1] >= 0.95 * (cut[head] > 0.5).sum()


def test_what_goes_on_above_a_cut_forehead_shows_no_second_brows(sitter: Sitter) -> None:
    brows = int(sitter.landmarks[np.concatenate(BROWS), 1].min())
    start = brows - 10
    photo, person = sitter.photo[start:].copy(), outline(sitter.landmarks)[start:].copy()
    photo[brows - start - 2 : brows - start + 12] = (0, 255, 0)
    whole, (_, above) = crowned(Layers(person, photo, photo), Face(sitter.landmarks - [0, start, 0]))
    added = whole[:above].astype(int)
    assert above > 25 and not (added[..., :3] == (0, 255, 0)).all(-1).any()


@pytest.mark.parametrize("beyond", [6, 20, 45])
def test_the_outline_of_a_cut_off_head_goes_on_as_it_came(sitter: Sitter, beyond: int) -> None:
    """Of a round head, little, more and half of which is beyond the photo's upper edge."""
    x, y = sitter.landmarks[FOREHEAD, :2]
    landmarks = sitter.landmarks - [0, y - 2, 0]
    rows, columns = np.mgrid[-100:SIDE, :SIDE]
    head = np.clip(50 - np.hypot(columns - x, rows - (50 - beyond)) + 0.5, 0, 1).astype(np.float32)
    photo = np.ascontiguousarray(np.broadcast_to(np.uint8(60), (SIDE, SIDE, 3)))
    added = crowned(Layers(head[100:], photo, photo), Face(landmarks))[0][:-SIDE, :, 3] / 255
    true = head[100 - len(added) : 100]
    assert abs(len(added) - beyond) < 0.25 * beyond + 3
    assert np.minimum(added, true).sum() > 0.75 * np.maximum(added, true).sum()


def test_a_neck_that_the_photo_cuts_off_goes_on_softly(sitter: Sitter) -> None:
    """Stripes in its last row fade, and the row keeps its outline."""
    height = float(np.linalg.norm(sitter.landmarks[CHIN] - sitter.landmarks[FOREHEAD]))
    end = round(sitter.landmarks[CHIN, 1] + 0.05 * height)
    photo, person = sitter.photo[:end].copy(), outline(sitter.landmarks)[:end]
    photo[:, ::4] = 40
    whole, start = crowned(Layers(person, photo, photo), Face(sitter.landmarks))
    np.testing.assert_array_equal(start, 0)
    np.testing.assert_array_equal(whole[:end, :, :3], photo)
    below, neck = whole[end:].astype(int), person[-1] > 0.5
    assert len(below) == pytest.approx(0.15 * height, abs=2)
    np.testing.assert_array_equal(below[..., 3], np.broadcast_to(whole[end - 1, :, 3], below.shape[:2]))
    stripes = np.abs(np.diff(below[..., :3], axis=1)).max(2)[:, neck[1:]].mean(1)
    assert stripes[0] < 40 and stripes[-1] < 4 and (np.diff(stripes) <= 0.5).all()


def test_heads_that_the_photo_shows_whole_stay_as_they_are(sitter: Sitter) -> None:
    whole, start = crowned(Layers(outline(sitter.landmarks), sitter.photo, sitter.photo), Face(sitter.landmarks))
    assert whole.shape == (SIDE, SIDE, 4)
    np.testing.assert_array_equal(start, 0)
    everything = np.ones((SIDE, SIDE), np.float32)  # no outline: the whole picture moves
    assert crowned(Layers(everything, sitter.photo, sitter.photo), Face(sitter.landmarks))[0].shape == whole.shape


def test_a_head_cut_off_at_the_side_moves_away_without_streaks(sitter: Sitter) -> None:
    """Also where it leans: the body leaves the photo below, not beside it."""
    start = int(sitter.landmarks[OVAL, 0].min()) - 8
    landmarks = sitter.landmarks - [start, 0, 0]
    cut = Sitter(sitter.photo[:, start:].copy(), landmarks, outline(sitter.landmarks)[:, start:].copy())
    for lean in (-6.0, 6.0):
        portrait = FaceModel().portrait(cut)
        face = portrait.source
        place = Pose(face.pose.scale, rotation_of(np.array([0.0, 0.0, lean])) @ face.pose.rotation, face.pose.shift)
        away = move(face, Face(place._replace(shift=place.shift + [70.0, 0, 0]).place(face.shape)), face)
        result = portrait(away).astype(int)
        background = Layers.of(cut.photo, cut.person, 2.2 * face.pose.scale).background.astype(int)
        eyes = int(away.landmarks[EYES[0].outer, 1])
        beside = np.s_[eyes - 10 : eyes + 10, :8]
        assert np.abs(result - background)[beside].max() <= 2, "nothing is left of the head where it was cut"
