"""Picture of a front: success over cost and over makespan, of one policy and of separate ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

# Okabe and Ito, "Color Universal Design" (2008).
_STYLES = {
    "finer": ("#56B4E9", ".", "one policy, between"),
    "conditioned": ("#0072B2", "o", "one policy"),
    "separate": ("#D55E00", "s", "a policy for each"),
}
_PANELS = ((1, 1000.0, "cost of 1,000 workflows [USD]"), (2, 1.0, "makespan of a workflow [s]"))


def plot_front(path: Path, result: dict[str, Any]) -> None:
    """Draws the points of every kind on test queries; lines join them in the order of preference.

    Args:
        path: PNG to write.
        result: see `summarise_front`.
    """
    figure, panels = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained", sharey=True)
    test = result["test"]
    for axes, (column, unit, label) in zip(panels, _PANELS, strict=True):
        for kind, (colour, marker, name) in _STYLES.items():
            if kind in test:
                points = np.array(test[kind]["points"])
                axes.plot(
                    unit * points[:, column],
                    100 * points[:, 0],
                    color=colour,
                    marker=marker,
                    linewidth=1,
                    label=f"{name} (hypervolume {test[kind]['hypervolume']:.3f})",
                )
        axes.set_xlabel(label)
        axes.grid(alpha=0.3)
    _name_preferences(panels[0], result)
    panels[0].set_title("beside the points: factors of cost and latency weight", fontsize=9)
    panels[0].set_ylabel("workflows that succeed [%]")
    panels[0].legend(fontsize=9)
    steps = result["timesteps"]
    figure.suptitle(
        f"One policy ({steps['conditioned']:,} steps) and {len(result['factors']['separate'])} "
        f"separate ones ({steps['separate']:,} in all), test queries, profile {result['profile']}"
    )
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _name_preferences(axes: Axes, result: dict[str, Any]) -> None:
    """Writes the factors of cost and latency beside the points of the separate policies."""
    points = result["test"]["separate"]["points"]
    for (cost, latency), point in zip(result["factors"]["separate"], points, strict=True):
        axes.annotate(
            f"{cost:g}, {latency:g}",
            (1000.0 * point[1], 100.0 * point[0]),
            xytext=(5, -10),
            textcoords="offset points",
            fontsize=8,
        )
