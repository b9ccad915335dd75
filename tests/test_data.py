"""Pairs from clips: the right frames, only those, the same ones for every number of processes."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest
from small_clips import moving_disc, write_clips

from fomm.errors import InputError
from fomm.manifest import Clip, read_manifest, write_manifest
from fomm.training.data import Augmentation, ClipData, EpochOrder, FrameStore, HeldOutPairs, TrainPairs
from fomm.video import VideoWriter
from fomm.video_folder import manifest_of_folder
from preprocess.dataset.build import find_videos


def video(path, frames, keyframe_every=4):
    with VideoWriter(path, fps=Fraction(25), keyframe_every=keyframe_every) as writer:
        for frame in frames:
            writer.write(frame)


def test_frames_of_a_folder_are_exact(tmp_path):
    clip = read_manifest(write_clips(tmp_path))[2]
    for cache in (False, True):
        frames = FrameStore(tmp_path, size=32, cache=cache).read(clip, [5, 0])
        np.testing.assert_array_equal(frames, np.stack(moving_disc(2, 8, 32))[[5, 0]])


def test_frames_of_a_video_are_those_asked_for(tmp_path):
    pictures = [np.full((32, 32, 3), 20 * t, np.uint8) for t in range(12)]
    video(tmp_path / "a.mp4", pictures)
    clip = Clip("a", "a.mp4", "a", "train", 12, Fraction(25), 32, 32)
    frames = FrameStore(tmp_path, size=32, cache=False).read(clip, [11, 2, 2, 7])
    np.testing.assert_allclose(frames.mean((1, 2, 3)), [220, 40, 40, 140], atol=3)


def test_other_sizes_lose_their_sides_and_are_resized(tmp_path):
    picture = np.zeros((20, 40, 3), np.uint8)
    picture[:, 10:30] = 200  # the central square
    (tmp_path / "a").mkdir()
    for t in range(2):
        cv2.imwrite(str(tmp_path / f"a/{t}.png"), picture)
    frames = FrameStore(tmp_path, size=64, cache=False).read(Clip("a", "a", "a", "train", 2, Fraction(25), 40, 20), [1])
    assert frames.shape == (1, 64, 64, 3) and (frames == 200).all()


def test_damage_is_named(tmp_path):
    manifest = write_clips(tmp_path)
    clip, store = read_manifest(manifest)[0], FrameStore(tmp_path, size=32, cache=False)
    with pytest.raises(InputError, match=r"frame 9 asked for, but it has 8 frames"):
        store.read(clip, [9])
    (tmp_path / "clips/000/000003.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"000003.png: cannot be read as a picture"):
        store.read(clip, [3])
    with pytest.raises(InputError, match="no such clip"):
        store.read(Clip("z", "clips/z", "z", "train", 2, Fraction(25), 1, 1), [0])


def pairs(manifest, **options):
    clips = [c for c in read_manifest(manifest) if c.split == "train"]
    store = FrameStore(manifest.parent, size=32, cache=True)
    defaults = {"augmentation": Augmentation(), "identity_sampling": False, "seed": 0}
    return TrainPairs(clips, store, **defaults | options)


def test_pairs_depend_on_epoch_and_position_only(tmp_path):
    manifest = write_clips(tmp_path)
    augmentation = Augmentation(horizontal_flip=True, time_flip=True, brightness=0.1, hue=0.1)
    one, other = pairs(manifest, augmentation=augmentation), pairs(manifest, augmentation=augmentation)
    other[(3, 1)], other[(0, 0)]  # other draws before it change nothing
    assert all((one[(2, 1)][side] == other[(2, 1)][side]).all() for side in ("source", "driving"))
    seen = {tuple(one[(epoch, 1)]["driving"].flatten().tolist()) for epoch in range(6)}
    assert len(seen) == 6
    assert one[(0, 0)]["source"].shape == (3, 32, 32) and 0 <= one[(0, 0)]["source"].min()


def test_source_comes_before_driving_unless_flipped(tmp_path):
    manifest = write_clips(tmp_path, clips=2)
    frames = [f.astype(np.float32).transpose(2, 0, 1) / 255 for f in moving_disc(0, 8, 32)]

    def number(picture):
        return int(np.argmin([np.abs(f - picture.numpy()).sum() for f in frames]))

    ordered, flipped = pairs(manifest), pairs(manifest, augmentation=Augmentation(time_flip=True))
    drawn = [(number(p["source"]), number(p["driving"])) for p in (ordered[(e, 0)] for e in range(30))]
    assert all(a <= b for a, b in drawn) and {b for _, b in drawn} >= {6, 7}
    drawn = [(number(p["source"]), number(p["driving"])) for p in (flipped[(e, 0)] for e in range(30))]
    assert any(a < b for a, b in drawn) and any(a > b for a, b in drawn)


def test_identity_sampling_goes_through_identities(tmp_path):
    manifest = write_clips(tmp_path, clips=6, held_out=2)
    assert len(pairs(manifest)) == 4
    by_identity = pairs(manifest, identity_sampling=True)
    assert len(by_identity) == 2
    backgrounds = {tuple(by_identity[(e, 0)]["source"][:, 0, 0].tolist()) for e in range(20)}
    assert len(backgrounds) == 2  # both clips of the identity, and no others


def test_augmentation_changes_both_frames_alike():
    picture = np.random.default_rng(0).integers(0, 255, (1, 16, 16, 3), dtype=np.uint8)
    frames = np.repeat(picture, 2, axis=0)
    augmentation = Augmentation(True, True, 0.2, 0.2, 0.2, 0.2, (0.8, 1.2))
    for seed in range(5):
        source, driving = augmentation.apply(frames, np.random.default_rng(seed))
        np.testing.assert_array_equal(source, driving)
        assert source.dtype == np.float32 and source.shape == (16, 16, 3) and 0 <= source.min() <= source.max() <= 1
    np.testing.assert_array_equal(
        Augmentation().apply(frames, np.random.default_rng(0)), frames.astype(np.float32) / 255
    )


def test_single_augmentations_by_hand():
    red = np.zeros((1, 4, 4, 3), np.uint8)
    red[..., 0] = 255
    turned = {
        tuple(np.round(Augmentation(hue=0.5).apply(red, np.random.default_rng(s))[0, 0, 0], 1)) for s in range(40)
    }
    assert any(g > 0.5 for _, g, _ in turned) and any(b > 0.5 for _, _, b in turned)
    levels = [Augmentation(brightness=0.5).apply(red, np.random.default_rng(s))[0, 0, 0, 0] for s in range(40)]
    assert 0.5 <= min(levels) < 0.7 and max(levels) == 1
    left = np.zeros((1, 4, 4, 3), np.uint8)
    left[:, :, 0] = 255
    flips = [Augmentation(horizontal_flip=True).apply(left, np.random.default_rng(s))[0, 0, 0, 0] for s in range(40)]
    assert 8 < sum(flips) < 32


def test_two_processes_see_together_what_one_sees():
    one = list(EpochOrder(21, 4, seed=5))
    parts = [list(EpochOrder(21, 2, seed=5, rank=rank, world=2)) for rank in range(2)]
    assert [item for b in range(5) for part in parts for item in part[2 * b : 2 * b + 2]] == one
    assert len(one) == 20 == len(EpochOrder(21, 4, seed=5)) and len({p for _, p in one}) == 20


def test_epochs_differ_and_a_resumed_one_goes_on():
    order = EpochOrder(12, 4, seed=0)
    first = list(order)
    order.set_epoch(1)
    second = list(order)
    assert [p for _, p in first] != [p for _, p in second] and {e for e, _ in second} == {1}
    order.resumed = (1, 2)
    assert list(order) == second[8:] and len(order) == 12
    order.set_epoch(0)
    assert list(order) == first


def test_held_out_pairs_are_spread_and_fixed(tmp_path):
    clips = read_manifest(write_clips(tmp_path))[-1:]
    held_out = HeldOutPairs(clips, FrameStore(tmp_path, size=32, cache=False), frames_per_clip=3)
    assert [frame for _, frame in held_out.items] == [2, 5, 7]
    np.testing.assert_allclose(
        held_out[2]["driving"].numpy().transpose(1, 2, 0) * 255, moving_disc(5, 8, 32)[7], atol=1e-4
    )
    assert held_out.clip(0, 5).shape == (5, 3, 32, 32)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"held_out": 0}, "no clip has split 'val'"),
        ({"held_out": 6}, "no clip has split 'train'"),
        ({"frames": 1}, r"6 clip\(s\) of one frame \(c0, .*need at least 2"),
        ({"clips": 2}, "do not fill one batch of 4; raise --data.repeats"),
    ],
)
def test_data_that_cannot_train_is_refused(tmp_path, change, said):
    manifest = write_clips(tmp_path, **change)
    with pytest.raises(InputError, match=said):
        ClipData(manifest=str(manifest), size=32, batch_size=4).setup()


@pytest.mark.parametrize(
    "wrong", [{"hue": 0.9}, {"brightness": -0.1}, {"resize_ratio": (1.1, 0.9)}, {"resize_ratio": (0.0, 1.0)}]
)
def test_impossible_augmentation_is_refused(wrong):
    with pytest.raises(InputError, match=f"data.augmentation.{next(iter(wrong))} "):
        Augmentation(**wrong)


def test_a_frame_can_shrink_to_one_pixel_of_which_all_is_made():
    frames = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    changed = Augmentation(resize_ratio=(0.001, 0.001)).apply(frames, np.random.default_rng(0))
    assert changed.shape == frames.shape and (changed == changed[:, :1, :1]).all()


def test_workers_deliver_the_same_batches(tmp_path):
    manifest = write_clips(tmp_path)
    batches = []
    for workers in (0, 2):
        data = ClipData(manifest=str(manifest), size=32, batch_size=2, repeats=2, workers=workers, cache=True)
        data.setup()
        batches.append([b["source"] for b in data.train_dataloader()])
    assert len(batches[0]) == 5
    assert all((a == b).all() for a, b in zip(*batches, strict=True))


def test_sub_folders_are_identities_as_in_preparation(tmp_path, caplog):
    for index in range(11):
        for take in "ab":
            video(tmp_path / f"id{index:02d}" / "deep" / f"{take}.mp4", moving_disc(index, 4, 32))
    (tmp_path / ".hidden").mkdir()
    video(tmp_path / ".hidden" / "q.mp4", moving_disc(0, 4, 32))
    data = ClipData(manifest=str(tmp_path), size=32, batch_size=2)
    with caplog.at_level("INFO"):
        data.setup()
    clips = read_manifest(tmp_path / "manifest.csv")
    assert [clip.path for clip in clips] == find_videos(tmp_path, tmp_path.parent / "out")
    assert {clip.identity for clip in clips if clip.split == "val"} == {"id09"} and len(clips) == 22
    assert len({clip.clip_id for clip in clips}) == 22 and all("/" not in clip.clip_id for clip in clips)
    assert "train 20 clips (91 %) of 10 identities, val 2 clips (9 %) of 1 identities; asked for" in caplog.text
    assert data.train_pairs[0, 0]["source"].shape == (3, 32, 32)
    alone = tmp_path / "other" / "one"
    for take in "ab":  # of one identity: clips are held out
        video(alone / f"{take}.mp4", moving_disc(0, 4, 32))
    assert [clip.split for clip in read_manifest(manifest_of_folder(alone.parent))] == ["train", "val"]


def test_a_folder_of_videos_becomes_a_data_set(tmp_path):
    for index in range(3):
        video(tmp_path / f"v{index}.mp4", moving_disc(index, 6, 32))
    (tmp_path / "notes.txt").write_text("no video")
    manifest = manifest_of_folder(tmp_path)
    clips = read_manifest(manifest)
    assert [(c.path, c.split, c.frames) for c in clips] == [
        ("v0.mp4", "train", 6), ("v1.mp4", "train", 6), ("v2.mp4", "val", 6),
    ]  # fmt: skip
    write_manifest(manifest, clips[:2])  # kept as it is from then on
    assert read_manifest(manifest_of_folder(tmp_path)) == clips[:2]
    data = ClipData(manifest=str(tmp_path), size=32, batch_size=2)
    data.prepare_data()
    (tmp_path / "one").mkdir()
    with pytest.raises(InputError, match=r"0 video\(s\), need at least 2"):
        manifest_of_folder(tmp_path / "one")
    with pytest.raises(InputError, match="no such folder"):
        manifest_of_folder(tmp_path / "none")
