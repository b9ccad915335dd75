"""The tables of a report, built once as data; page, Markdown and terminal only differ in how they print them.

Every number carries its full value beside the printed digits. Digits follow the interval: the narrowest of a row is
printed with two significant digits of its width.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeGuard

from fomm.report.published import PUBLISHED, REPRODUCED_WITHIN, SETTING
from fomm.report.schema import PROTOCOLS, Difference, Metric, Protocol, Report, Summary

ARROWS = {"lower": "↓", "higher": "↑"}
MAX_IDENTITIES_SHOWN = 100
MAX_FAILURES_SHOWN = 100

Tone = Literal["", "good", "bad"]


@dataclass(frozen=True)
class Interval:
    """A difference with its interval and the direction that is better, for drawing."""

    mean: float
    low: float
    high: float
    better: str


@dataclass(frozen=True)
class Cell:
    """What stands in one place of a table: the text, a smaller note after it, and what both stand for."""

    text: str
    note: str = ""
    value: float | None = None  # the unrounded number
    best: bool = False
    header: bool = False
    tone: Tone = ""
    href: str = ""
    interval: Interval | None = None
    shares: tuple[int, int, int] | None = None  # wins, ties, losses


@dataclass(frozen=True)
class Group:
    """Rows under one heading, which stands in the first column."""

    head: Cell
    rows: list[list[Cell]]


@dataclass(frozen=True)
class Table:
    caption: str
    columns: list[str]
    groups: list[Group]
    notes: list[str] = field(default_factory=list)


# ------------------------------------------------------------------------------------------------------------ numbers


def is_number(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def interval_of(entry: Summary | Difference) -> tuple[float, float] | None:
    """The interval of an entry of the report, where it has one."""
    low, high = entry.interval or (None, None)
    return (low, high) if is_number(low) and is_number(high) else None


def digits_for(values: Iterable[float | None], intervals: Iterable[Sequence[float] | None] = ()) -> int:
    """How many decimals a row of numbers deserves: by its narrowest interval, else three significant digits.

    An interval more than ten times narrower than the middle one is luck and asks for digits that the others lack.
    """
    sizes = [abs(v) for v in values if is_number(v) and v != 0]
    orders = [math.floor(math.log10(size)) for size in sizes] or [0]
    order = max(orders)
    widths = [i[1] - i[0] for i in intervals if i is not None]
    widths = [w for w in widths if is_number(w) and w > 10.0 ** (order - 6)]  # narrower ones are rounding noise
    if not widths:
        return min(max(2 - min(orders), 0), max(4 - order, 0), 9)
    width = max(min(widths), sorted(widths)[(len(widths) - 1) // 2] / 10)
    return min(max(1 - math.floor(math.log10(width)), 0), max(4 - order, 0), 9)


def number(value: float | None, digits: int, *, sign: bool = False) -> str:
    """`value` with `digits` decimals; "–" for none, a real minus sign, never "-0"."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{abs(value):,.{digits}f}".replace(",", "\u202f" if abs(value) >= 10000 else "")
    if float(f"{abs(value):.{digits}f}") == 0:
        return text
    return ("−" if value < 0 else "+" if sign else "") + text


def bounds(interval: Sequence[float] | None, digits: int, *, sign: bool = False) -> str:
    if interval is None:
        return ""
    return f"[{number(interval[0], digits, sign=sign)}, {number(interval[1], digits, sign=sign)}]"


def percent(part: float, whole: float) -> str:
    if not whole:
        return "–"
    share = 100 * part / whole
    return f"{share:.1f} %" if 0 < share < 10 else f"{share:.0f} %"


def plural(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}".replace(",", "\u202f")


# ------------------------------------------------------------------------------------------------- who is in a report


def ordered_models(report: Report) -> list[str]:
    """Contenders first, then what they are compared with, each in the order given."""
    first = contenders(report)
    return first + [model.name for model in report.models if model.name not in first]


def baseline_name(report: Report) -> str | None:
    """Against which the differences are: the first model with that role."""
    return next((m.name for m in report.models if m.role == "baseline"), None)


def contenders(report: Report) -> list[str]:
    """The candidates that a reader asks about: those with weights; repeating the source picture is only a yardstick."""
    candidates = [m for m in report.models if m.role == "candidate"]
    return [m.name for m in candidates if m.checkpoint] or [m.name for m in candidates]


def present(report: Report, by_model: Mapping[str, object]) -> list[str]:
    return [name for name in ordered_models(report) if name in by_model]


def metric_order(report: Report, table: Mapping[str, object]) -> list[str]:
    """The metrics of a table of a protocol in the order of their descriptions."""
    return [name for name in report.metrics if name in table]


def protocol_title(name: str) -> str:
    return PROTOCOLS[name][0] if name in PROTOCOLS else name.replace("_", " ")


def metric_label(metric: Metric) -> str:
    return f"{metric.label} {ARROWS.get(metric.better, '')}".strip()


def metric_cell(name: str, metric: Metric) -> Cell:
    return Cell(metric_label(metric), note=metric.unit, href=f"metric-{name}", header=True)


# ------------------------------------------------------------------------------------------------------------- tables


def summary_table(report: Report, name: str) -> Table:
    """Every metric of a protocol: pooled with its interval, averaged over clips, and misses in both treatments."""
    protocol = report.protocols[name]
    models = [m for m in ordered_models(report) if any(m in by for by in protocol.summary.values())]
    groups = []
    for metric in metric_order(report, protocol.summary):
        info, by_model = report.metrics[metric], protocol.summary[metric]
        entries = [by_model.get(model) for model in models]
        there = [entry for entry in entries if entry is not None]
        misses = any(entry.missed for entry in there)
        digits = digits_for(
            [value for entry in there for value in (entry.pooled, entry.clip_mean)],
            [interval_of(entry) for entry in there],
        )
        rows = [value_row("misses left out" if misses else "pooled", entries, "pooled", digits, info.better)]
        if misses and any(entry.pooled_with_misses is not None for entry in there):
            rows.append(value_row("misses counted", entries, "pooled_with_misses", digits, info.better))
        if any(entry.without_first is not None for entry in there):
            rows.append(value_row("without first frames", entries, "without_first", digits, info.better))
        if any(entry.clip_mean is not None for entry in there):
            rows.append(value_row("mean of clips", entries, "clip_mean", digits, info.better))
        if misses:
            rows.append([Cell("missed frames", header=True), *map(_missed, entries)])
        groups.append(Group(metric_cell(metric, info), rows))
    baseline = baseline_name(report)
    columns = ["Metric", "Over", *[f"{model} (baseline)" if model == baseline else model for model in models]]
    if not groups:
        done = any(clip.frames for clip in protocol.clips)
        why = "None of the computed metrics applies here" if done else "No clip was completed"
        return Table(f"{protocol_title(name)}: values", columns, groups, [f"{why}, so there are no numbers."])
    notes = ["↓ lower is better, ↑ higher is better; the best of a row is bold."]
    if any(len({*map(_looked_at, by.values())}) > 1 for by in protocol.summary.values()):
        notes[0] += " A model of which clips failed is left out of that: its numbers are of fewer frames."
    all_entries = [entry for by_model in protocol.summary.values() for entry in by_model.values()]
    if any(entry.missed for entry in all_entries):
        notes.append(
            "Misses left out or counted: both pooled over frames; the mean of clips leaves them out. Where no missed "
            "frames are listed, none was missed; where they are but are not counted, a miss has no value to count as."
        )
    else:
        notes.append("No frame was missed by any metric.")
    if any(entry.without_first is not None for entry in all_entries):
        notes.append("The first frame of a reconstruction is the source itself; without it: the other frames, pooled.")
    if any(interval_of(entry) for entry in all_entries):
        notes.append("In brackets: 95 % interval over identities.")
    return Table(f"{protocol_title(name)}: values", columns, groups, notes)


def value_row(label: str, entries: list[Summary | None], key: str, digits: int, better: str) -> list[Cell]:
    """One row of a table of values, the best of them marked: of those that are of all frames, failed clips too."""
    found: list[float | None] = [getattr(entry, key) if entry else None for entry in entries]
    texts = [number(value, digits) for value in found]
    counts = [_looked_at(entry) for entry in entries]
    values = [value for value, count in zip(found, counts, strict=True) if is_number(value) and count == max(counts)]
    best = number((min if better == "lower" else max)(values), digits) if len(values) > 1 else None
    if values and all(text == best for text, entry in zip(texts, entries, strict=True) if entry):
        best = None  # nobody is ahead
    row = [Cell(label, header=True)]
    for text, entry, value, count in zip(texts, entries, found, counts, strict=True):
        note = bounds(interval_of(entry), digits) if entry and key == "pooled" else ""
        row.append(Cell(text, note, value, best=text == best and count == max(counts)))
    return row


def _looked_at(entry: Summary | None) -> int:
    """How many frames an entry is of; fewer than others' where clips failed."""
    return entry.frames + entry.missed if entry else 0


def _missed(entry: Summary | None) -> Cell:
    if entry is None:
        return Cell("–")
    total = entry.frames + entry.missed
    return Cell(f"{entry.missed} of {total}", note=percent(entry.missed, total), value=entry.missed)


def difference_tables(report: Report, name: str) -> list[Table]:
    """One table per model: paired differences from the baseline, with interval, verdict and wins per clip."""
    protocol, baseline = report.protocols[name], baseline_name(report)
    tables = []
    for model in ordered_models(report):
        metrics = [m for m in metric_order(report, protocol.differences) if model in protocol.differences[m]]
        if not metrics:
            continue
        groups = []
        for metric in metrics:
            info, entry = report.metrics[metric], protocol.differences[metric][model]
            span = interval_of(entry)
            digits = digits_for([entry.mean], [span])
            while span and digits < 9 and any(end and not float(f"{end:.{digits}f}") for end in span):
                digits += 1  # an end beside zero must not read as zero: the verdict hangs on its side
            verdict, tone = judge(entry, info.better)
            interval = Interval(entry.mean, span[0], span[1], info.better) if span and is_number(entry.mean) else None
            row = [
                Cell(number(entry.mean, digits, sign=True), value=entry.mean, tone=tone),
                Cell(bounds(span, digits, sign=True) or "none", interval=interval),
                Cell(_relative(report, protocol, metric, entry)),
                Cell(verdict, tone=tone),
                Cell(
                    f"{entry.wins} / {entry.ties} / {entry.losses}",
                    note=f"of {entry.clips}",
                    shares=(entry.wins, entry.ties, entry.losses),
                ),
            ]
            groups.append(Group(metric_cell(metric, info), [row]))
        columns = ["Metric", "Difference", "95 % interval", "Relative", "Verdict", "Clips won / tied / lost"]
        tables.append(Table(f"{protocol_title(name)}: {model} minus {baseline}", columns, groups))
    if tables:
        tables[-1].notes.append(
            "Differences of clip means, paired clip by clip, then averaged by identity (in cross-identity by source "
            "and driver), each of the same weight; relative: in percent of the baseline's mean of clips, for errors "
            "only; tied: equal but for rounding. A verdict is given where the interval leaves out zero; there is no "
            "interval of fewer than 3 identities, as sources or as drivers. A drawn interval has a scale of its own, "
            "with better to the right of the line at zero."
        )
    return tables


def judge(entry: Difference, better: str) -> tuple[str, Tone]:
    """What a difference says: ("better" | "worse" | "undecided" | "no interval", tone)."""
    interval = interval_of(entry)
    if interval is None:
        return "no interval", ""
    if interval[0] <= 0 <= interval[1]:
        return "undecided", ""
    is_better = (interval[1] < 0) == (better == "lower")
    return ("better", "good") if is_better else ("worse", "bad")


def _relative(report: Report, protocol: Protocol, metric: str, entry: Difference) -> str:
    """Change in percent of the baseline, for errors: only they have a zero that means something."""
    known = protocol.summary.get(metric, {}).get(baseline_name(report) or "")
    base = known.clip_mean if known else None
    if report.metrics[metric].better != "lower" or not base or base < 0 or not is_number(entry.mean):
        return "–"
    change = 100 * entry.mean / base
    return number(change, 1 if abs(change) < 10 else 0, sign=True) + " %"


def identities_table(report: Report, name: str) -> Table | None:
    """Every metric of every identity, one row per model."""
    protocol = report.protocols[name]
    identities = protocol.identities
    shown = dict(list(identities.items())[:MAX_IDENTITIES_SHOWN])
    metrics = [m for m in report.metrics if any(m in entry.values for entry in shown.values())]
    if not metrics:
        return None
    digits = {m: digits_for([v for entry in shown.values() for v in entry.values.get(m, {}).values()]) for m in metrics}
    groups = []
    for identity, entry in shown.items():
        models = [m for m in ordered_models(report) if any(m in by for by in entry.values.values())]
        rows = [
            [Cell(model, header=True)]
            + [Cell(number(v, digits[m]), value=v) for m in metrics for v in [entry.values.get(m, {}).get(model)]]
            for model in models
        ]
        size = f"{plural(entry.clips, 'clip')}, {plural(entry.frames, 'frame')}"
        groups.append(Group(Cell(identity, note=size, header=True), rows))
    notes = []
    if len(identities) > len(shown):
        notes.append(f"The first {len(shown)} of {len(identities)}; report.json has them all.")
    described = [report.metrics[m] for m in metrics]
    names = [metric_label(info) + (f" ({info.unit})" if info.unit else "") for info in described]
    columns = ["Identity", "Model", *names]
    return Table(f"{protocol_title(name)}: by identity", columns, groups, notes)


def models_table(report: Report) -> Table:
    groups = []
    columns = ["Model", "Role", "Checkpoint", "sha256", "Size", "Keypoints"]
    columns += ["Notes"] if any(model.notes for model in report.models) else []
    for name in ordered_models(report):
        model = next(m for m in report.models if m.name == name)
        size = model.image_size
        row = [
            Cell(model.role),
            Cell(str(model.checkpoint or "no weights")),
            Cell((model.sha256 or "–")[:12]),
            Cell(f"{size}x{size}" if size else "–"),
            Cell(str(model.num_keypoints or "–")),
            Cell("; ".join(model.notes)),
        ]
        groups.append(Group(Cell(name, header=True), [row[: len(columns) - 1]]))
    return Table("Models", columns, groups)


def published_table() -> Table:
    """Numbers of papers, never beside ours."""
    groups = []
    for row in PUBLISHED:
        numbers = [Cell(n.text, value=float(n.text), href=n.confirmed_at) for n in row.numbers.values()]
        groups.append(Group(Cell(row.method, header=True), [[*numbers, Cell(row.source)]]))
    names = ["akd_face_alignment ↓ (px)", "aed_openface ↓"]
    notes = [
        f"Measured on {SETTING}. Compare them only with numbers of the same detector or network on the same data.",
        f"There, a result within {REPRODUCED_WITHIN:.0%} counts as reproduced.",
        "akd_face_alignment: mean of |dx| and |dy| of 68 landmarks, px at 256; aed_openface: squared L2 distance of "
        "OpenFace embeddings.",
    ]
    return Table("Published numbers", ["Method", *names, "Source"], groups, notes)


def failures_table(report: Report) -> Table | None:
    groups = [
        Group(
            Cell(failure.clip, header=True),
            [[Cell(failure.model), Cell(protocol_title(failure.protocol)), Cell(failure.reason)]],
        )
        for failure in report.failures[:MAX_FAILURES_SHOWN]
    ]
    more = [f"The first {len(groups)} of {len(report.failures)}; report.json has them all."]
    notes = more if len(report.failures) > len(groups) else []
    return Table("Clips that failed", ["Clip", "Model", "Protocol", "Reason"], groups, notes) if groups else None


def not_computed_table(report: Report) -> Table | None:
    groups = [
        Group(Cell(entry.metric, header=True), [[Cell(entry.reason), Cell(entry.how)]]) for entry in report.not_computed
    ]
    return Table("Not computed", ["Metric", "Why", "How to get it"], groups) if groups else None
