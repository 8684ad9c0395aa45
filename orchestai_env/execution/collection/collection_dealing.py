"""Dealer: spreads a collection over the processes of a cluster, batch by batch."""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait

from orchestai_env.execution.collection.collection import Collection
from orchestai_env.execution.collection.collection_batch import Batch, run_batch
from orchestai_env.execution.collection.tally import Tally
from orchestai_env.execution.collection.tenure import end_tenure
from orchestai_env.execution.workers.worker_settings import LivePool

_REFRESH_S = 0.25
_END_S = 30.0
"""How long batches that were told to end are waited for [s]. Chosen."""
_ROUNDS = 16
"""Most executions of a batch, per workflow that it runs at once. Chosen: while its last ones run
out, a batch leaves a part of its process idle."""
_DEATHS = 3
"""Processes that may die in a row without having logged anything new."""


def num_slots(num_parallel: int, pool: LivePool, num_cores: int) -> int:
    """Returns how many batches run at once.

    No more than cores, than workflows, and than the calls that any worker takes at once, so that
    each batch has at least one of them; a pipeline of transformers is not shared by processes.
    """
    limits = [spec.concurrency for spec in pool.specs if spec.backend != "transformers"]
    return min(num_parallel, num_cores, *limits)


@dataclasses.dataclass(frozen=True, slots=True)
class _Dealt:
    """A batch that runs."""

    batch: Batch
    before_usd: float
    """What its executions had cost before, where they were interrupted [USD]."""
    has_all: bool
    """Whether it may spend all that is left."""

    def left_usd(self, tally: Tally) -> float:
        """Returns what it may still spend [USD]; it has a budget."""
        assert self.batch.budget_usd is not None
        spent_usd = tally.cost_usd(self.batch.indices) - self.before_usd
        return max(0.0, self.batch.budget_usd - spent_usd)


class Dealer:
    """Deals batches out; what was not done in one goes into another.

    Money is dealt out too: what batches that run may still cost is never more than what is left of
    the budget.
    """

    def __init__(self, collection: Collection, tally: Tally, pool: Executor, slots: int) -> None:
        """Takes what is to be done.

        Args:
            collection: all of it.
            tally: of its log.
            pool: of processes that were started for it; see `collection_batch.start`.
            slots: batches at once, >= 1.
        """
        self._collection, self._tally, self._pool, self._slots = collection, tally, pool, slots
        self._waiting = deque(tally.missing())
        self._running: dict[Future[tuple[int, ...]], _Dealt] = {}
        self._at_once = slots
        self._is_spent = False
        self._deaths = 0

    def run(self, is_stopped: Callable[[], bool], on_progress: Callable[[], None]) -> None:
        """Deals until all is done, the budget is spent or the collection is stopped.

        Args:
            is_stopped: asked several times a second.
            on_progress: called likewise, when the tally is up to date.
        Raises:
            OrchestAIError: a batch failed.
            BrokenExecutor: processes die and get nothing done.
        """
        try:
            while not is_stopped():
                self._deal()
                if not self._running:
                    return
                done, _ = wait(self._running, _REFRESH_S, FIRST_COMPLETED)
                self._tally.catch_up()
                for future in done:
                    self._take_back(future)
                on_progress()
        finally:
            if self._running:
                end_tenure(self._collection.folder)
                wait(self._running, _END_S)
                self._tally.catch_up()
                on_progress()

    def _deal(self) -> None:
        """Starts batches in the slots that are free."""
        while self._waiting and not self._is_spent and len(self._running) < self._at_once:
            count = self._size()
            budget_usd = self._left_usd()
            if budget_usd is not None:
                if budget_usd <= 0.0:
                    return
                num_free = self._at_once - len(self._running)
                budget_usd /= min(num_free, math.ceil(len(self._waiting) / count))
            taken = {dealt.batch.slot for dealt in self._running.values()}
            batch = Batch(
                indices=tuple(self._waiting.popleft() for _ in range(count)),
                slot=min(set(range(self._slots)) - taken),
                num_slots=self._slots,
                budget_usd=budget_usd,
            )
            before_usd = self._tally.cost_usd(batch.indices)
            self._running[self._pool.submit(run_batch, batch)] = _Dealt(
                batch, before_usd, has_all=self._at_once == 1
            )

    def _size(self) -> int:
        """Returns the size of the next batch; small ones at the end, so that all end together."""
        at_once: int = max(1, self._collection.args.num_parallel // self._slots)
        part = math.ceil(len(self._waiting) / (2 * self._slots))
        return min(len(self._waiting), max(at_once, min(part, _ROUNDS * at_once)))

    def _left_usd(self) -> float | None:
        """Returns what is neither spent nor dealt out [USD]; None where there is no limit."""
        budget_usd = self._collection.args.budget_usd
        if budget_usd is None:
            return None
        dealt_usd = sum(dealt.left_usd(self._tally) for dealt in self._running.values())
        return float(budget_usd) - self._tally.spent_usd - dealt_usd

    def _take_back(self, future: Future[tuple[int, ...]]) -> None:
        """Notes how a batch ended, and puts back what is not done."""
        dealt = self._running.pop(future)
        batch = dealt.batch
        missing = set(self._tally.missing()).intersection(batch.indices)
        try:
            missing -= set(future.result())
            self._deaths = 0
            if missing:  # its budget is spent
                self._is_spent |= dealt.has_all
                self._at_once = max(1, self._at_once // 2)
        except BrokenExecutor:
            self._deaths = self._deaths + 1 if len(missing) == len(batch.indices) else 1
            if self._deaths == _DEATHS:
                raise
        self._waiting.extendleft(sorted(missing, reverse=True))
