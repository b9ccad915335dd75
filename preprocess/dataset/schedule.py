"""Many independent tasks over processes of this machine, or of an existing Dask cluster: one way for both.

A worker that dies (a crashing decoder, a full memory, a machine that goes away) costs the task that it was at: the task
is started again elsewhere. A task has to leave its result on disk and to notice when it is started once more; results
do not travel.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, TypeVar

from fomm.errors import InputError

if TYPE_CHECKING:
    from distributed import Client, as_completed

T = TypeVar("T")

ATTEMPTS = 4  # how often a task is handed out at most when nothing comes back
_CONNECT_S = 10
_POLL_S, _PATIENCE_S = 0.2, 60
# What Dask's workers would collect about themselves for a dashboard: 60 kB for each clip.
_LEAN = {"distributed.worker.profile.enabled": False, "distributed.admin.system-monitor.log-length": 10}


class Lost(Exception):
    """No worker survived this task, or the cluster lost it again and again."""


def run(
    tasks: Sequence[T],
    work: Callable[[T], None],
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    check: Callable[[], str | None] | None = None,
) -> Iterator[tuple[T, Exception | None]]:
    """Run `work(task)` for each task, and yield tasks as they end, each with its exception or None.

    Args:
        work: a picklable function; what it returns is dropped.
        workers: processes on this machine, started by spawn; default: one for each core.
        scheduler: `tcp://host:port` of a running Dask scheduler, to use its workers instead.
        check: called on every worker before the first task; what it returns (not None) says why it cannot work here.

    Raises:
        InputError: no scheduler or no worker answers (any more), or a worker that cannot work.
    """
    import dask
    from dask.system import CPU_COUNT
    from distributed import Client, LocalCluster, as_completed

    with ExitStack() as stack:
        if scheduler is None:
            stack.enter_context(dask.config.set(_LEAN))
            with _deaf_to_the_terminal():
                cluster = LocalCluster(
                    n_workers=min(workers or CPU_COUNT, max(1, len(tasks))),
                    threads_per_worker=1,
                    processes=True,  # by spawn: mediapipe hangs in forked children
                    memory_limit=0,
                    dashboard_address="127.0.0.1:0",
                    silence_logs=60,
                )
            client = stack.enter_context(Client(stack.enter_context(cluster)))
        else:
            logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what goes wrong is told below, in one line
            client = stack.enter_context(_connected(Client, scheduler))
        if check is not None:
            _check_workers(client, check)
        futures = {client.submit(work, task, pure=False): (task, 1) for task in tasks}
        ended = as_completed(futures)
        for future in _as_they_end(ended, client):
            task, attempt = futures.pop(future)
            error = future.exception() if future.status == "error" else None
            lost = future.status not in ("finished", "error") or type(error).__name__ == "KilledWorker"
            future.release()
            if lost and attempt < ATTEMPTS:
                again = client.submit(work, task, pure=False)
                futures[again] = (task, attempt + 1)
                ended.add(again)
                continue
            yield task, Lost(f"given up after {attempt} attempts") if lost else error


@contextmanager
def _deaf_to_the_terminal() -> Iterator[None]:
    """Threads and processes that are begun here, and theirs, do not hear Ctrl-C or a hang-up: who began them ends them.

    A terminal sends these to all processes at once, and each worker would die with a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # begun later, it would undo this in its thread
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _as_they_end(ended: as_completed, client: Client) -> Iterator:
    """Futures that have ended; waiting ends when no one is left to work."""
    last_seen = time.monotonic()
    while ended.count():
        if ended.has_ready():
            yield from ended.next_batch(block=False)
            continue
        time.sleep(_POLL_S)
        if client.status == "running" and client.scheduler_info()["workers"]:
            last_seen = time.monotonic()
        elif client.status == "closed" or time.monotonic() - last_seen > _PATIENCE_S:
            raise InputError(
                "the scheduler is gone, or all its workers are; what is finished is kept: start them and run this again"
            )


def _connected(client_class: type[Client], scheduler: str) -> Client:
    from distributed.comm import get_address_host_port

    try:
        with socket.create_connection(get_address_host_port(scheduler, strict=True), _CONNECT_S):
            pass  # Dask itself would knock again and again
        return client_class(scheduler, timeout=_CONNECT_S)
    except (OSError, TimeoutError, asyncio.TimeoutError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"--scheduler {scheduler}: no Dask scheduler answers there ({reason}); start one with `dask scheduler`, "
            "and workers with `dask worker tcp://host:port`, or leave the option out"
        ) from error


def _check_workers(client: Client, check: Callable[[], str | None]) -> None:
    try:
        client.wait_for_workers(1, timeout=_CONNECT_S)
    except (TimeoutError, asyncio.TimeoutError) as error:  # two until Python 3.10
        raise InputError(
            f"--scheduler {client.scheduler.address}: has no workers; start some with `dask worker ADDRESS`"
        ) from error
    for address, fault in client.run(check, on_error="return").items():
        if fault is not None:
            raise InputError(f"worker {address} cannot work: {fault}")
