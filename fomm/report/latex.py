"""The summary of a report as LaTeX tables (booktabs), one for each protocol."""

from __future__ import annotations

from fomm.report import tables
from fomm.report.schema import Report

ESCAPES = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
ESCAPES |= {char: f"\\{char}" for char in "&%$#_{}"}
SIGNS = {"−": "$-$", "↓": r"$\downarrow$", "↑": r"$\uparrow$", "–": "--", "∞": r"$\infty$", "°": r"$^\circ$",
         "²": "$^2$", "\u202f": r"\,", "|": r"\textbar{}", "<": r"\textless{}", ">": r"\textgreater{}"}  # fmt: skip
_TABLE = str.maketrans(ESCAPES | SIGNS)


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
        labels = [escape_latex(tables.metric_label(report.metrics[m])) for m in metrics]
        parts += [
            "",
            f"% {tables.protocol_title(name)}; units and definitions: report.md",
            rf"\begin{{tabular}}{{l{'r' * len(metrics)}}}",
            r"\toprule",
            " & ".join(["Model", *labels]) + r" \\",
            r"\midrule",
        ]
        for row, model in enumerate(models):
            cells = [escape_latex(column[row].text) for column in columns]
            cells = [rf"\textbf{{{text}}}" if c[row].best else text for text, c in zip(cells, columns, strict=True)]
            parts.append(" & ".join([escape_latex(model), *cells]) + r" \\")
        parts += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join(parts) + "\n"
