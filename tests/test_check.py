"""`check`: each kind of fault is found, all are told together, and the summary says what is in the data set."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from pictures import ROOT

from fomm.errors import InputError
from fomm.manifest import Clip, hash_clip, read_manifest, write_manifest
from fomm.video import VideoWriter, read_image
from preprocess.dataset.check import check, crop_sides, spread
from preprocess.synthetic.puppets import draw, random_identity, random_motion

SIZE, FRAMES = 96, 6


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four puppets, one clip each, as mp4; the last one as PNG frames."""
    root = tmp_path_factory.mktemp("data")
    clips = []
    for person, split in enumerate(("train", "train", "val", "test")):
        path = f"clips/{person}" + (".mp4" if person < 3 else "")
        with VideoWriter(root / path, fps=25, threads=1) as writer:
            for pose in random_motion(person, FRAMES):
                writer.write(draw(random_identity(person), pose, SIZE).image)
        clips.append(
            Clip(f"c{person}", path, f"id{person}", split, FRAMES, Fraction(25), SIZE, SIZE,
                 crop_box=f"0-0-{100 + person}-{120 + person}", sha256=hash_clip(root / path))
        )  # fmt: skip
    write_manifest(root / "manifest.csv", clips)
    return root


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(made, tmp_path / "data"))


def faults_of(data: Path, capsys: pytest.CaptureFixture) -> list[str]:
    with pytest.raises(InputError) as error:
        check(str(data / "manifest.csv"))
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("fault: ")]
    assert f"{len(lines)} fault(s)" in str(error.value)
    return lines


def change(data: Path, number: int, **values: object) -> None:
    clips = read_manifest(data / "manifest.csv")
    clips[number] = replace(clips[number], **values)
    write_manifest(data / "manifest.csv", clips)


def test_a_whole_data_set(data: Path, capsys: pytest.CaptureFixture) -> None:
    path = check(str(data / "manifest.csv"))
    said = capsys.readouterr().out
    assert path == data / "check" / "summary.md"
    assert "| train | 2 | 2 | 12 | 0.00 |" in said and "| all | 4 | 4 | 24 | 0.00 |" in said
    assert "length: 6 to 6, median 6 frames; size: 96x96 (4)" in said
    assert "side of the crop in its video: 120 to 123, median 122 px" in said
    assert "4 of 4 clips have a hash" in said and "faults: 0" in said
    assert "face in 4 of 4 sampled frames" in said
    assert read_image(data / "check" / "contact_sheet.jpg").shape == (160, 4 * 128, 3)
    assert min(read_image(data / "check" / "histograms.png").shape[:2]) > 300
    text = path.read_text()
    assert "](contact_sheet.jpg)" in text and "](histograms.png)" in text


def test_all_faults_are_told_together(data: Path, capsys: pytest.CaptureFixture) -> None:
    (data / "clips/0.mp4").unlink()
    (data / "clips/1.mp4").write_bytes(b"no video")
    change(data, 2, frames=7, width=64)
    change(data, 3, identity="id0")
    faults = faults_of(data, capsys)
    assert any("c0: clips/0.mp4 is not there" in fault for fault in faults)
    assert any("c1: " in fault and "cannot be read as a video" in fault for fault in faults)
    assert any("c2: clips/2.mp4 is 96x96, its row says 64x96" in fault for fault in faults)
    assert any("c2: clips/2.mp4 has 6 frames, its row says 7" in fault for fault in faults)
    assert any("identity id0: is in 2 splits: train (c0), test (c3)" in fault for fault in faults)
    assert len(faults) == 5
    assert "- faults: 5" in (data / "check" / "summary.md").read_text()


def test_frames_are_counted_by_decoding(data: Path, capsys: pytest.CaptureFixture) -> None:
    """A file cut off: its header still promises all frames."""
    path = data / "clips/1.mp4"
    content = path.read_bytes()
    path.write_bytes(content[: int(0.8 * len(content))])
    faults = faults_of(data, capsys)
    assert any("frames could be read" in fault or "frames, its row says 6" in fault for fault in faults)
    assert any("is not the file that was listed (sha256 differs)" in fault for fault in faults)


def test_a_changed_frame_is_noticed(data: Path, capsys: pytest.CaptureFixture) -> None:
    frame = sorted((data / "clips/3").glob("*.png"))[2]
    shutil.copy(sorted((data / "clips/3").glob("*.png"))[0], frame)
    (fault,) = faults_of(data, capsys)
    assert "c3: clips/3 is not the file that was listed (sha256 differs)" in fault


def test_one_file_in_two_rows_or_splits(data: Path, capsys: pytest.CaptureFixture) -> None:
    shutil.copy(data / "clips/0.mp4", data / "clips/2.mp4")
    change(data, 2, sha256=hash_clip(data / "clips/0.mp4"))
    change(data, 1, path="clips/0.mp4", sha256="")
    faults = faults_of(data, capsys)
    assert any("c2 (val): is the same file as c0 (train)" in fault for fault in faults)
    assert any("c1: has the file of c0, clips/0.mp4" in fault for fault in faults)


def test_faulty_rows_are_faults_and_links_do_not_leave_the_folder(data: Path, capsys: pytest.CaptureFixture) -> None:
    outside = data.parent / "outside.mp4"
    (data / "clips/0.mp4").rename(outside)
    os.symlink(outside, data / "clips/0.mp4")
    text = (data / "manifest.csv").read_text().replace("clips/1.mp4", "../1.mp4")
    (data / "manifest.csv").write_text(text)
    faults = faults_of(data, capsys)
    assert any("c0: clips/0.mp4 is a link out of the manifest's folder" in fault for fault in faults)
    assert any("line 3" in fault and "must stay inside" in fault for fault in faults)


def test_no_manifest_and_none_in_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such manifest"):
        check(str(tmp_path / "manifest.csv"))
    write_manifest(tmp_path / "manifest.csv", [])
    with pytest.raises(InputError, match="lists no clip"):
        check(str(tmp_path / "manifest.csv"))


def test_samples_are_spread_over_splits_and_identities(made: Path) -> None:
    clip = read_manifest(made / "manifest.csv")[0]
    clips = [replace(clip, clip_id=str(k), identity=f"i{k % 10}", split="test" if k % 10 > 7 else "train")
             for k in range(100)]  # fmt: skip
    few = spread(clips, 11)
    assert len(few) == 11 and {clip.split for clip in few} == {"train", "test"}
    assert len({clip.identity for clip in few}) == 10
    assert spread(clips[:3], 11) == clips[:3]
    assert crop_sides([replace(clip, crop_box=""), replace(clip, crop_box="5-5-25-15")]) == [20]


def test_the_command_exits_with_2_and_one_line_for_each_fault(data: Path) -> None:
    (data / "clips/0.mp4").unlink()
    command = [sys.executable, "-m", "preprocess", "check", str(data / "manifest.csv"), "--output", str(data / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "fault: c0: clips/0.mp4 is not there"
    assert done.stderr.splitlines()[-1].startswith("error: ") and "Traceback" not in done.stderr
    assert "| all | 4 |" in done.stdout and (data / "out" / "contact_sheet.jpg").is_file()
    assert np.asarray(read_image(data / "out" / "contact_sheet.jpg")).shape[1] == 3 * 128
