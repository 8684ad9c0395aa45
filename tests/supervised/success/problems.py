"""Made-up queries whose success follows known log-odds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from supervised.success.cross_fitting import FloatArray, Labels, Problem, sigmoid

NUM_TYPES = 2
NUM_TRAIN = 160


def rows_of(num_queries: int, num_train: int = NUM_TRAIN) -> npt.NDArray[np.bool_]:
    """Returns the mask of training queries, which come first."""
    return np.arange(num_queries) < num_train


def make_problem(
    odds_fn: Callable[[FloatArray, npt.NDArray[np.int32]], FloatArray],
    *,
    num_queries: int = 240,
    num_workers: int = 2,
    size: int = 8,
    form: bool = False,
    seed: int = 0,
) -> tuple[Problem, FloatArray]:
    """Draws successes from log-odds that a function gives for embeddings and task types.

    Returns:
        The problem, and the true probabilities (Q, W).
    """
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(num_queries, size))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    task_type = np.arange(num_queries, dtype=np.int32) % NUM_TYPES
    truth = np.zeros((num_queries, num_workers)) + odds_fn(embeddings, task_type)
    chance = sigmoid(truth)
    labels = Labels(
        success=(rng.random(chance.shape) < chance).astype(np.float64),
        known=np.ones(chance.shape, bool),
        task_type=task_type,
    )
    problem = Problem(
        embeddings=embeddings.astype(np.float32),
        form=rng.random((num_queries, 3)) if form else np.zeros((num_queries, 0)),
        labels=labels,
        num_types=NUM_TYPES,
    )
    return problem, chance
