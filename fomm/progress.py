"""How far a long work is: a callback, and bars for a person who watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TextIO, TypeVar

from tqdm import tqdm

T = TypeVar("T")

Progress = Callable[[str, int, int | None], None]
"""Called as (stage, items done, items in all or None where that is not known)."""


def silent(stage: str, done: int, total: int | None) -> None:
    """A `Progress` that says nothing."""


def watched(items: Iterable[T], stage: str, total: int | None, progress: Progress) -> Iterator[T]:
    """The same items; `progress` is called for each, and in the end with how many there really were."""
    progress(stage, 0, total)
    done = 0
    for done, item in enumerate(items, 1):
        yield item
        progress(stage, done, total)
    progress(stage, done, done)


class Bars:
    """A `Progress` that draws a bar with frames per second for each stage; silent where stderr is no terminal."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None
        self._stage = ""

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        if self._bar is None or stage != self._stage or done == 0:
            self.close()
            self._bar = tqdm(desc=f"{stage:>15}", total=total, unit=" frames", disable=not sys.stderr.isatty())
            self._stage = stage
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def print(self, line: str, file: TextIO | None = None) -> None:
        """A line that does not tear the bar apart, on stderr unless `file` says otherwise."""
        file = file or sys.stderr
        with tqdm.external_write_mode(file=file):
            print(line, file=file, flush=True)

    def close(self) -> None:
        """Leave the last bar as it stands."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
