"""Draw `edits.jpg`: the portrait that comes with the package with each edit at both ends of its range."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from fomm.animator import AnimationSettings, ModelSettings  # noqa: E402
from fomm.model.face import Edit  # noqa: E402
from fomm.model.face.edit import RANGES  # noqa: E402
from fomm.video import read_image, write_image  # noqa: E402
from studio.animation import load_tools  # noqa: E402
from studio.portrait import portrait_tools, sit  # noqa: E402

SIDE, COLUMNS = 220, 6


def main() -> None:
    ends = [f"{name}={end:g}" for name, (low, high, _) in RANGES.items() if name != "gaze" for end in (low, high)]
    texts = ["", *ends, "gaze=-1,0", "gaze=0,1", "yaw=15 smile=0.6 brows=0.5"]
    path = ROOT / "fomm" / "assets" / "portrait.png"
    with ExitStack() as stack:
        tools = portrait_tools(load_tools(ModelSettings(device="cpu"), AnimationSettings(), stack, print), "--edit")
        sitter, *_ = sit(read_image(path), path, tools.faces, AnimationSettings())
        pictures = list(tools.animator.play(sitter, [Edit.parse(text).face() for text in texts]))
    centre, half = sitter.landmarks[:468, :2].mean(0), 0.9 * float(np.ptp(sitter.landmarks[:, 1]))
    (left, top), (right, bottom) = (np.maximum(centre + away, 0).astype(int) for away in (-half, half))
    cells = [
        named(picture[top:bottom, left:right], text or "the photo")
        for picture, text in zip(pictures, texts, strict=True)
    ]
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % COLUMNS)
    rows = [np.hstack(cells[start : start + COLUMNS]) for start in range(0, len(cells), COLUMNS)]
    write_image(Path(__file__).with_name("edits.jpg"), np.vstack(rows))


def named(picture: np.ndarray, text: str) -> np.ndarray:
    cell = np.full((SIDE + 24, SIDE + 4, 3), 255, np.uint8)
    cell[:SIDE, :SIDE] = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return cv2.putText(cell, text, (2, SIDE + 16), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (40, 40, 40), 1, cv2.LINE_AA)


if __name__ == "__main__":
    main()
