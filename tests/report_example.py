"""A report of plausible numbers in the schema of evaluate.py, for tests of how it is shown.

Per-frame errors are drawn at random; everything above them (pooled, clip means, intervals, wins) is computed from them.
"""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from fomm.evaluation.statistics import interval, paired
from fomm.report import Report
from fomm.video import VideoWriter

METRICS = {
    # name: label, unit, better, level, spread, misses, whole-set only
    "l1": ("L1", "", "lower", 0.024, 0.3, False),
    "psnr": ("PSNR", "dB", "higher", 26.0, 0.06, False),
    "ssim": ("SSIM", "", "higher", 0.86, 0.04, False),
    "akd_mediapipe": ("AKD (MediaPipe)", "px", "lower", 3.0, 0.4, True),
    "akd_truth": ("AKD (exact landmarks)", "px", "lower", 3.6, 0.35, True),
    "identity_truth": ("Identity kept", "", "higher", 0.9, 0.1, False),
    "jitter": ("Jitter", "px / frame²", "lower", 1.1, 0.3, False),
    "head_pose": ("Head pose", "°", "lower", 3.2, 0.4, True),
}
FACTORS = {"lower": {"puppets": 1.0, "early": 1.35, "source": 3.0, "wide": 1.02}}
FACTORS["higher"] = {"puppets": 1.0, "early": 0.94, "source": 0.75, "wide": 0.998}
PENALTY = {"akd_mediapipe": 85.3, "akd_truth": 85.3, "head_pose": 60.0}


def example_report(
    *,
    identities: int = 12,
    clips_each: int = 2,
    models: tuple[str, ...] = ("puppets", "source", "early"),
    names: tuple[str, ...] = ("reconstruction", "cross_identity_truth"),
    seed: int = 0,
) -> dict[str, Any]:
    """Candidates are "puppets", "wide" and "source" (which repeats the source picture), the baseline is "early"."""
    rng = np.random.default_rng(seed)
    protocols = {name: _protocol(rng, identities, clips_each, models, name) for name in names}
    clips = protocols[names[0]]["clips"]
    return {
        "schema": "fomm-report/1",
        "run": {
            "created": "2026-11-22T20:00:00+00:00",
            "elapsed_s": 412.3,
            "command": ["evaluate.py", "--checkpoint", "puppets", "--data", "data/puppets pairs/manifest.csv"],
            "hardware": {"device": "cpu", "processor": "AMD EPYC", "cores": 2},
        },
        "settings": {
            "batch_size": 8,
            "protocols": list(names),
            "seed": 0,
            "device": "cpu",
        },
        "versions": {"fomm": "0.1.0", "python": "3.11.4", "torch": "2.15.0", "mediapipe": "0.10.21"},
        "data": {
            "manifest": "data/puppets pairs/manifest.csv",
            "manifest_sha256": "6f" * 32,
            "pairs": "data/puppets pairs/pairs.csv",
            "pairs_sha256": "a1" * 32,
            "split": "test",
            "clips": len(clips),
            "identities": identities,
            "frames": sum(clip["frames"] for clip in clips),
            "lossless": True,
            "size": [256, 256],
            "split_overlap": [],
            "warnings": [],
        },
        "models": [
            {
                "name": name,
                "role": "baseline" if name == "early" else "candidate",
                "checkpoint": None if name == "source" else f"weights/{name}.safetensors",
                "sha256": None if name == "source" else "0123456789ab" * 5,
                "image_size": None if name == "source" else 256,
                "num_keypoints": None if name == "source" else 10,
                "notes": ["repeats the source picture"] if name == "source" else [],
            }
            for name in models
        ],
        "metrics": {
            name: {
                "label": label,
                "unit": unit,
                "better": better,
                "definition": f"What {label} means, in words that anybody can check.",
                "source": "this project",
            }
            for name, (label, unit, better, *_) in METRICS.items()
        }
        | {
            "fid": {
                "label": "FID",
                "unit": "",
                "better": "lower",
                "definition": "Distance between two sets of pictures; one number for all clips.",
                "source": "Heusel et al. 2017",
            }
        },
        "not_computed": [
            {
                "metric": "aed_openface",
                "reason": "nn4.small2.v1.pt is not on this machine",
                "how": "put it into ~/.cache/fomm or give --openface FILE",
            },
            {"metric": "lpips", "reason": "AlexNet's weights could not be downloaded", "how": "see docs/weights"},
        ],
        "protocols": protocols,
        "failures": [],
    }


def typed(report: dict[str, Any]) -> Report:
    return Report.model_validate_json(json.dumps(report))


def _protocol(
    rng: np.random.Generator, identities: int, clips_each: int, models: tuple[str, ...], protocol: str
) -> dict[str, Any]:
    clips, groups, people = [], [], []
    ease_of = rng.normal(0, 0.25, identities)
    frame_values: dict[str, dict[str, list[np.ndarray]]] = {m: {model: [] for model in models} for m in METRICS}
    for index in range(identities * clips_each):
        person = index // clips_each
        frames = int(rng.integers(12, 48))
        ease = ease_of[person] + rng.normal(0, 0.12)
        values: dict[str, dict[str, Any]] = {}
        for metric, (_, _, better, level, spread, misses) in METRICS.items():
            for model in models:
                factor = FACTORS[better][model]
                drift = 1 + (0.25 if better == "lower" else -0.02) * np.linspace(-1, 1, frames)
                wave = level * factor * drift * np.exp(ease * spread + rng.normal(0, spread / 6, frames))
                wave *= np.exp(rng.normal(0, 0.12 * spread))
                if metric in ("ssim", "identity_truth"):
                    wave = np.minimum(wave, 1)
                if misses:
                    wave[rng.random(frames) < (0.08 if model == "early" else 0.01)] = np.nan
                frame_values[metric][model].append(wave)
                found = np.isfinite(wave)
                values.setdefault(metric, {})[model] = {
                    "mean": float(wave[found].mean()) if found.any() else None,
                    "frames": int(found.sum()),
                    "missed": int((~found).sum()),
                }
        groups.append(f"id{person:02d}")
        driver = groups[-1] if protocol == "reconstruction" else f"id{(person + 1) % identities:02d}"
        people.append((groups[-1],) if driver == groups[-1] else (groups[-1], driver))
        clips.append(
            {
                "clip": f"id{person:02d}-{index % clips_each:02d}",
                "identity": f"id{person:02d}",
                "source": f"id{person:02d}",
                "driver": driver,
                "driving": driver,
                "truth": None,
                "frames": frames,
                "values": values,
                "failed": {},
            }
        )
    result = {"summary": {}, "differences": {}, "identities": {}, "clips": clips, "over_time": {}, "gallery": []}
    baseline = "early" if "early" in models else None
    for metric, (_, _, better, *_) in METRICS.items():
        for model in models:
            waves = frame_values[metric][model]
            totals, counts = [np.nansum(w) for w in waves], [int(np.isfinite(w).sum()) for w in waves]
            frames, found = sum(map(len, waves)), sum(counts)
            span = interval(totals, counts, people)
            missing = sum(totals) + PENALTY[metric] * (frames - found) if metric in PENALTY else None
            result["summary"].setdefault(metric, {})[model] = {
                "pooled": sum(totals) / found,
                "clip_mean": float(np.mean([c["values"][metric][model]["mean"] for c in clips])),
                "interval": list(span) if span else None,
                "frames": found,
                "missed": frames - found,
                "pooled_with_misses": missing / frames if missing is not None else None,
            }
            bins = [np.nanmean([w[len(w) * b // 20] for w in waves]) for b in range(20)]
            result["over_time"].setdefault(metric, {})[model] = [float(b) if np.isfinite(b) else None for b in bins]
            if baseline and model != baseline:
                means = [[c["values"][metric][m]["mean"] for c in clips] for m in (model, baseline)]
                difference = paired(*means, people, lower_is_better=better == "lower")
                result["differences"].setdefault(metric, {})[model] = difference._asdict() | {
                    "interval": list(difference.interval) if difference.interval else None
                }
    result["summary"]["fid"] = {
        model: {
            "pooled": 40.0 * FACTORS["lower"][model],
            "clip_mean": None,
            "interval": None,
            "frames": sum(clip["frames"] for clip in clips),
            "missed": 0,
            "pooled_with_misses": None,
        }
        for model in models
    }
    for name in dict.fromkeys(groups):
        own = [clip for clip in clips if clip["identity"] == name]
        result["identities"][name] = {
            "clips": len(own),
            "frames": sum(clip["frames"] for clip in own),
            "values": {
                metric: {model: float(np.mean([c["values"][metric][model]["mean"] for c in own])) for model in models}
                for metric in METRICS
            },
        }
    ranked = sorted(clips, key=lambda clip: clip["values"]["l1"][models[0]]["mean"])
    picks = {"best": ranked[:2], "median": ranked[len(ranked) // 2 :][:1], "worst": ranked[::-1][:2]}
    columns = ["source", "driving", *(m for m in models if m != "source"), "error"]
    for kind, chosen in picks.items():
        for clip in chosen:
            media = f"media/{protocol}-{clip['clip']}.mp4"
            result["gallery"].append(
                {"kind": kind, "clip": clip["clip"], "media": media, "columns": columns, "metric": "l1"}
            )
    return result


def write_example(folder: Path, report: dict[str, Any]) -> Path:
    """report.json and its clips (moving stripes, one shade per column) in `folder`, which is returned."""
    folder.mkdir(parents=True, exist_ok=True)
    for protocol in report["protocols"].values():
        for item in protocol["gallery"]:
            path = folder / item["media"]
            path.parent.mkdir(exist_ok=True)
            if path.resolve().is_relative_to(folder.resolve()) and path.suffix == ".mp4" and not path.exists():
                _write_stripes(path, len(item["columns"]))
    (folder / "report.json").write_text(json.dumps(report))
    return folder


def _write_stripes(path: Path, columns: int, *, side: int = 64, frames: int = 12) -> None:
    y, x = np.mgrid[:side, : side * columns]
    shade = 60 + 150 * (x // side) / columns
    with VideoWriter(path, fps=Fraction(12)) as writer:
        for t in range(frames):
            wave = np.clip(shade + 40 * np.sin((x % side + y + 4 * t) / 5), 0, 255)
            writer.write(np.stack([wave, wave, 255 - wave], -1).astype(np.uint8))
