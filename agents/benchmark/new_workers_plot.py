"""Picture of workers never seen: the test return of every contender, by seed and with intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
from matplotlib import pyplot as plt

# Okabe and Ito, "Color Universal Design" (2008).
_COLOURS = ("#0072B2", "#56B4E9", "#009E73", "#D55E00", "#E69F00")


def plot_new_workers(path: Path, result: dict[str, Any]) -> None:
    """Draws the mean test return of every contender, its 95 % interval, and a dot per seed.

    Args:
        path: PNG to write.
        result: see agents.benchmark.new_workers.summarise_workers.
    """
    figure, axes = plt.subplots(figsize=(9, 3.6), layout="constrained")
    names = list(result["contenders"])
    for row, (name, colour) in enumerate(zip(names, _COLOURS, strict=True)):
        test = result["contenders"][name]["test"]
        axes.plot(test["ci95"], [row, row], color=colour, linewidth=6, alpha=0.3)
        axes.plot(test["return_mean"], row, "D", color=colour, markersize=9)
        seeds = np.array(test["return_per_seed"])
        axes.plot(seeds, np.full(len(seeds), row), "|", color="black", markersize=14)
        share = 100 * float(np.mean(test["share_of_new_workers"]))
        axes.annotate(
            f"{test['return_mean']:.2f}; {share:.0f} % of calls to new workers",
            (test["return_mean"], row),
            xytext=(0, 9),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.7)
    axes.set_xlabel("mean return on test queries (bar: 95 % interval, strokes: seeds)")
    axes.set_title(f"Workers never seen in training, profile {result['profile']}")
    axes.grid(alpha=0.3, axis="x")
    figure.savefig(path, dpi=110)
    plt.close(figure)
