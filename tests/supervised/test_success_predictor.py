"""The success predictor: cross-fitted, probabilities, better than the type mean where it can be."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from supervised.success_predictor import (
    STRENGTHS,
    Labels,
    cross_fit,
    score,
    type_means,
)

NUM_TYPES = 2


@dataclasses.dataclass(frozen=True)
class Problem:
    """Queries whose success depends on their embedding; the first 160 may be learned from."""

    embeddings: npt.NDArray[np.float32]
    labels: Labels
    train: npt.NDArray[np.bool_]

    def fit(self, success: Any = None, seed: int = 0) -> tuple[npt.NDArray[np.float64], float]:
        labels = self.labels
        if success is not None:
            labels = dataclasses.replace(labels, success=success)
        return cross_fit(self.embeddings, labels, self.train, NUM_TYPES, seed=seed)


def make_problem(num_queries: int = 240, num_train: int = 160, seed: int = 0) -> Problem:
    """Worker 0 succeeds where the first feature is positive, worker 1 by chance."""
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(num_queries, 8))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    noise = 0.05 * rng.normal(size=num_queries)
    success = np.stack([embeddings[:, 0] + noise > 0, rng.random(num_queries) < 0.5], axis=1)
    labels = Labels(
        success=success.astype(np.float64),
        known=np.ones((num_queries, 2), bool),
        task_type=np.arange(num_queries, dtype=np.int32) % NUM_TYPES,
    )
    return Problem(embeddings.astype(np.float32), labels, np.arange(num_queries) < num_train)


@pytest.fixture(scope="module")
def problem() -> Problem:
    return make_problem()


@pytest.fixture(scope="module")
def predicted(problem: Problem) -> npt.NDArray[np.float64]:
    return problem.fit()[0]


def test_predictions_are_probabilities(predicted: npt.NDArray[np.float64]) -> None:
    assert predicted.shape == (240, 2)
    assert ((predicted > 0) & (predicted < 1)).all()


def test_same_seed_gives_the_same(problem: Problem, predicted: npt.NDArray[np.float64]) -> None:
    assert np.array_equal(problem.fit()[0], predicted)
    assert not np.array_equal(problem.fit(seed=1)[0], predicted)


@pytest.mark.parametrize("query", [0, 37, 91, 159])
def test_training_query_is_not_predicted_by_a_model_that_saw_it(
    problem: Problem, predicted: npt.NDArray[np.float64], query: int
) -> None:
    """Flipping its label changes what other folds predict, but nothing in its own fold."""
    flipped = problem.labels.success.copy()
    flipped[query, 0] = 1.0 - flipped[query, 0]

    found, strength = problem.fit(flipped)

    assert strength == problem.fit()[1]
    same = found[:, 0] == predicted[:, 0]
    assert same[query]
    assert 160 / 5 - 2 <= same[:160].sum() <= 160 / 5 + 2  # its fold
    assert not same[160:].any()  # held-out queries are predicted by all training queries
    assert np.array_equal(found[:, 1], predicted[:, 1])


def test_labels_of_held_out_queries_are_not_read(
    problem: Problem, predicted: npt.NDArray[np.float64]
) -> None:
    changed = problem.labels.success.copy()
    changed[160:] = 1.0 - changed[160:]

    assert np.array_equal(problem.fit(changed)[0], predicted)


def test_predictor_beats_the_type_mean_where_text_tells(
    problem: Problem, predicted: npt.NDArray[np.float64]
) -> None:
    means = type_means(problem.labels, problem.train, NUM_TYPES)[problem.labels.task_type]
    only_first = dataclasses.replace(problem.labels, known=np.array([[True, False]] * 240))
    held_out = ~problem.train

    by_text, by_type = (score(only_first, values, held_out) for values in (predicted, means))

    assert by_text.log_loss < 0.7 * by_type.log_loss
    assert by_text.auc > 0.9 > by_type.auc


def test_predictor_stays_near_the_type_mean_where_text_tells_nothing(
    problem: Problem, predicted: npt.NDArray[np.float64]
) -> None:
    means = type_means(problem.labels, problem.train, NUM_TYPES)[problem.labels.task_type]
    only_second = dataclasses.replace(problem.labels, known=np.array([[False, True]] * 240))

    by_text, by_type = (score(only_second, v, ~problem.train) for v in (predicted, means))

    assert by_text.log_loss < by_type.log_loss + 0.1


@pytest.mark.parametrize(("always", "expected"), [(1.0, 129 / 130), (0.0, 1 / 130)])
def test_worker_with_one_kind_of_outcome_gets_its_laplace_mean(
    problem: Problem, always: float, expected: float
) -> None:
    success = problem.labels.success.copy()
    success[:, 1] = always

    found, _ = problem.fit(success)

    # 128 of 160 training queries are in the other folds.
    assert found[:160, 1] == pytest.approx(expected)
    assert found[160:, 1] == pytest.approx((160 * always + 1) / 162)


def test_unknown_pairs_are_not_learned_from(problem: Problem) -> None:
    known = problem.labels.known.copy()
    known[::3, 0] = False
    hidden = dataclasses.replace(problem.labels, known=known)
    changed = hidden.success.copy()
    changed[::3, 0] = 1.0 - changed[::3, 0]

    plain, _ = dataclasses.replace(problem, labels=hidden).fit()
    other, _ = dataclasses.replace(problem, labels=hidden).fit(changed)

    assert np.array_equal(plain, other)


def test_worker_that_was_never_recorded_gets_one_half(problem: Problem) -> None:
    known = problem.labels.known.copy()
    known[:, 1] = False
    labels = dataclasses.replace(problem.labels, known=known)

    found, _ = dataclasses.replace(problem, labels=labels).fit()

    assert (found[:, 1] == 0.5).all()


def test_type_without_training_queries_is_predicted_all_the_same(problem: Problem) -> None:
    task_type = problem.labels.task_type.copy()
    task_type[:160] = 0
    labels = dataclasses.replace(problem.labels, task_type=task_type)

    found, _ = dataclasses.replace(problem, labels=labels).fit()

    assert np.isfinite(found).all()


def test_chosen_strength_is_a_candidate(problem: Problem) -> None:
    assert problem.fit()[1] in STRENGTHS


def test_type_means_add_one_success_and_one_failure() -> None:
    labels = Labels(
        success=np.array([[1.0, 0.5], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]),
        known=np.array([[True, True], [True, True], [True, False], [True, True]]),
        task_type=np.array([0, 0, 1, 1], np.int32),
    )
    train = np.array([True, True, True, False])

    found = type_means(labels, train, 3)

    expected = [[3 / 4, 1.5 / 4], [1 / 3, 1 / 2], [1 / 2, 1 / 2]]
    assert found == pytest.approx(np.array(expected))


def test_score_of_known_predictions() -> None:
    labels = Labels(
        success=np.array([[1.0], [0.0]] * 50),
        known=np.ones((100, 1), bool),
        task_type=np.zeros(100, np.int32),
    )
    everyone = np.ones(100, bool)

    right = score(labels, np.array([[0.8], [0.2]] * 50), everyone)
    even = score(labels, np.full((100, 1), 0.5), everyone)

    assert right.auc == 1.0 and even.auc == 0.5
    assert right.log_loss == pytest.approx(-np.log(0.8))
    assert even.log_loss == pytest.approx(np.log(2))
    assert right.calibration_error == pytest.approx(0.2)


def test_score_without_two_outcomes_has_no_auc() -> None:
    labels = Labels(
        success=np.ones((20, 1)), known=np.ones((20, 1), bool), task_type=np.zeros(20, np.int32)
    )

    assert np.isnan(score(labels, np.full((20, 1), 0.9), np.ones(20, bool)).auc)
