"""Measures speed and memory of `orchestai prepare` on execution logs of made-up executions.

Run it with `python -m benchmarks.prepare`. Every figure comes from a fresh process on one core.
Rates are shown beside those of reading the same file and of taking its lines through json.loads.
The first size is measured several times, in turn; the others, where memory is what matters, once.
`--mb 5000 --rounds 1` takes 15 GB of disk and some ten minutes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.timing import print_machine, print_table, spread

ROUNDS = 3
SIZES_MB = (50, 400)
_DIFFERENT = 2_000  # lines that are made; they are repeated with other ids and texts
_WORKERS = ("gpt-4o-mini", "claude-haiku", "llama-3-8b", "qwen-72b")
_TYPES = ("summary", "translation", "code", "math")
_DISK_PER_BYTE = 3.0  # of a log: itself, and at most twice its size of what is made of it
_MARK = "000000000"  # stands where lines that are alike differ

_READ = """
with open(log, "rb") as file:
    while file.read(1 << 20):
        pass
"""
_LOADS = """
with open(log, "rb") as file:
    for line in file:
        json.loads(line)
"""
_PREPARE = """
prepare(PrepareRequest(logs=log, output=folder / "data{suffix}"{options}))
"""
_PROGRAM = """
import json, resource, time
from pathlib import Path
from orchestai_env.datasets.prepare import PrepareRequest, prepare
log, folder = Path({log!r}), Path({folder!r})
wall, cpu = time.perf_counter(), time.process_time()
{body}
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu, peak]))
"""
CASES = {
    "bare read": _READ,
    "json.loads of every line": _LOADS,
    "prepare": _PREPARE.format(suffix=".json", options=""),
    "prepare --deduplicate --split": _PREPARE.format(
        suffix=".json", options=", deduplicate=True, split=True"
    ),
    "prepare to Parquet": _PREPARE.format(suffix=".parquet", options=""),
    "prepare --outcomes": _PREPARE.format(suffix=".json", options=', outcomes=folder / "outcomes"'),
}


@dataclasses.dataclass(frozen=True)
class Run:
    """One process over one log."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    """Peak of its resident memory, imports included [MB]."""


def run(body: str, log: Path) -> Run:
    """Runs a program over a log in a fresh process that may use one core."""
    with tempfile.TemporaryDirectory(dir=log.parent) as folder:
        program = _PROGRAM.format(log=str(log), folder=folder, body=body)
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
    wall_s, cpu_s, peak = json.loads(done.stdout)
    return Run(wall_s, cpu_s, peak * (1e-6 if sys.platform == "darwin" else 1.024e-3))


def write_log(path: Path, num_bytes: int) -> None:
    """Writes a log of about that size; no two executions are equal, and equal calls give it again.

    Lines have 2 to 6 KB: workflows of 2 to 5 subtasks, every fourth call fails and is repeated.
    """
    rng = random.Random(0)
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 10))) for _ in range(3_000)]
    lines = [json.dumps(_execution(rng, words)).encode() for _ in range(_DIFFERENT)]
    mark, written, number = _MARK.encode(), 0, 0
    with path.open("wb") as file:
        while written < num_bytes:
            line = lines[number % _DIFFERENT].replace(mark, b"%09d" % (number + 1))
            written += file.write(line + b"\n")
            number += 1


def _execution(rng: random.Random, words: Sequence[str]) -> dict[str, Any]:
    size = rng.randint(2, 5)
    types = rng.choices(_TYPES, k=size)
    calls = [call for i in range(size) for call in _calls(rng, i)]
    cost, latency_ms = sum(call["cost"] for call in calls), max(call["end_ms"] for call in calls)

    def text(least: int, most: int) -> str:
        return " ".join(rng.choices(words, k=rng.randint(least, most)))

    subtasks = []
    for i, kind in enumerate(types):
        own = [call for call in calls if call["subtask"] == i]
        start_ms, end_ms = own[0]["start_ms"], own[-1]["end_ms"]
        subtasks.append(
            {"name": f"{text(6, 12)} {_MARK}", "type": kind, "status": "succeeded"}
            | {"worker": own[-1]["worker"], "attempts": len(own), "success": True}
            | {"cost": sum(call["cost"] for call in own), "latency_ms": end_ms - start_ms}
            | {"start_ms": start_ms, "end_ms": end_ms}
        )
    links = [[int(j == i + 1) for j in range(size)] for i in range(size)]
    return {
        "schema_version": 1,
        "execution_id": f"{rng.getrandbits(92):023x}{_MARK}",
        "timestamp": "2026-11-23T10:00:00.123456Z",
        "instruction": f"{text(15, 40)} {_MARK}",
        "success": True,
        "cost": cost,
        "latency_ms": latency_ms,
        "planner": "annotated",
        "agent": "lookup",
        "planner_outputs": {
            "model_selections": [subtask["worker"] for subtask in subtasks],
            "task_types": types,
            "workflow_graph": {"adjacency": links},
        },
        "execution_result": {
            "success": True,
            "outputs": {str(i): text(20, 60) for i in range(size)},
            "total_cost": cost,
            "total_latency_ms": latency_ms,
            "subtasks": subtasks,
        },
        "decisions": calls,
    }


def _calls(rng: random.Random, subtask: int) -> list[dict[str, Any]]:
    """Returns the calls of a subtask; all but the last one fail."""
    outcomes = [False, True] if rng.random() < 0.25 else [True]
    calls, now_ms = [], 5_000.0 * subtask
    for attempt, success in enumerate(outcomes):
        worker, end_ms = rng.choice(_WORKERS), now_ms + rng.uniform(200.0, 2_400.0)
        calls.append(
            {"subtask": subtask, "attempt": attempt, "worker": worker, "called": worker}
            | {"probabilities": {name: 0.25 for name in _WORKERS}, "decided_ms": now_ms}
            | {"start_ms": now_ms, "end_ms": end_ms, "running": 0, "success": success}
            | {"quality": float(success), "cost": rng.uniform(1e-4, 1e-2)}
            | {"input_tokens": rng.randint(50, 900), "output_tokens": rng.randint(50, 900)}
            | {"cached_tokens": 0, "reasoning_tokens": 0, "is_estimated": False, "tries": 1}
            | {"fault": None}
        )
        now_ms = end_ms
    return calls


def print_speed(log: Path, rounds: int) -> dict[str, float]:
    """Measures all cases in turn and prints rates, and ratios to reading and to json.loads.

    Each measurement is told on stderr when it is there.

    Returns:
        Of each case the most memory that it took [MB].
    """
    found: dict[str, list[Run]] = {name: [] for name in CASES}
    for _ in range(rounds):
        for name, body in CASES.items():
            one = run(body, log)
            found[name].append(one)
            print(f"{name}: {one.wall_s:.1f} s, {one.peak_mb:.0f} MB", file=sys.stderr, flush=True)
    megabytes = log.stat().st_size / 1e6
    read, loads = (found[name] for name in list(CASES)[:2])
    rows = []
    for name, runs in found.items():
        rates = [megabytes / one.wall_s for one in runs]
        on_core = statistics.median(megabytes / one.cpu_s for one in runs)
        ratios = [other.cpu_s / one.cpu_s for one, other in zip(runs, loads, strict=True)]
        to_read = [other.cpu_s / one.cpu_s for one, other in zip(runs, read, strict=True)]
        reading = f"{statistics.median(to_read):.3f}"
        rows.append((name, *spread(rates, 0), f"{on_core:.0f}", *spread(ratios), reading))
    header = (f"{megabytes:.0f} MB of log", "MB/s", "min", "max", "MB/s by CPU time")
    print_table((*header, "to json.loads", "min", "max", "to a bare read"), rows)
    return {name: max(one.peak_mb for one in runs) for name, runs in found.items()}


def print_memory(peaks: Mapping[float, Mapping[str, float]]) -> None:
    """Prints the peak of memory of the cases, at every size of log [MB]."""
    rows = [(name, *(f"{of_size[name]:.0f}" for of_size in peaks.values())) for name in CASES]
    sizes = (f"{megabytes:g} MB of log" for megabytes in peaks)
    print_table(("peak of memory [MB]", *sizes), rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Prints tables of speed and one of memory; logs are written one at a time, and deleted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=float, nargs="+", default=SIZES_MB, help="sizes of the logs")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="measurements of the first size")
    args = parser.parse_args(argv)
    folder, needed = tempfile.gettempdir(), _DISK_PER_BYTE * 1e6 * max(args.mb)
    if shutil.disk_usage(folder).free < needed:
        parser.error(f"expected {needed / 1e9:.1f} GB free in {folder}; name another in TMPDIR")
    print_machine("pydantic", "pyarrow")
    peaks = {}
    for index, megabytes in enumerate(args.mb):
        with tempfile.TemporaryDirectory(prefix="prepare-") as folder:
            log = Path(folder) / "log.jsonl"
            write_log(log, int(1e6 * megabytes))
            peaks[megabytes] = print_speed(log, 1 if index else args.rounds)
    print_memory(peaks)


if __name__ == "__main__":
    main()
