"""The values of single frames, as a CSV file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fomm.evaluation.measuring import Record, record_path
from fomm.evaluation.tasks import Task
from fomm.manifest import cell, csv_output


def write_per_frame(
    path: Path, tasks: Sequence[Task], records: Path, models: Sequence[str], metrics: Sequence[str], every: int = 1
) -> None:
    """One row for each frame and model, a column for each metric that has a value per frame.

    Empty: missed, or nothing to compare with. Jitter, which is of three frames, stands at the middle one, tOF, which is
    of two, at the later one. Metrics of whole clips are in per_clip.csv.

    Args:
        tasks, records: of the evaluation, all done.
        models, metrics: names, in the order that is wanted.
        every: distance in frames of those that were measured.
    """
    with csv_output(path, ["protocol", "clip", "frame", "model", *metrics]) as writer:
        for number, task in enumerate(tasks):
            record = Record.load(record_path(records, number), features=False) or Record()
            for model in models:
                of = record.values.get(model, {})
                columns = [_column(of.get(metric), record.frames) for metric in metrics]
                for i, row in enumerate(zip(*columns, strict=True) if of else ()):
                    texts = [f"{value:.7g}" if np.isfinite(value) else "" for value in row]
                    writer.writerow([task.protocol, cell(task.name), i * every, cell(model), *texts])


def _column(values: np.ndarray | None, frames: int) -> np.ndarray:
    """(frames,), NaN where there is no value."""
    column = np.full(frames, np.nan)
    if values is not None and 0 <= frames - len(values) <= 2:
        first = min(1, frames - len(values))
        column[first : first + len(values)] = values
    return column
