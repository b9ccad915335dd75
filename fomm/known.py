"""Checkpoints known by name: what they are and where they are; `download` gets them here. Imports no torch.

Where no hash is known, the file's own is reported and the loader's checks stand alone.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fomm.download import RemoteFile, fetch, inspect
from fomm.errors import InputError, MissingWeightsError
from fomm.files import hash_file

CATEGORIES = ("face", "body", "robot", "animal", "unknown")
"""What a model animates; faces are cropped for."""

WEIGHTS_FOLDER = Path(__file__).parent / "weights"
"""Weights that come with the package, each with a JSON file of the same name that holds its sha256."""

_RELEASE = "https://github.com/graphemecluster/first-order-model-demo/releases/download/checkpoints"


@dataclass(frozen=True)
class KnownCheckpoint(RemoteFile):
    """One checkpoint that has a name: what `--checkpoint` takes."""

    category: str = "unknown"  # what it animates, one of `CATEGORIES`
    image_size: int = 256  # side of the square frames that it was trained on, pixels
    temperature: float = 0.1  # of the keypoints' softmax, which no tensor tells
    # Convention of the warps, which no tensor tells. The files were released for torch 1.0.0, whose `grid_sample` knew
    # only this one.
    align_corners: bool = True
    embedded: bool = False  # it comes with the package


def _released(name: str, category: str, file: str | None = None, **more: Any) -> KnownCheckpoint:
    file = file or f"{name}-cpk.pth.tar"
    return KnownCheckpoint(name, file, category=category, mirrors=(f"{_RELEASE}/{file}", *more.pop("also", ())), **more)


# The release's addresses are those that the original's demonstration notebook downloads from. The md5 is the one that
# avatarify's README and download script quote, beside the other addresses; no hash of the others is published.
KNOWN: dict[str, KnownCheckpoint] = {
    known.name: known
    for known in (
        _released("vox", "face"),
        _released(
            "vox-adv",
            "face",
            also=(
                "https://openavatarify.s3-avatarify.com/weights/vox-adv-cpk.pth.tar",
                "https://openavatarify.s3.amazonaws.com/weights/vox-adv-cpk.pth.tar",
            ),
            md5="8a45a24037871c045fbb8a6a8aa95ebc",
        ),
        _released("taichi", "body"),
        _released("taichi-adv", "body"),
        _released("fashion", "body", file="fashion.pth.tar"),
        _released("bair", "robot"),
        _released("mgif", "animal"),
        _released("nemo", "face"),
        KnownCheckpoint("face", "face.safetensors", category="face", embedded=True),
        KnownCheckpoint("puppets", "puppets.safetensors", category="face", image_size=128, embedded=True),
    )
}
"""The eight released models and the two that come with the package, by name."""


UNKNOWN = KnownCheckpoint("", "")
"""What is assumed of any other checkpoint where its file does not tell."""


def find_known(path: Path) -> KnownCheckpoint | None:
    """The known checkpoint whose file name this is (its content may differ)."""
    return next((known for known in KNOWN.values() if known.file == path.name), None)


def resolve(source: str | Path, *, progress: bool = True) -> tuple[Path, KnownCheckpoint | None]:
    """Turn what `--checkpoint` was given into a file on this machine.

    Args:
        source: a path, or the name of a known checkpoint; a file that exists wins.
        progress: show a bar while downloading.

    Returns: the file, and the known checkpoint if `source` names one; its hash has been checked then.

    Raises:
        InputError: neither a path nor a known name, or the cached file has a wrong hash.
        MissingWeightsError: known, not here, and no address gives it.
    """
    path = Path(source).expanduser()
    known = KNOWN.get(str(source))
    if os.path.isfile(path) or known is None and os.path.exists(path):  # a folder may well be called "puppets"
        return path, None
    if known is None:
        released = find_known(path)
        hint = f"; the name of that released file is {released.name}" if released else ""
        raise InputError(f"{source}: no such file, and no known checkpoint of this name ({', '.join(KNOWN)}){hint}")
    return (embedded(known) if known.embedded else fetch(known, progress=progress)), known


def embedded(known: KnownCheckpoint) -> Path:
    """The file of a checkpoint that comes with the package, checked against the hash beside it.

    Raises:
        MissingWeightsError: it is not there: the installation is incomplete.
        InputError: its hash is wrong.
    """
    path = WEIGHTS_FOLDER / known.file
    try:
        expected = json.loads(path.with_suffix(".json").read_text())["sha256"]
        found = hash_file(path)
    except FileNotFoundError as error:
        raise MissingWeightsError(
            f"{known.name}: its weights come with the package, but {error.filename} is missing; "
            "install the package again"
        ) from error
    if found != expected:
        inspect(path)
        raise InputError(f"{path}: sha256 {found}, must be {expected}; the file is damaged, install the package again")
    return path
