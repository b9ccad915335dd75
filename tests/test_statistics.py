"""Intervals and differences against values computed by hand and by brute force."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from fomm.evaluation.statistics import interval, over_time, paired, ratio


def test_pooled_weighs_long_clips_more_than_the_mean_of_clips() -> None:
    """A clip of one frame with error 1, one of three with 5: 16 / 4 pooled, 6 / 2 over clips."""
    assert ratio([1, 15], [1, 3]) == 4
    assert ratio([1, 5], [1, 1]) == 3
    assert ratio([], []) is None


def test_interval_is_that_of_all_possible_draws() -> None:
    """Three identities have 27 equally likely draws; their percentiles, enumerated."""
    totals, frames, people = [2.0, 9.0, 10.0, 1.0], [4, 6, 5, 1], ["a", "b", "c", "c"]
    above, below = np.array([2.0, 9.0, 11.0]), np.array([4, 6, 6])
    draws = [above[list(d)].sum() / below[list(d)].sum() for d in product(range(3), repeat=3)]
    low, high = interval(totals, frames, people, draws=200_000)
    assert (low, high) == (min(draws), max(draws))  # the extremes have 1 / 27 each, more than 2.5 %
    low, high = interval(totals, frames, people, draws=200_000, level=0.8)
    expected = np.percentile(draws, [10, 90], method="inverted_cdf")
    np.testing.assert_allclose((low, high), expected, rtol=1e-9)


def test_interval_covers_the_mean_of_the_people_as_often_as_it_says() -> None:
    """Identities differ a lot, clips of one hardly: intervals over clips would cover far too seldom."""
    rng = np.random.default_rng(1)
    people = [f"id{i}" for i in range(30) for _ in range(5)]
    covered = {"identities": 0, "clips": 0}
    for _ in range(200):
        values = np.repeat(rng.normal(3, 1, 30), 5) + rng.normal(0, 0.1, 150)
        for how, groups in (("identities", people), ("clips", [str(i) for i in range(150)])):
            low, high = interval(values, np.ones(150), groups, draws=300)
            covered[how] += low <= 3 <= high
    assert covered["identities"] / 200 == pytest.approx(0.94, abs=0.05)
    assert covered["clips"] / 200 < 0.75


def test_interval_is_always_the_same_and_does_not_depend_on_the_order() -> None:
    rng = np.random.default_rng(3)
    totals, frames, people = rng.random(40), rng.integers(1, 9, 40), [f"id{i % 9}" for i in range(40)]
    first = interval(totals, frames, people)
    order = rng.permutation(40)
    again = interval(*([values[i] for i in order] for values in (totals, frames, people)))
    np.testing.assert_allclose(again, first, rtol=1e-12)
    assert interval(totals, frames, people) == first != interval(totals, frames, people, seed=5)


@pytest.mark.parametrize(
    "frames, people", [([3, 3], ["a", "a"]), ([3, 0], ["a", "b"]), ([], []), ([0, 0], ["a", "b"])]
)  # fmt: skip
def test_one_identity_has_no_interval(frames: list[int], people: list[str]) -> None:
    assert interval([1.0] * len(frames), frames, people) is None


def test_equal_identities_have_an_interval_of_no_width() -> None:
    assert interval([2.0, 4.0, 2.0], [1, 2, 1], ["a", "b", "c"]) == (2.0, 2.0)


def test_differences_are_counted_clip_by_clip() -> None:
    model, baseline = [1.0, 2.0, 5.0, None, 1.0], [2.0, 2.0 + 1e-9, 3.0, 1.0, None]
    found = paired(model, baseline, ["a", "a", "b", "b", "c"], lower_is_better=True)
    assert found.mean == pytest.approx((-1 + 0 + 2) / 3)
    assert (found.wins, found.ties, found.losses, found.clips) == (1, 1, 1, 3)
    assert found.interval == pytest.approx((-0.5, 2))  # b alone, a alone
    other = paired(model, baseline, ["a", "a", "b", "b", "c"], lower_is_better=False)
    assert (other.wins, other.losses, other.mean) == (1, 1, found.mean)


def test_swapping_model_and_baseline_swaps_the_sign_and_the_wins() -> None:
    rng = np.random.default_rng(0)
    a, b, people = rng.random(40), rng.random(40), [f"id{i % 7}" for i in range(40)]
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
