"""Networks that turn a face into a vector whose angle to another says how alike the two people look.

    openface     the published AED's: the whole frame resized to 96 x 96, not aligned, channels in BGR order
    arcface      insightface's buffalo_l (w600k_r50.onnx): five-point alignment to 112 x 112, RGB, (x - 127.5) / 127.5
    PATH         any ONNX network: (T, 3, S, S) float32 -> (T, D); it holds arithmetic only, no program

What a network of the user's wants to see is read from the file: a JSON object under the key "fomm" of its metadata, or
else in a file beside it (`net.onnx.json`):

    {"size": 160, "aligned": true, "channels": "RGB", "mean": 0.5, "std": 0.5}

`mean` and `std` are for values in [0, 1]. These are the defaults, ArcFace's, but for the size: that of the ONNX file's
input, else 112.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fomm.download import cache_folder, fetch
from fomm.errors import InputError, MissingWeightsError, first_line
from fomm.files import hash_file
from fomm.pixels import to_pictures
from fomm.pretrained.files import open_session
from fomm.pretrained.openface import OPENFACE, load_openface

ARCFACE_FILE = "w600k_r50.onnx"
ARCFACE_SHA256 = "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43"
ARCFACE_URL = "https://github.com/deepinsight/insightface/releases/download/v0.7/buffalo_l.zip"

# Where eyes, nose tip and mouth corners lie in ArcFace's 112 x 112 input (insightface, utils/face_align.py).
TEMPLATE_112 = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)

# Landmark numbers whose means are those five points: MediaPipe's mesh, and the order of iBUG 300-W.
MESH_FIVE = ((33, 133), (362, 263), (1,), (61,), (291,))
IBUG_FIVE = (tuple(range(36, 42)), tuple(range(42, 48)), (30,), (48,), (54,))

Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Convention:
    """What a network wants to see: squares of `size` pixels, (x - mean) / std of values in [0, 1]."""

    size: int = 112
    aligned: bool = True  # a similarity brings five points to where ArcFace wants them; else whole frames are resized
    channels: str = "RGB"  # or "BGR"
    mean: float = 0.5
    std: float = 0.5

    def __str__(self) -> str:
        what = "faces aligned by five points" if self.aligned else "whole frames, not aligned"
        return f"{what}, {self.size} x {self.size}, {self.channels}, (x - {self.mean:g}) / {self.std:g} of [0, 1]"


OPENFACE_CONVENTION = Convention(96, aligned=False, channels="BGR", mean=0.0, std=1.0)
"""What the original authors' evaluation feeds to OpenFace, which itself was trained on aligned RGB faces."""


@dataclass(eq=False)
class Embedder:
    """A face network and what it wants to see.

    Call: pictures (T, 3, H, W) float, RGB in [0, 1], and, where `aligned`, the five points (T, 5, 2) of each face in
    their pixels (eye, eye, nose tip, mouth corner, mouth corner, from the picture's left to its right) -> (T, D)
    float32, rows of length 1.
    """

    metric: str  # what it measures, a key of `metrics.METRICS` or `identity_<stem of the user's file>`
    network: Network
    convention: Convention  # what it sees
    sha256: str = ""  # of the file that it came from; numbers compare only between equal ones

    @property
    def aligned(self) -> bool:
        return self.convention.aligned

    @torch.no_grad()
    def __call__(self, pictures: Tensor, points_px: np.ndarray | None = None) -> np.ndarray:
        convention = self.convention
        if not convention.aligned:
            # plain bilinear, no smoothing: what the evaluation code's scikit-image 0.14 did
            seen = F.interpolate(pictures, (convention.size, convention.size), mode="bilinear", antialias=False)
        elif points_px is None:
            raise ValueError(f"{self.metric} wants aligned faces: give their five points")
        else:
            seen = align(pictures, points_px, convention.size)
        if convention.channels == "BGR":
            seen = seen.flip(1)
        vectors = self.network((seen - convention.mean) / convention.std)
        return F.normalize(vectors.float().flatten(1)).cpu().numpy()


def load_embedder(source: str | Path, device: torch.device | str = "cpu") -> Embedder:
    """A face network by name ("openface", "arcface") or path.

    Raises:
        MissingWeightsError: a known name whose file is not here; says where to get and put it.
        InputError: no such file or name, a wrong hash, or not a network.
    """
    if str(source) == "openface":
        path = fetch(OPENFACE)
        openface = load_openface(path).to(device)
        return Embedder("aed_openface", lambda faces: openface(faces.to(device)), OPENFACE_CONVENTION, hash_file(path))
    if str(source) == "arcface":
        return Embedder("csim_arcface", _onnx(_arcface_file())[0], Convention(), ARCFACE_SHA256)
    path = Path(source).expanduser()
    if not path.is_file():
        raise InputError(f"{source}: no such file, and no known face network of this name (openface, arcface)")
    if path.suffix.lower() != ".onnx":
        raise InputError(
            f"{path}: a face network is an ONNX file (.onnx), which unlike TorchScript runs no code; export it"
        )
    network, size, inside = _onnx(path)
    embedder = Embedder(f"identity_{path.stem}", network, _convention(path, inside, size), hash_file(path))
    _try(embedder, path)
    return embedder


def five_points(landmarks_px: np.ndarray) -> np.ndarray:
    """Middle of each eye, nose tip and mouth corners (5, 2) of 468 mesh landmarks or 68 in the order of iBUG 300-W;
    raises ValueError for another number."""
    groups = {468: MESH_FIVE, 68: IBUG_FIVE}.get(len(landmarks_px))
    if groups is None:
        raise ValueError(f"five points are known of 468 or 68 landmarks, not of {len(landmarks_px)}")
    return np.stack([landmarks_px[list(group)].mean(0) for group in groups])


def similarity(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Rotation, scale and shift (2, 3) that bring points (N, 2) nearest to `target` (N, 2), least squares.

    Umeyama 1991; never a reflection.
    """
    centre, aim = points.mean(0), target.mean(0)
    a, b = points - centre, target - aim
    # as complex numbers a similarity is one factor
    factor = ((a[:, 0] - 1j * a[:, 1]) * (b[:, 0] + 1j * b[:, 1])).sum() / max(np.square(a).sum(), 1e-12)
    turn = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.column_stack([turn, aim - turn @ centre])


def align(pictures: Tensor, points_px: np.ndarray, size: int = 112) -> Tensor:
    """Faces (T, 3, size, size) with their five points (T, 5, 2) where ArcFace wants them; black outside the picture.

    On 8-bit pictures, as insightface does it.
    """
    target = TEMPLATE_112 * (size / 112)
    images = to_pictures(pictures)
    faces = [
        cv2.warpAffine(np.ascontiguousarray(image), similarity(np.asarray(points, float), target), (size, size))
        for image, points in zip(images, points_px, strict=True)
    ]
    return torch.from_numpy(np.stack(faces)).permute(0, 3, 1, 2).to(pictures.device) / 255


# ---- Files


def _arcface_file() -> Path:
    """The known ArcFace file: in our cache folder, or where insightface itself keeps it.

    It is not fetched: its licence allows research only, so getting it is the user's decision.
    """
    places = [cache_folder() / ARCFACE_FILE, Path("~/.insightface/models/buffalo_l").expanduser() / ARCFACE_FILE]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise MissingWeightsError(
            f"arcface: {ARCFACE_FILE} is not on this machine; get {ARCFACE_URL} (its licence: non-commercial research "
            f"only) and put the file {ARCFACE_FILE} of that archive into {places[0].parent.absolute()}"
        )
    if (found := hash_file(path)) != ARCFACE_SHA256:
        raise InputError(
            f"{path}: sha256 {found}, that of insightface's file is {ARCFACE_SHA256}; delete it and get {ARCFACE_URL} "
            "again (to use it nevertheless, give its path)"
        )
    return path


def _onnx(path: Path) -> tuple[Network, int | None, str]:
    """The network, the size of its input where the file tells, and the convention in its metadata or ""."""
    session = open_session(path, "a face network", "T", "3", "S", "S")
    faces_in = session.get_inputs()[0]
    size = faces_in.shape[2] if isinstance(faces_in.shape[2], int) else None
    one_by_one = faces_in.shape[0] == 1  # exported for a single face

    def network(faces: Tensor) -> Tensor:
        array = np.ascontiguousarray(faces.cpu().numpy(), np.float32)
        batches = np.split(array, len(array)) if one_by_one else [array]
        return torch.from_numpy(np.concatenate([session.run(None, {faces_in.name: batch})[0] for batch in batches]))

    return network, size, session.get_modelmeta().custom_metadata_map.get("fomm", "")


def _convention(path: Path, inside: str, size: int | None) -> Convention:
    """What the file says, or the file beside it, or nothing."""
    beside = path.with_name(path.name + ".json")
    where, text = (path, inside or "{}")
    if not inside and beside.is_file():
        where, text = beside, beside.read_text(errors="replace")
    types = {field.name: type(field.default) for field in fields(Convention)}
    try:
        said = json.loads(text)
        values: dict[str, Any] = {name: float(value) if types[name] is float else value for name, value in said.items()}
        fits = all(type(value) is types[name] for name, value in values.items())
        fits = fits and values.get("channels", "RGB") in ("RGB", "BGR") and values.get("size", 1) > 0
        fits = fits and values.get("std", 1.0) > 0
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        fits = False
    if not fits:
        raise InputError(
            f"{where}: its input convention {text[:200]!r} has unknown or wrong entries; "
            'write e.g. {"size": 112, "aligned": true, "channels": "RGB", "mean": 0.5, "std": 0.5}'
        )
    if size and values.get("size", size) != size:
        raise InputError(f"{where}: says size {values['size']}, but the network's input is {size} x {size}; correct it")
    return Convention(**{"size": size or 112, **values})


def _try(embedder: Embedder, path: Path) -> None:
    """One grey face through it, so that a network that does not fit is told now, not after an hour."""
    size = embedder.convention.size
    points = TEMPLATE_112[None] * size / 112
    try:
        vectors = embedder(torch.full((2, 3, size, size), 0.5), np.concatenate([points, points]))
        fits = vectors.shape[0] == 2 and vectors.ndim == 2 and np.isfinite(vectors).all()
    except Exception as error:
        raise InputError(
            f"{path}: does not take (T, 3, {size}, {size}) float32 ({first_line(error)}); tell its size, see the "
            "convention in fomm/pretrained/embedders.py"
        ) from error
    if not fits:
        raise InputError(f"{path}: gives {vectors.shape} numbers, not all finite perhaps, instead of one row per face")
