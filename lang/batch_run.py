"""Running many programs side by side: threads, order, progress, and stopping early."""

from __future__ import annotations

import contextvars
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal, TypeVar

from sestina.lang.errors import InvalidParams

T = TypeVar("T")
Job = Callable[[], T]

MAX_AHEAD = 256
"""How many items a lazy batch starts ahead of its reader, at least one per thread."""


def run_all(
    jobs: Sequence[Job[T]],
    *,
    num_threads: int | Literal["auto"],
    progress_bar: bool,
    stop: Callable[[], None],
) -> list[T]:
    """All results, in order.

    A job that raises ends the batch (jobs catch what is theirs alone): no more are started, and
    `stop` must make those that run return soon.
    """
    return list(_run(jobs, _num_workers(num_threads, len(jobs)), progress_bar, len(jobs), stop))


def run_each(
    jobs: Sequence[Job[T]],
    *,
    num_threads: int | Literal["auto"],
    progress_bar: bool,
    stop: Callable[[], None],
) -> Iterator[T]:
    """The results, in order, each as soon as it is there; closing it ends the batch."""
    workers = _num_workers(num_threads, len(jobs))
    return _run(jobs, workers, progress_bar, max(MAX_AHEAD, workers), stop)


def _num_workers(num_threads: int | Literal["auto"], num_jobs: int) -> int:
    """SGLang's rule for "auto": programs mostly wait, so many more threads than processors."""
    if num_threads == "auto":
        num_threads = max(96, 16 * (os.cpu_count() or 1))
    if isinstance(num_threads, bool) or not isinstance(num_threads, int) or num_threads < 1:
        raise InvalidParams(f'num_threads must be "auto" or at least 1, got {num_threads!r}')
    return max(1, min(num_threads, num_jobs))


def _run(
    jobs: Sequence[Job[T]], workers: int, progress_bar: bool, ahead: int, stop: Callable[[], None]
) -> Iterator[T]:
    """A window of started jobs slides over the batch, so that a slow one stalls no thread."""
    bar = _bar(len(jobs)) if progress_bar else None
    started: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="sestina-batch")
    try:
        for job in jobs:
            started.append(pool.submit(contextvars.copy_context().run, job))
            if bar is not None:
                started[-1].add_done_callback(lambda _: bar.update())
            if len(started) >= ahead:
                yield started.popleft().result()
        while started:
            yield started.popleft().result()
    except BaseException:  # a job raised, Ctrl-C, or the reader went away
        pool.shutdown(wait=False, cancel_futures=True)
        stop()
        raise
    finally:
        pool.shutdown(wait=True)
        if bar is not None:
            bar.close()


def _bar(total: int) -> Any:
    from tqdm import tqdm

    return tqdm(total=total)
