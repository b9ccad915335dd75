"""Processes that are forked for tests are as those that are started: what a program sees, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import processes
import pytest
from pictures import ROOT

FACTS = """
import json, os, signal, sys
main = sys.modules["__main__"]
streams = [sys.stdin, sys.stdout, sys.stderr]
numbers = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
print(json.dumps({
    "argv": sys.argv, "orig_argv": sys.orig_argv, "path": sys.path, "flags": str(sys.flags), "program": sys.executable,
    "main": sorted(vars(main).keys() - {"__annotations__"}), "file": getattr(main, "__file__", None), "name": __name__,
    "spec": str(main.__spec__ and main.__spec__.name), "folder": os.getcwd(), "environment": dict(os.environ),
    "streams": [[s.encoding, s.errors, s.line_buffering, s.isatty(), s.fileno(), s.name, s.mode] for s in streams],
    "input": sys.stdin.read(), "parent": os.getppid(), "session": os.getsid(0) == os.getpid(),
    "files": len(os.listdir("/proc/self/fd")),
    "signals": {int(n): str(signal.getsignal(n)) for n in numbers}, "threads": len(os.listdir("/proc/self/task")),
}))
"""
SPAWNS = """
import multiprocessing, sys
def double(x): return 2 * x
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool: print(pool.map(double, [21]), sys.argv[1:])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not processes.sensible():
        pytest.skip("nothing is forked here")
    folder = tmp_path_factory.mktemp("programs")
    (folder / "facts.py").write_text(FACTS)
    (folder / "spawns.py").write_text(SPAWNS)
    (folder / "package").mkdir()
    (folder / "package" / "__init__.py").touch()
    (folder / "package" / "__main__.py").write_text(FACTS)
    return folder


@pytest.fixture(scope="module")
def environment(folder: Path) -> dict[str, str]:
    """Of a process that forks for these tests alone, and so has no library loaded: ends are cheap."""
    return {**os.environ, "TORCH_HOME": str(folder)}


@pytest.mark.parametrize("words", [["-c", FACTS, "a"], ["facts.py", "--a", "b"], ["-m", "package", "a"]])
def test_a_program_sees_the_same(folder: Path, environment: dict[str, str], words: list[str]) -> None:
    (folder / "input").write_text("said to it")
    environment = {**environment, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "TMPDIR": str(folder)}
    told = []
    for run in (processes.run, lambda words, **how: subprocess.run([sys.executable, *words], **how)):
        with open(folder / "input") as stdin:
            done = run(
                words, stdin=stdin, capture_output=True, text=True, cwd=folder, env=environment, start_new_session=True
            )
        assert done.returncode == 0 and done.stderr == ""
        told.append(json.loads(done.stdout))
    assert told[0] == told[1]
    assert told[0]["parent"] == os.getpid() and told[0]["threads"] == 1


@pytest.mark.parametrize(
    ("code", "exit_code", "said"),
    [
        ("import sys; sys.exit(3)", 3, ""),
        ("import sys; sys.exit('words')", 1, "words\n"),
        ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGINT)", -signal.SIGINT, "KeyboardInterrupt\n"),
        ("import os; os.abort()", -signal.SIGABRT, ""),
        ("import atexit, sys; atexit.register(print, 'bye', file=sys.stderr)", 0, "bye\n"),
        ("import threading as t, sys; t.Timer(0.1, lambda: sys.stderr.write('late')).start()", 0, "late"),
        ("import tempfile; raise SystemExit(tempfile.gettempdir() != tempfile._get_default_tempdir())", 0, ""),
    ],
)
def test_a_program_ends_in_the_same_way(environment: dict[str, str], code: str, exit_code: int, said: str) -> None:
    done = processes.run(["-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == exit_code and done.stderr.endswith(said)
    quiet = {"env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    assert processes.run(["-c", code], **quiet).returncode == exit_code
    assert processes.run(["-c", code], forked=False, **quiet).returncode == exit_code


def test_it_can_be_killed_and_waited_for(environment: dict[str, str]) -> None:
    code = "print('here', flush=True); import time; time.sleep(100)"
    process = processes.Popen(["-c", code], env=environment, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"here\n" and process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.kill()
    assert process.wait(60) == -signal.SIGKILL
    process.stdout.close()
    before = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        processes.run(["-c", "import time; time.sleep(100)"], env=environment, timeout=0.2)
    assert time.monotonic() - before < 60


def test_what_it_spawns_finds_its_functions(folder: Path, environment: dict[str, str]) -> None:
    done = processes.run(["spawns.py", "x"], env=environment, capture_output=True, text=True, cwd=folder)
    assert (done.stdout, done.stderr) == ("[42] ['x']\n", "")
