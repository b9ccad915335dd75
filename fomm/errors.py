"""What a user did wrong, said in one line."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import NoReturn

SYSTEM_PACKAGES = "libgl1 and libglib2.0-0 (Debian, Ubuntu: apt-get install libgl1 libglib2.0-0)"
"""What OpenCV and MediaPipe need beside the wheels; bare containers lack it."""


class InputError(Exception):
    """Bad input of the user's: the message names the value, the rule it breaks and what to do next.

    Entry scripts print it as one line and exit with code 2. Anything else that escapes is our bug
    and keeps its traceback.
    """


class MissingWeightsError(InputError):
    """Pretrained weights are not on this machine and could not be fetched.

    The message names the file, its addresses and where to put it.
    """


def require(holds: bool, message: str) -> None:
    """Raise `InputError(message)` unless the rule holds."""
    if not holds:
        raise InputError(message)


def run(main: Callable[[], object]) -> NoReturn:
    """Run an entry script's `main` and leave with the exit code that scripts rely on.

    0 success; 2 bad input or a missing system library (`error: ...` on stderr, no traceback); 130 stopped by Ctrl-C.
    """
    try:
        signal.signal(signal.SIGINT, _stop_once)
        main()
    except InputError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except ImportError as error:
        _leave_without(error)
    except KeyboardInterrupt:
        print("stopped: no unfinished file was left behind", file=sys.stderr)
        sys.exit(130)
    sys.exit(0)


def require_system_libraries() -> None:
    """As `run` for a missing system library, for scripts that import OpenCV at their top: call it before that."""
    try:
        import cv2  # noqa: F401
    except ImportError as error:
        _leave_without(error)


def _leave_without(error: ImportError) -> NoReturn:
    if ".so" not in str(error):
        raise error
    print(f"error: a system library is missing ({error}); install {SYSTEM_PACKAGES}", file=sys.stderr)
    sys.exit(2)


def _stop_once(*_: object) -> NoReturn:
    """Ctrl-C, pressed again while the first one is still removing unfinished files, must not keep it from that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt
