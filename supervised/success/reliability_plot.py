"""Picture of predicted against seen success."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt

from supervised.success.scores import Reliability

# Okabe and Ito, "Color Universal Design" (2008).
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


def plot_reliability(path: Path, curves: Mapping[str, Reliability], *, title: str) -> None:
    """Draws seen against predicted success per bin; the diagonal is perfect calibration.

    Args:
        path: PNG to write.
        curves: label -> curve; at most 4 are told apart.
        title: above the picture.
    """
    figure, axes = plt.subplots(figsize=(5.5, 5.5), layout="constrained")
    axes.plot((0, 1), (0, 1), color="#999999", linestyle="--", label="perfect calibration")
    for colour, marker, (label, curve) in zip(_COLOURS, "osD^", curves.items(), strict=False):
        axes.plot(
            curve.predicted,
            curve.seen,
            color=colour,
            marker=marker,
            markersize=5,
            label=f"{label}: ECE {curve.error:.3f}",
        )
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1),
        xlabel="predicted success, mean of a tenth of the calls",
        ylabel="share of successes seen",
        title=title,
        aspect="equal",
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", fontsize=9)
    figure.savefig(path, dpi=110)
    plt.close(figure)
