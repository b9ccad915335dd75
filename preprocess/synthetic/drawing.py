"""Many drawings at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
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
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn")) if workers > 1 else nullcontext()
    with pool as processes:
        over = processes.map if processes else map
        for _ in tqdm(over(draw, jobs), total=len(jobs), desc="drawing", unit=unit):
            pass
