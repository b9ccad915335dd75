"""Raw videos -> dataset -> train -> infer -> evaluate: each command reads what the one before wrote."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import processes
import pytest
import torch
from pictures import ROOT

from fomm.checkpoint import load_model
from fomm.manifest import read_manifest
from fomm.video import VideoReader

TINY = ROOT / "tests" / "tiny.yaml"


def command(*arguments: object, forked: bool = True) -> subprocess.CompletedProcess:
    return processes.run(
        list(map(str, arguments)),
        forked=forked,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def done(result: subprocess.CompletedProcess) -> str:
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three raw videos of two people each."""
    root = tmp_path_factory.mktemp("raw")
    size = ("--width", 480, "--height", 270)
    done(command("-m", "preprocess", "scenes", "--output", root / "scenes", "--scenes", 3, "--frames", 30, *size))
    return root / "scenes" / "videos"


def test_from_raw_videos_to_a_report(videos: Path, tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    said = done(command("-m", "preprocess", "dataset", "--videos", videos, "--output", clips, "--workers", 1,
                        "--size", 64, "--min_frames", 8))  # fmt: skip
    assert "manifest.csv" in said
    rows = read_manifest(clips / "manifest.csv")
    assert {row.split for row in rows} == {"train", "val", "test"}

    done(command("train.py", "fit", "--config", TINY, "--data", clips / "manifest.csv",
                 "--trainer.logger.init_args.save_dir", tmp_path / "runs"))  # fmt: skip
    (weights,) = (tmp_path / "runs").rglob("weights-last.safetensors")
    model, info = load_model(str(weights))
    assert all(torch.isfinite(value).all() for value in model.state_dict().values()) and info.image_size == 32

    driving = clips / next(row.path for row in rows if row.split == "test")
    result = tmp_path / "result.mp4"
    done(command("infer.py", "--checkpoint", weights, "--source", ROOT / "fomm/assets/portrait.png",
                 "--driving", driving, "--output", result))  # fmt: skip
    # at the ends of so small and blurred a clip the face may not be found
    assert 0 <= sum(1 for _ in VideoReader(driving)) - sum(1 for _ in VideoReader(result)) <= 5

    report = tmp_path / "report"
    done(command("evaluate.py", "--checkpoint", weights, "--baseline", "source", "--data", clips / "manifest.csv",
                 "--output", report, "--every", 3, forked=False))  # fmt: skip
    written = json.loads((report / "report.json").read_text())
    assert written["schema"] == "fomm-report/1" and (report / "report.html").stat().st_size > 0
    assert written["data"]["clips"] == sum(row.split == "test" for row in rows)
    l1 = written["protocols"]["reconstruction"]["summary"]["l1"]
    assert len(l1) == 2 and all(0 < model["pooled"] < 1 for model in l1.values())
