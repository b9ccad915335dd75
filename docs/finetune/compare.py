"""The tutorial's two pictures; `python docs/finetune/compare.py --help` explains it."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import torch
from jsonargparse import CLI
from matplotlib.figure import Figure

from fomm.checkpoint import load_model
from fomm.errors import run
from fomm.pixels import to_pictures
from fomm.training.data import ClipData
from fomm.video import write_image


def compare(
    *, scratch: str, finetuned: str, data: str, output: str, size: int = 64, rows: int = 5, zoom: int = 2
) -> None:
    """Draw two runs' held-out error into `curve.png`, and what their last weights make of held-out clips into
    `pictures.png`: source, driving, from scratch, fine-tuned.

    Args:
        scratch: folder of the run from scratch (with its metrics.csv and weights-last.safetensors).
        finetuned: folder of the fine-tuned run.
        data: the folder of videos that both were trained on.
        output: folder for the pictures.
        size: side of the frames that they were trained on.
        rows: pairs in `pictures.png`.
        zoom: enlargement of `pictures.png`.
    """
    runs = {"from scratch": Path(scratch), "fine-tuned": Path(finetuned)}
    draw_curves({name: held_out(run / "metrics.csv") for name, run in runs.items()}, Path(output) / "curve.png")
    models = [load_model(run / "weights-last.safetensors").model.eval() for run in runs.values()]
    clips = ClipData(manifest=data, size=size, batch_size=1)
    clips.prepare_data()
    clips.setup("fit")
    pairs = clips.held_out_pairs
    # From each clip in turn the frame that differs most from its source.
    most = {}
    for pair, (clip, _) in zip(pairs, pairs.items, strict=True):
        change = (pair["source"] - pair["driving"]).abs().mean()
        if clip.clip_id not in most or change > most[clip.clip_id][0]:
            most[clip.clip_id] = change, pair
    grid = []
    for _, pair in list(most.values())[:rows]:
        source, driving = pair["source"][None], pair["driving"][None]
        with torch.no_grad():
            made = [model(source, driving).prediction for model in models]
        grid.append(np.hstack([to_pictures(image)[0] for image in (source, driving, *made)]))
    picture = np.vstack(grid)
    write_image(
        Path(output) / "pictures.png", cv2.resize(picture, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
    )


def held_out(table: Path) -> list[tuple[int, float]]:
    """(steps, val/l1_ratio) of a metrics.csv."""
    with table.open(newline="") as stream:
        return [(int(r["step"]), float(r["val/l1_ratio"])) for r in csv.DictReader(stream) if r.get("val/l1_ratio")]


def draw_curves(curves: dict[str, list[tuple[int, float]]], path: Path) -> None:
    figure = Figure(figsize=(7, 4), layout="constrained")
    panel = figure.subplots()
    for name, points in curves.items():
        panel.plot(*zip(*points, strict=True), label=name, marker="o")
    panel.axhline(1, color="grey", linestyle=":", label="the source unchanged")
    panel.set(xlabel="step", ylabel="held-out L1, relative to the source unchanged")
    panel.grid(alpha=0.3)
    panel.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    run(lambda: CLI(compare, as_positional=False))
