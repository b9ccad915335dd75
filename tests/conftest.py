"""Fixtures that several test files share, and what the end of a run says about skipped tests."""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from pathlib import Path

import pictures
import pytest

# Threads that wait for one another leave the core to the other worker; read where torch is loaded, after this file.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Freed memory is kept and taken again, not asked of the system, and cleared by it, anew for each tensor of a training
# step. Read where a process begins, so by pytest's workers and by what tests start.
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(1 << 30))
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(1 << 32))


@pytest.fixture(scope="session", autouse=True)
def settings_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Certificates that tests make are not the user's."""
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("config"))


@pytest.fixture(scope="session", autouse=True)
def hang_ups() -> None:
    """Under nohup they would be ignored, by what the tests start, too."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def media() -> Path:
    """Folder of real photos and clips (`$FOMM_TEST_MEDIA`); tests that need it are skipped where it is missing."""
    return pictures.folder()


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder with the golden numbers of the original implementation."""
    return pictures.ROOT / "tests" / "golden"


@pytest.fixture(scope="session")
def chromium() -> str:
    """The system's Chromium, for pages in a real browser; tests that need it are skipped where it is missing."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    return found or pytest.skip("no Chromium: install the system's package `chromium`")


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many tests were skipped, and why, in one line."""
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", ())
        if isinstance(report.longrepr, tuple)
    )
    if reasons:
        said = "; ".join(f"{count} ({reason})" for reason, count in reasons.most_common())
        terminalreporter.write_line(f"skipped tests: {said}")
