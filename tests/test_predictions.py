"""Frames that other programs made: measured beside the rest, counted and checked; reports merged; lists of pairs."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_clips import disc_clip

import evaluate
from evaluate import Options, merge, parse
from fomm.errors import InputError
from fomm.evaluation.definitions import PSNR_MAX
from fomm.manifest import Clip, Pair, read_manifest, read_pairs, write_manifest, write_pairs
from fomm.report import Report, read_report
from fomm.video import VideoReader, VideoWriter
from preprocess.dataset.pairs import choose_pairs, make_pairs

FRAMES, SIDE = 6, 64
NAMES = ("a", "b", "c", "d")


def write_frames(path: Path, pictures: list[np.ndarray]) -> None:
    with VideoWriter(path, fps=25) as writer:
        for image in pictures:
            writer.write(image)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four clips; `same`: the clips themselves; `brighter`: by 51 levels; `faulty`: one each of all faults."""
    folder = tmp_path_factory.mktemp("predictions")
    clips = [
        disc_clip(folder / "data", name, FRAMES, size=SIDE, identity=f"id {name}", seed=seed)
        for seed, name in enumerate(NAMES)
    ]
    write_manifest(folder / "data" / "manifest.csv", clips)
    write_pairs(folder / "data" / "pairs.csv", [Pair("a", "b"), Pair("b", "c")])
    for clip in clips:
        pictures = [frame.image for frame in VideoReader(folder / "data" / clip.path)]
        write_frames(folder / "same" / clip.clip_id, pictures)
        write_frames(folder / "brighter" / clip.clip_id, [np.minimum(image, 204) + 51 for image in pictures])
        wrong = {"b": pictures[:-1], "c": pictures * 2, "d": [image[:, :32] for image in pictures]}
        write_frames(folder / "faulty" / clip.clip_id, wrong.get(clip.clip_id, pictures))
    write_frames(folder / "cross" / "a+b", pictures)
    write_frames(folder / "cross" / "b+c", pictures)
    return folder


def measured(here: Path, output: str, *predictions: str, **others: object) -> Report:
    options = Options(
        data=str(here / "data" / "manifest.csv"), output=str(here / output), device="cpu", metrics=["l1", "psnr"],
        predictions=[f"{name}={here / name}" for name in predictions], baseline="source",
    )  # fmt: skip
    return evaluate.evaluate(replace(options, **others))


@pytest.fixture(scope="module")
def report(here: Path) -> Report:
    return measured(here, "both", "same", "brighter", "faulty")


def test_files_are_measured_as_they_are(report: Report, here: Path) -> None:
    summary = report.protocols["reconstruction"].summary
    assert summary["l1"]["same"].pooled == 0 and summary["psnr"]["same"].pooled == pytest.approx(PSNR_MAX)
    assert summary["l1"]["brighter"].pooled == pytest.approx(0.2, abs=0.02), "but for what is clipped"
    assert summary["l1"]["same"].frames == FRAMES * len(NAMES) and report.data.size == [SIDE, SIDE]
    assert summary.keys() == {"l1", "psnr"} == report.metrics.keys(), "what was chosen"
    judged = report.protocols["reconstruction"].differences["l1"]["same"]
    assert judged.wins == 4 and judged.interval is not None


def test_counts_and_sizes_are_checked(report: Report) -> None:
    told = {f.clip: f.reason for f in report.failures}
    assert {f.model for f in report.failures} == {"faulty"} and told.keys() == {"b", "c", "d"}
    assert "has 5 frames, the driving clip has more" in told["b"]
    assert "has 12 frames, the driving clip has 6" in told["c"]
    assert "is 32x64, others of faulty are 64x64" in told["d"]


@pytest.mark.parametrize(
    "fault, said",
    [
        (lambda clip: write_frames(clip, [np.zeros((32, 32, 3), np.uint8)] * FRAMES), "is 32x32, others .* are 64x64"),
        (lambda clip: write_frames(clip, [np.zeros((64, 32, 3), np.uint8)] * FRAMES), "is 32x64, others .* are 64x64"),
        (lambda clip: clip.mkdir(), "holds no pictures"),
        (lambda clip: clip.with_suffix(".mp4").write_bytes(b""), "is empty"),
        (lambda clip: clip.with_suffix(".mp4").write_bytes(b"\0" * 999), "cannot be read|holds no video"),
    ],
    ids=["smaller", "not square", "empty folder", "empty file", "damaged"],
)
def test_a_fault_costs_its_own_clip_though_it_is_the_first(
    here: Path, tmp_path: Path, fault: Callable[[Path], object], said: str
) -> None:
    shutil.copytree(here / "same", tmp_path / "mine")
    shutil.rmtree(tmp_path / "mine" / "a")
    fault(tmp_path / "mine" / "a")
    found = measured(here, str(tmp_path / "out"), predictions=[f"mine={tmp_path / 'mine'}"], metrics=["l1"])
    assert [f.clip for f in found.failures] == ["a"] and re.search(said, found.failures[0].reason)
    assert found.protocols["reconstruction"].summary["l1"]["mine"].frames == FRAMES * 3 and found.data.size == [64, 64]


def test_a_suffix_may_be_in_capitals(here: Path, tmp_path: Path) -> None:
    pictures = [frame.image for frame in VideoReader(here / "same" / "a")]
    write_frames(tmp_path / "a.mp4", pictures)
    (tmp_path / "a.mp4").rename(tmp_path / "a.MP4")
    found = measured(here, str(tmp_path / "out"), predictions=[f"mine={tmp_path}"], metrics=["l1"], limit=1)
    assert not found.failures and found.protocols["reconstruction"].summary["l1"]["mine"].frames == FRAMES


def test_tables_for_other_programs(report: Report, here: Path) -> None:
    with open(here / "both" / "per_frame.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    mine = [row for row in rows if (row["clip"], row["model"]) == ("b", "brighter")]
    assert [int(row["frame"]) for row in mine] == list(range(FRAMES))
    clip = next(c for c in report.protocols["reconstruction"].clips if c.clip == "b")
    assert np.mean([float(row["l1"]) for row in mine]) == pytest.approx(clip.values["l1"]["brighter"].mean, rel=1e-5)
    latex = (here / "both" / "report.tex").read_text()
    assert r"\begin{tabular}{lrr}" in latex and r"same & \textbf{0" in latex and r"L1 $\downarrow$" in latex


def test_a_part_of_the_data(here: Path) -> None:
    few = measured(here, "few", "same", limit=2, every=4)
    assert (few.data.clips, few.data.identities, few.data.frames) == (2, 2, 2 * 2), "what was used"
    protocol = few.protocols["reconstruction"]
    assert [clip.clip for clip in protocol.clips] == ["a", "b"] and protocol.summary["l1"]["source"].frames == 2 * 2
    with open(here / "few" / "per_frame.csv", newline="") as stream:
        assert {int(row["frame"]) for row in csv.DictReader(stream)} == {0, 4}
    with pytest.raises(InputError, match="other settings"):
        measured(here, "few", "same", limit=3, every=4)


def test_pairs_alone_take_part_in_cross_identity_alone(here: Path) -> None:
    found = measured(here, "crossed", "cross", pairs=str(here / "data" / "pairs.csv"), metrics=["l1"])
    assert not found.failures and "cross" not in found.protocols["reconstruction"].summary["l1"]
    assert "has no frames for reconstruction" in next(m for m in found.models if m.name == "cross").notes
    assert [clip.failed for clip in found.protocols["cross_identity"].clips] == [{}, {}]


def test_changed_predictions_are_measured_again(here: Path, tmp_path: Path) -> None:
    shutil.copytree(here / "same", tmp_path / "mine")
    first = measured(here, "again", predictions=[f"mine={tmp_path / 'mine'}"])
    shutil.rmtree(tmp_path / "mine" / "a")
    shutil.copytree(here / "brighter" / "a", tmp_path / "mine" / "a")
    assert first.protocols["reconstruction"].summary["l1"]["mine"].pooled == 0
    with pytest.raises(InputError, match="other settings.*models differ"):
        measured(here, "again", predictions=[f"mine={tmp_path / 'mine'}"])


@pytest.mark.parametrize(
    "given, said",
    [
        ("tpsmm", "must be NAME=FOLDER"),
        ("tpsmm=nowhere", "nowhere is no folder"),
        ("tpsmm={}/cross", "holds nothing for any clip.*such as a.mp4"),
        ("source={}/same", "source is the repeated source picture"),
    ],
)
def test_predictions_that_cannot_be_used(here: Path, given: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        measured(here, "none", predictions=[given.format(here)])


def test_numbers_and_names_that_make_no_sense(here: Path) -> None:
    for change, said in (
        ({"limit": 0}, "--limit 0: must be at least 1"),
        ({"every": -1}, "--every -1"),
        ({"every": 10**19}, "--every 10000000000000000000: must be"),
        ({"metrics": ["l1", "l2"]}, "--metrics l2: no such metric; choose from l1, psnr"),
        ({"predictions": []}, "--checkpoint, --predictions: name nothing"),
    ):
        with pytest.raises(InputError, match=said):
            measured(here, "none", "same", **change)
    assert parse(["--data", "x", "--output", "y", "--predictions", "a=b", "c=d"]).predictions == ["a=b", "c=d"]


def test_a_leaderboard_of_reports_is_that_of_one_run(report: Report, here: Path, capsys: pytest.CaptureFixture) -> None:
    folders = [str(here / "one"), str(here / "two"), str(here / "three")]
    for folder, name in zip(folders, ("same", "brighter", "faulty"), strict=True):
        measured(here, Path(folder).name, name)
    merge([*folders, "--output", str(here / "board")])
    assert "wrote" in capsys.readouterr().out
    merged = read_report(here / "board" / "report.json")
    (one, other) = (each.protocols["reconstruction"] for each in (merged, report))
    assert one.summary == other.summary
    for metric, of in other.differences.items():
        for model, difference in of.items():
            mine = one.differences[metric][model]
            assert (mine.wins, mine.ties, mine.losses) == (difference.wins, difference.ties, difference.losses)
            assert mine.mean == pytest.approx(difference.mean, rel=1e-6, abs=1e-7)  # reports have nine digits
            assert mine.interval == (difference.interval and pytest.approx(difference.interval, rel=1e-6, abs=1e-7))
    assert one.clips == other.clips and one.identities == other.identities
    assert {f.clip for f in merged.failures} == {"b", "c", "d"}
    roles = {m.name: m.role for m in report.models}
    assert {m.name: m.role for m in merged.models} == roles
    assert one.gallery and all((here / "board" / shown.media).is_file() for shown in one.gallery)


def test_each_metric_of_a_model_that_several_reports_have_is_taken_from_one_that_has_it(here: Path) -> None:
    measured(here, "l1 only", "same", metrics=["l1"])
    measured(here, "both of it", "brighter")
    merge([str(here / "l1 only"), str(here / "both of it"), "--output", str(here / "joined")])
    joined = read_report(here / "joined" / "report.json").protocols["reconstruction"]
    assert joined.summary["psnr"].keys() == {"source", "brighter"} and joined.differences["psnr"]["brighter"].clips == 4
    assert joined.summary["l1"].keys() == {"source", "same", "brighter"}
    assert len(joined.clips) == 4 and all(clip.values["psnr"].keys() == {"source", "brighter"} for clip in joined.clips)


def test_a_copy_of_a_report_adds_nothing(report: Report, here: Path, tmp_path: Path) -> None:
    shutil.copytree(here / "both", tmp_path / "copy")
    merge([str(here / "both"), str(tmp_path / "copy"), "--output", str(tmp_path / "board")])
    merged = read_report(tmp_path / "board" / "report.json")
    one, other = merged.protocols["reconstruction"], report.protocols["reconstruction"]
    assert one.summary == other.summary and len(one.gallery) == len(other.gallery) and merged.data == report.data
    assert {path.name for path in (tmp_path / "board" / "media").iterdir()} == {Path(s.media).name for s in one.gallery}


def test_reports_of_different_code_are_merged_with_a_warning(report: Report, here: Path, tmp_path: Path) -> None:
    content = json.loads((here / "both" / "report.json").read_text())
    content["versions"]["code of fomm"] = "0" * 64
    (tmp_path / "report.json").write_text(json.dumps(content))
    merge([str(here / "both"), str(tmp_path), "--output", str(tmp_path / "board")])
    warnings = read_report(tmp_path / "board" / "report.json").data.warnings
    assert warnings == [*report.data.warnings, "The reports were made with different versions of code of fomm."]


def test_what_does_not_compare_is_not_merged(report: Report, here: Path, tmp_path: Path) -> None:
    content = json.loads((here / "both" / "report.json").read_text())
    for key, value in (("manifest_sha256", "0" * 64), ("split", "val")):
        (tmp_path / "report.json").write_text(json.dumps(content | {"data": content["data"] | {key: value}}))
        with pytest.raises(InputError, match=f"was not measured as .* was \\({key} differ"):
            merge([str(here / "both"), str(tmp_path), "--output", str(tmp_path / "board")])
    other = content["metrics"] | {"l1": content["metrics"]["l1"] | {"source": "another network's file, sha256 1234"}}
    (tmp_path / "report.json").write_text(json.dumps(content | {"metrics": other}))
    with pytest.raises(InputError, match="definition of l1 differ"):
        merge([str(here / "both"), str(tmp_path), "--output", str(tmp_path / "board")])
    next(model for model in content["models"] if model["name"] == "same")["sha256"] = "other"
    (tmp_path / "report.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="different models named same"):
        merge(["--reports", str(here / "both"), str(tmp_path), "--output", str(tmp_path / "board")])
    for arguments, said in (
        ([str(here / "both"), "--output", "x"], "at least two"),
        ([str(here / "both"), str(tmp_path / "no"), "--output", "x"], "cannot be read"),
        ([str(here / "both"), str(here / "both"), "--output", " "], "--output: is empty"),
        ([str(here / "both"), str(here / "few"), "--output", str(here / "few")], "is one of the reports"),
        ([str(here / "both"), str(tmp_path), "--output", str(here / "few")], "holds an evaluation"),
        ([str(here / "both"), str(here / "both" / "report.json"), "--output", "x"], "is named twice"),
    ):
        with pytest.raises(InputError, match=said):
            merge(arguments)
    assert not (tmp_path / "board").exists()


# --------------------------------------------------------------------------------------------------------------- pairs


def clips_of(*identities: str) -> list[Clip]:
    return [Clip(f"clip{i}", f"{i}.mp4", name, "test", 9, 25, 64, 64) for i, name in enumerate(identities)]


def test_everybody_is_animated_as_often_and_by_others() -> None:
    clips = clips_of(*"aaaabbccd")
    identity = {clip.clip_id: clip.identity for clip in clips}
    pairs = choose_pairs(clips, per_clip=2, seed=4)
    assert len(set(pairs)) == 2 * len(clips)
    assert all(identity[pair.source] != identity[pair.driving] for pair in pairs)
    used = [sum(identity[pair.source] == name for pair in pairs) for name in "abcd"]
    assert max(used) - min(used) <= 1
    assert pairs == choose_pairs(clips, per_clip=2, seed=4) != choose_pairs(clips, per_clip=2, seed=5)


def test_a_list_of_pairs_is_written_once(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write_manifest(tmp_path / "manifest.csv", clips_of(*"abc"))
    make_pairs(str(tmp_path / "manifest.csv"))
    assert "3 pairs of 3 identities" in capsys.readouterr().out
    assert len(read_pairs(tmp_path / "pairs.csv", read_manifest(tmp_path / "manifest.csv"))) == 3
    with pytest.raises(InputError, match="exists already"):
        make_pairs(str(tmp_path / "manifest.csv"))
    with pytest.raises(InputError, match="--per_clip 3: the split has 3 identities"):
        make_pairs(str(tmp_path / "manifest.csv"), per_clip=3, output=str(tmp_path / "other.csv"))


def test_lists_of_the_original_are_read(tmp_path: Path) -> None:
    """With a distance and a frame, which its code does not use, and file names."""
    clips = [
        replace(clip, clip_id=name) for clip, name in zip(clips_of(*"abc"), ("x#1", "y#2", "z#3.mp4"), strict=True)
    ]
    (tmp_path / "taichi256.csv").write_text(
        "distance,source,driving,frame\n3.5,x#1.mp4,y#2.mp4,0\n2.8,y#2.mp4,z#3.mp4,0\n"
    )
    assert read_pairs(tmp_path / "taichi256.csv", clips) == [Pair("x#1", "y#2"), Pair("y#2", "z#3.mp4")]
