"""Fixtures that several test files share."""

from __future__ import annotations

import os
import shutil
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
    """The system's Chromium, for pages in a real browser; tests that need it are skipped where it is missing."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    return found or pytest.skip("no Chromium: install the system's package `chromium`")
