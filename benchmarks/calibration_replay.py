"""Compares policies replayed on recorded outcomes with the same in a simulator fitted to a log.

Run it with `python -m benchmarks.calibration_replay --config configs/suites/zeroeval.yaml --data
FOLDER`. Random choices on the training queries are logged and calibrated; then five simple policies
play the workflows of both splits on the recorded outcomes, and those of the training split in the
fitted simulator. Returns are those of the profile balanced.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Callable, Sequence
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
from orchestai_env.datasets.folder import RecordedFolder
from orchestai_env.datasets.recorded_import import import_recorded
from orchestai_env.datasets.recorded_settings import RecordedSourceSettings, WorkflowCounts
from orchestai_env.outcomes.simulated import simulated_tables
from orchestai_env.rules import EpisodeRules
from orchestai_env.settings import load_yaml
from orchestai_env.state import ATTEMPTS, CURRENT, SUMMARY, WORKFLOW
from orchestai_env.workers import WorkerPool
from tests.orchestai_env.datasets.calibration.played_log import random_choices, records_of

IntArray = npt.NDArray[np.int64]
Policy = Callable[[IntArray, IntArray], IntArray]
"""Task types and attempts of some decisions -> workers."""
COUNTS = WorkflowCounts(train=6000, validation=100, test=6000)


class _Config(pydantic.BaseModel):
    """The part of a suite's settings that is read here."""

    source: RecordedSourceSettings
    worker_models: WorkerPool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """Means of one policy: success, return, cost [USD] and makespan [s]."""

    policy: str
    train: npt.NDArray[np.float64]
    """float64 (4,); replayed on the training queries, which the log is of."""
    test: npt.NDArray[np.float64]
    """float64 (4,); replayed on queries that the log has not."""
    simulated: npt.NDArray[np.float64]
    """float64 (4,)."""


def policies(dataset: Dataset) -> dict[str, Policy]:
    """Returns five policies that training statistics suggest."""
    known = dataset.statistics
    success, cost = known.success.mean(axis=0), known.cost_usd.mean(axis=0)
    cheap, best = np.argsort(cost), np.argsort(-success)
    worth = int(np.argmax(10.0 * success - 200.0 * cost - 1e-4 * known.latency_ms.mean(axis=0)))

    def table(*workers: int) -> Policy:
        order = np.array(workers)
        return lambda kinds, attempts: order[np.minimum(attempts, len(order) - 1)]

    per_type = known.success.argmax(axis=1)
    return {
        "always the cheapest": table(int(cheap[0])),
        "always the best": table(int(best[0])),
        "always the best value": table(worth),
        "escalation": table(int(cheap[0]), worth, int(best[0])),
        "best by task type": lambda kinds, attempts: per_type[kinds],
    }


def mean_outcome(dataset: Dataset, policy: Policy, seed: int) -> npt.NDArray[np.float64]:
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


def compare_policies(folder: RecordedFolder, *, seed: int = 0) -> list[Row]:
    """Logs random choices, calibrates, and plays the five policies, best replayed first."""
    train, test = folder.dataset("train"), folder.dataset("test")
    workflows = np.arange(len(train.workflows))
    played = play(train, workflows, EpisodeRules(), random_choices(seed), seed=seed)
    fitted = fit_pool(log_table(records_of(train, workflows, played, seed)))
    simulated = with_simulator(train, fitted.pool)
    rows = [
        Row(
            policy=name,
            train=mean_outcome(train, policy, seed),
            test=mean_outcome(test, policy, seed),
            simulated=mean_outcome(simulated, policy, seed),
        )
        for name, policy in policies(train).items()
    ]
    return sorted(rows, key=lambda row: -float(row.train[1]))


def main(argv: Sequence[str] | None = None) -> None:
    """Prints a table of policies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--config", type=Path, required=True, help="YAML with source, worker_models"
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of recorded outcomes")
    args = parser.parse_args(argv)
    print_machine("scipy")
    config = load_yaml(args.config, _Config)
    source = config.source.model_copy(update={"num_workflows": COUNTS})
    with tempfile.TemporaryDirectory() as folder:
        rows = compare_policies(import_recorded(args.data, source, config.worker_models, folder))
    names = ("success", "return", "cost [USD]", "makespan [s]")
    for place, name in enumerate(names):
        cells = [
            (row.policy, *(f"{side[place]:.4g}" for side in (row.train, row.test, row.simulated)))
            for row in rows
        ]
        print_table((name, "training queries", "test queries", "simulated"), cells)


if __name__ == "__main__":
    main()
