"""From the records of an evaluation to the numbers of its report: means, intervals, differences, values per clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from fomm.errors import InputError
from fomm.evaluation import metrics, statistics
from fomm.evaluation.measures import Fid
from fomm.evaluation.measuring import Record, record_path
from fomm.evaluation.metrics import MetricInfo
from fomm.evaluation.tasks import PROTOCOLS, Task


class Results(NamedTuple):
    """What all records say together, as the report has it (docs/report_schema.md)."""

    protocols: dict[str, dict[str, Any]]
    failures: list[dict[str, str]]
    notes: list[str]
    frames: int


def collect(
    tasks: Sequence[Task],
    records: Path,
    models: Sequence[str],
    infos: Mapping[str, MetricInfo],
    baseline: str | None,
    size: int,
) -> Results:
    """Sum up the records, one after another.

    Args:
        tasks, records: as for `run_tasks`, all done.
        models: names of the contenders, in the order of the report.
        infos: the metrics that may occur.
        baseline: the contender that the others are compared with.
        size: side of the frames that were compared.

    Raises:
        InputError: a record is missing: another process did not finish, or writes elsewhere.
    """
    sums = {protocol: _ProtocolSums(models, infos, baseline) for protocol in PROTOCOLS}
    failures, notes, frames, resized_clips = [], [], 0, {}
    for i, task in enumerate(tasks):
        record = Record.load(record_path(records, i))
        if record is None:
            raise InputError(
                f"{record_path(records, i)}: no record of {task.name}; run the same command again, and with several "
                "nodes give an --output that all of them share"
            )
        sums[task.protocol].add(task, record)
        failures += [
            {"protocol": task.protocol, "clip": task.name, "model": model, "reason": reason}
            for model, reason in record.failed.items()
        ]
        notes += [note for note in record.notes if note not in notes]
        frames += record.frames
        for wh in record.sizes:
            if wh != (size, size):
                resized_clips.setdefault(wh, set()).update({task.source.clip_id, task.driving.clip_id})
    for (width, height), names in sorted(resized_clips.items()):
        how = "resized" if width == height else "cut to their central square and resized"
        notes.append(f"clips of {width}x{height} ({len(names)}, such as {min(names)}) were {how} to {size}x{size}")
    protocols = {protocol: total.result() for protocol, total in sums.items() if total.clips}
    return Results(protocols, failures, notes, frames)


class _ProtocolSums:
    """What is kept of the records of one protocol: sums per clip, and over relative time."""

    def __init__(self, models: Sequence[str], infos: Mapping[str, MetricInfo], baseline: str | None) -> None:
        self.models, self.infos, self.baseline = models, infos, baseline
        self.clips: list[dict[str, Any]] = []
        self.tallies: dict[tuple[str, str], dict[int, metrics.Tally]] = {}  # (metric, model) -> clip -> sums
        self.times: dict[tuple[str, str], np.ndarray] = {}  # (metric, model) -> (2, bins), totals and counts
        self.fids: dict[str, Fid] = {}

    def add(self, task: Task, record: Record) -> None:
        values: dict[str, dict[str, Any]] = {}
        for metric in self.infos:
            for model in self.models:
                array = record.values.get(model, {}).get(metric)
                if array is None:
                    continue
                tally = metrics.tally(array)
                self.tallies.setdefault((metric, model), {})[len(self.clips)] = tally
                self.times[metric, model] = self.times.get((metric, model), 0) + np.stack(statistics.over_time(array))
                values.setdefault(metric, {})[model] = {
                    "mean": _number(tally.mean), "frames": tally.frames, "missed": tally.missed
                }  # fmt: skip
        for model, (wanted, made) in record.features.items():
            fid = self.fids.setdefault(model, Fid(torch.nn.Identity(), wanted.shape[-1]))
            for features, real in ((wanted, True), (made, False)):
                fid.metric.update(torch.from_numpy(features).double(), real=real)
        self.clips.append(
            {
                "clip": task.name,
                "identity": task.source.identity,
                "source": task.source.clip_id,
                "driving": task.driving.clip_id,
                "truth": task.truth and task.truth.clip_id,
                "frames": record.frames,
                "values": values,
                "failed": record.failed,
            }
        )

    def result(self) -> dict[str, Any]:
        by_metric: dict[str, list[str]] = {}
        for metric, model in self.tallies:
            by_metric.setdefault(metric, []).append(model)
        over_time = {
            metric: {model: _over_time(self.times[metric, model]) for model in models}
            for metric, models in by_metric.items()
        }
        summary = {m: {model: self._summary(m, model) for model in models} for m, models in by_metric.items()}
        if self.fids:
            summary["fid"] = {model: self._fid(model) for model in self.models if model in self.fids}
        return {
            "summary": summary,
            "differences": self._differences(by_metric),
            "identities": self._identities(by_metric),
            "clips": self.clips,
            "over_time": over_time,
            "gallery": [],
        }

    def _summary(self, metric: str, model: str) -> dict[str, Any]:
        tallies = self.tallies[metric, model]
        totals, frames = [t.total for t in tallies.values()], [t.frames for t in tallies.values()]
        missed = sum(t.missed for t in tallies.values())
        pooled = metrics.Tally(float(np.sum(totals)), sum(frames), missed)
        means = [t.mean for t in tallies.values() if t.frames]
        groups = [self.clips[index]["identity"] for index in tallies]
        return {
            "pooled": _number(pooled.mean),
            "clip_mean": _number(statistics.ratio(means, [1.0] * len(means))),
            "interval": _numbers(statistics.interval(totals, frames, groups)),
            "frames": pooled.frames,
            "missed": pooled.missed,
            "pooled_with_misses": _number(pooled.mean_with_misses(self.infos[metric].penalty)),
        }

    def _fid(self, model: str) -> dict[str, Any]:
        """One number for all clips: neither a mean nor an interval."""
        fid = self.fids[model]
        frames = int(fid.metric.fake_features_num_samples)
        value = {"pooled": _number(fid.compute()), "frames": frames, "missed": 0}
        return value | dict.fromkeys(("clip_mean", "interval", "pooled_with_misses"))

    def _differences(self, by_metric: Mapping[str, list[str]]) -> dict[str, Any]:
        differences: dict[str, Any] = {}
        groups = [clip["identity"] for clip in self.clips]
        for metric, models in by_metric.items():
            if self.baseline not in models:
                continue
            means = {model: self._clip_means(metric, model) for model in models}
            for model in models:
                if model == self.baseline:
                    continue
                found = statistics.paired(
                    means[model], means[self.baseline], groups, lower_is_better=self.infos[metric].better == "lower"
                )
                differences.setdefault(metric, {})[model] = found._asdict() | {
                    "mean": _number(found.mean),
                    "interval": _numbers(found.interval),
                }
        return differences

    def _clip_means(self, metric: str, model: str) -> list[float | None]:
        tallies = self.tallies[metric, model]
        return [tallies[i].mean if i in tallies and tallies[i].frames else None for i in range(len(self.clips))]

    def _identities(self, by_metric: Mapping[str, list[str]]) -> dict[str, Any]:
        identities: dict[str, Any] = {}
        for name in sorted({clip["identity"] for clip in self.clips}):
            mine = [i for i, clip in enumerate(self.clips) if clip["identity"] == name]
            values: dict[str, dict[str, float | None]] = {}
            for metric, models in by_metric.items():
                for model in models:
                    tallies = [t for i in mine if (t := self.tallies[metric, model].get(i))]
                    pooled = statistics.ratio([t.total for t in tallies], [t.frames for t in tallies])
                    values.setdefault(metric, {})[model] = _number(pooled)
            frames = sum(self.clips[i]["frames"] for i in mine)
            identities[name] = {"clips": len(mine), "frames": frames, "values": values}
        return identities


def _number(value: float | None) -> float | None:
    """As a report has it: nine digits, more than float32 has; null for "there is none"."""
    return None if value is None or not np.isfinite(value) else float(f"{value:.9g}")


def _numbers(values: tuple[float, float] | None) -> list[float | None] | None:
    return None if values is None else [_number(value) for value in values]


def _over_time(sums: np.ndarray) -> list[float | None]:
    return [_number(total / count) if count else None for total, count in sums.T]
