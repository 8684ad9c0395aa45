"""Pictures of a calibration: reliability, and simulated beside logged figures."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestai_env.datasets.calibration.comparison import Compared, Measure, share_interval
from orchestai_env.datasets.calibration.reliability import NUM_BINS, Reliability
from orchestai_env.execution.extra import needs_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LOGGED, _SIMULATED, _GREY = "#0072B2", "#D55E00", "#9A9A9A"
_COLUMNS = (
    ("success", "success", 1.0),
    ("cost_usd", "cost [USD]", 1.0),
    ("time_ms", "time [s]", 1e-3),
    ("makespan_ms", "makespan [s]", 1e-3),
)
"""Field of Compared, its label, and the factor that the label's unit asks for."""


def draw_reliability(found: Reliability, path: Path) -> None:
    """Draws the share of successes over the prediction, and how many calls were predicted so.

    Raises:
        MissingPackageError: matplotlib is not there.
    """
    figure = _figure(4.6, 5.2)
    top, bottom = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    used = [b for b in range(NUM_BINS) if found.bin_calls[b]]
    predicted = [found.bin_predicted[b] for b in used]
    logged = [found.bin_logged[b] for b in used]
    ends = [share_interval(found.bin_logged[b], found.bin_calls[b]) for b in used]
    reach = [
        [share - low for share, (low, _) in zip(logged, ends, strict=True)],
        [high - share for share, (_, high) in zip(logged, ends, strict=True)],
    ]
    label = "logged, 95 % interval"
    top.plot([0, 1], [0, 1], color=_GREY, linewidth=1, label="perfect")
    top.errorbar(predicted, logged, yerr=reach, fmt="o", color=_LOGGED, capsize=3, label=label)
    top.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel="share that succeeded")
    top.set_title(
        f"{found.num_calls:,} held-out calls, calibration error {found.calibration_error:.3f}",
        fontsize=10,
    )
    top.legend(frameon=False)
    edges = [(b + 0.5) / NUM_BINS for b in range(NUM_BINS)]
    bottom.bar(edges, found.bin_calls, width=0.9 / NUM_BINS, color=_GREY)
    bottom.set(xlabel="predicted success", ylabel="calls")
    _save(figure, path)


def draw_comparison(rows: Sequence[Compared], what: str, path: Path) -> None:
    """Draws logged means with their 95 % intervals, and simulated ones, a line per row.

    Args:
        rows: at least one.
        what: "task type" or "worker".
        path: PNG to write.
    Raises:
        MissingPackageError: matplotlib is not there.
    """
    figure = _figure(11.0, 1.3 + 0.32 * len(rows))
    panels = figure.subplots(1, len(_COLUMNS), sharey=True, squeeze=False)[0]
    for axes, (field, label, factor) in zip(panels, _COLUMNS, strict=True):
        _draw_column(axes, [getattr(row, field) for row in rows], factor)
        axes.set_xlabel(label)
    names = [row.name for row in rows]
    panels[0].set_yticks(range(len(rows)), names, parse_math=False)  # a name may hold dollars
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    panels[0].set_xlim(0, 1)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=2, frameon=False)
    figure.suptitle(f"Held-out executions, by {what}", x=0.01, ha="left", fontsize=10)
    _save(figure, path)


def _draw_column(axes: Axes, measures: Sequence[Measure], factor: float) -> None:
    places = list(range(len(measures)))
    logged = [factor * one.logged for one in measures]
    ends = [(one.logged - one.low, one.high - one.logged) for one in measures]
    reach = [[factor * max(0.0, pair[side]) for pair in ends] for side in (0, 1)]
    axes.errorbar(
        logged, places, xerr=reach, fmt="o", color=_LOGGED, capsize=3, label="logged, 95 % interval"
    )
    simulated = [factor * one.simulated for one in measures]
    axes.plot(simulated, places, "D", color=_SIMULATED, markersize=4, label="simulated", zorder=3)
    axes.set_xlim(left=0)
    axes.grid(axis="x", color="#E0E0E0", linewidth=0.6)


def _figure(width: float, height: float) -> Figure:
    with needs_extra("data", what="calibrations"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, path: Path) -> None:
    """Writes a PNG; the old file stays until the new one is whole."""
    partial = path.with_name(f".{path.name}.partial")
    with warnings.catch_warnings():
        # A name in a script that the font lacks shows as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(partial, dpi=150, format="png")
    os.replace(partial, path)
