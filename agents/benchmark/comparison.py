"""Comparison of all agents under one reward profile: evaluated side by side, kept as they come."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, as_completed
from pathlib import Path

import numpy as np
from rich.progress import track

from agents.benchmark.finished import FILE, Finished, hash_of, source_of
from agents.benchmark.resampling import drawn_seeds
from agents.benchmark.summary import BOUND, REFERENCE, Evaluations
from agents.benchmark.workbench import (
    SPLITS,
    ComparisonPlan,
    Result,
    Task,
    Workbench,
    evaluation_name,
)
from agents.config import profile_weights
from agents.registry import SLOW
from orchestai_env import __version__
from orchestai_env.datasets.folder import DESCRIPTION, PREDICTIONS
from orchestai_env.engine import open_executor
from orchestai_env.errors import ConfigError

_in_process: Workbench | None = None


def _start_process(plan: ComparisonPlan) -> None:
    global _in_process  # one per worker process; the executor's initializer has no other place
    _in_process = Workbench(plan)


def _run(task: Task) -> tuple[str, list[Result]]:
    assert _in_process is not None
    return task.evaluation, _in_process.run(task)


def evaluate_agents(plan: ComparisonPlan) -> Evaluations:
    """Evaluates every agent; what is finished stays in the profile's folder for a repeated call.

    Raises:
        OrchestAIError: the settings or the data are wrong, or a worker process died.
    """
    _check_sizes(plan)
    finished = _open_finished(plan)
    tasks = list(_missing(plan, finished))
    errors: dict[str, str] = {}
    if tasks:
        Workbench(plan)  # what is wrong shows here in one line, not as a broken worker process
        errors = _run_all(plan, tasks, finished)
    return _gather(plan, finished, errors)


def _run_all(plan: ComparisonPlan, tasks: Sequence[Task], finished: Finished) -> dict[str, str]:
    """Runs tasks side by side and keeps their results; returns the errors by agent."""
    errors: dict[str, str] = {}
    benchmark = plan.config.benchmark
    with open_executor(benchmark.engine, benchmark.num_jobs, _start_process, (plan,)) as pool:
        futures: list[Future[tuple[str, list[Result]]]] = [pool.submit(_run, t) for t in tasks]
        title = f"evaluating, profile {plan.profile}"
        for future in track(as_completed(futures), title, len(futures)):
            evaluation, results = future.result()
            for result in results:
                if result.error is None:
                    finished.add(result.agent, evaluation, result.found)
                else:
                    errors[result.agent] = result.error
    return errors


def _check_sizes(plan: ComparisonPlan) -> None:
    """Refuses replicates in which a seed would get no workflow."""
    count = plan.config.benchmark.replicate_workflows
    if count < len(plan.seeds):
        raise ConfigError(
            f"{plan.config_path}: benchmark.replicate_workflows: expected at least one workflow "
            f"for each of {len(plan.seeds)} seeds, got {count}"
        )


def _tasks(plan: ComparisonPlan) -> Iterator[Task]:
    """Yields all there is to evaluate; the slow agents first, since they take longest."""
    names = tuple(plan.builders())
    usual = tuple(name for name in names if name not in SLOW)
    for name in names:
        if name in SLOW:
            yield Task("bound", "test", 0, (name,))
    if len(usual) < len(names):  # on the same workflows, to compare with
        yield Task("bound", "test", 0, tuple(sorted({REFERENCE, BOUND} & set(usual))))
    for split in SPLITS:
        for name in usual:
            yield Task("points", split, 0, (name,))
    for split in SPLITS:
        for index in range(plan.config.benchmark.replicates):
            yield Task("replicate", split, index, usual)


def _missing(plan: ComparisonPlan, finished: Finished) -> Iterator[Task]:
    for task in _tasks(plan):
        left = tuple(name for name in task.agents if (name, task.evaluation) not in finished)
        if left:
            yield dataclasses.replace(task, agents=left)


def _open_finished(plan: ComparisonPlan) -> Finished:
    """Opens the kept results; those of other settings, data or weights do not count."""
    benchmark = plan.config.benchmark
    shared: list[str | Path] = [
        __version__,
        plan.config.model_dump_json(exclude={"benchmark", "system"}),
        plan.config.rules().model_dump_json(),
        profile_weights(plan.config, plan.config_path, plan.profile).model_dump_json(),
        f"{benchmark.workflows} {benchmark.replicate_workflows} {benchmark.bound_workflows}",
        str(plan.seeds),
    ]
    if plan.data is not None:
        shared += [plan.data / DESCRIPTION, plan.data / PREDICTIONS]
    tables = [path for run_dir in plan.run_dirs for path in sorted(run_dir.glob("*.json"))]
    baselines = hash_of(*shared, *plan.run_dirs)  # one may look at anything in the run folders
    made_of = dict.fromkeys(plan.builders(), baselines)
    for name in benchmark.trained:
        made_of[name] = hash_of(*shared, *tables, *(run_dir / name for run_dir in plan.run_dirs))
    for text in plan.foreign:
        name, _, where = text.partition("=")
        is_zip = where.endswith(".zip")
        files = [Path(where)] if is_zip else source_of(where.partition(":")[0])
        made_of[name] = hash_of(*shared, where, *files)
    return Finished(plan.folder / FILE, made_of)


def _gather(plan: ComparisonPlan, finished: Finished, errors: Mapping[str, str]) -> Evaluations:
    """Reads all results of the agents that made no error."""
    names = tuple(plan.builders())
    usual = [name for name in names if name not in SLOW and name not in errors]
    bound = evaluation_name("bound", "test")
    indices = range(plan.config.benchmark.replicates)
    return Evaluations(
        agents=names,
        errors=errors,
        points={
            name: {split: finished[name, evaluation_name("points", split)] for split in SPLITS}
            for name in usual
        },
        bound={
            name: finished[name, bound]
            for name in names
            if name not in errors and (name, bound) in finished
        },
        replicates={
            name: {
                split: np.array(
                    [finished[name, evaluation_name("replicate", split, i)] for i in indices]
                )
                for split in SPLITS
            }
            for name in usual
        },
        chosen=np.stack(
            [drawn_seeds(len(plan.seeds), seed=plan.config.seed, index=i) for i in indices]
        ),
    )
