"""report.json and its clips as one page that needs nothing else: no script, no font, no request."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from fomm.report import charts, sentences, tables
from fomm.report.charts import Series
from fomm.report.schema import PROTOCOLS, Protocol, Report

HERE = Path(__file__).resolve().parent
MEDIA_TYPES = {
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".gif": "image/gif",
}
STYLES = ("c0", "c2", "c3", "c4", "c5")  # c1 is the baseline's
KINDS = {"best": "Best", "median": "Median", "worst": "Worst"}


@dataclass(frozen=True)
class Plot:
    """What can be drawn of a metric: captions and SVG."""

    title: str
    unit: str
    figures: list[tuple[str, Markup]]


@dataclass(frozen=True)
class ShownClip:
    """A clip with its media as a data URI, and what a metric says of it."""

    kind: str
    clip: str
    source: str
    driving: str
    metric: str
    numbers: list[tuple[str, str]]  # model, its mean
    columns: list[str]
    media: str
    type: str
    uri: str


@dataclass(frozen=True)
class Section:
    """A protocol on the page."""

    id: str
    title: str
    about: str
    clips: int
    summary: tables.Table
    differences: list[tables.Table]
    identities: tables.Table | None
    plots: list[Plot]
    has_errors: bool
    gallery: list[tuple[str, list[ShownClip]]]


def render_page(report: Report, folder: Path) -> str:
    """The page as HTML; `folder` is where the paths of `media` begin. Everything from the report is escaped."""
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"interval_bar": charts.interval_bar, "share_bar": charts.share_bar, "words": _words}
    styles = model_styles(report)
    return environment.get_template("page.html").render(
        report=report,
        data=report.data,
        run=report.run,
        title=sentences.title(report),
        warnings=sentences.warnings(report),
        findings=sentences.findings(report),
        how_to_read=sentences.HOW_TO_READ,
        models=tables.models_table(report),
        published=tables.published_table(),
        not_computed=tables.not_computed_table(report),
        failures=tables.failures_table(report),
        protocols=[_section(report, name, folder, styles) for name in report.protocols],
        legend=[(name, styles[name]) for name in tables.ordered_models(report)],
        metric_label=tables.metric_label,
        command=shlex.join(report.run.command),
        css=(HERE / "page.css").read_text(encoding="utf-8"),
    )


def model_styles(report: Report) -> dict[str, str]:
    """Class of the style sheet for each model: one colour, one kind of line."""
    baseline = tables.baseline_name(report)
    others = [name for name in tables.ordered_models(report) if name != baseline]
    return {name: STYLES[i % len(STYLES)] for i, name in enumerate(others)} | ({baseline: "c1"} if baseline else {})


def _words(value: Any) -> str:
    """A setting as a person writes it."""
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    if value is None or value == []:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _section(report: Report, name: str, folder: Path, styles: dict[str, str]) -> Section:
    protocol = report.protocols[name]
    clips = list(_gallery(report, protocol, folder))
    kinds = dict.fromkeys(clip.kind for clip in clips)
    return Section(
        id=f"protocol-{list(report.protocols).index(name)}",
        title=tables.protocol_title(name),
        about=PROTOCOLS.get(name, ("", ""))[1],
        clips=len(protocol.clips),
        summary=tables.summary_table(report, name),
        differences=tables.difference_tables(report, name),
        identities=tables.identities_table(report, name),
        plots=list(_plots(report, protocol, styles)),
        has_errors=any("error" in clip.columns for clip in clips),
        gallery=[(KINDS.get(kind, kind), [clip for clip in clips if clip.kind == kind]) for kind in kinds],
    )


def _plots(report: Report, protocol: Protocol, styles: dict[str, str]) -> Iterator[Plot]:
    """For each metric what can be drawn of it."""
    baseline, others = tables.baseline_name(report), tables.contenders(report)
    clips = [clip.clip for clip in protocol.clips]
    for metric, info in report.metrics.items():
        title = f"{info.label} ({info.unit})" if info.unit else info.label
        means = {m: [clip.mean(metric, m) for clip in protocol.clips] for m in tables.ordered_models(report)}
        bins = protocol.over_time.get(metric, {})
        by_clip = {model: Series(model, styles[model], means[model], clips) for model in means}
        over_time = [Series(model, styles[model], bins[model], []) for model in tables.present(report, bins)]
        figures = [
            ("Distribution over clips", charts.distribution(list(by_clip.values()), title)),
            ("Mean over time", charts.over_time(over_time, title)),
        ]
        if baseline:
            where = "below" if info.better == "lower" else "above"
            caption = f"Clip by clip: {baseline} across, {' and '.join(others)} up; {where} the dashed line is better"
            against = [by_clip[model] for model in others]
            figures.append((caption, charts.scatter(by_clip[baseline], against, title, info.better)))
        if drawn := [(caption, plot) for caption, plot in figures if plot is not None]:
            yield Plot(tables.metric_label(info), info.unit, drawn)


def _gallery(report: Report, protocol: Protocol, folder: Path) -> Iterator[ShownClip]:
    clips = {clip.clip: clip for clip in protocol.clips}
    for item in protocol.gallery:
        clip = clips.get(item.clip)
        values = clip.values if clip else {}
        metric = item.metric or next((m for m in report.metrics if m in values), "")
        numbers = []
        if metric in values and metric in report.metrics:
            means = {m: values[metric][m].mean for m in tables.present(report, values[metric])}
            digits = tables.digits_for(means.values())
            numbers = [(model, tables.number(mean, digits)) for model, mean in means.items()]
        kind, uri = embedded(folder, item.media)
        yield ShownClip(
            kind=item.kind,
            clip=item.clip,
            source=clip.source if clip else "",
            driving=clip.driving if clip else "",
            metric=tables.metric_label(report.metrics[metric]) if numbers else "",
            numbers=numbers,
            columns=_told_apart(item.columns),
            media=item.media,
            type=kind,
            uri=uri,
        )


def _told_apart(columns: list[str]) -> list[str]:
    """The source picture and the model that repeats it have one name."""
    return [f"{name} (model)" if name in columns[:i] else name for i, name in enumerate(columns)]


def embedded(folder: Path, name: str) -> tuple[str, str]:
    """(media type, data URI) of a file inside `folder`; two empty strings where there is none that a page can show."""
    path = (folder / name).resolve()
    kind = MEDIA_TYPES.get(path.suffix.lower(), "")
    if not kind or not path.is_relative_to(folder.resolve()) or not path.is_file():
        return "", ""
    return kind, f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
