"""The report as files, and as a run of a W&B project."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fomm.files import atomic_output
from fomm.manifest import cell, csv_output
from fomm.report.latex import render_latex
from fomm.report.page import render_page
from fomm.report.schema import Report, read_report
from fomm.report.text import render_markdown

PER_CLIP = ("protocol", "clip", "identity", "model", "metric", "mean", "frames", "missed")


def write_files(report: Report, output: Path) -> None:
    """report.json, per_clip.csv, report.tex, and the pages made of them."""
    _write(output, {"report.json": report.to_json()})  # before anything is made of it
    _write(output, {"report.tex": render_latex(report)})
    with csv_output(output / "per_clip.csv", PER_CLIP) as writer:
        writer.writerows([cell(v) if isinstance(v, str) else v for v in row] for row in per_clip(report))
    write_pages(report, output)


def write_report(folder: str | Path) -> list[Path]:
    """Read FOLDER/report.json (and the clips that it names) and write report.html and report.md beside it.

    report.html is one file that opens offline: no script, no request. What cannot be embedded is named in its place.

    Returns: the two files.

    Raises:
        InputError: there is no report.json, it does not follow the schema, or the folder cannot be written.
    """
    return write_pages(read_report(Path(folder) / "report.json"), Path(folder))


def write_pages(report: Report, folder: Path) -> list[Path]:
    """`write_report` for a report that is here already."""
    return _write(folder, {"report.html": render_page(report, folder), "report.md": render_markdown(report)})


def _write(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    for name, text in texts.items():
        with atomic_output(folder / name) as part:
            part.write_text(text, encoding="utf-8", errors="replace")
    return [folder / name for name in texts]


def per_clip(report: Report) -> list[tuple]:
    """Rows of per_clip.csv: a mean for each clip, model and metric; empty where every frame was missed."""
    return [
        (protocol, clip.clip, clip.identity, model, metric, value.mean, value.frames, value.missed)
        for protocol, results in report.protocols.items()
        for clip in results.clips
        for metric, by_model in clip.values.items()
        for model, value in by_model.items()
    ]


def log_to_wandb(report: Report, output: Path, project: str) -> None:
    """The report's tables and clips, as one run of a W&B project (`WANDB_MODE=offline` keeps it here)."""
    import wandb

    config = report.model_dump(include={"settings", "versions", "data", "models"})
    with wandb.init(project=project, job_type="evaluate", dir=output, config=config) as session:
        logged: dict[str, wandb.Table | wandb.Video] = {
            "per_clip": wandb.Table(list(PER_CLIP), [list(row) for row in per_clip(report)])
        }
        for protocol, results in report.protocols.items():
            for table, values in (("summary", results.summary), ("differences", results.differences)):
                rows = [
                    {"metric": metric, "model": model} | {key: _flat(value) for key, value in numbers}
                    for metric, by_model in values.items()
                    for model, numbers in by_model.items()
                ]
                if rows:
                    logged[f"{protocol}/{table}"] = wandb.Table(list(rows[0]), [list(row.values()) for row in rows])
            for item in results.gallery:
                caption = f"{item.clip}: {', '.join(item.columns)}"
                logged[f"{protocol}/{item.kind}"] = wandb.Video(str(output / item.media), caption=caption)
        session.log(logged)
        session.summary.update(
            {
                f"{protocol}/{metric}/{model}": numbers.pooled
                for protocol, results in report.protocols.items()
                for metric, by_model in results.summary.items()
                for model, numbers in by_model.items()
            }
        )


def _flat(value: object) -> object:
    return " to ".join(f"{end:.6g}" for end in value) if isinstance(value, tuple) else value
