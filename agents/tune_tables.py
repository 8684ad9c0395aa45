"""Command and functions: tune the table baselines in the training environment."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.progress import track

from agents.agent import Setting
from agents.baselines.tables import FixedTableAgent, TableAgent
from agents.checkpoint import write_whole
from agents.evaluate import start_episodes
from agents.experiment import Experiment, experiment_parser, read_experiment
from orchestai_env.cli import run_command
from orchestai_env.compiled import compiled, inlined
from orchestai_env.dynamics import reset_row, step_row
from orchestai_env.errors import CheckpointError, MissingFileError
from orchestai_env.run_folder import claim
from orchestai_env.state import (
    ATTEMPTS,
    CURRENT,
    ENDED,
    NONE,
    ONGOING,
    WORKFLOW,
    EpisodeState,
    Problem,
)

Table = npt.NDArray[np.int64]
TABLES = "tables.json"


class TablePlayer:
    """Plays a table through all workflows of a setting in compiled code.

    Gives what `evaluate` gives for TableAgent and FixedTableAgent, about 20 times faster, since no
    observation is written.
    """

    def __init__(self, setting: Setting, *, seed: int, escalate: bool) -> None:
        """Starts the episodes; `escalate` plays as TableAgent, else as FixedTableAgent."""
        self._episodes = start_episodes(setting, seed=seed)
        self._workflows = self._episodes.state.episode[:, WORKFLOW].copy()
        self._cost_usd = self._episodes.features.cost_usd
        self._escalate = escalate

    def mean_return(self, table: Table) -> float:
        """Returns the mean return of int64 (T, A), workers per task type and attempt."""
        total = np.zeros(self._episodes.n)
        _play(
            self._episodes.problem,
            self._episodes.state,
            self._workflows,
            self._cost_usd,
            table,
            self._escalate,
            total,
        )
        return float(total.mean())


@compiled
def _play(
    problem: Problem,
    state: EpisodeState,
    workflows: npt.NDArray[np.int64],
    cost_usd: npt.NDArray[np.float64],
    table: Table,
    escalate: bool,
    total: npt.NDArray[np.float64],
) -> None:
    for r in range(len(total)):
        reset_row(problem, state, r, workflows[r])
        while state.episode[r, ENDED] == ONGOING:
            action = _table_action(problem, state, r, cost_usd, table, escalate)
            step_row(problem, state, r, action)
            total[r] += state.reward[r]


@inlined
def _table_action(
    problem: Problem,
    state: EpisodeState,
    r: int,
    cost_usd: npt.NDArray[np.float64],
    table: Table,
    escalate: bool,
) -> int:
    i = state.episode[r, CURRENT]
    t = problem.task_type[state.episode[r, WORKFLOW], i]
    first = state.subtask[r, i, ATTEMPTS] if escalate else 0
    for column in range(first, table.shape[1]):
        worker = int(table[t, column])
        failed = escalate and state.failures[r, i, worker] > 0
        if state.mask[r, worker] == 1 and not failed:
            return worker
    cheapest = NONE
    for w in range(state.mask.shape[1]):
        if state.mask[r, w] == 1 and (cheapest == NONE or cost_usd[t, w] < cost_usd[t, cheapest]):
            cheapest = w
    return max(cheapest, 0)  # no worker is allowed: the episode ends whatever the action


def coordinate_ascent(
    player: TablePlayer, start: Table, num_workers: int, *, max_sweeps: int = 20
) -> tuple[Table, float]:
    """Improves a table cell by cell until no change of one cell raises the mean return.

    Returns:
        The table, and its mean return.
    """
    table, best = start.copy(), player.mean_return(start)
    for _ in range(max_sweeps):
        before = best
        for cell in np.ndindex(*table.shape):
            for worker in range(num_workers):
                candidate = table.copy()
                candidate[cell] = worker
                value = player.mean_return(candidate)
                if value > best:
                    table, best = candidate, value
        if best <= before:
            break
    return table, best


def tune_escalation_table(
    setting: Setting, *, seed: int, restarts: int = 5, progress_bar: bool = False
) -> Table:
    """Tunes the task type x attempt table, from the lookup table and from random starts.

    Args:
        setting: training workflows; a few thousand suffice.
        seed: of the random starts and of simulated outcomes.
        restarts: starts in all; the best of their ends is returned.
        progress_bar: show one.
    Returns:
        int64 (T, max_attempts); the worker of each task type and attempt.
    """
    rng = np.random.default_rng(seed)
    num_workers = len(setting.dataset.pool)
    shape = (len(setting.dataset.task_types), setting.rules.max_attempts)
    player = TablePlayer(setting, seed=seed, escalate=True)
    lookup = tune_lookup_table(setting, seed=seed)
    starts = [np.repeat(lookup[:, None], shape[1], axis=1)]
    starts += [rng.integers(num_workers, size=shape) for _ in range(restarts - 1)]
    ends = [
        coordinate_ascent(player, start, num_workers)
        for start in track(starts, description="escalation table", disable=not progress_bar)
    ]
    return max(ends, key=lambda end: end[1])[0]


def tune_lookup_table(setting: Setting, *, seed: int) -> Table:
    """Tunes the task type -> worker table, from the best single worker.

    Returns:
        int64 (T,); the worker of each task type.
    """
    num_workers = len(setting.dataset.pool)
    player = TablePlayer(setting, seed=seed, escalate=False)
    single = np.full((len(setting.dataset.task_types), 1), best_single_worker(setting, seed=seed))
    return coordinate_ascent(player, single, num_workers)[0][:, 0]


def best_single_worker(setting: Setting, *, seed: int) -> int:
    """Finds the one worker that serves all task types best."""
    player = TablePlayer(setting, seed=seed, escalate=False)
    num_types = len(setting.dataset.task_types)
    returns = [
        player.mean_return(np.full((num_types, 1), worker, np.int64))
        for worker in range(len(setting.dataset.pool))
    ]
    return int(np.argmax(returns))


def tune_tables(experiment: Experiment, *, progress_bar: bool) -> Path:
    """Tunes all tables on training workflows and writes them, by worker names, to a file.

    The file also holds the escalation table's returns on the workflows that phase 2 evaluates on,
    so that a learning curve can be held against them.
    """
    experiment.prepare_output()
    setting = experiment.setting("train", experiment.config.benchmark.table_workflows)
    names = np.array(setting.dataset.pool.names)
    seed = experiment.seed
    escalation = tune_escalation_table(setting, seed=seed, progress_bar=progress_bar)
    count = experiment.config.training.phase2_rl.evaluation_workflows
    returns = {
        split: TablePlayer(experiment.setting(split, count), seed=seed, escalate=True).mean_return(
            escalation
        )
        for split in ("train", "validation")
    }
    tables = {
        "task_types": list(setting.dataset.task_types),
        "best_single": str(names[best_single_worker(setting, seed=seed)]),
        "lookup": names[tune_lookup_table(setting, seed=seed)].tolist(),
        "escalation": names[escalation].tolist(),
        "escalation_return": returns,
    }
    path = experiment.output_dir / TABLES
    write_whole(path, lambda partial: partial.write_text(json.dumps(tables, indent=1) + "\n"))
    return path


def read_tables(path: Path, setting: Setting) -> dict[str, FixedTableAgent | TableAgent]:
    """Reads tuned tables as agents.

    Raises:
        MissingFileError: there is no such file.
        CheckpointError: the file is broken, or of other task types or attempts.
        UnknownWorkerError: a table names a worker that the pool does not have.
    """
    data, pool = _read_names(path, setting), setting.dataset.pool
    lookup = np.array([pool.index(name) for name in data["lookup"]])
    escalation = np.array([[pool.index(name) for name in row] for row in data["escalation"]])
    single = np.full(len(lookup), pool.index(data["best_single"]))
    return {
        "best-single": FixedTableAgent(setting, single),
        "lookup": FixedTableAgent(setting, lookup),
        "escalation": TableAgent(setting, escalation),
    }


def _read_names(path: Path, setting: Setting) -> dict[str, Any]:
    """Reads the tables as names of workers, and checks their shapes."""
    if not path.is_file():
        raise MissingFileError(f"{path}: no such tables; make them with `agents.tune_tables`")
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        types, lookup, escalation = (data[k] for k in ("task_types", "lookup", "escalation"))
        found = len(lookup), {len(row) for row in escalation}, len(escalation)
        data["best_single"]
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"{path}: expected tuned tables, got a file that breaks ({error!r}); tune them again"
        ) from None
    expected = list(setting.dataset.task_types)
    attempts = setting.rules.max_attempts
    if types != expected or found != (len(expected), {attempts}, len(expected)):
        raise CheckpointError(
            f"{path}: expected tables of {attempts} attempts for the task types "
            f"{', '.join(expected)}, got {types}; tune them again for this data"
        )
    return data


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, tunes, and prints the escalation table."""
    args = experiment_parser("agents.tune_tables", __doc__).parse_args(argv)
    experiment = read_experiment(args)
    with claim(experiment.output_dir):
        path = tune_tables(experiment, progress_bar=not args.quiet)
    data = json.loads(path.read_text())
    for task_type, row in zip(data["task_types"], data["escalation"], strict=True):
        print(f"{task_type}: {' -> '.join(row)}")


if __name__ == "__main__":
    run_command(main)
