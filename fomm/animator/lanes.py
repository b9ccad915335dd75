"""Frames side by side: each core works on a frame of its own.

Frames of a video do not depend on each other. With one frame on each core nobody waits for anybody; with all cores on
one frame each of its several hundred steps ends with waiting for the slowest (docs/speed.md has the difference).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")
MOST = 4
"""Lanes; each holds a frame's intermediate results in memory. With more cores than that, a lane has several."""

_STARTING = threading.Lock()


class Lanes:
    """Threads that share the cores PyTorch uses. Close it, or use it in a `with` statement.

    Attributes:
        count: how many there are; with one, `map` works in the caller's thread.

    Args:
        count: by default one for each core, but no more than `MOST`.
    """

    def __init__(self, count: int | None = None) -> None:
        with _STARTING:
            threads = torch.get_num_threads()
            self.count = count or min(MOST, threads)
            started = threading.Barrier(self.count + 1)

            def begin() -> None:
                torch.get_num_threads()  # a thread's first question overwrites what was set before
                torch.set_num_threads(max(1, threads // self.count))
                started.wait()

            self._pool = ThreadPoolExecutor(self.count, thread_name_prefix="lane", initializer=begin)
            for _ in range(self.count):  # none is idle before all have begun, so each of these starts one
                self._pool.submit(int)
            started.wait()
            torch.set_num_threads(threads)  # PyTorch gives the number that was set last to threads that come later

    def __enter__(self) -> Lanes:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Waits for what has begun; what has not is dropped."""
        self._pool.shutdown(cancel_futures=True)

    def submit(self, function: Callable[[T], R], item: T) -> Future[R]:
        return self._pool.submit(function, item)

    def map(self, function: Callable[[T], R], items: Iterable[T], *, waiting: int = 0) -> Generator[R]:
        """Results in the items' order. Of the items no more are taken than there are lanes to work on them.

        Args:
            waiting: so many more are taken ahead, where making an item is work as well.
        """
        if self.count == 1:
            yield from map(function, items)
            return
        ahead: deque[Future[R]] = deque()
        for item in items:
            ahead.append(self.submit(function, item))
            if len(ahead) == self.count + waiting:
                yield ahead.popleft().result()
        yield from (future.result() for future in ahead)
