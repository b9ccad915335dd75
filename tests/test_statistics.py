"""Intervals against the textbook and by simulation of what they promise; differences by hand."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations, product

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from fomm.evaluation.statistics import interval, over_time, paired, ratio


def test_pooled_weighs_long_clips_more_than_the_mean_of_clips() -> None:
    """A clip of one frame with error 1, one of three with 5: 16 / 4 pooled, 6 / 2 over clips."""
    assert ratio([1, 15], [1, 3]) == 4
    assert ratio([1, 5], [1, 1]) == 3
    assert ratio([], []) is None


def test_interval_of_one_clip_each_is_that_of_the_textbook() -> None:
    values = [2.0, 3.5, 1.0, 4.0]
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    found = interval(values, [1] * 4, [(name,) for name in "abcd"])
    np.testing.assert_allclose(found, (expected.low, expected.high), rtol=1e-12)


@pytest.mark.parametrize("people", [3, 5, 12, 50])
def test_one_verdict_in_twenty_is_false(people: int) -> None:
    """No model is better: identities differ, by different distributions, and have one to five clips each."""
    rng = np.random.default_rng(people)

    def is_false() -> bool:
        clips = np.repeat(np.arange(people), rng.integers(1, 6, people))
        own = rng.choice([rng.normal(0, 1, people), rng.uniform(-1, 1, people), rng.standard_t(5, people)])
        values = own[clips] + rng.normal(0, 0.5, len(clips))
        found = paired(values, np.zeros(len(clips)), [(f"id{i}",) for i in clips], lower_is_better=True).interval
        return not found[0] <= 0 <= found[1]

    assert 0.03 <= np.mean([is_false() for _ in range(1500)]) <= 0.07


def false_verdicts(pairs: Callable[[], list[tuple[int, int]]], seed: int, both_parts: bool) -> float:
    """Their share where sources and drivers have effects of their own and no model is better."""
    rng = np.random.default_rng(seed)

    def is_false() -> bool:
        listed = pairs()
        source = rng.normal(0, 1, 20)
        driver = 0.7 * source + rng.normal(0, 0.7, 20) if both_parts else rng.normal(0, 1, 20)
        values = [source[i] + driver[j] + rng.normal() for i, j in listed]
        names = [(f"id{i}", f"id{j}" if both_parts else f"driver{j}") for i, j in listed]
        found = paired(values, [0.0] * len(values), names, lower_is_better=True).interval
        return found is not None and not found[0] <= 0 <= found[1]

    return float(np.mean([is_false() for _ in range(400)]))


@pytest.mark.parametrize("sources, drivers", [(20, 3), (8, 8)])
def test_few_drivers_give_no_false_certainty(sources: int, drivers: int) -> None:
    """Resampling sources alone would err in a third of these cases."""
    assert false_verdicts(lambda: list(product(range(sources), range(drivers))), 0, both_parts=False) <= 0.07


def test_people_who_drive_each_other_are_not_independent() -> None:
    assert false_verdicts(lambda: list(permutations(range(8), 2)), 1, both_parts=True) <= 0.08
    rng = np.random.default_rng(2)
    shuffled = lambda: [(i, int((i + rng.integers(1, 12)) % 12)) for i in range(12)]  # noqa: E731
    assert false_verdicts(shuffled, 3, both_parts=True) <= 0.08


def test_interval_is_always_the_same_and_does_not_depend_on_the_order() -> None:
    rng = np.random.default_rng(3)
    totals, frames = rng.random(40), rng.integers(1, 9, 40)
    people = [(f"id{i % 9}", f"id{(i * i + 1) % 9}") for i in range(40)]
    first = interval(totals, frames, people)
    order = rng.permutation(40)
    again = interval(*([values[i] for i in order] for values in (totals, frames, people)))
    np.testing.assert_allclose(again, first, rtol=1e-12)


@pytest.mark.parametrize(
    "values, frames, people",
    [
        ([1, 2, 3], [3, 3, 3], [("a",), ("b",), ("b",)]),
        ([1, 2, 3], [3, 3, 0], [("a",), ("b",), ("c",)]),
        ([], [], []),
        ([1, 2, 3], [1, 1, 1], [("a", "x"), ("b", "x"), ("c", "y")]),  # two drivers
        ([1, 1, 1], [1, 1, 1], [("a",), ("b",), ("c",)]),  # equal by chance, perhaps
        ([9, 2, 3], [1000, 1, 1], [("a",), ("b",), ("c",)]),  # two of them hardly count
    ],
)
def test_of_too_few_nothing_is_concluded(values: list[float], frames: list[int], people: list[tuple]) -> None:
    assert interval(values, frames, people) is None


def test_six_equal_identities_have_an_interval_of_no_width() -> None:
    assert interval([2.0, 4.0, 2.0, 2.0, 2.0, 2.0], [1, 2, 1, 1, 1, 1], [(n,) for n in "abcdef"]) == (2.0, 2.0)


def test_differences_are_counted_clip_by_clip() -> None:
    model, baseline = [1.0, 2.0, 5.0, None, 1.0], [2.0, 2.0 + 1e-9, 3.0, 1.0, None]
    people = [("a",), ("a",), ("b",), ("b",), ("c",)]
    found = paired(model, baseline, people, lower_is_better=True)
    assert found.mean == pytest.approx((-0.5 + 2) / 2), "each identity weighs the same"
    assert (found.wins, found.ties, found.losses, found.clips) == (1, 1, 1, 3)
    assert found.interval is None, "two identities"
    other = paired(model, baseline, people, lower_is_better=False)
    assert (other.wins, other.losses, other.mean) == (1, 1, found.mean)


def test_swapping_model_and_baseline_swaps_the_sign_and_the_wins() -> None:
    rng = np.random.default_rng(0)
    a, b, people = rng.random(40), rng.random(40), [(f"id{i % 7}",) for i in range(40)]
    there, back = paired(a, b, people, lower_is_better=True), paired(b, a, people, lower_is_better=True)
    assert there.mean == pytest.approx(-back.mean) and (there.wins, there.losses) == (back.losses, back.wins)
    np.testing.assert_allclose(there.interval, [-back.interval[1], -back.interval[0]], rtol=1e-9)
    nothing = paired(a, [None] * 40, people, lower_is_better=True)
    assert nothing == (None, None, 0, 0, 0, 0)
    assert paired(a, a, people, lower_is_better=True)[:5] == (0.0, (0.0, 0.0), 0, 40, 0)


def test_over_time_spreads_a_clip_over_the_bins() -> None:
    totals, counts = over_time(np.array([1.0, 3.0, np.nan, 5.0, np.inf, 2.0]), bins=3)
    np.testing.assert_array_equal(totals, [4, 5, 2])
    np.testing.assert_array_equal(counts, [2, 1, 1])
    totals, counts = over_time(np.array([7.0]), bins=20)
    assert totals[0] == 7 and counts.sum() == 1
    assert over_time(np.array([]))[1].sum() == 0
