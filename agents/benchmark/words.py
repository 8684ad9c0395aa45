"""Words of a benchmark's report: who wins and how surely, on what data, how it was measured."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from agents.benchmark.summary import BOUND, REFERENCE, agents_of
from agents.config import ExperimentSettings
from agents.experiment import seeds_of
from agents.registry import BOUNDS, SLOW
from orchestai_env.reward import RewardWeights

WARNINGS = {
    "literal": (
        "Warning: the literal weights charge 0.01 per millisecond, so on workers that take seconds "
        "failing early pays more than succeeding. Returns under them say little of usefulness."
    )
}
_PACKAGES = ("numpy", "numba", "torch", "stable-baselines3", "sb3-contrib", "gymnasium")
_LATENCY_NOTES = {
    "recorded": "recorded",
    "derived": "derived from tokens with assumed speeds, not recorded",
    "none": "not recorded: 0 stands for it",
}


def verdict(results: Mapping[str, Any]) -> str:
    """Returns a sentence or two on the agent with the highest return, and how sure that is."""
    rivals = {
        name: results[name]["test"]["return_mean"]
        for name in agents_of(results)
        if name not in BOUNDS
    }
    if not rivals:
        return "No agent could be evaluated."
    best = max(rivals, key=lambda name: rivals[name])
    first = f"{best} has the highest mean return on test queries, {rivals[best]:.2f}"
    paired = results["paired"].get(best)
    if paired is None:
        others = f"; no agent is above the reference, {REFERENCE}." if best == REFERENCE else "."
        return first + others
    low, high = paired["ci95"]
    first += f": {paired['difference_mean']:+.2f} beside {REFERENCE} [{low:+.2f}, {high:+.2f}]"
    sure = "which is clear of 0" if low > 0 else "an interval that holds 0, so it may be chance"
    return f"{first}, {sure} (p = {paired['bootstrap_p']:.3f}).{_gap_words(best, results)}"


def _gap_words(name: str, results: Mapping[str, Any]) -> str:
    gap = results[name]["test"].get("gap_closed")
    if gap is None or gap["mean"] is None:
        return ""
    ends = f" [{100 * gap['ci95'][0]:.0f}, {100 * gap['ci95'][1]:.0f}]" if gap["ci95"] else ""
    return f" It closes {100 * gap['mean']:z.0f} %{ends} of the gap from {REFERENCE} to {BOUND}."


def failures(results: Mapping[str, Any]) -> dict[str, str]:
    """Returns agent -> error of those that failed."""
    return {name: of["error"] for name, of in results.items() if "error" in of}


def data_line(config: ExperimentSettings) -> str:
    """Returns where the data is from, and what kind of latency it has."""
    if config.source is None:
        return "Data: built-in simulated workflows; latency is simulated."
    latency = _LATENCY_NOTES[config.source.latency]
    cost = "" if config.source.cost == "recorded" else " Cost is not recorded: 0 stands for it."
    return (
        f"Data: recorded outcomes of {config.source.source}, task types "
        f"{', '.join(config.source.task_types)}. Latency is {latency}.{cost}"
    )


def weights_line(weights: RewardWeights) -> str:
    """Returns what a return is made of, with units."""
    time = {"s": "second", "ms": "millisecond"}[weights.latency_unit]
    return (
        f"The return of a workflow is {weights.success_weight:g} if it succeeds, less "
        f"{weights.cost_weight:g} per USD, less {weights.latency_weight:g} per {time} of makespan, "
        f"plus {weights.shaping_weight:g} per subtask that succeeds."
    )


def method_lines(config: ExperimentSettings) -> list[str]:
    """Returns how the figures came about, a paragraph each."""
    benchmark = config.benchmark
    simulated = [
        "Simulated success depends on the task type and on luck that no text tells, so the agents "
        "that fit a predictor of their own (predict-knn and so on) equal predict-then-optimise."
    ]
    return [
        f"{_seeds(config)} Returns are means over "
        f"{benchmark.workflows} workflows ({' and '.join(sorted(SLOW))}: the first "
        f"{benchmark.bound_workflows}); intervals hold the middle 95 % of {benchmark.replicates}"
        f" replicates, which resample queries and seeds and compose {benchmark.replicate_workflows}"
        " workflows anew. All agents meet the same ones, so differences are paired.",
        "Success, cost, makespan and validity are those of test workflows. Bounds know what an "
        f"agent cannot know in production; {BOUND} knows the outcome of each call.",
        "Interquartile mean and probability of improvement follow Agarwal et al. (NeurIPS 2021, "
        "rliable), with seeds as runs. The hypervolume is that of Zitzler and Thiele (1999).",
        *(simulated if config.source is None else []),
    ]


def _seeds(config: ExperimentSettings) -> str:
    if config.benchmark.num_seeds == 1:
        return f"Seed {config.seed} alone, so that nothing here tells how seeds differ."
    return f"Seeds {config.seed} to {seeds_of(config)[-1]}."


def machine_line() -> str:
    """Returns hardware, versions and the date."""
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return (
        f"{today}; {_processor()}, {os.cpu_count()} cores, {platform.system()}; Python "
        f"{platform.python_version()}, {packages}."
    )


def _processor() -> str:
    """Returns the processor's name where Linux tells it, else the architecture."""
    path = Path("/proc/cpuinfo")
    if path.is_file():
        for line in path.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
