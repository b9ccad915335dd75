"""dlib's face recognition network: a face becomes a point, and points of one person lie close together.

King 2017, a ResNet of 29 layers trained on 3 million faces, dedicated to the public domain (CC0) by its author. Comes
with the optional packages `dlib-bin` and `face_recognition_models` (extra `identity`), of which only this one file is
read: others in it may not be used commercially.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fomm.errors import InputError, MissingWeightsError
from fomm.files import hash_file

MODEL_FILE = "dlib_face_recognition_resnet_model_v1.dat"
MODEL_SHA256 = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"
FIVE = (263, 362, 33, 133, 2)
"""Numbers in MediaPipe's mesh of dlib's five points: corners of the subject's left eye and of the right one, each the
outer one first, and the nose's base."""


class DlibEmbedder:
    """Faces to points; two pictures of one person are near each other.

    Call: pictures (T, H, W, 3) uint8 RGB and the landmarks of one face in each (T, 468, 2) in their pixels ->
    (T, 128) float64. Each face is turned and cut to 150 x 150 by five landmarks.

    Raises:
        MissingWeightsError: the packages are not installed; says how to get them.
        InputError: the file is not the one that is known.
    """

    def __init__(self) -> None:
        path = _model_file()
        import dlib

        self._dlib = dlib
        self._network = dlib.face_recognition_model_v1(str(path))

    def __call__(self, pictures: np.ndarray, landmarks_px: Sequence[np.ndarray]) -> np.ndarray:
        rows = [self._embed(picture, points) for picture, points in zip(pictures, landmarks_px, strict=True)]
        return np.stack(rows) if rows else np.zeros((0, 128))

    def _embed(self, picture: np.ndarray, points: np.ndarray) -> np.ndarray:
        (left, top), (right, bottom) = points.min(0), points.max(0)
        box = self._dlib.rectangle(int(left), int(top), int(right), int(bottom))
        five = [self._dlib.point(round(float(x)), round(float(y))) for x, y in points[list(FIVE)]]
        shape = self._dlib.full_object_detection(box, five)
        return np.array(self._network.compute_face_descriptor(np.ascontiguousarray(picture), shape))


def _model_file() -> Path:
    """The network's file, found without importing the package, which wants setuptools' old parts."""
    found = importlib.util.find_spec("face_recognition_models")
    folders = list(found.submodule_search_locations or ()) if found else []
    if importlib.util.find_spec("dlib") is None or not folders:
        raise MissingWeightsError(
            "identity_dlib: the packages dlib-bin and face_recognition_models are not installed; "
            "pip install dlib-bin face_recognition_models (104 MB)"
        )
    path = Path(folders[0]) / "models" / MODEL_FILE
    if not path.is_file() or hash_file(path) != MODEL_SHA256:
        raise InputError(f"{path}: is not the file that face_recognition_models 0.3.0 has; install it again")
    return path
