"""The network of FVD: an I3D of Kinetics-400, or another, from a file of the user's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from fomm.errors import InputError, first_line
from fomm.files import hash_file
from fomm.pretrained.files import open_session

FRAMES, SIDE = 16, 224  # what I3D sees, where the file does not say


class VideoNetwork:
    """Looks at `frames` consecutive frames at once, resized to squares of `side` pixels.

    From an ONNX file, (N, 3, frames, side, side) RGB in [-1, 1] -> (N, D); raises InputError for anything else.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        if not self.path.is_file() or self.path.suffix.lower() != ".onnx":
            raise InputError(f"{path}: no such ONNX file; docs/evaluation.md says how to make one of an I3D")
        self.session = open_session(self.path, "a video network", "N", "3", "frames", "side", "side")
        shape = self.session.get_inputs()[0].shape
        self.frames, self.side = (
            size if isinstance(size, int) else usual for size, usual in ((shape[2], FRAMES), (shape[3], SIDE))
        )
        self.sha256 = hash_file(self.path)  # numbers compare only between equal ones
        self(np.zeros((self.frames, 8, 8, 3), np.uint8))

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """Frames (frames, H, W, 3) uint8 RGB -> (D,) float32; raises InputError where it gives something else."""
        seen = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 127.5 - 1
        seen = F.interpolate(seen, (self.side, self.side), mode="bilinear", antialias=True)
        batch = np.ascontiguousarray(seen.numpy().transpose(1, 0, 2, 3)[None], np.float32)
        try:
            result = self.session.run(None, {self.session.get_inputs()[0].name: batch})[0]
        except Exception as error:  # onnxruntime has an exception for everything
            raise InputError(f"{self.path}: cannot be run ({first_line(error)}); export it again") from error
        if np.ndim(result) != 2 or len(result) != 1 or not np.isfinite(result).all():
            raise InputError(f"{self.path}: gives {np.shape(result)}, not a vector of finite numbers; export it again")
        return np.asarray(result[0], np.float32)
