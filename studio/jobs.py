"""A visitor's work in the background: it waits, runs, tells how far it is and can be stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future, wait
from typing import Any

from fomm.errors import InputError

MAX_FRAMES = 3600  # of a driving video: two minutes at 30 frames per second
MAX_JOB_S = 1800.0
NEWS_EVERY_S = 0.4

STAGES = {
    "find faces": "Looking for faces in the video",
    "find best frame": "Looking for the best starting frame",
    "animate": "Animating",
}


class Stopped(Exception):
    """The visitor stopped the job, or left."""


class Job:
    """Work that waits, runs, tells how far it is and can be stopped; leaving its `with` block stops it."""

    def __init__(self, ahead: Sequence[Job]) -> None:
        self.future: Future = Future()
        self._ahead = ahead
        self._stop = threading.Event()
        self._deadline = time.monotonic() + MAX_JOB_S
        self._stage, self._done, self._since = "", 0, 0.0
        self._total: int | None = None

    def __enter__(self) -> Job:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stop.set()
        self.future.cancel()

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()

    def progress(self, stage: str, done: int, total: int | None) -> None:
        """A `fomm.progress.Progress` that ends the job where it is to end."""
        if self._stop.is_set():
            raise Stopped
        if max(done, total or 0) > MAX_FRAMES:
            raise InputError(f"the video has more than {MAX_FRAMES} frames; cut it to two minutes or less")
        if time.monotonic() > self._deadline:
            raise InputError(f"stopped after {MAX_JOB_S / 60:.0f} minutes; use a shorter video or a smaller model")
        if stage != self._stage:
            self._stage, self._since = stage, time.monotonic()
        self._done, self._total = done, total

    def watch(self) -> Iterator[None]:
        """Yields every now and then until the job is done; `result` is there then."""
        yield
        while not wait([self.future], NEWS_EVERY_S).done:
            yield

    def result(self) -> Any:
        """What the job returned; waits for it. Raises what it raised; `Stopped` if it was stopped before it began."""
        try:
            return self.future.result()
        except CancelledError as error:
            raise Stopped from error

    @property
    def news(self) -> tuple[str, float | None]:
        """How far it is, in words, and as a share (0..1; None where that is not known)."""
        waiting = sum(not job.future.done() for job in self._ahead)
        if waiting:
            return f"Waiting: {waiting} before you", None
        if not self._stage:
            return "Loading the model", None
        done, total = self._done, self._total
        words = f"{STAGES[self._stage]}: frame {done}" + (f" of {total}" if total else "")
        if not (total and done):
            return words, None
        left_s = (time.monotonic() - self._since) / done * max(0, total - done)
        return f"{words}, about {max(1, round(left_s))} s left", min(1.0, done / total)
