"""Fixtures that several test files share."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def media() -> Path:
    """Folder of real photos and clips (`$FOMM_TEST_MEDIA`); tests that need it are skipped where it is missing."""
    folder = Path(os.environ.get("FOMM_TEST_MEDIA", ROOT.parent / "shared" / "media"))
    if not (folder / "photo_frontal.png").is_file():
        pytest.skip(
            f"no real media: set FOMM_TEST_MEDIA to a folder with photo_frontal.png and the other clips ({folder})"
        )
    return folder


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder with the golden numbers of the original implementation."""
    return ROOT / "tests" / "golden"


@pytest.fixture(scope="session")
def chromium() -> str:
    """The system's Chromium; where it is missing and may be installed (Debian, root), it is, within two minutes."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found:
        return found
    reason = "install the system's package `chromium`"
    if shutil.which("apt-get") and os.geteuid() == 0:
        command = ["apt-get", "install", "--yes", "--no-install-recommends", "chromium"]
        quiet = {"capture_output": True, "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}}
        try:
            subprocess.run(["apt-get", "update"], timeout=60, **quiet)
            subprocess.run(command, timeout=120, check=True, **quiet)
        except (subprocess.SubprocessError, OSError) as error:
            reason = f"apt-get could not install it ({error})"
    return shutil.which("chromium") or pytest.skip(f"no Chromium: {reason}")
