"""Command: compare classifiers of the shape of plan (single, chain, dag) that a request needs."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from sklearn.base import clone
from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix, f1_score

mpl.use("Agg")

from matplotlib import pyplot as plt

from agents.experiment import choose_device
from orchestai_env.cli import run_command
from orchestai_env.datasets.folder import EMBEDDINGS
from orchestai_env.datasets.splits import SPLITS
from orchestai_env.run_folder import check_output_dir
from supervised.commands import PACKAGES, SUMMARY, add_device_option, seed_count, write_json
from supervised.intervals import bootstrap
from supervised.shapes.classifiers import CANDIDATES, MAJORITY, NEIGHBOURS, request_features
from supervised.shapes.requests import SHAPES, IntArray, Requests, read_requests
from supervised.texts.embeddings import stored_embeddings

CONFUSION = "confusion.png"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fitted:
    """A candidate with the setting that did best on validation requests."""

    setting: Any
    """A classifier of scikit-learn."""
    predicted: IntArray
    """int64 (seeds, n), place in SHAPES."""
    hits: npt.NDArray[np.float64]
    """float64 (seeds, n); 1 where that is the true shape, else 0."""


def compare_shapes(data: Path, output_dir: Path, *, num_seeds: int, device: str) -> Any:
    """Fits all candidates on training requests and writes summary.json and confusion.png.

    Args:
        data: file of requests.
        output_dir: made if missing; embeddings are kept there for the next run.
        num_seeds: seeds 0, 1, ... of the classifiers.
        device: torch device of the encoder.
    Returns:
        What summary.json holds.
    Raises:
        OrchestAIError: the file is missing or malformed, or has too few requests.
    """
    check_output_dir(output_dir)
    requests = read_requests(data)
    texts = requests.texts
    ids = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() for text in texts]
    embeddings = stored_embeddings(output_dir / EMBEDDINGS, ids, texts, device=device)
    features = request_features(texts, requests.domain, embeddings, requests.rows("train"))
    fitted = {
        name: _fit(requests, features[candidate.features], candidate.settings, num_seeds)
        for name, candidate in CANDIDATES.items()
    }
    summary = _summary(requests, fitted)
    write_json(output_dir / SUMMARY, summary)
    _plot_confusion(output_dir / CONFUSION, summary)
    return summary


def _fit(requests: Requests, features: Any, settings: Sequence[Any], num_seeds: int) -> Fitted:
    """Chooses a setting with seed 0, by accuracy on validation requests; then fits every seed."""
    train, validation = requests.rows("train"), requests.rows("validation")

    def predict(setting: Any, seed: int) -> IntArray:
        model = clone(setting)
        if "random_state" in model.get_params():
            model.set_params(random_state=seed)
        model.fit(features[train], requests.shape[train])
        return np.asarray(model.predict(features), np.int64)

    first = [predict(setting, 0) for setting in settings]
    best = int(np.argmax([(p == requests.shape)[validation].mean() for p in first]))
    rest = [predict(settings[best], seed) for seed in range(1, num_seeds)]
    predicted = np.array([first[best], *rest])
    hits = (predicted == requests.shape).astype(np.float64)
    return Fitted(setting=settings[best], predicted=predicted, hits=hits)


def _summary(requests: Requests, fitted: Mapping[str, Fitted]) -> dict[str, Any]:
    """Scores the candidates; the choice is by validation requests alone."""
    scores = {name: _scores(requests, candidate) for name, candidate in fitted.items()}
    majority, neighbours = fitted[MAJORITY].hits, fitted[NEIGHBOURS].hits
    labels, test = range(len(SHAPES)), requests.rows("test")
    return {
        "chosen": max(scores, key=lambda name: scores[name]["validation"]["accuracy"]),
        "num_seeds": len(majority),
        "num_requests": {
            split: dict(Counter(SHAPES[shape] for shape in requests.shape[requests.rows(split)]))
            for split in SPLITS
        },
        "versions": {name: version(name) for name in PACKAGES},
        "settings": {name: " ".join(repr(c.setting).split()) for name, c in fitted.items()},
        "scores": scores,
        "test": {
            name: {
                "accuracy": _interval(requests, candidate.hits),
                "gain_over_majority": _interval(requests, candidate.hits - majority),
                "gain_over_neighbours": _interval(requests, candidate.hits - neighbours),
            }
            for name, candidate in fitted.items()
        },
        "confusion": {
            name: confusion_matrix(
                requests.shape[test], candidate.predicted[0, test], labels=labels
            ).tolist()
            for name, candidate in fitted.items()
        },
    }


def _scores(requests: Requests, fitted: Fitted) -> dict[str, dict[str, float]]:
    """Returns split -> accuracy and macro F1, means over seeds."""
    result: dict[str, dict[str, float]] = {}
    for split in SPLITS:
        rows = requests.rows(split)
        f1 = [f1_score(requests.shape[rows], p[rows], average="macro") for p in fitted.predicted]
        accuracy = fitted.hits[:, rows].mean()
        result[split] = {"accuracy": float(accuracy), "macro_f1": float(np.mean(f1))}
    return result


def _interval(requests: Requests, values: npt.NDArray[np.float64]) -> dict[str, float]:
    """Returns the mean of values (seeds, n) over test requests, with its interval.

    A draw takes groups of near-duplicates with replacement, and one seed; all figures share it.
    """
    test = requests.rows("test")
    _, group = np.unique(requests.group[test], return_inverse=True)
    size = np.bincount(group)
    sums = [np.bincount(group, weights=own[test]) for own in values]

    def figure(drawn: IntArray, seed: int) -> float:
        return float(sums[seed][drawn].sum() / size[drawn].sum())

    return dataclasses.asdict(bootstrap(figure, len(size), len(sums)))


def _plot_confusion(path: Path, summary: Mapping[str, Any]) -> None:
    """Draws which shape is taken for which, as shares of the true shape, by two classifiers."""
    figure, panels = plt.subplots(1, 2, figsize=(9, 4.4), layout="constrained")
    for axes, name in zip(panels, (NEIGHBOURS, summary["chosen"]), strict=True):
        counts = np.array(summary["confusion"][name])
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        picture = ConfusionMatrixDisplay(shares, display_labels=SHAPES)
        picture.plot(ax=axes, cmap="Blues", values_format=".0%", colorbar=False)
        axes.set(title=f"{name}, test", xlabel="predicted shape", ylabel="true shape")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def summary_table(summary: Mapping[str, Any]) -> Table:
    """Returns the table that the command prints: accuracies, macro F1 on test, gains on test."""
    names = ("train", "validation", "test", "macro F1", "gain on majority", "on neighbours")
    table = Table("classifier", *names)
    for name, scores in summary["scores"].items():
        test, *gains = (
            f"{value['mean']:.3f} ({value['low']:.3f} to {value['high']:.3f})"
            for value in summary["test"][name].values()
        )
        seen = [f"{scores[split]['accuracy']:.3f}" for split in ("train", "validation")]
        chosen = " (chosen)" if name == summary["chosen"] else ""
        table.add_row(name + chosen, *seen, test, f"{scores['test']['macro_f1']:.3f}", *gains)
    return table


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, compares, and prints the table."""
    parser = argparse.ArgumentParser(
        prog="python -m supervised.request_shapes", description=__doc__
    )
    parser.add_argument("--data", type=Path, required=True, help="JSONL(.gz) of requests")
    parser.add_argument("--output_dir", type=Path, required=True, help="folder of the results")
    parser.add_argument("--num_seeds", type=seed_count, default=3, help="classifiers, anew")
    add_device_option(parser)
    args = parser.parse_args(argv)
    summary = compare_shapes(
        args.data, args.output_dir, num_seeds=args.num_seeds, device=choose_device(args.device)
    )
    Console().print(summary_table(summary))
    print(f"written: {args.output_dir / SUMMARY}, {CONFUSION}")


if __name__ == "__main__":
    run_command(main)
