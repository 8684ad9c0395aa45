"""Measures how long `orchestai calibrate` takes, phase by phase, beside a bare read of the log.

Run it with `python -m benchmarks.calibrate`. A log of a known simulator (the built-in workers,
random choices) is made first; `--log` keeps it for further runs. A bare read parses every line as
JSON and does nothing with it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.timing import print_machine, print_table
from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.datasets.calibration.calibrate import calibrate
from orchestai_env.datasets.calibration.fit import fit_pool
from orchestai_env.datasets.calibration.log_table import LogTable, log_table
from orchestai_env.execution.log.log_reading import read_log
from orchestai_env.outcomes.simulated import SimulationSettings
from tests.orchestai_env.datasets.calibration.played_log import played_records

EXECUTIONS = 100_000
_CHUNK = 5000
TRUTH = SimulationSettings(load_slowdown=0.2)


def make_log(path: Path, executions: int) -> None:
    """Plays executions of the built-in data set and writes their log."""
    dataset = builtin_dataset(simulation=TRUTH)
    with path.open("w", encoding="utf-8") as file:
        for seed, first in enumerate(range(0, executions, _CHUNK)):
            count = min(_CHUNK, executions - first)
            for record in played_records(dataset, count, seed=seed):
                file.write(record.model_dump_json() + "\n")


def bare_read(path: Path) -> int:
    """Parses every line of a log; returns how many there are."""
    with path.open("rb") as file:
        return sum(1 for line in file if json.loads(line))


def measure(path: Path) -> list[tuple[str, float]]:
    """Returns the seconds of every phase, the bare read first."""
    found: list[tuple[str, float]] = []

    def timed(name: str, run: Callable[[], object]) -> object:
        begun = time.perf_counter()
        result = run()
        found.append((name, time.perf_counter() - begun))
        return result

    timed("bare read", lambda: bare_read(path))
    log = timed("read", lambda: log_table(read_log(path)))
    assert isinstance(log, LogTable)
    timed("fit", lambda: fit_pool(log))
    timed("fit to four fifths, and check on the rest", lambda: calibrate(log))
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Prints a table of phases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executions", type=int, default=EXECUTIONS, help="of the log")
    parser.add_argument("--log", type=Path, help="file of the log; made where it is not there")
    args = parser.parse_args(argv)
    print_machine("scipy")
    with tempfile.TemporaryDirectory() as folder:
        path = args.log or Path(folder) / "log.jsonl"
        if not path.exists():
            make_log(path, args.executions)
        size = path.stat().st_size / 1e6
        found = measure(path)
    bare = found[0][1]
    rows = [(name, f"{seconds:.2f}", f"{seconds / bare:.2f}") for name, seconds in found]
    whole = found[1][1] + found[2][1]
    rows.append(("read and fit", f"{whole:.2f}", f"{whole / bare:.2f}"))
    print_table(("phase", "seconds", "by a bare read"), rows)
    print(f"a log of {size:,.0f} MB")


if __name__ == "__main__":
    main()
