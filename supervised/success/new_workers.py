"""Success of a worker that was added after training, from its features and its first few calls.

Per task type, a ridge regression over the known workers turns features (prices, latency, kind) into
the log-odds of the type mean. The first calls are averaged with that, which counts for as many
calls as it is accurate. What the text tells is the difficulty that known workers agree on.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from orchestai_env.errors import DataError
from orchestai_env.workers import KINDS, WorkerPool
from supervised.success.cross_fitting import (
    BoolArray,
    FloatArray,
    Labels,
    log_odds,
    sigmoid,
    type_means,
)

PENALTIES = (0.1, 1.0, 10.0, 100.0, 1000.0)
"""Ridge penalties; chosen among by leaving a known worker out."""
_PRIOR_CALLS_RANGE = (2.0, 1000.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class KnownWorkers:
    """What was learned about W workers on T task types and Q queries."""

    features: FloatArray
    """float64 (W, F), such as `worker_features`."""
    type_odds: FloatArray
    """float64 (T, W): log-odds of the type means."""
    known: BoolArray
    """bool (T, W): the worker has a call of the type among the training queries."""
    difficulty: FloatArray
    """float64 (Q,): log-odds of success less those of the type mean, mean over workers."""


def worker_features(pool: WorkerPool) -> FloatArray:
    """Returns float64 (W, F): logs of prices and latencies, and the kind as one-hot."""
    return np.array(
        [
            [
                np.log(worker.input_usd_per_mtok + 0.01),
                np.log(worker.output_usd_per_mtok + 0.01),
                np.log1p(worker.first_token_ms),
                np.log(worker.tokens_per_s),
                *(float(worker.kind == kind) for kind in KINDS),
            ]
            for worker in pool.workers
        ]
    )


def known_workers(
    labels: Labels, train: BoolArray, num_types: int, predicted: FloatArray, features: FloatArray
) -> KnownWorkers:
    """Summarises known workers.

    Args:
        labels: recorded successes; only those of training queries are read.
        train: bool (Q,).
        num_types: T.
        predicted: float64 (Q, W): cross-fitted success.
        features: float64 (W, F).
    """
    odds = log_odds(type_means(labels, train, num_types))
    kind = np.eye(num_types)[labels.task_type[train]]
    surplus = log_odds(predicted) - odds[labels.task_type]
    return KnownWorkers(
        features=features,
        type_odds=odds,
        known=kind.T @ labels.known[train] > 0,
        difficulty=surplus.mean(axis=1),
    )


def predict_new_worker(
    workers: KnownWorkers,
    features: FloatArray,
    task_type: np.ndarray[tuple[int], np.dtype[np.int32]],
    *,
    wins: FloatArray,
    calls: FloatArray,
) -> FloatArray:
    """Predicts the success of a worker that was not in training.

    Args:
        workers: the known ones.
        features: float64 (F,) of the new worker.
        task_type: int32 (Q,) of the queries.
        wins: float64 (T,): its successes by type so far.
        calls: float64 (T,): its calls by type so far; 0 where there is none.
    Returns:
        float64 (Q,) probabilities, inside 0..1.
    Raises:
        DataError: features or counts do not fit the known workers.
    """
    num_types, num_features = len(workers.type_odds), workers.features.shape[1]
    fits = wins.shape == calls.shape == (num_types,)
    if not (fits and features.shape == (num_features,)):
        raise DataError(
            f"new worker: expected {num_features} features and counts of {num_types} task types, "
            f"got {features.shape}, {wins.shape} and {calls.shape}"
        )
    centre = workers.features.mean(axis=0)
    spread = workers.features.std(axis=0)
    inputs = (workers.features - centre) / np.where(spread > 0, spread, np.inf)
    new = (features - centre) / np.where(spread > 0, spread, np.inf)
    mean = np.empty(num_types)
    for t in range(num_types):
        use = workers.known[t]
        odds = workers.type_odds[t, use] if use.any() else workers.type_odds[t]
        chosen = inputs[use] if use.any() else inputs
        prior, error = _ridge(chosen, odds, new)
        chance = float(sigmoid(np.array(prior)))
        # A beta distribution of this mean and variance counts for so many calls. The variance of
        # log-odds becomes one of probabilities by the slope, chance * (1 - chance).
        weight = np.clip(1.0 / (chance * (1 - chance) * error + 1e-9) - 1.0, *_PRIOR_CALLS_RANGE)
        mean[t] = (wins[t] + weight * chance) / (calls[t] + weight)
    return sigmoid(log_odds(mean)[task_type] + workers.difficulty)


def _ridge(inputs: FloatArray, outputs: FloatArray, new: FloatArray) -> tuple[float, float]:
    """Regresses outputs (n,) on inputs (n, F) and predicts a new row.

    Returns:
        The prediction, by the penalty with the least leave-one-out error; and that mean square.
    """
    best = (float(outputs.mean()), np.inf)
    mean = inputs.mean(axis=0)
    centred, offset = inputs - mean, outputs.mean()
    for penalty in PENALTIES:
        inverse = np.linalg.inv(centred.T @ centred + penalty * np.eye(inputs.shape[1]))
        weights = inverse @ centred.T @ (outputs - offset)
        leverage = np.einsum("if,fg,ig->i", centred, inverse, centred) + 1.0 / len(outputs)
        residual = outputs - offset - centred @ weights
        error = float(np.mean((residual / np.maximum(1.0 - leverage, 1e-3)) ** 2))
        if error < best[1]:
            best = (float(offset + (new - mean) @ weights), error)
    return best
