"""The report of a benchmark: a table on the terminal and a page in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from agents.benchmark.report_tables import (
    COLUMNS,
    TextTable,
    agent_rows,
    front_table,
    pick_table,
    tables_of,
)
from agents.benchmark.summary import agents_of
from agents.benchmark.words import (
    WARNINGS,
    data_line,
    failures,
    machine_line,
    method_lines,
    verdict,
    weights_line,
)
from agents.config import ExperimentSettings
from orchestai_env.reward import RewardWeights

FIGURES = {
    "gap_closed": "Share of the gap closed; agents below -100 % are left out",
    "cost_success": "Cost and success",
    "makespan_success": "Makespan and success",
    "learning_curve": "Learning curves",
    "pick_shares": "Workers called, by attempt",
}
"""Kind of picture -> its caption; the file is KIND_PROFILE.png beside the report."""


def figure_path(folder: Path, kind: str, profile: str) -> Path:
    """Returns where a picture lies."""
    return folder / f"{kind}_{profile}.png"


def figures_of(folder: Path, profile: str) -> list[tuple[str, Path]]:
    """Returns captions and paths of the pictures of a profile that were drawn."""
    found = [(text, figure_path(folder, kind, profile)) for kind, text in FIGURES.items()]
    return [(text, path) for text, path in found if path.is_file()]


def schedule_path(folder: Path, profile: str, agent: str) -> Path:
    """Returns where the picture of an agent's typical episode lies."""
    return folder / f"schedules_{profile}" / f"{agent}.png"


def console_table(profile: str, results: Mapping[str, Any]) -> Table:
    """Returns the table of one profile for the terminal."""
    lines = [WARNINGS[profile]] if profile in WARNINGS else []
    lines += [f"{name} failed: {error}" for name, error in failures(results).items()]
    caption = escape("\n".join(lines)) or None  # an error may hold what rich takes for a style
    table = Table(title=f"profile {profile}", caption=caption, box=SIMPLE_HEAD)
    for index, column in enumerate(COLUMNS):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=index in (0, 1))
    for row in agent_rows(results):
        table.add_row(*map(escape, row))
    return table


def write_report(
    path: Path,
    results: Mapping[str, Mapping[str, Any]],
    weights: Mapping[str, RewardWeights],
    config: ExperimentSettings,
    all_profiles: Mapping[str, Any] | None = None,
) -> None:
    """Writes the page: for every profile a verdict, tables, pictures and pick tables.

    Args:
        path: of the page; pictures lie beside it.
        results: profile -> what `summarise` returns.
        weights: profile -> its reward weights.
        config: of the benchmark.
        all_profiles: what `front_of` returns for all profiles together.
    """
    lines = ["# Benchmark report", "", data_line(config), ""]
    for profile, found in results.items():
        lines += [f"## Profile {profile}", "", weights_line(weights[profile]), ""]
        lines += _profile_lines(profile, found, path.parent)
    if all_profiles:
        lines += _table_lines(front_table(all_profiles), level=2)
    lines += ["## Method", ""]
    for text in (*method_lines(config), machine_line()):
        lines += [text, ""]
    path.write_text("\n".join(lines), encoding="utf-8")


def _profile_lines(profile: str, results: Mapping[str, Any], folder: Path) -> list[str]:
    lines = [WARNINGS[profile], ""] if profile in WARNINGS else []
    lines += [verdict(results), ""]
    for name, error in failures(results).items():
        lines += [f"**{name} failed**: {error}", ""]
    for table in tables_of(results):
        lines += _table_lines(table, level=3)
    for text, figure in figures_of(folder, profile):
        lines += [f"![{text}]({figure.name})", ""]
    lines += ["### Workers called", ""]
    for name in agents_of(results):
        lines += _table_lines(pick_table(name, results), level=4)
        drawn = schedule_path(folder, profile, name)
        if drawn.is_file():
            lines += [f"![A typical episode of {name}]({drawn.parent.name}/{drawn.name})", ""]
    return lines


def _table_lines(table: TextTable, *, level: int) -> list[str]:
    return [
        f"{'#' * level} {table.title}",
        "",
        _markdown_row(table.columns),
        _markdown_row(["---", *["--:"] * (len(table.columns) - 1)]),
        *(_markdown_row(row) for row in table.rows),
        "",
        *([table.note, ""] if table.note else []),
    ]


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
