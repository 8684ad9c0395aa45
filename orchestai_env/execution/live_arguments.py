"""What the commands with real workers ask for on their command lines."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from orchestai_env.arguments import resolve_weights
from orchestai_env.dataset import Dataset
from orchestai_env.errors import ConfigError, unknown_name
from orchestai_env.execution.chooser import CHOOSERS, Chooser
from orchestai_env.execution.execution import Means
from orchestai_env.execution.live_setup import live_workflows
from orchestai_env.execution.orchestrator import Log, Orchestrator, OrchestratorSettings
from orchestai_env.execution.worker_planner import WorkerPlanner
from orchestai_env.execution.worker_settings import LivePool
from orchestai_env.planning.annotated import AnnotatedPlanner
from orchestai_env.planning.planner import Planner
from orchestai_env.settings import parse_settings
from orchestai_env.workflow import Subtask, Workflow


def add_live_arguments(add: argparse.ArgumentParser) -> None:
    """Adds what every command with real workers asks for."""
    add.add_argument("--workers", type=Path, required=True, help="YAML file of workers")
    add.add_argument("--workflows", type=Path, help="JSONL of known workflows to plan by")
    add.add_argument("--planner", help="worker that plans, in place of --workflows")
    add.add_argument("--task_types", nargs="+", help="vocabulary of that planner's plans")
    add.add_argument("--checks", type=Path, help="YAML file of success checks")
    add.add_argument("--chooser", default="greedy", help=f"one of {', '.join(CHOOSERS)}")
    add.add_argument("--exploration", type=float, default=0.0, help="share of random choices")
    add.add_argument("--budget_usd", type=float, help="most that all calls may cost")
    add.add_argument("--workflow_budget_usd", type=float, help="most that one workflow may cost")
    add.add_argument("--timeout_s", type=float, default=300.0, help="longest time of a workflow")
    add.add_argument("--max_attempts", type=int, default=3, help="failed calls that end a subtask")
    add.add_argument("--rewards", type=Path, help="YAML reward profile, shown to the chooser")
    add.add_argument("--seed", type=int, default=0, help="of the choices")


def orchestrator_of(
    args: argparse.Namespace,
    pool: LivePool,
    means: Means,
    workflows: Sequence[Workflow],
    log: Log | None,
) -> Orchestrator:
    """Returns the orchestrator that the arguments ask for.

    Args:
        args: of the command.
        pool: workers.
        means: call them.
        workflows: that instructions are looked up in, where no worker plans.
        log: of the executions; None = none.
    Raises:
        OrchestAIError: an argument is out of range, a worker unknown, or none serves a task type.
    """
    known, planner = _planning(args, pool, means, workflows)
    return Orchestrator(
        known,
        planner=planner,
        chooser=_chooser(args),
        means=means,
        log=log,
        settings=_settings(args),
    )


def _planning(
    args: argparse.Namespace, pool: LivePool, means: Means, workflows: Sequence[Workflow]
) -> tuple[Dataset, Planner]:
    """Returns what is known of the workers, and what plans: the worker of --planner, else a look.

    Args:
        args: of the command.
        pool: workers.
        means: call them.
        workflows: that instructions are looked up in, where no worker plans.
    Raises:
        OrchestAIError: a worker is unknown, or none serves some task type.
    """
    if args.planner is None:
        known = live_workflows(pool, workflows)
        return known, AnnotatedPlanner(workflows, known.task_types)
    if not args.task_types:
        raise ConfigError("--planner: expected --task_types, the vocabulary of its plans")
    place = tuple(Subtask(name=name, type=name) for name in args.task_types)
    known = live_workflows(
        pool, [Workflow(id="vocabulary", instruction="", subtasks=place, links=())], max_subtasks=20
    )
    return known, WorkerPlanner(means.caller.as_worker(args.planner), known.task_types)


def _settings(args: argparse.Namespace) -> OrchestratorSettings:
    """Returns the settings that the arguments give.

    Raises:
        ConfigError: one is out of range.
    """
    rules = {"max_attempts": args.max_attempts, "deadline_ms": 1000.0 * args.timeout_s}
    if args.workflow_budget_usd is not None:
        rules["cost_budget_usd"] = args.workflow_budget_usd
    given = {"rules": rules, "exploration": args.exploration, "seed": args.seed}
    given["weights"] = resolve_weights(args.rewards)
    return parse_settings(given, OrchestratorSettings, where="orchestai")


def _chooser(args: argparse.Namespace) -> Chooser:
    """Returns the chooser that --chooser names.

    Raises:
        ConfigError: there is no such chooser.
    """
    if args.chooser not in CHOOSERS:
        raise ConfigError("--chooser: " + unknown_name("chooser", args.chooser, CHOOSERS))
    return CHOOSERS[args.chooser]()
