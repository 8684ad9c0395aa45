"""`orchestai convert`: reads a public format, writes recorded outcomes and workflows."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from orchestai_env.datasets.importers.conversion import (
    LEFT_OUT,
    SETTINGS,
    Converted,
    ConvertSettings,
    convert,
)
from orchestai_env.datasets.importers.formats import FORMATS
from orchestai_env.datasets.recorded_import import PLANNING
from orchestai_env.errors import ConfigError, unknown_name
from orchestai_env.execution.extra import needs_extra


def add_convert_command(commands: Any) -> None:
    """Adds the command to the subparsers of `orchestai`."""
    add = commands.add_parser(
        "convert", help="turn a public format into recorded outcomes and workflows"
    )
    add.add_argument("format", metavar="FORMAT", help=f"one of {', '.join(FORMATS)}")
    add.add_argument(
        "inputs", metavar="INPUT", nargs="+", type=Path, help="files; for agbench their folder"
    )
    add.add_argument(
        "--output_dir",
        type=Path,
        required=True,
        help="folder of sources to write to, the --data of import-recorded",
    )
    add.add_argument("--name", help="name of the source there; the format's without it")
    add.add_argument("--source", help="where the inputs were published, noted in the provenance")
    add.add_argument("--license", help="their licence, noted likewise")
    add.add_argument(
        "--skip-bad", action="store_true", help="list bad lines and leave them out, go on"
    )
    add.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    if args.format not in FORMATS:
        raise ConfigError(unknown_name("format", args.format, FORMATS))
    settings = ConvertSettings(
        inputs=tuple(args.inputs),
        output_dir=args.output_dir,
        name=args.format if args.name is None else args.name,
        skip_bad=args.skip_bad,
        source=args.source,
        license=args.license,
    )
    with needs_extra("data", what="progress bars and tables"):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    hidden = not console.is_terminal  # a log needs no bar
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        bars: dict[Path, TaskID] = {}

        def tell(path: Path, done: int, total: int) -> None:
            bar = bars.get(path)
            if bar is None:
                bar = bars[path] = progress.add_task(path.name, total=total)
            progress.update(bar, completed=done)

        converted = convert(args.format, FORMATS[args.format], settings, tell)
    _show(converted, settings)


def _show(converted: Converted, settings: ConvertSettings) -> None:
    """Prints what was read and what to do with it."""
    print(_summary(converted))
    if converted.num_calls:
        _show_workers(converted)
    for note in converted.notes:
        print(f"- {note}")
    if converted.num_left_out:
        path = converted.output / LEFT_OUT
        print(f"- {converted.num_left_out:,} bad lines were left out, all listed in {path}:")
        for line in converted.first_left_out:
            print(f"    {line}")
    print(f"written: {converted.output}")
    if converted.num_workflows:
        print(f"written: {settings.output_dir / PLANNING / settings.name}.jsonl.gz")
    if converted.num_calls:
        print(
            f"next: orchestai import-recorded --config {converted.output / SETTINGS} "
            f"--data {settings.output_dir} --output_dir FOLDER"
        )


def _summary(converted: Converted) -> str:
    parts = []
    if converted.num_calls:
        parts += [
            f"{converted.num_queries:,} queries",
            f"{converted.num_calls:,} calls",
            f"{len(converted.workers):,} workers",
        ]
    parts.append(f"{len(converted.task_types):,} task types")
    if converted.num_workflows:
        parts.append(f"{converted.num_workflows:,} workflows")
    return f"{converted.format}: " + ", ".join(parts)


def _show_workers(converted: Converted) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD)
    table.add_column("worker")
    for title in ("calls", "mean score", "with cost", "with latency", "of which cut"):
        table.add_column(title, justify="right")
    for worker, counts in sorted(converted.workers.items()):
        table.add_row(
            escape(worker),
            f"{counts.num_calls:,}",
            f"{counts.total_score / counts.num_calls:.3f}",
            f"{counts.num_costs:,}",
            f"{counts.num_latencies:,}",
            f"{counts.num_cut:,}",
        )
    Console().print(table)
