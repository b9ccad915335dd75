"""Many drawings at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from typing import TypeVar

from tqdm import tqdm

Job = TypeVar("Job")


def draw_all(draw: Callable[[Job], None], jobs: Sequence[Job], *, workers: int, unit: str) -> None:
    """Draw each of the jobs, in so many processes, with a bar.

    Args:
        draw: can be sent to another process.
        unit: what a job is called.
    """
    with ExitStack() as stack:
        bar = stack.enter_context(tqdm(total=len(jobs), desc="drawing", unit=unit))
        over: Callable[..., Iterable[None]] = map
        if workers > 1:
            over = stack.enter_context(ProcessPoolExecutor(workers, mp_context=get_context("spawn"))).map
        for _ in over(draw, jobs):
            bar.update()
