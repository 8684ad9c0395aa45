"""The command line: `orchestai ...`, and how every command of the project ends."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pydantic

from orchestai_env.datasets.calibrate_command import add_calibrate_command
from orchestai_env.datasets.importers.convert_command import add_convert_command
from orchestai_env.datasets.importers.export_minari_command import add_export_minari_command
from orchestai_env.datasets.prepare_command import add_prepare_command
from orchestai_env.datasets.recorded_import import describe_import, import_recorded
from orchestai_env.datasets.recorded_settings import RecordedSourceSettings
from orchestai_env.errors import OrchestAIError
from orchestai_env.execution.collection.collect_command import add_collect_command
from orchestai_env.execution.run_command import add_run_command
from orchestai_env.render_command import add_render_command
from orchestai_env.settings import load_yaml
from orchestai_env.workers import WorkerPool


def run_command(command: Callable[[], None]) -> None:
    """Runs a command; an error of ours or of the system becomes one line and exit code 2.

    Ctrl-C becomes one line and 130; a command that saves says so in its KeyboardInterrupt.
    """
    try:
        command()
    except OrchestAIError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:  # a full disk or a forbidden folder, wherever it is met
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as stop:
        print(str(stop) or "interrupted", file=sys.stderr)
        sys.exit(130)


class _ImportSettings(pydantic.BaseModel):
    """The part of an experiment's settings that an import reads; other keys are left alone."""

    source: RecordedSourceSettings
    worker_models: WorkerPool


def main(argv: Sequence[str] | None = None) -> None:
    """Runs `orchestai COMMAND`."""
    run_command(lambda: _dispatch(argv))


def _dispatch(argv: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(
        prog="orchestai", description="Choose which worker to call for each step of a workflow."
    )
    commands = parser.add_subparsers(title="commands", required=True)
    add = commands.add_parser(
        "import-recorded", help="compose workflows of recorded outcomes and write a data set folder"
    )
    add.add_argument("--config", type=Path, required=True, help="YAML with source, worker_models")
    add.add_argument("--data", type=Path, required=True, help="folder of recorded outcomes")
    add.add_argument("--output_dir", type=Path, required=True, help="data set folder to write")
    add.set_defaults(run=_import_recorded)
    add_run_command(commands)
    add_collect_command(commands)
    add_prepare_command(commands)
    add_calibrate_command(commands)
    add_convert_command(commands)
    add_export_minari_command(commands)
    add_render_command(commands)
    args = parser.parse_args(argv)
    args.run(args)


def _import_recorded(args: argparse.Namespace) -> None:
    settings = load_yaml(args.config, _ImportSettings)
    folder = import_recorded(args.data, settings.source, settings.worker_models, args.output_dir)
    print(describe_import(folder))
