"""What `pip install .` brings, away from the checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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


PYTHON = """#!/bin/sh
echo "{name} $*" >> {log}
case $1 in
-c) exec {python} -c "import sys; sys.version_info = (3, {minor}, 0)
$2" ;;
-m) mkdir -p "$3/bin" && cp {folder}/python {folder}/pip {folder}/uv "$3/bin" ;;
esac
"""
PIP = """#!/bin/sh
echo "pip $*" >> {log}
"""
UV = """#!/bin/sh
echo "uv $*" >> {log}
test {works} = True || exit 1
for last; do :; done
mkdir -p "$last/bin" && cp {folder}/python {folder}/pip "$last/bin"
"""


@pytest.mark.parametrize("minor, works", [(9, True), (10, True), (12, True), (13, True), (13, False)])
def test_make_takes_the_python_that_is_there_or_has_uv_find_one(tmp_path: Path, minor: int, works: bool) -> None:
    """Interpreters, pip and uv are stand-ins that write down what they are asked for; the versions are judged in
    earnest."""
    folder, venv, log = tmp_path / "bin", tmp_path / "env", tmp_path / "log"
    folder.mkdir()
    given = {"log": log, "folder": folder, "python": sys.executable, "works": works}
    (folder / "python3").write_text(PYTHON.format(name="python3", minor=minor, **given))
    (folder / "python").write_text(PYTHON.format(name="python", minor=12, **given))  # of the environments
    (folder / "pip").write_text(PIP.format(**given))
    (folder / "uv").write_text(UV.format(**given))
    for program in folder.iterdir():
        program.chmod(0o755)
    command = ["make", f"PYTHON={folder / 'python3'}", f"VENV={venv}", str(venv / "installed")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    asked = [line for line in log.read_text().splitlines() if " -c " not in line]
    supported = 10 <= minor <= 12
    assert ("uv, in" in done.stdout) == (not supported)
    begun = [f"python3 -m venv {venv}"] if supported else [
        f"python3 -m venv {venv}-uv", "pip install --quiet uv", f"uv venv --quiet --seed --python >=3.10,<3.13 {venv}"
    ]  # fmt: skip
    assert asked[: len(begun)] == begun
    if works:
        assert done.returncode == 0, done.stderr
        assert asked[-1].startswith("pip install --quiet --constraint constraints.txt --editable")
        before = log.read_text()
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        assert log.read_text() == before, "what is set up is not set up again"
    else:
        assert done.returncode == 2 and not (venv / "installed").exists() and len(asked) == len(begun)
        assert "make PYTHON=python3.12" in done.stderr and "conda create" in done.stderr
