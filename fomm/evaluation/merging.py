"""Several reports on the same data become one: a leaderboard."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from itertools import combinations
from pathlib import Path
from typing import Any, TypeVar

from fomm.errors import InputError
from fomm.evaluation.measuring import RECORDS
from fomm.evaluation.results import differences, who_of
from fomm.files import atomic_output
from fomm.report.schema import Clip, Model, Protocol, Report, Run, read_report
from fomm.report.tables import baseline_name

T = TypeVar("T")
SAME_DATA = ("manifest_sha256", "pairs_sha256", "split", "size")
SAME_SETTINGS = ("limit", "every", "precision")
COUNTS = ("clips", "identities", "frames")


def merge_folders(reports: Sequence[str], output: str, *, command: Sequence[str]) -> Report:
    """Read reports and merge them; their videos are copied to the folder `output`.

    Args:
        reports: folders, or report.json files.

    Raises:
        InputError: no output, fewer than two, not reports, the output is one of them, or `merge_reports` refuses.
    """
    if not output.strip():
        raise InputError("--output: is empty; name a folder for the leaderboard")
    if len(reports) < 2:
        raise InputError(f"{len(reports)} report(s) given; name at least two folders of reports")
    paths = [Path(each) if Path(each).suffix == ".json" else Path(each) / "report.json" for each in reports]
    places = [path.resolve() for path in paths]
    if twice := [path for path, place in zip(paths, places, strict=True) if places.count(place) > 1]:
        raise InputError(f"{twice[0]}: is named twice; name each report once")
    folder = Path(output)
    if folder.resolve() in [place.parent for place in places]:
        raise InputError(f"--output {folder}: is one of the reports, which stays as it is; give another folder")
    if (folder / RECORDS).exists():
        raise InputError(f"--output {folder}: holds an evaluation, which stays as it is; give another folder")
    read = [read_report(path) for path in paths]
    for (one, first), (two, other) in combinations(zip(paths, read, strict=True), 2):
        _require_same(one, first, two, other)
    merged = merge_reports(read, command=command)
    wanted = {shown.media for protocol in merged.protocols.values() for shown in protocol.gallery}
    for number, (path, report) in enumerate(zip(paths, read, strict=True)):
        for protocol in report.protocols.values():
            for shown in protocol.gallery:
                source = (path.parent / shown.media).resolve()
                copy = _media(number, shown.media)
                if copy in wanted and source.is_relative_to(path.parent.resolve()) and source.is_file():
                    with atomic_output(folder / copy) as part:
                        shutil.copyfile(source, part)
    return merged


def _media(number: int, name: str) -> str:
    return f"media/{number}_{Path(name).name}"


def _require_same(first_path: Path, first: Report, path: Path, other: Report) -> None:
    """Raises InputError unless numbers of both may stand in one table."""
    pairs: dict[str, tuple[Any, Any]] = {key: (getattr(first.data, key), getattr(other.data, key)) for key in SAME_DATA}
    pairs |= {key: (first.settings.get(key), other.settings.get(key)) for key in SAME_SETTINGS}
    pairs |= {
        f"definition of {name}": ((one.definition, one.source), (two.definition, two.source))
        for name, one in first.metrics.items()
        if (two := other.metrics.get(name))
    }
    for name in first.protocols.keys() & other.protocols.keys():
        a, b = ({c.clip: c.frames for c in r.protocols[name].clips if c.frames} for r in (first, other))
        pairs[f"frames of clips ({name})"] = (
            {c: a[c] for c in a.keys() & b.keys()},
            {c: b[c] for c in a.keys() & b.keys()},
        )
    if wrong := sorted(key for key, (one, two) in pairs.items() if one != two):
        raise InputError(
            f"{path}: was not measured as {first_path} was ({', '.join(wrong)} differ), so that they do not compare; "
            "evaluate both on the same lists with the same options"
        )


def merge_reports(reports: Sequence[Report], *, command: Sequence[str]) -> Report:
    """One report of several on the same data; differences are from the first baseline that a report names.

    Of a model that several have (name and hash), each metric is taken from the first that has it. Raises InputError
    where one name stands for two models.
    """
    first, baseline = reports[0], next(filter(None, map(baseline_name, reports)), None)
    models: dict[str, Model] = {}
    owners: list[set[str]] = []  # of each report, the models that no report before it has
    for report in reports:
        mine = set()
        for model in report.models:
            known = models.get(model.name)
            if known is None:
                role = "baseline" if model.name == baseline else "candidate"
                models[model.name] = model.model_copy(update={"role": role})
                mine.add(model.name)
            elif known.sha256 != model.sha256:
                raise InputError(
                    f"two reports have different models named {model.name}; evaluate one of them under another file "
                    "name"
                )
        owners.append(mine)
    metrics = {name: metric for report in reports for name, metric in report.metrics.items()}
    names = dict.fromkeys(name for report in reports for name in report.protocols)
    better = {name: metric.better for name, metric in metrics.items()}
    protocols = {name: _merged(name, reports, owners, baseline, better) for name in names}
    versions = {key for report in reports for key, value in report.versions.items() if first.versions.get(key) != value}
    warnings = list(dict.fromkeys(text for report in reports for text in report.data.warnings))
    if versions:
        warnings.append(f"The reports were made with different versions of {', '.join(sorted(versions))}.")
    return Report(
        run=Run(
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            elapsed_s=sum(report.run.elapsed_s for report in reports),
            command=list(command),
            hardware={"merged": [report.run.hardware for report in reports]},
        ),
        settings=first.settings | {"baseline": baseline},
        versions=first.versions,
        data=first.data.model_copy(
            update={name: max(getattr(report.data, name) for report in reports) for name in COUNTS}
            | {"warnings": warnings}
        ),
        models=list(models.values()),
        metrics=metrics,
        not_computed=[row for row in first.not_computed if row.metric not in metrics],
        protocols=protocols,
        failures=[f for report, mine in zip(reports, owners, strict=True) for f in report.failures if f.model in mine],
    )


def _merged(
    name: str, reports: Sequence[Report], owners: Sequence[set[str]], baseline: str | None, better: dict[str, str]
) -> Protocol:
    merged = Protocol(summary={}, differences={}, identities={}, clips=[], over_time={}, gallery=[])
    clips: dict[str, Clip] = {}
    first: dict[tuple[str, str], int] = {}  # (metric, model) -> the report whose numbers of it are taken

    def take(number: int, tables: Mapping[str, Mapping[str, T]], into: dict[str, dict[str, T]]) -> None:
        for metric, of in tables.items():
            mine = {m: value for m, value in of.items() if first.setdefault((metric, m), number) == number}
            if mine:
                into.setdefault(metric, {}).update(mine)

    for number, (report, new) in enumerate(zip(reports, owners, strict=True)):
        if name not in report.protocols:
            continue
        protocol = report.protocols[name]
        take(number, protocol.summary, merged.summary)
        take(number, protocol.over_time, merged.over_time)
        for identity, entry in protocol.identities.items():
            known = merged.identities.setdefault(identity, entry.model_copy(update={"values": {}}))
            take(number, entry.values, known.values)
        for clip in protocol.clips:
            ours = clips.setdefault(clip.clip, clip.model_copy(update={"values": {}, "failed": {}}))
            ours.frames = max(ours.frames, clip.frames)
            ours.failed.update({m: reason for m, reason in clip.failed.items() if m in new})
            take(number, clip.values, ours.values)
        if new:
            merged.gallery += [s.model_copy(update={"media": _media(number, s.media)}) for s in protocol.gallery]
    merged.clips = list(clips.values())
    means = {
        metric: {model: [clip.mean(metric, model) for clip in merged.clips] for model in models}
        for metric, models in merged.summary.items()
    }
    there = {metric: of for metric, of in means.items() if any(mean is not None for mean in of.get(baseline or "", ()))}
    merged.differences = differences(there, [who_of(clip) for clip in merged.clips], baseline, better)
    return merged
