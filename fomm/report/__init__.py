"""What an evaluation measured, for people: report.json -> report.html, report.md and tables in the terminal.

`schema` checks; `tables`, `sentences` and `charts` make every part once, as data; `page` and `text` print them.
"""

from typing import TYPE_CHECKING

from fomm.lazy import lazily

if TYPE_CHECKING:
    from fomm.report.files import write_report
    from fomm.report.page import render_page
    from fomm.report.schema import Report, read_report
    from fomm.report.text import render_markdown, terminal_table

__all__ = ["Report", "read_report", "render_markdown", "render_page", "terminal_table", "write_report"]

__getattr__ = lazily(
    __name__,
    {
        "files": ("write_report",),
        "page": ("render_page",),
        "schema": ("Report", "read_report"),
        "text": ("render_markdown", "terminal_table"),
    },
)
