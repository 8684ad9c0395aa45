"""Threads over rows: every row once, the same bits on any number of them, none after a fork."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from orchestai_env.dataset import Dataset
from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.threads import ROWS_PER_THREAD, RowThreads
from orchestai_env.vector_env import OrchestAIVectorEnv

NUM_ENVS = 50
SECONDS = 60.0
"""More than any of this takes; what takes longer hangs."""

RULES: dict[str, Any] = {
    "on_failure": "continue",
    "deadline_ms": 60_000.0,
    "price_spread": 2.0,
    "latency_spread": 2.0,
    "min_workers": 3,
}
DUPLICATES: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda threads: pickle.loads(pickle.dumps(threads)),
}


@pytest.fixture(scope="module")
def builtin() -> Dataset:
    return builtin_dataset("validation", num_workflows=40)


def mark(counts: np.ndarray, names: list[str], first: int, last: int) -> None:
    """Counts the rows that it is called for, and notes on which thread."""
    counts[first:last] += 1
    names.append(threading.current_thread().name)


def assert_covers_all_rows_once(threads: RowThreads, num_rows: int) -> list[str]:
    """Runs and returns the names of the threads."""
    counts, names = np.zeros(num_rows, int), list[str]()
    threads.run(mark, counts, names)
    assert counts.tolist() == [1] * num_rows
    return names


@pytest.mark.parametrize("num_threads", [1, 2, 3])
@pytest.mark.parametrize("num_rows", [1, 2, 3, 10, 97])
def test_run_covers_all_rows_once(num_rows: int, num_threads: int) -> None:
    threads = RowThreads(num_rows, num_threads)
    for _ in range(3):
        names = assert_covers_all_rows_once(threads, num_rows)
        assert len(names) == num_threads
        assert names.count(threading.current_thread().name) >= 1


@pytest.mark.parametrize("num_threads", [2, 3])
def test_run_uses_its_threads_at_the_same_time(num_threads: int) -> None:
    barrier = threading.Barrier(num_threads)

    def meet(first: int, last: int) -> None:
        barrier.wait(SECONDS)  # raises where the others do not come

    RowThreads(30, num_threads).run(meet)

    assert not barrier.broken


@pytest.mark.parametrize("failing", [0, 10, 20])
def test_run_raises_what_a_thread_raises(failing: int) -> None:
    threads = RowThreads(30, 3)

    def fail(first: int, last: int) -> None:
        if first == failing:
            raise ZeroDivisionError(f"rows {first}..{last}")

    with pytest.raises(ZeroDivisionError, match=rf"rows {failing}\.\.{failing + 10}"):
        threads.run(fail)
    assert_covers_all_rows_once(threads, 30)


@pytest.mark.parametrize("duplicate", DUPLICATES.values(), ids=DUPLICATES)
@pytest.mark.parametrize("is_used", [False, True])
def test_copy_has_as_many_threads_of_its_own(
    duplicate: Callable[[Any], Any], is_used: bool
) -> None:
    threads = RowThreads(20, 3)
    if is_used:
        assert_covers_all_rows_once(threads, 20)
    twin = duplicate(threads)

    assert type(twin) is RowThreads
    assert twin.num_threads == 3
    assert twin._pool is None
    assert len(assert_covers_all_rows_once(twin, 20)) == 3


@pytest.mark.parametrize(
    ("num_rows", "num_cores", "num_threads"),
    [
        (1, 8, 1),
        (ROWS_PER_THREAD, 8, 1),
        (2 * ROWS_PER_THREAD - 1, 8, 1),
        (2 * ROWS_PER_THREAD, 8, 2),
        (5 * ROWS_PER_THREAD, 8, 5),
        (100 * ROWS_PER_THREAD, 8, 8),
        (100 * ROWS_PER_THREAD, 1, 1),
    ],
)
def test_default_number_of_threads_is_what_cores_and_rows_allow(
    num_rows: int, num_cores: int, num_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(num_cores)), raising=False)

    assert RowThreads(num_rows).num_threads == num_threads


def test_default_is_one_thread_where_the_system_does_not_tell_the_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)

    assert RowThreads(100 * ROWS_PER_THREAD).num_threads == 1


def make(dataset: Dataset, num_threads: int) -> OrchestAIVectorEnv:
    venv = OrchestAIVectorEnv(NUM_ENVS, dataset, **RULES)
    venv.episodes.threads = RowThreads(NUM_ENVS, num_threads)
    venv.reset(seed=7)
    return venv


def steps(venv: OrchestAIVectorEnv, seed: int, count: int) -> list[Any]:
    """Takes random steps; returns their results and the states, equal only bit for bit."""
    rng = np.random.default_rng(seed)
    taken: list[Any] = []
    for _ in range(count):
        obs, *said, info = venv.step(rng.integers(8, size=NUM_ENVS))
        ended = said[1] | said[2]
        final = {key: rows[ended] for key, rows in info.get("final_obs", {}).items()}
        final |= {key: rows[ended] for key, rows in info.get("final_info", {}).items()}
        state = venv.episodes.state._asdict()
        taken.append([to_bytes(part) for part in (obs, said, info["action_mask"], final, state)])
        taken[-1].append(int(ended.sum()))
    return taken


def to_bytes(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: to_bytes(part) for key, part in value.items()}
    return [to_bytes(part) for part in value] if isinstance(value, list) else value.tobytes()


@pytest.mark.parametrize("num_threads", [2, 3])
def test_threads_change_no_bit(builtin: Dataset, num_threads: int) -> None:
    serial, threaded = make(builtin, 1), make(builtin, num_threads)
    expected = steps(serial, 0, 60)

    assert steps(threaded, 0, 60) == expected
    assert threaded.episodes.threads._pool is not None
    assert serial.episodes.threads._pool is None
    assert sum(step[-1] for step in expected) > 5 * NUM_ENVS


def step_in_child(pipe: Any, venv: OrchestAIVectorEnv) -> None:
    """Sends what a forked child's steps give and the threads that it has then."""
    taken = steps(venv, 1, 20)
    names = assert_covers_all_rows_once(venv.episodes.threads, NUM_ENVS)
    pipe.send((taken, names, threading.active_count()))


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork"
)
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_forked_child_steps_alone_and_alike(builtin: Dataset) -> None:
    venv = make(builtin, 3)
    steps(venv, 0, 5)
    assert venv.episodes.threads._pool is not None
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=step_in_child, args=(there, venv))
    child.start()
    try:
        assert here.poll(SECONDS), "the forked child hangs"
        taken, names, num_threads = here.recv()
        child.join(SECONDS)
        assert child.exitcode == 0
    finally:
        child.kill()
        child.join()

    assert len(names) == num_threads == 1
    assert taken == steps(venv, 1, 20)
