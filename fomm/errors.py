"""What a user did wrong, said in one line."""

from __future__ import annotations

import errno
import io
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NoReturn

SYSTEM_PACKAGES = "libgl1 and libglib2.0-0 (Debian, Ubuntu: apt-get install libgl1 libglib2.0-0)"
"""What OpenCV and MediaPipe need beside the wheels; bare containers lack it."""


OUT_OF_MEMORY = (
    "error: out of memory; close other programs, or use smaller pictures, a smaller model or fewer frames at once"
)
_NO_MEMORY = re.compile(
    "can't allocate memory|cannot allocate memory|out of memory|insufficient memory|failed to map segment|bad_alloc|"
    "unable to allocate", re.IGNORECASE
)  # fmt: skip


MAX_MESSAGE = 2000  # characters
MAX_FAULTS_SHOWN = 10


class InputError(Exception):
    """Bad input of the user's: the message names the value, the rule it breaks and what to do next.

    Entry scripts print it as one line and exit with code 2. Anything else that escapes is our bug
    and keeps its traceback. A message that quotes too much of a file is cut in its middle.
    """

    def __init__(self, message: str) -> None:
        if len(message) > MAX_MESSAGE:
            message = f"{message[: MAX_MESSAGE - 500]} [...] {message[-400:]}"
        super().__init__(message)


class MissingWeightsError(InputError):
    """Pretrained weights are not on this machine and could not be fetched.

    The message names the file, its addresses and where to put it.
    """


def require(holds: bool, message: str) -> None:
    """Raise `InputError(message)` unless the rule holds."""
    if not holds:
        raise InputError(message)


def require_at_least(**counts: tuple[int, int]) -> None:
    """Raise `InputError` for the first option whose number is below its least: `name=(number, least)`."""
    for name, (value, least) in counts.items():
        require(value >= least, f"--{name} {value}: must be at least {least}")


def first_line(error: Exception) -> str:
    """Of its message, shortened; the name of its kind where it says nothing."""
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__


def listed(faults: Sequence[str]) -> str:
    """The first faults in one line, and how many more there are."""
    more = f"; and {len(faults) - MAX_FAULTS_SHOWN} more" if len(faults) > MAX_FAULTS_SHOWN else ""
    return "; ".join(faults[:MAX_FAULTS_SHOWN]) + more


class Interrupted(KeyboardInterrupt):
    """A signal, `number`, that asks the process to end; what is unfinished goes on the way out, as after Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def run(main: Callable[[], object]) -> NoReturn:
    """Run an entry script's `main` and leave with the exit code that scripts rely on.

    0 success; 2 bad input, a missing system library, no memory left, a file that cannot be read or written, a stdout
    that takes nothing, W&B without a login (`error: ...` on stderr, no traceback); 128 + n ended by signal n, as
    shells count: 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP; 141 when whoever read the output has gone.
    """
    keep_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr: what a terminal cannot show is no error
    try:
        interrupt_on_signals()
        try:
            main()
        finally:  # a full or a closed stdout shows here at the latest
            sys.stdout.flush()
    except InputError as error:
        _leave(2, f"error: {' '.join(str(error).split())}")
    except ImportError as error:
        _leave_without(error)
    except KeyboardInterrupt as error:
        number = getattr(error, "number", signal.SIGINT)
        _leave(128 + number, f"stopped by {signal.Signals(number).name}: no unfinished file was left behind")
    except BrokenPipeError as error:
        _leave(128 + signal.SIGPIPE, f"stopped: {error.filename}: {error.strerror}" if error.filename else None)
    except OSError as error:
        if is_out_of_memory(error):
            _leave(2, OUT_OF_MEMORY)
        if error.filename is not None:
            _leave(2, f"error: {error.filename}: {error.strerror}; check this path, its permissions and the disk")
        if error.errno not in (errno.ENOSPC, errno.EBADF, errno.EIO):
            raise
        _leave(2, f"error: the standard output cannot be written ({error.strerror}); give it another place")
    except Exception as error:
        wandb = sys.modules.get("wandb.errors")  # whose own word it is for what a user or the network did
        if wandb is not None and isinstance(error, wandb.Error):
            said = " ".join(str(error).split()).rstrip(".")
            _leave(2, f"error: W&B: {said}; check login and network, or keep runs here with WANDB_MODE=offline")
        if not is_out_of_memory(error):
            raise
        _leave(2, OUT_OF_MEMORY)
    _leave(0)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it says that there was no memory left; every library says so in its own way."""
    return isinstance(error, MemoryError) or bool(_NO_MEMORY.search(str(error)))


def keep_streams() -> None:
    """Where a standard stream is closed, open it to nowhere: the next file would get its number, and with it all that
    is said on that stream."""
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            file = open(os.devnull, "r" if number == 0 else "w")  # noqa: SIM115 - for as long as the process lives
            if file.fileno() != number:
                os.dup2(file.fileno(), number)
            setattr(sys, name, file)


def interrupt_on_signals() -> None:
    """From now on, whatever asks this process to end raises `Interrupted` in its main thread, once.

    A hang-up that is ignored already (`nohup`) stays so, and under Slurm SIGUSR1 is the scheduler's word to Lightning.
    """
    numbers = {signal.SIGINT, signal.SIGTERM}
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.add(signal.SIGHUP)
    if hasattr(signal, "SIGUSR1") and "SLURM_JOB_ID" not in os.environ:
        numbers.add(signal.SIGUSR1)

    def stop(number: int, _: object) -> NoReturn:
        for other in numbers:  # one more must not cut short the removal of unfinished files
            signal.signal(other, signal.SIG_IGN)
        raise Interrupted(number)

    for number in numbers:
        signal.signal(number, stop)


def require_system_libraries() -> None:
    """As `run` for a missing system library, for scripts that import OpenCV at their top: call it before that."""
    keep_streams()
    try:
        import cv2  # noqa: F401
    except ImportError as error:
        _leave_without(error)


def _leave_without(error: ImportError) -> NoReturn:
    if is_out_of_memory(error):
        _leave(2, OUT_OF_MEMORY)
    if ".so" not in str(error):
        raise error
    _leave(2, f"error: a system library is missing ({error}); install {SYSTEM_PACKAGES}")


def _leave(code: int, message: str | None = None) -> NoReturn:
    """Say why, where anybody can hear it; nothing is left for Python to write when it ends."""
    with suppress(OSError):
        if message is not None:
            print(message, file=sys.stderr, flush=True)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(code)
