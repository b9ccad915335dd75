"""From videos to clips: what is cut, what is left out, how it is named and split; metadata; bad input."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from fomm.errors import InputError
from fomm.manifest import COLUMNS, REQUIRED, SPLITS, Clip, hash_clip, read_manifest, read_pairs
from fomm.video import VideoReader, VideoWriter
from preprocess.dataset.build import (
    cannot_work,
    find_videos,
    held,
    named_in_text,
    prepare_dataset,
    split_identities,
)
from preprocess.dataset.clips import GivenClip, Outcome, OutputFault, Reject, Rules, Video, View, blur, frame_rate
from preprocess.dataset.metadata import ask, read_metadata
from preprocess.dataset.prepare import LeaveOut, crop_around, prepare_video
from preprocess.dataset.recipes import read_list
from preprocess.dataset.records import Records
from preprocess.faces import FaceFinder
from preprocess.synthetic.puppets import draw_clip, framing, random_identity, random_motion
from preprocess.track import find_tracks

RULES = dict(
    detector="face", size=128, scale=1.2, shape="square", border="inside", format="mp4", min_frames=8, max_frames=1024,
    max_enlargement=2.0, max_blur=0.7, min_light=64.0, min_confidence=0.7,
)  # fmt: skip
FRAMES, SIDE = 18, 192


@pytest.fixture(scope="module")
def finder() -> Iterator[FaceFinder]:
    with FaceFinder() as finder:
        yield finder


@pytest.fixture(scope="module")
def puppets() -> list[list[np.ndarray]]:
    """Two puppets that move, 18 frames of 192 x 192 each."""
    clips = []
    for seed in (3, 5):
        person, motion = random_identity(seed), random_motion(seed + 10, FRAMES)
        clips.append([d.image for d in draw_clip(person, motion, SIDE, framing(person, motion, scale=1.7))])
    return clips


@pytest.fixture
def prepare(tmp_path: Path, finder: FaceFinder) -> Callable[..., Outcome]:
    """Write frames as a video and prepare it."""

    def run(frames: list[np.ndarray], name: str = "v", given: tuple[GivenClip, ...] | None = None, **rules) -> Outcome:
        path = tmp_path / "videos" / f"{name}.mp4"
        if not path.exists():
            with VideoWriter(path, fps=25) as writer:
                for frame in frames:
                    writer.write(frame)
        chosen = Rules(**{**RULES, **rules})
        own = finder if chosen.detector == "face" else None
        (tmp_path / "out" / "clips").mkdir(parents=True, exist_ok=True)
        return prepare_video(Video(path.name, name, name, given), path.parent, tmp_path / "out", chosen, own)

    return run


def read(path: Path) -> np.ndarray:
    return np.stack([frame.image for frame in VideoReader(path)]).astype(float)


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((one - other) ** 2)))


# --------------------------------------------------------------------------------------------------------- the crops


def test_a_clip_is_the_crop_of_inference(prepare, tmp_path: Path, media: Path, finder: FaceFinder) -> None:
    reader = VideoReader(media / "drive_audio.mp4")
    frames = [frame.image for frame in reader.frames(0, 40)]
    outcome = prepare(frames, size=256)
    (clip,) = outcome.clips
    assert (clip.clip_id, clip.frames, clip.fps, clip.width) == ("v#000000#000040", 40, 25, 256)
    assert clip.sha256 == hash_clip(tmp_path / "out" / clip.path) and 0.85 < clip.confidence < 1
    again = [frame.image for frame in VideoReader(tmp_path / "videos" / "v.mp4")]
    (track,) = find_tracks(again, finder)
    crop = track.crop(256)
    box = np.array(clip.crop_box.split("-"), float)
    assert box == pytest.approx([*crop.corners_px.min(0) + 0.5, *crop.corners_px.max(0) + 0.5], abs=1)
    written = read(tmp_path / "out" / clip.path)
    assert psnr(written, np.stack([crop.apply(frame) for frame in again])) > 33
    exact = [
        cv2.resize(f[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])], (256, 256), interpolation=3) for f in again
    ]
    assert psnr(written, np.stack(exact)) > 39  # the manifest's box says it all


def test_equal_input_gives_equal_bytes_and_short_groups(prepare, tmp_path: Path, puppets) -> None:
    first = prepare(puppets[0]).clips[0]
    path = tmp_path / "out" / first.path
    content = path.read_bytes()
    path.unlink()
    assert prepare(puppets[0]).clips[0] == first and path.read_bytes() == content
    import av

    with av.open(str(path)) as container:
        keys = [packet.pts for packet in container.demux(video=0) if packet.size and packet.is_keyframe]
    assert len(keys) == -(-FRAMES // 8)


def test_png_frames_are_lossless(prepare, tmp_path: Path, puppets) -> None:
    clip = prepare(puppets[0], format="png").clips[0]
    assert (
        clip.path == f"clips/v#000000#{FRAMES:06d}"
        and len(list((tmp_path / "out" / clip.path).glob("*.png"))) == FRAMES
    )
    left, top, right, bottom = map(int, clip.crop_box.split("-"))
    frame = next(iter(VideoReader(tmp_path / "videos" / "v.mp4"))).image
    shown = cv2.resize(frame[top:bottom, left:right], (128, 128), interpolation=cv2.INTER_AREA)
    assert (read(tmp_path / "out" / clip.path)[0] == shown).all()


def test_cuts_two_faces_and_long_tracks(prepare, puppets) -> None:
    one, other = puppets
    dark = [frame // 3 for frame in other]
    outcome = prepare(one + dark, min_light=0)
    assert [clip.clip_id for clip in outcome.clips] == ["v#000000#000018", "v#000018#000036"]
    both = prepare([np.hstack(pair) for pair in zip(one, other, strict=True)], name="both")
    assert [clip.clip_id for clip in both.clips] == ["both#000000#000018", "both#000000#000018#2"]
    centres = [sum(map(int, clip.crop_box.split("-")[::2])) / 2 for clip in both.clips]
    assert centres[0] < SIDE < centres[1]
    parts = prepare(one, name="long", max_frames=10)
    assert [(clip.clip_id, clip.frames) for clip in parts.clips] == [
        ("long#000000#000009", 9),
        ("long#000009#000018", 9),
    ]


def crop(box, **rules):
    """The crop around a box in a frame of 640 x 480, as far as it lies in the frame."""
    return crop_around(box, (640, 480), Rules(**{**RULES, **rules}))[0].inside_xyxy


def test_the_square_by_hand() -> None:
    assert crop((200, 150, 300, 270)) == (178, 138, 322, 282)  # 1.2 x 120 around (250, 210)
    assert crop((0, 0, 100, 120)) == (0, 0, 144, 144)  # moved inside
    assert crop((0, 0, 100, 120), border="clip") == (0, 0, 122, 132)
    with pytest.raises(LeaveOut, match="leaves_frame"):
        crop((0, 0, 100, 120), border="drop")
    assert crop((22, 12, 122, 132), border="drop") == (0, 0, 144, 144)
    tall, rule = crop_around((20, 20, 320, 460), (640, 480), Rules(**RULES))  # 528 do not fit into 480: centred,
    assert tall.box_xyxy == (0, -24, 528, 504) and tall.inside_xyxy == (0, 0, 528, 480) and "528" in rule  # repeated
    with pytest.raises(LeaveOut, match="27 % of the square"):
        crop((20, 0, 320, 540))
    assert crop((10, 20, 110, 220), shape="stretch") == (10, 20, 110, 220)
    assert crop((0, 0, 640, 480)) == (80, 0, 560, 480)  # whole frames: their central square
    assert crop((0, 0, 640, 480), shape="stretch") == (0, 0, 640, 480)
    with pytest.raises(LeaveOut, match="60 px would be enlarged 2.1 times"):
        crop((200, 150, 250, 170))
    with pytest.raises(LeaveOut, match="outside"):
        crop((700, 150, 850, 270), shape="stretch")


def test_a_view_outside_repeats_the_border() -> None:
    image = np.arange(36, dtype=np.uint8).reshape(6, 6, 1).repeat(3, 2)
    frame = SimpleNamespace(region=lambda box: image[box[1] : box[3], box[0] : box[2]])
    shown = View((-2, 0, 6, 8), (6, 6), 8).of(frame)[..., 0]
    assert (shown == np.pad(image[..., 0], ((0, 2), (2, 0)), mode="edge")).all()


# ------------------------------------------------------------------------------------------------------- the filters


@pytest.mark.parametrize(
    ("change", "rules", "reason"),
    [
        (lambda frame: frame // 6, {}, "too_dark"),
        (lambda frame: cv2.GaussianBlur(frame, (0, 0), 4), {}, "too_blurred"),
        (lambda frame: frame, {"size": 512}, "too_small"),
        (lambda frame: frame, {"min_frames": 19}, "too_short"),
        (lambda frame: frame, {"min_confidence": 0.999}, "low_confidence"),
        (lambda frame: np.full_like(frame, 90), {}, "no_face"),
    ],
)
def test_what_is_left_out(prepare, tmp_path: Path, puppets, change, rules: dict, reason: str) -> None:
    outcome = prepare([change(frame) for frame in puppets[0]], **rules)
    assert [reject.reason for reject in outcome.rejects] == [reason] and not outcome.clips
    assert list((tmp_path / "out" / "clips").iterdir()) == []


def test_blur_does_not_depend_on_contrast() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (96, 96)).astype(np.uint8)
    values = [blur(noise), *(blur(cv2.GaussianBlur(noise, (0, 0), sigma)) for sigma in (1, 2, 3))]
    assert values == sorted(values) and values[0] < 0.2 < 0.5 < values[3]
    soft = cv2.GaussianBlur(noise, (0, 0), 1).astype(np.float32)
    assert blur(soft) == pytest.approx(blur(0.3 * soft), abs=1e-4)
    assert blur(np.full((32, 32), 7)) == 1.0


def test_frame_rate() -> None:
    assert frame_rate(101, Fraction(4)) == 25
    assert frame_rate(31, Fraction(1001, 1000)) == Fraction(30000, 1001)
    assert frame_rate(31, Fraction(1000999, 1000000)) == Fraction(30000, 1001)  # whole microseconds
    assert frame_rate(11, Fraction(3)) == Fraction(10, 3) and frame_rate(1, Fraction(0)) == 25


def test_a_clip_with_decoding_errors_is_left_out(prepare, tmp_path: Path, puppets) -> None:
    """A few wrong bytes smear a face over many frames, though every frame can be decoded."""
    prepare(puppets[0], detector="none")
    path = tmp_path / "videos" / "v.mp4"
    content = bytearray(path.read_bytes())
    start = content.index(b"mdat") + 4
    for share in (0.5, 0.6, 0.7):
        at = start + int(share * (len(content) - start) / 2)
        content[at : at + 8] = bytes(8)
    path.write_bytes(content)
    shutil.rmtree(tmp_path / "out")
    outcome = prepare(puppets[0], detector="none")
    assert outcome.clips == [] and {reject.reason for reject in outcome.rejects} == {"damaged"}
    assert not any((tmp_path / "out" / "clips").iterdir())


def test_a_truncated_video_gives_what_can_be_read(tmp_path: Path, media: Path) -> None:
    rules = Rules(**{**RULES, "detector": "none"})
    (tmp_path / "clips").mkdir()
    outcome = prepare_video(Video("drive_truncated.mp4", "t", "t"), media, tmp_path, rules, None)
    assert [clip.frames for clip in outcome.clips] == [108]
    assert [reject.reason for reject in outcome.rejects] == ["damaged"] and "108 of 216" in outcome.rejects[0].detail


# ---------------------------------------------------------------------------------------------------------- metadata

HEADER = "video_id,start,end,bbox,fps,width,height,partition,person_id\n"


def numbered(path: Path, frames: int, fps: int) -> None:
    """A video of 320 x 240 whose frame n is grey 2 n, with a white box at 80-60-160-180."""
    with VideoWriter(path, fps=fps) as writer:
        for number in range(frames):
            frame = np.full((240, 320, 3), 2 * number, np.uint8)
            frame[60:180, 80:160] = 255
            frame[100:140, 100:140] = 2 * number
            writer.write(frame)


@pytest.mark.parametrize("shape", ["square", "stretch"])
def test_given_boxes_are_rescaled_to_rate_and_size(tmp_path: Path, shape: str) -> None:
    """Metadata at 25 frames per second and 160 x 120, a file of 50 and 320 x 240."""
    numbered(tmp_path / "videos" / "abc.mp4", 100, 50)
    (tmp_path / "m.csv").write_text(HEADER + "abc,10,20,40-30-80-90,25,160,120,train,id1\n")
    rules = Rules(detector="none", shape=shape, size=64, scale=1.0, min_frames=8, max_blur=1.0, format="png")
    manifest = prepare_dataset(tmp_path / "videos", tmp_path / "out", rules, metadata=tmp_path / "m.csv", workers=1)
    row = manifest.read_text().splitlines()[1].split(",")
    assert row[:8] == ["id1#abc#000010#000020", "clips/id1#abc#000010#000020", "id1", "train", "20", "50", "64", "64"]
    assert row[9] == {"square": "60-60-180-180", "stretch": "80-60-160-180"}[shape]
    clip = read(tmp_path / "out" / row[1])
    assert clip[:, 32, 32].mean(1) == pytest.approx(2 * np.arange(20, 40), abs=3)  # frames 20 to 39 of the file
    assert (clip[0, 32, :8].mean() > 200) == (shape == "stretch")


def test_faces_in_given_boxes_are_verified(prepare, puppets) -> None:
    def given(box: tuple[int, int, int, int]) -> tuple[GivenClip, ...]:
        return (GivenClip("c", 0, FRAMES, box, Fraction(25), (2 * SIDE, SIDE)),)

    frames = [np.hstack([frame, np.full_like(frame, 120)]) for frame in puppets[0]]
    for frame in frames:
        frame[::4, SIDE::4] = 30  # something to see
    seen = prepare(frames, given=given((30, 30, 162, 162)))
    assert [clip.clip_id for clip in seen.clips] == ["c"] and seen.clips[0].confidence > 0.7
    assert [r.reason for r in prepare(frames, given=given((200, 20, 350, 170))).rejects] == ["no_face"]


def test_a_clip_past_the_end(prepare, puppets) -> None:
    late = (GivenClip("c", 15, 40, (20, 20, 120, 120), Fraction(25), (SIDE, SIDE)),)
    outcome = prepare(puppets[0], given=late, detector="none")
    assert [(r.reason, r.start) for r in outcome.rejects] == [("ends_early", 15)] and "3 of its 25" in outcome.rejects[
        0
    ].detail


@pytest.mark.parametrize("suffix", ["mp4", "gif"])
def test_far_apart_clips_of_one_video(tmp_path: Path, suffix: str) -> None:
    """What lies between is jumped over; a gif cannot be entered late and is read through."""
    path = tmp_path / f"long.{suffix}"
    with VideoWriter(path, fps=10, keyframe_every=20) as writer:
        for number in range(400):
            writer.write(np.full((48, 64, 3), number % 100 * 2, np.uint8))
    given = tuple(
        GivenClip(f"c{start}", start, start + 10, (0, 0, 64, 48), Fraction(10), (64, 48))
        for start in (380, 5, 150, 155)
    )
    (tmp_path / "out" / "clips").mkdir(parents=True)
    rules = Rules(**{**RULES, "detector": "none", "size": 32, "format": "png", "max_blur": 1.0, "min_light": 0.0})
    outcome = prepare_video(Video(path.name, "long", "long", given), tmp_path, tmp_path / "out", rules, None)
    assert [clip.clip_id for clip in outcome.clips] == ["c5", "c150", "c155", "c380"] and not outcome.rejects
    for clip in outcome.clips:
        start = int(clip.clip_id[1:])
        shown = read(tmp_path / "out" / clip.path).mean((1, 2, 3))
        assert shown == pytest.approx([n % 100 * 2 for n in range(start, start + 10)], abs=3)


def test_duplicates_partitions_and_missing_videos(tmp_path: Path) -> None:
    rows = [
        "a,0,90,1-2-30-40,25,64,48,train,id1", "a,0,90,1-2-30-40,25,64,48,train,id1",
        "b,0,90,1-2-30-40,25,64,48,train,id2", "c,5,90,1-2-30-40,25,64,48,test,id2",
        "gone,0,90,1-2-30-40,25,64,48,train,id3", "c#id4,0,99,1-2-30-40,29.97,64,48,,",
    ]  # fmt: skip
    (tmp_path / "m.csv").write_text(HEADER + "\n".join(rows) + "\n")
    asked = ask(read_metadata(tmp_path / "m.csv"), ["a.mp4", "b.mkv", "sub/c.webm", "d.mp4"])
    assert [(v.path, v.identity, [g.clip_id for g in v.given]) for v in asked.videos] == [
        ("a.mp4", "id1", ["id1#a#000000#000090"]),
        ("sub/c.webm", "id2", ["id2#c#000005#000090"]),
        ("sub/c.webm", "id4", ["id4#c#000000#000099"]),
    ]
    assert [(r.video, r.reason) for r in asked.rejects] == [
        ("a", "duplicate"), ("b", "other_partition"), ("gone", "missing"),
    ]  # fmt: skip
    assert asked.partitions["id2"] == "test" and asked.partitions["id1"] == "train"
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "d.mp4").touch()
    with pytest.raises(InputError, match="none of the 4 videos of"):
        prepare_dataset(tmp_path / "videos", tmp_path / "out", metadata=tmp_path / "m.csv")


def test_taichi_has_no_people(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "video_id,start,end,bbox,fps,width,height\nu6rJ,80,300,118-82-508-472,29.97,640,480\n"
    )
    (video,) = ask(read_metadata(tmp_path / "t.csv"), ["u6rJ.mp4"]).videos
    assert (video.identity, video.given[0].clip_id, video.given[0].fps) == (
        "u6rJ",
        "u6rJ#000080#000300",
        Fraction("29.97"),
    )


def test_faulty_metadata_are_told_together(tmp_path: Path) -> None:
    rows = [
        "a,0,90,1-2-30-40,25,64,48,train,id1", "a,0,90,1-2-30,25,64,48,train,id1", "a,9,3,1-2-30-40,25,64,48,train,id1",
        "a,0,90,30-2-1-40,25,64,48,train,id1", "a,0,x,1-2-30-40,25,64,48,train,id1", 
        "../a,0,9,1-2-30-40,25,64,48,train,i",
        "a,0,90,1-2-30-40,25,64,48,val,id1", "a,0,90,1-2-30-40,25,64,48,train,../x", "a,0",
        "a,-3,90,1-2-30-40,25,64,48,train,id1", 'a,0,90,1-2-30-40,25,64,48,train,"i\nd"',
    ]  # fmt: skip
    (tmp_path / "m.csv").write_text(HEADER + "\n".join(rows) + "\n")
    with pytest.raises(InputError) as error:
        read_metadata(tmp_path / "m.csv")
    for said in (
        "line 3: bbox '1-2-30'", "line 4: start 9 and end 3", "line 5: bbox '30-2-1-40' holds nothing",
        "line 6: end 'x' is not a number", "line 7: video_id '../a'", "line 8: partition 'val'", 
        "line 9: person_id '../x'",
        "line 10: has another number of values", "line 11: start -3", "line 13: person_id 'i\\nd'",
    ):  # fmt: skip
        assert said in str(error.value)
    (tmp_path / "m.csv").write_text("video_id,start\n")
    with pytest.raises(InputError, match="line 1: no columns end, bbox, fps, width, height"):
        read_metadata(tmp_path / "m.csv")
    with pytest.raises(InputError, match="no such metadata file"):
        read_metadata(tmp_path / "n.csv")


def test_hdtf_s_lists_are_cut_by_seconds_and_height(tmp_path: Path) -> None:
    """Boxes of a 120 high frame in a file 240 high; the second clip has no box; 10 frames a second."""
    numbered(tmp_path / "videos" / "AnnWagner1.mp4", 50, 10)
    lists = tmp_path / "HDTF_dataset"
    lists.mkdir()
    (lists / "WRA_annotion_time.txt").write_text("AnnWagner1.mp4 00:01-00:03 00:03-00:04 \nGone2.mp4 01:00-02:10\n")
    (lists / "WRA_crop_wh.txt").write_text("AnnWagner1_0.mp4 40 60 30 60\nGone2_0.mp4 0 50 0 50\n")
    (lists / "WRA_resolution.txt").write_text("AnnWagner1.mp4 120\nGone2.mp4 720\n")
    rows, rejects = read_list(lists)
    assert [(row.identity, row.start, row.end, row.box_xyxy) for row in rows] == [
        ("AnnWagner", 1, 3, (40, 30, 100, 90)), ("Gone", 60, 130, (0, 0, 50, 50)),
    ]  # fmt: skip
    assert [(r.video, r.reason) for r in rejects] == [("AnnWagner1", "missing")]
    rules = Rules(detector="none", size=64, min_frames=8, max_blur=1.0, format="png")
    manifest = prepare_dataset(tmp_path / "videos", tmp_path / "out", rules, metadata=lists, workers=1)
    (clip,) = read_manifest(manifest)
    assert (clip.identity, clip.frames, clip.crop_box) == ("AnnWagner", 20, "80-60-200-180")
    shown = read(tmp_path / "out" / clip.path)[:, 32, 22]
    assert shown.mean(1) == pytest.approx(2 * np.arange(10, 30), abs=3)  # the seconds 1 to 3
    assert "AnnWagner1,,,missing,the list has no box of clip 1" in (tmp_path / "out" / "rejects.csv").read_text()
    (lists / "RD_annotion_time.txt").write_text("Radio1.mp4 00:20-1x:35\nRadio2.mp4 00:20-01:35\n")
    (lists / "RD_crop_wh.txt").write_text("Radio1_0.mp4 0 9 0 9\nRadio2_0.mp4 0 9 0\n")
    (lists / "RD_resolution.txt").write_text("Radio1.mp4 720\nRadio2.mp4 720\n")
    with pytest.raises(InputError, match=r"Radio1.mp4 00:20-1x:35: '1x:35' is not minutes.*Radio2.*LEFT WIDTH TOP"):
        read_list(lists)
    (lists / "RD_resolution.txt").unlink()
    with pytest.raises(InputError, match="RD_resolution.txt: no such file"):
        read_list(lists)


def test_vfhq_s_clips_are_what_lies_between_their_frames(tmp_path: Path) -> None:
    numbered(tmp_path / "videos" / "_-91nXX.mp4", 60, 25)
    lists = tmp_path / "meta_info"
    lists.mkdir()
    for person, crop in enumerate(("40 30 100 90", "0 0 60 60")):
        (lists / f"Clip+_-91nXX+P{person}+C0+F9-30.txt").write_text(
            f"H 120\nW 160\nFPS 25.0\n\nCROP: {crop}\nFRAME 10 1.0 2.0 3.0\n"
        )
    rules = Rules(detector="none", size=64, min_frames=8, max_blur=1.0, format="png")
    manifest = prepare_dataset(tmp_path / "videos", tmp_path / "out", rules, metadata=lists, workers=1)
    clips = read_manifest(manifest)
    assert [(c.clip_id, c.identity, c.frames, c.crop_box) for c in clips] == [
        ("_-91nXX#000010#000030", "_-91nXX", 20, "0-0-120-120"),
        ("_-91nXX#000010#000030#2", "_-91nXX", 20, "80-60-200-180"),
    ]
    shown = read(tmp_path / "out" / clips[1].path)[:, 32, 22]
    assert shown.mean(1) == pytest.approx(2 * np.arange(10, 30), abs=3)
    (lists / "Clip+_-91nXX+P2+C0+F9-30.txt").write_text("H 120\nW 160\nCROP 1 2 3 4\n")
    with pytest.raises(InputError, match=r"P2\+C0\+F9-30.txt: has no line FPS"):
        read_list(lists)


def test_talking_head_1kh_s_tubes_have_the_pieces_own_rate(tmp_path: Path) -> None:
    numbered(tmp_path / "videos" / "abc_x_0001.mp4", 60, 50)
    tubes = tmp_path / "val_video_tubes.txt"
    tubes.write_text("abc_x_0001,120,160,10,29,40,30,100,90\nabc_x_0002,120,160,0,99,0,0,9,9\n")
    rules = Rules(detector="none", size=64, min_frames=8, max_blur=1.0, format="png")
    manifest = prepare_dataset(tmp_path / "videos", tmp_path / "out", rules, metadata=tubes, workers=1)
    (clip,) = read_manifest(manifest)
    assert (clip.identity, clip.frames, clip.crop_box) == ("abc_x", 20, "80-60-200-180")
    shown = read(tmp_path / "out" / clip.path)[:, 32, 22]
    assert shown.mean(1) == pytest.approx(2 * np.arange(10, 30), abs=3)
    tubes.write_text("abc,120,160,10,29,40,30,100\nabc,120,160,10,29,170,30,180,90\n../a,9,9,0,1,0,0,9,9\n")
    with pytest.raises(InputError, match=r"line 1: .*VIDEO,H,W,FIRST.*line 2: bbox '170-.*line 3: video_id '../a'"):
        read_list(tubes)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no list of clips in it; HDTF"):
        read_list(tmp_path / "empty")


# ------------------------------------------------------------------------------------------------------------ splits


def test_splits_follow_the_name_alone() -> None:
    names = [f"id{number}" for number in range(3000)]
    splits = split_identities(names, val=0.1, test=0.2)
    shares = [list(splits.values()).count(split) / 3000 for split in ("train", "val", "test")]
    assert shares == pytest.approx([0.7, 0.1, 0.2], abs=0.02)
    fewer = split_identities(names[::3], val=0.1, test=0.2)
    assert all(splits[name] == split for name, split in fewer.items())  # more videos move nobody


def test_few_identities_fill_every_split() -> None:
    assert split_identities(["a"], val=0.1, test=0.1) == {"a": "train"}
    for count in range(3, 9):
        splits = split_identities([f"p{n}" for n in range(count)], val=0.1, test=0.1)
        assert set(splits.values()) == {"train", "val", "test"}
    assert set(split_identities(["a", "b"], val=0.1, test=0.1).values()) == {"train", "val"}
    assert set(split_identities(["a", "b", "c"], val=0.0, test=0.0).values()) == {"train"}


def test_given_partitions_stay() -> None:
    known = {**{f"t{n}": "train" for n in range(50)}, "x": "test"}
    splits = split_identities(known, val=0.1, test=0.1, known=known)
    assert splits["x"] == "test" and {splits[f"t{n}"] for n in range(50)} == {"train", "val"}


# --------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": 15}, "--size 15"), ({"scale": 0.1}, "--scale 0.1"), ({"scale": 0.0}, "--scale 0"),
        ({"min_frames": 1}, "--min_frames 1"),
        ({"max_frames": 9}, "--max_frames 9"), ({"val": 0.6, "test": 0.4}, "leave no one to train on"),
        ({"workers": 0}, "--workers 0"), ({"min_confidence": 2.0}, "--min_confidence 2.0"),
        ({"workers": 1, "scheduler": "tcp://x:1"}, "leave it out"), ({"metadata": "no.csv"}, "no such metadata file"),
    ],
)  # fmt: skip
def test_impossible_options(tmp_path: Path, options: dict, said: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.mp4").write_text("hello")
    with pytest.raises(InputError) as error:
        of_rules = {name: value for name, value in options.items() if name in {f.name for f in fields(Rules)}}
        others = {name: value for name, value in options.items() if name not in of_rules}
        prepare_dataset(tmp_path / "in", tmp_path / "out", Rules(**of_rules), **others)
    assert said in str(error.value)
    assert not (tmp_path / "out").exists()


def test_places_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError, match="no such folder"):
        prepare_dataset(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(InputError, match="no videos in it"):
        prepare_dataset(tmp_path / "in", tmp_path / "out")
    (tmp_path / "in" / "a.mp4").write_text("hello")
    with pytest.raises(InputError, match="lies in the folder of videos"):
        prepare_dataset(tmp_path / "in", tmp_path / "in" / "out")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds something else"):
        prepare_dataset(tmp_path / "in", tmp_path / "other")
    with pytest.raises(InputError, match="is a file"):
        prepare_dataset(tmp_path / "in", tmp_path / "other" / "thesis.txt")
    with pytest.raises(InputError, match="cannot be made"):
        prepare_dataset(tmp_path / "in", tmp_path / "other" / "thesis.txt" / "out")
    assert (tmp_path / "other" / "thesis.txt").read_text() == "mine"
    for content in ("{", "7"):
        (tmp_path / "other" / "settings.json").write_text(content)
        with pytest.raises(InputError, match="settings.json: is not that of a data set"):
            prepare_dataset(tmp_path / "in", tmp_path / "other")


def test_a_run_goes_on_with_the_settings_it_began_with(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.mp4").write_text("hello")
    with pytest.raises(InputError, match="not a single clip .1 unreadable."):
        prepare_dataset(tmp_path / "in", tmp_path / "out", Rules(detector="none", scale=1.2), workers=1)
    assert (
        'a.mp4,,,unreadable,"cannot be read as a video (it looks like text'
        in (tmp_path / "out" / "rejects.csv").read_text()
    )
    with pytest.raises(InputError, match="other settings .detector none then, face now; size 256 then, 128 now."):
        prepare_dataset(tmp_path / "in", tmp_path / "out", Rules(size=128))


def test_one_run_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.mp4").write_text("hello")
    with held(tmp_path / "out", {}), pytest.raises(InputError, match="another run is writing there"):
        with held(tmp_path / "out", {}):
            pass


def test_a_worker_that_sees_other_files_is_refused(tmp_path: Path) -> None:
    """Else it would prepare nothing, or something else, and its videos would be lost."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.mp4").write_text("hello")
    video, output = Video("a.mp4", "a", "a"), tmp_path / "out"
    records = Records(tmp_path / "in", output)
    with held(output, {}) as run_id:
        here = records.stamp(video)
        assert cannot_work(here, records, video, output, run_id) is None
        assert "does not see" in cannot_work(here, Records(tmp_path / "empty", output), video, output, run_id)
        assert str(output) in cannot_work(here, records, video, output, "another run")
        (tmp_path / "in" / "a.mp4").write_text("hello, again")
        assert "a.mp4 as it is here" in cannot_work(here, records, video, output, run_id)


def test_clips_of_a_replaced_video_are_removed(tmp_path: Path) -> None:
    for folder in ("in", "out/clips", "out/records"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "in" / "a.mp4").write_text("first")
    records, video = Records(tmp_path / "in", tmp_path / "out"), Video("a.mp4", "a", "a")
    assert records.begin(video, "run 1") == (1, {})
    clips = [Clip(f"a#{n}", f"clips/a#{n}.mp4", "a", "train", 9, Fraction(25), 8, 8) for n in range(2)]
    for clip in clips:
        (tmp_path / "out" / clip.path).write_text("a clip")
        records.add_clip(video, clip)
    assert records.read(video) is None
    assert records.begin(video, "run 1") == (2, {"a#0": clips[0], "a#1": clips[1]})  # a worker died
    (tmp_path / "out" / clips[1].path).write_text("cut")
    assert records.begin(video, "run 2") == (1, {"a#0": clips[0]})
    records.write(video, Outcome(clips[:1], [Reject("a.mp4", 3, 5, "too_short", "2 frames")], 1.5))
    assert records.read(video) == Outcome(clips[:1], [Reject("a.mp4", 3, 5, "too_short", "2 frames")], 1.5)
    (tmp_path / "in" / "a.mp4").write_text("another video")
    assert records.read(video) is None and records.begin(video, "run 3") == (1, {})
    assert not (tmp_path / "out" / clips[0].path).exists()


def test_videos_are_found_in_order(tmp_path: Path) -> None:
    for name in ("b/x.MP4", "a/y.webm", "z.mov", ".hidden/q.mp4", "a/.q.mp4", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert find_videos(tmp_path, tmp_path.parent / "out") == ["a/y.webm", "b/x.MP4", "z.mov"]


def test_a_name_that_is_no_text_is_left_out_and_told() -> None:
    latin1 = os.fsdecode("caf\u00e9.mp4".encode("latin-1"))
    named, ((video, *_, reason, detail),) = named_in_text(["café 漢字.mp4", latin1])
    assert named == ["café 漢字.mp4"]
    assert (video, reason) == ("caf?.mp4", "unreadable") and "UTF-8" in detail


def test_a_place_that_cannot_be_written_is_not_the_video_s_fault(prepare, tmp_path: Path, puppets) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "clips").mkdir()
    (tmp_path / "out" / "clips" / f"v#000000#{FRAMES:06d}.mp4").mkdir()  # a folder where the file should be
    with pytest.raises(OutputFault):
        prepare(puppets[0])


# ---------------------------------------------------------------------------------------------------------- examples


def test_schema_and_examples_are_true() -> None:
    folder = Path(__file__).resolve().parent.parent / "data_manifests"
    schema = json.loads((folder / "schema.json").read_text())
    named = {field["name"]: field for field in schema["fields"]}
    assert tuple(named) == COLUMNS
    assert tuple(name for name in named if named[name].get("constraints", {}).get("required")) == REQUIRED
    assert named["split"]["constraints"]["enum"] == list(SPLITS)
    lines = (folder / "README.md").read_text().splitlines()
    documented = [
        name for line in lines if line.startswith("| `") for name in line.split("|")[1].strip(" `").split("`, `")
    ]
    assert documented == list(COLUMNS)
    clips = read_manifest(folder / "examples" / "manifest.csv")
    assert len(clips) == 4 and len(read_pairs(folder / "examples" / "pairs.csv", clips)) == 2
    assert len(read_metadata(folder / "examples" / "metadata.csv")) == 2
    assert (folder / "examples" / "rejects.csv").read_text().splitlines()[0] == ",".join(Reject._fields)
    for clip in clips:
        for name in ("fps", "crop_box", "sha256"):
            pattern = named[name]["constraints"]["pattern"]
            assert re.fullmatch(pattern, str(getattr(clip, name))) or not getattr(clip, name)
