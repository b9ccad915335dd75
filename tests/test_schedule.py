"""Data preparation by real processes: dying workers, a cluster over TCP, kills, a full disk; always the same result."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from fomm.manifest import read_manifest
from fomm.video import VideoWriter
from preprocess.synthetic.puppets import draw_clip, framing, random_identity, random_motion

ROOT = Path(__file__).resolve().parent.parent
FRAMES, GOOD = 16, 5
OPTIONS = ["--size", "128", "--min_frames", "8"]

# What a crashing decoder does to a process; loaded by every Python that has this folder in PYTHONPATH.
CRASHES = """
import os, signal, sys
if any("dask" in part or "multiprocessing" in part or part == "-c" for part in sys.orig_argv):
    from fomm.video import VideoReader
    before = VideoReader.__init__
    def crash(self, path, **options):
        if "killer" in str(path):
            with open(os.environ["DEATHS"], "a") as file:
                file.write("x")
            os.kill(os.getpid(), signal.SIGSEGV)
        before(self, path, **options)
    VideoReader.__init__ = crash
"""


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five puppets, one of them in a sub-folder and one there twice, a text, an empty file, and a deadly one."""
    folder = tmp_path_factory.mktemp("prepare") / "videos"
    for seed in range(GOOD):
        person, motion = random_identity(seed), random_motion(seed + 10, FRAMES)
        name = "anna/talk.mp4" if seed == 0 else f"p{seed}.mp4"
        with VideoWriter(folder / name, fps=25) as writer:
            for drawing in draw_clip(person, motion, 160, framing(person, motion, scale=1.6)):
                writer.write(drawing.image)
    (folder / "text.mp4").write_text("hello")
    (folder / "empty.mp4").write_text("")
    for copy in ("killer", "z_again"):
        (folder / f"{copy}.mp4").write_bytes((folder / "p1.mp4").read_bytes())
    return folder


@pytest.fixture(scope="module")
def environment(videos: Path) -> dict[str, str]:
    site = videos.parent / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(CRASHES)
    return {
        **os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{site}{os.pathsep}{ROOT}",
        "DEATHS": str(videos.parent / "deaths"),
    }  # fmt: skip


def command(videos: Path, output: Path, *options: str) -> list[str]:
    paths = ["--videos", str(videos), "--output", str(output)]
    return [sys.executable, "-m", "preprocess", "dataset", *paths, *OPTIONS, *options]


def run(videos: Path, output: Path, environment: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(videos, output, *options), env=environment, cwd=ROOT, capture_output=True, text=True, timeout=200
    )


@pytest.fixture(scope="module")
def local(videos: Path, environment: dict[str, str]) -> Path:
    """The data set, made by two processes of this machine."""
    output = videos.parent / "local"
    done = run(videos, output, environment, "--workers", "2")
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[0].startswith(f"wrote {output}/manifest.csv: {GOOD} clips") and said[1].startswith("identities asked")
    assert len(said) == 2
    return output


def result(output: Path) -> dict[str, bytes]:
    files = [output / "manifest.csv", output / "rejects.csv", *sorted((output / "clips").rglob("*"))]
    return {file.relative_to(output).as_posix(): file.read_bytes() for file in files}


def leftovers(output: Path) -> list[str]:
    return [path.name for path in output.rglob(".*") if path.name != ".lock"]


def test_bad_videos_cost_only_themselves(local: Path, environment: dict[str, str]) -> None:
    clips = read_manifest(local / "manifest.csv")
    assert [clip.clip_id for clip in clips] == [
        "anna#talk#000000#000016",
        *(f"p{n}#000000#000016" for n in range(1, GOOD)),
    ]
    assert clips[0].identity == "anna" and clips[0].source_video == "anna/talk.mp4"
    rejects = [line.split(",")[0::3][:2] for line in (local / "rejects.csv").read_text().splitlines()[1:]]
    assert rejects == [
        ["empty.mp4", "unreadable"], ["killer.mp4", "crashed"], ["text.mp4", "unreadable"],
        ["z_again.mp4", "duplicate"],
    ]  # fmt: skip
    assert Path(environment["DEATHS"]).read_text() == "xx", "it is tried again, once"
    assert leftovers(local) == []


def test_a_finished_run_writes_nothing_again(local: Path, videos: Path, environment: dict[str, str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in (local / "clips").iterdir()}
    manifest = (local / "manifest.csv").read_bytes()
    assert run(videos, local, environment).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in (local / "clips").iterdir()} == before
    assert (local / "manifest.csv").read_bytes() == manifest


def test_a_lost_or_replaced_file_is_made_again(local: Path, videos: Path, environment: dict[str, str]) -> None:
    before = result(local)
    (local / "clips" / "p2#000000#000016.mp4").write_bytes(b"cut off")
    (local / "records" / "p3.json").write_text("{")
    assert run(videos, local, environment, "--workers", "1").returncode == 0
    assert result(local) == before


@pytest.fixture(scope="module")
def harmless(videos: Path) -> Path:
    """The videos without the deadly one, as links."""
    folder = videos.parent / "harmless"
    for file in videos.rglob("*.mp4"):
        if file.stem != "killer":
            (folder / file.relative_to(videos)).parent.mkdir(parents=True, exist_ok=True)
            (folder / file.relative_to(videos)).symlink_to(file)
    return folder


@pytest.fixture(scope="module")
def expected(local: Path) -> dict[str, bytes]:
    """What is to come of them."""
    files = result(local)
    lines = files["rejects.csv"].splitlines(True)
    return files | {"rejects.csv": b"".join(line for line in lines if not line.startswith(b"killer"))}


def test_killed_and_started_again(
    expected: dict[str, bytes], harmless: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    process = subprocess.Popen(
        command(harmless, output, "--workers", "1"), env=environment, cwd=ROOT, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for(lambda: len(list((output / "records").glob("*.json"))) >= 2, process)
    os.killpg(process.pid, signal.SIGKILL)  # the workers with it
    process.wait()
    assert not (output / "manifest.csv").exists()
    finished = {path: path.stat().st_mtime_ns for path in (output / "clips").iterdir() if path.name[0] != "."}
    (output / "clips" / ".012345-1-89ab.part.mp4").write_text("half a clip")
    again = run(harmless, output, environment, "--workers", "1")
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert result(output) == expected and leftovers(output) == []


def test_ctrl_c_is_one_line_and_leaves_no_process(videos: Path, environment: dict[str, str], tmp_path: Path) -> None:
    """A terminal sends it to all processes of the command; the workers leave the answer to the first one."""
    output = tmp_path / "out"
    process = subprocess.Popen(
        command(videos, output, "--workers", "1", "--detector", "none"), env=environment, cwd=ROOT,
        start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for(lambda: any(output.glob("records/*.json")), process)
    os.killpg(process.pid, signal.SIGINT)
    said, complained = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "")
    assert complained == "stopped by SIGINT: no unfinished file was left behind\n"
    assert leftovers(output) == [] and not (output / "manifest.csv").exists()
    end = time.monotonic() + 20  # the last ones notice that the first one is gone
    while left := living(process.pid):
        assert time.monotonic() < end, left
        time.sleep(0.1)


def living(session: int) -> list[str]:
    """What runs in a session; the dead that no one has buried yet do not count."""
    found = []
    for process in psutil.process_iter(["status", "cmdline"]):
        with suppress(ProcessLookupError, PermissionError):
            if os.getsid(process.pid) == session and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.info["cmdline"] or ["?"]))
    return found


def wait_for(condition, process: subprocess.Popen) -> None:
    end = time.monotonic() + 100
    while not condition():
        assert process.poll() is None and time.monotonic() < end, "it ended too early, or not at all"
        time.sleep(0.1)


@pytest.fixture
def cluster(environment: dict[str, str], tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen]]]:
    """A Dask scheduler and two workers, each a process of its own, over TCP."""
    processes = []

    def start(*arguments: str) -> subprocess.Popen:
        log = open(tmp_path / f"log{len(processes)}", "w")
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "dask", *arguments], env=environment, stdout=log, stderr=log, cwd=tmp_path
            )
        )
        return processes[-1]

    where = tmp_path / "scheduler.json"
    start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(where))
    wait_for(where.exists, processes[0])
    import json

    address = json.loads(where.read_text())["address"]
    workers = [start("worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard") for _ in range(2)]
    yield address, workers
    for process in processes:
        process.kill()
        process.wait()


def test_a_cluster_that_loses_a_worker_makes_the_same_bytes(
    expected: dict[str, bytes], harmless: Path, environment: dict[str, str], cluster, tmp_path: Path
) -> None:
    """A worker is killed while it is at a video."""
    address, workers = cluster
    output = tmp_path / "out"
    process = subprocess.Popen(
        command(harmless, output, "--scheduler", address), env=environment, cwd=ROOT, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for(lambda: len(list((output / "records").glob("*.begun"))) >= 1, process)
    workers[0].kill()
    said, complained = process.communicate(timeout=120)
    assert process.returncode == 0, complained
    assert result(output) == expected and leftovers(output) == []


def test_no_scheduler_is_one_line(videos: Path, environment: dict[str, str], tmp_path: Path) -> None:
    done = run(videos, tmp_path / "out", environment, "--scheduler", "tcp://127.0.0.1:9")
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: --scheduler tcp://127.0.0.1:9: no Dask scheduler answers")


@pytest.mark.parametrize("form", ["mp4", "png"])
def test_a_full_disk_stops_the_run(videos: Path, environment: dict[str, str], tmp_path: Path, form: str) -> None:
    """A limit on the size of files stands in for it. No video is blamed: with more space the run goes on."""
    whole = command(videos, tmp_path / "out", "--workers", "1", "--detector", "none", "--format", form)
    limited = ["bash", "-c", 'ulimit -f 4; exec "$@"', "-", *whole]
    done = subprocess.run(limited, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 2, done.stderr
    assert "cannot be written" in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr
    assert not (tmp_path / "out" / "rejects.csv").exists() and leftovers(tmp_path / "out") == []
