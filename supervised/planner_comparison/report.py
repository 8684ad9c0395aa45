"""The report of a comparison of planners: a table, a page in Markdown and the curves of losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from rich.box import SIMPLE_HEAD
from rich.table import Table

from supervised.planner_comparison.seeds import History

CURVES = "curves.png"
COLUMNS = (
    "group (workflows)",
    "planner",
    "node F1",
    "edge F1",
    "count error",
    "exact",
    "valid",
    "confidence",
)
LINK_COLUMNS = ("group (workflows)", "links", "edge F1")
_F1 = ("node_f1", "edge_f1")
_SIDES = {"train": ("#0072B2", "-"), "val": ("#D55E00", "--")}
"""Colour (Okabe and Ito, 2008) and line of each side of a history."""


def rows_of(figures: Mapping[str, Any], *, is_short: bool = False) -> list[tuple[str, ...]]:
    """Returns a row of text for each group and planner, in the order of `columns`.

    Args:
        figures: as `summarise` returns them.
        is_short: leave out the intervals of all but the differences.
    """
    own_value = _mean if is_short else _value
    rows: list[tuple[str, ...]] = []
    for group, found in figures.items():
        for index, (name, own) in enumerate(found["planners"].items()):
            gain = own.get("minus_baseline")
            rows.append(
                (
                    f"{group} ({found['num_workflows']})" if index == 0 else "",
                    name,
                    *(own_value(own[figure], ".3f") for figure in _F1),
                    f"{own['count_error']['mean']:.2f}",
                    *(f"{100 * own[figure]['mean']:.1f} %" for figure in ("exact", "valid")),
                    _confidence(own),
                    *("" if gain is None else _value(gain[figure], "+.3f") for figure in _F1),
                )
            )
    return rows


def columns(baseline: str) -> tuple[str, ...]:
    """Returns the heads of the table."""
    return (*COLUMNS, f"node F1 minus {baseline}", f"edge F1 minus {baseline}")


def _value(interval: Mapping[str, float], form: str) -> str:
    return f"{interval['mean']:{form}} [{interval['low']:{form}}, {interval['high']:{form}}]"


def _mean(interval: Mapping[str, float], form: str) -> str:
    return f"{interval['mean']:{form}}"


def _confidence(own: Mapping[str, Any]) -> str:
    correlation = own["confidence_correlation"]
    return f"{own['confidence']:.2f}" + (
        "" if correlation is None else f" (rho {correlation:+.2f})"
    )


def links_rows(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Returns a row of text for each group and planner whose links alone were asked."""
    groups = {name: figures for name, figures in found.items() if isinstance(figures, Mapping)}
    return [
        (f"{group} ({figures['num_workflows']})", name, _value(value, "+.3f"))
        for group, figures in groups.items()
        for name, value in figures["edge_f1"].items()
    ]


def console_tables(summary: Mapping[str, Any]) -> list[Table]:
    """Returns the tables for the terminal: test instructions, pooled and by source."""
    figures = {name: found for name, found in summary["test"].items() if "/" not in name}
    rows = rows_of(figures, is_short=True)
    tables = [_console_table("test instructions", columns(summary["baseline"]), rows)]
    if "given_steps" in summary:
        rows = links_rows(summary["given_steps"])
        tables.append(_console_table("links between given subtasks", LINK_COLUMNS, rows))
    return tables


def _console_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD)
    for index, head in enumerate(heads):
        is_name = index < 2
        table.add_column(
            head, justify="left" if is_name else "right", no_wrap=is_name, overflow="fold"
        )
    for row in rows:
        table.add_row(*row)
    return table


def write_report(path: Path, summary: Mapping[str, Any]) -> None:
    """Writes the page: what was measured, a table for each side, the curves."""
    baseline = summary["baseline"]
    lines = [
        "# Planners compared",
        "",
        f"{summary['num_seeds']} seeds of the learned planner; "
        + ", ".join(f"{count} {split}" for split, count in summary["num_workflows"].items())
        + " workflows, split by instruction. Subtasks are matched one to one by the cosine of "
        f"their texts' embeddings, from {summary['match_threshold']} on; links are compared after "
        "that. Values are means over workflows and seeds; brackets hold 95 % intervals by "
        "resampling workflows and seeds together; differences are paired by workflow. A chain "
        "links each subtask to the next and nothing else. rho is Spearman's correlation of "
        "confidence and node F1 within a group.",
    ]
    sides = {
        "test": "Test instructions",
        "train": f"A sample of the training instructions, where `{baseline}` finds the plan itself",
    }
    for side, title in sides.items():
        lines += ["", f"## {title}", "", *_markdown(columns(baseline), rows_of(summary[side]))]
    if "given_steps" in summary:
        found = summary["given_steps"]
        lines += [
            "",
            "## Links between given subtasks",
            "",
            "The learned planner got the subtasks in an order that is a hash of the instruction; "
            "the chain follows the order of the file, along which the links of "
            f"{100 * found['written_in_order']:.1f} % of the workflows all point.",
            "",
            *_markdown(LINK_COLUMNS, links_rows(found)),
        ]
    lines += ["", "## Losses", "", f"![every part of the loss, epoch by epoch]({CURVES})"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [_markdown_row(cells) for cells in (heads, ["---"] * len(heads), *rows)]


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def plot_curves(path: Path, histories: Sequence[History]) -> None:
    """Draws every part of the loss over all epochs, a line for each seed and side.

    Args:
        path: PNG to write.
        histories: one per seed, of one epoch or more.
    """
    parts = list(dict.fromkeys(part for epoch in histories[0] for part in epoch["train"]))
    num_columns = min(3, len(parts))
    num_rows = -(-len(parts) // num_columns)
    figure, grid = plt.subplots(
        num_rows,
        num_columns,
        figsize=(4.2 * num_columns, 3.0 * num_rows),
        layout="constrained",
        squeeze=False,
        sharex=True,
    )
    for axes, part in zip(grid.flat, parts, strict=False):
        _draw_part(axes, histories, part)
    for axes in grid.flat[len(parts) :]:
        axes.set_axis_off()
    grid.flat[0].legend(fontsize=9)
    figure.suptitle(f"Losses and metrics of the planner in all epochs, {len(histories)} seeds")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_part(axes: Axes, histories: Sequence[History], part: str) -> None:
    for index, history in enumerate(histories):
        epochs = np.arange(1, len(history) + 1)
        for side, (colour, line) in _SIDES.items():
            values = [epoch[side].get(part, np.nan) for epoch in history]
            label = {"train": "training", "val": "validation"}[side] if index == 0 else None
            axes.plot(
                epochs, values, color=colour, linestyle=line, alpha=0.8, label=label, marker="."
            )
    axes.set(title=part, xlabel="epoch")
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.grid(alpha=0.3)
