"""Work side by side comes back in order, takes no more than it can work on, and ends when it is to end."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from fomm.animator.lanes import MOST, Lanes


@pytest.fixture(autouse=True)
def four_cores() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def test_results_are_in_order_whoever_is_first() -> None:
    done = [threading.Event() for _ in range(20)]

    def after_the_next_if_even(number: int) -> int:
        assert number % 2 or done[number + 1].wait(100)
        done[number].set()
        return number * number

    with Lanes(3) as lanes:
        assert list(lanes.map(after_the_next_if_even, range(20))) == [n * n for n in range(20)]
        assert list(lanes.map(after_the_next_if_even, [])) == []


@pytest.mark.parametrize(("count", "each"), [(1, 4), (2, 2), (4, 1), (8, 1)])
def test_lanes_share_the_cores(count: int, each: int) -> None:
    with Lanes(count) as lanes:
        meet = threading.Barrier(count)

        def threads(_: int) -> int:
            meet.wait(100)  # each lane has one of them
            return torch.get_num_threads()

        futures = [lanes.submit(threads, i) for i in range(count)]
        assert [future.result() for future in futures] == [each] * count
    later: list[int] = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert [torch.get_num_threads(), *later] == [4, 4]


def test_no_more_lanes_than_memory_bears() -> None:
    torch.set_num_threads(64)
    with Lanes() as lanes:
        assert lanes.count == MOST


def test_what_goes_wrong_is_raised_in_its_place() -> None:
    taken = []

    def numbers() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    with Lanes(2) as lanes:
        results = lanes.map(lambda number: 1 / (5 - number), numbers())
        assert [next(results) for _ in range(5)] == pytest.approx([1 / 5, 1 / 4, 1 / 3, 1 / 2, 1])
        with pytest.raises(ZeroDivisionError):
            next(results)
    assert len(taken) <= 7


def test_lanes_made_at_the_same_time() -> None:
    made: list[Lanes] = []
    makers = [threading.Thread(target=lambda: made.append(Lanes(2))) for _ in range(8)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert [lanes.submit(lambda _: torch.get_num_threads(), 0).result() for lanes in made] == [2] * 8
    assert torch.get_num_threads() == 4
    for lanes in made:
        lanes.close()


def test_closing_drops_what_has_not_begun() -> None:
    begun, gate, done = threading.Event(), threading.Event(), []

    def work(number: int) -> None:
        begun.set()
        gate.wait(100)
        done.append(number)

    lanes = Lanes(1)
    futures = [lanes.submit(work, number) for number in range(5)]
    futures[-1].add_done_callback(lambda _: gate.set())  # what has begun goes on when the last one has been dropped
    assert begun.wait(100)
    lanes.close()
    assert done == [0] and all(future.cancelled() for future in futures[1:])
