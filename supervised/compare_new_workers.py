"""Command: leave each worker of a source out and predict it as one that was added later."""

from __future__ import annotations

import argparse
import csv
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from agents.experiment import choose_device
from orchestai_env.cli import run_command
from orchestai_env.datasets.folder import EMBEDDINGS
from orchestai_env.errors import DataError
from orchestai_env.run_folder import check_output_dir
from orchestai_env.workflow import open_text
from supervised.commands import add_device_option, seed_count, write_json
from supervised.intervals import Interval, bootstrap
from supervised.success.cross_fitting import FloatArray, Labels, Problem, sigmoid
from supervised.success.new_workers import known_workers, predict_new_worker
from supervised.success.predictors import LOGISTIC
from supervised.success.scores import worker_auc, worker_losses
from supervised.success.source_labels import SourceLabels, read_source_labels, source_problem

SUMMARY = "new_workers.json"
CALLS_PER_TYPE = (0, 5, 20)
"""Recorded calls of the new worker per task type; chosen."""
OTHERS = "type mean of the others"
COLUMNS = ("model", "input_usd_per_mtok", "output_usd_per_mtok")


def price_features(path: Path, workers: Sequence[str]) -> FloatArray:
    """Reads logs of the prices of workers; the first of several price lists counts.

    Args:
        path: CSV with the columns of COLUMNS.
        workers: W names; one without a price gets the mean of the others.
    Returns:
        float64 (W, 2): ln of 0.01 + USD per million tokens, of input and output.
    Raises:
        MissingFileError: there is no such file.
        DataError: a column is missing, a price is no number >= 0, or no worker has a price.
    """
    prices: dict[str, list[float]] = {}
    with open_text(path) as file:
        reader = csv.DictReader(file)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise DataError(f"{path}: column {missing[0]!r} is missing; a price list has it")
        for row in reader:
            try:
                values = [float(row[name]) for name in COLUMNS[1:]]
            except (TypeError, ValueError):
                values = [-1.0]
            if not all(0.0 <= value < np.inf for value in values):
                raise DataError(f"{path}:{reader.line_num}: expected prices, 0 or more; repair it")
            prices.setdefault(row["model"], values)
    table = np.log(np.array([prices.get(name, [np.nan] * 2) for name in workers]) + 0.01)
    if np.isnan(table).all():
        raise DataError(f"{path}: has no price of any worker of the source; name another list")
    return np.where(np.isnan(table), np.nanmean(table, axis=0), table)


def leave_one_out(
    problem: Problem, source: SourceLabels, features: FloatArray, *, seed: int
) -> dict[str, FloatArray]:
    """Predicts each worker without its calls, or from a few of them.

    Args:
        problem: queries of the source.
        source: their split.
        features: float64 (W, F).
        seed: of the choice of the few calls.
    Returns:
        How it was predicted -> float64 (Q, W).
    """
    train, labels = source.rows("train"), problem.labels
    num_workers = labels.success.shape[1]
    names = [OTHERS, *(f"{count} calls per type" for count in CALLS_PER_TYPE)]
    result = {name: np.zeros_like(labels.success) for name in names}
    rng = np.random.default_rng(seed)
    for w in track(range(num_workers), description="leaving workers out"):
        keep = np.arange(num_workers) != w
        others = Labels(
            success=labels.success[:, keep],
            known=labels.known[:, keep],
            task_type=labels.task_type,
        )
        rest = dataclasses.replace(problem, labels=others)
        predicted = sigmoid(LOGISTIC(rest, train, seed=seed))
        workers = known_workers(others, train, problem.num_types, predicted, features[keep])
        means = sigmoid(workers.type_odds)
        called = workers.known | ~workers.known.any(axis=1, keepdims=True)
        of_type = np.where(called, means, 0.0).sum(axis=1) / called.sum(axis=1)
        result[OTHERS][:, w] = of_type[labels.task_type]
        order = rng.permutation(np.flatnonzero(train & labels.known[:, w]))
        for count, name in zip(CALLS_PER_TYPE, names[1:], strict=True):
            wins, calls = _first_calls(labels, w, order, problem.num_types, count)
            result[name][:, w] = predict_new_worker(
                workers, features[w], labels.task_type, wins=wins, calls=calls
            )
    return result


def _first_calls(
    labels: Labels, worker: int, order: np.ndarray, num_types: int, count: int
) -> tuple[FloatArray, FloatArray]:
    """Returns wins and calls by type (T,) of the first `count` queries of each type."""
    wins, calls = np.zeros(num_types), np.zeros(num_types)
    for query in order.tolist():
        kind = labels.task_type[query]
        if calls[kind] < count:
            wins[kind] += labels.success[query, worker]
            calls[kind] += 1
    return wins, calls


def compare_new_workers(
    data: Path, prices: Path, output_dir: Path, *, num_seeds: int, device: str
) -> dict[str, dict[str, dict[str, float]]]:
    """Leaves every worker out and writes new_workers.json.

    Args:
        data: folder of one source.
        prices: CSV of prices, see `price_features`.
        output_dir: made if missing; embeddings are kept there.
        num_seeds: draws of the few calls.
        device: torch device of the encoder.
    Returns:
        How it was predicted -> figure -> mean, low and high over workers and seeds, on test
        queries; gains are over the type mean of the others.
    Raises:
        OrchestAIError: a table is missing or malformed.
    """
    check_output_dir(output_dir)
    source = read_source_labels(data)
    features = price_features(prices, source.workers)
    output_dir.mkdir(parents=True, exist_ok=True)
    problem = source_problem(source, output_dir / EMBEDDINGS, device)
    runs = [leave_one_out(problem, source, features, seed=seed) for seed in range(num_seeds)]
    summary = {
        name: {figure: dataclasses.asdict(value) for figure, value in table.items()}
        for name, table in _figures(source, runs).items()
    }
    write_json(output_dir / SUMMARY, summary)
    return summary


def _figures(
    source: SourceLabels, runs: Sequence[Mapping[str, FloatArray]]
) -> dict[str, dict[str, Interval]]:
    """Returns the means over workers on test queries, with intervals over workers and seeds."""
    labels, test = source.labels, source.rows("test")
    called = (labels.known & test[:, None]).any(axis=0)
    losses = {
        name: np.array([worker_losses(labels, run[name], test)[called] for run in runs])
        for name in runs[0]
    }
    areas = {
        name: np.array([worker_auc(labels, run[name], test)[called] for run in runs])
        for name in runs[0]
    }
    return {
        name: {
            "log_loss": _over_workers(losses[name]),
            "log_loss_gain": _over_workers(losses[OTHERS] - losses[name]),
            "auc": _over_workers(areas[name]),
        }
        for name in runs[0]
    }


def _over_workers(values: FloatArray) -> Interval:
    """Returns the mean of values (seeds, workers) with its interval."""
    return bootstrap(
        lambda workers, seed: float(np.nanmean(values[seed, workers])),
        values.shape[1],
        len(values),
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, compares, and prints the table."""
    prog = "python -m supervised.compare_new_workers"
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of one source")
    parser.add_argument("--prices", type=Path, required=True, help="CSV of the workers' prices")
    parser.add_argument("--output_dir", type=Path, required=True, help="folder of the results")
    parser.add_argument("--num_seeds", type=seed_count, default=3, help="draws of the few calls")
    add_device_option(parser)
    args = parser.parse_args(argv)
    summary = compare_new_workers(
        args.data,
        args.prices,
        args.output_dir,
        num_seeds=args.num_seeds,
        device=choose_device(args.device),
    )
    table = Table(
        "predicted from", "log loss", "gain", "AUC", title="worker left out, test queries"
    )
    for name, figures in summary.items():
        cells = [
            f"{value['mean']:.3f} ({value['low']:.3f}..{value['high']:.3f})"
            for value in (figures["log_loss"], figures["log_loss_gain"], figures["auc"])
        ]
        table.add_row(name, *cells)
    Console().print(table)


if __name__ == "__main__":
    run_command(main)
