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

from agents.phase2_callbacks import CURVE
from agents.registry import PHASE2, SCRATCH
from agents.tune_tables import TABLES

# Okabe and Ito, "Color Universal Design" (2008).
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
_MARKERS = "osD^vP*X<>"


def plot_learning_curves(path: Path, run_dirs: Sequence[Path], profile: str) -> None:
    """Draws validation and training returns over steps: mean over seeds and their range.

    The dashed line is the escalation table on the same validation workflows. The first evaluation,
    before any training, may lie below the picture.

    Args:
        path: PNG to write.
        run_dirs: one per seed.
        profile: named in the title.
    """
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    labels = {PHASE2: "phase 1, then PPO", SCRATCH: "PPO from scratch"}
    table = float(np.mean([_table_return(run_dir / TABLES) for run_dir in run_dirs]))
    shown = [table]
    for colour, (folder, label) in zip(_COLOURS, labels.items(), strict=False):
        curves = [_read_curve(run_dir / folder / CURVE) for run_dir in run_dirs]
        for column, style in (("validation_return", "-"), ("train_return", ":")):
            side = "validation" if style == "-" else "training"
            shown += [float(value) for curve in curves for value in curve[column][1:]]
            _draw_band(axes, curves, column, colour, style, f"{label}, {side} queries")
    axes.axhline(table, color="#000000", linestyle="--", label="escalation table, validation")
    margin = 0.1 * (max(shown) - min(shown))
    axes.set_ylim(min(shown) - margin, max(shown) + margin)
    axes.set(
        xlabel="environment steps", ylabel="mean return", title=f"Learning curve, profile {profile}"
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize=9)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _table_return(path: Path) -> float:
    return float(json.loads(path.read_text())["escalation_return"]["validation"])


def _read_curve(path: Path) -> dict[str, np.ndarray]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {key: np.array([float(row[key]) for row in rows]) for key in rows[0]}


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


def plot_cost_success(path: Path, results: Mapping[str, Any], profile: str) -> None:
    """Draws every agent's success rate over its cost, on test queries."""
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    names = [name for name in results if name != "paired"]
    for index, name in enumerate(names):
        test = results[name]["test"]
        axes.scatter(
            1000 * test["cost_usd"],
            100 * test["success_rate"],
            color=_COLOURS[index % len(_COLOURS)],
            marker=_MARKERS[index % len(_MARKERS)],
            s=70,
            label=f"{name} ({test['return_mean']:.2f})",
        )
    axes.set(
        xlabel="cost of a workflow [USD / 1000]",
        ylabel="workflows that succeed [%]",
        title=f"Cost and success on test queries, profile {profile} (return in brackets)",
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=9)
    figure.savefig(path, dpi=110)
    plt.close(figure)
