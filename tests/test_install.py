"""What `pip install .` brings, away from the checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = """
import importlib, pkgutil, sys
import fomm, preprocess, studio
assert not {"torch", "cv2"} & sys.modules.keys(), "names load when they are used"
for package in (fomm, preprocess, studio):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        assert sys.argv[1] in importlib.util.find_spec(module.name).origin
        module.name.endswith("__main__") or importlib.import_module(module.name)
assert all(getattr(fomm, name) is not None for name in fomm.__all__)
assert fomm.load_model("puppets").info.name == "puppets"
for package, name in ((studio, "page.css"), (studio, "live.js"), (fomm.report, "page.html"), (fomm, "py.typed")):
    assert (importlib.resources.files(package) / name).is_file()
"""


def test_an_installed_package_has_all_that_a_user_needs(tmp_path: Path) -> None:
    for name in ("fomm", "preprocess", "studio", "pyproject.toml", "README.md", "LICENSE"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--target", "there", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    (tmp_path / "away").mkdir()
    program = f"import sys; sys.path.insert(0, {str(tmp_path / 'there')!r})\n{PROGRAM}"
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "there")], cwd=tmp_path / "away", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
