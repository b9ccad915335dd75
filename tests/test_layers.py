"""The architecture as a table: who may import whom. Data flows one way, and this holds it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# A module of fomm imports modules of lower layers, or of its own where its line says so.
LAYERS = [
    {"errors"},
    {"files", "command_line", "lanes", "cuda_graphs", "expression"},
    {"video", "manifest", "known", "geometry", "progress", "original_config"}
    | {"metrics", "statistics", "published", "gate"},
    {"blocks", "equivariance", "video_folder", "sync_batch_norm", "detectors", "provenance", "openface"},
    {"keypoint_detector", "dense_motion", "data", "embedders"},
    {"generator", "discriminator", "measures"},
    {"model", "losses", "report"},
    {"folded"},
    {"checkpoint", "animator", "snapshots"},
    {"training", "render", "evaluation", "export"},
    {"callbacks", "results", "gallery"},
    {"__main__"},
]
LAYER_OF = {name: level for level, names in enumerate(LAYERS) for name in names}
PREPROCESS_MAY_USE = {"errors", "files", "progress", "video", "manifest"}


def imported(path: Path) -> set[str]:
    """Every module that a file names in an import, wherever it stands."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names if node.module in ("fomm", "preprocess")}
    return names


def parts_of_fomm(path: Path) -> set[str]:
    names = {name.split(".")[1] for name in imported(path) if name.startswith("fomm.")}
    return names - {"__version__"}


FILES = sorted((ROOT / "fomm").rglob("*.py")) + sorted((ROOT / "preprocess").rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_go_down(path: Path) -> None:
    package, *inner = path.relative_to(ROOT).with_suffix("").parts
    names = imported(path)
    entry_scripts = {"infer", "train", "evaluate", "app", "studio"}
    assert not {name.split(".")[0] for name in names} & entry_scripts, "only the page imports an entry script"
    if package == "preprocess":
        assert parts_of_fomm(path) <= PREPROCESS_MAY_USE
        assert not any(name.split(".")[0] == "torch" for name in names)
    elif inner[0] != "__init__":
        assert not any(name.split(".")[0] == "preprocess" for name in names)
        own = LAYER_OF[inner[0]]
        too_high = {part for part in parts_of_fomm(path) - {inner[0]} if LAYER_OF[part] >= own}
        assert not too_high, f"{inner[0]} is on layer {own}; {too_high} is not below it"


def test_only_one_module_touches_mediapipe_and_only_one_samples_grids() -> None:
    for library, owner in (("mediapipe", "preprocess/faces.py"), ("face_alignment", "fomm/detectors.py")):
        users = [path for path in FILES if any(name.split(".")[0] == library for name in imported(path))]
        assert [path.relative_to(ROOT).as_posix() for path in users] == [owner]
    users = [path for path in FILES if "F.grid_sample(" in path.read_text()]
    assert [path.name for path in users] == ["geometry.py"]


def test_the_face_pipeline_runs_without_torch() -> None:
    code = "import preprocess.synthetic.puppets, preprocess.pairing, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 0
