"""Compares policies replayed on recorded outcomes with the same in a simulator fitted to a log.

Run it with `python -m benchmarks.calibration_replay --config configs/suites/zeroeval.yaml --data
FOLDER`. Queries are dealt to folds by the hash of their text. In turn each fold is held back:
random choices on workflows of the other queries are logged and calibrated, and five simple policies
play workflows of the held-back queries on the recorded outcomes and in the fitted simulator, and
workflows of the other queries on the recorded outcomes. Every query is held back once, so that the
mean over folds tells the error of the simulator, and hardly that of having drawn few queries.
Returns are those of the profile balanced; intervals are 95 %, of the mean over folds.

`--splits` holds back the data set's own test queries instead, of which there is one draw only.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydantic

from benchmarks.timing import print_machine, print_table
from orchestai_env.dataset import Dataset
from orchestai_env.datasets.calibration.fit import fit_pool
from orchestai_env.datasets.calibration.log_table import log_table
from orchestai_env.datasets.calibration.play import play
from orchestai_env.datasets.calibration.simulated_pool import SimulatedPool
from orchestai_env.datasets.compose import compose_workflows
from orchestai_env.datasets.folder import RecordedFolder
from orchestai_env.datasets.recorded_import import import_recorded
from orchestai_env.datasets.recorded_settings import RecordedSourceSettings, WorkflowCounts
from orchestai_env.datasets.splits import normalised
from orchestai_env.outcomes.recorded import recorded_statistics
from orchestai_env.outcomes.simulated import simulated_tables
from orchestai_env.rules import EpisodeRules
from orchestai_env.settings import load_yaml
from orchestai_env.state import ATTEMPTS, CURRENT, SUMMARY, WORKFLOW
from orchestai_env.workers import WorkerPool
from tests.orchestai_env.datasets.calibration.played_log import random_choices, records_of

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
Policy = Callable[[IntArray, IntArray], IntArray]
"""Task types and attempts of some decisions -> workers."""
FOLDS = 5
EXECUTIONS = 50_000
"""Of the log; success of a pair is then known to about 0.004, so that hardly any of the gap is of
the log's own noise."""
WORKFLOWS = 20_000
"""That a policy plays; the return's own standard error is then about 0.03."""
MEASURES = ("success", "return", "cost [USD]", "makespan [s]")
_T_95 = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}
"""Folds -> 97.5 % quantile of Student's t of as many minus one degrees of freedom."""


class _Config(pydantic.BaseModel):
    """The part of a suite's settings that is read here."""

    source: RecordedSourceSettings
    worker_models: WorkerPool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """Means of one policy by fold: success, return, cost [USD] and makespan [s]."""

    policy: str
    logged: FloatArray
    """float64 (folds, 4); replayed on the queries that the log is of."""
    held_back: FloatArray
    """float64 (folds, 4); replayed on queries that the log has not."""
    simulated: FloatArray
    """float64 (folds, 4)."""


def policies(dataset: Dataset) -> dict[str, Policy]:
    """Returns five policies that the statistics of the logged queries suggest."""
    known = dataset.statistics
    success, cost = known.success.mean(axis=0), known.cost_usd.mean(axis=0)
    cheap, best = np.argsort(cost), np.argsort(-success)
    worth_of = 10.0 * known.success - 200.0 * known.cost_usd - 1e-4 * known.latency_ms
    worth, per_type = int(worth_of.mean(axis=0).argmax()), worth_of.argmax(axis=1)

    def table(*workers: int) -> Policy:
        order = np.array(workers)
        return lambda kinds, attempts: order[np.minimum(attempts, len(order) - 1)]

    return {
        "always the cheapest": table(int(cheap[0])),
        "always the best": table(int(best[0])),
        "always the best value": table(worth),
        "escalation": table(int(cheap[0]), worth, int(best[0])),
        "best value by task type": lambda kinds, attempts: per_type[kinds],
    }


def mean_outcome(dataset: Dataset, policy: Policy, seed: int) -> FloatArray:
    """Plays every workflow; returns success, return, cost [USD] and makespan [s], float64 (4,)."""

    def choose(episodes: Any, rows: IntArray) -> IntArray:
        state = episodes.state
        current, workflow = state.episode[rows, CURRENT], state.episode[rows, WORKFLOW]
        kinds = episodes.problem.task_type[workflow, current]
        return policy(kinds, state.subtask[rows, current, ATTEMPTS])

    workflows = np.arange(len(dataset.workflows))
    played = play(dataset, workflows, EpisodeRules(), choose, seed=seed)
    done = played.episodes.summary[:, SUMMARY.index("succeeded")]
    success, cost, seconds = played.success, played.cost_usd, played.makespan_ms / 1e3
    episode_return = 10.0 * success - 200.0 * cost - 0.1 * seconds + 0.1 * done
    return np.array([success.mean(), episode_return.mean(), cost.mean(), seconds.mean()])


def with_simulator(dataset: Dataset, pool: SimulatedPool) -> Dataset:
    """Returns the data set with the simulator's outcomes instead of the recorded ones."""
    fitted = pool.workers.workers
    ours = WorkerPool(tuple(fitted[pool.workers.index(name)] for name in dataset.pool.names))
    outcomes, statistics = simulated_tables(ours, dataset.task_types, pool.simulation)
    return dataclasses.replace(dataset, pool=ours, outcomes=outcomes, statistics=statistics)


def fold_of(text: str, folds: int) -> int:
    """Returns the fold of a query, 0..folds-1, by a hash of its text that no split depends on."""
    digest = hashlib.sha256(f"fold of {normalised(text)}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % folds


def dealt(folder: RecordedFolder, folds: int, seed: int) -> Iterator[tuple[Dataset, Dataset]]:
    """Yields each fold's data sets of logged and of held-back queries.

    Statistics are those of the logged queries.
    """
    queries, size = folder.queries, folder.all_splits.workflows.max_subtasks
    fold = np.array([fold_of(text, folds) for text in queries.prompts])
    for k in range(folds):
        sides = [np.flatnonzero(fold != k), np.flatnonzero(fold == k)]
        statistics = recorded_statistics(
            folder.all_splits.outcomes,
            queries.task_type,
            sides[0].astype(np.int32),
            num_task_types=len(queries.task_types),
        )
        known = dataclasses.replace(folder.all_splits, statistics=statistics)
        logged, held_back = (
            known.with_workflows(
                compose_workflows(
                    np.random.default_rng([seed, k, side]),
                    num_workflows=WORKFLOWS,
                    shapes=folder.shapes,
                    query_rows=rows.astype(np.int32),
                    task_type_of_query=queries.task_type,
                    task_types=queries.task_types,
                    max_subtasks=size,
                )
            )
            for side, rows in enumerate(sides)
        )
        yield logged, held_back


def compare_policies(
    pairs: Sequence[tuple[Dataset, Dataset]], *, executions: int = EXECUTIONS, seed: int = 0
) -> list[Row]:
    """Logs random choices, calibrates, and plays the five policies, best replayed first.

    Args:
        pairs: of each fold the data sets of logged and of held-back queries.
        executions: of each log.
        seed: of the choices and the simulated outcomes.
    """
    found: dict[str, list[list[FloatArray]]] = {}
    for known, unknown in pairs:
        workflows = np.arange(executions) % len(known.workflows)
        played = play(known, workflows, EpisodeRules(), random_choices(seed), seed=seed)
        fitted = fit_pool(log_table(records_of(known, workflows, played, seed)))
        imitated = with_simulator(unknown, fitted.pool)
        for name, policy in policies(known).items():
            sides = [mean_outcome(side, policy, seed) for side in (known, unknown, imitated)]
            found.setdefault(name, []).append(sides)
    rows = []
    for name, folds in found.items():
        logged, held_back, simulated = np.array(folds).transpose(1, 0, 2)
        rows.append(Row(policy=name, logged=logged, held_back=held_back, simulated=simulated))
    return sorted(rows, key=lambda row: -float(row.held_back[:, 1].mean()))


def with_interval(values: FloatArray) -> str:
    """Words a mean over folds and the reach of its 95 % interval; without, of one fold."""
    if len(values) not in _T_95:
        return f"{values.mean():.4g}"
    reach = _T_95[len(values)] * values.std(ddof=1) / math.sqrt(len(values))
    return f"{values.mean():.4g} +- {reach:.2g}"


def main(argv: Sequence[str] | None = None) -> None:
    """Prints a table of policies for each measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--config", type=Path, required=True, help="YAML with source, worker_models"
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of recorded outcomes")
    parser.add_argument("--folds", type=int, default=FOLDS, choices=sorted(_T_95))
    parser.add_argument("--splits", action="store_true", help="hold back the test queries instead")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    print_machine("scipy")
    config = load_yaml(args.config, _Config)
    counts = WorkflowCounts(train=WORKFLOWS, validation=1, test=WORKFLOWS)
    source = config.source.model_copy(update={"num_workflows": counts})
    with tempfile.TemporaryDirectory() as path:
        folder = import_recorded(args.data, source, config.worker_models, path)
    if args.splits:
        pairs = [(folder.dataset("train"), folder.dataset("test"))]
    else:
        pairs = list(dealt(folder, args.folds, args.seed))
    rows = compare_policies(pairs, seed=args.seed)
    for place, name in enumerate(MEASURES):
        cells = []
        for row in rows:
            sides = [side[:, place] for side in (row.logged, row.held_back, row.simulated)]
            gap = sides[2] - sides[1]
            size = abs(float(sides[1].mean()))
            share = 100.0 * float(gap.mean()) / size if size else 0.0
            texts = [f"{sides[0].mean():.4g}", *map(with_interval, (*sides[1:], gap))]
            cells.append((row.policy, *texts, f"{share:+.1f} %"))
        header = ("logged queries", "held-back queries", "simulated", "gap", "gap by held-back")
        print_table((name, *header), cells)


if __name__ == "__main__":
    main()
