"""Small hand-made instances: workflows whose every call is written down, and one proven optimum."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from orchestai_env.dataset import Dataset
from orchestai_env.env import OrchestAIEnv
from orchestai_env.outcomes.recorded import RecordedRows, recorded_tables
from orchestai_env.outcomes.tables import OutcomeTables, WorkerStatistics
from orchestai_env.reward import RewardWeights
from orchestai_env.workers import WorkerPool, WorkerSpec
from orchestai_env.workflow_table import WorkflowTable

SECONDS = RewardWeights(
    success_weight=10.0,
    cost_weight=1.0,
    latency_weight=1.0,
    latency_unit="s",
    shaping_weight=0.5,
)
"""Weights under which a USD and a second cost 1 each."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """One recorded call; it succeeds when its score is 0.5 or more."""

    score: float
    latency_ms: float
    cost_usd: float


@dataclasses.dataclass(frozen=True)
class Instance:
    """A workflow with the outcome of every call that can be made in it."""

    calls: tuple[tuple[tuple[Trial, ...], ...], ...]
    """[subtask][worker][trial]; no trial = unrecorded."""
    links: tuple[tuple[int, int], ...] = ()
    types: tuple[int, ...] = ()
    """Task type of each subtask; 0 throughout where empty."""

    @property
    def type_of(self) -> tuple[int, ...]:
        """Task type of each subtask."""
        return self.types or (0,) * len(self.calls)


def win(latency_ms: float, cost_usd: float) -> tuple[Trial, ...]:
    """Returns the trials of a pair that always succeeds."""
    return (Trial(1.0, latency_ms, cost_usd),)


def lose(latency_ms: float, cost_usd: float) -> tuple[Trial, ...]:
    """Returns the trials of a pair that always fails."""
    return (Trial(0.0, latency_ms, cost_usd),)


ONE_SECOND = win(1000, 0.125)


def chain(*calls: tuple[tuple[Trial, ...], ...]) -> Instance:
    """Returns an instance whose subtasks follow each other."""
    return Instance(calls=calls, links=tuple((i, i + 1) for i in range(len(calls) - 1)))


def toy_dataset(
    instances: Sequence[Instance],
    *,
    concurrency: Sequence[int] = (),
    cost_upper: Sequence[Sequence[float]] = (),
    max_subtasks: int | None = None,
) -> Dataset:
    """Builds the data set of some instances with the same workers.

    Args:
        instances: at least one.
        concurrency: of each worker; without bound where empty.
        cost_upper: [task type][worker], what the budget reserves for a call; the dearest recorded
            call where empty.
        max_subtasks: padded size; that of the largest instance where None.
    """
    num_workers = len(instances[0].calls[0])
    limits = tuple(concurrency) or (1_000_000,) * num_workers
    pool = WorkerPool(
        tuple(WorkerSpec(name=f"worker-{w}", concurrency=limits[w]) for w in range(num_workers))
    )
    types = [t for instance in instances for t in instance.type_of]
    outcomes = recorded_tables(
        _rows(instances), pool, num_queries=len(types), success_threshold=0.5
    )
    num_types = max(max(types) + 1, len(cost_upper))
    known = _statistics(outcomes, np.array(types), num_types)
    if len(cost_upper):
        known = dataclasses.replace(known, cost_upper_usd=np.array(cost_upper, np.float64))
    return Dataset(
        name="toy",
        pool=pool,
        workflows=_table(instances, num_types, max_subtasks),
        outcomes=outcomes,
        statistics=known,
        latency_label="recorded",
    )


def toy_env(instance: Instance, **arguments: Any) -> OrchestAIEnv:
    """Builds an environment of one instance; data set and environment share the arguments."""
    names = ("concurrency", "cost_upper", "max_subtasks")
    of_data = {name: arguments.pop(name) for name in names if name in arguments}
    return OrchestAIEnv(toy_dataset([instance], **of_data), **arguments)


def _rows(instances: Sequence[Instance]) -> RecordedRows:
    calls = [subtask for instance in instances for subtask in instance.calls]
    rows = [
        (query, worker, number, trial.score, trial.cost_usd, trial.latency_ms)
        for query, subtask in enumerate(calls)
        for worker, trials in enumerate(subtask)
        for number, trial in enumerate(trials)
    ]
    columns = np.array(rows, np.float64).reshape(-1, 6).T
    return RecordedRows(
        query=columns[0].astype(np.int32),
        worker=columns[1].astype(np.int32),
        trial=columns[2].astype(np.int64),
        score=columns[3],
        input_tokens=np.full(len(rows), np.nan),
        output_tokens=np.full(len(rows), np.nan),
        cost_usd=columns[4],
        latency_ms=columns[5],
    )


def _statistics(
    outcomes: OutcomeTables, types: np.ndarray[Any, Any], num_types: int
) -> WorkerStatistics:
    """Means over all recorded calls of a (task type, worker) pair, 0 without any."""
    recorded = np.arange(outcomes.cost_usd.shape[2]) < outcomes.num_trials[..., None]
    known = np.zeros((4, num_types, recorded.shape[1]))
    tables = (outcomes.success, outcomes.cost_usd, outcomes.latency_us / 1000.0)
    for t in range(num_types):
        for w in range(recorded.shape[1]):
            chosen = recorded[types == t, w]
            if chosen.any():
                known[:3, t, w] = [table[types == t, w][chosen].mean() for table in tables]
                known[3, t, w] = outcomes.cost_usd[types == t, w][chosen].max()
    return WorkerStatistics(
        success=known[0], cost_usd=known[1], latency_ms=known[2], cost_upper_usd=known[3]
    )


def _table(
    instances: Sequence[Instance], num_types: int, max_subtasks: int | None
) -> WorkflowTable:
    sizes = [len(instance.calls) for instance in instances]
    shape = (len(instances), max_subtasks or max(sizes))
    task_type, query = np.full(shape, -1, np.int32), np.full(shape, -1, np.int32)
    first = 0
    for k, instance in enumerate(instances):
        task_type[k, : sizes[k]] = instance.type_of
        query[k, : sizes[k]] = range(first, first + sizes[k])
        first += sizes[k]
    links = [(k, *link) for k, instance in enumerate(instances) for link in instance.links]
    columns = np.array(links, np.int32).reshape(-1, 3)
    return WorkflowTable.from_links(
        task_types=tuple(f"type-{t}" for t in range(num_types)),
        num_subtasks=np.array(sizes, np.int32),
        task_type=task_type,
        query=query,
        links=columns[:, 1:],
        link_owner=columns[:, 0],
    )


DIAMOND = Instance(
    links=((0, 1), (0, 2), (1, 3), (2, 3)),
    calls=(
        (win(1000, 1.0), (Trial(0.0, 250, 0.125), Trial(1.0, 250, 0.125))),
        (win(2000, 1.0), win(4000, 0.25)),
        (win(1000, 0.5), win(2000, 0.75)),
        (lose(500, 0.5), win(1000, 0.5)),
    ),
)
"""A diamond 0 -> {1, 2} -> 3 for two workers, `swift` (0) and `frugal` (1), of one slot each.

Weights SECONDS, max_attempts 2, abort. Claim: the best return is 6, by the actions
frugal, frugal, swift, frugal, frugal.

Proof. A workflow that fails earns at most 3 * 0.5 = 1.5 in shaping. One that succeeds earns
10 + 4 * 0.5 = 12 less its USD and its seconds. Subtask 0 comes before and 3 after all others, so
the makespan is the sum of three phases and each phase can be minimised alone (USD + seconds):

- Subtask 0. swift: 1 + 1 = 2. frugal fails first (0.125 + 0.25); then frugal succeeds for the same
  again, in all 0.75, or swift does, in all 2.375. Best: fail cheaply and retry, 0.75.
- Subtasks 1 and 2 become READY together and never fail. By (worker of 1, worker of 2):
  (swift, swift): 1.5 USD, and 2 waits for the slot: 2 + 1 = 3 s; 4.5.
  (swift, frugal): 1.75 USD, side by side: 2 s; 3.75.
  (frugal, swift): 0.75 USD, 4 s; 4.75.
  (frugal, frugal): 1 USD, queued: 4 + 2 = 6 s; 7.
  Best: 3.75, although on subtask 2 alone swift is both faster and cheaper, and without the queue
  (swift, swift) would cost 3.5.
- Subtask 3. frugal: 1.5. swift fails for 1, after which frugal costs 1.5 more. Best: 1.5.

In all 12 - 0.75 - 3.75 - 1.5 = 6.
"""

DIAMOND_RULES: dict[str, Any] = {
    "concurrency": (1, 1),
    "max_attempts": 2,
    "reward_weights": SECONDS,
}
DIAMOND_BEST = (1, 1, 0, 1, 1)
DIAMOND_RETURN = 6.0
