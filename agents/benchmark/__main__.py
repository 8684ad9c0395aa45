"""Command: train, tune and compare all agents, on recorded or on built-in simulated data."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from agents.benchmark.runs import Benchmark, quick_settings, run_benchmark
from agents.config import load_experiment
from orchestai_env.cli import run_command


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line and runs the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m agents.benchmark", description=__doc__)
    add = parser.add_argument
    add("--config", type=Path, required=True, help="settings (YAML)")
    add("--data", type=Path, help="folder of recorded outcomes, or of an imported data set")
    add("--output_dir", type=Path, required=True, help="runs and results; finished ones are kept")
    add("--quick", action="store_true", help="one seed, the main profile, fewer replicates")
    add(
        "--agent",
        action="append",
        default=[],
        metavar="NAME=WHERE",
        help="one more agent: path.zip of an SB3 PPO, or package.module:factory(setting, seed)",
    )
    args = parser.parse_args(argv)
    config = load_experiment(args.config)
    benchmark = Benchmark(
        config=quick_settings(config) if args.quick else config,
        config_path=args.config,
        output_dir=args.output_dir,
        foreign=tuple(args.agent),
    )
    run_benchmark(benchmark, args.data)
    print(f"report: {args.output_dir / 'report.md'}, summary: {args.output_dir / 'summary.json'}")


if __name__ == "__main__":
    run_command(main)
