"""Dealers: each execution done once, for no more money than there is, whoever dies."""

from __future__ import annotations

import argparse
import collections
import random
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestai_env.errors import PlanningError
from orchestai_env.execution.collection.collection import Collection, execution_id
from orchestai_env.execution.collection.collection_batch import Batch
from orchestai_env.execution.collection.collection_dealing import Dealer, num_slots
from orchestai_env.execution.collection.tally import Tally
from orchestai_env.execution.log.execution_log import ExecutionLogger
from orchestai_env.execution.log.log_reading import read_log
from orchestai_env.execution.workers.worker_settings import LivePool, LiveWorkerSettings
from tests.orchestai_env.execution.log_records import record

COST, MOST = 0.25, 0.5
"""Of one execution [USD]: what it costs, and what has to be left for it to begin."""


def pool(*concurrencies: int) -> LivePool:
    specs = [
        LiveWorkerSettings(name=f"w{i}", model="m", concurrency=concurrency)
        for i, concurrency in enumerate(concurrencies)
    ]
    return LivePool(specs=tuple(specs))


def collection(folder: Path, count: int, num_parallel: int, budget: float | None) -> Collection:
    args = argparse.Namespace(
        output_dir=folder, seed=0, num_parallel=num_parallel, budget_usd=budget
    )
    return Collection(args=args, pool=pool(8), workflows=[None] * count)  # type: ignore[list-item]  # not planned here


class PretendProcesses(Executor):
    """Threads that log executions of 0.25 USD in place of batches, and die as they are told."""

    def __init__(self, folder: Path, slots: int, budget: float | None, deaths: Iterator[bool]):
        self.batches: list[Batch] = []
        self._threads = ThreadPoolExecutor(slots)
        self._log, self._lock = ExecutionLogger(folder, fsync="never"), threading.Lock()
        self._budget, self._deaths = budget, deaths
        self._open: dict[int, float] = {}
        self._slots, self.spent = slots, 0.0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **_: Any) -> Future[Any]:
        (batch,) = args
        with self._lock:
            assert batch.slot not in self._open
            assert 0 <= batch.slot < self._slots == batch.num_slots
            self._open[batch.slot] = batch.budget_usd or 0.0
            if self._budget is not None:
                assert self.spent + sum(self._open.values()) <= self._budget + 1e-9
            self.batches.append(batch)
        return self._threads.submit(self._execute, batch, next(self._deaths))

    def _execute(self, batch: Batch, dies: bool) -> tuple[int, ...]:
        done: list[int] = []
        try:
            for number, index in enumerate(batch.indices):
                if dies and number >= len(batch.indices) // 2:
                    raise BrokenExecutor("killed")
                one = record(execution_id(0, index))
                with self._lock:
                    if batch.budget_usd is not None and self._open[batch.slot] < MOST:
                        cut = one.model_copy(update={"interrupted": True, "cost": 0.0})
                        self._log.append(cut)
                        return tuple(done)
                    self._open[batch.slot] -= COST
                    self.spent += COST
                    self._log.append(one)
                done.append(index)
            return tuple(done)
        finally:
            with self._lock:
                del self._open[batch.slot]

    def close(self) -> None:
        self._threads.shutdown()
        self._log.close()


def some_die(seed: int) -> Iterator[bool]:
    """Yields who dies: never so many in a row that the collection ends."""
    rng = random.Random(seed)
    while True:
        if rng.random() < 0.3:
            yield from (True, False, False, False)
        yield False


def times_done(folder: Path) -> collections.Counter[str]:
    return collections.Counter(one.execution_id for one in read_log(folder) if not one.interrupted)


@settings(max_examples=30)
@given(
    count=st.integers(1, 60),
    num_parallel=st.integers(1, 20),
    slots=st.integers(1, 5),
    budget=st.none() | st.floats(0.5, 20.0),
    seed=st.integers(0, 100),
)
def test_each_execution_is_done_once_within_the_budget(
    count: int, num_parallel: int, slots: int, budget: float | None, seed: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        slots = min(slots, num_parallel)
        whole = collection(folder, count, num_parallel, budget)
        tally = Tally(folder, whole.names())
        with closing(PretendProcesses(folder, slots, budget, some_die(seed))) as processes:
            Dealer(whole, tally, processes, slots).run(lambda: False, lambda: None)

        assert set(times_done(folder).values()) <= {1}
        assert tally.spent_usd == pytest.approx(COST * tally.num_done)
        if budget is None:
            assert tally.num_done == count
        elif tally.missing():
            assert budget - MOST < tally.spent_usd <= budget


def test_batches_get_smaller_towards_the_end(tmp_path: Path) -> None:
    whole = collection(tmp_path, 200, 4, None)
    with closing(PretendProcesses(tmp_path, 2, None, iter(lambda: False, None))) as processes:
        Dealer(whole, Tally(tmp_path, whole.names()), processes, 2).run(lambda: False, lambda: None)

    sizes = [len(batch.indices) for batch in processes.batches]
    assert sizes[0] == 32
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] <= 2


def test_last_execution_may_spend_what_is_left(tmp_path: Path) -> None:
    whole = collection(tmp_path, 1, 4, 2.0)
    with closing(PretendProcesses(tmp_path, 4, 2.0, iter(lambda: False, None))) as processes:
        Dealer(whole, Tally(tmp_path, whole.names()), processes, 4).run(lambda: False, lambda: None)
    assert [batch.budget_usd for batch in processes.batches] == [2.0]


def test_processes_that_die_and_get_nothing_done_end_the_collection(tmp_path: Path) -> None:
    whole = collection(tmp_path, 1, 1, None)
    with closing(PretendProcesses(tmp_path, 1, None, iter(lambda: True, None))) as processes:
        dealer = Dealer(whole, Tally(tmp_path, whole.names()), processes, 1)
        with pytest.raises(BrokenExecutor):
            dealer.run(lambda: False, lambda: None)
    assert len(processes.batches) == 3


@given(
    limits=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    num_parallel=st.integers(1, 40),
    cores=st.integers(1, 64),
)
def test_shares_of_batches_add_up_to_the_limits(
    limits: list[int], num_parallel: int, cores: int
) -> None:
    workers = pool(*limits)
    slots = num_slots(num_parallel, workers, cores)
    assert 1 <= slots <= cores
    args = argparse.Namespace(num_parallel=num_parallel)
    whole = Collection(args=args, pool=workers, workflows=[])
    shares = [
        Batch(indices=(), slot=slot, num_slots=slots, budget_usd=None).share(whole)
        for slot in range(slots)
    ]
    assert sum(share.num_parallel for share in shares) == num_parallel
    for i, limit in enumerate(limits):
        parts = [share.pool.specs[i].concurrency for share in shares]
        assert sum(parts) == limit
        assert max(parts) - min(parts) <= 1


def test_every_process_has_its_own_pipeline_of_transformers() -> None:
    spec = LiveWorkerSettings(name="own", backend="transformers", model="m")
    workers = LivePool(specs=(*pool(8).specs, spec))
    assert num_slots(8, workers, 4) == 4
    whole = Collection(args=argparse.Namespace(num_parallel=8), pool=workers, workflows=[])
    share = Batch(indices=(), slot=3, num_slots=4, budget_usd=None).share(whole)
    assert [spec.concurrency for spec in share.pool.specs] == [2, 1]


def test_error_of_a_batch_is_that_of_the_collection(tmp_path: Path) -> None:
    class Failing(PretendProcesses):
        def _execute(self, batch: Batch, dies: bool) -> tuple[int, ...]:
            raise PlanningError("cannot be planned")

    whole = collection(tmp_path, 5, 1, None)
    processes = Failing(tmp_path, 1, None, iter(lambda: False, None))
    with pytest.raises(PlanningError, match="cannot be planned"):
        Dealer(whole, Tally(tmp_path, whole.names()), processes, 1).run(lambda: False, lambda: None)
    processes.close()
