"""From values per clip to numbers with uncertainty: intervals over identities, paired differences.

Pure functions on arrays; what a value is and how misses count, `metrics` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

LEVEL = 0.95
MIN_IDENTITIES = 3
"""Of fewer nothing is concluded: an interval over two is 13 standard errors wide and rests on normality alone."""
MIN_WITHOUT_SPREAD = 6
"""So many equal values would come up by chance once in 32 times (signs thrown at random); fewer say nothing."""
TIME_BINS = 20

Who = tuple[str, ...]
"""The identities that a clip shows: one where the source's drives itself, else the source's and the driver's."""


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float | None:
    """Sum of numerators by sum of denominators, None for nothing by nothing.

    Totals by frames give the mean pooled over frames, in which long clips weigh more; clip means by ones the mean of
    clips.
    """
    below = float(np.sum(denominators))
    return float(np.sum(numerators)) / below if below else None


def interval(
    numerators: Sequence[float], denominators: Sequence[float], who: Sequence[Who]
) -> tuple[float, float] | None:
    """Student's t interval of `ratio` over identities, which are drawn from all people; clips and frames are not.

    It holds the value for all people `LEVEL` of the time.

    The spread is that of sums over all clips of an identity, so whatever clips and frames of one person have in common
    is in it. Where source and driver differ, clips with the same source are alike and so are clips with the same
    driver: both count (two-way, or dyadic where people take both parts: Cameron, Gelbach and Miller 2011; Aronow,
    Samii and Assenova 2015), and the degrees of freedom are those of the part with fewer people. An identity's share h
    of all frames is allowed for: residuals by sqrt(1 - h), degrees of freedom 1 / sum(h²) - 1. With one identity for
    each clip and equal shares it is the textbook's t interval of a mean.

    Args:
        numerators, denominators: (C,), one for each clip.
        who: (C,) the identities of each.

    Returns: its ends; None for fewer than `MIN_IDENTITIES` identities with a value, as source or as driver, or fewer
        than `MIN_WITHOUT_SPREAD` that are all equal, or where one has nearly all frames (less than one degree of
        freedom).
    """
    there = [(a, b, names) for a, b, names in zip(numerators, denominators, who, strict=True) if b]
    if not there:
        return None
    above, below = np.array([a for a, _, _ in there]), np.array([b for _, b, _ in there])
    names = [names for *_, names in there]
    middle = above.sum() / below.sum()
    residuals, shares = (above - middle * below) / below.sum(), below / below.sum()
    alone = all(len(set(each)) == 1 for each in names)
    sides = [[each[0] for each in names]] if alone else [[each[0] for each in names], [each[-1] for each in names]]
    people = [_sums(shares, side) for side in sides]
    count = min(map(len, people))
    if count < MIN_IDENTITIES:
        return None
    variances = [_squares(residuals, shares, side) for side in sides]
    variance = variances[0]
    if not alone:
        couples = _squares(residuals, shares, [" + ".join(sorted(set(each))) for each in names])
        both = _both_parts(residuals, shares, names) if people[0].keys() & people[1].keys() else sum(variances)
        variance = max(*variances, both - couples)
    if np.sqrt(variance) <= 1e-12 * max(abs(middle), 1e-12) and count < MIN_WITHOUT_SPREAD:
        return None
    free = min(1 / sum(share**2 for share in of.values()) - 1 for of in people)
    if free < 1:
        return None
    reach = float(student.ppf((1 + LEVEL) / 2, free) * np.sqrt(variance))
    return float(middle - reach), float(middle + reach)


def _sums(values: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for name, value in sorted(zip(names, values, strict=True)):  # the order of clips makes no difference
        sums[name] = sums.get(name, 0.0) + float(value)
    return sums


def _squares(residuals: np.ndarray, shares: np.ndarray, names: Sequence[str]) -> float:
    """Sum of the squared sums by name, as large as if the mean had not been taken of the same values."""
    share = _sums(shares, names)
    return sum(value**2 / max(1 - share[name], 1e-12) for name, value in _sums(residuals, names).items())


def _both_parts(residuals: np.ndarray, shares: np.ndarray, names: Sequence[Who]) -> float:
    """As `_squares`, by person, whichever part they take; a mean of all pairs takes twice as much away from them."""
    rows = [(name, r, h) for r, h, each in zip(residuals, shares, names, strict=True) for name in sorted(set(each))]
    people, values, weights = zip(*rows, strict=True)
    share = _sums(np.array(weights), people)
    return sum(v**2 / max(1 - share[name], 1e-6) ** 2 for name, v in _sums(np.array(values), people).items())


class Difference(NamedTuple):
    """A model against the baseline, clip by clip."""

    mean: float | None  # of (model - baseline) over identities
    interval: tuple[float, float] | None
    wins: int
    ties: int
    losses: int
    clips: int  # where both have a value


def paired(
    model: Sequence[float | None], baseline: Sequence[float | None], who: Sequence[Who], *, lower_is_better: bool
) -> Difference:
    """Compare clip means (C,) of a model and the baseline on the same clips; None where there is none.

    A difference within float32 rounding (1e-6 of the value) is a tie. The mean is that of the identities' means (of
    pairs of identities where source and driver differ), each of the same weight however many clips it has: the t test
    holds its level for such means even where some rest on more clips than others (Ibragimov and Müller 2010). The
    interval is theirs, as in `interval`; it leaves out zero in 5 % of all cases in which there is no difference.
    """
    both = [(m, b, w) for m, b, w in zip(model, baseline, who, strict=True) if m is not None and b is not None]
    differences = [m - b for m, b, _ in both]
    equal = np.array([np.isclose(m, b, rtol=1e-6, atol=1e-9) for m, b, _ in both], bool)
    better = (np.array(differences) < 0) == lower_is_better
    wins, ties = int((better & ~equal).sum()), int(equal.sum())
    of: dict[Who, list[float]] = {}
    for difference, (_, _, names) in zip(differences, both, strict=True):
        of.setdefault(names, []).append(difference)
    means, ones = [float(np.mean(values)) for values in of.values()], [1.0] * len(of)
    return Difference(
        ratio(means, ones), interval(means, ones, list(of)), wins, ties, len(both) - wins - ties, len(both)
    )


def over_time(values: np.ndarray, bins: int = TIME_BINS) -> tuple[np.ndarray, np.ndarray]:
    """Totals and counts (bins,) of the values (T,) of a clip by relative time; what is not finite is left out."""
    place = np.arange(len(values)) * bins // max(len(values), 1)
    there = np.isfinite(values)
    totals = np.bincount(place[there], weights=values[there], minlength=bins)
    return totals, np.bincount(place[there], minlength=bins)
