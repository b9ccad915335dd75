"""How well a model animates puppets that it has never seen, against exact ground truth. Prints one table.

    python benchmarks/puppets.py --checkpoint puppets --pairs data/puppets-pairs

`--pairs` is a folder that `python -m preprocess puppet_pairs` made. Every number is given beside that of repeating the
source picture, and as the ratio of the two:

- reconstruction: source = first frame of each driving clip, driving = all its frames, absolute keypoints; L1 over
  pixels in [0, 1], pooled over frames.
- cross-identity: puppet A in the first pose of B's motion is driven by B's clip (relative, movement scale adapted);
  the truth is A drawn with B's motion. L1 as above; landmarks: mean distance of MediaPipe's 468 points on the output
  to those on the truth, in pixels of the frame. Frames without a face on either side are counted, not averaged.
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from jsonargparse import CLI

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

from benchmarks import page
from fomm.animator import AnimationSettings, Animator
from fomm.checkpoint import load_model
from fomm.errors import InputError, run
from fomm.manifest import Pair, read_manifest, read_pairs
from fomm.model import FOMM
from fomm.video import VideoReader, write_image
from preprocess.faces import FaceFinder
from preprocess.synthetic.puppets import write_puppet_pairs

write_held_out = partial(
    write_puppet_pairs, identities=900, seed=1, val=0.03, test=0.03
)  # the embedded model's: its card


def frames_of(folder: Path, size: int) -> list[np.ndarray]:
    frames = (frame.image for frame in VideoReader(folder))
    return [f if len(f) == size else cv2.resize(f, (size, size), interpolation=cv2.INTER_AREA) for f in frames]


def l1(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(np.float32) - b.astype(np.float32)).mean() / 255)


def clips_by_id(folder: Path) -> dict[str, Path]:
    manifest = folder / "manifest.csv"
    return {clip.clip_id: folder / clip.path for clip in read_manifest(manifest) if clip.split == "test"}


def reconstruction(animator: Animator, size: int, clips: list[Path]) -> dict[str, tuple[float, float]]:
    """{"L1": (model, repeated source)} over all frames of the clips."""
    errors = []
    for folder in clips:
        truth = frames_of(folder, size)
        made = animator.animate(truth[0], truth, AnimationSettings(relative=False))
        errors += [(l1(m, t), l1(truth[0], t)) for m, t in zip(made, truth, strict=True)]
    return {"reconstruction L1": tuple(np.mean(errors, axis=0))}


def cross_identity(
    animator: Animator, size: int, clips: dict[str, Path], pairs: list[Pair], sheet: Path | None
) -> dict[str, tuple[float, float]]:
    """{name: (model, repeated source)} against the drawn truth, and rows of pictures for looking at."""
    errors, distances, missed, rows = [], [], 0, []
    with FaceFinder() as finder:
        for pair in pairs:
            source = frames_of(clips[pair.source], size)[0]
            driving, truth = (frames_of(clips[name], size) for name in (pair.driving, pair.truth))
            made = list(animator.animate(source, driving))
            errors += [(l1(m, t), l1(source, t)) for m, t in zip(made, truth, strict=True)]
            rest = finder.landmarks(source)
            for m, t in zip(made[2::3], truth[2::3], strict=True):
                points, wanted = finder.landmarks(m), finder.landmarks(t)
                if points is None or wanted is None or rest is None:
                    missed += 1
                    continue
                distances.append([np.linalg.norm(p - wanted, axis=1).mean() for p in (points, rest)])
            worst = int(np.argmax([l1(source, t) for t in truth]))  # the frame in which most has moved
            rows.append(np.hstack([source, driving[worst], made[worst], truth[worst]]))
    if sheet is not None:
        half = (len(rows) + 1) // 2
        rows += [np.zeros_like(rows[0])] * (2 * half - len(rows))
        write_image(sheet, np.hstack([np.vstack(rows[:half]), np.vstack(rows[half:])]))
    print(f"{missed} of {missed + len(distances)} frames without a face on one side (left out of the landmark row).")
    return {
        "cross-identity L1": tuple(np.mean(errors, axis=0)),
        "cross-identity landmarks px": tuple(np.mean(distances, axis=0)),
    }


def score(checkpoint: str, pairs: Path | None = None, sheet: Path | None = None, limit: int | None = None) -> None:
    """Score a checkpoint on held-out puppets.

    Args:
        checkpoint: name or path.
        pairs: folder with pairs.csv; by default five pairs of puppets that the embedded model has not seen are drawn.
        sheet: write a picture with rows of source, driving, result, truth.
        limit: use only so many pairs.
    """
    loaded = load_model(checkpoint)
    if not isinstance(loaded.model, FOMM):
        raise InputError(f"{checkpoint}: has no keypoints of its own; name a model of the paper's kind")
    animator, size = Animator(loaded.model, precision="fp32"), loaded.info.image_size
    if pairs is None:
        with tempfile.TemporaryDirectory() as scratch:
            write_held_out(Path(scratch) / "pairs", pairs=5, frames=7, fps=6, size=size)
            return score(checkpoint, Path(scratch) / "pairs", sheet, limit)
    table = read_pairs(pairs / "pairs.csv", read_manifest(pairs / "manifest.csv"))[:limit]
    clips = clips_by_id(pairs)
    print(f"{checkpoint}: sha256 {loaded.info.sha256[:16]}, {len(table)} pairs at {size}x{size}, {animator}")
    scores = reconstruction(animator, size, [clips[pair.driving] for pair in table])
    scores |= cross_identity(animator, size, clips, table, sheet)
    page.table(["", "model", "source"], [[name, f"{a:.4f}", f"{b:.4f}"] for name, (a, b) in scores.items()])
    for name, (model, repeated) in scores.items():
        page.ratio(f"{checkpoint}, {name}, against repeating the source", model / repeated)


if __name__ == "__main__":
    run(lambda: CLI(score, as_positional=False))
