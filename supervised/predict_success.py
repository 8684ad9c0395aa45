"""Command: predict success per query and worker, and store it with an imported data set."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from agents.checkpoint import write_whole
from agents.experiment import choose_device
from orchestai_env.cli import run_command
from orchestai_env.datasets.annexes import FINGERPRINT_PARTS, fingerprint
from orchestai_env.datasets.folder import (
    EMBEDDINGS,
    PREDICTIONS,
    PREDICTOR,
    RecordedFolder,
    load_folder,
)
from orchestai_env.datasets.splits import SPLITS
from supervised.commands import PACKAGES, add_device_option, write_json
from supervised.success.cross_fitting import (
    CrossFitted,
    Labels,
    Problem,
    cross_fit,
)
from supervised.success.predictors import CANDIDATES
from supervised.success.scores import Score, choose, score
from supervised.texts.embeddings import stored_embeddings
from supervised.texts.form import text_form


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
    """What was stored, and how all candidates did."""

    chosen: str
    """Candidate with the least log loss on training (cross-fitted) and validation queries."""
    fitted: Mapping[str, CrossFitted]
    scores: Mapping[str, Mapping[str, Score]]
    """Candidate -> split -> score."""


def predict_success(folder: Path, *, seed: int, device: str) -> Prediction:
    """Embeds the queries, compares the candidates, and stores the best beside the data set.

    Args:
        folder: an imported data set; its embeddings are reused if they are there, and its old
            predictions replaced.
        seed: of the folds and the predictors.
        device: torch device of the encoder.
    Raises:
        OrchestAIError: the folder cannot be read, or has too few training queries.
    """
    data = load_folder(folder, predictions=False)
    problem = _problem(data, device)
    rows = {name: np.isin(np.array(data.queries.split), [name]) for name in SPLITS}
    fitted = cross_fit(problem, CANDIDATES, rows["train"], seed=seed)
    predicted = {name: candidate.probabilities for name, candidate in fitted.items()}
    chosen = choose(problem.labels, predicted, rows["train"] | rows["validation"])
    hashes = fingerprint(data.queries, data.all_splits.outcomes)
    _save(
        folder / PREDICTIONS,
        query_ids=np.array(data.queries.ids),
        worker_names=np.array(data.all_splits.pool.names),
        predicted_success=predicted[chosen].astype(np.float32),
        dataset_sha256=np.array(hashes),
    )
    result = Prediction(
        chosen=chosen,
        fitted=fitted,
        scores={
            name: {split: score(problem.labels, values, rows[split]) for split in SPLITS}
            for name, values in predicted.items()
        },
    )
    write_json(folder / PREDICTOR, _about(result, hashes, seed))
    return result


def _problem(data: RecordedFolder, device: str) -> Problem:
    """Joins the texts and outcomes of a data set; embeds the texts if that was not done."""
    embeddings = data.all_splits.query_embeddings
    if embeddings is None:
        embeddings = stored_embeddings(
            data.path / EMBEDDINGS, data.queries.ids, data.queries.prompts, device=device
        )
    return Problem(
        embeddings=embeddings,
        form=text_form(data.queries.prompts),
        labels=recorded_labels(data),
        num_types=len(data.queries.task_types),
    )


def _save(path: Path, **arrays: Any) -> None:
    write_whole(path, lambda partial: np.savez_compressed(partial, **arrays))


def _about(result: Prediction, hashes: Sequence[str], seed: int) -> dict[str, Any]:
    """Returns what predictor.json says."""
    return {
        "predictor": result.chosen,
        "predictors": [repr(predictor) for predictor in CANDIDATES[result.chosen]],
        "shares": result.fitted[result.chosen].shares,
        "seed": seed,
        "versions": {name: version(name) for name in PACKAGES},
        "dataset_sha256": dict(zip(FINGERPRINT_PARTS, hashes, strict=True)),
        "predictions_sha256": hashlib.sha256(
            result.fitted[result.chosen].probabilities.astype(np.float32).tobytes()
        ).hexdigest(),
        "scores": {
            name: {split: vars(value) for split, value in splits.items()}
            for name, splits in result.scores.items()
        },
    }


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
    parser.add_argument("--seed", type=int, default=0, help="of the folds and the predictors")
    add_device_option(parser)
    args = parser.parse_args(argv)
    result = predict_success(args.data, seed=args.seed, device=choose_device(args.device))
    table = Table("predictor", "split", "log loss", "AUC", "calibration error")
    for name, splits in result.scores.items():
        for split, value in splits.items():
            figures = (value.log_loss, value.auc, value.calibration_error)
            table.add_row(name, split, *(f"{figure:.3f}" for figure in figures))
    console = Console()
    console.print(table)
    console.print(f"stored: {result.chosen}, in {args.data / PREDICTIONS}", soft_wrap=True)


if __name__ == "__main__":
    run_command(main)
