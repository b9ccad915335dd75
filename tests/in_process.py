"""What a command of a package says, without a process of its own, whose imports take seconds."""

from __future__ import annotations

import runpy
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
    with mock.patch.object(sys, "argv", words), redirect_stdout(out), redirect_stderr(err):
        with pytest.raises(SystemExit) as left:
            runpy.run_module("fomm", run_name="__main__")
    return CompletedProcess(words, int(left.value.code or 0), out.getvalue(), err.getvalue())
