"""The architecture as a table that reads like the tree: who may import whom, and who owns which library."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = "infer train evaluate app"

# A room imports from itself, from the rows above it, and from what else its row names; never from a row below.
ROWS = [  # package, its rooms (modules or folders), which packages' rooms above it may use
    ("fomm", "errors lazy version", "fomm"),
    ("fomm", "files numbers command_line progress pixels expression", "fomm"),
    ("fomm", "download manifest video", "fomm"),
    ("fomm", "known video_folder model pretrained", "fomm"),
    ("fomm", "animator checkpoint report", "fomm"),
    ("fomm", "evaluation", "fomm"),
    ("fomm", "training", "fomm"),
    ("fomm", "__init__ __main__", "fomm"),
    (
        "preprocess",
        "__init__ crop faces track pairing portraits motion show dataset synthetic __main__",
        "fomm preprocess",
    ),
    ("studio", "", "fomm preprocess studio"),
    (SCRIPTS, "", "fomm preprocess studio"),
]
NO_TORCH = "fomm.errors fomm.known fomm.manifest fomm.report fomm.evaluation.tasks fomm.video preprocess"
OWNERS = {
    "mediapipe": "preprocess.faces",
    "face_alignment": "fomm.pretrained.face_alignment",
    "dlib": "fomm.pretrained.dlib_resnet",
    "gradio": "studio",
}

FOLDERS = [path for folder in ("fomm", "preprocess", "studio") for path in sorted((ROOT / folder).rglob("*.py"))]
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (*FOLDERS, *(ROOT / f"{name}.py" for name in SCRIPTS.split()))
}


def imported(path: Path) -> Iterator[str]:
    """Every module that a file names in an import, wherever it stands; of ours the modules that hold the names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            inner = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if name in FILES else node.module for name in inner)


def row_of(module: str) -> int:
    package, room, *_ = [*module.split("."), "__init__"]
    places = (i for i, (packages, rooms, _) in enumerate(ROWS)
              if package in packages.split() and room in (rooms.split() or [room]))  # fmt: skip
    return next(places)


@pytest.mark.parametrize("module", FILES)
def test_imports_go_up_the_table(module: str) -> None:
    own = row_of(module)
    for name in set(imported(FILES[module])) & FILES.keys():
        package = name.split(".")[0]
        assert package not in SCRIPTS.split() or name == module, f"nothing imports a script, but {module} {name}"
        assert package in ROWS[own][2].split(), f"{module} must not import {name}"
        same_room = module.split(".")[:2] == name.split(".")[:2]
        together = package != "fomm" and row_of(name) == own  # preprocess and studio have one row each
        assert same_room or together or row_of(name) < own, f"{module}: {name} is not above it"


def test_no_imports_in_circles() -> None:
    faces = {name: path for name, path in FILES.items() if path.name != "__init__.py"}  # whose names load when used
    TopologicalSorter({name: set(imported(path)) & faces.keys() - {name} for name, path in faces.items()}).prepare()


@pytest.mark.parametrize("library", OWNERS)
def test_a_library_has_one_owner(library: str) -> None:
    users = {name for name, path in FILES.items() if library in {found.split(".")[0] for found in imported(path)}}
    strangers = {name for name in users if not f"{name}.".startswith(f"{OWNERS[library]}.")} - {"app"}
    assert users and not strangers


def test_only_one_module_samples_grids() -> None:
    assert [name for name, path in FILES.items() if "F.grid_sample(" in path.read_text()] == ["fomm.model.geometry"]


def test_what_needs_no_torch_loads_none() -> None:
    rooms = tuple(NO_TORCH.split())
    modules = [name for name in FILES if f"{name}.".startswith(tuple(f"{room}." for room in rooms))]
    code = f"import {', '.join(sorted(set(modules) - {'preprocess.__main__'}))}, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=120).returncode == 0
