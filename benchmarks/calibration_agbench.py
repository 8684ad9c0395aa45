"""Compares policies replayed on recorded agent runs with the same in a simulator fitted to a log.

Run it with `python -m benchmarks.calibration_agbench --data FOLDER`, where FOLDER has agbench/. A
third of each agent's runs is held back. The others make an execution log, which is calibrated, and
say which agents five simple policies choose. These play the workflows of the task graph on the
recorded attempts of both sides, and in the simulator. Intervals resample whole runs. `--halves N`
never looks at the runs held back: it fits on half of the others, replays on the other half, N
times over, and is what choices in calibration are to be made by.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.agbench_log import execution_log
from benchmarks.agbench_runs import (
    FORMAT,
    BoolArray,
    FloatArray,
    IntArray,
    Runs,
    Split,
    read_graph,
    read_runs,
    replayed,
    split_runs,
    workflow_table,
)
from benchmarks.timing import print_machine, print_table
from orchestai_env.dataset import Dataset
from orchestai_env.datasets.calibration.fit import fit_pool
from orchestai_env.datasets.calibration.log_table import log_table
from orchestai_env.datasets.calibration.play import play
from orchestai_env.outcomes.simulated import simulated_tables
from orchestai_env.reward import RewardWeights
from orchestai_env.rules import EpisodeRules
from orchestai_env.settings import load_yaml
from orchestai_env.state import ATTEMPTS, CURRENT, SUMMARY, WORKFLOW
from orchestai_env.workers import WorkerPool
from orchestai_env.workflow import Workflow

REWARDS = Path(__file__).resolve().parents[1] / "configs" / "rewards"
PROFILES = ("balanced", "success")
HELD_BACK = 1 / 3
COPIES, REPLICATES = 1000, 200
"""Episodes of each workflow, and resamplings of the runs for the intervals."""
_FEWER = 25
"""So many times fewer episodes are played of a resampling; widens intervals by a tenth at most."""
VALUE_USD = 1.0
"""What a success is worth to the policy "always the best value"; chosen: some times what a call
costs, so that neither decides alone."""
QUANTITIES = ("success", "cost [USD]", "makespan [s]", *(f"return, {name}" for name in PROFILES))
RETURN = QUANTITIES.index("return, balanced")

Policy = Callable[[IntArray, IntArray, BoolArray], IntArray]
"""Task types, attempts and masks (n, W) of some decisions -> workers."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """What one policy reaches; the quantities are QUANTITIES."""

    policy: str
    train: FloatArray
    """float64 (5, 2); mean and half the width of its 95 % interval, replayed on the runs that the
    log is of."""
    test: FloatArray
    """float64 (5, 2); likewise on the runs held back."""
    resampled: FloatArray
    """float64 (R, 5); means on resamplings of the runs held back, the same for every policy."""
    simulated: FloatArray
    """float64 (5,)."""

    @property
    def error(self) -> FloatArray:
        """How far the simulated means are from those of the runs held back, of these, (5,)."""
        shares: FloatArray = (self.simulated - self.test[:, 0]) / np.abs(self.test[:, 0])
        return shares


@dataclasses.dataclass(frozen=True, kw_only=True)
class Crossed:
    """Means of one policy over N halvings of the runs, each half once on either side."""

    policy: str
    replayed: FloatArray
    """float64 (N, 5)."""
    simulated: FloatArray
    """float64 (N, 5)."""

    @property
    def error(self) -> FloatArray:
        """Mean error, of the replayed means, and its standard error, float64 (5, 2)."""
        away, scale = self.simulated - self.replayed, np.abs(self.replayed.mean(axis=0))
        deviation = away.std(axis=0, ddof=1) / np.sqrt(len(away))
        shares: FloatArray = np.column_stack([away.mean(axis=0), deviation]) / scale[:, None]
        return shares


class Study:
    """A simulator fitted to the training attempts of a split, beside replays of both sides."""

    def __init__(self, split: Split, seed: int) -> None:
        """Logs the training attempts, calibrates the log, and lets the policies choose."""
        self.split, self.seed = split, seed
        self.fitted = fit_pool(log_table(execution_log(split, seed)))
        self.policies = policies(split)

    def simulated(self, copies: int) -> Dataset:
        """Returns the simulator, with the pairs of task and agent that the replays have."""
        pool, fitted, train = self.fitted.pool, self.fitted.pool.workers, self.split.train
        specs = []
        for w, name in enumerate(train.agents):
            known = {train.tasks[t] for t in np.flatnonzero(self.split.allowed[:, w])}
            spec = fitted.workers[fitted.index(name)]
            skills = {kind: skill for kind, skill in spec.skills.items() if kind in known}
            specs.append(spec.model_copy(update={"skills": skills}))
        workers = WorkerPool(tuple(specs))
        outcomes, statistics = simulated_tables(workers, train.tasks, pool.simulation)
        return Dataset(
            name=FORMAT,
            pool=workers,
            workflows=workflow_table(self.split, copies),
            outcomes=outcomes,
            statistics=statistics,
            latency_label="simulated",
        )

    def recorded(self, sides: Sequence[Runs], copies: int) -> Dataset:
        """Returns replays of some sides, each in as many copies."""
        total = copies * len(sides)
        outcomes = replayed(sides, self.split.allowed, total, self.seed)
        # Statistics are for observations, which no policy here reads.
        return dataclasses.replace(
            self.simulated(total), outcomes=outcomes, latency_label="recorded"
        )

    def means(self, dataset: Dataset, policy: Policy, parts: int = 1) -> FloatArray:
        """Plays every workflow; returns QUANTITIES by equal part of the copies, (parts, 5)."""
        found = quantities(dataset, policy, self.seed)
        by_part: FloatArray = found.reshape(parts, -1, found.shape[1]).mean(axis=1)
        return by_part


def policies(split: Split) -> dict[str, Policy]:
    """Returns five policies that the training attempts suggest."""
    train = split.train
    success, cost = train.means(train.success), train.means(train.cost_usd)
    worker_success, worker_cost = np.nanmean(success, axis=0), np.nanmean(cost, axis=0)
    worth = worker_success - worker_cost / VALUE_USD
    cheap, best, value = (np.argsort(x) for x in (worker_cost, -worker_success, -worth))
    # Of agents that are equally good at a task, the one that is worth more.
    per_task = np.lexsort((np.broadcast_to(-worth, success.shape), -np.nan_to_num(success)))

    def in_turn(*orders: IntArray) -> Policy:
        table = np.array(orders)
        last = len(table) - 1
        return lambda kinds, attempts, mask: _first(table[np.minimum(attempts, last)], mask)

    return {
        "always the cheapest": in_turn(cheap),
        "always the best": in_turn(best),
        "always the best value": in_turn(value),
        "escalation": in_turn(cheap, value, best),
        "best by task": lambda kinds, attempts, mask: _first(per_task[kinds], mask),
    }


def _first(order: IntArray, mask: BoolArray) -> IntArray:
    """Returns the first allowed worker of each row's order (n, W)."""
    place = np.take_along_axis(mask, order, axis=1).argmax(axis=1)
    chosen: IntArray = np.take_along_axis(order, place[:, None], axis=1)[:, 0]
    return chosen


def quantities(dataset: Dataset, policy: Policy, seed: int) -> FloatArray:
    """Plays an episode of each workflow; returns QUANTITIES, float64 (K, 5)."""

    def choose(episodes: Any, rows: IntArray) -> IntArray:
        state = episodes.state
        current, workflow = state.episode[rows, CURRENT], state.episode[rows, WORKFLOW]
        kinds = episodes.problem.task_type[workflow, current]
        return policy(kinds, state.subtask[rows, current, ATTEMPTS], state.mask[rows] > 0)

    played = play(dataset, np.arange(len(dataset.workflows)), EpisodeRules(), choose, seed=seed)
    done = played.episodes.summary[:, SUMMARY.index("succeeded")]
    parts = np.stack([played.success, -played.cost_usd, -played.makespan_ms, done], axis=1)
    weights = [load_yaml(REWARDS / f"{name}.yaml", RewardWeights).as_array() for name in PROFILES]
    seen = [played.success, played.cost_usd, played.makespan_ms / 1e3]
    return np.stack([*seen, *(parts @ weight for weight in weights)], axis=1)


def compare_held_back(
    runs: Runs,
    graph: Sequence[Workflow],
    *,
    copies: int = COPIES,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> list[Row]:
    """Compares on the runs held back; the policies, best replayed first.

    Intervals are 1.96 standard deviations over resampled runs. Quantiles would be off, as a run
    drawn twice makes a retry like the first call; the deviations agree with how far halves of the
    runs differ (12 halvings: 0.08 to 0.10, and 0.09 to 0.13 of success).
    """
    study = Study(split_runs(runs, graph, runs.lowest(HELD_BACK)), seed)
    rng = np.random.default_rng(seed)
    sides = []
    for side in (study.split.train, study.split.test):
        resampled = [side, *(side.resampled(rng) for _ in range(replicates))]
        spread = study.recorded(resampled, max(1, copies // _FEWER))
        sides.append((study.recorded([side], copies), spread))
    simulated = study.simulated(copies)
    rows = []
    for name, policy in study.policies.items():
        spreads = [study.means(resampled, policy, replicates + 1)[1:] for _, resampled in sides]
        train, test = (
            np.column_stack([study.means(whole, policy)[0], 1.96 * spread.std(axis=0, ddof=1)])
            for (whole, _), spread in zip(sides, spreads, strict=True)
        )
        rows.append(
            Row(
                policy=name,
                train=train,
                test=test,
                resampled=spreads[1],
                simulated=study.means(simulated, policy)[0],
            )
        )
    return sorted(rows, key=lambda row: -float(row.test[RETURN, 0]))


def order_kept(rows: Sequence[Row], quantity: int) -> tuple[IntArray, IntArray]:
    """Counts pairs of policies, and those that the simulator puts in the replayed order.

    Returns:
        Both int64 (2,): of all pairs, and of those that the runs held back tell apart, by 1.96
        standard deviations of the paired difference.
    """
    kept, all_pairs = np.zeros(2, np.int64), np.zeros(2, np.int64)
    for first, second in itertools.combinations(rows, 2):
        away = first.test[quantity, 0] - second.test[quantity, 0]
        deviation = (first.resampled - second.resampled)[:, quantity].std(ddof=1)
        counted = np.array([True, abs(away) > 1.96 * deviation])
        simulated = first.simulated[quantity] - second.simulated[quantity]
        all_pairs += counted
        kept += counted & (simulated * away > 0)
    return kept, all_pairs


def compare_halves(
    runs: Runs, graph: Sequence[Workflow], halvings: int, *, copies: int = 100, seed: int = 0
) -> list[Crossed]:
    """Compares within the runs that are not held back; the policies, best replayed first."""
    runs = runs.taken(~runs.lowest(HELD_BACK))
    found: dict[str, list[FloatArray]] = {}
    for n in range(halvings):
        first = runs.lowest(0.5, salt=f"{n}:")
        for test in (first, ~first):
            study = Study(split_runs(runs, graph, test), seed)
            replays = study.recorded([study.split.test], copies)
            simulated = study.simulated(copies)
            for name, policy in study.policies.items():
                both = [study.means(dataset, policy)[0] for dataset in (replays, simulated)]
                found.setdefault(name, []).append(np.array(both))
    rows = []
    for name, values in found.items():
        sides = np.array(values).reshape(halvings, 2, 2, -1).mean(axis=1)
        rows.append(Crossed(policy=name, replayed=sides[:, 0], simulated=sides[:, 1]))
    return sorted(rows, key=lambda row: -float(row.replayed[:, RETURN].mean()))


def main(argv: Sequence[str] | None = None) -> None:
    """Prints a table for each quantity."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help=f"folder that has {FORMAT}/")
    parser.add_argument("--halves", type=int, metavar="N", help="compare without the held-back")
    parser.add_argument(
        "--replicates", type=int, default=REPLICATES, help="resamplings of the runs"
    )
    parser.add_argument("--copies", type=int, default=COPIES, help="episodes of each workflow")
    parser.add_argument("--seed", type=int, default=0, help="of draws and episodes")
    args = parser.parse_args(argv)
    print_machine("scipy")
    runs = read_runs(args.data / FORMAT)
    graph = read_graph(args.data / FORMAT)
    if args.halves:
        print_halves(
            compare_halves(runs, graph, args.halves, copies=-(-args.copies // 10), seed=args.seed)
        )
    else:
        print_held_back(
            compare_held_back(
                runs, graph, copies=args.copies, replicates=args.replicates, seed=args.seed
            )
        )


def print_halves(rows: Sequence[Crossed]) -> None:
    """Prints means over the halvings, and the mean error with its standard error."""
    for q, quantity in enumerate(QUANTITIES):
        cells = []
        for row in rows:
            means = (side[:, q].mean() for side in (row.replayed, row.simulated))
            away, deviation = 100.0 * row.error[q]
            shown = f"{away:+.1f} % ± {deviation:.1f}"
            cells.append((row.policy, *(f"{mean:.4g}" for mean in means), shown))
        print_table((quantity, "replayed", "simulated", "error"), cells)


def print_held_back(rows: Sequence[Row]) -> None:
    """Prints means, intervals and errors."""
    for q, quantity in enumerate(QUANTITIES):
        cells = [
            (
                row.policy,
                *(f"{side[q, 0]:.4g} ± {side[q, 1]:.2g}" for side in (row.train, row.test)),
                f"{row.simulated[q]:.4g}",
                f"{100.0 * row.error[q]:+.1f} %",
            )
            for row in rows
        ]
        print_table((quantity, "runs of the log", "runs held back", "simulated", "error"), cells)
        kept, pairs = order_kept(rows, q)
        print(
            f"order kept in {kept[0]} of {pairs[0]} pairs, in {kept[1]} of the {pairs[1]} that the "
            "runs held back tell apart\n"
        )


if __name__ == "__main__":
    main()
