"""`orchestai export-minari`: turns an execution log into a Minari data set."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from orchestai_env.arguments import resolve_weights
from orchestai_env.datasets.importers.conversion import LEFT_OUT
from orchestai_env.datasets.importers.minari_export import (
    Exported,
    ExportSettings,
    export_minari,
)
from orchestai_env.execution.extra import needs_extra
from orchestai_env.execution.workers.worker_settings import load_workers
from orchestai_env.rules import EpisodeRules
from orchestai_env.settings import load_yaml


def add_export_minari_command(commands: Any) -> None:
    """Adds the command to the subparsers of `orchestai`."""
    add = commands.add_parser(
        "export-minari", help="turn logged executions into a Minari data set for offline RL"
    )
    add.add_argument("--logs", type=Path, required=True, help="folder of the execution log")
    add.add_argument(
        "--dataset_id",
        required=True,
        help="its Minari name, such as mine/workflows-v0; it lands in MINARI_DATASETS_PATH",
    )
    add.add_argument("--workers", type=Path, help="YAML of the workers; else those of the log")
    add.add_argument(
        "--rules",
        type=Path,
        help="YAML of the episode rules of lines that do not hold theirs; else the defaults",
    )
    add.add_argument("--rewards", type=Path, help="YAML reward profile; else the literal formula")
    add.add_argument("--author", help="noted in the data set")
    add.add_argument(
        "--skip-bad",
        action="store_true",
        help="list lines and executions that cannot be played again, leave them out, go on",
    )
    add.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    settings = ExportSettings(
        dataset_id=args.dataset_id,
        rules=EpisodeRules() if args.rules is None else load_yaml(args.rules, EpisodeRules),
        weights=resolve_weights(args.rewards),
        pool=None if args.workers is None else load_workers(args.workers).pool(),
        author=args.author,
        skip_bad=args.skip_bad,
    )
    with needs_extra("data", what="progress bars and tables"):
        from rich.console import Console
        from rich.progress import Progress
    console = Console(stderr=True)
    hidden = not console.is_terminal  # a log needs no bar
    with Progress(console=console, transient=True, disable=hidden) as progress:
        bar = progress.add_task("executions", total=None)
        exported = export_minari(
            args.logs,
            settings,
            lambda done, total: progress.update(bar, completed=done, total=total),
        )
    _show(exported, args.dataset_id)


def _show(exported: Exported, dataset_id: str) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD)
    for title in ("episodes", "steps", "with propensities", "succeeded", "mean return"):
        table.add_column(title, justify="right")
    table.add_row(
        f"{exported.num_episodes:,}",
        f"{exported.num_steps:,}",
        f"{exported.num_with_propensities:,}",
        f"{exported.num_successes / exported.num_episodes:.3f}",
        f"{exported.total_return / exported.num_episodes:.3f}",
    )
    Console().print(table)
    print(f"actions: {', '.join(exported.workers)}")
    if exported.num_interrupted:
        print(f"{exported.num_interrupted:,} interrupted executions were left out")
    if exported.num_undecided:
        print(f"{exported.num_undecided:,} executions without a decision were left out")
    if exported.num_left_out:
        path = exported.path / LEFT_OUT
        print(f"{exported.num_left_out:,} were left out, all listed in {path}:")
        for line in exported.first_left_out:
            print(f"    {line}")
    print(f"written: {exported.path}; read it with minari.load_dataset({dataset_id!r})")
