"""How fast training pairs come, and how long training waits for them.

    python benchmarks/data.py --clips 8 --steps 30

Writes clips of 200 frames at 256x256 as short-GOP mp4 and as PNG folders into a temporary folder, then compares, in
this one run, samples per second on one core of
- the original's mp4 way: decode the whole clip, keep two frames;
- `fomm.training.data`: decode only what two frames need.
Then it trains `configs/puppets-64.yaml`'s model on puppets with 2 workers and no cache, and prints the share of the
time that training waits for its next batch.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import redirect_stdout
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytorch_lightning as L

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.page import ratio, table
from fomm.manifest import Clip
from fomm.training.data import FrameStore
from fomm.video import VideoWriter, write_image

FRAMES, SIZE = 200, 256


def moving_texture(seed: int) -> np.ndarray:
    """(FRAMES, SIZE, SIZE, 3) uint8: a smooth random texture that drifts and breathes."""
    rng = np.random.default_rng(seed)
    texture = cv2.resize(
        rng.integers(0, 255, (24, 24, 3), dtype=np.uint8), (2 * SIZE, 2 * SIZE), interpolation=cv2.INTER_CUBIC
    )
    frames = []
    for t in range(FRAMES):
        scale, angle = 1 + 0.1 * np.sin(t / 15), 5 * np.sin(t / 20)
        matrix = cv2.getRotationMatrix2D((SIZE, SIZE), angle, scale)
        matrix[:, 2] += -SIZE / 2 + 20 * np.sin(t / 11), -SIZE / 2 + 20 * np.cos(t / 13)
        frames.append(cv2.warpAffine(texture, matrix, (SIZE, SIZE)))
    return np.stack(frames)


def samples_per_second(store: FrameStore, clips: list[Clip], *, whole: bool, samples: int) -> float:
    rng = np.random.default_rng(0)
    store.read(clips[0], [0, 1])
    start = time.process_time()
    for _ in range(samples):
        clip, pair = clips[rng.integers(len(clips))], sorted(rng.integers(FRAMES, size=2).tolist())
        frames = store.read(clip, range(FRAMES))[pair] if whole else store.read(clip, pair)
        assert frames.shape == (2, SIZE, SIZE, 3)
    return samples / (time.process_time() - start)


def compare(count: int, folder: Path) -> None:
    videos, pictures = [], []
    for index in range(count):
        frames = moving_texture(index)
        with VideoWriter(folder / f"{index}.mp4", fps=Fraction(25), keyframe_every=8) as writer:
            for frame in frames:
                writer.write(frame)
        for number, frame in enumerate(frames):
            write_image(folder / f"{index}" / f"{number:06d}.png", frame)
        videos.append(Clip(f"v{index}", f"{index}.mp4", "", "train", FRAMES, Fraction(25), SIZE, SIZE))
        pictures.append(Clip(f"p{index}", f"{index}", "", "train", FRAMES, Fraction(25), SIZE, SIZE))
    store = FrameStore(folder, size=SIZE, cache=False)
    whole = samples_per_second(store, videos, whole=True, samples=2 * count)
    rows = [["whole mp4 clip decoded", f"{whole:.1f}"]]
    for name, clips in (("mp4, two frames decoded", videos), ("PNG, two frames decoded", pictures)):
        speed = samples_per_second(store, clips, whole=False, samples=40 * count)
        rows.append([name, f"{speed:.1f}"])
        ratio(f"training pairs, {name}, times as many as from whole clips", speed / whole)
    table(["way", "samples per processor second"], rows)


class Waiting(L.Callback):
    """Time from the end of one batch to the start of the next, and all time, after the first five batches."""

    def __init__(self) -> None:
        self.waited = self.total = 0.0
        self.ended: float | None = None

    def on_train_batch_start(self, trainer: L.Trainer, *_: object) -> None:
        self.started = time.perf_counter()
        if self.ended is not None and trainer.global_step > 5:
            self.waited += self.started - self.ended

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        before, self.ended = self.ended, time.perf_counter()
        if before is not None and trainer.global_step > 6:
            self.total += self.ended - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--steps", type=int, default=30)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compare(arguments.clips, Path(folder))

        import train
        from preprocess.synthetic.puppets import write_puppets

        manifest = write_puppets(Path(folder) / "puppets", identities=10, clips=1, frames=12, size=64)
        with redirect_stdout(sys.stderr):  # training says what it has
            cli = train.main(
                [
                    "fit", "--config", str(Path(__file__).resolve().parent.parent / "configs/puppets-64.yaml"),
                    f"--data.manifest={manifest}", "--data.workers=2", "--data.cache=false", "--data.repeats=1000",
                    f"--trainer.max_steps={arguments.steps}", f"--trainer.logger.init_args.save_dir={folder}/logs",
                    "--trainer.callbacks+=data.Waiting", "--trainer.enable_progress_bar=false",
                ]
            )  # fmt: skip
        callbacks = cli.trainer.callbacks  # type: ignore[attr-defined]  # Lightning's connector sets it
        waiting = next(c for c in callbacks if type(c).__name__ == "Waiting")
        print(f"training waits for data {100 * waiting.waited / waiting.total:.2f} % of its time (2 workers).")


if __name__ == "__main__":
    main()
