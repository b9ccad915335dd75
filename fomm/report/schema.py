"""What a report holds, as types: they check a report.json, and write its JSON schema (docs/report_schema.json).

docs/report_schema.md explains every key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from fomm.errors import InputError, listed

SCHEMA: Final = "fomm-report/1"
PROTOCOLS = {
    "reconstruction": (
        "Reconstruction",
        "The first frame of each clip, driven by every frame of the same clip with absolute keypoints: the driving "
        "frames are the truth.",
    ),
    "cross_identity": (
        "Cross-identity",
        "The picture of one identity, driven by a clip of another with relative keypoints. There is no truth to "
        "compare pixels with.",
    ),
    "cross_identity_truth": (
        "Cross-identity with ground truth",
        "The picture of one identity, driven by a clip of another with relative keypoints, compared with the drawn "
        "truth: that very identity making that very motion.",
    ),
}
"""Protocol -> its title, and what is done in it."""

Count = Annotated[int, Field(ge=0)]
Interval: TypeAlias = tuple[float | None, float | None] | None


class _Value(BaseModel):
    """Numbers are numbers, text is text; keys that are not known here are passed over."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False, populate_by_name=True)


class Run(_Value):
    """What differs between two equal runs."""

    created: str
    elapsed_s: float
    command: list[str]
    hardware: dict[str, JsonValue]
    clips_from_before: Count | None = None


class Data(_Value):
    manifest: str
    manifest_sha256: str
    pairs: str | None = None
    pairs_sha256: str | None = None
    split: str
    clips: Count
    identities: Count
    frames: Count
    lossless: bool
    size: list[Count]
    split_overlap: list[str]
    warnings: list[str]


class Model(_Value):
    name: str
    role: str
    checkpoint: str | None = None
    sha256: str | None = None
    image_size: int | None = None
    num_keypoints: int | None = None
    notes: list[str]


class Metric(_Value):
    label: str
    unit: str
    better: str
    definition: str
    source: str


class NotComputed(_Value):
    metric: str
    reason: str
    how: str


class Summary(_Value):
    pooled: float | None
    clip_mean: float | None
    interval: Interval
    frames: Count
    missed: Count
    pooled_with_misses: float | None
    without_first: float | None = None


class Difference(_Value):
    mean: float | None
    interval: Interval
    wins: Count
    ties: Count
    losses: Count
    clips: Count


class Identity(_Value):
    clips: Count
    frames: Count
    values: dict[str, dict[str, float | None]]


class ClipValue(_Value):
    mean: float | None
    frames: Count
    missed: Count


class Clip(_Value):
    clip: str
    identity: str
    driver: str | None = None
    source: str
    driving: str
    truth: str | None = None
    frames: Count
    values: dict[str, dict[str, ClipValue]]
    failed: dict[str, str] = {}

    def mean(self, metric: str, model: str) -> float | None:
        """Over the clip's frames; None where the model has no value of this metric."""
        value = self.values.get(metric, {}).get(model)
        return value.mean if value else None


class Shown(_Value):
    """A clip to look at."""

    kind: str
    clip: str
    media: str
    columns: list[str]
    metric: str | None = None


class Protocol(_Value):
    """Results; the maps lead from metric to model, `identities` from identity."""

    summary: dict[str, dict[str, Summary]]
    differences: dict[str, dict[str, Difference]]
    identities: dict[str, Identity]
    clips: list[Clip]
    over_time: dict[str, dict[str, list[float | None]]]
    gallery: list[Shown]


class Failure(_Value):
    protocol: str
    clip: str
    model: str
    reason: str


class Report(_Value):
    format: Literal["fomm-report/1"] = Field(default=SCHEMA, alias="schema")
    run: Run
    settings: dict[str, JsonValue]
    versions: dict[str, str]
    data: Data
    models: list[Model]
    metrics: dict[str, Metric]
    not_computed: list[NotComputed]
    protocols: dict[str, Protocol]
    failures: list[Failure]

    def to_json(self) -> str:
        return json.dumps(self.model_dump(mode="json", by_alias=True), indent=1, allow_nan=False) + "\n"


def read_report(path: str | Path) -> Report:
    """Read a report.json and check it.

    Raises:
        InputError: no such file, not JSON, or not of this schema; its faults are gathered and told together.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); evaluate.py writes it") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a JSON text file ({error}); let evaluate.py write it again") from error
    found = content.get("schema") if isinstance(content, dict) else None
    if found != SCHEMA:
        raise InputError(
            f"{path}: the schema is {found!r}, must be {SCHEMA!r}; use the evaluate.py of this version to write the "
            "report"
        )
    try:
        report = Report.model_validate_json(json.dumps(content))
        faults = unknown_names(report)
    except ValidationError as error:
        faults = [_in_words(fault["loc"], fault["type"], fault["msg"]) for fault in error.errors()]
    if faults:
        raise InputError(f"{path}: not {SCHEMA}: {listed(faults)}; see docs/report_schema.md")
    return report


def _in_words(place: tuple[str | int, ...], kind: str, message: str) -> str:
    where = "/" + "/".join(map(str, place))
    return f"{where} is missing" if kind == "missing" else f"{where}: {message.lower()}"


def unknown_names(report: Report) -> list[str]:
    """Metrics and models that are used without being described."""
    models = {model.name for model in report.models}
    faults = set()
    for name, protocol in report.protocols.items():
        tables: list[Mapping[str, Mapping[str, object]]] = [protocol.summary, protocol.differences, protocol.over_time]
        tables += [entry.values for entry in protocol.identities.values()] + [entry.values for entry in protocol.clips]
        for table in tables:
            metrics = table.keys() - report.metrics.keys()
            faults |= {f"/protocols/{name}: metric {metric!r} is not described in /metrics" for metric in metrics}
            used = {model for by_model in table.values() for model in by_model}
            faults |= {f"/protocols/{name}: model {model!r} is not in /models" for model in used - models}
    return sorted(faults)
