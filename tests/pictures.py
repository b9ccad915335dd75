"""Real photos and clips: the one place that knows where they are.

Two photos come with scikit-image (public domain), so that tests on real pictures run everywhere. The rest is a folder
that `$FOMM_TEST_MEDIA` names; what needs it is skipped where it is missing, and the end of the run says how many tests.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(os.environ.get("FOMM_TEST_MEDIA") or ROOT.parent / "shared" / "media")
MISSING = "no folder of real photos and clips (set FOMM_TEST_MEDIA)"

ASTRONAUT, COFFEE = "astronaut.png", "coffee.png"  # a portrait; a cup and no face
PACKAGED = (ASTRONAUT, COFFEE)


def folder() -> Path:
    """The folder of real photos and clips; without it the test that asks is skipped."""
    return FOLDER if is_here("photo_frontal.png") else pytest.skip(MISSING)


def picture(name: str) -> Path:
    """A photo or clip by its name, from scikit-image or from the folder; the test is skipped where it is missing."""
    return _path(name) if is_here(name) else pytest.skip(MISSING)


def is_here(name: str) -> bool:
    return _path(name).is_file()


def _path(name: str) -> Path:
    if name not in PACKAGED:
        return FOLDER / name
    import skimage.data

    return Path(skimage.data.__file__).with_name(name)
