"""Tracks over real clips, cuts, lost and several faces; the crop's arithmetic by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from pictures import COFFEE, picture

from fomm.video import VideoReader, read_image
from preprocess.crop import crop_matrix, invert, transform
from preprocess.faces import Face, FaceFinder
from preprocess.track import Sample, Track, describe_tracks, find_tracks, joined, matching_crop


@pytest.fixture(scope="module")
def finder() -> Iterator[FaceFinder]:
    with FaceFinder() as finder:
        yield finder


@pytest.fixture(scope="module")
def two_people(media: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """40 frames of 480x480 of one person, 40 of another."""
    clips = []
    for name in ("drive_audio.mp4", "drive_sar_odd.mp4"):
        with VideoReader(media / name) as reader:
            clips.append([frame.image for _, frame in zip(range(40), reader, strict=False)])
    return clips[0], clips[1]


def sample(index: int, left: float, top: float, side: float = 100, **angles: float) -> Sample:
    box = (left, top, left + 0.8 * side, top + side)
    angles = {"roll_deg": 0.0, "yaw_deg": 0.0, "pitch_deg": 0.0, **angles}
    return Sample(index, box, (left + 0.4 * side, top + 0.5 * side), side, **angles)


def a_track(*samples: Sample, width: int = 640, height: int = 480, looks: int | None = None) -> Track:
    return Track(samples[0].frame, samples[-1].frame + 1, width, height, samples, looks or len(samples))


def test_crop_is_1_2_times_the_longer_side_of_the_union() -> None:
    track = a_track(sample(0, 200, 150), sample(5, 260, 170))
    assert track.union_box_xyxy_px == (200, 150, 340, 270)
    crop = track.crop(256)
    assert crop.side_px == pytest.approx(1.2 * 140)
    assert crop.centre_px == pytest.approx((270, 210))
    assert crop.roll_deg == 0 and crop.size == 256
    assert track.crop(128, scale=2).side_px == pytest.approx(280)


def test_crop_is_moved_inside_and_centred_where_it_does_not_fit() -> None:
    crop = a_track(sample(0, -10, 0)).crop(256)
    assert crop.corners_px.min(0) == pytest.approx((-0.5, -0.5))  # the outer edge of the first pixel
    crop = a_track(sample(0, 580, 390)).crop(256)
    assert crop.corners_px.max(0) == pytest.approx((639.5, 479.5))
    crop = a_track(sample(0, 20, 30, side=500)).crop(256)  # 600 px do not fit into 480
    assert crop.side_px == pytest.approx(600)
    assert crop.centre_px == pytest.approx((299.5, 239.5))  # moved by the left border, middle of the height


def test_facts_of_a_track() -> None:
    track = a_track(sample(3, 0, 0, yaw_deg=-10), sample(5, 20, 40, side=120, yaw_deg=5, pitch_deg=7), looks=4)
    assert (len(track), track.found_share, track.face_side_px) == (3, 0.5, 110)
    assert track.yaw_range_deg == (-10, 5)
    assert track.boxes.shape == (3, 4)
    assert track.boxes[1] == pytest.approx((10, 20, 98, 130))
    assert track.at(4).box_xyxy_px == pytest.approx(tuple(track.boxes[1]))
    assert track.at(4).yaw_deg == pytest.approx(-2.5)
    assert track.at(0).box_xyxy_px == track.samples[0].box_xyxy_px and track.at(99).side_px == 120
    assert describe_tracks([track, track]) == (
        "1: frames 3 to 5, face 110 px at 40,50; 2: frames 3 to 5, face 110 px at 40,50"
    )


def test_matching_crop_by_hand() -> None:
    """A face of twice the size, turned by 30 degrees, off the centre of the driving crop."""
    track = a_track(sample(0, 200, 150), sample(5, 260, 170))
    outline = np.random.default_rng(0).uniform(-1, 1, (468, 2)) * (70, 90)
    outline[[33, 133, 362, 263]] = [[-40, -20], [-20, -20], [20, -20], [40, -20]]
    upright_to_photo = invert(crop_matrix(np.array([400.0, 300.0]), 1.0, 30.0, 1))
    face = Face(transform(upright_to_photo, outline).astype(np.float32), 0.9, 0.0, 0.0)
    crop = matching_crop(face, track, 256, index=5)
    driving, there = track.at(5), track.crop(256)
    assert crop.roll_deg == pytest.approx(30, abs=1e-4)
    assert face.side_px / crop.side_px == pytest.approx(driving.side_px / there.side_px)
    in_crop = transform(crop.matrix, face.centre_px[None])[0]
    assert in_crop == pytest.approx(transform(there.matrix, np.array([driving.centre_px]))[0], abs=1e-3)


@pytest.mark.parametrize(
    "name", ["drive_audio.mp4", "drive_big_motion.mp4", "drive_phone_rotated.mp4", "drive_recorder_vfr.webm"]
)
def test_a_clip_is_one_whole_track(media: Path, finder: FaceFinder, name: str) -> None:
    with VideoReader(media / name) as reader:
        count = 0

        def counted() -> Iterator[np.ndarray]:
            nonlocal count
            for frame in reader:
                count += 1
                yield frame.image

        (track,) = find_tracks(counted(), finder)  # a generator: one pass
        assert (track.start, track.stop, track.found_share) == (0, count, 1.0)
        assert (track.width, track.height) == (reader.width, reader.height)
        crop = track.crop(256)
        left, top, right, bottom = track.union_box_xyxy_px
        assert crop.side_px == pytest.approx(1.2 * max(right - left, bottom - top))
        # each sampled face lies in the crop
        boxes = track.boxes
        low, high = crop.corners_px.min(0), crop.corners_px.max(0)
        assert (boxes[:, :2] >= low - 1).all() and (boxes[:, 2:] <= high + 1).all()


def test_photo_and_driving_frame_show_the_face_alike(media: Path, finder: FaceFinder) -> None:
    """Measured in the crops themselves: same size, same place, no roll."""
    with VideoReader(media / "drive_big_motion.mp4") as reader:
        frames = [frame.image for _, frame in zip(range(31), reader, strict=False)]
    (track,) = find_tracks(frames, finder)
    photo = read_image(media / "photo_tilted.jpg")
    (face,) = finder.find(photo)
    for index in (0, 30):
        (driving,) = finder.find(track.crop(256).apply(frames[index]))
        (source,) = finder.find(matching_crop(face, track, 256, index=index).apply(photo))
        assert source.side_px == pytest.approx(driving.side_px, rel=0.05)
        assert source.centre_px == pytest.approx(driving.centre_px, abs=6)
        assert abs(source.roll_deg) < 2


def test_a_cut_ends_a_track(two_people: tuple[list[np.ndarray], list[np.ndarray]], finder: FaceFinder) -> None:
    one, other = two_people
    tracks = find_tracks(one[:33] + other[:21], finder)
    assert [(track.start, track.stop) for track in tracks] == [(0, 33), (33, 54)]
    assert tracks[0].samples[-1].frame == 32  # the last frame before the cut was looked at
    assert joined(tracks) == tracks


def seen_again(start: int, left: float = 200.0, side: float = 100.0, shot: int = 0, grey: float = 1.0) -> Track:
    """A face that is seen in 11 frames, as the picture moves to the right by a pixel a frame."""
    looks = np.full((8, 8, 3), 1.0)
    looks[:4] = grey
    samples = tuple(sample(start + index, left + index, 150, side) for index in (0, 5, 10))
    shifts = tuple((float(index), 0.0) for index in range(11))
    return Track(start, start + 11, 640, 480, samples, 3, shifts, shot, looks)


def test_a_face_that_was_away_goes_on_in_one_track() -> None:
    first, second = seen_again(0), seen_again(40, left=230)
    (track,) = joined([second, first])
    assert (track.start, track.stop, track.looks) == (0, 51, 3 + round(29 / 5) + 3)
    assert [s.frame for s in track.samples] == [0, 5, 10, 40, 45, 50]
    boxes = track.boxes
    np.testing.assert_allclose(boxes[:11], first.boxes)
    np.testing.assert_allclose(boxes[40:], second.boxes)
    np.testing.assert_allclose(np.diff(boxes[10:41, 0]), 20 / 30)  # evenly in between
    assert len(track.shifts) == 51
    assert [(one.start, one.stop) for one in joined([first, second, seen_again(90, left=250)])] == [(0, 101)]


@pytest.mark.parametrize(
    "other",
    [
        seen_again(40, shot=1),  # after a cut
        seen_again(40, grey=1.4),  # somebody else
        seen_again(40, left=330),  # somewhere else
        seen_again(40, side=170),  # nearer
        seen_again(5),  # at the same time
    ],
)
def test_another_face_stays_a_track_of_its_own(other: Track) -> None:
    first = seen_again(0)
    assert len(joined([first, other])) == 2


def test_a_lost_face_ends_a_track(two_people: tuple[list[np.ndarray], list[np.ndarray]], finder: FaceFinder) -> None:
    """The face fades away and another one comes in, without a cut."""
    one, _ = two_people
    plain = np.full_like(one[0], one[0][:40, :40].mean((0, 1)).astype(np.uint8))
    fade = np.linspace(0, 1, 15)
    frames = [*one[:20]]
    frames += [np.uint8((1 - w) * one[20] + w * plain) for w in fade] + [plain] * 30
    frames += [np.uint8((1 - w) * plain + w * one[21]) for w in fade] + one[21:40]
    tracks = find_tracks(frames, finder)
    assert len(tracks) == 2
    first, second = sorted(tracks, key=lambda track: track.start)
    assert first.start == 0 and 19 <= first.stop <= 36
    assert 64 <= second.start <= 82 and second.stop == len(frames)
    (whole,) = joined(tracks)
    assert (whole.start, whole.stop) == (0, len(frames))


def test_a_short_miss_does_not_end_a_track(
    two_people: tuple[list[np.ndarray], list[np.ndarray]], finder: FaceFinder
) -> None:
    one, _ = two_people
    frames = one[:9]
    frames[4] = cv2.GaussianBlur(frames[4], (0, 0), 40)
    (track,) = find_tracks(frames, finder, every=1)
    assert len(track) == 9 and track.found_share == pytest.approx(8 / 9)


@pytest.mark.parametrize("then", ["the end", "a cut"])
def test_a_face_that_is_missed_in_the_last_look_is_kept_as_long_as_it_is_seen(
    two_people: tuple[list[np.ndarray], list[np.ndarray]], finder: FaceFinder, then: str
) -> None:
    one, other = two_people
    frames = one[:14]  # looked at: 0, 5, 10, and 13, in which it is not found
    frames[13] = cv2.GaussianBlur(frames[13], (0, 0), 40)
    tracks = find_tracks(frames + (other[:6] if then == "a cut" else []), finder)
    assert (tracks[0].start, tracks[0].stop) == (0, 13)


def test_two_faces_are_two_tracks(two_people: tuple[list[np.ndarray], list[np.ndarray]], finder: FaceFinder) -> None:
    frames = [np.hstack(pair) for pair in zip(*two_people, strict=True)]
    tracks = find_tracks(frames[:21], finder)
    assert [len(track) for track in tracks] == [21, 21]
    assert {track.samples[0].centre_px[0] > 480 for track in tracks} == {True, False}


def test_no_face_and_no_frames(finder: FaceFinder) -> None:
    cup = read_image(picture(COFFEE))
    assert find_tracks([cup] * 3, finder) == [] and find_tracks([], finder) == []


def test_one_frame(two_people: tuple[list[np.ndarray], list[np.ndarray]], finder: FaceFinder) -> None:
    (track,) = find_tracks(two_people[0][:1], finder)
    assert (track.start, track.stop, len(track.samples)) == (0, 1, 1)
    assert track.crop(64).apply(two_people[0][0]).shape == (64, 64, 3)
