"""Small clips and data sets for tests: a coloured disc that moves."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from fomm.manifest import Clip, write_manifest
from fomm.video import VideoWriter


def moving_disc(seed: int, frames: int, size: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    colour, back = (rng.integers(lo, hi, 3).tolist() for lo, hi in ((120, 255), (0, 100)))
    phase = rng.uniform(0, 6.28, 2)
    pictures = []
    for t in range(frames):
        picture = np.full((size, size, 3), back, np.uint8)
        centre = (size / 2 + size / 5 * np.sin(phase[0] + t / 2), size / 2 + size / 6 * np.cos(phase[1] + t / 3))
        cv2.circle(picture, tuple(round(c) for c in centre), size // 5, colour, -1, cv2.LINE_AA)
        pictures.append(picture)
    return pictures


def write_clips(folder: Path, *, clips: int = 6, frames: int = 8, size: int = 32, held_out: int = 1) -> Path:
    """Write PNG folders and their manifest; returns the manifest."""
    rows = []
    for index in range(clips):
        clip = folder / "clips" / f"{index:03d}"
        clip.mkdir(parents=True)
        for number, picture in enumerate(moving_disc(index, frames, size)):
            cv2.imwrite(str(clip / f"{number:06d}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        split = "val" if index >= clips - held_out else "train"
        identity = f"id{index // 2}"
        rows.append(Clip(f"c{index}", f"clips/{index:03d}", identity, split, frames, Fraction(25), size, size))
    write_manifest(folder / "manifest.csv", rows)
    return folder / "manifest.csv"


def write_clip(folder: Path, name: str, frames: list[np.ndarray], identity: str = "x", suffix: str = "") -> Clip:
    """A clip of PNG frames, or a video, and its row."""
    with VideoWriter(folder / f"{name}{suffix}", fps=25) as writer:
        for frame in frames:
            writer.write(frame)
    height, width = frames[0].shape[:2]
    return Clip(name, f"{name}{suffix}", identity, "test", len(frames), Fraction(25), width, height)


def disc_clip(folder: Path, name: str, frames: int, *, size: int = 64, identity: str = "x", seed: int = 0) -> Clip:
    return write_clip(folder, name, moving_disc(seed, frames, size), identity)
