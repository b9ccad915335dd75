"""Work ahead in a background thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


def prefetch(items: Iterable[T], depth: int = 4, *, newest: bool = False) -> Generator[T]:
    """Run an iterable in a background thread, at most `depth` items ahead, and yield its items in order.

    Decoding and encoding release the GIL, so this overlaps reading with work on the frames. An exception of the
    iterable is raised here. If the consumer stops early, the thread ends and the iterable is closed in it.

    Args:
        newest: an item takes the place of one that nobody has taken yet. A camera does not wait.
    """
    ready: queue.Queue = queue.Queue(maxsize=1 if newest else max(1, depth))
    stop = threading.Event()
    end = object()

    def put(message: tuple[object, BaseException | None]) -> None:
        if newest:
            with suppress(queue.Empty):
                ready.get_nowait()
        while not stop.is_set():
            with suppress(queue.Full):
                return ready.put(message, timeout=0.1)

    def work() -> None:
        iterator = iter(items)
        try:
            for item in iterator:
                put((item, None))
                if stop.is_set():
                    break
            put((end, None))
        except BaseException as error:  # noqa: B036 - carried over to the consumer
            put((end, error))
        finally:
            if hasattr(iterator, "close"):
                iterator.close()

    worker = threading.Thread(target=work, name="prefetch", daemon=True)
    worker.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is end:
                return
            yield item
    finally:
        stop.set()
        worker.join()
