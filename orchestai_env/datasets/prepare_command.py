"""`orchestai prepare`: training data and tables of recorded outcomes, out of an execution log."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from orchestai_env.datasets.logged_outcomes import IMPORT_SETTINGS
from orchestai_env.datasets.prepare import PrepareRequest, log_sizes, prepare
from orchestai_env.datasets.prepare_report import print_report, report_path
from orchestai_env.execution.extra import needs_extra


def add_prepare_command(commands: Any) -> None:
    """Adds the command to the subparsers of `orchestai`."""
    add = commands.add_parser("prepare", help="make training data of an execution log")
    add.add_argument("--logs", type=Path, required=True, help="folder of log files, or one file")
    add.add_argument("--output", type=Path, required=True, help=".json or .parquet to write")
    add.add_argument("--outcomes", type=Path, help="folder for tables of recorded outcomes")
    add.add_argument(
        "--deduplicate",
        action="store_true",
        help="keep only the newest execution of an instruction and plan",
    )
    add.add_argument(
        "--split",
        action="store_true",
        help="say of each example whether it is for train, validation or test",
    )
    add.add_argument("--skip-bad", action="store_true", help="leave bad lines out and list them")
    add.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    request = PrepareRequest(
        logs=args.logs,
        output=args.output,
        outcomes=args.outcomes,
        deduplicate=args.deduplicate,
        split=args.split,
        skip_bad=args.skip_bad,
    )
    with needs_extra("data", what="progress bars and tables"):
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn
    columns = (
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )
    console, total = Console(stderr=True), sum(log_sizes(args.logs).values())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        bar = progress.add_task("", total=total)

        def show(num_bytes: int, executions: int) -> None:
            writing = ", writing" if num_bytes >= total else ""
            words = f"{executions:,} executions{writing}"
            progress.update(bar, completed=num_bytes, description=words)

        report = prepare(request, on_progress=show)
    print_report(report, report_path(args.output))
    if report.calls:
        print(
            "import the outcomes with: orchestai import-recorded --config "
            f"{args.outcomes / IMPORT_SETTINGS} --data {args.outcomes} --output_dir DIR"
        )
