"""From the records of an evaluation to the numbers of its report: means, intervals, differences, values per clip."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torchmetrics.image import FrechetInceptionDistance, KernelInceptionDistance

from fomm.errors import InputError
from fomm.evaluation import metrics, statistics
from fomm.evaluation.definitions import MetricInfo
from fomm.evaluation.measuring import Record, record_path
from fomm.evaluation.tasks import Task
from fomm.report.schema import PROTOCOLS, Clip, ClipValue, Difference, Failure, Identity, Protocol, Summary


class Results(NamedTuple):
    """What all records say together, as the report has it (docs/report_schema.md)."""

    protocols: dict[str, Protocol]
    failures: list[Failure]
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
    failures: list[Failure] = []
    notes: list[str] = []
    frames, resized_clips = 0, dict[tuple[int, int], set[str]]()
    for i, task in enumerate(tasks):
        record = Record.load(record_path(records, i))
        if record is None:
            raise InputError(
                f"{record_path(records, i)}: no record of {task.name}; run the same command again, and with several "
                "nodes give an --output that all of them share"
            )
        sums[task.protocol].add(task, record)
        failures += [
            Failure(protocol=task.protocol, clip=task.name, model=model, reason=reason)
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
        self.clips: list[Clip] = []
        self.tallies: dict[tuple[str, str], dict[int, metrics.Tally]] = {}  # (metric, model) -> clip -> sums
        self.later: dict[tuple[str, str], list[metrics.Tally]] = {}  # without first frames that the source equals
        self.times: dict[tuple[str, str], np.ndarray] = {}  # (metric, model) -> (2, bins), totals and counts
        self.sets: dict[str, dict[str, Fid | Kid]] = {"fid": {}, "kid": {}, "fvd": {}}  # metric -> model -> sums

    def add(self, task: Task, record: Record) -> None:
        values: dict[str, dict[str, ClipValue]] = {}
        for metric in self.infos:
            for model in self.models:
                array = record.values.get(model, {}).get(metric)
                if array is None:
                    continue
                tally = metrics.tally(array)
                self.tallies.setdefault((metric, model), {})[len(self.clips)] = tally
                if task.source == task.truth and "truth" in self.infos[metric].needs and len(array) == record.frames:
                    self.later.setdefault((metric, model), []).append(metrics.tally(array[1:]))
                self.times[metric, model] = self.times.get((metric, model), 0) + np.stack(statistics.over_time(array))
                values.setdefault(metric, {})[model] = ClipValue(
                    mean=_number(tally.mean), frames=tally.frames, missed=tally.missed
                )
        for metric, sums in self.sets.items():
            features = record.video_features if metric == "fvd" else record.features
            for model, (wanted, made) in features.items() if metric in self.infos else ():
                if model not in sums:  # a `Fid` has matrices that take a while to make
                    sums[model] = Kid(wanted.shape[-1]) if metric == "kid" else Fid(wanted.shape[-1])
                sums[model].add(wanted, made)
        self.clips.append(
            Clip(
                clip=task.name,
                identity=task.source.identity,
                driver=task.driving.identity,
                source=task.source.clip_id,
                driving=task.driving.clip_id,
                truth=task.truth.clip_id if task.truth else None,
                frames=record.frames,
                values=values,
                failed=record.failed,
            )
        )

    def result(self) -> Protocol:
        by_metric: dict[str, list[str]] = {}
        there = {metric for (metric, _), of in self.tallies.items() if any(t.frames or t.missed for t in of.values())}
        for metric, model in self.tallies:
            if metric in there:  # not where no clip says anything about it
                by_metric.setdefault(metric, []).append(model)
        for clip in self.clips:
            clip.values = {metric: of for metric, of in clip.values.items() if metric in there}
        over_time = {
            metric: {model: _over_time(self.times[metric, model]) for model in models}
            for metric, models in by_metric.items()
        }
        summary = {m: {model: self._summary(m, model) for model in models} for m, models in by_metric.items()}
        for metric, sums in self.sets.items():
            if sums:
                summary[metric] = {model: _of_set(sums[model]) for model in self.models if model in sums}
        means = {m: {model: self._clip_means(m, model) for model in models} for m, models in by_metric.items()}
        people = [who_of(clip) for clip in self.clips]
        better = {metric: info.better for metric, info in self.infos.items()}
        return Protocol(
            summary=summary,
            differences=differences(means, people, self.baseline, better),
            identities=self._identities(by_metric),
            clips=self.clips,
            over_time=over_time,
            gallery=[],
        )

    def _summary(self, metric: str, model: str) -> Summary:
        tallies = self.tallies[metric, model]
        totals, frames = [t.total for t in tallies.values()], [t.frames for t in tallies.values()]
        missed = sum(t.missed for t in tallies.values())
        later = self.later.get((metric, model), [])
        pooled = metrics.Tally(float(np.sum(totals)), sum(frames), missed)
        means = [t.mean for t in tallies.values() if t.frames]
        people = [who_of(self.clips[index]) for index in tallies]
        return Summary(
            pooled=_number(pooled.mean),
            clip_mean=_number(statistics.ratio(means, [1.0] * len(means))),
            interval=_numbers(statistics.interval(totals, frames, people)),
            frames=pooled.frames,
            missed=pooled.missed,
            pooled_with_misses=_number(pooled.mean_with_misses(self.infos[metric].penalty)),
            without_first=_number(statistics.ratio([t.total for t in later], [t.frames for t in later])),
        )

    def _clip_means(self, metric: str, model: str) -> list[float | None]:
        tallies = self.tallies[metric, model]
        return [tallies[i].mean if i in tallies and tallies[i].frames else None for i in range(len(self.clips))]

    def _identities(self, by_metric: Mapping[str, list[str]]) -> dict[str, Identity]:
        identities: dict[str, Identity] = {}
        for name in sorted({clip.identity for clip in self.clips}):
            mine = [i for i, clip in enumerate(self.clips) if clip.identity == name]
            values: dict[str, dict[str, float | None]] = {}
            for metric, models in by_metric.items():
                for model in models:
                    tallies = [t for i in mine if (t := self.tallies[metric, model].get(i))]
                    pooled = statistics.ratio([t.total for t in tallies], [t.frames for t in tallies])
                    values.setdefault(metric, {})[model] = _number(pooled)
            frames = sum(self.clips[i].frames for i in mine)
            identities[name] = Identity(clips=len(mine), frames=frames, values=values)
        return identities


class Fid:
    """The Fréchet distance of all that one model made, by so many features of each frame: a number for a set of clips,
    whatever the order of frames."""

    def __init__(self, num_features: int = 2048) -> None:
        self._metric = FrechetInceptionDistance(_as_they_are(num_features))
        self._metric.orig_dtype = torch.float64  # of the features: it rounds its result to their type

    @property
    def frames(self) -> int:
        return int(self._metric.fake_features_num_samples)

    def add(self, wanted: np.ndarray, made: np.ndarray) -> None:
        """Features (T, D) of what the frames should equal, and of what was made."""
        for features, real in ((wanted, True), (made, False)):
            self._metric.update(torch.from_numpy(features).double(), real=real)

    def compute(self) -> float:
        """The distance; NaN with fewer than two frames."""
        try:
            return float(self._metric.compute())
        except RuntimeError as error:
            if "More than one sample" not in str(error):
                raise
            return float("nan")


class Kid:
    """The kernel distance of all that one model made, by so many features of each frame; for a set of clips."""

    MOST = 16384  # frames that are kept
    SUBSETS, SUBSET = 100, 1000

    def __init__(self, num_features: int = 2048) -> None:
        self.num_features = num_features
        self.frames = 0
        self._every = 1  # of so many frames one is kept
        self._kept: list[np.ndarray] = []  # (2, D)

    def add(self, wanted: np.ndarray, made: np.ndarray) -> None:
        """Features (T, D) of what the frames should equal, and of what was made."""
        for pair in np.stack([wanted, made], 1):
            if self.frames % self._every == 0:
                self._kept.append(pair)
            self.frames += 1
            if len(self._kept) > self.MOST:
                self._kept, self._every = self._kept[::2], 2 * self._every

    def compute(self) -> float:
        """The distance; NaN with fewer than two frames."""
        count = len(self._kept)
        if count < 2:
            return float("nan")
        whole = count <= self.SUBSET  # then every draw is the whole set
        subsets, subset = (1, count) if whole else (self.SUBSETS, self.SUBSET)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Metric `Kernel Inception Distance` will save all")  # `MOST` at most
            metric = KernelInceptionDistance(_as_they_are(self.num_features), subsets=subsets, subset_size=subset)
        for side, real in ((0, True), (1, False)):
            metric.update(torch.from_numpy(np.stack([pair[side] for pair in self._kept])).double(), real=real)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return float(metric.compute()[0])


def _as_they_are(num_features: int) -> Any:
    """In the place of a network, for features."""
    network: Any = torch.nn.Identity()
    network.num_features = num_features
    return network


def _of_set(found: Fid | Kid) -> Summary:
    """One number for all clips: neither a mean nor an interval."""
    return Summary(
        pooled=_number(found.compute()),
        clip_mean=None,
        interval=None,
        frames=found.frames,
        missed=0,
        pooled_with_misses=None,
    )


def differences(
    means: Mapping[str, Mapping[str, Sequence[float | None]]],
    people: Sequence[statistics.Who],
    baseline: str | None,
    better: Mapping[str, str],
) -> dict[str, dict[str, Difference]]:
    """Metric -> model -> its difference from the baseline, where both have the metric.

    Args:
        means: metric -> model -> (C,), one for each clip.
        people: (C,) the identities that each shows.
        better: metric -> "lower" or "higher".
    """
    result: dict[str, dict[str, Difference]] = {}
    for metric, by_model in means.items():
        if baseline is None or baseline not in by_model:
            continue
        lower = better[metric] == "lower"
        for model, values in by_model.items():
            if model != baseline:
                found = statistics.paired(values, by_model[baseline], people, lower_is_better=lower)
                numbers = {"mean": _number(found.mean), "interval": _numbers(found.interval)}
                result.setdefault(metric, {})[model] = Difference(**found._asdict() | numbers)
    return result


def who_of(clip: Clip) -> statistics.Who:
    """The identities that a clip shows."""
    return (clip.identity,) if clip.driver in (clip.identity, None) else (clip.identity, clip.driver)


def _number(value: float | None) -> float | None:
    """As a report has it: nine digits, more than float32 has; null for "there is none"."""
    return None if value is None or not np.isfinite(value) else float(f"{value:.9g}")


def _numbers(values: tuple[float, float] | None) -> tuple[float | None, float | None] | None:
    return values and (_number(values[0]), _number(values[1]))


def _over_time(sums: np.ndarray) -> list[float | None]:
    return [_number(total / count) if count else None for total, count in sums.T]
