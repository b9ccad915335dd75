"""The schema of report.json as data, and the check that a file follows it; docs/report_schema.md explains every key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fomm.errors import InputError

SCHEMA = "fomm-report/1"
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

NUMBER, COUNT, TEXT, FLAG, ANY = "a number", "a whole number", "text", "true or false", "anything"
NUMBER_OR_NULL = "a number or null"
INTERVAL = "[low, high] or null"
MAX_FAULTS_SHOWN = 10

# A key that ends in "?" may be absent; {"*": shape} is a map with names as keys; [shape] is a list.
SHAPE: dict[str, Any] = {
    "schema": TEXT,
    "run": {"created": TEXT, "elapsed_s": NUMBER, "command": [TEXT], "hardware": {"*": ANY}},
    "settings": {"*": ANY},
    "versions": {"*": TEXT},
    "data": {
        "manifest": TEXT,
        "manifest_sha256": TEXT,
        "pairs?": ANY,
        "pairs_sha256?": ANY,
        "split": TEXT,
        "clips": COUNT,
        "identities": COUNT,
        "frames": COUNT,
        "lossless": FLAG,
        "size": [COUNT],
        "split_overlap": [TEXT],
        "warnings": [TEXT],
    },
    "models": [
        {
            "name": TEXT,
            "role": TEXT,
            "checkpoint?": ANY,
            "sha256?": ANY,
            "image_size?": ANY,
            "num_keypoints?": ANY,
            "notes": [TEXT],
        }
    ],
    "metrics": {"*": {"label": TEXT, "unit": TEXT, "better": TEXT, "definition": TEXT, "source": TEXT}},
    "not_computed": [{"metric": TEXT, "reason": TEXT, "how": TEXT}],
    "protocols": {
        "*": {
            "summary": {
                "*": {
                    "*": {
                        "pooled": NUMBER_OR_NULL,
                        "clip_mean": NUMBER_OR_NULL,
                        "interval": INTERVAL,
                        "frames": COUNT,
                        "missed": COUNT,
                        "pooled_with_misses": NUMBER_OR_NULL,
                    }
                }
            },
            "differences": {
                "*": {
                    "*": {
                        "mean": NUMBER_OR_NULL,
                        "interval": INTERVAL,
                        "wins": COUNT,
                        "ties": COUNT,
                        "losses": COUNT,
                        "clips": COUNT,
                    }
                }
            },
            "identities": {"*": {"clips": COUNT, "frames": COUNT, "values": {"*": {"*": NUMBER_OR_NULL}}}},
            "clips": [
                {
                    "clip": TEXT,
                    "identity": TEXT,
                    "source": TEXT,
                    "driving": TEXT,
                    "truth?": ANY,
                    "frames": COUNT,
                    "values": {"*": {"*": {"mean": NUMBER_OR_NULL, "frames": COUNT, "missed": COUNT}}},
                    "failed?": {"*": TEXT},
                }
            ],
            "over_time": {"*": {"*": [NUMBER_OR_NULL]}},
            "gallery": [{"kind": TEXT, "clip": TEXT, "media": TEXT, "columns": [TEXT], "metric?": TEXT}],
        }
    },
    "failures": [{"protocol": TEXT, "clip": TEXT, "model": TEXT, "reason": TEXT}],
}


def read_report(path: str | Path) -> dict[str, Any]:
    """Read a report.json and check it.

    Raises:
        InputError: no such file, not JSON, or not of this schema.
    """
    path = Path(path)
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); evaluate.py writes it") from error
    except ValueError as error:
        raise InputError(f"{path}: not a JSON text file ({error}); let evaluate.py write it again") from error
    try:
        check_report(report)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return report


def check_report(report: Any) -> None:
    """Raises InputError unless `report` follows the schema; its faults are gathered and told together."""
    found = report.get("schema") if isinstance(report, dict) else None
    if found != SCHEMA:
        raise InputError(
            f"the schema is {found!r}, must be {SCHEMA!r}; use the evaluate.py of this version to write the report"
        )
    faults = _faults(report, SHAPE, "")
    if not faults:
        faults = _unknown_names(report)
    if faults:
        more = f"; and {len(faults) - MAX_FAULTS_SHOWN} more" if len(faults) > MAX_FAULTS_SHOWN else ""
        raise InputError(f"not {SCHEMA}: {'; '.join(faults[:MAX_FAULTS_SHOWN])}{more}; see docs/report_schema.md")


def _faults(value: Any, shape: Any, where: str) -> list[str]:
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return [f"{where or 'the file'} must be a map"]
        if "*" in shape:
            return [f for name, inner in value.items() for f in _faults(inner, shape["*"], f"{where}/{name}")]
        faults = []
        for key, inner in shape.items():
            name = key.rstrip("?")
            if name in value:
                faults += _faults(value[name], inner, f"{where}/{name}")
            elif name == key:
                faults.append(f"{where}/{name} is missing")
        return faults
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{where} must be a list"]
        return [f for index, inner in enumerate(value) for f in _faults(inner, shape[0], f"{where}/{index}")]
    return [] if _fits(value, shape) else [f"{where} is {value!r}, must be {shape}"]


def _fits(value: Any, kind: str) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind == INTERVAL:
        return value is None or (
            isinstance(value, list) and len(value) == 2 and all(_fits(v, NUMBER_OR_NULL) for v in value)
        )
    return {
        NUMBER: number,
        NUMBER_OR_NULL: number or value is None,
        COUNT: isinstance(value, int) and not isinstance(value, bool) and value >= 0,
        TEXT: isinstance(value, str),
        FLAG: isinstance(value, bool),
        ANY: True,
    }[kind]


def _unknown_names(report: dict[str, Any]) -> list[str]:
    """Metrics and models that are used without being described."""
    models, metrics = {model["name"] for model in report["models"]}, set(report["metrics"])
    faults = []
    for name, protocol in report["protocols"].items():
        tables = [protocol["summary"], protocol["differences"], protocol["over_time"]]
        tables += [entry["values"] for entry in [*protocol["identities"].values(), *protocol["clips"]]]
        for table in tables:
            faults += [f"/protocols/{name}: metric {m!r} is not described in /metrics" for m in table.keys() - metrics]
            used = {model for by_model in table.values() for model in by_model}
            faults += [f"/protocols/{name}: model {m!r} is not in /models" for m in used - models]
    return sorted(set(faults))
