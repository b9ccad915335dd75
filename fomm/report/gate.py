"""A condition on the numbers of a report, such as "akd_mediapipe > 1.05 * baseline", as a gate for a change.

Comparisons (< <= > >=) of metrics, numbers and `baseline`, with + - * / and brackets, joined by `and` and `or`.
A metric stands for a candidate's number: `metric`, `protocol.metric`, `metric.number` or `protocol.metric.number`,
where number is a column of the report's summary (default: pooled). Without a protocol the condition is looked at in
each that has the metric. `baseline` is the baseline's number of the metric that it is compared with. Nothing is ever
executed: the text is parsed, and only what is named here is accepted.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fomm.errors import InputError

PROTOCOLS = ("reconstruction", "cross_identity", "cross_identity_truth")
NUMBERS = ("pooled", "clip_mean", "pooled_with_misses", "frames", "missed")
_ARITHMETIC = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
_COMPARISONS = {ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge}
_LONGEST = 500


class _Number(NamedTuple):
    """A number of the summary, as it is named in the condition; protocol None: of whichever is looked at."""

    protocol: str | None
    metric: str
    number: str


class Gate:
    """A parsed condition.

    Attributes:
        text: the condition.
        needs_baseline: whether it names the baseline.

    Raises:
        InputError: it is not such a condition; says what is wrong with which part.
    """

    def __init__(self, text: str) -> None:
        self.text = " ".join(text.split())
        try:
            if len(text) > _LONGEST:
                raise SyntaxError(f"longer than {_LONGEST} characters")
            self._tree = ast.parse(self.text, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise InputError(f"--fail-if {self.text[:80]!r}: cannot be read ({error}); {self._like}") from error
        self._numbers: list[_Number] = []
        self.needs_baseline = False
        self._check_condition(self._tree)

    _like = 'write a condition like "akd_mediapipe > 1.05 * baseline"'

    def check(self, metrics: Collection[str], not_computed: Collection[str]) -> None:
        """Before the work: are its metrics known, and can they be computed?

        Raises:
            InputError: not so.
        """
        for number in self._numbers:
            if number.metric not in metrics:
                raise InputError(
                    f"--fail-if {self.text!r}: no metric is called {number.metric!r}; choose from "
                    f"{', '.join(sorted(metrics))}"
                )
            if number.metric in not_computed:
                raise InputError(
                    f"--fail-if {self.text!r}: {number.metric} cannot be computed here, since weights are missing; "
                    "choose another metric, or run without --fail-if to read how to get them"
                )

    def failures(self, report: Mapping[str, Any]) -> list[str]:
        """One line for each candidate and protocol for which the condition holds.

        Raises:
            InputError: it cannot be decided, since one of its numbers is not in the report: no gate without a number.
        """
        candidates = [model["name"] for model in report["models"] if model["role"] == "candidate"]
        baseline = next((model["name"] for model in report["models"] if model["role"] == "baseline"), None)
        anywhere = {number.metric for number in self._numbers if number.protocol is None}
        protocols = [
            name
            for name, protocol in report["protocols"].items()
            if all(metric in protocol["summary"] for metric in anywhere)
        ]
        if not anywhere:
            protocols = protocols[:1]
        if not protocols:
            raise InputError(f"--fail-if {self.text!r}: cannot be decided, no protocol has {', '.join(anywhere)}")
        lines = []
        for protocol in protocols:
            for model in candidates:
                numbers = _Numbers(report, protocol, model, baseline, self.text)
                if self._holds(self._tree, numbers):
                    values = ", ".join(f"{name} = {value:.6g}" for name, value in numbers.used.items())
                    lines.append(f"{model}: {self.text} ({values})")
        return lines

    # Checking once, so that holding is safe.

    def _check_condition(self, node: ast.expr) -> None:
        if isinstance(node, ast.BoolOp):
            for part in node.values:
                self._check_condition(part)
            return
        if not isinstance(node, ast.Compare) or len(node.ops) != 1 or type(node.ops[0]) not in _COMPARISONS:
            self._refuse(node, "is not one comparison with <, <=, > or >=")
        found: list[_Number] = []
        baselines = sum(self._check_number(side, found) for side in (node.left, node.comparators[0]))
        if not found:
            self._refuse(node, "names no metric")
        if baselines and len(set(found)) != 1:
            self._refuse(node, "leaves open of which metric the baseline's number is meant")
        self._numbers += found
        self.needs_baseline |= bool(baselines)

    def _check_number(self, node: ast.expr, found: list[_Number]) -> int:
        """Add the metrics that a side of a comparison names; returns how often it names the baseline."""
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            return self._check_number(node.left, found) + self._check_number(node.right, found)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return self._check_number(node.operand, found)
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            return 0
        if isinstance(node, ast.Name) and node.id == "baseline":
            return 1
        found.append(self._named(node))
        return 0

    def _named(self, node: ast.expr) -> _Number:
        parts: list[str] = []
        inner = node
        while isinstance(inner, ast.Attribute):
            parts.insert(0, inner.attr)
            inner = inner.value
        if not isinstance(inner, ast.Name):
            self._refuse(node, "is neither a number nor a metric")
        parts.insert(0, inner.id)
        protocol = parts.pop(0) if parts[0] in PROTOCOLS else None
        number = parts.pop() if len(parts) == 2 and parts[1] in NUMBERS else "pooled"
        if len(parts) != 1:
            self._refuse(node, f"is not metric, protocol.metric or metric.number (numbers: {', '.join(NUMBERS)})")
        return _Number(protocol, parts[0], number)

    def _refuse(self, node: ast.expr, why: str) -> None:
        raise InputError(f"--fail-if {self.text!r}: {ast.unparse(node)!r} {why}; {self._like}")

    def _holds(self, node: ast.expr, numbers: _Numbers) -> bool:
        if isinstance(node, ast.BoolOp):
            parts = [self._holds(part, numbers) for part in node.values]
            return all(parts) if isinstance(node.op, ast.And) else any(parts)
        sides = (node.left, node.comparators[0])
        named: list[_Number] = []
        for side in sides:
            self._check_number(side, named)
        left, right = (self._value(side, named[0], numbers) for side in sides)
        return _COMPARISONS[type(node.ops[0])](left, right)

    def _value(self, node: ast.expr, compared: _Number, numbers: _Numbers) -> float:
        if isinstance(node, ast.BinOp):
            left, right = (self._value(side, compared, numbers) for side in (node.left, node.right))
            try:
                return _ARITHMETIC[type(node.op)](left, right)
            except ZeroDivisionError as error:
                raise InputError(f"--fail-if {self.text!r}: {ast.unparse(node)!r} divides by 0") from error
        if isinstance(node, ast.UnaryOp):
            return -self._value(node.operand, compared, numbers)
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name) and node.id == "baseline":
            return numbers.look_up(compared, of_baseline=True)
        return numbers.look_up(self._named(node))


@dataclass
class _Numbers:
    """What a condition looks up for one candidate, and what it found."""

    report: Mapping[str, Any]
    protocol: str
    model: str
    baseline: str | None
    text: str
    used: dict[str, float] = field(default_factory=dict)

    def look_up(self, named: _Number, *, of_baseline: bool = False) -> float:
        protocol, model = named.protocol or self.protocol, self.baseline if of_baseline else self.model
        summary = self.report["protocols"].get(protocol, {}).get("summary", {})
        value = summary.get(named.metric, {}).get(model, {}).get(named.number)
        name = f"{protocol}.{named.metric}.{named.number} of {model}"
        if value is None:
            raise InputError(f"--fail-if {self.text!r}: cannot be decided, there is no {name}; see the report")
        self.used[name] = value
        return value
