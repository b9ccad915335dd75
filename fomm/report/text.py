"""The tables of a report as Markdown (GitHub's dialect) and for the terminal."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable

from fomm.report import sentences, tables
from fomm.report.schema import PROTOCOLS, Report
from fomm.report.tables import Cell, Table

MAX_FAILURES_PRINTED = 20


def plain(text: str) -> str:
    """One line without characters that steer a terminal or hide text (escapes, bidirectional overrides)."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)


# ----------------------------------------------------------------------------------------------------------- Markdown


def escape_markdown(text: str) -> str:
    """Text that stays text: no markup, no HTML, no cell borders."""
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", html.escape(plain(text), quote=False))


def markdown_table(table: Table) -> str:
    """Heading, pipe table and notes."""
    lines = [f"### {escape_markdown(table.caption)}", ""]
    lines.append("| " + " | ".join(map(escape_markdown, table.columns)) + " |")
    lines.append("|" + "---|" * len(table.columns))
    for group in table.groups:
        for index, row in enumerate(group.rows):
            head = _markdown_cell(group.head) if index == 0 else ""
            lines.append("| " + " | ".join([head, *map(_markdown_cell, row)]) + " |")
    for note in table.notes:
        lines += ["", escape_markdown(note)]
    return "\n".join(lines) + "\n"


def _markdown_cell(cell: Cell) -> str:
    text = escape_markdown(cell.text)
    text = f"**{text}**" if cell.best else text
    return f"{text} {_note(cell, escape_markdown)}".strip()


def _note(cell: Cell, escape: Callable[[str], str]) -> str:
    """A note behind its text: intervals have brackets of their own."""
    if not cell.note:
        return ""
    return escape(cell.note if cell.note.startswith("[") else f"({cell.note})")


def render_markdown(report: Report) -> str:
    """The report without pictures; clips are linked where they lie beside it."""
    data, run = report.data, report.run
    facts = ", ".join(_facts(report))
    parts = [f"# Evaluation: {escape_markdown(sentences.title(report))}\n", escape_markdown(facts) + "\n"]
    if warnings := sentences.warnings(report):
        parts.append("\n".join(f"> **Warning:** {escape_markdown(sentence)}\n>" for sentence in warnings)[:-2] + "\n")
    parts += [f"- {escape_markdown(sentence)}" for sentence in sentences.findings(report)] + [""]
    parts.append(markdown_table(tables.models_table(report)))
    for name, protocol in report.protocols.items():
        parts.append(f"## {escape_markdown(tables.protocol_title(name))}\n")
        if name in PROTOCOLS:
            parts.append(escape_markdown(PROTOCOLS[name][1]) + "\n")
        parts.append(markdown_table(tables.summary_table(report, name)))
        parts += [markdown_table(table) for table in tables.difference_tables(report, name)]
        clips = [f"- {clip.kind}: [{escape_markdown(clip.clip)}](<{_link(clip.media)}>) "
                 f"({escape_markdown(', '.join(clip.columns))})" for clip in protocol.gallery]  # fmt: skip
        parts += ["### Clips\n", *clips, ""] if clips else []
    parts.append("## Beside these numbers\n")
    for table in (tables.not_computed_table(report), tables.failures_table(report), tables.published_table()):
        if table:
            parts.append(markdown_table(table))
    parts.append("## What the metrics mean\n")
    for metric in report.metrics.values():
        text = f"**{escape_markdown(tables.metric_label(metric))}** {escape_markdown(metric.definition)}"
        parts.append(f"- {text} Source: {escape_markdown(metric.source)}.")
    parts += ["", *(f"- {escape_markdown(sentence)}" for sentence in sentences.HOW_TO_READ), ""]
    made = f"Made {run.created} with fomm {report.versions.get('fomm', '?')}; manifest sha256 "
    parts.append(escape_markdown(f"{made}{data.manifest_sha256}. report.json has settings, hashes and versions."))
    return "\n".join(parts) + "\n"


def _link(path: str) -> str:
    return "".join(c for c in plain(path) if c not in "<>\\")


def _facts(report: Report) -> list[str]:
    data = report.data
    return [
        tables.plural(data.clips, "clip"),
        tables.plural(data.identities, "identity", "identities"),
        tables.plural(data.frames, "frame"),
        f"split {data.split}",
        "lossless frames" if data.lossless else "compressed video as truth",
    ]


# ----------------------------------------------------------------------------------------------------------- terminal


def terminal_table(report: Report) -> str:
    """What to print after an evaluation: warnings, findings and the tables, in plain text."""
    lines = [f"Evaluation: {sentences.title(report)} ({', '.join(_facts(report))})"]
    lines += [f"warning: {sentence}" for sentence in sentences.warnings(report)]
    for name in report.protocols:
        for table in [tables.summary_table(report, name), *tables.difference_tables(report, name)]:
            lines += ["", *_aligned(table)]
    lines += [""] if report.not_computed or report.failures else []
    lines += [f"not computed: {entry.metric}: {entry.reason}; {entry.how}" for entry in report.not_computed]
    failures = report.failures
    for failure in failures[:MAX_FAILURES_PRINTED]:
        lines.append(f"failed: {failure.clip} ({failure.model}, {failure.protocol}): {failure.reason}")
    if len(failures) > MAX_FAILURES_PRINTED:
        lines.append(f"failed: and {len(failures) - MAX_FAILURES_PRINTED} more; report.json has them all")
    return "\n".join(map(plain, [*lines, "", *sentences.findings(report)]))


def _aligned(table: Table) -> list[str]:
    """Columns under each other; the best of a row has a star."""
    grid = [[Cell(column) for column in table.columns]]
    for group in table.groups:
        grid += [[group.head if i == 0 else Cell(""), *row] for i, row in enumerate(group.rows)]
    texts = [[plain(f"{c.text}{'*' if c.best else ''} {_note(c, str)}".strip()) for c in row] for row in grid]
    widths = [max(_width(row[i]) for row in texts) for i in range(len(table.columns))]
    padded = [[text + " " * (width - _width(text)) for text, width in zip(row, widths, strict=True)] for row in texts]
    lines = ["  ".join(row).rstrip() for row in padded]
    caption = table.caption + (" (* best of its row)" if any("*" in line for line in lines[1:]) else "")
    return [caption, lines[0], "-" * (sum(widths) + 2 * len(widths) - 2), *lines[1:]]


def _width(text: str) -> int:
    """Columns on the screen."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
