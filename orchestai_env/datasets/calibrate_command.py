"""`orchestai calibrate`: a simulator of the workers in an execution log, and how well it fits."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from orchestai_env.datasets.calibration.calibrate import STEPS, Calibration, calibrate
from orchestai_env.datasets.calibration.log_table import log_table
from orchestai_env.datasets.calibration.report import PAGE, write_report
from orchestai_env.datasets.calibration.simulated_pool import write_simulated_pool
from orchestai_env.errors import ConfigError
from orchestai_env.execution.extra import needs_extra
from orchestai_env.execution.log.log_reading import LogReader, read_log

_MOST_LISTED = 20


def add_calibrate_command(commands: Any) -> None:
    """Adds the command to the subparsers of `orchestai`."""
    add = commands.add_parser("calibrate", help="fit the simulator to an execution log")
    add.add_argument("--logs", type=Path, required=True, help="folder of log files, or one file")
    add.add_argument("--output", type=Path, required=True, help="YAML of the fitted pool to write")
    add.add_argument(
        "--report", type=Path, help="folder of the report; OUTPUT_report beside the output without"
    )
    add.add_argument(
        "--held_out",
        type=float,
        default=0.2,
        help="share of the instructions that only check the fit",
    )
    add.add_argument("--seed", type=int, default=0, help="seed of the simulated episodes")
    add.add_argument("--skip-bad", action="store_true", help="leave bad lines out and list them")
    add.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    _check(args)
    with needs_extra("data", what="calibrations"):
        from rich.console import Console
        from rich.progress import Progress
    folder = args.report or args.output.with_name(f"{args.output.stem}_report")
    reader = read_log(args.logs, skip_bad=args.skip_bad)
    terminal = Console(stderr=True)
    bars = Progress(console=terminal, transient=True, disable=not terminal.is_terminal)
    with bars as progress:
        bar = progress.add_task("reading", total=None)
        log = log_table(progress.track(reader, task_id=bar))
        for needed in (args.output.parent, folder):  # a forbidden one is met before the fit
            needed.mkdir(parents=True, exist_ok=True)
        progress.update(bar, description="fitting", completed=0, total=STEPS)
        found = calibrate(
            log,
            held_out=args.held_out,
            seed=args.seed,
            on_step=lambda: progress.advance(bar),
        )
    write_simulated_pool(args.output, found.fitted.pool)
    write_report(found, folder)
    _print_rejected(reader)
    _print(found, Console())
    print(f"{args.output}: {len(found.fitted.pool.workers)} workers; {folder / PAGE}: how they fit")


def _check(args: argparse.Namespace) -> None:
    """Checks what would otherwise fail after the fit.

    Raises:
        ConfigError: an output that is no YAML file, a report that is a file, or a seed below 0.
    """
    if args.output.suffix not in (".yaml", ".yml") or args.output.is_dir():
        raise ConfigError(f"--output: expected a .yaml file to write, got {args.output}")
    if args.report is not None and args.report.exists() and not args.report.is_dir():
        raise ConfigError(f"--report: expected a folder, got the file {args.report}; name another")
    if args.seed < 0:
        raise ConfigError(f"--seed: expected a whole number >= 0, got {args.seed}")


def _print_rejected(reader: LogReader) -> None:
    """Lists the lines that were left out."""
    for file, line, reason in reader.rejected[:_MOST_LISTED]:
        print(f"left out {file}:{line}: {reason}")
    more = reader.num_rejected - min(len(reader.rejected), _MOST_LISTED)
    if more:
        print(f"left out {more} more lines")


def _print(found: Calibration, console: Any) -> None:
    """Prints the shared parameters, and how the simulator does on held-out executions."""
    from rich.table import Table

    table = Table(title=f"fitted to {found.fitted.num_calls:,} calls")
    for name in ("parameter", "value", "95 % interval"):
        table.add_column(name, justify="left" if name == "parameter" else "right")
    for name, one in found.fitted.shared.items():
        shown = one.note or f"{one.low:.3f} to {one.high:.3f}"
        table.add_row(name, f"{one.value:.3f}", shown)
    console.print(table)
    if found.comparison is None or found.reliability is None:
        console.print("nothing was held out that the simulator can play")
        return
    row = found.comparison.executions
    table = Table(title=f"{row.count:,} held-out executions, played again")
    for name in ("", "logged", "95 % interval", "simulated"):
        table.add_column(name, justify="right" if name else "left")
    for name, measure, factor in (
        ("success", row.success, 1.0),
        (r"cost \[USD]", row.cost_usd, 1.0),
        (r"makespan \[s]", row.makespan_ms, 1e-3),
        (r"wait of a call \[s]", found.comparison.wait_ms, 1e-3),
        (r"makespan without waits \[s]", found.comparison.chain_ms, 1e-3),
    ):
        cells = (measure.logged, measure.low, measure.high, measure.simulated)
        logged, low, high, simulated = (f"{factor * cell:.4g}" for cell in cells)
        table.add_row(name, logged, f"{low} to {high}", simulated)
    console.print(table)
    console.print(
        f"success of {found.reliability.num_calls:,} held-out calls: expected calibration error "
        f"{found.reliability.calibration_error:.3f}, {found.reliability.chance_error:.3f} if the "
        "predictions were exact"
    )
