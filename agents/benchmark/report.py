"""The report of a benchmark: a table on the terminal and a page in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from agents.benchmark.comparison import REFERENCE
from agents.config import ExperimentSettings

COLUMNS = (
    "agent",
    "test return",
    "train",
    "success",
    "USD/1000",
    "seconds",
    "valid",
    f"minus {REFERENCE}",
)
NOTES = {
    "literal": (
        "Warning: the literal weights charge 0.01 per millisecond, so on workers that take seconds "
        "failing early pays more than succeeding. Returns under them say little of usefulness."
    )
}


def agent_rows(results: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Returns a row of text per agent, in the order of COLUMNS."""
    rows: list[tuple[str, ...]] = []
    for name, found in results.items():
        if name == "paired":
            continue
        test, train, paired = found["test"], found["train"], results["paired"].get(name)
        difference = ""
        if paired is not None:
            difference = f"{paired['difference_mean']:+.2f} {_interval(paired['ci95'], '+.2f')}"
        rows.append(
            (
                name,
                f"{test['return_mean']:.2f} {_interval(test['ci95'], '.2f')}",
                f"{train['return_mean']:.2f}",
                f"{100 * test['success_rate']:.0f} %",
                f"{1000 * test['cost_usd']:.2f}",
                f"{test['latency_s']:.1f}",
                f"{100 * test['validity']:.0f} %",
                difference,
            )
        )
    return rows


def _interval(ends: list[float], form: str) -> str:
    return f"[{ends[0]:{form}}, {ends[1]:{form}}]"


def console_table(profile: str, results: Mapping[str, Any]) -> Table:
    """Returns the table of one profile for the terminal."""
    table = Table(title=f"profile {profile}", caption=NOTES.get(profile), box=SIMPLE_HEAD)
    for index, column in enumerate(COLUMNS):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=index in (0, 1))
    for row in agent_rows(results):
        table.add_row(*row)
    return table


def write_report(
    path: Path, results: Mapping[str, Mapping[str, Any]], config: ExperimentSettings
) -> None:
    """Writes the page: for every profile a table, its warning and its pictures."""
    benchmark = config.benchmark
    lines = [
        "# Benchmark report",
        "",
        _data_line(config),
        "",
        f"{benchmark.num_seeds} seeds. Returns are means over {benchmark.workflows} workflows; "
        f"intervals come from {benchmark.replicates} replicates that resample queries and seeds "
        f"and compose {benchmark.replicate_workflows} workflows anew. Success, cost, latency and "
        "validity are those of test workflows; differences are paired. `hindsight` knows the "
        "outcome of each call: a bound, not an agent.",
    ]
    for profile, found in results.items():
        lines += ["", f"## Profile {profile}", ""]
        if profile in NOTES:
            lines += [NOTES[profile], ""]
        lines += [_markdown_row(COLUMNS), _markdown_row(["---", *["--:"] * (len(COLUMNS) - 1)])]
        lines += [_markdown_row(row) for row in agent_rows(found)]
        lines += [
            "",
            f"![learning curve](learning_curve_{profile}.png)",
            f"![cost and success](cost_success_{profile}.png)",
        ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _markdown_row(cells: Any) -> str:
    return "| " + " | ".join(cells) + " |"


def _data_line(config: ExperimentSettings) -> str:
    if config.source is None:
        return "Data: built-in simulated workflows; latency is simulated."
    latency = config.source.latency
    note = (
        "derived from tokens with assumed speeds, not recorded" if latency == "derived" else latency
    )
    return (
        f"Data: recorded outcomes of `{config.source.source}`, task types "
        f"{', '.join(config.source.task_types)}. Latency is {note}."
    )
