"""Every result says that it is synthetic and how it was made: metadata, a sidecar file, and a mark that can be seen.

The metadata field is the IPTC's digital source type, which photo agencies, search engines and social networks read.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from fomm.files import atomic_output, hash_file
from fomm.version import __version__
from fomm.video import DIGITAL_SOURCE_TYPE, SYNTHETIC, SYNTHETIC_COMPOSITE, frame_files

LABEL = "AI-generated"


def synthetic_tags(*, pasted: bool) -> dict[str, str]:
    """Metadata for `fomm.video`'s writers; `pasted`: the generated face sits in a real photo."""
    return {
        DIGITAL_SOURCE_TYPE: SYNTHETIC_COMPOSITE if pasted else SYNTHETIC,
        "comment": f"{LABEL}: a picture animated by a neural network (First Order Motion Model, fomm {__version__})",
    }


def hash_input(path: str | Path) -> str:
    """sha256 of a file; of a folder of frames, that of its list of names and hashes."""
    path = Path(path)
    if not path.is_dir():
        return hash_file(path)
    lines = [f"{file.name} {hash_file(file)}\n" for file in frame_files(path)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def sidecar_path(output: str | Path) -> Path:
    """`result.mp4` -> `result.mp4.json`, beside it."""
    output = Path(output)
    return output.parent / f"{output.name}.json"


def write_sidecar(
    output: str | Path,
    *,
    settings: Mapping[str, Any],
    inputs: Mapping[str, str | Path],
    checkpoint: Mapping[str, Any],
    outputs: list[Path],
    details: Mapping[str, Any],
) -> Path:
    """Write beside a result what is needed to make it again, as JSON.

    Args:
        output: the result.
        settings: every option and its value.
        inputs: role ("source", "driving") -> file; they are hashed.
        checkpoint: which weights, with their hash.
        outputs: all files that were made; they are hashed.
        details: what was found out on the way (crops, frames, device, warnings).

    Returns: the sidecar's path.

    Raises:
        InputError: it cannot be written.
    """
    record = {
        "synthetic": True,
        "made_by": f"fomm {__version__}",
        "made_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "av": av.__version__,
        },
        "settings": dict(settings),
        "inputs": {role: {"path": str(path), "sha256": hash_input(path)} for role, path in inputs.items()},
        "checkpoint": dict(checkpoint),
        "outputs": {path.name: hash_input(path) for path in outputs},
        **details,
    }
    path = sidecar_path(output)
    with atomic_output(path) as part:
        part.write_text(json.dumps(record, indent=2, default=str) + "\n")
    return path


def recorded_hash(output: str | Path) -> str | None:
    """sha256 of a result as its sidecar has it; None where there is no sidecar that says it."""
    try:
        return str(json.loads(sidecar_path(output).read_bytes())["outputs"][Path(output).name])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


class Label:
    """A small mark in the lower left corner, light on a dark plate so that it can be read on any picture.

    Call: picture (H, W, 3) uint8 -> a marked copy of it.
    """

    def __init__(self) -> None:
        self._plate = np.empty((0, 0, 4), np.uint8)
        self._made_for: tuple[int, int] = (0, 0)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        if self._made_for != (height, width):
            self._plate, self._made_for = self._draw(height, width), (height, width)
        plate = self._plate
        h, w = min(plate.shape[0], height), min(plate.shape[1], width)
        colour, alpha = plate[:h, :w, :3].astype(np.float32), plate[:h, :w, 3:].astype(np.float32) / 255
        marked = image.copy()
        corner = marked[height - h :, :w]
        corner[...] = np.rint(corner * (1 - alpha) + colour * alpha)
        return marked

    def _draw(self, height: int, width: int) -> np.ndarray:
        size = max(9, round(min(height, width) / 24))
        font = ImageFont.load_default(size)
        left, top, right, bottom = font.getbbox(LABEL)
        pad = max(2, size // 3)
        plate = Image.new("RGBA", (int(right - left) + 2 * pad, int(bottom - top) + 2 * pad), (0, 0, 0, 150))
        ImageDraw.Draw(plate).text((pad - left, pad - top), LABEL, font=font, fill=(255, 255, 255, 255))
        return np.array(plate)
