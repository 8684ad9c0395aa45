"""RowThreads: runs compiled code over ranges of rows, on as many threads as pay."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

ROWS_PER_THREAD = 1024
"""Fewer are not worth a thread: two gain 1.9 times at 2,048 rows on two idle cores, 1.7 at 1,024,
nothing at 512, and lose where other work takes the second core; see docs/results.md."""


class RowThreads:
    """Splits n rows over threads; compiled code lets go of Python's lock, so they run together.

    The threads sleep between steps, so that they do not take the cores of a training library in
    the same process. A forked child has none of its parent's threads and takes all rows itself.
    """

    def __init__(self, num_rows: int, num_threads: int | None = None) -> None:
        """Chooses the ranges; threads start with the first run.

        Args:
            num_rows: rows in all.
            num_threads: threads to use; None = as many as there are cores and enough rows for.
        """
        if num_threads is None:
            cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
            num_threads = max(1, min(cores, num_rows // ROWS_PER_THREAD))
        self.num_threads = num_threads
        bounds = np.linspace(0, num_rows, num_threads + 1).astype(int).tolist()
        self._ranges = list(itertools.pairwise(bounds))
        self._num_rows = num_rows
        self._pool: ThreadPoolExecutor | None = None
        self._owner = os.getpid()

    def run(self, function: Callable[..., None], *args: Any) -> None:
        """Calls function(*args, first, last) for ranges that make up all rows."""
        if self.num_threads == 1 or os.getpid() != self._owner:
            function(*args, 0, self._num_rows)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.num_threads - 1, "orchestai-rows")
        futures = [self._pool.submit(function, *args, *bounds) for bounds in self._ranges[1:]]
        function(*args, *self._ranges[0])
        for future in futures:
            future.result()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles and copies the numbers; threads stay with their owner."""
        return RowThreads, (self._num_rows, self.num_threads)
