"""Plots of a benchmark, as PNG files; colours are told apart by colour-blind readers too."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from agents.benchmark.pick_tables import attempt_shares
from agents.benchmark.summary import REFERENCE, agents_of
from agents.phase2_callbacks import CURVE
from agents.registry import BOUNDS
from agents.tune_tables import TABLES

# Okabe and Ito, "Color Universal Design" (2008).
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
_MARKERS = "osD^vP*X<>"


def plot_learning_curves(path: Path, run_dirs: Sequence[Path], profile: str) -> None:
    """Draws validation and training returns over steps: mean over seeds and their range.

    Every trained agent that left a curve is drawn; without one there is no picture. The dashed line
    is the escalation table on the same validation workflows. The first evaluation, before any
    training, may lie below the picture.

    Args:
        path: PNG to write.
        run_dirs: one per seed, with a folder per trained agent and tables.json.
        profile: named in the title.
    """
    found = sorted({p.parent.name for run_dir in run_dirs for p in run_dir.glob(f"*/{CURVE}")})
    if not found:
        return
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    shown = []
    for index, name in enumerate(found):
        curves = [_read_curve(p) for r in run_dirs if (p := r / name / CURVE).is_file()]
        for column, style in (("validation_return", "-"), ("train_return", ":")):
            side = "validation" if style == "-" else "training"
            shown += [float(value) for curve in curves for value in curve[column][1:]]
            colour = _COLOURS[index % len(_COLOURS)]
            _draw_band(axes, curves, column, colour, style, f"{name}, {side} queries")
    tables = [p for run_dir in run_dirs if (p := run_dir / TABLES).is_file()]
    if tables:
        table = float(np.mean([_table_return(p) for p in tables]))
        shown.append(table)
        axes.axhline(table, color="#000000", linestyle="--", label="escalation table, validation")
    margin = 0.1 * (max(shown) - min(shown)) if shown else 0.0
    if margin > 0:
        axes.set_ylim(min(shown) - margin, max(shown) + margin)
    axes.set(
        xlabel="environment steps", ylabel="mean return", title=f"Learning curve, profile {profile}"
    )
    axes.grid(alpha=0.3)
    _legend_beside(axes)
    _save(figure, path)


def _table_return(path: Path) -> float:
    return float(json.loads(path.read_text())["escalation_return"]["validation"])


def _read_curve(path: Path) -> dict[str, np.ndarray]:
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    return {key: np.array([float(row[key]) for row in rows]) for key in reader.fieldnames or ()}


def _draw_band(
    axes: Axes,
    curves: Sequence[Mapping[str, np.ndarray]],
    column: str,
    colour: str,
    style: str,
    label: str,
) -> None:
    shortest = min(len(curve["step"]) for curve in curves)
    steps = curves[0]["step"][:shortest]
    values = np.stack([curve[column][:shortest] for curve in curves])
    axes.plot(steps, values.mean(axis=0), color=colour, linestyle=style, label=label)
    if style == "-":
        axes.fill_between(steps, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15)


def _legend_beside(axes: Axes) -> None:
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8)


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=110)
    plt.close(figure)


def plot_cost_success(path: Path, results: Mapping[str, Any], profile: str) -> None:
    """Draws every agent's success rate over its cost, and the front of those that are no bounds."""
    label = "cost of 1,000 workflows [USD]"
    _plot_front(path, results, ("cost_usd", 1000.0, label), f"Cost and success, {profile}")


def plot_makespan_success(path: Path, results: Mapping[str, Any], profile: str) -> None:
    """Draws every agent's success rate over its makespan, and the front of those no bounds."""
    label = "makespan of a workflow [s]"
    _plot_front(path, results, ("latency_s", 1.0, label), f"Makespan and success, {profile}")


def _plot_front(
    path: Path, results: Mapping[str, Any], axis: tuple[str, float, str], title: str
) -> None:
    """Draws points over one axis: a key of the results, a factor and a label."""
    key, factor, label = axis
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    points = []
    for index, name in enumerate(agents_of(results)):
        test = results[name]["test"]
        point = (factor * test[key], 100 * test["success_rate"])
        if name not in BOUNDS:
            points.append(point)
        axes.scatter(
            *point,
            color=_COLOURS[index % len(_COLOURS)],
            marker=_MARKERS[index % len(_MARKERS)],
            s=70,
            label=f"{name} ({test['return_mean']:.2f})" + (", bound" if name in BOUNDS else ""),
            zorder=2,
        )
    line = _front_line(points)
    axes.step(*line.T, where="post", color="#666666", linewidth=1, label="front", zorder=1)
    axes.set(
        xlabel=label,
        ylabel="workflows that succeed [%]",
        title=f"{title}, test queries (return in brackets)",
    )
    axes.grid(alpha=0.3)
    _legend_beside(axes)
    _save(figure, path)


def _front_line(points: Sequence[tuple[float, float]]) -> np.ndarray:
    """Returns float64 (k, 2): points that none left of them reaches or exceeds in height."""
    line: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda p: (p[0], -p[1])):
        if not line or point[1] > line[-1][1]:
            line.append(point)
    return np.array(line).reshape(-1, 2)


def plot_gap_closed(path: Path, results: Mapping[str, Any], profile: str) -> None:
    """Draws the share of the gap from escalation table to hindsight that each agent closes.

    Agents far below the table are left out, since they would squeeze the others; without any agent
    but the table and the bound there is no picture.
    """
    shares = [
        (name, found["mean"], found["ci95"])
        for name in agents_of(results)
        if name not in ("hindsight", REFERENCE)
        and (found := results[name]["test"].get("gap_closed"))
        and found["mean"] is not None
        and found["mean"] > -1.0
    ][::-1]
    if not shares:
        return
    figure, axes = plt.subplots(figsize=(8, 1.4 + 0.32 * len(shares)), layout="constrained")
    for place, (name, mean, ends) in enumerate(shares):
        colour = "#999999" if name in BOUNDS else _COLOURS[0]
        axes.barh(place, 100 * mean, color=colour, alpha=0.75)
        if ends is not None:
            axes.plot([100 * end for end in ends], [place, place], color="#000000", linewidth=2)
    axes.set_yticks(range(len(shares)), [name for name, _, _ in shares])
    axes.axvline(0, color="#000000", linewidth=1)
    axes.set(
        xlabel="share of the gap closed [%]; line: 95 % interval",
        title=f"From escalation table (0) to hindsight (100), profile {profile}",
    )
    axes.grid(alpha=0.3, axis="x")
    _save(figure, path)


def plot_pick_shares(path: Path, results: Mapping[str, Any], profile: str) -> None:
    """Draws which workers every agent calls at the first attempt, at the second, and so on."""
    names = agents_of(results)[::-1]
    picks = [results[name]["test"]["picks"] for name in names]
    num_attempts = len(next(iter(picks[0].values())))
    shares = [[attempt_shares(of, attempt) for of in picks] for attempt in range(num_attempts)]
    workers = sorted({worker for of in shares for agent in of for worker in agent})
    figure, panels = plt.subplots(
        1,
        num_attempts,
        figsize=(9, 1.6 + 0.28 * len(names)),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for attempt, axes in enumerate(panels[0]):
        left = np.zeros(len(names))
        for w, worker in enumerate(workers):
            width = np.array([100 * agent.get(worker, 0.0) for agent in shares[attempt]])
            hatch = "//" if w >= len(_COLOURS) else None
            axes.barh(
                names, width, left=left, color=_COLOURS[w % len(_COLOURS)], hatch=hatch, ec="white"
            )
            left += width
        axes.set(xlabel="share of calls [%]", title=f"attempt {attempt + 1}", xlim=(0, 100))
    figure.legend(workers, loc="outside lower center", ncols=4, fontsize=8)
    figure.suptitle(f"Workers called on test queries, profile {profile}")
    _save(figure, path)
