"""notebooks/animate.ipynb runs from top to bottom, in an empty folder of its own making, and makes a finished video."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from fomm.video import VideoReader, read_image

nbformat = pytest.importorskip("nbformat", reason="needs nbclient (pip install fomm[test])")
nbclient = pytest.importorskip("nbclient", reason="needs nbclient (pip install fomm[test])")
ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "notebooks" / "animate.ipynb"


def test_it_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace(
            'root / "outputs/notebook/result.mp4"', f"Path({str(tmp_path / 'result.mp4')!r})"
        )
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    nbclient.NotebookClient(notebook, timeout=180, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()

    printed = "".join(output.text for cell in notebook.cells for output in cell.get("outputs", []) if "text" in output)
    assert re.search(r"box \d+,\d+ to \d+,\d+, 23\d px, tilted by \+[12]\d degrees", printed), printed
    assert "frames 0 to 99, 25 per second, sound: True" in printed and "starts from frame" in printed
    kinds = [kind for cell in notebook.cells for out in cell.get("outputs", []) for kind in out.get("data", {})]
    assert kinds.count("image/png") == 3 and "text/html" in kinds
    result = VideoReader(tmp_path / "result.mp4")
    frames = [frame.image for frame in result]
    photo = read_image(ROOT / "fomm" / "assets" / "portrait.png")
    assert len(frames) == 50 and frames[0].shape == photo.shape and result.has_audio
    assert float(result.duration) == pytest.approx(4, abs=0.1)
    change = np.abs(frames[25].astype(int) - photo).max(-1)
    assert np.median(change) <= 3 and change.max() > 60


def test_it_is_committed_without_outputs_and_short() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert sum(len(cell.source.splitlines()) for cell in code) < 90 and NOTEBOOK.stat().st_size < 12_000
