"""dlib's identity network: one person lies near, others far; only the file that may be used is read."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from pictures import ASTRONAUT, picture

from fomm.errors import InputError, MissingWeightsError
from fomm.pretrained import dlib_resnet
from fomm.pretrained.dlib_resnet import MODEL_FILE, DlibEmbedder
from fomm.video import read_image
from preprocess.faces import FaceFinder, face_crop

pytest.importorskip("dlib", reason="the extra `identity` is not installed")
PORTRAIT = Path(__file__).parent.parent / "fomm" / "assets" / "portrait.png"


def test_a_person_is_near_herself_and_far_from_others() -> None:
    photo = read_image(picture(ASTRONAUT))
    with FaceFinder() as finder:
        views = []
        for image, scale in ((photo, 1.6), (photo[:, ::-1].copy(), 2.0), (read_image(PORTRAIT), 1.6)):
            views.append(face_crop(finder.find(image)[0], 256, scale=scale).apply(image))
        landmarks = [finder.landmarks(view) for view in views]
    points = DlibEmbedder()(np.stack(views), landmarks)
    assert points.shape == (3, 128)
    same, other = np.linalg.norm(points[0] - points[1]), np.linalg.norm(points[0] - points[2])
    assert same < 0.4 < 0.5 < other, (same, other)
    assert DlibEmbedder()(np.zeros((0, 256, 256, 3), np.uint8), []).shape == (0, 128)


def test_what_is_missing_or_another_file_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name.startswith("face_") else found(name))
    with pytest.raises(MissingWeightsError, match="pip install dlib-bin face_recognition_models"):
        DlibEmbedder()
    monkeypatch.undo()
    (tmp_path / "face_recognition_models" / "models").mkdir(parents=True)
    (tmp_path / "face_recognition_models" / "__init__.py").write_text("raise RuntimeError('must not run')")
    (tmp_path / "face_recognition_models" / "models" / MODEL_FILE).write_bytes(b"other")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="is not the file"):
        dlib_resnet.DlibEmbedder()
