"""Plots as inline SVG: text stays text, colours come from the page's style sheet, so both colour schemes work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from fomm.report.tables import Interval, digits_for, is_number, number

WIDTH = 340
LEFT, RIGHT = 46, 10
MANY_DOTS = 150  # above, dots carry no tooltips: a page of half a million of them is slow


@dataclass(frozen=True)
class Series:
    """Values of one model, with the style sheet's class for its colour and dash, and a name for each value."""

    model: str
    style: str
    values: list[float | None]
    names: list[str]


@dataclass(frozen=True)
class Axis:
    """Linear map from values to pixels, with round ticks."""

    low: float
    high: float
    start: float
    end: float
    ticks: list[float]
    digits: int

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def label(self, value: float) -> str:
        return number(value, self.digits)


def make_axis(values: Sequence[float], start: float, end: float, *, ticks: int = 5) -> Axis:
    """An axis that holds `values`, from zero if that is near."""
    low, high = float(min(values)), float(max(values))
    if 0 < low < 0.35 * high:
        low = 0.0
    if high - low <= 1e-9 * max(abs(high), abs(low)):
        room = abs(high) * 0.1 or 1.0
        low, high = low - (0 if low == 0 else room), high + room
    raw = (high - low) / ticks
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= raw * 0.999)
    low, high = math.floor(low / step + 1e-6) * step, math.ceil(high / step - 1e-6) * step
    count = round((high - low) / step)
    digits = max(0, -math.floor(math.log10(step)) + (1 if round(step / power, 3) == 2.5 else 0))
    return Axis(low, high, start, end, [low + step * i for i in range(count + 1)], digits)


def _finite(values: Sequence[float | None]) -> list[float]:
    return [v for v in values if is_number(v)]


def _short(name: str) -> str:
    """A name that fits into a plot; the legend has it in full."""
    return name if len(name) <= 24 else name[:23] + "…"


def _svg(height: float, label: str, parts: list[str]) -> Markup:
    return Markup(
        f'<svg class="plot" viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def _x_axis(axis: Axis, top: float, bottom: float, title: str) -> list[str]:
    parts = [_line(axis(t), top, axis(t), bottom, "grid") for t in axis.ticks]
    parts += [_text(axis(t), bottom + 14, axis.label(t), "tick") for t in axis.ticks]
    return [*parts, _text((axis.start + axis.end) / 2, bottom + 30, title, "axis")]


def _y_axis(axis: Axis, left: float, right: float) -> list[str]:
    parts = [_line(left, axis(t), right, axis(t), "grid") for t in axis.ticks]
    return parts + [_text(left - 6, axis(t) + 4, axis.label(t), "tick", "end") for t in axis.ticks]


def _dots(points: list[tuple[float, float, str]], style: str) -> str:
    if len(points) > MANY_DOTS:  # one path with round ends
        path = "".join(f"M{x:.1f} {y:.1f}h0" for x, y, _ in points)
        return f'<path d="{path}" class="dots {style}"/>'
    return "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" class="dot {style}"><title>{escape(name)}</title></circle>'
        for x, y, name in points
    )


def distribution(series: Sequence[Series], title: str) -> Markup | None:
    """Every clip's mean as a dot, with median and quartiles, one strip per model."""
    rows = [(s, _finite(s.values)) for s in series]
    rows = [(s, values) for s, values in rows if values]
    if not rows:
        return None
    height = 8 + 40 * len(rows) + 38
    axis = make_axis([v for _, values in rows for v in values], 18, WIDTH - 18)
    digits = digits_for([v for _, values in rows for v in values])
    parts = _x_axis(axis, 8, height - 38, title)
    told = []
    for index, (s, values) in enumerate(rows):
        y = 8 + 40 * index
        low, middle, high = np.percentile(values, [25, 50, 75])
        box = f'x="{axis(low):.1f}" y="{y + 17}" width="{max(axis(high) - axis(low), 1):.1f}" height="18"'
        parts.append(f'<rect {box} class="box {s.style}"/>')
        names = [name for v, name in zip(s.values, s.names, strict=True) if is_number(v)]
        points = [
            (axis(v), y + 26 + 12 * ((0.618034 * (i + 1)) % 1 - 0.5), f"{n}: {number(v, digits)}")
            for i, (v, n) in enumerate(zip(values, names, strict=True))
        ]
        parts.append(_dots(points, s.style))
        parts.append(_line(axis(middle), y + 15, axis(middle), y + 37, f"median {s.style}"))
        parts.append(
            _text(12, y + 11, f"{_short(s.model)}: median {number(middle, digits)}", f"name {s.style}", "start")
        )
        told.append(f"{s.model} median {number(middle, digits)}, from {number(min(values), digits)} to "
                    f"{number(max(values), digits)}")  # fmt: skip
    return _svg(height, f"{title}, distribution over clips: {'; '.join(told)}", parts)


def over_time(series: Sequence[Series], title: str) -> Markup | None:
    """Mean over clips against relative time in the clip."""
    drawn = [s for s in series if len(_finite(s.values)) > 1]
    if not drawn:
        return None
    height, top, bottom = 240, 10, 202
    axis = make_axis([v for s in drawn for v in _finite(s.values)], bottom, top)
    across = Axis(0, 100, LEFT, WIDTH - RIGHT - 6, [0, 25, 50, 75, 100], 0)
    parts = _x_axis(across, top, bottom, "time in the clip (%)") + _y_axis(axis, LEFT, WIDTH - RIGHT - 6)
    digits = digits_for([v for s in drawn for v in _finite(s.values)])
    told = []
    for s in drawn:
        # Clips of few frames leave bins empty: the line goes on to the next.
        points = [
            f"{across(100 * (index + 0.5) / len(s.values)):.1f} {axis(value):.1f}"
            for index, value in enumerate(s.values)
            if is_number(value)
        ]
        path = "M" + "L".join(points)
        parts.append(f'<path d="{path}" class="line {s.style}"/>')
        values = _finite(s.values)
        told.append(f"{s.model} from {number(values[0], digits)} at the start to {number(values[-1], digits)}")
    return _svg(height, f"{title} over time: {'; '.join(told)}", parts)


def scatter(baseline: Series, others: Sequence[Series], title: str, better: str) -> Markup | None:
    """One dot per clip, baseline across and candidate up; on the diagonal both are equal."""
    pairs = [
        (s, [(x, y, name) for x, y, name in zip(baseline.values, s.values, s.names, strict=True)
             if is_number(x) and is_number(y)])
        for s in others
    ]  # fmt: skip
    pairs = [(s, points) for s, points in pairs if points]
    if not pairs:
        return None
    side = 192
    left, top = LEFT + 20, 10
    bottom = top + side
    values = [v for _, points in pairs for x, y, _ in points for v in (x, y)]
    across, up = make_axis(values, left, left + side, ticks=4), make_axis(values, bottom, top, ticks=4)
    digits = digits_for(values)
    lower = better == "lower"
    corner = (left + side, bottom) if lower else (left, top)
    polygon = " ".join(f"{x},{y}" for x, y in ((left, bottom), corner, (left + side, top)))
    parts = [f'<polygon points="{polygon}" class="better"/>']
    parts += _x_axis(across, top, bottom, f"{_short(baseline.model)} (baseline)") + _y_axis(up, left, left + side)
    parts.append(_line(left, bottom, left + side, top, "diagonal"))
    told = []
    for s, points in pairs:
        dots = [
            (across(x), up(y), f"{name}: {s.model} {number(y, digits)}, {baseline.model} {number(x, digits)}")
            for x, y, name in points
        ]
        parts.append(_dots(dots, s.style))
        wins = sum((y < x) if lower else (y > x) for x, y, _ in points)
        told.append(f"{s.model} is better on {wins} of {len(points)} clips")
    return _svg(240, f"{title}, clip by clip against {baseline.model}: {'; '.join(told)}", parts)


def interval_bar(interval: Interval) -> Markup:
    """A difference with its interval about the line at zero, drawn so that better is to the right."""
    sign = -1 if interval.better == "lower" else 1
    low, high = sorted((sign * interval.low, sign * interval.high))
    mean = sign * interval.mean
    reach = max(abs(low), abs(high), abs(mean)) or 1.0
    low, mean, high = (60 + 54 * v / reach for v in (low, mean, high))
    tone = "good" if low > 60 else "bad" if high < 60 else "open"
    return Markup(
        '<svg class="interval" viewBox="0 0 120 16" aria-hidden="true">'
        '<line x1="60" y1="0" x2="60" y2="16" class="zero"/>'
        f'<line x1="{low:.1f}" y1="8" x2="{high:.1f}" y2="8" class="span {tone}"/>'
        f'<circle cx="{mean:.1f}" cy="8" r="4" class="mean {tone}"/></svg>'
    )


def share_bar(shares: tuple[int, int, int]) -> Markup:
    """Wins, ties and losses as parts of one bar."""
    total = sum(shares) or 1
    parts, x = [], 0.0
    for count, tone in zip(shares, ("good", "open", "bad"), strict=True):
        width = 100 * count / total
        if width:
            parts.append(f'<rect x="{x:.2f}" y="0" width="{width:.2f}" height="6" class="part {tone}"/>')
        x += width
    return Markup(
        f'<svg class="shares" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">{"".join(parts)}</svg>'
    )
