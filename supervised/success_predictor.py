"""Success predictor: P(success | query text, task type, worker), cross-fitted.

One logistic regression per worker on the text embedding and the task type. The type enters almost
unpenalised and the embedding as its difference from the type's mean, so that strong regularisation
leaves the type mean. A training query is predicted by a model that has not seen it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from rich.progress import track
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import StratifiedKFold

FloatArray = npt.NDArray[np.float64]

_TYPE_SCALE = 10.0
"""Weight of the type's columns; the penalty on them falls with its square."""
STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0)
"""Candidates for C, the inverse of the L2 penalty; chosen by cross-fitted log loss."""
FOLDS = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Labels:
    """Recorded successes of Q queries and W workers."""

    success: FloatArray
    """float64 (Q, W), 0..1: mean over trials."""
    known: npt.NDArray[np.bool_]
    """bool (Q, W): the pair was recorded."""
    task_type: npt.NDArray[np.int32]
    """int32 (Q,)."""


def type_means(labels: Labels, train: npt.NDArray[np.bool_], num_types: int) -> FloatArray:
    """Returns float64 (T, W): mean success over the training queries of each type.

    One success and one failure are added (Laplace), so that no probability is 0 or 1.
    """
    means = np.zeros((num_types, labels.success.shape[1]))
    for t in range(num_types):
        rows = train & (labels.task_type == t)
        known = labels.known[rows]
        wins = (labels.success[rows] * known).sum(0)
        means[t] = (wins + 1.0) / (known.sum(0) + 2.0)
    return means


def cross_fit(
    embeddings: npt.NDArray[np.float32],
    labels: Labels,
    train: npt.NDArray[np.bool_],
    num_types: int,
    *,
    seed: int,
) -> tuple[FloatArray, float]:
    """Predicts every query by models that have not seen it.

    Args:
        embeddings: float32 (Q, D).
        labels: recorded successes; only those of training queries are read.
        train: bool (Q,); queries that models may be fitted on.
        num_types: T.
        seed: of the folds.
    Returns:
        float64 (Q, W) probabilities, and the chosen C.
    """
    columns = _columns(embeddings, labels.task_type, train, num_types)
    folds = np.full(len(train), -1)
    splitter = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    train_rows = np.flatnonzero(train)
    for fold, (_, held) in enumerate(splitter.split(train_rows, labels.task_type[train_rows])):
        folds[train_rows[held]] = fold
    fitted = {
        strength: _predict_folds(columns, labels, folds, strength)
        for strength in track(STRENGTHS, description="cross-fitting predictors")
    }
    losses = {c: _loss(labels, fitted[c], train) for c in STRENGTHS}
    best = min(losses, key=lambda strength: losses[strength])
    return fitted[best], best


def _columns(
    embeddings: npt.NDArray[np.float32],
    task_type: npt.NDArray[np.int32],
    train: npt.NDArray[np.bool_],
    num_types: int,
) -> FloatArray:
    """Joins scaled type columns and embeddings less their type's training mean."""
    one_hot = np.eye(num_types)[task_type]
    centred = embeddings.astype(np.float64)
    for t in range(num_types):
        rows = task_type == t
        if (rows & train).any():
            centred[rows] -= embeddings[rows & train].mean(axis=0)
    scale = np.sqrt(embeddings.shape[1])  # unit-length rows: a component is about 1 / sqrt(D)
    return np.hstack([_TYPE_SCALE * one_hot, scale * centred / 10.0])


def _predict_folds(
    columns: FloatArray, labels: Labels, folds: npt.NDArray[np.int64], strength: float
) -> FloatArray:
    """Predicts fold f by the other folds, and queries of no fold (-1) by all of them."""
    result = np.zeros_like(labels.success)
    for fold in range(-1, FOLDS):
        fit, apply = (folds >= 0) & (folds != fold), folds == fold
        if not apply.any():
            continue
        for w in range(result.shape[1]):
            rows = fit & labels.known[:, w]
            wins = labels.success[rows, w] >= 0.5
            if wins.all() or not wins.any():
                result[apply, w] = (wins.sum() + 1.0) / (len(wins) + 2.0)
                continue
            model = LogisticRegression(C=strength, fit_intercept=False, max_iter=1000)
            model.fit(columns[rows], wins)
            result[apply, w] = model.predict_proba(columns[apply])[:, 1]
    return result


def _loss(labels: Labels, predicted: FloatArray, rows: npt.NDArray[np.bool_]) -> float:
    use = labels.known & rows[:, None]
    wins = labels.success[use] >= 0.5
    return float(log_loss(wins, predicted[use], labels=[False, True]))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """How good predictions are on one set of queries."""

    log_loss: float
    auc: float
    """Area under the ROC curve, mean over workers."""
    calibration_error: float
    """Expected calibration error over 10 equally filled bins, pooled over workers."""


def score(labels: Labels, predicted: FloatArray, rows: npt.NDArray[np.bool_]) -> Score:
    """Scores predictions on chosen queries."""
    areas: Sequence[float] = [
        float(roc_auc_score(wins, predicted[use, w]))
        for w in range(predicted.shape[1])
        if (use := rows & labels.known[:, w]).any()
        and 0 < (wins := labels.success[use, w] >= 0.5).sum() < use.sum()
    ]
    use = labels.known & rows[:, None]
    wins, values = labels.success[use] >= 0.5, predicted[use]
    bins = np.array_split(np.argsort(values), 10)
    error = sum(len(b) * abs(wins[b].mean() - values[b].mean()) for b in bins if len(b))
    return Score(
        log_loss=_loss(labels, predicted, rows),
        auc=float(np.mean(areas)) if areas else float("nan"),
        calibration_error=float(error / len(values)),
    )
