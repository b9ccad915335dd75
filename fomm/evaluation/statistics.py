"""From values per clip to numbers with uncertainty: intervals over identities, paired differences.

Pure functions on arrays; what a value is and how misses count, `metrics` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

DRAWS = 2000
SEED = 0
LEVEL = 0.95
TIME_BINS = 20


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float | None:
    """Sum of numerators by sum of denominators, None for nothing by nothing.

    Totals by frames give the mean pooled over frames, in which long clips weigh more; clip means by ones the mean of
    clips.
    """
    below = float(np.sum(denominators))
    return float(np.sum(numerators)) / below if below else None


def interval(
    numerators: Sequence[float],
    denominators: Sequence[float],
    groups: Sequence[str],
    *,
    draws: int = DRAWS,
    seed: int = SEED,
    level: float = LEVEL,
) -> tuple[float, float] | None:
    """Percentile bootstrap interval of `ratio`, drawing whole groups (identities) with replacement.

    Frames of one clip and clips of one person are alike, so that drawing frames or clips would give intervals that are
    far too narrow. Equal arguments give equal intervals.

    Args:
        numerators, denominators: (C,), one for each clip.
        groups: (C,) to whom a clip belongs.
        draws: how often as many groups as there are are drawn.
        seed: of the draws.
        level: part of the draws that the interval holds.

    Returns: its ends; None for fewer than two groups with a value, of which nothing about other identities follows.
    """
    names = sorted({group for group, below in zip(groups, denominators, strict=True) if below})
    if len(names) < 2:
        return None
    number = {name: index for index, name in enumerate(names)}
    above, below = np.zeros(len(names)), np.zeros(len(names))
    for a, b, group in zip(numerators, denominators, groups, strict=True):
        if b:
            above[number[group]] += a
            below[number[group]] += b
    weights = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    tail = 50 * (1 - level)
    low, high = np.percentile(weights @ above / (weights @ below), [tail, 100 - tail])
    return float(low), float(high)


class Difference(NamedTuple):
    """A model against the baseline, clip by clip."""

    mean: float | None  # of (model - baseline) over clips
    interval: tuple[float, float] | None
    wins: int
    ties: int
    losses: int
    clips: int  # where both have a value


def paired(
    model: Sequence[float | None],
    baseline: Sequence[float | None],
    groups: Sequence[str],
    *,
    lower_is_better: bool,
    draws: int = DRAWS,
    seed: int = SEED,
) -> Difference:
    """Compare clip means (C,) of a model and the baseline on the same clips; None where there is none.

    A difference within float32 rounding (1e-6 of the value) is a tie. The interval is that of the mean difference,
    over identities as in `interval`.
    """
    both = [(m, b, g) for m, b, g in zip(model, baseline, groups, strict=True) if m is not None and b is not None]
    differences = [m - b for m, b, _ in both]
    equal = np.array([np.isclose(m, b, rtol=1e-6, atol=1e-9) for m, b, _ in both], bool)
    better = (np.array(differences) < 0) == lower_is_better
    wins, ties = int((better & ~equal).sum()), int(equal.sum())
    ones = [1.0] * len(both)
    return Difference(
        ratio(differences, ones),
        interval(differences, ones, [g for *_, g in both], draws=draws, seed=seed),
        wins,
        ties,
        len(both) - wins - ties,
        len(both),
    )


def over_time(values: np.ndarray, bins: int = TIME_BINS) -> tuple[np.ndarray, np.ndarray]:
    """Totals and counts (bins,) of the values (T,) of a clip by relative time; what is not finite is left out."""
    place = np.arange(len(values)) * bins // max(len(values), 1)
    there = np.isfinite(values)
    totals = np.bincount(place[there], weights=values[there], minlength=bins)
    return totals, np.bincount(place[there], minlength=bins)
