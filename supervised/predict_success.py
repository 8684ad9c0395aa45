"""Command: predict success per query and worker, and store it with an imported data set."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from agents.checkpoint import write_whole
from agents.experiment import choose_device
from orchestai_env.cli import run_command
from orchestai_env.datasets.folder import EMBEDDINGS, PREDICTIONS, RecordedFolder, load_folder
from supervised.embeddings import embed_texts
from supervised.success_predictor import Labels, Score, cross_fit, score, type_means


def predict_success(folder: Path, *, seed: int, device: str) -> dict[str, dict[str, Score]]:
    """Embeds the queries, predicts success, and writes both beside the data set.

    Args:
        folder: an imported data set; its embeddings are reused if they are there.
        seed: of the folds.
        device: torch device of the encoder.
    Returns:
        predictor -> split -> score; the stored predictions are those of "logistic".
    Raises:
        OrchestAIError: the folder cannot be read.
    """
    data = load_folder(folder)
    embeddings = data.all_splits.query_embeddings
    if embeddings is None:
        stored = embed_texts(data.queries.prompts, device=device).astype(np.float16)
        _save(folder / EMBEDDINGS, query_ids=np.array(data.queries.ids), embeddings=stored)
        embeddings = stored.astype(np.float32)  # as the next run reads them
    labels = recorded_labels(data)
    train = np.isin(np.arange(len(data.queries)), data.queries.rows("train"))
    num_types = len(data.queries.task_types)
    means = type_means(labels, train, num_types)[labels.task_type]
    predicted, strength = cross_fit(embeddings, labels, train, num_types, seed=seed)
    _save(
        folder / PREDICTIONS,
        query_ids=np.array(data.queries.ids),
        worker_names=np.array(data.all_splits.pool.names),
        predicted_success=predicted.astype(np.float32),
    )
    splits = {
        split: np.isin(np.arange(len(data.queries)), data.queries.rows(split))
        for split in ("train", "validation", "test")
    }
    return {
        "type mean": {name: score(labels, means, rows) for name, rows in splits.items()},
        f"logistic, C={strength}": {
            name: score(labels, predicted, rows) for name, rows in splits.items()
        },
    }


def _save(path: Path, **arrays: Any) -> None:
    write_whole(path, lambda partial: np.savez_compressed(partial, **arrays))


def recorded_labels(data: RecordedFolder) -> Labels:
    """Returns the recorded successes of a data set, averaged over trials."""
    tables = data.all_splits.outcomes
    trials = np.arange(tables.success.shape[2]) < tables.num_trials[:, :, None]
    count = np.maximum(trials.sum(2), 1)
    return Labels(
        success=(tables.success * trials).sum(2) / count,
        known=tables.num_trials > 0,
        task_type=data.queries.task_type,
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line and prints the scores."""
    prog = "python -m supervised.predict_success"
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of an imported data set")
    parser.add_argument("--seed", type=int, default=0, help="seed of the cross-fitting folds")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    args = parser.parse_args(argv)
    scores = predict_success(args.data, seed=args.seed, device=choose_device(args.device))
    table = Table("predictor", "split", "log loss", "AUC", "calibration error")
    plain: dict[str, dict[str, dict[str, float]]] = {}
    for name, splits in scores.items():
        for split, value in splits.items():
            plain.setdefault(name, {})[split] = vars(value)
            figures = (value.log_loss, value.auc, value.calibration_error)
            table.add_row(name, split, *(f"{figure:.3f}" for figure in figures))
    (args.data / "predictor.json").write_text(json.dumps(plain, indent=1) + "\n")
    Console().print(table)


if __name__ == "__main__":
    run_command(main)
