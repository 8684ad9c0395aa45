"""What the commands with real workers ask for on their command lines."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestai_env.arguments import resolve_weights
from orchestai_env.dataset import Dataset
from orchestai_env.datasets.folder import DESCRIPTION
from orchestai_env.errors import ConfigError, unknown_name
from orchestai_env.execution.chooser import CHOOSERS
from orchestai_env.execution.execution import Means
from orchestai_env.execution.live_setup import known_workers, live_vocabulary, live_workflows
from orchestai_env.execution.log.execution_log import ExecutionLogger
from orchestai_env.execution.log.redaction import load_redaction
from orchestai_env.execution.log.shared_writes import Log
from orchestai_env.execution.orchestrator import (
    TIMEOUT_MS,
    Orchestrator,
    OrchestratorSettings,
)
from orchestai_env.execution.trained_files import (
    TrainedChooser,
    content_name,
    read_trained,
    suffixes,
)
from orchestai_env.execution.worker_planner import WorkerPlanner
from orchestai_env.execution.workers.worker_settings import LivePool
from orchestai_env.planning.annotated import AnnotatedPlanner
from orchestai_env.planning.planner import Planner
from orchestai_env.settings import parse_settings
from orchestai_env.workflow import Workflow

_MAX_PLANNED = 20
"""Largest plan [subtasks], where the chooser does not say; chosen: the planners' default."""


def add_live_arguments(add: argparse.ArgumentParser) -> None:
    """Adds what every command with real workers asks for."""
    add.add_argument("--workers", type=Path, required=True, help="YAML file of workers")
    add.add_argument("--workflows", type=Path, help="JSONL of known workflows to plan by")
    add.add_argument(
        "--planner", help="worker that plans, or file of a trained planner (phase1_best.pth)"
    )
    add.add_argument(
        "--task_types", nargs="+", help="vocabulary of a planning worker; that of --known without"
    )
    add.add_argument("--checks", type=Path, help="YAML file of success checks")
    add.add_argument(
        "--chooser",
        default="greedy",
        help=f"{', '.join(CHOOSERS)}, or file of a trained one (phase2_best.zip, phase1_best.pth); "
        "default: %(default)s",
    )
    add.add_argument(
        "--sample", action="store_true", help="draw by a trained chooser's probabilities"
    )
    add.add_argument(
        "--known",
        type=Path,
        help="what is known of the workers: YAML of `orchestai calibrate`, or an imported data set",
    )
    add.add_argument(
        "--exploration", type=float, default=0.0, help="share of random choices; default: none"
    )
    add.add_argument(
        "--budget_usd", type=float, help="most that all calls may cost, planning and judging too"
    )
    add.add_argument(
        "--workflow_budget_usd",
        type=float,
        help="most that the calls of one workflow may cost, planning and judging aside",
    )
    add.add_argument("--timeout_s", type=float, help="longest time of a workflow; 300 without")
    add.add_argument("--max_attempts", type=int, help="failed calls that end a subtask; 3 without")
    add.add_argument(
        "--rewards",
        type=Path,
        help="YAML reward profile, shown to the chooser; default: that of a trained chooser, else "
        "the literal weights, under which a second outweighs any price",
    )
    add.add_argument("--seed", type=int, default=0, help="of the choices")
    add.add_argument("--redaction", type=Path, help="YAML file of texts that the log must not hold")


def logger_of(args: argparse.Namespace, folder: Path) -> ExecutionLogger:
    """Returns the log of a folder, without the texts that the arguments keep out of it.

    Raises:
        OrchestAIError: the file of --redaction is wrong, or the folder cannot be written to.
    """
    redaction = None if args.redaction is None else load_redaction(args.redaction)
    return ExecutionLogger(folder, redaction=redaction)


def contents(args: argparse.Namespace) -> dict[str, str]:
    """Returns name and hash of the files behind --chooser, --planner and --known, by option.

    A file that is trained anew decides otherwise under the same name.
    """
    found = {}
    for option in ("chooser", "planner", "known"):
        path = Path(getattr(args, option) or "")
        path = path / DESCRIPTION if path.name and path.is_dir() else path
        if path.is_file():
            found[option] = content_name(path)
    return found


def orchestrator_of(
    args: argparse.Namespace,
    pool: LivePool,
    means: Means,
    workflows: Sequence[Workflow],
    log: Log | None,
) -> Orchestrator:
    """Returns the orchestrator that the arguments ask for, warmed up.

    Args:
        args: of the command.
        pool: workers.
        means: call them.
        workflows: that instructions are looked up in, where nothing else plans.
        log: of the executions; None = none.
    Raises:
        OrchestAIError: an argument is out of range, a worker unknown, a file no good, or none
            serves a task type.
    """
    trained = _trained_chooser(args)
    known, planner = _planning(args, pool, means, workflows, trained)
    if trained is None:
        chooser = CHOOSERS[args.chooser]()
    else:
        chooser = trained.build(known, args.sample)
    orchestrator = Orchestrator(
        known,
        planner=planner,
        chooser=chooser,
        means=means,
        log=log,
        settings=_settings(args, trained),
    )
    orchestrator.warm_up()
    return orchestrator


def _trained_chooser(args: argparse.Namespace) -> TrainedChooser | None:
    """Returns the chooser of the file that --chooser names; None where it names a built-in one.

    Raises:
        ConfigError: there is no such chooser, or something is missing beside it.
        OrchestAIError: the file is missing, or cannot be read.
    """
    if args.chooser in CHOOSERS:
        if args.sample:
            raise ConfigError(
                f"--sample: expected the file of a trained chooser, got the rule "
                f"{args.chooser!r}; use --exploration with it"
            )
        return None
    path = Path(args.chooser)
    if not path.suffix:
        raise ConfigError(
            f"--chooser: {unknown_name('chooser', args.chooser, CHOOSERS)}; or name the file of a "
            "trained one, such as phase2_best.zip"
        )
    trained: TrainedChooser = read_trained("choosers", path, option="--chooser")
    if args.known is None:
        raise ConfigError(
            f"--chooser {path}: expected --known, since it was trained to read what is known of "
            "the workers; give the file of `orchestai calibrate` or the data set it was trained on"
        )
    return trained


def _planning(
    args: argparse.Namespace,
    pool: LivePool,
    means: Means,
    workflows: Sequence[Workflow],
    trained: TrainedChooser | None,
) -> tuple[Dataset, Planner]:
    """Returns what is known of the workers, and what plans.

    That is the worker or the file of --planner; without it instructions are looked up.

    Args:
        args: of the command.
        pool: workers.
        means: call them.
        workflows: that instructions are looked up in, where nothing else plans.
        trained: chooser that may read workflows up to a certain size only.
    Raises:
        OrchestAIError: a worker is unknown, a file no good, or none serves some task type.
    """
    known = None if args.known is None else known_workers(args.known)
    size = None if trained is None else trained.max_subtasks
    if args.planner is None:
        _check_sizes(args, workflows, size)
        data = live_workflows(pool, workflows, known, max_subtasks=size or 1)
        return data, AnnotatedPlanner(workflows, data.task_types)
    stored = _stored_planner(args, pool)
    if stored is not None:
        types: Sequence[str] = stored.task_types
    else:
        types = args.task_types or (() if known is None else known.task_types)
    if not types:
        raise ConfigError("--planner: expected --task_types, the vocabulary of its plans")
    data = live_vocabulary(pool, types, known, max_subtasks=size or _MAX_PLANNED)
    return data, stored or WorkerPlanner(means.caller.as_worker(args.planner), tuple(types))


def _check_sizes(
    args: argparse.Namespace, workflows: Sequence[Workflow], max_subtasks: int | None
) -> None:
    """Refuses workflows that are too long for a chooser.

    Raises:
        ConfigError: one is.
    """
    for workflow in workflows if max_subtasks is not None else ():
        if len(workflow.subtasks) > (max_subtasks or 0):
            raise ConfigError(
                f"--chooser {args.chooser}: reads workflows of at most {max_subtasks} subtasks, "
                f"and {workflow.id!r} has {len(workflow.subtasks)}; train one with a larger "
                "planner.max_subtasks"
            )


def _stored_planner(args: argparse.Namespace, pool: LivePool) -> Planner | None:
    """Returns the planner of the file that --planner names; None where it names a worker.

    Raises:
        ConfigError: it is neither.
        OrchestAIError: the file is missing, or cannot be read.
    """
    names = [spec.name for spec in pool.specs]
    if args.planner in names:
        return None
    path = Path(args.planner)
    if path.suffix not in suffixes("planners") and not path.is_file():
        raise ConfigError(
            f"--planner: {unknown_name('worker', args.planner, names)}; or name the file of a "
            "trained planner, such as phase1_best.pth"
        )
    planner: Planner = read_trained("planners", path, option="--planner")
    return planner


def _settings(args: argparse.Namespace, trained: TrainedChooser | None) -> OrchestratorSettings:
    """Returns the settings that the arguments give, and where they do not those of the training.

    Raises:
        ConfigError: one is out of range.
    """
    rules: dict[str, Any] = {"deadline_ms": TIMEOUT_MS}
    weights = resolve_weights(args.rewards)
    if trained is not None:
        rules |= trained.rules
        if args.rewards is None and trained.weights is not None:
            weights = trained.weights
    given = {"max_attempts": args.max_attempts, "cost_budget_usd": args.workflow_budget_usd}
    if args.timeout_s is not None:
        given["deadline_ms"] = 1000.0 * args.timeout_s
    rules |= {name: value for name, value in given.items() if value is not None}
    settings = {"exploration": args.exploration, "seed": args.seed, "weights": weights}
    return parse_settings({"rules": rules, **settings}, OrchestratorSettings, where="orchestai")
