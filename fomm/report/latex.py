"""The summary of a report as LaTeX tables (booktabs), for each protocol as many as its metrics need."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from fomm.report import tables
from fomm.report.schema import Report

ESCAPES = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
ESCAPES |= {char: f"\\{char}" for char in "&%$#_{}"}
SIGNS = {"−": "$-$", "↓": r"$\downarrow$", "↑": r"$\uparrow$", "–": "--", "∞": r"$\infty$", "°": r"$^\circ$",
         "²": "$^2$", "\u202f": r"\,", "|": r"\textbar{}", "<": r"\textless{}", ">": r"\textgreater{}"}  # fmt: skip
_TABLE = str.maketrans(ESCAPES | SIGNS)


WIDTH = 80  # characters of a table's heads that a page has room for, about


def escape_latex(text: str) -> str:
    """Text that stays text."""
    return "".join(char for char in text if char.isprintable() or char == "\u202f").translate(_TABLE)


def render_latex(report: Report) -> str:
    r"""Tables to \input: models down, metrics across, values pooled over frames, the best of a column bold."""
    parts = [r"% needs \usepackage{booktabs}"]
    for name, protocol in report.protocols.items():
        metrics = tables.metric_order(report, protocol.summary)
        models = [m for m in tables.ordered_models(report) if any(m in by for by in protocol.summary.values())]
        if not metrics:
            continue
        columns = []
        for metric in metrics:
            entries = [protocol.summary[metric].get(model) for model in models]
            there = [entry for entry in entries if entry is not None]
            digits = tables.digits_for([e.pooled for e in there], [tables.interval_of(e) for e in there])
            columns.append(tables.value_row("", entries, "pooled", digits, report.metrics[metric].better)[1:])
        labels = [tables.metric_label(report.metrics[metric]) for metric in metrics]
        parts += ["", f"% {tables.protocol_title(name)}; units and definitions: report.md"]
        for part in _parts(labels):
            parts += _tabular(models, labels[part], columns[part])
    return "\n".join(parts) + "\n"


def _parts(labels: Sequence[str]) -> list[slice]:
    """Runs of columns that are no wider than a page, of one at least."""
    starts, width = [0], 0
    for i, label in enumerate(labels):
        width += len(label) + 2
        if width > WIDTH and i > starts[-1]:
            starts.append(i)
            width = len(label) + 2
    return [slice(*ends) for ends in pairwise([*starts, len(labels)])]


def _tabular(models: Sequence[str], labels: Sequence[str], columns: Sequence[Sequence[tables.Cell]]) -> list[str]:
    rows = []
    for row, model in enumerate(models):
        cells = [(escape_latex(column[row].text), column[row].best) for column in columns]
        rows.append([escape_latex(model), *(rf"\textbf{{{text}}}" if best else text for text, best in cells)])
    return [
        "",
        rf"\begin{{tabular}}{{l{'r' * len(columns)}}}",
        r"\toprule",
        " & ".join(["Model", *map(escape_latex, labels)]) + r" \\",
        r"\midrule",
        *(" & ".join(cells) + r" \\" for cells in rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
