"""Command: train, tune and compare all agents, on recorded or on built-in simulated data."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agents.benchmark.runs import Benchmark, quick_settings, run_benchmark
from agents.benchmark.suites import suite_names, suite_path
from agents.config import ExperimentSettings, load_experiment
from agents.experiment import with_benchmark_overrides
from orchestai_env.cli import run_command
from orchestai_env.errors import ConfigError, unknown_name

_OVERRIDES = ("engine", "num_seeds", "num_jobs")
"""Options that go before the setting of the same name."""


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line and runs the benchmark."""
    args = _parser().parse_args(argv)
    path = suite_path(args.suite) if args.suite else args.config
    config = load_experiment(path)
    if args.quick:
        config = quick_settings(config)
    benchmark = Benchmark(
        config=_overridden(config, args),
        config_path=path,
        output_dir=args.output_dir,
        foreign=tuple(args.agent),
    )
    run_benchmark(benchmark, args.data)
    print(f"report: {args.output_dir / 'report.html'}, summary: {args.output_dir / 'summary.json'}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m agents.benchmark", description=__doc__)
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--suite", metavar="NAME", help=f"fixed benchmark: {', '.join(suite_names())}"
    )
    what.add_argument("--config", type=Path, help="settings of another one (YAML)")
    add("--data", type=Path, help="folder of recorded outcomes, or of an imported data set")
    add("--output_dir", type=Path, required=True, help="runs and results; finished ones are kept")
    add("--quick", action="store_true", help="one seed, the main profile, fewer replicates")
    add("--engine", help="where it runs, local or ray, in place of benchmark.engine")
    add("--num_seeds", type=int, help="in place of benchmark.num_seeds")
    add("--num_jobs", type=int, help="in place of benchmark.num_jobs")
    add("--profile", help="compare under this one of benchmark.profiles only")
    add(
        "--agent",
        action="append",
        default=[],
        metavar="NAME=WHERE",
        help="one more agent: path.zip of an SB3 model, or package.module:factory(setting, seed); "
        "its results are kept until the zip changes, or code or weights beside the module do",
    )
    return parser


def _overridden(config: ExperimentSettings, args: argparse.Namespace) -> ExperimentSettings:
    """Returns the settings with those of the command line.

    Raises:
        ConfigError: one is out of range, or there is no such profile.
    """
    given: dict[str, Any] = {name: getattr(args, name) for name in _OVERRIDES}
    if args.profile is not None:
        profiles = config.benchmark.profiles
        if args.profile not in profiles:
            raise ConfigError(f"--profile: {unknown_name('profile', args.profile, profiles)}")
        given["profiles"] = {args.profile: profiles[args.profile]}
    return with_benchmark_overrides(config, given)


if __name__ == "__main__":
    run_command(main)
