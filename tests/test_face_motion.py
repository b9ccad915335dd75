"""Model `face`: from landmarks to motion, by its algebra."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_face import somebody

from fomm.model.face import Face, Steady, move
from fomm.model.face.mesh import EYES, MOUTH, REFERENCE, Pose, angles_deg, find_pose, rotation_of
from fomm.model.face.motion import IS_OPEN, SEEN_OPEN, TURN_DEG

FRONTAL = Pose(100.0, np.eye(3), np.array([200.0, 180.0, 0.0]))


def with_gap(shape: np.ndarray, part, gap: float) -> np.ndarray:
    """The shape with the lids or lips this far apart, about their middle."""
    shape = shape.copy()
    middle = (shape[part.upper, 1] + shape[part.lower, 1]) / 2
    shape[part.upper, 1], shape[part.lower, 1] = middle - gap / 2, middle + gap / 2
    return shape


def gap(landmarks: np.ndarray, part) -> float:
    shape = find_pose(landmarks).shape(landmarks)
    return float(np.abs(shape[part.lower, 1] - shape[part.upper, 1]).max())


def test_the_pose_of_a_face_is_found() -> None:
    for angles in ([20.0, -10.0, 5.0], [-35.0, 15.0, -40.0], [0.0, 0.0, 170.0]):
        pose = Pose(63.0, rotation_of(np.array(angles)), np.array([12.0, 250.0, -7.0]))
        found = find_pose(pose.place(REFERENCE))
        np.testing.assert_allclose(angles_deg(found.rotation), angles, atol=1e-9)
        np.testing.assert_allclose(found.place(REFERENCE), pose.place(REFERENCE), atol=1e-9)
        np.testing.assert_allclose(pose.shape(pose.place(REFERENCE)), REFERENCE, atol=1e-12)


def test_signs_of_angles_are_those_of_the_screen() -> None:
    nose = REFERENCE[4] - REFERENCE[[234, 454]].mean(0)
    assert (rotation_of(np.array([20.0, 0, 0])) @ nose)[0] > nose[0]  # turned to the screen's right
    assert (rotation_of(np.array([0, 20.0, 0])) @ nose)[1] < nose[1]  # looking up
    assert (rotation_of(np.array([0, 0, 20.0])) @ [1.0, 0, 0])[1] > 0  # clockwise


def test_nothing_moves_where_nothing_changes() -> None:
    source = Face(Pose(80.0, rotation_of(np.array([12.0, 5, -20])), np.ones(3)).place(somebody(1)))
    driving = Face(FRONTAL.place(somebody(2)))
    moved = move(source, driving, driving)
    np.testing.assert_allclose(moved.landmarks, source.landmarks, atol=1e-9)
    assert moved.bounded_deg == 0


@pytest.mark.parametrize("roll_deg, scale, shift", [(15.0, 1.2, (30.0, -12.0)), (-70.0, 0.9, (0.0, 0.0))])
def test_a_motion_in_the_plane_is_done_exactly(roll_deg: float, scale: float, shift: tuple[float, float]) -> None:
    turn = rotation_of(np.array([0.0, 0.0, roll_deg]))
    before = FRONTAL._replace(rotation=rotation_of(np.array([10.0, -8.0, 3.0]))).place(somebody(3))
    after = scale * before @ turn.T + [*shift, 0.0]
    source = Face(Pose(50.0, rotation_of(np.array([-5.0, 4, 9])), np.array([90.0, 70, 0])).place(somebody(4)))
    moved = move(source, Face(after), Face(before))
    start, end = find_pose(before), find_pose(after)
    tilt = angles_deg(source.pose.rotation)[2] - angles_deg(start.rotation)[2]
    goes = rotation_of(np.array([0, 0, tilt])) @ (end.shift - start.shift) * source.pose.scale / start.scale
    about = source.landmarks - source.pose.shift
    np.testing.assert_allclose(moved.landmarks, scale * about @ turn.T + source.pose.shift + goes, atol=1e-6)


@pytest.mark.parametrize("lies_deg", [-20.0, 90.0, 180.0])
def test_a_photo_that_lies_moves_as_it_does_when_it_stands(lies_deg: float) -> None:
    lies = rotation_of(np.array([0.0, 0.0, lies_deg]))
    before = Face(FRONTAL.place(somebody(3)))
    after = Face(Pose(110.0, rotation_of(np.array([18.0, -9, 5])), np.array([215.0, 170, 3])).place(somebody(3)))
    stands = Face(Pose(50.0, rotation_of(np.array([-5.0, 4, 0])), np.array([90.0, 70, 0])).place(somebody(4)))
    moved = move(Face(stands.landmarks @ lies.T), after, before)
    np.testing.assert_allclose(moved.landmarks, move(stands, after, before).landmarks @ lies.T, atol=1e-6)


@pytest.mark.parametrize("turn", [(20.0, 0.0, 0.0), (0.0, -18.0, 0.0), (-15.0, 10.0, 8.0)])
def test_a_turn_in_space_gives_the_true_landmarks(turn: tuple[float, float, float]) -> None:
    mine, other = somebody(5), somebody(6)
    rotation = rotation_of(np.array(turn))
    source = Face(FRONTAL.place(mine))
    moved = move(source, Face(FRONTAL._replace(rotation=rotation).place(other)), Face(FRONTAL.place(other)))
    np.testing.assert_allclose(moved.landmarks, FRONTAL._replace(rotation=rotation).place(mine), atol=1e-6)


def test_motions_compose_and_have_an_inverse() -> None:
    first, second = rotation_of(np.array([10.0, 4, 2])), rotation_of(np.array([-6.0, 7, -9]))
    mine, other = somebody(7), somebody(8)
    start = Face(FRONTAL.place(other))
    middle = Face(Pose(110.0, first, np.array([210.0, 170, 0])).place(other))
    end = Face(Pose(95.0, second @ first, np.array([190.0, 185, 0])).place(other))
    source = Face(Pose(70.0, np.eye(3), np.zeros(3)).place(mine))
    there = Face(move(source, middle, start).landmarks)
    np.testing.assert_allclose(move(there, end, middle).landmarks, move(source, end, start).landmarks, atol=1e-6)
    np.testing.assert_allclose(move(there, start, middle).landmarks, source.landmarks, atol=1e-6)


def test_the_same_face_follows_every_landmark() -> None:
    shape = somebody(9)
    grimace = with_gap(with_gap(shape, MOUTH, 0.35), EYES[0], 0.02)
    grimace[[61, 291, 105, 152]] += [[-0.05, 0.02, 0], [0.03, -0.06, 0], [0.0, -0.1, 0], [0.0, 0.3, 0]]
    driving = Face(FRONTAL._replace(rotation=rotation_of(np.array([9.0, 3, 1]))).place(grimace))
    source = Face(FRONTAL.place(shape))
    moved = move(source, driving, source)
    off = np.abs(moved.landmarks - driving.landmarks)[:, :2]
    assert off.mean() < 0.5 and np.percentile(off, 95) < 2.5  # of a face 220 pixels high


@pytest.mark.parametrize("neutral", [0.12, 0.2, 0.35])
@pytest.mark.parametrize("own", [0.1, 0.22, 0.3])
def test_shut_eyes_are_shut_and_each_by_itself(own: float, neutral: float) -> None:
    mine, other = somebody(10), somebody(11)
    for eye in EYES:
        width = np.linalg.norm(mine[eye.outer] - mine[eye.inner])
        mine = with_gap(mine, eye, own * width)
        other = with_gap(other, eye, neutral * width)
    winking = with_gap(other, EYES[1], 0.0)
    source = Face(FRONTAL.place(mine))
    moved = move(source, Face(FRONTAL.place(winking)), Face(FRONTAL.place(other)))
    assert gap(moved.landmarks, EYES[1]) < 0.005
    assert gap(moved.landmarks, EYES[0]) == pytest.approx(gap(source.landmarks, EYES[0]), rel=0.05)


def test_open_eyes_are_open_alike() -> None:
    """Of a driver who looks aside one eye is seen less open than it is; one that is half shut is half shut."""
    source, start = with_lids(10, 0.25), with_lids(11, 0.3)

    def opened(left: float, right: float) -> list[float]:
        shape = somebody(11)
        for eye, size in zip(EYES, (left, right), strict=True):
            shape = with_gap(shape, eye, 0.3 * size * float(np.linalg.norm(shape[eye.outer] - shape[eye.inner])))
        moved = move(source, Face(FRONTAL.place(shape)), start)
        return [gap(moved.landmarks, eye) / gap(source.landmarks, eye) for eye in EYES]

    left, right = opened(1.3, 1.0)
    assert abs(left - right) < 0.12 and right > 1.05
    left, right = opened(1.0, 0.5)
    assert right < 0.6 < 0.9 < left


def test_in_a_turned_head_both_eyes_do_what_the_nearer_one_does() -> None:
    """The farther one is seen half open where it is shut. Looking straight ahead, a wink is a wink."""
    source, start = with_lids(10, 0.25), with_lids(11, 0.3)

    def opened(yaw_deg: float, left: float, right: float) -> list[float]:
        shape = somebody(11)
        for eye, size in zip(EYES, (left, right), strict=True):
            shape = with_gap(shape, eye, 0.3 * size * float(np.linalg.norm(shape[eye.outer] - shape[eye.inner])))
        pose = FRONTAL._replace(rotation=rotation_of(np.array([yaw_deg, 0.0, 0.0])))
        moved = move(source, Face(pose.place(shape)), start)
        return [gap(moved.landmarks, eye) / gap(source.landmarks, eye) for eye in EYES]

    assert max(opened(30.0, 0.0, 0.8)) < 0.2 and max(opened(-30.0, 0.8, 0.0)) < 0.2
    assert min(opened(30.0, 0.95, 0.3)) > 0.7
    left, right = opened(0.0, 0.0, 1.0)
    assert left < 0.05 and right > 0.9


@pytest.mark.parametrize("wider, expected", [(1.15, 1.15), (1.6, None)])
def test_a_mouth_gets_as_wide_as_mouths_do(wider: float, expected: float | None) -> None:
    corners = [61, 291]
    source, start = Face(FRONTAL.place(somebody(14))), somebody(15)
    drawn = start.copy()
    drawn[corners, 0] += (wider - 1) * (drawn[corners, 0] - drawn[corners, 0].mean())
    moved = move(source, Face(FRONTAL.place(drawn)), Face(FRONTAL.place(start)))
    width, own = (abs(float(np.subtract(*face.shape[corners, 0]))) for face in (moved, source))
    eyes = float(np.linalg.norm(source.shape[33] - source.shape[263]))
    if expected is not None:
        assert width / own == pytest.approx(expected, abs=0.03)
    else:
        assert 1.2 * own < width <= 0.8 * eyes + 1e-6


@pytest.mark.parametrize("own", [0.0, 0.1, 0.25])
@pytest.mark.parametrize("neutral", [0.08, 0.2])
def test_a_shut_mouth_is_shut(own: float, neutral: float) -> None:
    source = Face(FRONTAL.place(with_gap(somebody(12), MOUTH, own)))
    open_, shut = (Face(FRONTAL.place(with_gap(somebody(13), MOUTH, size))) for size in (neutral, 0.0))
    assert gap(move(source, shut, open_).landmarks, MOUTH) < 0.005
    opened = move(source, open_, shut)
    assert Face(opened.landmarks).mouth_opening > own + 0.5 * neutral
    upper, lower = opened.shape[MOUTH.upper, 1], opened.shape[MOUTH.lower, 1]
    assert (lower >= upper).all()


def test_tiny_gaps_of_the_driving_mouth_do_not_shut_an_open_one() -> None:
    """Lips that are parted by a hair at the start and then touch: their ratio says nothing of a mouth that is open."""
    source = Face(FRONTAL.place(with_gap(somebody(12), MOUTH, 0.3)))
    start, *then = (Face(FRONTAL.place(with_gap(somebody(13), MOUTH, size))) for size in (0.025, 0.0, 0.02, 0.005))
    for driving in then:
        assert gap(move(source, driving, start).landmarks, MOUTH) > 0.8 * gap(source.landmarks, MOUTH)


def with_lids(seed: int, opening: float) -> Face:
    """Somebody whose eyes are open by so much of their width."""
    shape = somebody(seed)
    for eye in EYES:
        shape = with_gap(shape, eye, opening * float(np.linalg.norm(shape[eye.outer] - shape[eye.inner])))
    return Face(FRONTAL.place(shape))


def test_eyes_that_get_narrow_stay_open() -> None:
    """Wide eyes that become ordinary ones do not shut narrow eyes; the narrower, the narrower; shut is shut."""
    source, start = with_lids(10, 0.18), with_lids(11, 0.32)
    openings = 0.32 * np.array([1, 0.9, 0.7, 0.5, 0.4, 0.36, SEEN_OPEN[0]])
    made = [Face(move(source, with_lids(11, opening), start).landmarks).eyes for opening in openings]
    for eye in range(2):
        shown = np.array([eyes[eye][1] for eyes in made])
        assert (np.diff(shown) < 0).all()
        assert shown[0] == pytest.approx(source.eyes[eye][1], rel=0.02) and shown[-1] < 0.013
        assert shown[1] > 0.7 * shown[0] and shown[2] > 0.45 * shown[0] and shown[3] > 0.3 * shown[0]


def test_lids_are_where_they_would_be_seen_as_the_drivers_are() -> None:
    source, start = with_lids(10, 0.2), with_lids(11, 0.3)
    for seen, part in zip(SEEN_OPEN, IS_OPEN, strict=True):
        eyes = Face(move(source, with_lids(11, seen * 0.3), start).landmarks).eyes
        assert [eye[1] for eye in eyes] == pytest.approx([part * eye[1] for eye in source.eyes], abs=0.015)
    own = Face(move(start, with_lids(11, 0.15), start).landmarks).eyes  # one's own eyes are copied
    assert [eye[1] for eye in own] == pytest.approx([eye[1] for eye in with_lids(11, 0.15).eyes], abs=0.004)


def test_eyes_open_wider_as_far_as_eyes_do() -> None:
    start = with_lids(11, 0.25)
    for own in (0.2, 0.3, 0.5):
        source = with_lids(10, own)
        shown = [Face(move(source, with_lids(11, wide), start).landmarks).eyes[0][1] for wide in (0.25, 0.35, 0.6)]
        assert (np.diff(shown) >= -1e-9).all() and shown[-1] <= 1.5 * own + 1e-6
        assert shown[-1] < 1.15 * own if own == 0.5 else shown[1] > 1.3 * own


def test_gaze_follows_within_the_eye() -> None:
    shape = somebody(14)
    source, start = Face(FRONTAL.place(shape)), Face(FRONTAL.place(somebody(15)))
    for side in (-1, 1):
        looking = somebody(15)
        for eye in EYES:
            looking[eye.iris, 0] += side * 0.15 * np.linalg.norm(looking[eye.outer] - looking[eye.inner])
        moved = move(source, Face(FRONTAL.place(looking)), start)
        for eye, was, now in zip(EYES, source.eyes, Face(moved.landmarks).eyes, strict=True):
            assert now[2][0] - was[2][0] == pytest.approx(side * 0.15, abs=0.02)
            corners = np.sort(moved.landmarks[[eye.outer, eye.inner], 0])
            assert corners[0] < moved.landmarks[eye.iris[0], 0] < corners[1]


def test_eyes_that_look_aside_already_look_no_further_than_eyes_do() -> None:
    """Further aside no iris is seen. What looks back is followed all the way."""
    aside, start = somebody(14), Face(FRONTAL.place(somebody(15)))
    for eye in EYES:
        aside[eye.iris, 0] += 0.2 * np.linalg.norm(aside[eye.outer] - aside[eye.inner])
    source = Face(FRONTAL.place(aside))
    for looks, expected in ((0.2, None), (-0.2, -0.2)):
        looking = somebody(15)
        for eye in EYES:
            looking[eye.iris, 0] += looks * np.linalg.norm(looking[eye.outer] - looking[eye.inner])
        moved = Face(move(source, Face(FRONTAL.place(looking)), start).landmarks)
        for was, now in zip(source.eyes, moved.eyes, strict=True):
            if expected is not None:
                assert now[2][0] - was[2][0] == pytest.approx(expected, abs=0.02)
            else:
                assert was[2][0] < now[2][0] < 0.36


def test_turns_are_bounded_smoothly_and_told() -> None:
    shape, source = somebody(16), Face(FRONTAL.place(somebody(17)))
    start = Face(FRONTAL.place(shape))
    yaws, held = np.arange(0.0, 80.0, 1.0), []
    for yaw in yaws:
        moved = move(source, Face(FRONTAL._replace(rotation=rotation_of(np.array([yaw, 0, 0]))).place(shape)), start)
        held.append(angles_deg(moved.pose.rotation)[0])
        assert (moved.bounded_deg > 0) == (yaw > TURN_DEG[0])
    steps = np.diff(held)
    np.testing.assert_allclose(held[: int(TURN_DEG[0])], yaws[: int(TURN_DEG[0])], atol=1e-6)
    assert (steps > -1e-9).all() and steps.max() < 1.01 and max(held) <= TURN_DEG[1]
    assert np.abs(np.diff(steps)).max() < 0.1  # no kink


@pytest.mark.parametrize("own", [-34.0, -12.0, 12.0, 34.0])
def test_a_turned_face_turns_back_only_as_far_as_the_photo_shows_its_other_side(own: float) -> None:
    shape, start = somebody(16), Face(FRONTAL.place(somebody(16)))
    source = Face(FRONTAL._replace(rotation=rotation_of(np.array([own, 0, 0]))).place(shape))

    def turn(yaw: float) -> float:
        driving = Face(FRONTAL._replace(rotation=rotation_of(np.array([yaw, 0, 0]))).place(shape))
        return float(angles_deg(move(source, driving, start).pose.rotation)[0]) - own

    for yaw in (5.0, 14.0):
        assert turn(-np.sign(own) * yaw) == pytest.approx(-np.sign(own) * yaw, abs=1e-6)
    back = abs(turn(-np.sign(own) * 70))
    assert back < 24.5 if abs(own) > 17 else 24.5 < back < 40


def test_brows_do_not_come_down_onto_the_eyes() -> None:
    source, start = Face(FRONTAL.place(somebody(18))), somebody(19)
    frown = start.copy()
    brows = np.flatnonzero((REFERENCE[:468, 1] < -0.25) & (REFERENCE[:468, 1] > -0.6))
    frown[brows, 1] += 0.25
    moved = move(source, Face(FRONTAL.place(frown)), Face(FRONTAL.place(start)))
    lowered = moved.shape[105, 1] - source.shape[105, 1]
    assert 0.02 < lowered < 0.5 * (source.shape[33, 1] - source.shape[105, 1])


def test_a_still_face_does_not_tremble_and_a_step_is_followed_at_once() -> None:
    rng, still, steady = np.random.default_rng(0), FRONTAL.place(REFERENCE), Steady()
    noisy = [still + rng.normal(0, 0.2, still.shape) for _ in range(60)]
    calm = np.array([steady(one, 1 / 25) for one in noisy])[10:]
    assert (calm - calm.mean(0)).std() < 0.5 * np.std(np.array(noisy)[10:] - still)
    assert np.abs(calm.mean(0) - still).mean() < 0.1
    after = still + [15.0, 0, 0]
    steady(after, 1 / 25)
    assert np.abs(steady(after, 1 / 25) - after).mean() < 0.1 * 15


@pytest.mark.parametrize("roll_deg", [0.0, -20.0, 85.0])
def test_without_relative_motion_the_head_does_what_the_driving_head_does(roll_deg: float) -> None:
    from fomm.animator.face import as_if

    upright = rotation_of(np.array([6.0, -4.0, 0.0]))
    source = Face(Pose(60.0, rotation_of(np.array([0.0, 0, roll_deg])) @ upright, np.zeros(3)).place(somebody(20)))
    driving = Face(FRONTAL._replace(rotation=rotation_of(np.array([15.0, 8.0, -5.0]))).place(somebody(21)))
    moved = move(source, driving, as_if(source, Face(FRONTAL.place(somebody(21)))))
    lies = rotation_of(np.array([0.0, 0.0, 90.0 if roll_deg > 45 else 0.0]))
    np.testing.assert_allclose(moved.pose.rotation, lies @ driving.pose.rotation, atol=1e-6)
