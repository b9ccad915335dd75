"""Processes that are killed, stopped or run out of disk at any moment: what was there stays, what they began goes."""

from __future__ import annotations

import contextlib
import io
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import processes
import pytest
import torch
from pictures import ROOT
from small_clips import write_clips
from small_models import small_model

import train
from fomm.animator.credentials import sign
from fomm.checkpoint import export_original, save_weights
from fomm.checkpoint.save import write_torch
from fomm.errors import InputError
from fomm.evaluation.measuring import Record
from fomm.files import atomic_output
from fomm.manifest import Clip, write_manifest
from fomm.model.face import Edit, Recording
from fomm.model.face.recording import write_motion
from fomm.training.callbacks import WholeCheckpoints
from fomm.video import SYNTHETIC, VideoWriter

OLD, NEW = ({"step": step, "weights": torch.full((50_000,), float(step))} for step in (1, 2))


def killed(work: Callable[[], None], event: int, byte: int | None) -> bool:
    """Whether a process died that was to be killed in `work`: as it began its `event`-th call that Python audits, or
    from there on as soon as it wrote beyond this byte of a file."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # which kills
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        left = event

        def count(name: str, arguments: tuple) -> None:
            nonlocal left
            if name.split(".")[0] in ("open", "os", "shutil", "tempfile"):
                left -= 1
                if left == 0 and byte is None:
                    os.kill(os.getpid(), signal.SIGKILL)
                elif left == 0:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (byte, byte))

        try:
            sys.addaudithook(count)
            work()
            os._exit(0 if left > 0 else 3)
        finally:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) in (0, 3)
    return status != 0


def write_elsewhere(path: Path, *, then: str = "") -> subprocess.CompletedProcess:
    """Another process writes a file as everything here does."""
    code = (
        "import os, signal, sys; from pathlib import Path; from fomm.errors import run\n"
        "from fomm.files import atomic_output\n"
        "def main():\n"
        f"    with atomic_output(Path(sys.argv[1])) as part: part.write_text('whole'); {then}\n"
        "run(main)"
    )
    return subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, text=True)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder that is on another file system than the system's temporary one, where this machine has such."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK) or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system that can be written: mount one on /dev/shm")
    folder = shared / f"fomm-test-{os.getpid()}"
    folder.mkdir()
    yield folder
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


def test_a_kill_at_any_stage_of_a_save_leaves_a_checkpoint_that_loads(elsewhere: Path) -> None:
    point = elsewhere / "resume.ckpt"
    save = WholeCheckpoints().save_checkpoint
    save(OLD, point)
    size = point.stat().st_size
    seen, event = [], 1
    while any([killed(lambda: save(NEW, point), event, byte) for byte in (0, size // 2, size - 1, None)]):
        seen.append(torch.load(point, weights_only=True)["step"])
        event += 1
    assert seen == sorted(seen) and set(seen) == {1, 2}
    write_elsewhere(elsewhere / "other")
    assert sorted(os.listdir(elsewhere)) == ["other", "resume.ckpt"]


def test_a_full_disk_in_the_middle_of_a_training_keeps_the_checkpoint_and_is_one_line(tmp_path: Path) -> None:
    """The largest size of a file that the process may write stands for the disk's."""
    clips, output = write_clips(tmp_path / "clips"), tmp_path / "out"
    point = output / "train" / "version_0" / "checkpoints" / "last.ckpt"

    arguments = [
        "fit", "--config", str(ROOT / "tests" / "tiny.yaml"), "--data.manifest", str(clips), "--trainer.max_steps=2",
        "--trainer.logger.init_args.save_dir", str(output), "--trainer.logger.init_args.version=0",
    ]  # fmt: skip
    train.main(arguments)
    before = point.read_bytes()
    limit = len(before) // 2
    limited = (
        f"import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "sys.argv[0] = 'train.py'; runpy.run_path('train.py', run_name='__main__')"
    )
    second = processes.run(
        ["-c", limited, *arguments],
        cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    errors = [line for line in second.stderr.splitlines() if "error" in line.lower()]
    assert second.returncode == 2 and len(errors) == 1, second.stderr
    assert errors[0].startswith(f"error: {point.parent}") and "free some space" in errors[0]
    assert "Traceback" not in second.stderr
    assert point.read_bytes() == before
    assert not [name for name in os.listdir(point.parent) if "part" in name]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("no small disk can be mounted: there is no program mount")
    mounting = ["mount", "-t", "tmpfs", "-o", "size=16m", "none", str(folder)]
    done = subprocess.run(mounting, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted, which takes root's rights ({done.stderr.strip()})")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def write_frames(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (12, 96, 96, 3), np.uint8)
    with VideoWriter(path, fps=25) as writer:
        for frame in noise[:1] if path.suffix in (".png", ".jpg") else noise:
            writer.write(frame)


WRITTEN: dict[str, Callable[[Path], object]] = {
    "resume.ckpt": lambda path: WholeCheckpoints().save_checkpoint(OLD, path),
    "model.safetensors": lambda path: save_weights(path, small_model()),
    "model.pth.tar": lambda path: export_original(path, small_model()),
    "manifest.csv": lambda path: write_manifest(
        path, [Clip(f"{i}", f"{i}.mp4", "ann", "test", 4, Fraction(25), 64, 64) for i in range(1000)]
    ),
    "motion.json": lambda path: write_motion(
        path, Recording.of_edits([Edit(yaw=i % 20, mouth=i % 7 / 10, smile=i % 11 / 20) for i in range(500)], 25)
    ),
    "record.npz": lambda path: Record(
        2, {}, {"m": np.random.default_rng(0).random((2, 9000))}, {}, ["a"], [(64, 48)], {}
    ).save(path),
    **dict.fromkeys(("a.mp4", "a.mov", "a.webm", "a.gif", "a.png", "a.jpg", "frames"), write_frames),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_on_a_full_disk_what_was_there_stays_and_the_rest_is_one_line(small_disk: Path, name: str) -> None:
    path, filler = small_disk / name, small_disk / "filler"

    def content() -> dict[str, bytes]:
        return {str(file): file.read_bytes() for file in [path, *path.rglob("*")] if file.is_file()}

    WRITTEN[name](path)
    before = content()
    size = sum(map(len, before.values()))
    assert size > 20_000, "a page of memory is small beside it"
    filler.write_bytes(bytes(shutil.disk_usage(small_disk).free - size // 2))
    with pytest.raises(InputError, match="free some space") as told:
        WRITTEN[name](path)
    assert str(told.value).startswith(str(path)) and "\n" not in str(told.value)
    assert content() == before and sorted(os.listdir(small_disk)) == sorted([name, "filler"])
    filler.unlink()
    WRITTEN[name](path)
    assert content().keys() == before.keys()


@pytest.mark.parametrize("name", ["a.mp4", "a.jpg", "a.png"])
def test_a_full_disk_is_not_told_as_a_fault_of_the_certificate(small_disk: Path, name: str) -> None:
    path, about = small_disk / name, {"name": "face", "sha256": "cd" * 32}
    write_frames(path)
    before = path.read_bytes()
    (small_disk / "filler").write_bytes(bytes(shutil.disk_usage(small_disk).free - len(before) // 2))
    with pytest.raises(InputError, match=re.escape(f"{path}: cannot be written (No space left on device); free some")):
        sign(path, None, source_type=SYNTHETIC, inputs={}, checkpoint=about)
    assert path.read_bytes() == before and sorted(os.listdir(small_disk)) == sorted([name, "filler"])


# ------------------------------------------------------------------------------------------------------------- signals


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"])
def test_what_is_unfinished_goes_with_the_process_that_is_told_to_end(tmp_path: Path, name: str) -> None:
    done = write_elsewhere(tmp_path / "out" / "result", then=f"os.kill(os.getpid(), signal.{name})")
    assert done.returncode == 128 + getattr(signal, name)
    assert done.stderr == f"stopped by {name}: no unfinished file was left behind\n"
    assert not (tmp_path / "out").exists()


def test_a_hang_up_that_nohup_ignores_stays_ignored(tmp_path: Path) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        done = write_elsewhere(tmp_path / "result", then="os.kill(os.getpid(), signal.SIGHUP)")
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    assert done.returncode == 0 and os.listdir(tmp_path) == ["result"]


def test_what_a_killed_process_began_is_swept_and_what_others_are_writing_is_not(tmp_path: Path) -> None:
    done = write_elsewhere(tmp_path / "one", then="os.kill(os.getpid(), signal.SIGKILL)")
    (stale,) = os.listdir(tmp_path)
    assert done.returncode == -signal.SIGKILL and ".part" in stale
    old, strange = tmp_path / ".012345-1-89ab.part.mp4", tmp_path / ".012345-1-cdef.part.mp4"  # of another machine
    for path in (old, strange):
        path.write_text("begun")
    os.utime(old, (time.time() - 8 * 24 * 3600,) * 2)
    (tmp_path / ".my.part").write_text("not ours")
    with atomic_output(tmp_path / "two") as mine:
        mine.mkdir()
        assert write_elsewhere(tmp_path / "three").returncode == 0
        assert sorted(os.listdir(tmp_path)) == sorted([strange.name, mine.name, ".my.part", "three"])


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_stopped_training_says_so_in_its_exit_code(tmp_path: Path, name: str) -> None:
    clips = write_clips(tmp_path / "clips")
    process = processes.Popen(
        [
            "train.py", "fit", "--config", "tests/tiny.yaml", "--data.manifest", str(clips),
            "--trainer.logger.init_args.save_dir", str(tmp_path / "out"), "--trainer.max_steps=100000",
            "--resume_point.every_n_train_steps=1",
        ],
        cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 200
    while not (points := list(tmp_path.glob("out/**/resume.ckpt"))):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.1)
    process.send_signal(getattr(signal, name))
    said, complained = process.communicate(timeout=100)
    assert process.returncode == 128 + getattr(signal, name), complained
    last = complained.splitlines()[-1]
    assert last == f"stopped by {name}: no unfinished file was left behind"
    assert "Detected" not in said + complained and "Traceback" not in complained
    assert torch.load(points[0], weights_only=True)["global_step"] >= 1
    assert not [path for path in tmp_path.rglob("*") if ".part" in path.name]


def test_an_interrupt_within_a_save_stays_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's writer turns what its file raises into an error of its own."""

    class Interrupted(io.BytesIO):
        def write(self, data: Any) -> int:
            if self.tell() > 1000:
                raise KeyboardInterrupt
            return super().write(data)

    monkeypatch.setattr("fomm.checkpoint.save.atomic_stream", lambda path: contextlib.nullcontext(Interrupted()))
    with pytest.raises(KeyboardInterrupt):
        write_torch(tmp_path / "a.ckpt", {"weights": torch.zeros(10_000)})


# ------------------------------------------------------------------------------------------------- the standard streams


def test_output_that_nobody_takes_is_no_traceback(tmp_path: Path) -> None:
    told = f"""exec {sys.executable} -c 'from fomm.errors import run; run(lambda: print("done"))'"""
    info = f"exec {sys.executable} -u -m fomm info puppets"
    gone, pipe = os.pipe()
    os.close(gone)  # whoever read it
    full = "error: the standard output cannot be written (No space left on device)"
    for command, code, said in (
        (f"{told} >&{pipe}", 141, ""),
        (f"{info} >&{pipe}", 141, ""),
        (f"{told} > /dev/full", 2, full),
        (f"{info} > /dev/full", 2, full),  # in the middle of the work
        (f"{told} >&-", 0, ""),
        (f"{told} > /dev/null 2>&-", 0, ""),
        (f"{told} > /dev/null 2> /dev/full", 0, ""),
    ):
        done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, pass_fds=[pipe])
        assert done.returncode == code, (command, done.stderr)
        assert done.stderr.startswith(said) and done.stderr.count("\n") <= 1, (command, done.stderr)


def test_a_closed_stream_is_not_written_into_the_next_file(tmp_path: Path) -> None:
    """The system gives the number of a closed stream to the next file that is opened."""
    code = (
        "import os, sys; from fomm.errors import run\n"
        "def main():\n"
        "    with open('result', 'w') as file: os.write(2, b'a warning of some library'); file.write('whole')\n"
        "run(main)"
    )
    command = f'{sys.executable} -c "{code}" 2>&-'
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and (tmp_path / "result").read_text() == "whole"
