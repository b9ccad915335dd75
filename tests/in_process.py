"""What a command of a package says, without a process of its own, whose imports take seconds."""

from __future__ import annotations

import runpy
import signal
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from subprocess import CompletedProcess
from unittest import mock

import pytest


def fomm(*arguments: str | Path) -> CompletedProcess[str]:
    """`python -m fomm ...`."""
    words, out, err = ["fomm", *map(str, arguments)], StringIO(), StringIO()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        with mock.patch.object(sys, "argv", words), redirect_stdout(out), redirect_stderr(err):
            with pytest.raises(SystemExit) as left:
                runpy.run_module("fomm", run_name="__main__")
    finally:
        for number, handler in before.items():  # pytest's own answers to signals
            signal.signal(number, handler)
    return CompletedProcess(words, int(left.value.code or 0), out.getvalue(), err.getvalue())
