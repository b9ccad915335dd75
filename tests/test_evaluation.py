"""Protocols, the run and its records: against the original's golden numbers, by hand, and with bad input."""

from __future__ import annotations

import io
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from fill import fill_model
from small_clips import disc_clip, moving_disc, write_clip
from small_models import small_model
from small_onnx import write_video_onnx

from fomm.animator import AnimationSettings, Animator
from fomm.checkpoint import export_original, load_model
from fomm.errors import InputError
from fomm.evaluation import metrics
from fomm.evaluation.animated_task import AnimatedTask
from fomm.evaluation.definitions import METRICS
from fomm.evaluation.frames import Frames
from fomm.evaluation.gallery import choose_shown, error_map, write_shown
from fomm.evaluation.instruments import Instruments, why_not
from fomm.evaluation.measures import OwnKeypoints, Pixels
from fomm.evaluation.measuring import Record, check_records, contents_of, measure_task, record_path, run_tasks
from fomm.evaluation.results import Kid, collect
from fomm.evaluation.tasks import SOURCE, Contender, Task, Truth, common_size, is_lossless, list_tasks
from fomm.manifest import Clip, Pair, hash_clip
from fomm.model import FOMM, ModelConfig
from fomm.pixels import to_tensor
from fomm.pretrained.video_network import VideoNetwork
from fomm.report.schema import Clip as ClipResult
from fomm.report.schema import ClipValue, Failure, Protocol
from fomm.video import VideoReader, write_image


def contender(name: str = "ours", *, size: int = 64, model: FOMM | None = None, **more) -> Contender:
    animator = Animator(model or small_model(), device="cpu", precision="fp32")
    return Contender(name, "candidate", animator, image_size=size, num_keypoints=5, **more)


def reconstruction(clip: Clip) -> Task:
    return Task("reconstruction", clip, clip, clip)


REPEAT = Contender(SOURCE, "baseline")


# -------------------------------------------------------------------------------------- the original's golden numbers


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Contender:
    """The networks of vox-adv with weights by formula, through a file of the released format."""
    path = tmp_path_factory.mktemp("golden") / "rebuilt.pth.tar"
    export_original(path, fill_model(FOMM.from_config(ModelConfig())))
    loaded = load_model(path)
    animator = Animator(loaded.model, device="cpu", precision="fp32")
    return Contender("rebuilt", "candidate", animator, image_size=loaded.info.image_size)


def test_reconstruction_numbers_are_the_golden_models(released: Contender, golden: Path, tmp_path: Path) -> None:
    """A clip of two frames, the golden source and driving: frame 1 is the original's forward pass, all of its pixels.

    L1, PSNR and SSIM of the golden prediction in 8 bits, computed here, agree to all digits that a report prints.
    """
    arrays = np.load(golden / "forward_vox-adv-256_ac1.npz")
    source, driving = arrays["source"], arrays["driving"]
    clip = write_clip(tmp_path, "clip", [source, driving])
    record = measure_task(reconstruction(clip), tmp_path, [released], [Pixels(), OwnKeypoints()], size=256)
    values = record.values["rebuilt"]
    golden_prediction = np.round(arrays["prediction"] * 255.0) / 255  # a value on an edge may fall to either side
    error = golden_prediction[0].transpose(1, 2, 0) - driving / 255.0
    assert values["l1"][1] == pytest.approx(np.abs(error).mean(), abs=5e-7)
    assert values["psnr"][1] == pytest.approx(-10 * np.log10(np.square(error).mean()), abs=5e-5)
    pair = torch.from_numpy(golden_prediction).float(), to_tensor(driving[None])
    expected = metrics.average(metrics.ssim_map(*pair))
    assert values["ssim"][1] == pytest.approx(expected.item(), abs=5e-6)
    assert f"{values['l1'][1]:.4f}" == f"{np.abs(error).mean():.4f}"
    assert len(values["l1"]) == record.frames == 2, "frame 0 counts too"


def test_both_protocols_animate_as_the_original(released: Contender, golden: Path, tmp_path: Path) -> None:
    """The golden animation of one source: absolute in reconstruction, relative with adapted scale otherwise."""
    arrays = np.load(golden / "make_animation_ac1.npz")
    source, driving, frames = arrays["source"], arrays["driving"], [0, 5]
    whole = write_clip(tmp_path, "whole", [source, *driving[frames]])
    still = write_clip(tmp_path, "still", [source], "a")
    motion = write_clip(tmp_path, "motion", list(driving[frames]), "b")
    tasks = {"absolute": reconstruction(whole), "relative_adapt": Task("cross_identity", still, motion, None)}
    for mode, task in tasks.items():
        shots = list(AnimatedTask(task, tmp_path, [released], 256))
        made = torch.cat([shot.predictions["rebuilt"] for shot in shots]).permute(0, 2, 3, 1).double().numpy()[-2:]
        mean = arrays[f"{mode}_prediction_mean_per_frame"][frames]
        np.testing.assert_allclose(made.mean((1, 2)), mean, atol=1e-6)
        wanted = arrays[f"{mode}_predictions"][frames].astype(np.float64)
        truth = driving[frames][:, ::4, ::4] / 255.0
        ours, theirs = (np.abs(p - truth).mean((1, 2, 3)) for p in (made[:, ::4, ::4], wanted))
        np.testing.assert_allclose(ours, theirs, atol=5e-7)


# ------------------------------------------------------------------------------------------------------- what is played


def test_runs_of_frames_do_not_show_in_the_result(tmp_path: Path) -> None:
    """40 frames come in three runs; relative motion still refers to the very first frame."""
    clips = [disc_clip(tmp_path, "a", 2, seed=1), disc_clip(tmp_path, "b", 40)]
    ours = contender()
    shots = list(AnimatedTask(Task("cross_identity", *clips, None), tmp_path, [ours], 64))
    assert [(shot.start, len(shot.driving)) for shot in shots] == [(0, 16), (16, 16), (32, 8)]
    made = torch.cat([shot.predictions["ours"] for shot in shots])
    source, driving = (list(f.image for f in VideoReader(tmp_path / name)) for name in "ab")
    whole = Animator(ours.animator.model, device="cpu", precision="fp32", batch_size=40)
    expected = next(whole.outputs(source[0], driving, AnimationSettings(relative=True, adapt_scale=True))).prediction
    torch.testing.assert_close(made, expected, atol=1e-5, rtol=0)
    assert made.dtype == torch.float32 and not torch.equal(made, (made * 255).round() / 255), "not rounded to 8 bits"


def test_each_model_sees_its_own_size_and_is_compared_at_a_common_one(tmp_path: Path) -> None:
    clip = disc_clip(tmp_path, "a", 3, size=96)
    models = [contender("small", size=32), contender("large", size=128), REPEAT]
    assert common_size(models) == 256 and common_size(models[:1]) == 32 and common_size([REPEAT]) == 256
    animated = AnimatedTask(reconstruction(clip), tmp_path, models, 64)
    (shot,) = animated
    assert {name: tuple(p.shape) for name, p in shot.predictions.items()} == dict.fromkeys(
        ("small", "large", SOURCE), (3, 3, 64, 64)
    )
    assert animated.sizes == [(96, 96)]
    frame = next(iter(VideoReader(tmp_path / "a"))).image
    own = cv2.resize(frame, (32, 32), interpolation=cv2.INTER_AREA)
    expected = next(models[0].animator.outputs(own, [own], AnimationSettings(relative=False))).prediction
    expected = torch.nn.functional.interpolate(expected, (64, 64), mode="bilinear")
    torch.testing.assert_close(shot.predictions["small"][:1], expected, atol=1e-5, rtol=0)


def test_the_repeated_source_is_the_baseline_anyone_can_compute(tmp_path: Path) -> None:
    clip = disc_clip(tmp_path, "a", 5)
    frames = np.stack([f.image for f in VideoReader(tmp_path / "a")]) / 255.0
    record = measure_task(reconstruction(clip), tmp_path, [REPEAT], [Pixels()], size=64)
    np.testing.assert_allclose(
        record.values[SOURCE]["l1"], np.abs(frames - frames[0]).mean((1, 2, 3)), rtol=1e-5, atol=1e-9
    )
    assert record.values[SOURCE]["l1"][0] == 0


def test_tasks_follow_the_files(tmp_path: Path) -> None:
    clips = [
        Clip(name, name, "x", "test", n, Fraction(25), 9, 9) for name, n in (("s", 1), ("d", 5), ("t", 5), ("u", 1))
    ]
    tasks = list_tasks(clips, [Pair("s", "d", "t"), Pair("t", "d")])
    assert [(task.protocol, task.name) for task in tasks] == [
        ("reconstruction", "d"),
        ("reconstruction", "t"),
        ("reconstruction", "u"),
        ("cross_identity_truth", "s+d"),
        ("cross_identity", "t+d"),
    ]  # fmt: skip - the still that a pair uses is no clip to reconstruct; a lonely one is reported
    assert [task.relative for task in tasks] == [False] * 3 + [True] * 2
    assert tasks[3].truth is clips[2] and tasks[4].truth is None


def test_lossless_means_png_folders(tmp_path: Path) -> None:
    frames = moving_disc(0, 3, 32)
    write_clip(tmp_path, "png", frames)
    write_clip(tmp_path, "film", frames, suffix=".mp4")
    (tmp_path / "jpg").mkdir()
    cv2.imwrite(str(tmp_path / "jpg" / "0.jpg"), frames[0])
    found = [is_lossless(tmp_path / name) for name in ("png", "film.mp4", "jpg", "nowhere")]
    assert found == [True, False, False, False]


# ---------------------------------------------------------------------------------------------------------- bad input


def test_a_fault_costs_its_own_clip_only_and_says_why(tmp_path: Path) -> None:
    good = disc_clip(tmp_path, "good", 5)
    short = disc_clip(tmp_path, "short", 3, seed=2)
    lonely = disc_clip(tmp_path, "lonely", 1)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "0.png").write_bytes(b"no picture")
    faults = {
        "there is no such file": reconstruction(replace(good, path="gone.mp4")),
        "cannot be read": reconstruction(replace(good, path="broken")),
        "has one frame": reconstruction(lonely),
        "does not have as many frames": Task("cross_identity_truth", good, good, short),
    }
    for said, task in faults.items():
        record = measure_task(task, tmp_path, [contender(), REPEAT], [Pixels()], size=64)
        assert not record.values and record.frames == 0
        assert record.failed.keys() == {"ours", SOURCE} and said in record.failed["ours"]
    record = measure_task(reconstruction(replace(good, frames=9)), tmp_path, [REPEAT], [Pixels()], size=64)
    assert record.frames == 5 and "has 5 frames, the manifest says 9" in record.notes[0]


def test_a_model_that_fails_does_not_take_the_others_along(tmp_path: Path) -> None:
    broken = small_model()
    with torch.no_grad():
        broken.generator.final.bias[0] = float("nan")
    models = [contender("broken", model=broken), contender("ours")]
    record = measure_task(reconstruction(disc_clip(tmp_path, "a", 4)), tmp_path, models, [Pixels()], size=64)
    assert record.values.keys() == {"ours"} and len(record.values["ours"]["l1"]) == 4
    assert "NaN" in record.failed["broken"]


def test_models_with_other_numbers_of_keypoints_are_compared(tmp_path: Path) -> None:
    models = [contender("five"), contender("eight", model=small_model(8))]
    clip = disc_clip(tmp_path, "a", 4)
    record = measure_task(reconstruction(clip), tmp_path, models, [Pixels(), OwnKeypoints()], size=64)
    assert not record.failed
    assert all(np.isfinite(record.values[name]["keypoints_own"]).all() for name in ("five", "eight"))


def test_what_the_data_set_knows_reaches_the_measures(tmp_path: Path) -> None:
    asked = []

    class Look(Pixels):
        def update(self, frames: Frames) -> dict[str, np.ndarray]:
            asked.append((len(frames.prediction), frames.reference.truth_landmarks_px, frames.reference.clip.identity))
            return {}

    clip = disc_clip(tmp_path, "a", 20, identity="ann")
    known = np.arange(20 * 2).reshape(20, 1, 2)
    measure_task(
        reconstruction(clip), tmp_path, [REPEAT], [Look()], size=64, truth_of=lambda task, a, b, size: Truth(known[a:b])
    )
    assert [(count, who) for count, _, who in asked] == [(16, "ann"), (4, "ann")]
    np.testing.assert_array_equal(np.concatenate([landmarks for _, landmarks, _ in asked]), known)


# ------------------------------------------------------------------------------------------------------------- records


def test_records_are_read_back_and_damaged_ones_do_not_count(tmp_path: Path) -> None:
    values = {"a/b": {"l1": np.array([1.0, np.nan, np.inf])}, 'c "d"': {"l1": np.array([2.0]), "jitter": np.array([])}}
    features = {"a/b": np.ones((2, 3, 4), np.float32)}
    record = Record(3, values, features, {"c": "why"}, ["a note"], [(64, 48)])
    record.save(tmp_path / "0.npz")
    again = Record.load(tmp_path / "0.npz")
    assert (again.frames, again.failed, again.notes, again.sizes) == (3, {"c": "why"}, ["a note"], [(64, 48)])
    assert again.values.keys() == values.keys()
    np.testing.assert_array_equal(again.values["a/b"]["l1"], values["a/b"]["l1"])
    np.testing.assert_array_equal(again.features["a/b"], features["a/b"])
    whole = (tmp_path / "0.npz").read_bytes()
    lists = io.BytesIO()
    np.savez(lists, header=np.array("[]"))
    for content in (b"", whole[: len(whole) // 2], b"PK nonsense", lists.getvalue()):
        (tmp_path / "1.npz").write_bytes(content)
        assert Record.load(tmp_path / "1.npz") is None
    assert Record.load(tmp_path / "2.npz") is None


def test_processes_share_the_tasks_and_a_second_run_does_what_is_left(tmp_path: Path) -> None:
    clips = [Clip(f"c{i}", f"c{i}", "x", "test", i + 2, Fraction(25), 9, 9) for i in range(7)]
    tasks, done, told = [reconstruction(clip) for clip in clips], [], []

    def measure(task: Task, tell) -> Record:
        done.append(task.name)
        tell(task.driving.frames)
        return Record(failed={"m": "no luck"} if done.count("c3") == 1 and task.name == "c3" else {})

    for rank in range(3):
        run_tasks(tasks, tmp_path, measure, rank=rank, world=3)
    assert sorted(done) == [task.name for task in tasks] and done[:3] == ["c0", "c3", "c6"]
    record_path(tmp_path, 5).unlink()
    done[:] = ["c3"]
    resumed = run_tasks(tasks, tmp_path, measure, progress=lambda stage, n, total: told.append((n, total)))
    assert done == ["c3", "c3", "c5"] and resumed == 5, "what is missing and what failed, nothing else"
    assert told[0] == (35 - 5 - 7, 35) and told[-1] == (35, 35)


def test_a_clip_that_was_replaced_is_measured_again(tmp_path: Path) -> None:
    clips = [disc_clip(tmp_path, "a", 4), disc_clip(tmp_path, "b", 4)]
    tasks, records = [reconstruction(clip) for clip in clips], tmp_path / "records"

    def run() -> tuple[int, list[float]]:
        resumed = run_tasks(
            tasks, records, lambda task, tell: measure_task(task, tmp_path, [REPEAT], [Pixels()], size=64),
            contents=lambda task: contents_of(task, tmp_path),
        )  # fmt: skip
        return resumed, [float(Record.load(record_path(records, i)).values[SOURCE]["l1"].mean()) for i in range(2)]

    _, before = run()
    assert run() == (2, before)
    write_clip(tmp_path, "a", [image[::-1] // 2 for image in moving_disc(0, 4, 64)])
    resumed, after = run()
    assert resumed == 1 and after[0] != before[0] and after[1] == before[1]


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_clip_that_contradicts_its_manifest_is_a_failure(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "a").mkdir()
    for index, image in enumerate(moving_disc(0, 3, 64)):
        write_image(tmp_path / "a" / f"{index}{suffix}", image)
    clip = Clip("a", "a", "x", "test", 3, Fraction(25), 64, 64, sha256=hash_clip(tmp_path / "a"))
    assert not measure_task(reconstruction(clip), tmp_path, [REPEAT], [Pixels()], size=64).failed
    write_image(tmp_path / "a" / f"1{suffix}", moving_disc(0, 3, 64)[0] // 2)
    failed = measure_task(reconstruction(clip), tmp_path, [REPEAT], [Pixels()], size=64).failed
    assert f"its manifest says {clip.sha256}" in failed[SOURCE]


def test_a_folder_belongs_to_one_evaluation(tmp_path: Path) -> None:
    settings = {"models": {"a": "1"}, "size": 64, "pairs": None, "tuple": (1, 2)}
    check_records(tmp_path / "records", settings)
    check_records(tmp_path / "records", settings)
    with pytest.raises(InputError, match=r"other settings \(models, size differ\); give another --output, or remove"):
        check_records(tmp_path / "records", settings | {"models": {"a": "2"}, "size": 65})
    for content in ("[]", "3", "{", ""):
        (tmp_path / "records" / "settings.json").write_text(content)
        with pytest.raises(InputError, match="other settings"):
            check_records(tmp_path / "records", settings)


# ------------------------------------------------------------------------------------------------------------- results


@pytest.fixture
def results(tmp_path: Path):
    """Three clips of two people, two models, values made by hand."""
    rows = [("c0", "ann", 4), ("c1", "ann", 2), ("c2", "bob", 2)]
    tasks = [reconstruction(Clip(n, n, who, "test", frames, Fraction(25), 9, 9)) for n, who, frames in rows]
    nan = np.nan
    ours = [([1, 2, 3, 4], [6, nan, 2, 4]), ([5, 7], [nan, nan]), ([0, 2], [8, np.inf])]
    theirs = [([2, 2, 2, 2], [6, 6, 6, 6]), ([6, 8], [1, 1]), ([0, 1], [8, 8])]
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        values = {
            name: {"l1": np.array(l1, float), "akd_mediapipe": np.array(akd, float)}
            for name, (l1, akd) in (("ours", a), ("base", b))
        }
        Record(len(a[0]), values, sizes=[(9, 9) if i else (18, 9)]).save(record_path(tmp_path, i))
    return collect(tasks, tmp_path, ["ours", "base"], METRICS, "base", 9)


def test_pooled_and_per_clip_by_hand(results) -> None:
    summary = results.protocols["reconstruction"].summary
    l1 = summary["l1"]["ours"]
    assert (l1.pooled, l1.clip_mean, l1.frames, l1.missed) == (3, pytest.approx((2.5 + 6 + 1) / 3), 8, 0)
    assert l1.interval is None, "two people"
    assert l1.without_first == pytest.approx((2 + 3 + 4 + 7 + 2) / 5)
    akd = summary["akd_mediapipe"]["ours"]
    assert (akd.pooled, akd.frames, akd.missed) == (5, 4, 3), "an unknown truth is no miss"
    assert akd.clip_mean == (4 + 8) / 2
    assert akd.pooled_with_misses == pytest.approx((20 + 3 * 256 / 3) / 7)


def test_differences_identities_and_time_by_hand(results) -> None:
    protocol = results.protocols["reconstruction"]
    l1 = protocol.differences["l1"]
    assert l1.keys() == {"ours"}
    assert l1["ours"].mean == pytest.approx(((0.5 - 1) / 2 + 0.5) / 2), "ann and bob weigh the same"
    assert (l1["ours"].wins, l1["ours"].ties, l1["ours"].losses, l1["ours"].clips) == (1, 0, 2, 3)
    akd = protocol.differences["akd_mediapipe"]["ours"]
    assert (akd.clips, akd.wins, akd.ties) == (2, 1, 1), "a clip without any value is in no comparison"
    ann = protocol.identities["ann"]
    assert (ann.clips, ann.frames, ann.values["l1"]["ours"]) == (2, 6, pytest.approx(22 / 6))
    assert protocol.clips[1].values["akd_mediapipe"]["ours"] == ClipValue(mean=None, frames=0, missed=2)
    first = protocol.over_time["l1"]["ours"]
    assert len(first) == 20 and first[0] == 2 and first[10] == pytest.approx((3 + 7 + 2) / 3) and first[1] is None
    assert results.frames == 8 and results.failures == []
    assert results.notes == ["clips of 18x9 (1, such as c0) were cut to their central square and resized to 9x9"]


def test_fid_is_that_of_all_frames_however_the_clips_are_cut(tmp_path: Path) -> None:
    """Two Gaussians in three dimensions: |difference of means|^2 + trace(A + B - 2 sqrt(AB)), by NumPy."""
    rng = np.random.default_rng(0)
    wanted, made = rng.normal(size=(60, 3)).astype(np.float32), (1 + 2 * rng.normal(size=(60, 3))).astype(np.float32)
    clips = [Clip(f"c{i}", f"c{i}", "x", "test", 20, Fraction(25), 9, 9) for i in range(3)]
    for i, part in enumerate((slice(0, 10), slice(10, 45), slice(45, 60))):
        Record(20, features={"ours": np.stack([wanted[part], made[part]])}).save(record_path(tmp_path, i))
    protocols = collect([reconstruction(c) for c in clips], tmp_path, ["ours"], METRICS, None, 9).protocols
    found = protocols["reconstruction"].summary["fid"]["ours"]
    (a, b), shift = (np.cov(x, rowvar=False, dtype=np.float64) for x in (wanted, made)), wanted.mean(0) - made.mean(0)
    root = np.sqrt(np.linalg.eigvals(a @ b).real).sum()
    assert found.pooled == pytest.approx((shift**2).sum() + np.trace(a) + np.trace(b) - 2 * root, rel=1e-5)
    assert (found.frames, found.interval, found.clip_mean) == (60, None, None)


def test_kid_is_the_unbiased_discrepancy_and_does_not_depend_on_the_clips(tmp_path: Path) -> None:
    """By its formula, in NumPy: k(x, y) = (x.y / D + 1)^3, without the diagonal within a set."""
    rng = np.random.default_rng(0)
    wanted, made = rng.normal(size=(60, 8)).astype(np.float32), (0.5 + rng.normal(size=(60, 8))).astype(np.float32)
    clips = [Clip(f"c{i}", f"c{i}", "x", "test", 20, Fraction(25), 9, 9) for i in range(2)]
    for i, part in enumerate((slice(0, 10), slice(10, 60))):
        Record(20, features={"ours": np.stack([wanted[part], made[part]])}).save(record_path(tmp_path, i))
    summary = collect([reconstruction(c) for c in clips], tmp_path, ["ours"], METRICS, None, 9)
    found = summary.protocols["reconstruction"].summary["kid"]["ours"]

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x.astype(np.float64) @ y.T.astype(np.float64) / 8 + 1) ** 3

    within = [(k.sum() - np.trace(k)) / (60 * 59) for k in (kernel(wanted, wanted), kernel(made, made))]
    assert found.pooled == pytest.approx(sum(within) - 2 * kernel(wanted, made).mean(), rel=1e-6)
    assert (found.frames, found.interval, found.clip_mean) == (60, None, None)


def test_kid_keeps_few_of_many_frames_and_is_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    wanted, made = rng.normal(size=(2, 3000, 4)).astype(np.float32)
    monkeypatch.setattr(Kid, "MOST", 1200)
    values = []
    for parts in (1, 7):
        kid = Kid(4)
        for a, b in zip(np.array_split(wanted, parts), np.array_split(made, parts), strict=True):
            kid.add(a, b)
        values.append(kid.compute())
        assert kid.frames == 3000 and len(kid._kept) <= 1200
    assert values[0] == values[1] and abs(values[0]) < 0.02, "two draws of one distribution"
    assert np.isnan(Kid(4).compute())


def test_fvd_is_of_whole_runs_and_shared_between_models(tmp_path: Path) -> None:
    """Runs of 4 frames by a network that gives mean colours; 10 frames are two runs and a rest."""
    write_video_onnx(tmp_path / "net.onnx")
    network = VideoNetwork(tmp_path / "net.onnx")
    assert (network.frames, network.side) == (4, 8)
    clip = disc_clip(tmp_path, "c", 10, size=32)
    contender = Contender("still", "candidate", category="")
    record = measure_task(reconstruction(clip), tmp_path, [contender], [], size=32, video_network=network)
    frames = np.stack([frame.image for frame in VideoReader(tmp_path / clip.path)]) / 127.5 - 1
    by_hand = np.stack([frames[i : i + 4].mean((0, 1, 2)) for i in (0, 4)])
    wanted, made = record.video_features["still"]
    np.testing.assert_allclose(wanted, by_hand, atol=0.02)
    np.testing.assert_allclose(made, np.broadcast_to(frames[0].mean((0, 1)), (2, 3)), atol=0.02)
    record.save(record_path(tmp_path, 0))
    np.testing.assert_array_equal(Record.load(record_path(tmp_path, 0)).video_features["still"], [wanted, made])
    found = collect([reconstruction(clip)], tmp_path, ["still"], METRICS, None, 32).protocols["reconstruction"]
    fvd = found.summary["fvd"]["still"]
    assert fvd.frames == 2 and fvd.pooled == pytest.approx(frechet(wanted, made), rel=1e-3)
    (tmp_path / "x.onnx").write_bytes(b"garbage")
    with pytest.raises(InputError, match="not an ONNX network"):
        VideoNetwork(tmp_path / "x.onnx")
    with pytest.raises(InputError, match="no such ONNX file"):
        VideoNetwork(tmp_path / "i3d.pt")


def frechet(wanted: np.ndarray, made: np.ndarray) -> float:
    """|difference of means|^2 + trace(A + B - 2 sqrt(AB)), by NumPy."""
    (a, b), shift = (np.cov(x, rowvar=False, dtype=np.float64) for x in (wanted, made)), wanted.mean(0) - made.mean(0)
    root = np.sqrt(np.abs(np.linalg.eigvals(a @ b).real)).sum()
    return float((shift**2).sum() + np.trace(a) + np.trace(b) - 2 * root)


def test_one_identity_and_failures_are_said(tmp_path: Path) -> None:
    clips = [Clip(f"c{i}", f"c{i}", "ann", "test", 3, Fraction(25), 9, 9) for i in range(2)]
    Record(3, {"m": {"l1": np.ones(3)}}).save(record_path(tmp_path, 0))
    tasks = [reconstruction(clip) for clip in clips]
    with pytest.raises(InputError, match="no record of c1; run the same command again"):
        collect(tasks, tmp_path, ["m"], METRICS, None, 9)
    Record(failed={"m": "it is gone"}).save(record_path(tmp_path, 1))
    found = collect(tasks, tmp_path, ["m"], METRICS, None, 9)
    assert found.failures == [Failure(protocol="reconstruction", clip="c1", model="m", reason="it is gone")]
    protocol = found.protocols["reconstruction"]
    assert protocol.summary["l1"]["m"].interval is None and protocol.summary["l1"]["m"].pooled == 1
    assert protocol.clips[1].failed == {"m": "it is gone"} and protocol.differences == {}


def test_what_no_clip_says_anything_about_is_no_metric_of_the_report(tmp_path: Path) -> None:
    """Of one model every frame is missed in `jitter`, which is a result; `brows_error` asks for what nobody does."""
    clips = [Clip(f"c{i}", f"c{i}", f"id{i}", "test", 3, Fraction(25), 9, 9) for i in range(4)]
    for i in range(4):
        values = {"l1": np.ones(3), "jitter": np.full(1, np.nan), "brows_error": np.full(3, metrics.UNKNOWN)}
        Record(3, {"m": values, "n": values}).save(record_path(tmp_path, i))
    protocol = collect([reconstruction(clip) for clip in clips], tmp_path, ["m", "n"], METRICS, "n", 9).protocols
    assert protocol["reconstruction"].summary.keys() == {"l1", "jitter"}
    assert protocol["reconstruction"].differences.keys() == {"l1", "jitter"}
    assert all(clip.values.keys() == {"l1", "jitter"} for clip in protocol["reconstruction"].clips)
    for of in protocol["reconstruction"].identities.values():
        assert of.values.keys() == {"l1", "jitter"} == protocol["reconstruction"].over_time.keys()
    instruments = Instruments([], {name: METRICS[name] for name in ("l1", "brows_error")}, None, None, [], {})
    told = why_not(instruments, ["l1"], faces=True)
    assert [(row.metric, row.reason) for row in told] == [("brows_error", "no clip says anything about it")]


# -------------------------------------------------------------------------------------------------------------- gallery


def shown_protocol(*means: float | None) -> Protocol:
    values = [{"l1": {"m": ClipValue(mean=m, frames=1, missed=0)}} if m is not None else {} for m in means]
    names = dict(identity="x", source="x", driving="x", frames=1)
    clips = [ClipResult(clip=f"c{i}", values=v, **names) for i, v in enumerate(values)]
    return Protocol(summary={}, differences={}, identities={}, clips=clips, over_time={}, gallery=[])


@pytest.mark.parametrize(
    "means, expected",
    [
        ((3, 1, 2, None, 5), {"best": "c1", "median": "c0", "worst": "c4"}),
        ((3, 1), {"best": "c1", "worst": "c0"}),
        ((3,), {"best": "c0"}),
        ((None,), {}),
    ],
)
def test_best_median_and_worst_are_chosen(means: tuple, expected: dict[str, str]) -> None:
    chosen = choose_shown(shown_protocol(*means), "m", METRICS)
    assert {kind: clip for kind, clip, _ in chosen} == expected
    assert all(metric == "l1" for *_, metric in chosen)


def test_the_gallery_shows_what_was_compared(tmp_path: Path) -> None:
    clips = [disc_clip(tmp_path, "a", 2, seed=1), disc_clip(tmp_path, "b", 6), disc_clip(tmp_path, "c", 6, seed=3)]
    task = Task("cross_identity_truth", *clips)
    columns = write_shown(task, tmp_path, [contender()], 64, tmp_path / "out" / "shown.mp4")
    assert columns == ["source", "driving", "truth", "ours", "error"]
    shown = np.stack([frame.image for frame in VideoReader(tmp_path / "out" / "shown.mp4")])
    assert shown.shape == (6, 64, 5 * 64, 3)
    for column, name in ((1, "b"), (2, "c")):
        frames = np.stack([frame.image for frame in VideoReader(tmp_path / name)])
        tile = shown[:, :, column * 64 : (column + 1) * 64].astype(int)
        assert np.abs(tile - frames).mean() < 8, "but for the codec"
    assert write_shown(reconstruction(clips[1]), tmp_path, [contender()], 64, tmp_path / "r.mp4") == [
        "source", "driving", "ours", "error"
    ]  # fmt: skip
    assert write_shown(Task("cross_identity", *clips[:2], None), tmp_path, [contender()], 64, tmp_path / "s.mp4") == [
        "source", "driving", "ours"
    ]  # fmt: skip


def test_the_error_map_is_dark_where_nothing_differs() -> None:
    truth = np.full((4, 4, 3), 100, np.uint8)
    picture = truth.copy()
    picture[0, 0], picture[0, 1] = 120, 250
    shown = error_map(picture, truth).astype(int).sum(-1)
    assert shown[3, 3] < shown[0, 0] < shown[0, 1]
    assert shown[3, 3] < 20 and shown[0, 1] > 500
