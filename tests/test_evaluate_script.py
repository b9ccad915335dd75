"""evaluate.py from end to end: a manifest full of faults, killed and resumed, on two processes, with W&B and a gate."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import processes
import pytest
import torch
from report_example import example_report, typed
from small_clips import disc_clip
from small_models import small_model
from small_onnx import write_onnx

import evaluate
from evaluate import parse
from fomm.checkpoint import save_weights
from fomm.command_line import gathered
from fomm.errors import InputError
from fomm.evaluation.contenders import name_apart, read_data
from fomm.evaluation.definitions import METRICS
from fomm.evaluation.instruments import Detectors, Instruments, face_mesh, load_instruments, why_not
from fomm.evaluation.measures import Pixels
from fomm.evaluation.measuring import check_records, measure_task
from fomm.evaluation.settings import MeasureSettings
from fomm.evaluation.tasks import Contender, Task
from fomm.files import hash_code, hash_file, remove_parts
from fomm.manifest import Clip, Pair, read_manifest, read_pairs, write_manifest, write_pairs
from fomm.pretrained.features import ALEXNET_FILE, INCEPTION_FILE
from fomm.report import Report, read_report
from fomm.report.files import PER_CLIP
from fomm.report.files import per_clip as per_clip_rows
from fomm.report.gate import Condition
from fomm.report.schema import NotComputed
from fomm.video import VideoReader, VideoWriter
from preprocess.faces import FaceFinder
from preprocess.synthetic.puppets import write_puppet_pairs
from preprocess.synthetic.truth import PuppetTruth

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.timeout(900)  # whole runs and several interpreters, on a machine that may be busy
GATE = ["l1 > 0.5 * baseline", "reconstruction.l1.frames > 3"]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Puppets and a few faulty rows, two small models (of different size and number of keypoints)."""
    folder = tmp_path_factory.mktemp("evaluate")
    write_puppet_pairs(folder / "data", identities=40, pairs=2, frames=3, size=64, fps=6)
    data = folder / "data"
    clips = read_manifest(data / "manifest.csv")
    clips.append(disc_clip(data, "other_size", 2, size=96, identity="disc"))
    clips.append(disc_clip(data, "one_frame", 1, identity="disc"))
    clips.append(replace(clips[1], clip_id="missing", path="clips/nowhere"))
    clips.append(clips[0])  # a duplicate
    clips.append(replace(clips[1], clip_id="known", split="train"))
    write_manifest(data / "manifest.csv", clips)
    pairs = read_pairs(data / "pairs.csv", clips[:6])
    write_pairs(data / "pairs.csv", [*pairs, Pair("other_size", pairs[0].driving), Pair("nobody", "other_size")])
    save_weights(folder / "five.safetensors", small_model(), category="face", image_size=64)
    save_weights(folder / "eight.safetensors", small_model(8), category="face", image_size=32)
    return folder


def arguments(here: Path, output: str) -> list[str]:
    return [
        "--checkpoint", str(here / "five.safetensors"), str(here / "eight.safetensors"), "--baseline", "source",
        "--data", str(here / "data" / "manifest.csv"), "--pairs", str(here / "data" / "pairs.csv"),
        "--output", str(here / output), "--device", "cpu", "--fail-if", GATE[0], "--fail-if", GATE[1],
    ]  # fmt: skip


@pytest.fixture(scope="module")
def environment(here: Path) -> dict[str, str]:
    """Nothing is downloaded, one thread each, no W&B account."""
    return {
        "HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9", "OMP_NUM_THREADS": "1",
        "FOMM_CACHE": str(here / "cache"), "TORCH_HOME": str(here / "torch"),
        "WANDB_MODE": "offline", "WANDB_SILENT": "true",
    }  # fmt: skip


@pytest.fixture(scope="module")
def report(here: Path, environment: dict[str, str]) -> dict:
    """The undisturbed run, with W&B."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        torch.set_num_threads(1)
        found = evaluate.evaluate(parse([*arguments(here, "whole"), "--wandb", "fomm-test"]))
        torch.set_num_threads(threads)
    return json.loads(found.to_json())


def test_the_report_follows_its_schema_and_is_whole(report: dict, here: Path) -> None:
    assert json.loads(read_report(here / "whole" / "report.json").to_json()) == report
    for name in ("report.html", "report.md"):
        assert "akd_mediapipe" in (here / "whole" / name).read_text() or name.endswith(".md")
    assert report["protocols"].keys() == {"reconstruction", "cross_identity", "cross_identity_truth"}
    assert [(m["name"], m["role"]) for m in report["models"]] == [
        ("five", "candidate"), ("eight", "candidate"), ("source", "baseline")
    ]  # fmt: skip
    without = {"lpips", "fid", "kid", "fvd", "akd_pose", "mkr_pose", "aed_openface", "csim_arcface"}
    assert without <= {row["metric"] for row in report["not_computed"]}
    assert all(row["reason"] and row["how"] for row in report["not_computed"])
    assert not report["metrics"].keys() & {row["metric"] for row in report["not_computed"]}
    assert report["data"]["size"] == [256, 256], "the models differ in size"
    assert {"code of fomm", "code of preprocess", "code of evaluate.py"} <= report["versions"].keys()


def test_every_fault_is_told_and_costs_nothing_else(report: dict) -> None:
    failed = {(f["protocol"], f["clip"]): f["reason"] for f in report["failures"]}
    assert failed.keys() == {("reconstruction", "missing"), ("reconstruction", "one_frame")}
    assert "there is no such file" in failed["reconstruction", "missing"]
    assert "has one frame" in failed["reconstruction", "one_frame"]
    warnings = " ".join(report["data"]["warnings"])
    assert "clip_id 'pair0000_source' was used on line" in warnings, "the duplicate"
    assert "no clip is called source 'nobody'" in warnings
    assert "clips of 64x64" in warnings and "clips of 96x96" in warnings and "resized to 256x256" in warnings
    overlap = report["data"]["split_overlap"]
    assert len(overlap) == 1 and overlap[0].startswith("puppet"), "one identity is in the training split too"
    reconstruction = report["protocols"]["reconstruction"]
    counted = [clip["frames"] for clip in reconstruction["clips"] if not clip["failed"]]
    assert counted == [3, 3, 3, 3, 2] and reconstruction["summary"]["l1"]["five"]["frames"] == sum(counted)
    notes = {model["name"]: " ".join(model["notes"]) for model in report["models"]}
    assert "8 keypoints, others have 5" in notes["eight"] and "sees frames of 32x32" in notes["eight"]


def test_a_face_that_is_never_found_is_counted_not_averaged(report: dict) -> None:
    """The small models' weights are a formula: what they make shows no face."""
    summary = report["protocols"]["cross_identity_truth"]["summary"]["akd_mediapipe"]
    assert summary["five"]["pooled"] is None and summary["five"]["interval"] is None
    assert summary["five"]["missed"] == summary["source"]["frames"] == 6
    assert summary["five"]["pooled_with_misses"] == pytest.approx(256 / 3)
    assert summary["source"]["missed"] == 0 and 0 < summary["source"]["pooled"] < 20


def test_what_the_drawings_know_is_used(report: dict) -> None:
    """The source has the right face; its exact landmarks are those of the first frame, so it errs less there."""
    truth = report["protocols"]["cross_identity_truth"]
    assert truth["summary"]["identity_truth"]["source"]["pooled"] > 0.9
    times = [value for value in truth["over_time"]["akd_truth"]["source"] if value is not None]
    assert times[0] == min(times) < 5


def test_without_truth_no_pixels_are_compared(report: dict) -> None:
    summary = report["protocols"]["cross_identity"]["summary"]
    assert "l1" not in summary and "akd_mediapipe" not in summary
    assert all(entry["interval"] is None for by in summary.values() for entry in by.values()), "one identity"


def test_the_table_per_clip_agrees_with_the_report(report: dict, here: Path) -> None:
    with open(here / "whole" / "per_clip.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    l1 = [row for row in rows if (row["protocol"], row["metric"], row["model"]) == ("reconstruction", "l1", "five")]
    assert [int(row["frames"]) for row in l1] == [3, 3, 3, 3, 2]
    pooled = sum(float(row["mean"]) * int(row["frames"]) for row in l1) / 14
    assert pooled == pytest.approx(report["protocols"]["reconstruction"]["summary"]["l1"]["five"]["pooled"], rel=1e-6)
    missed = [row for row in rows if row["metric"] == "akd_mediapipe" and row["model"] == "five"]
    assert missed and all(row["mean"] == "" and int(row["missed"]) for row in missed if row["identity"] != "disc")


def test_the_gallery_can_be_played(report: dict, here: Path) -> None:
    shown = report["protocols"]["cross_identity_truth"]["gallery"]
    assert [item["kind"] for item in shown] == ["best", "worst"]
    for item in shown:
        assert item["columns"] == ["source", "driving", "truth", "five", "eight", "error"]
        frames = [frame.image for frame in VideoReader(here / "whole" / item["media"])]
        assert len(frames) == 3 and frames[0].shape == (160, 6 * 160, 3)
        source, truth = frames[0][:, :160].astype(int), frames[0][:, 320:480]
        assert np.abs(source - truth).mean() < 6, "the source is drawn in the first pose"


def test_wandb_has_the_tables_and_the_clips(report: dict, here: Path) -> None:
    (run,) = (here / "whole" / "wandb").glob("offline-run-*")
    contents = [json.loads(path.read_text()) for path in run.rglob("*.table.json")]
    per_clip = next(table for table in contents if table["columns"] == list(PER_CLIP))
    assert [tuple(row) for row in per_clip["data"]] == per_clip_rows(typed(report))
    summaries = [table for table in contents if "pooled" in table["columns"]]
    differences = [table for table in contents if "wins" in table["columns"]]
    assert (len(contents), len(summaries), len(differences)) == (7, 3, 3), "per clip, and two for each protocol"
    rows = [dict(zip(t["columns"], row, strict=True)) for t in summaries for row in t["data"]]
    pooled = report["protocols"]["reconstruction"]["summary"]["l1"]["five"]["pooled"]
    assert any((row["metric"], row["model"], row["pooled"]) == ("l1", "five", pooled) for row in rows)
    videos = list((run / "files" / "media" / "videos").rglob("*.mp4"))
    assert len(videos) == sum(len(protocol["gallery"]) for protocol in report["protocols"].values())
    assert all(len([1 for _ in VideoReader(video)]) for video in videos)


@pytest.mark.slow
def test_killed_resumed_on_two_processes_and_gated(report: dict, here: Path, environment: dict[str, str]) -> None:
    """SIGKILL after the first record; two processes finish; the report is that of the undisturbed run."""
    command = ["evaluate.py", *arguments(here, "killed")]
    environment = os.environ | environment
    first = processes.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    records, deadline = here / "killed" / "records", time.monotonic() + 300
    while not list(records.glob("[0-9]*.npz")):
        assert first.poll() is None and time.monotonic() < deadline
        time.sleep(0.2)
    first.send_signal(signal.SIGKILL)
    first.wait()
    before = {path.name: path.stat().st_mtime_ns for path in records.glob("[0-9]*.npz")}
    assert 0 < len(before) < 9 and not (here / "killed" / "report.json").exists()

    done = processes.run([*command, "--devices", "2"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr[-3000:]
    assert "gate failed: five: l1 > 0.5 * baseline" in done.stderr and "Traceback" not in done.stderr
    after = {path.name: path.stat().st_mtime_ns for path in records.glob("[0-9]*.npz")}
    assert after.keys() > before.keys() and before.items() <= after.items(), "what was done is not done again"
    again = json.loads((here / "killed" / "report.json").read_text())
    assert again.pop("run")["hardware"]["processes"] == 2
    assert again == json.loads(json.dumps({key: value for key, value in report.items() if key != "run"}))
    assert (here / "killed" / "per_clip.csv").read_bytes() == (here / "whole" / "per_clip.csv").read_bytes()


def test_other_settings_in_the_same_folder_are_refused(report: dict, here: Path) -> None:
    options = replace(parse(arguments(here, "whole")), split="train", pairs=None)
    with pytest.raises(InputError, match="other settings.*data differ.*--output"):
        evaluate.evaluate(options)


# ------------------------------------------------------------------------------------------------------------ bad input


def test_lists_without_anything_to_measure(here: Path, tmp_path: Path) -> None:
    options = parse(arguments(here, "none"))
    for changes, said in (
        ({"split": "val"}, r"no clip has split 'val' \(clips: train 1, val 0, test 9\); give another --split"),
        ({"data": "nowhere.csv"}, "no such manifest"),
        ({"pairs": "nowhere.csv"}, "no such list of pairs"),
        ({"split": "train"}, "no pair of clips of split 'train'"),
        ({"checkpoint": ["nowhere.ckpt"], "pairs": None}, "nowhere.ckpt"),
        ({"checkpoint": ["source"]}, "source is named twice"),
        ({"baseline": None}, "give one with --baseline"),
        ({"devices": 0}, "must be at least 1"),
        ({"device": "tpu"}, "tpu"),
        ({"fail_if": [""]}, "cannot be read"),
        ({"checkpoint": []}, "--checkpoint, --predictions: name nothing"),
        ({"output": " "}, "--output: is empty"),
        ({"output": f"{here / 'five.safetensors'}/report"}, "five.safetensors is not a folder.; choose another"),
        ({"fail_if": ["l2 > 1"]}, "no metric is called 'l2'; choose from"),
        ({"fail_if": ["cross.l1 > 1"]}, "no protocol is called 'cross'; choose from"),
        ({"fail_if": ["lpips > 1"]}, "lpips cannot be computed here"),
    ):
        with pytest.raises(InputError, match=said), pytest.MonkeyPatch.context() as patch:
            patch.setenv("TORCH_HOME", str(tmp_path))
            patch.setenv("FOMM_CACHE", str(tmp_path))
            patch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
            evaluate.evaluate(replace(options, **changes))
    assert not (here / "none").exists(), "nothing is left behind"


def test_a_damaged_truth_costs_its_clip_only(here: Path, tmp_path: Path) -> None:
    clips = read_manifest(here / "data" / "manifest.csv", on_fault=lambda fault: None)
    shutil.copytree(here / "data" / "clips", tmp_path / "clips")
    clip = clips[1]
    (tmp_path / f"{clip.path}.npz").write_bytes(b"PK nonsense")
    repeat = Contender("source", "baseline")
    truth_of = PuppetTruth(tmp_path, clips)
    for row, fails in ((clip, True), (clips[2], False)):
        task = Task("reconstruction", row, row, row)
        record = measure_task(task, tmp_path, [repeat], [Pixels()], size=64, truth_of=truth_of)
        assert bool(record.failed) == fails
        assert not fails or "is not the truth of" in record.failed["source"]


def test_compressed_truth_is_warned_of(here: Path, tmp_path: Path) -> None:
    frames = [frame.image for frame in VideoReader(here / "data" / "other_size")]
    with VideoWriter(tmp_path / "film.mp4", fps=25) as writer:
        for frame in frames:
            writer.write(frame)
    write_manifest(tmp_path / "m.csv", [Clip("film", "film.mp4", "x", "test", 3, 25, 96, 96)])
    data = read_data(tmp_path / "m.csv")
    assert data.described.lossless is False and "codec" in data.described.warnings[0]
    write_manifest(tmp_path / "m.csv", [Clip("gone", "gone.mp4", "x", "test", 3, 25, 96, 96)])
    data = read_data(tmp_path / "m.csv")
    assert data.described.lossless and not data.described.warnings, "that it is missing, its failure says"


def test_damaged_weights_are_not_computed_and_stop_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub, cache = tmp_path / "hub" / "checkpoints", tmp_path / "cache"
    hub.mkdir(parents=True)
    cache.mkdir()
    files = [hub / name for name in (ALEXNET_FILE, INCEPTION_FILE, "s3fd-619a316812.pth", "2DFAN4-11f355bf06.pth.tar")]
    files += [cache / name for name in ("openface.pth", "w600k_r50.onnx")]
    for file in files:
        file.write_bytes(b"garbage")
    for name, value in (("TORCH_HOME", tmp_path), ("FOMM_CACHE", cache), ("HTTPS_PROXY", "http://127.0.0.1:9")):
        monkeypatch.setenv(name, str(value))
    with ExitStack() as stack:
        instruments = load_instruments(torch.device("cpu"), Detectors(face_mesh(stack.enter_context(FaceFinder()))))
    told = {row.metric: row for row in instruments.not_computed}
    assert told.pop("fvd").reason == "no video network was given"
    assert told.keys() == {"lpips", "fid", "kid", "akd_face_alignment", "aed_openface", "csim_arcface"}
    assert all(str(tmp_path) in row.reason and "https://" in row.how for row in told.values())
    assert {"akd_mediapipe", "l1"} <= {name for measure in instruments.measures for name in measure.names}


def face_network(path: Path, *, aligned: bool) -> str:
    """A network of the user's for faces of 32 x 32."""
    path.parent.mkdir(exist_ok=True)
    write_onnx(path, size=32, metadata=json.dumps({"aligned": aligned}))
    return str(path)


def test_networks_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole pictures of anything can be compared; an aligned face needs a face; two metrics never share a name."""
    for name in ("TORCH_HOME", "FOMM_CACHE"):
        monkeypatch.setenv(name, str(tmp_path))
    whole, aligned = (
        face_network(tmp_path / "whole.onnx", aligned=False),
        face_network(tmp_path / "al.onnx", aligned=True),
    )

    def load(*networks: str) -> Instruments:
        return load_instruments(torch.device("cpu"), settings=MeasureSettings(face_networks=[*networks]))

    instruments = load(whole, aligned)
    names = {name for measure in instruments.measures for name in measure.names}
    assert "identity_whole" in names and "identity_al" not in names
    reasons = {row.metric: row.reason for row in why_not(instruments, [*names], faces=False)}
    for name in ("identity_al", "akd_mediapipe", "akd_face_alignment", "aed_openface", "csim_arcface"):
        assert reasons[name] == "no face was looked for"
    info = instruments.infos["identity_whole"]
    assert "32 x 32" in info.definition and hash_file(whole) in info.source
    for again in (whole, face_network(tmp_path / "sub" / "whole.onnx", aligned=False),
                  face_network(tmp_path / "truth.onnx", aligned=False)):  # fmt: skip
        with pytest.raises(InputError, match="there is another metric identity_(whole|truth); give the file another"):
            load(whole, again)


def test_leftovers_of_killed_processes_go_and_those_being_written_stay(tmp_path: Path) -> None:
    parts = [".012345-1-89ab.part.npz", ".012345-1-cdef.part.npz"]
    for name, age_s in ((parts[0], 60), (parts[1], -60), ("000000.npz", 60), (".my.part", 60)):
        (tmp_path / name).write_bytes(b"")
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    remove_parts(tmp_path, tmp_path / "nowhere", before=time.time())
    assert sorted(path.name for path in tmp_path.iterdir()) == [parts[1], ".my.part", "000000.npz"]


def test_many_faulty_rows_are_counted_not_listed(tmp_path: Path) -> None:
    clips = [Clip(f"c{i}", f"c{i}", "x", "test", 3, 25, 8, 8) for i in range(100)]
    write_manifest(tmp_path / "m.csv", [clips[0]] * 50 + clips)
    warnings = read_data(tmp_path / "m.csv").described.warnings
    assert len(warnings) == 21 and warnings[-1] == "30 more rows are left out", "of 50 duplicates"


def test_names_tell_the_checkpoints_apart() -> None:
    assert name_apart(["vox-adv", "a/last.ckpt", "b/last.ckpt", "x/vox-cpk.pth.tar", "source"]) == [
        "vox-adv", "a/last", "b/last", "vox-cpk", "source"
    ]  # fmt: skip
    assert name_apart(["last.ckpt", "b/last.ckpt"]) == ["last", "b/last"]
    assert len(set(name_apart(["run.ckpt", "run.safetensors"]))) == 2


def test_the_command_line() -> None:
    line = "--checkpoint a b --baseline=c --data m.csv --output out --fail-if".split()
    options = parse([*line, "l1 > 0.05"])
    assert (options.checkpoint, options.baseline, options.fail_if) == (["a", "b"], "c", ["l1 > 0.05"])
    assert parse([*line, "l1 > 0.05", "--fail-if=ssim < 0.9"]).fail_if == ["l1 > 0.05", "ssim < 0.9"]
    assert gathered(["--checkpoint=a", "--data", "m"], ["checkpoint"]) == ["--data", "m", '--checkpoint=["a"]']
    for arguments in ([*line[:-1], "--splitt", "test"], line[1:], [*line[:-1], "--split", "all"]):
        with pytest.raises(InputError, match="evaluate.py --help. explains"):
            parse(arguments)


# ----------------------------------------------------------------------------------------------------------------- gate


def numbers(**values: float | None) -> dict:
    rest = {"clip_mean": None, "interval": None, "pooled_with_misses": None, "missed": 3, "frames": 10}
    return {name: {"pooled": value, **rest} for name, value in values.items()}


def small_report() -> Report:
    report = example_report(identities=1, clips_each=1)
    report["models"] = [
        {"name": "a", "role": "candidate", "notes": []}, {"name": "b", "role": "candidate", "notes": []},
        {"name": "base", "role": "baseline", "notes": []},
    ]  # fmt: skip
    summaries = {
        "reconstruction": {"l1": numbers(a=0.04, b=0.06, base=0.05), "ssim": numbers(a=0.9, b=0.8, base=0.8)},
        "cross_identity": {"csim_arcface": numbers(a=0.5, b=None, base=0.5)},
        "cross_identity_truth": {"l1": numbers(a=0.2, b=0.1, base=0.1)},
    }
    empty = {"differences": {}, "identities": {}, "clips": [], "over_time": {}, "gallery": []}
    report["protocols"] = {name: {"summary": summary, **empty} for name, summary in summaries.items()}
    return typed(report)


@pytest.mark.parametrize(
    "condition, failing",
    [
        ("l1 > 1.05 * baseline", ["b", "a"]),  # b in reconstruction, a in cross_identity_truth
        ("reconstruction.l1 > 1.05*baseline", ["b"]),
        ("l1 > 0.06", ["a", "b"]),  # exactly 0.06 is not more
        ("l1 >= 0.06", ["b", "a", "b"]),
        ("ssim < baseline", []),
        ("ssim <= baseline", ["b"]),
        ("l1 < 2 * .021", ["a"]),
        ("reconstruction.l1.missed > 2", ["a", "b"]),
        ("l1.frames < 1e1", []),
        ("l1 > -3", ["a", "b", "a", "b"]),
    ],
)
def test_conditions(condition: str, failing: list[str]) -> None:
    parsed = Condition.parse(condition)
    parsed.check(METRICS)
    assert [line.split(":")[0] for line in parsed.failures(small_report())] == failing
    assert (parsed.bound is None) == ("baseline" in condition)


def test_a_failed_gate_tells_its_numbers() -> None:
    (line,) = Condition.parse("reconstruction.l1 > 1.05*baseline").failures(small_report())
    assert line == (
        "b: reconstruction.l1 > 1.05*baseline (reconstruction.l1.pooled of b = 0.06, "
        "reconstruction.l1.pooled of base = 0.05)"
    )


@pytest.mark.parametrize("condition, said", [
    ("", "cannot be read"),
    ("l1 >", "cannot be read"),
    ("l1", "cannot be read"),
    ("0.1 < l1 < 0.2", "cannot be read"),
    ("l1 == 1", "cannot be read"),
    ("1.05 * baseline < l1", "cannot be read"),
    ("l1 > 1 and ssim < 1", "cannot be read"),
    ("l1 > __import__('os').system('true')", "cannot be read"),
    ("l1 > nan", "cannot be read"),
    ("l1 > 1e999", "write a smaller one"),
    ("l1 > 1e999 * baseline", "write a smaller one"),
    ("l1 > 0.5 * ssim", "cannot be read"),
    ("l1.pooled.real > 1", "no protocol is called 'l1'|is not .protocol..metric"),
    ("reconstruction.l1.median > 1", "is not .protocol..metric"),
    ("cross.l1 > 1", "no protocol is called 'cross'"),
    ("l1. > 1", "is not .protocol..metric"),
])  # fmt: skip
def test_nothing_else_is_a_condition(condition: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Condition.parse(condition)


@pytest.mark.parametrize("condition, said", [
    ("csim_arcface < 0.1", "cross_identity.csim_arcface.pooled of b"),
    ("head_pose > 1", "no protocol has head_pose"),
    ("cross_identity.l1 > 1", "no cross_identity.l1.pooled of a"),
])  # fmt: skip
def test_a_gate_without_its_numbers_is_not_passed(condition: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Condition.parse(condition).failures(small_report())


def test_a_gate_on_what_cannot_be_computed_says_why() -> None:
    rows = [NotComputed(metric="tof", reason="needs all frames", how="leave out --every")]
    with pytest.raises(InputError, match=r"tof cannot be computed here \(needs all frames\); leave out --every, or"):
        Condition.parse("tof > 1").check_computed(rows)
    Condition.parse("l1 > 1").check_computed(rows)


def test_unknown_names_are_told_before_anything_heavy_is_loaded() -> None:
    code = (
        "import sys, evaluate; from fomm.errors import InputError\n"
        "for condition in 'l2 > 1', 'cross.l1 > 1', 'l1 > baseline':\n"
        "    options = evaluate.parse(['--checkpoint', 'a', '--data', 'b', '--output', 'c', '--fail-if', condition])\n"
        "    try: evaluate.evaluate(options)\n"
        "    except InputError as error: print(error)\n"
        "assert not {'torch', 'cv2', 'mediapipe'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert [line.partition("; ")[0] for line in done.stdout.splitlines()] == [
        "--fail-if 'l2 > 1': no metric is called 'l2'",
        "--fail-if 'cross.l1 > 1': no protocol is called 'cross'",
        "--fail-if 'l1 > baseline': compares with a baseline",
    ]


def test_records_of_other_code_do_not_mix(tmp_path: Path) -> None:
    for package in ("model", "report"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "a.py").write_text("x = 1\n")
    before = hash_code(tmp_path)
    (tmp_path / "notes.txt").write_text("no code")
    assert hash_code(tmp_path) == before
    (tmp_path / "model" / "a.py").write_text("x = 2\n")
    changed = hash_code(tmp_path)
    (tmp_path / "model" / "a.py").rename(tmp_path / "model" / "b.py")
    assert len({before, changed, hash_code(tmp_path)}) == 3
    check_records(tmp_path / "records", {"versions": {"code of fomm": before}})
    with pytest.raises(InputError, match="versions differ"):
        check_records(tmp_path / "records", {"versions": {"code of fomm": changed}})
