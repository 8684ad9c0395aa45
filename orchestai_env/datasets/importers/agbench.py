"""Auto-GPT benchmark runs: agents that walked one graph of tasks many times.

`tasks.jsonl[.gz]`: name, task (its text), category (list), depends_on (names, or null where nobody
knows), cutoff_s. `runs.csv[.gz]`, a line an attempt: run_id, agent, task, success (0 or 1),
run_time_ms, cost_usd, reached_cutoff. Agents become workers, tasks queries, attempts trials.
Source of the records: Significant-Gravitas/Auto-GPT-Benchmarks, reports and challenges.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestai_env.datasets.importers.conversion import (
    Converted,
    ConvertSettings,
    Workspace,
    import_tables,
)
from orchestai_env.datasets.importers.fields import number, text
from orchestai_env.datasets.importers.plans import PlanWriter
from orchestai_env.datasets.importers.reading import check_input, read_json_records, read_table
from orchestai_env.datasets.importers.tables import Call, Query, TableWriter
from orchestai_env.errors import (
    ConfigError,
    DataError,
    MissingFileError,
    OrchestAIError,
    shown,
    unknown_name,
)
from orchestai_env.workflow import Subtask, Workflow

COLUMNS = ("agent", "task", "success", "run_time_ms", "cost_usd", "reached_cutoff")
UNCATEGORISED = "uncategorised"
"""Task type of a task whose categories nobody recorded."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Task:
    """One task of the benchmark."""

    name: str
    query: Query
    depends_on: tuple[str, ...] | None
    """Names; None where nobody knows."""


def import_agbench(settings: ConvertSettings, workspace: Workspace, converted: Converted) -> None:
    """Reads a folder of tasks and runs: tables of all attempts, and workflows of the task graph."""
    if len(settings.inputs) != 1 or not settings.inputs[0].is_dir():
        got = ", ".join(map(str, settings.inputs))
        raise ConfigError(f"expected one folder with tasks.jsonl and runs.csv, got {got}")
    tasks_path = _found(settings.inputs[0], "tasks.jsonl")
    runs_path = _found(settings.inputs[0], "runs.csv")
    converted.inputs += [tasks_path, runs_path]
    tasks = _read_tasks(tasks_path, settings.name, workspace)
    parse = _run_parser(tasks)
    with TableWriter(workspace.tables, with_cut=True) as tables:
        for task in tasks.values():
            tables.add(task.query, [])
        records = read_table(runs_path, _columns, workspace.left_out, workspace.tell)
        import_tables(records, parse, tables, workspace.left_out)
        converted.take(tables)
    converted.num_workflows = _write_plans(tasks, settings.name, workspace, converted)
    num_cut = sum(counts.num_cut for counts in converted.workers.values())
    converted.notes.append(
        f"{num_cut} of {converted.num_calls} run times are cut: the benchmark stopped the agent at "
        "the time limit, so it would have taken longer; `latency_is_cut` marks them"
    )
    converted.notes.append(
        "only tasks whose dependencies were met were run, so success is the chance given that"
    )


def _found(folder: Path, name: str) -> Path:
    """Returns the file of this name, gzipped or not.

    Raises:
        MissingFileError: there is neither.
    """
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            check_input(path)
            return path
    raise MissingFileError(f"{folder / name}: no such file, nor {name}.gz; check the folder")


def _read_tasks(path: Path, name: str, workspace: Workspace) -> dict[str, _Task]:
    tasks: dict[str, _Task] = {}
    for place, fields in read_json_records(path, workspace.left_out, workspace.tell):
        try:
            task = _task(fields, name)
            if task.name in tasks:
                raise DataError(f"name: {task.name!r} comes twice; names must be unique")
            tasks[task.name] = task
        except OrchestAIError as error:
            workspace.left_out.add(place, str(error))
    return tasks


def _task(fields: Mapping[str, Any], name: str) -> _Task:
    categories, depends_on = (_names(fields, key) for key in ("category", "depends_on"))
    query = Query(
        query_id=f"{name}/{text(fields, 'name')}",
        task_type="+".join(categories or ()) or UNCATEGORISED,
        prompt=text(fields, "task", may_be_empty=True),
    )
    return _Task(name=text(fields, "name"), query=query, depends_on=depends_on)


def _names(fields: Mapping[str, Any], key: str) -> tuple[str, ...] | None:
    value = fields.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise DataError(f"{key}: expected a list of names, got {shown(value)}")
    return tuple(value)


def _columns(header: Sequence[str]) -> Sequence[str]:
    for name in COLUMNS:
        if name not in header:
            raise DataError(f"column {name!r} is missing; got {', '.join(header)}")
    return COLUMNS


def _run_parser(
    tasks: Mapping[str, _Task],
) -> Callable[[Mapping[str, Any]], tuple[Query, list[Call]]]:
    def parse(fields: Mapping[str, Any]) -> tuple[Query, list[Call]]:
        task, success = text(fields, "task"), number(fields, "success", most=1.0)
        if task not in tasks:
            raise DataError("task: " + unknown_name("task", task, tasks))
        if success is None:
            raise DataError("success: expected 0 or 1, got none")
        latency_ms = number(fields, "run_time_ms")
        is_cut = number(fields, "reached_cutoff", most=1.0) == 1.0
        call = Call(
            worker=text(fields, "agent"),
            score=success,
            cost_usd=number(fields, "cost_usd"),
            latency_ms=latency_ms,
            latency_is_cut=is_cut and latency_ms is not None,
        )
        return tasks[task].query, [call]

    return parse


def _write_plans(
    tasks: Mapping[str, _Task], name: str, workspace: Workspace, converted: Converted
) -> int:
    """Writes a workflow for each task with all that it needs, and one of the whole graph.

    Returns:
        Number of workflows; a task that needs one whose dependencies nobody knows has none.
    """
    closed = {task: needs for task in tasks if (needs := _closure(task, tasks)) is not None}
    with PlanWriter(workspace.plans) as plans:
        for task, needs in closed.items():
            plans.add(_workflow(f"{name}/{task}", needs, tasks))
        if closed:
            plans.add(_workflow(f"{name}/all", closed, tasks))
        num_workflows = len(plans)
    if len(closed) < len(tasks):
        converted.notes.append(
            f"{len(tasks) - len(closed)} of {len(tasks)} tasks are in no workflow: nobody recorded "
            "what they depend on"
        )
    return num_workflows


def _closure(task: str, tasks: Mapping[str, _Task]) -> set[str] | None:
    """Returns a task and all that it needs; None where that is not known."""
    needs, waiting = {task}, [task]
    while waiting:
        known = tasks.get(waiting.pop())
        if known is None or known.depends_on is None:
            return None
        new = set(known.depends_on) - needs
        needs |= new
        waiting += new
    return needs


def _workflow(workflow_id: str, names: Iterable[str], tasks: Mapping[str, _Task]) -> Workflow:
    """Builds the workflow of some tasks; its instruction are the texts of those at its ends."""
    order = sorted(names)
    place = {task: index for index, task in enumerate(order)}
    links = [(place[d], j) for j, task in enumerate(order) for d in tasks[task].depends_on or ()]
    inner = {i for i, _ in links}
    ends = [tasks[task].query.prompt for i, task in enumerate(order) if i not in inner]
    queries = [tasks[task].query for task in order]
    return Workflow(
        id=workflow_id,
        instruction="\n".join(ends),
        subtasks=tuple(
            Subtask(name=query.prompt, type=query.task_type, query_id=query.query_id)
            for query in queries
        ),
        links=tuple(links),
    )
