"""Command: compare success predictors on one source of recorded outcomes, scores alone included."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from agents.benchmark.routing_scores import gap_recovered
from agents.experiment import choose_device
from orchestai_env.cli import run_command
from orchestai_env.datasets.folder import EMBEDDINGS
from orchestai_env.datasets.splits import SPLITS
from orchestai_env.run_folder import check_output_dir
from supervised.commands import (
    PACKAGES,
    SUMMARY,
    add_device_option,
    seed_count,
    table_console,
    write_json,
)
from supervised.intervals import Interval, bootstrap
from supervised.success.cross_fitting import BoolArray, FloatArray, cross_fit
from supervised.success.predictors import CANDIDATES, TYPE_MEAN
from supervised.success.reliability_plot import plot_reliability
from supervised.success.scores import (
    choose,
    intervals,
    reliability,
    score,
    worker_auc,
    worker_losses,
)
from supervised.success.source_labels import SourceLabels, read_source_labels, source_problem

RELIABILITY = "reliability.png"
TABLE_WIDTH = 120
"""Columns of the printed table in a log."""

Predicted = Mapping[str, Sequence[FloatArray]]
"""Candidate -> predictions (Q, W) of each seed."""


def compare_predictors(data: Path, output_dir: Path, *, num_seeds: int, device: str) -> Any:
    """Cross-fits all candidates and writes summary.json and reliability.png.

    Args:
        data: folder of one source, or of an imported data set.
        output_dir: made if missing; embeddings are kept there for the next run.
        num_seeds: seeds 0, 1, ... of folds and predictors.
        device: torch device of the encoder.
    Returns:
        What summary.json holds.
    Raises:
        OrchestAIError: the tables are missing or malformed, or there are too few queries.
    """
    check_output_dir(output_dir)
    source = read_source_labels(data)
    output_dir.mkdir(parents=True, exist_ok=True)
    problem = source_problem(source, output_dir / EMBEDDINGS, device)
    predicted: dict[str, list[FloatArray]] = {name: [] for name in CANDIDATES}
    for seed in range(num_seeds):
        for name, fitted in cross_fit(problem, CANDIDATES, source.rows("train"), seed=seed).items():
            predicted[name].append(fitted.probabilities)
    summary = _summary(source, predicted)
    write_json(output_dir / SUMMARY, summary)
    chosen = predicted[summary["chosen"]]
    plot_reliability(
        output_dir / RELIABILITY,
        {
            f"{summary['chosen']}, {split} queries": reliability(
                source.labels, np.mean(chosen, axis=0), source.rows(split)
            )
            for split in ("train", "test")
        },
        title=f"Predicted and seen success, {data.name}",
    )
    return summary


def _summary(source: SourceLabels, predicted: Predicted) -> dict[str, Any]:
    """Scores the candidates; choice by training and validation queries alone."""
    labels, test = source.labels, source.rows("test")
    mean = {name: np.mean(several, axis=0) for name, several in predicted.items()}
    chosen = choose(labels, mean, source.rows("train", "validation"))
    on_test = intervals(labels, predicted, test, TYPE_MEAN)
    return {
        "chosen": chosen,
        "num_seeds": len(predicted[TYPE_MEAN]),
        "num_queries": {split: int(source.rows(split).sum()) for split in SPLITS},
        "versions": {name: version(name) for name in PACKAGES},
        "scores": {
            name: {split: _mean_score(source, several, source.rows(split)) for split in SPLITS}
            for name, several in predicted.items()
        },
        "test": {
            name: {figure: dataclasses.asdict(value) for figure, value in table.items()}
            for name, table in on_test.items()
        },
        "workers": _worker_table(source, predicted, test),
        "gap_recovered": _routing(source, predicted),
    }


def _mean_score(
    source: SourceLabels, several: Sequence[FloatArray], rows: BoolArray
) -> dict[str, float]:
    """Returns the mean over seeds of each figure of `Score`."""
    scores = [vars(score(source.labels, predicted, rows)) for predicted in several]
    return {figure: float(np.mean([values[figure] for values in scores])) for figure in scores[0]}


def _worker_table(
    source: SourceLabels, predicted: Predicted, rows: BoolArray
) -> dict[str, dict[str, dict[str, float]]]:
    """Returns worker -> candidate -> log loss and AUC on chosen queries, means over seeds."""
    figures = {
        name: (
            np.mean([worker_losses(source.labels, p, rows) for p in several], axis=0),
            np.mean([worker_auc(source.labels, p, rows) for p in several], axis=0),
        )
        for name, several in predicted.items()
    }
    return {
        worker: {
            name: {"log_loss": float(loss[w]), "auc": float(area[w])}
            for name, (loss, area) in figures.items()
        }
        for w, worker in enumerate(source.workers)
    }


def _routing(source: SourceLabels, predicted: Predicted) -> dict[str, dict[str, Any]]:
    """Returns group of task types -> candidate -> APGR on test queries, if there are two workers.

    The strong worker is the one with more successes on the training queries of the group. A group
    is what precedes the first underscore of a task type, such as mmlu of mmlu_anatomy.
    """
    labels = source.labels
    if labels.success.shape[1] != 2:
        return {}
    groups = np.array([kind.split("_")[0] for kind in source.queries.task_types])
    of_query = groups[labels.task_type]
    both = labels.known.all(axis=1)
    result: dict[str, dict[str, Any]] = {}
    for group in np.unique(groups).tolist():
        rows = both & (of_query == group)
        train, test = rows & source.rows("train"), np.flatnonzero(rows & source.rows("test"))
        strong = int(labels.success[train].mean(axis=0).argmax()) if train.any() else 0
        gap = labels.success[test, strong] - labels.success[test, 1 - strong]
        if abs(gap.sum()) < 1e-9:
            continue
        result[group] = {
            name: dataclasses.asdict(_recovered(labels.success[test], strong, several, test))
            for name, several in predicted.items()
        }
    return result


def _recovered(
    success: FloatArray, strong: int, several: Sequence[FloatArray], rows: Any
) -> Interval:
    """Returns APGR with its interval over queries and seeds."""

    def figure(index: Any, seed: int) -> float:
        gain = several[seed][rows, strong] - several[seed][rows, 1 - strong]
        return gap_recovered(gain[index], success[index, 1 - strong], success[index, strong])

    return bootstrap(figure, len(rows), len(several))


def summary_table(summary: Mapping[str, Any]) -> Table:
    """Returns the table that the command prints."""
    table = Table(
        "predictor",
        "log loss, train",
        "log loss, test",
        "gain over type mean, test",
        "AUC, train",
        "AUC, test",
        "ECE, test",
    )
    for name, scores in summary["scores"].items():
        test = summary["test"][name]
        gain = test["log_loss_gain"]
        table.add_row(
            name + (" (chosen)" if name == summary["chosen"] else ""),
            f"{scores['train']['log_loss']:.4f}",
            f"{scores['test']['log_loss']:.4f}",
            f"{gain['mean']:.4f} ({gain['low']:.4f}..{gain['high']:.4f})",
            f"{scores['train']['auc']:.3f}",
            f"{test['auc']['mean']:.3f} ({test['auc']['low']:.3f}..{test['auc']['high']:.3f})",
            f"{scores['test']['calibration_error']:.3f}",
        )
    return table


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, compares, and prints the tables."""
    prog = "python -m supervised.compare_predictors"
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of one source")
    parser.add_argument("--output_dir", type=Path, required=True, help="folder of the results")
    parser.add_argument(
        "--num_seeds", type=seed_count, default=3, help="folds and predictors, anew"
    )
    add_device_option(parser)
    args = parser.parse_args(argv)
    summary = compare_predictors(
        args.data,
        args.output_dir,
        num_seeds=args.num_seeds,
        device=choose_device(args.device),
    )
    console = table_console(TABLE_WIDTH)
    console.print(summary_table(summary))
    for group, candidates in summary["gap_recovered"].items():
        for name, value in candidates.items():
            console.print(
                f"APGR on {group}, {name}: {value['mean']:.3f} "
                f"({value['low']:.3f}..{value['high']:.3f})"
            )
    console.print(f"written: {args.output_dir / SUMMARY}, {RELIABILITY}", soft_wrap=True)


if __name__ == "__main__":
    run_command(main)
