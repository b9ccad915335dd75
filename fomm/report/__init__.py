"""What evaluate.py measured, for people: report.json -> report.html, report.md and tables in the terminal.

`schema` checks; `tables`, `sentences` and `charts` make every part once, as data; `page` and `text` print them.
"""

from __future__ import annotations

from pathlib import Path

from fomm.files import atomic_output
from fomm.report.page import render_page
from fomm.report.schema import SCHEMA, check_report, read_report
from fomm.report.text import render_markdown, terminal_table

__all__ = ["SCHEMA", "check_report", "read_report", "render_markdown", "render_page", "terminal_table", "write_report"]


def write_report(folder: str | Path) -> list[Path]:
    """Read FOLDER/report.json (and the clips that it names) and write report.html and report.md beside it.

    report.html is one file that opens offline: no script, no request. What cannot be embedded is named in its place.

    Returns: the two files.

    Raises:
        InputError: there is no report.json, it does not follow the schema, or the folder cannot be written.
    """
    folder = Path(folder)
    report = read_report(folder / "report.json")
    written = []
    for name, text in (("report.html", render_page(report, folder)), ("report.md", render_markdown(report))):
        with atomic_output(folder / name) as part:
            part.write_text(text, encoding="utf-8", errors="replace")
        written.append(folder / name)
    return written
