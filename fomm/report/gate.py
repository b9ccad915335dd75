"""Conditions on the numbers of a report, such as "akd_mediapipe > 1.05 * baseline", as a gate for a change.

    [protocol.]metric[.number] OP [factor *] (number | baseline)        OP: < <= > >=

It is looked at for every candidate; without a protocol in each that has the metric. `number` is a column of the
report's summary (default: pooled), `baseline` the baseline's number of the same metric.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from fomm.errors import InputError
from fomm.report.schema import PROTOCOLS, NotComputed, Report
from fomm.report.tables import baseline_name

NUMBERS = ("pooled", "clip_mean", "pooled_with_misses", "frames", "missed")
_COMPARISONS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_CONDITION = re.compile(
    rf"([\w.-]+)\s*(<=|>=|<|>)\s*(?:({_NUMBER})\s*\*\s*)?(?:({_NUMBER})|(baseline))", re.ASCII
)  # a name, which `parse` takes apart; metrics of the user's networks may have a hyphen


@dataclass(frozen=True)
class Condition:
    """One condition, as `parse` reads it."""

    text: str  # as it was written, but for spaces
    protocol: str | None  # None: each that has the metric
    metric: str
    number: str  # one of `NUMBERS`
    comparison: str
    factor: float  # of the bound
    bound: float | None  # None: the baseline's number

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Raises InputError where it is no condition, or names no protocol that there is."""
        text = " ".join(text.split())
        found = _CONDITION.fullmatch(text)
        if not found:
            raise InputError(
                f'--fail-if {text[:80]!r}: cannot be read; write a condition like "akd_mediapipe > 1.05 * baseline"'
            )
        name, comparison, factor, bound, _ = found.groups()
        if not all(math.isfinite(float(number)) for number in (factor, bound) if number):
            raise InputError(f"--fail-if {text!r}: no result can be beyond such a number; write a smaller one")
        *before, last = name.split(".")
        number = "pooled"
        if before and last in NUMBERS:
            number, (*before, last) = last, before
        if len(before) > 1 or not all((*before, last)):
            raise InputError(
                f"--fail-if {text!r}: {name!r} is not [protocol.]metric[.number] (numbers: {', '.join(NUMBERS)})"
            )
        protocol = before[0] if before else None
        if protocol not in (None, *PROTOCOLS):
            raise InputError(
                f"--fail-if {text!r}: no protocol is called {protocol!r}; choose from {', '.join(PROTOCOLS)}"
            )
        return cls(text, protocol, last, number, comparison, float(factor or 1), float(bound) if bound else None)

    def check(self, metrics: Collection[str]) -> None:
        """Raises InputError where its metric is none of these."""
        if self.metric not in metrics:
            known = ", ".join(sorted(metrics))
            raise InputError(f"--fail-if {self.text!r}: no metric is called {self.metric!r}; choose from {known}")

    def check_computed(self, not_computed: Iterable[NotComputed]) -> None:
        """Raises InputError where its metric is one of these."""
        for row in not_computed:
            if row.metric == self.metric:
                raise InputError(
                    f"--fail-if {self.text!r}: {self.metric} cannot be computed here ({row.reason}); {row.how}, or "
                    "choose another metric"
                )

    def failures(self, report: Report) -> list[str]:
        """One line for each candidate and protocol for which it holds.

        Raises InputError where one of its numbers is not in the report: no gate without a number.
        """
        candidates = [model.name for model in report.models if model.role == "candidate"]
        baseline = baseline_name(report) or "the baseline"
        having = [name for name, protocol in report.protocols.items() if self.metric in protocol.summary]
        protocols = [self.protocol] if self.protocol else having
        if not protocols:
            raise InputError(f"--fail-if {self.text!r}: cannot be decided, no protocol has {self.metric}")
        lines = []
        for protocol in protocols:
            for model in candidates:
                said, value = self._look_up(report, protocol, model)
                bound = self.bound
                if bound is None:
                    of_baseline, bound = self._look_up(report, protocol, baseline)
                    said += f", {of_baseline}"
                if _COMPARISONS[self.comparison](value, self.factor * bound):
                    lines.append(f"{model}: {self.text} ({said})")
        return lines

    def _look_up(self, report: Report, protocol: str, model: str) -> tuple[str, float]:
        """(what it is, its value)."""
        name = f"{protocol}.{self.metric}.{self.number} of {model}"
        summary = report.protocols[protocol].summary if protocol in report.protocols else {}
        value: float | None = getattr(summary.get(self.metric, {}).get(model), self.number, None)
        if value is None:
            raise InputError(f"--fail-if {self.text!r}: cannot be decided, there is no {name}; see the report")
        return f"{name} = {value:.6g}", value


def read_conditions(texts: Iterable[str], metrics: Collection[str], baseline: str | None) -> list[Condition]:
    """Conditions on these metrics.

    Raises InputError where one cannot be read, names a metric or a protocol that there is not, or compares with a
    baseline where there is none.
    """
    conditions = [Condition.parse(text) for text in texts]
    for condition in conditions:
        condition.check(metrics)
        if condition.bound is None and not baseline:
            raise InputError(f"--fail-if {condition.text!r}: compares with a baseline; give one with --baseline")
    return conditions
