"""Python programs as processes of their own, without the seconds in which each imports torch and the like.

`Popen` and `run` are those of `subprocess` for what follows `python` on a command line: `script.py ...`, `-m module
...`, `-c code ...`. A process beside the tests has imported the libraries (never the code of this project) and has run
nothing, not even a thread; it forks for each program. What comes is a child of the tests: its exit code, signals,
streams, folder and environment are real. But it sees no `sitecustomize` of another folder, and no library is loaded
anew: for each value of the variables that matter then there is a process of its own that forks. And at its end exit
functions run and threads are waited for, but objects that still live are not taken apart. Where the start itself is the
matter (what is imported, what `--help` takes, an installation), say `forked=False`.

Where forking is not sensible (other systems than Linux, CUDA), or $FOMM_TEST_REAL_STARTS is set, each program is
started in earnest.
"""

from __future__ import annotations

import atexit
import ctypes
import importlib
import inspect
import json
import multiprocessing.process
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import threading
import time
import types
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

LOADED = ("OMP_", "MKL_", "KMP_", "LD_", "CUDA_", "TORCH_", "PYTORCH_", "PYTHON")  # variables that loading looks at
PICTURES = ["numpy", "cv2", "av", "torch", "mediapipe", "safetensors.torch", "jsonargparse", "requests", "c2pa"]
TRAINING = [*PICTURES, "pytorch_lightning.cli", "torchmetrics.image", "tensorboard.compat.proto.summary_pb2"]
# Not Gradio, which reads the environment as it is loaded, nor onnxruntime, which starts a thread then.
PAGE = [*PICTURES, "pandas", "fastapi", "uvicorn", "httpx", "huggingface_hub", "pydantic", "PIL.Image"]
NEEDS = {
    **{"infer.py": PICTURES, "-m fomm": PICTURES, "train.py": TRAINING},
    **{"evaluate.py": [*TRAINING, "jinja2", "pydantic"], "app.py": PAGE},
}
# our and its ends for stdin, stdout, stderr, as Popen calls them; -1 where it has what we have
PIPES = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
PR_SET_CHILD_SUBREAPER = 36


def sensible() -> bool:
    """Whether processes are forked here."""
    import torch

    real = os.environ.get("FOMM_TEST_REAL_STARTS") or torch.cuda.is_available()  # CUDA does not live through a fork
    return sys.platform == "linux" and not real


class Popen(subprocess.Popen):
    """`subprocess.Popen([sys.executable, *arguments], ...)`, forked unless that is not wanted.

    Options: cwd, env, stdin, stdout, stderr, text, start_new_session.
    """

    def __init__(self, arguments: list[str], *, forked: bool = True, **options: Any) -> None:
        self._forks = forked and sensible()
        super().__init__([sys.executable, *arguments], **options)

    def _execute_child(self, *given: Any) -> None:
        """The one step of Popen in which a process begins. It is not public: what it is given is looked up by name,
        since newer versions of Python give more."""
        if not self._forks:
            return super()._execute_child(*given)
        told = inspect.signature(super()._execute_child).bind(*given).arguments
        pipes = [told[name] for name in PIPES]
        ends = [own if end == -1 else end for own, end in enumerate((pipes[0], pipes[3], pipes[5]))]
        environment = {**(os.environ if told["env"] is None else told["env"])}
        wanted = {
            "arguments": told["args"][1:],
            "folder": os.path.abspath(told["cwd"] or "."),
            "environment": environment,
            "session": told["start_new_session"],
        }
        try:
            self.pid = Forks.of(environment).begin(wanted, ends)
            self._child_created = True
        finally:
            self._close_pipe_fds(*pipes)


def run(
    arguments: list[str], *, capture_output: bool = False, timeout: float | None = None, **options: Any
) -> subprocess.CompletedProcess:
    """`subprocess.run([sys.executable, *arguments], ...)`; further options: those of `Popen`."""
    if capture_output:
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Popen(arguments, **options) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


class Forks:
    """The process that forks, seen from the tests."""

    known: dict[tuple, Forks] = {}
    lock = threading.Lock()

    def __init__(self, environment: dict[str, str]) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())], env=environment, pass_fds=[theirs.fileno()], cwd="/",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,  # in which no program that takes its place seeks
        )  # fmt: skip
        theirs.close()
        atexit.register(self.end)

    @classmethod
    def of(cls, environment: dict[str, str]) -> Forks:
        """The one that was loaded in such an environment; PYTHONPATH is set for each program."""
        read = {k: v for k, v in environment.items() if k.startswith(LOADED) and k != "PYTHONPATH"}
        key = os.getpid(), *sorted(read.items())
        with cls.lock:
            if key not in cls.known or cls.known[key]._process.poll() is not None:
                cls.known[key] = cls({k: v for k, v in environment.items() if k != "PYTHONPATH"})
        return cls.known[key]

    def begin(self, wanted: dict[str, Any], ends: list[int]) -> int:
        """The number of the new process; it is a child of ours, so we can wait for it."""
        with self.lock:
            adopting(True)  # whose parent ends at once becomes our child
            try:
                socket.send_fds(self._socket, [json.dumps(wanted).encode()], ends)
                said = self._socket.recv(1 << 16)
            finally:
                adopting(False)
        assert said, "the process that forks has ended"
        return int(said)

    def end(self) -> None:
        self._socket.close()
        self._process.communicate()


def adopting(yes: bool) -> None:
    """Whether orphans among our descendants become children of ours."""
    assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(yes), 0, 0, 0) == 0


# ------------------------------------------------------------------------------------------ in the process that forks


def serve(connection: socket.socket) -> dict[str, Any]:
    """Fork for each program that is asked for. Returns in the new processes: what to be."""
    while True:
        asked, ends, _, _ = socket.recv_fds(connection, 1 << 20, 3)
        if not asked:
            os._exit(0)  # the tests have ended
        wanted = json.loads(asked)
        program = " ".join(wanted["arguments"][:2])  # a script, -m and a module, or -c and what may name a script
        load([library for name, needs in NEEDS.items() if name in program for library in needs])
        told, tell = os.pipe()
        between = os.fork()
        if between == 0:
            parent = os.getpid()
            child = os.fork()
            if child != 0:
                os.write(tell, str(child).encode())
                os._exit(0)
            connection.close()
            os.closerange(min(told, tell), max(told, tell) + 1)
            while os.getppid() == parent:  # it ends in a moment
                time.sleep(0.0005)
            return wanted | {"ends": ends}
        os.waitpid(between, 0)
        connection.send(os.read(told, 100))
        for file in (told, tell, *ends):
            os.close(file)


def load(names: list[str]) -> None:
    """Import these, as far as they are installed; who misses one says so itself."""
    for name in names:
        with suppress(ImportError):
            importlib.import_module(name)


def become(wanted: dict[str, Any]) -> None:
    """Take the place of a process that was started for these arguments."""
    if wanted["session"]:
        os.setsid()
    for number, end in enumerate(wanted["ends"]):
        os.dup2(end, number)
        os.close(end)
    os.chdir(wanted["folder"])
    os.environ.clear()
    os.environ.update(wanted["environment"])
    tempfile.tempdir = None
    multiprocessing.process.ORIGINAL_DIR = wanted["folder"]  # from where `spawn` finds a script
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    sys.stdout.reconfigure(line_buffering=sys.stdout.isatty())
    sys.orig_argv = [sys.executable, *wanted["arguments"]]


def execute(arguments: list[str]) -> None:
    """What the interpreter does with its command line."""
    first, *others = arguments
    places = [os.path.abspath(place) for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    here = {"-c": "", "-m": os.getcwd()}.get(first, os.path.dirname(os.path.abspath(first)))
    sys.path[:] = [here, *dict.fromkeys(places), *sys.path]
    if first == "-m":
        sys.argv[:] = others
        runpy.run_module(others[0], run_name="__main__", alter_sys=True)
        return
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    main.__annotations__ = {}
    if first == "-c":
        sys.argv[:] = ["-c", *others[1:]]
        code = compile(others[0], "<string>", "exec")
    else:
        sys.argv[:] = arguments
        main.__file__, main.__cached__ = os.path.abspath(first), None
        code = compile(Path(first).read_bytes(), first, "exec", dont_inherit=True)
    exec(code, vars(main))


def end(code: int) -> NoReturn:
    """What the interpreter does at its end, but for taking all objects apart, which with torch takes a second."""
    threading._shutdown()
    atexit._run_exitfuncs()
    with suppress(OSError):  # what cannot be written is told by the interpreter
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    sys.path.pop(0)  # this folder
    wanted = serve(socket.socket(fileno=int(sys.argv[1])))
    become(wanted)
    try:
        execute(wanted["arguments"])
    except SystemExit as leaving:
        if not isinstance(leaving.code, int | None):
            raise
        end(leaving.code or 0)
    end(0)
