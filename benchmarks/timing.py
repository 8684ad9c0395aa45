"""Timing on machines whose speed drifts: everything is measured in turn, beside one reference.

A time on a shared machine says little, and a ratio of two times taken minutes apart hardly more.
So each measurement stands between two of the reference, and the ratio to their mean is what counts:
its median over several rounds, with the smallest and the largest beside it. The same by the time
that the process was on a core, summed over its threads, leaves out waiting for one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

ROUNDS = 7
SECONDS = 0.2
"""Length that one measurement aims at [s]."""
_KIB = 1024


@dataclasses.dataclass(frozen=True)
class Case:
    """Something that steps environments."""

    cells: tuple[str, ...]
    """What it is, as the first cells of its row in the table."""
    run: Callable[[int], object]
    """Makes that many calls, going on where the last run stopped."""
    steps_per_call: int = 1


RESULT_COLUMNS = ("steps/s", "ratio", "min", "max", "by CPU time", "min", "max")
"""What `Measured.row` puts behind the cells of the case."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """A case with what every round gave."""

    case: Case
    rates: list[float] = dataclasses.field(default_factory=list)
    """Steps per second."""
    ratios: list[float] = dataclasses.field(default_factory=list)
    """Rate by that of the reference just before and after."""
    cpu_ratios: list[float] = dataclasses.field(default_factory=list)
    """Likewise by the CPU time of the process."""

    @property
    def row(self) -> tuple[str, ...]:
        """Cells of the table: those of the case, median rate, both ratios (median, min, max)."""
        rate = f"{statistics.median(self.rates):,.0f}"
        return (*self.case.cells, rate, *spread(self.ratios), *spread(self.cpu_ratios))


def measure(
    reference: Case, cases: Sequence[Case], *, rounds: int = ROUNDS, seconds: float = SECONDS
) -> list[Measured]:
    """Measures the reference and all cases in turn, after a run of each that is not counted.

    Args:
        reference: what every rate is divided by; the first of the result.
        cases: the rest of the result, in this order.
        rounds: measurements of each case.
        seconds: length that one measurement aims at [s].
    """
    calls = {id(case): calls_in(case.run, seconds) for case in (reference, *cases)}

    def rates(case: Case) -> tuple[float, float]:
        """Returns steps per second and steps per second of CPU time."""
        count, on_cpu = calls[id(case)], time.process_time()
        steps, wall = count * case.steps_per_call, seconds_of(case.run, count)
        return steps / wall, steps / (time.process_time() - on_cpu)

    found = [Measured(case) for case in (reference, *cases)]
    for _ in range(rounds):
        before = rates(reference)
        for measured in found:
            rate, cpu_rate = rates(measured.case)
            after = rates(reference)
            measured.rates.append(rate)
            measured.ratios.append(2.0 * rate / (before[0] + after[0]))
            measured.cpu_ratios.append(2.0 * cpu_rate / (before[1] + after[1]))
            before = after
    return found


def seconds_of(run: Callable[[int], object], count: int) -> float:
    """Returns the time [s] of `count` calls."""
    start = time.perf_counter()
    run(count)
    return time.perf_counter() - start


def calls_in(run: Callable[[int], object], seconds: float) -> int:
    """Returns about how many calls take so long, at least 1; makes some, so that all is warm."""
    run(1)
    count = 1
    while True:
        taken = seconds_of(run, count)
        if taken >= seconds / 4.0:
            return max(1, round(count * seconds / taken))
        count *= 4


def spread(values: Sequence[float], digits: int = 2) -> tuple[str, str, str]:
    """Returns median, min and max as cells of a table."""
    shown = (statistics.median(values), min(values), max(values))
    return f"{shown[0]:.{digits}f}", f"{shown[1]:.{digits}f}", f"{shown[2]:.{digits}f}"


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, texts: int = 1) -> None:
    """Prints a Markdown table whose first `texts` columns are text and the others numbers."""
    marks = ["---"] * texts + ["--:"] * (len(header) - texts)
    for cells in (header, marks, *rows):
        print("| " + " | ".join(cells) + " |")
    print(flush=True)


def print_machine(*packages: str) -> None:
    """Prints one line: the day, the machine, the versions of Python and of installed packages."""
    versions = []
    for name in ("numpy", "numba", "gymnasium", *packages):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions.append(f"{name} {metadata.version(name)}")
    today = datetime.datetime.now(datetime.UTC).date()
    print(
        f"{today}, {num_cores()} cores of {_processor()}, {platform.system()}, "
        f"Python {platform.python_version()}, {', '.join(versions)}\n",
        flush=True,
    )


def num_cores() -> int:
    """Returns how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def resident_mib() -> float:
    """Returns the memory that the process holds [MiB]; its peak where the system tells no more."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * resource.getpagesize() / _KIB**2
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (_KIB**2 if sys.platform == "darwin" else _KIB)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
