"""Recorded runs of the Auto-GPT benchmark: replayed many times over, and as an execution log.

A run is one agent that walked the graph of tasks. The source records costs from August 2023 on;
calls without a cost or a time are left out, as `orchestai import-recorded` does.
"""

from __future__ import annotations

import csv
import dataclasses
import gzip
import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestai_env.datasets.importers.conversion import ConvertSettings, convert
from orchestai_env.datasets.importers.formats import FORMATS
from orchestai_env.datasets.recorded_import import PLANNING
from orchestai_env.outcomes.tables import RECORDED, OutcomeTables, empty_tables
from orchestai_env.rules import EpisodeRules
from orchestai_env.workflow import Workflow, read_workflows
from orchestai_env.workflow_table import WorkflowTable

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

ATTEMPTS = EpisodeRules().max_attempts
FORMAT = "agbench"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Runs:
    """C attempts of W agents at T tasks, in R runs."""

    agents: tuple[str, ...]
    tasks: tuple[str, ...]
    run_ids: tuple[str, ...]
    run: IntArray
    """int64 (C,), 0..R-1."""
    agent: IntArray
    """int64 (C,), 0..W-1."""
    task: IntArray
    """int64 (C,), 0..T-1."""
    success: IntArray
    """int64 (C,), 0 or 1."""
    cost_usd: FloatArray
    """float64 (C,) [USD]."""
    latency_ms: FloatArray
    """float64 (C,) [ms]."""

    def __len__(self) -> int:
        """Returns the number of attempts."""
        return len(self.run)

    def taken(self, chosen: BoolArray | IntArray) -> Runs:
        """Returns some attempts (a mask, or indexes that may come several times)."""
        names = ("run", "agent", "task", "success", "cost_usd", "latency_ms")
        return dataclasses.replace(self, **{name: getattr(self, name)[chosen] for name in names})

    def trials(self) -> dict[tuple[int, int], IntArray]:
        """Returns the attempts of each pair of task and agent."""
        order = np.lexsort((self.agent, self.task))
        key = self.task[order] * len(self.agents) + self.agent[order]
        pairs, start = np.unique(key, return_index=True)
        parts = np.split(order, start[1:])
        return {
            divmod(pair, len(self.agents)): part
            for pair, part in zip(pairs.tolist(), parts, strict=True)
        }

    def means(self, values: npt.NDArray[Any]) -> FloatArray:
        """Returns the mean of a column by task and agent, float64 (T, W); NaN without attempts."""
        found = np.full((len(self.tasks), len(self.agents)), np.nan)
        for pair, rows in self.trials().items():
            found[pair] = values[rows].mean()
        return found

    def within(self, tasks: IntArray, agents: IntArray) -> Runs:
        """Returns the same attempts, numbered by some of the tasks and agents; they have no other.

        Args:
            tasks: int64 (T',), ascending.
            agents: int64 (W',), ascending.
        """
        return dataclasses.replace(
            self,
            tasks=tuple(self.tasks[t] for t in tasks),
            agents=tuple(self.agents[w] for w in agents),
            task=np.searchsorted(tasks, self.task),
            agent=np.searchsorted(agents, self.agent),
        )

    def lowest(self, share: float, salt: str = "") -> BoolArray:
        """Tells the attempts of a share of each agent's runs: those whose hash is lowest."""
        first = np.zeros(len(self.run_ids), bool)
        for agent in range(len(self.agents)):
            runs = np.unique(self.run[self.agent == agent]).tolist()
            runs.sort(key=lambda r: hashlib.sha256((salt + self.run_ids[r]).encode()).digest())
            first[runs[: round(share * len(runs))]] = True
        return first[self.run]

    def resampled(self, rng: np.random.Generator) -> Runs:
        """Draws as many runs of each agent, with replacement; all attempts of a run come along."""
        drawn = []
        for agent in range(len(self.agents)):
            runs = np.unique(self.run[self.agent == agent])
            for run in rng.choice(runs, len(runs)) if len(runs) else ():
                drawn.append(np.flatnonzero(self.run == run))
        return self.taken(np.concatenate(drawn))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Split:
    """Attempts on two sides, and what can be played on both."""

    train: Runs
    test: Runs
    allowed: BoolArray
    """bool (T, W); pairs with as many attempts on either side as a subtask may take."""
    workflows: tuple[Workflow, ...]
    """Each is a task with all that it needs; the type of a subtask is the task's name."""
    parents: dict[int, tuple[int, ...]]
    """Of each task, in topological order."""


def read_runs(folder: Path) -> Runs:
    """Reads the attempts with a cost and a time."""
    with gzip.open(folder / "runs.csv.gz", "rt", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["cost_usd"] and row["run_time_ms"]]
    names, index = {}, {}
    for column in ("agent", "task", "run_id"):
        names[column], index[column] = np.unique([row[column] for row in rows], return_inverse=True)
    return Runs(
        agents=tuple(names["agent"].tolist()),
        tasks=tuple(names["task"].tolist()),
        run_ids=tuple(names["run_id"].tolist()),
        run=index["run_id"].astype(np.int64),
        agent=index["agent"].astype(np.int64),
        task=index["task"].astype(np.int64),
        success=np.array([row["success"] == "1" for row in rows], np.int64),
        cost_usd=np.array([row["cost_usd"] for row in rows], float),
        latency_ms=np.array([row["run_time_ms"] for row in rows], float),
    )


def read_graph(folder: Path) -> list[Workflow]:
    """Returns a workflow for each task, as `orchestai convert agbench` makes them."""
    with tempfile.TemporaryDirectory() as output:
        settings = ConvertSettings(inputs=(folder,), output_dir=Path(output), name=FORMAT)
        convert(FORMAT, FORMATS[FORMAT], settings)
        workflows = read_workflows(Path(output) / PLANNING / f"{FORMAT}.jsonl.gz")
    return [_typed_by_task(workflow) for workflow in workflows]


def _typed_by_task(workflow: Workflow) -> Workflow:
    subtasks = tuple(
        dataclasses.replace(subtask, type=str(subtask.query_id).removeprefix(f"{FORMAT}/"))
        for subtask in workflow.subtasks
    )
    return dataclasses.replace(workflow, subtasks=subtasks).topologically_sorted()


def split_runs(runs: Runs, graph: Sequence[Workflow], test: BoolArray) -> Split:
    """Splits attempts, and keeps the tasks, agents and workflows that both sides can play.

    Args:
        runs: all attempts.
        graph: all workflows.
        test: bool (C,); attempts of the second side, all of a run or none.
    """
    allowed = np.ones((len(runs.tasks), len(runs.agents)), bool)
    for side in (runs.taken(~test), runs.taken(test)):
        count = np.zeros(allowed.shape, int)
        np.add.at(count, (side.task, side.agent), 1)
        allowed &= count >= ATTEMPTS
    served = {runs.tasks[t] for t in np.flatnonzero(allowed.any(axis=1))}
    workflows = tuple(w for w in graph if {s.type for s in w.subtasks} <= served)
    used = {subtask.type for workflow in workflows for subtask in workflow.subtasks}
    allowed &= np.isin(runs.tasks, list(used))[:, None]
    tasks, agents = np.flatnonzero(allowed.any(axis=1)), np.flatnonzero(allowed.any(axis=0))
    kept = allowed[runs.task, runs.agent]
    train, test_side = (runs.taken(kept & side).within(tasks, agents) for side in (~test, test))
    return Split(
        train=train,
        test=test_side,
        allowed=allowed[np.ix_(tasks, agents)],
        workflows=workflows,
        parents=_parents(workflows, train.tasks),
    )


def _parents(workflows: Sequence[Workflow], names: Sequence[str]) -> dict[int, tuple[int, ...]]:
    index = {name: t for t, name in enumerate(names)}
    parents: dict[int, tuple[int, ...]] = {}
    for workflow in sorted(workflows, key=lambda workflow: len(workflow.subtasks)):
        tasks = [index[subtask.type] for subtask in workflow.subtasks]
        for j, task in enumerate(tasks):
            parents[task] = tuple(tasks[i] for i, k in workflow.links if k == j)
    return parents


def workflow_table(split: Split, copies: int) -> WorkflowTable:
    """Returns all workflows `copies` times over; copy c of task t replays query t * copies + c."""
    once = WorkflowTable.from_workflows(
        [_without_queries(workflow) for workflow in split.workflows],
        task_types=split.train.tasks,
        max_subtasks=max(len(workflow.subtasks) for workflow in split.workflows),
    )
    names = [field.name for field in dataclasses.fields(once)]
    fields: dict[str, Any] = {
        name: np.concatenate([getattr(once, name)] * copies)
        for name in names
        if name not in ("task_types", "instruction_texts")
    }
    copy = np.repeat(np.arange(copies, dtype=np.int32), len(once))[:, None]
    kind = fields["task_type"]
    fields["query"] = np.where(kind >= 0, kind * copies + copy, -1).astype(np.int32)
    return WorkflowTable(task_types=once.task_types, **fields)


def _without_queries(workflow: Workflow) -> Workflow:
    subtasks = tuple(dataclasses.replace(s, query_id=None) for s in workflow.subtasks)
    return dataclasses.replace(workflow, subtasks=subtasks)


def replayed(sides: Sequence[Runs], allowed: BoolArray, copies: int, seed: int) -> OutcomeTables:
    """Builds recorded outcomes: each copy of a task draws attempts of each agent anew.

    Draws are without replacement, so that a retry is another run's attempt. The i-th of S sides
    fills the i-th of S equal parts of the copies; a pair without attempts there, which happens
    where runs were resampled, borrows those of the first side.

    Args:
        sides: attempts.
        allowed: bool (T, W).
        copies: of each task.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    num_tasks, num_agents = allowed.shape
    shape = (num_tasks, copies, num_agents, ATTEMPTS)
    columns: dict[str, npt.NDArray[Any]] = {
        "success": np.zeros(shape, np.uint8),
        "cost_usd": np.zeros(shape),
        "latency_us": np.zeros(shape, np.int64),
    }
    share, known = copies // len(sides), sides[0].trials()
    for part, side in enumerate(sides):
        chosen, trials = slice(part * share, (part + 1) * share), side.trials()
        for t, w in np.argwhere(allowed).tolist():
            source, rows = (side, trials[t, w]) if (t, w) in trials else (sides[0], known[t, w])
            order = np.argsort(rng.random((share, len(rows))), axis=1)
            drawn = rows[order[:, np.arange(ATTEMPTS) % len(rows)]]
            columns["success"][t, chosen, w] = source.success[drawn]
            columns["cost_usd"][t, chosen, w] = source.cost_usd[drawn]
            columns["latency_us"][t, chosen, w] = np.round(source.latency_ms[drawn] * 1e3)
    count = np.repeat(allowed[:, None].astype(np.int32) * ATTEMPTS, copies, axis=1)
    flat = {name: column.reshape(-1, num_agents, ATTEMPTS) for name, column in columns.items()}
    tables: dict[str, Any] = empty_tables() | flat
    tables |= {
        "kind": np.array([RECORDED]),
        "num_trials": count.reshape(-1, num_agents),
        "quality": flat["success"].astype(float),
    }
    return OutcomeTables(**tables)
