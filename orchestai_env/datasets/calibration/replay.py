"""Replay: logged workflows, played again in the simulator with the logged choices."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from orchestai_env.dataset import Dataset
from orchestai_env.datasets.calibration.log_table import BoolArray, IntArray, LogTable
from orchestai_env.datasets.calibration.play import Played, play
from orchestai_env.datasets.calibration.simulated_pool import SimulatedPool
from orchestai_env.episodes import Episodes
from orchestai_env.outcomes.simulated import simulated_tables
from orchestai_env.rules import EpisodeRules
from orchestai_env.state import ATTEMPTS, CURRENT, NONE, WORKER
from orchestai_env.workflow_table import WorkflowTable

EPISODES = 4000
"""Simulated episodes that a replay aims at; chosen: a success rate is then known to 0.016."""
MOST_REPEATS = 20
_MOST_EXECUTIONS = 20_000
_MOST_ATTEMPTS = 50
_BACK_OFF = 1e-4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Replay:
    """Held-out executions and what the simulator made of them."""

    executions: IntArray
    """int64 (K,); those that were played, by their index in the log."""
    num_left_out: int
    """Held-out executions with a task type that the simulator does not have."""
    repeats: int
    """Episodes of each."""
    played: Played
    """K * repeats episodes; episode r is of executions[r modulo K]."""
    dataset: Dataset
    rules: EpisodeRules


def logged_rules(log: LogTable) -> EpisodeRules:
    """Returns the rules that a log shows: attempts, calls at once, and what a failure ended."""
    calls = log.calls
    attempts = min(int(calls.attempt.max()) + 1, _MOST_ATTEMPTS)
    return EpisodeRules(
        max_attempts=attempts,
        max_parallel_tasks=_most_at_once(log),
        on_failure="continue" if _goes_on(log, attempts) else "abort",
    )


def _most_at_once(log: LogTable) -> int:
    """Returns the most calls of one execution that ran at the same time."""
    calls = log.calls
    time = np.concatenate([calls.start_ms, calls.start_ms + calls.latency_ms])
    time = np.round(time, 3)  # to the clock's tick, so that an end is not after what it let start
    change = np.repeat([1, -1], len(calls))
    owner = np.concatenate([calls.execution, calls.execution])
    order = np.lexsort((change, time, owner))
    return max(1, int(np.cumsum(change[order]).max()))


def _goes_on(log: LogTable, attempts: int) -> bool:
    """Tells whether some execution made a decision after a subtask had used up its attempts."""
    calls = log.calls
    gives_up = ~calls.success & (calls.attempt == attempts - 1)
    end = calls.start_ms + calls.latency_ms
    failed = np.full(log.num_executions, np.inf)
    np.minimum.at(failed, calls.execution[gives_up], end[gives_up])
    return bool((calls.decided_ms > failed[calls.execution] + 1.0).any())


def replay(log: LogTable, chosen: BoolArray, pool: SimulatedPool, *, seed: int) -> Replay | None:
    """Plays executions again with the logged choices.

    Where the simulation leaves the logged path (a call fails that succeeded in the log), the worker
    is drawn from the log's choices in the same situation: task type, attempt and the worker that
    failed last.

    Args:
        log: all executions.
        chosen: bool (E,); those to play.
        pool: the simulator.
        seed: of the simulated outcomes.
    Returns:
        None where the simulator has the task types of none of them.
    """
    known = np.array([kind in pool.task_types for kind in log.task_types])
    strange = np.zeros(log.num_executions, bool)
    sizes = np.diff(log.first_subtask)
    owner = np.repeat(np.arange(log.num_executions), sizes)
    strange[owner[~known[log.task_type]]] = True
    executions = np.flatnonzero(chosen & ~strange)[:_MOST_EXECUTIONS]
    if not len(executions):
        return None
    dataset = simulated_dataset(log, executions, pool)
    rules = logged_rules(log)
    repeats = int(np.clip(EPISODES // len(executions), 1, MOST_REPEATS))
    choices = _Choices(log, executions, pool, rules.max_attempts, seed)
    played = play(dataset, np.tile(np.arange(len(executions)), repeats), rules, choices, seed=seed)
    return Replay(
        executions=executions,
        num_left_out=int((chosen & strange).sum()),
        repeats=repeats,
        played=played,
        dataset=dataset,
        rules=rules,
    )


def simulated_dataset(log: LogTable, executions: IntArray, pool: SimulatedPool) -> Dataset:
    """Returns the workflows of some executions with the pool's simulated outcomes."""
    sizes = np.diff(log.first_subtask)[executions]
    shape = (len(executions), int(sizes.max()))
    exists = np.arange(shape[1]) < sizes[:, None]
    rows = log.first_subtask[executions][:, None] + np.arange(shape[1])
    names = {name: t for t, name in enumerate(pool.task_types)}
    type_of = np.array([names.get(name, NONE) for name in log.task_types], np.int32)
    task_type = np.full(shape, NONE, np.int32)
    task_type[exists] = type_of[log.task_type[rows[exists]]]
    place = np.full(log.num_executions, NONE, np.int32)
    place[executions] = np.arange(len(executions))
    kept = place[log.link_owner] != NONE
    table = WorkflowTable.from_links(
        task_types=pool.task_types,
        num_subtasks=sizes.astype(np.int32),
        task_type=task_type,
        query=np.full(shape, NONE, np.int32),
        links=log.links[kept],
        link_owner=place[log.link_owner[kept]],
    )
    outcomes, statistics = simulated_tables(pool.workers, pool.task_types, pool.simulation)
    return Dataset(
        name="calibration",
        pool=pool.workers,
        workflows=table,
        outcomes=outcomes,
        statistics=statistics,
        latency_label="simulated",
    )


class _Choices:
    """The policy of a replay."""

    def __init__(
        self, log: LogTable, executions: IntArray, pool: SimulatedPool, attempts: int, seed: int
    ) -> None:
        """Reads the logged choices of the executions, and counts those of the whole log."""
        names = {name: w for w, name in enumerate(pool.workers.names)}
        calls = log.calls
        worker_of = np.array([names.get(name, NONE) for name in log.workers], np.int64)
        worker = worker_of[calls.worker]
        types = {name: t for t, name in enumerate(pool.task_types)}
        type_of = np.array([types.get(name, NONE) for name in log.task_types], np.int64)
        kind = type_of[log.task_type[calls.subtask]]
        attempt = np.minimum(calls.attempt, attempts - 1)
        self._rng = np.random.default_rng(seed)
        self._count = _count_choices(calls.subtask, kind, attempt, worker, pool, attempts)
        place = np.full(log.num_executions, NONE, np.int64)
        place[executions] = np.arange(len(executions))
        row, index = place[calls.execution], calls.subtask - log.first_subtask[calls.execution]
        size = int(np.diff(log.first_subtask)[executions].max())
        self._logged = np.full((len(executions), size, attempts), NONE, np.int64)
        kept = row != NONE
        self._logged[row[kept], index[kept], attempt[kept]] = worker[kept]

    def __call__(self, episodes: Episodes, rows: IntArray) -> IntArray:
        """Returns the logged worker, or one drawn as in the log."""
        state, problem = episodes.state, episodes.problem
        current = state.episode[rows, CURRENT]
        subtask = state.subtask[rows, current]
        attempt = subtask[:, ATTEMPTS]
        execution = rows % len(self._logged)
        kind = problem.task_type[execution, current]
        weight = self._count[kind, attempt, subtask[:, WORKER]] * state.mask[rows]
        weight = weight + 1e-12 * state.mask[rows]
        edge = np.cumsum(weight, axis=1)
        draw = self._rng.random(len(rows)) * edge[:, -1]
        drawn = np.minimum((edge <= draw[:, None]).sum(axis=1), weight.shape[1] - 1)
        logged = self._logged[execution, current, attempt]
        allowed = (logged != NONE) & (state.mask[rows, logged] > 0)
        actions: IntArray = np.where(allowed, logged, drawn)
        return actions


def _count_choices(
    subtask: IntArray,
    kind: IntArray,
    attempt: IntArray,
    worker: IntArray,
    pool: SimulatedPool,
    attempts: int,
) -> npt.NDArray[np.float64]:
    """Returns float64 (T, attempts, W + 1, W): choices by the worker before; the last row = none.

    Situations that the log has not borrow from those that differ in the worker before, then in the
    attempt.
    """
    num_types, num_workers = len(pool.task_types), len(pool.workers)
    order = np.lexsort((attempt, subtask))
    before = np.full(len(order), NONE, np.int64)
    follows = subtask[order][1:] == subtask[order][:-1]
    before[order[1:][follows]] = worker[order[:-1][follows]]
    count = np.zeros((num_types, attempts, num_workers + 1, num_workers))
    kept = (kind != NONE) & (worker != NONE)
    np.add.at(count, (kind[kept], attempt[kept], before[kept], worker[kept]), 1.0)
    count += _BACK_OFF * count.sum(axis=2, keepdims=True)
    count += _BACK_OFF * count.sum(axis=1, keepdims=True)
    return count
