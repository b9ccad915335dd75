"""What a report says in words: what to know before the numbers, what they add up to, how to read them."""

from __future__ import annotations

from fomm.report.schema import Report
from fomm.report.tables import (
    baseline_name,
    contenders,
    digits_for,
    judge,
    metric_order,
    number,
    ordered_models,
    plural,
    protocol_title,
)


def title(report: Report) -> str:
    names, baseline = contenders(report), baseline_name(report)
    title = ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)
    return f"{title} against {baseline}" if baseline else title


def warnings(report: Report) -> list[str]:
    """What a reader must know before the numbers."""
    data, found = report.data, []
    if data.split_overlap:
        names = ", ".join(data.split_overlap[:20]) + (", ..." if len(data.split_overlap) > 20 else "")
        found.append(
            f"{plural(len(data.split_overlap), 'identity is', 'identities are')} in both the training and the test "
            f"split ({names}): these results say less about new faces than they seem to."
        )
    if data.identities == 1:
        found.append(
            "One identity only: no interval over identities can be given, and nothing here says how other faces fare."
        )
    found += data.warnings
    if report.failures:
        clips = len({(f.protocol, f.clip) for f in report.failures})
        found.append(f"{plural(clips, 'clip')} failed for at least one model (listed below); the others are complete.")
    return found


def findings(report: Report) -> list[str]:
    """One sentence per protocol and contender: on how many metrics it is better than the baseline, worse, undecided."""
    baseline, found = baseline_name(report), []
    for name, protocol in report.protocols.items():
        for model in contenders(report):
            labels: dict[str, list[str]] = {"better": [], "worse": [], "undecided": [], "no interval": []}
            for metric in metric_order(report, protocol.differences):
                if entry := protocol.differences[metric].get(model):
                    info = report.metrics[metric]
                    labels[judge(entry, info.better)[0]].append(info.label)
            if parts := counted(labels):
                verdict = f"{protocol_title(name)}, {model} against {baseline}: {parts}."
                found.append(f"{verdict} {_headline(report, name, model)}".strip())
    return found


def counted(labels: dict[str, list[str]]) -> str:
    """("better": 8 names, "worse": 1 name) -> "better on 8 of 9 metrics, worse on 1 (L1)"."""
    total = sum(map(len, labels.values()))
    parts = []
    for word, names in labels.items():
        if len(names) == total > 0:
            count = {1: "the only metric", 2: "both metrics"}.get(total, f"all {total} metrics")
            parts.append(f"{word} on {count}")
        elif names:
            named = f" ({'; '.join(names)})" if len(names) <= 4 else ""
            parts.append(f"{word} on {len(names)}{'' if parts else f' of {total} metrics'}{named}")
    return ", ".join(parts)


def _headline(report: Report, name: str, model: str) -> str:
    """The first metric that a contender has: its pooled value, and those of what it is measured against."""
    protocol = report.protocols[name]
    for metric in metric_order(report, protocol.summary):
        by_model = protocol.summary[metric]
        others = [m for m in ordered_models(report) if m in by_model and m not in contenders(report)]
        if others and model in by_model and by_model[model].pooled is not None:
            digits = digits_for([by_model[m].pooled for m in [model, *others]])
            values = [f"{m} {number(by_model[m].pooled, digits)}" for m in [model, *others]]
            return f"{report.metrics[metric].label}: {', '.join(values)}."
    return ""


HOW_TO_READ = (
    "Pooled: the mean over all frames of all clips, so long clips weigh more, as in the original authors' code. Mean "
    "of clips: every clip weighs the same.",
    "Intervals are 95 % intervals of Student's t over identities, since frames and clips of one face are not "
    "independent; where one person drives another, over sources and over drivers. Of fewer than 3 there is none. A "
    "verdict needs an interval of the paired difference that leaves out zero; where there is no difference, it does so "
    "for one metric in twenty.",
    "Missed frames are those where a detector found no face in the result. Leaving them out is what the original "
    "authors' code does and flatters a model that breaks faces; counting them gives each the penalty named in the "
    "metric's definition.",
    "Numbers of different detectors or networks are different metrics and never share a row.",
)
