"""The success predictor: cross-fitted, shrunk to the type mean, as good as the truth allows."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from orchestai_env.errors import DataError
from supervised.success.cross_fitting import (
    BoolArray,
    CrossFitted,
    FloatArray,
    Labels,
    Problem,
    best_shares,
    cross_fit,
    log_odds,
    mean_loss,
    prior_log_odds,
    sigmoid,
    split_folds,
    type_means,
)
from supervised.success.predictors import LOGISTIC
from supervised.success.scores import reliability
from tests.supervised.success.problems import NUM_TRAIN, NUM_TYPES, make_problem, rows_of

TRAIN = rows_of(240)


def by_first_feature(embeddings: FloatArray, task_type: Any) -> FloatArray:
    """Worker 0 is good where the first feature is large, worker 1 at chance."""
    return np.stack([12.0 * embeddings[:, 0], np.zeros(len(embeddings))], axis=1)


@pytest.fixture(scope="module")
def problem() -> Problem:
    return make_problem(by_first_feature)[0]


def fit(problem: Problem, seed: int = 0, train: BoolArray = TRAIN) -> CrossFitted:
    return cross_fit(problem, {"logistic": (LOGISTIC,)}, train, seed=seed)["logistic"]


def relabel(problem: Problem, **changes: Any) -> Problem:
    return dataclasses.replace(problem, labels=dataclasses.replace(problem.labels, **changes))


def loss(problem: Problem, predicted: FloatArray, rows: BoolArray) -> float:
    use = problem.labels.known & rows[:, None]
    return mean_loss(log_odds(predicted[use]), problem.labels.success[use])


@pytest.fixture(scope="module")
def predicted(problem: Problem) -> FloatArray:
    return fit(problem).probabilities


def test_predictions_are_probabilities(predicted: FloatArray) -> None:
    assert predicted.shape == (240, 2)
    assert ((predicted > 0) & (predicted < 1)).all()


def test_same_seed_gives_the_same(problem: Problem, predicted: FloatArray) -> None:
    assert np.array_equal(fit(problem).probabilities, predicted)
    assert not np.array_equal(fit(problem, seed=1).probabilities, predicted)


@pytest.mark.parametrize("query", [0, 37, 91, 159])
def test_training_query_is_not_predicted_by_a_model_that_saw_it(
    problem: Problem, predicted: FloatArray, query: int
) -> None:
    """Flipping its label changes what other folds predict, but nothing in its own fold."""
    success = problem.labels.success.copy()
    success[query] = 1.0 - success[query]

    found = fit(relabel(problem, success=success)).probabilities

    same = (found == predicted).all(axis=1)
    assert same[query]
    assert same[:NUM_TRAIN].sum() == NUM_TRAIN / 5  # its fold
    assert not same[NUM_TRAIN:].any()  # held-out queries are predicted by all training queries


def test_labels_of_held_out_queries_are_not_read(problem: Problem, predicted: FloatArray) -> None:
    success = problem.labels.success.copy()
    success[NUM_TRAIN:] = 1.0 - success[NUM_TRAIN:]

    assert np.array_equal(fit(relabel(problem, success=success)).probabilities, predicted)


def test_unknown_pairs_are_not_learned_from(problem: Problem) -> None:
    known = problem.labels.known.copy()
    known[::3, 0] = False
    success = problem.labels.success.copy()
    success[::3, 0] = 1.0 - success[::3, 0]

    plain = fit(relabel(problem, known=known)).probabilities
    other = fit(relabel(problem, known=known, success=success)).probabilities

    assert np.array_equal(plain, other)


def test_permutation_of_workers_permutes_predictions(
    problem: Problem, predicted: FloatArray
) -> None:
    labels = problem.labels
    turned = relabel(problem, success=labels.success[:, ::-1], known=labels.known[:, ::-1])

    assert fit(turned).probabilities[:, ::-1] == pytest.approx(predicted, abs=1e-3)


def test_known_log_odds_are_recovered() -> None:
    """Of the gain that the truth has over the type mean, learning reaches nine tenths."""
    problem, chance = make_problem(
        lambda x, _: 6.0 * x[:, :1] + np.array([1.0, 0.0, -1.0]), num_queries=1800, num_workers=3
    )
    train = rows_of(1800, 1200)
    fitted = cross_fit(problem, {"type mean": (), "logistic": (LOGISTIC,)}, train, seed=0)

    by_type, by_text = (loss(problem, f.probabilities, ~train) for f in fitted.values())
    bayes = loss(problem, chance, ~train)

    assert by_type - bayes > 0.2
    assert by_text - bayes < 0.1 * (by_type - bayes)
    predicted = fitted["logistic"].probabilities
    error = reliability(problem.labels, predicted, ~train).error
    assert error < reliability(problem.labels, chance, ~train).error + 0.02  # that is noise


def test_text_that_tells_nothing_leaves_the_type_mean() -> None:
    problem, _ = make_problem(
        lambda x, kind: np.where(kind == 0, 1.5, -1.5)[:, None], num_queries=600, size=16
    )
    train = rows_of(600, 400)

    fitted = cross_fit(problem, {"type mean": (), "logistic": (LOGISTIC,)}, train, seed=0)

    by_type, by_text = (loss(problem, f.probabilities, ~train) for f in fitted.values())
    assert by_text < by_type + 0.01
    assert fitted["logistic"].shares[0] < 0.5
    assert fitted["type mean"].shares == ()


@pytest.mark.parametrize("always", [1.0, 0.0])
def test_worker_with_one_kind_of_outcome_gets_nearly_that(problem: Problem, always: float) -> None:
    success = problem.labels.success.copy()
    success[:, 1] = always

    found = fit(relabel(problem, success=success)).probabilities

    assert found[:, 1].mean() == pytest.approx(always, abs=0.05)
    assert ((found > 0) & (found < 1)).all()


def test_worker_that_was_never_recorded_gets_the_mean_of_the_others(problem: Problem) -> None:
    known = problem.labels.known.copy()
    known[:, 1] = False

    found = cross_fit(relabel(problem, known=known), {"m": ()}, TRAIN, seed=0)["m"].probabilities

    assert found[:, 1] == pytest.approx(found[:, 0], abs=0.02)


def test_type_without_training_queries_is_predicted_all_the_same(problem: Problem) -> None:
    task_type = problem.labels.task_type.copy()
    task_type[:NUM_TRAIN] = 0

    found = fit(relabel(problem, task_type=task_type)).probabilities

    assert np.isfinite(found).all()


@pytest.mark.parametrize("count", [0, 4])
def test_too_few_training_queries_are_refused(problem: Problem, count: int) -> None:
    with pytest.raises(DataError, match=rf"at least 5 training queries, got {count}; record more"):
        fit(problem, train=rows_of(240, count))


def test_type_means_add_two_calls_of_type_and_worker() -> None:
    labels = Labels(
        success=np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]),
        known=np.array([[True, True], [True, True], [True, False], [True, True]]),
        task_type=np.array([0, 0, 0, 1], np.int32),
    )
    train = np.array([True, True, True, False])

    found = type_means(labels, train, 2)

    overall = 3 / 7  # 2 of 5 calls, and Laplace's two
    worker = (np.array([2.0, 0.0]) + 2 * overall) / (np.array([3.0, 2.0]) + 2)
    kind = (np.array([2.0, 0.0]) + 2 * overall) / (np.array([5.0, 0.0]) + 2)
    prior = sigmoid(log_odds(kind)[:, None] + log_odds(worker) - log_odds(np.array(overall)))
    assert found[0] == pytest.approx((np.array([2.0, 0.0]) + 2 * prior[0]) / np.array([5.0, 4.0]))
    assert found[1] == pytest.approx(prior[1])  # no call of this type
    assert prior[1] == pytest.approx(worker)


def test_prior_has_a_row_per_query(problem: Problem) -> None:
    means = type_means(problem.labels, TRAIN, NUM_TYPES)

    assert sigmoid(prior_log_odds(problem, TRAIN))[3] == pytest.approx(means[1])


def test_best_shares_undo_a_known_scale() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=20_000)
    success = (rng.random(20_000) < sigmoid(truth)).astype(float)
    noise = rng.normal(size=20_000)

    shares = best_shares(np.zeros(20_000), np.stack([truth / 2, noise]), success)

    assert shares == pytest.approx([2.0, 0.0], abs=0.08)


def test_best_shares_are_never_negative() -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(size=2_000)
    success = (rng.random(2_000) < sigmoid(truth)).astype(float)

    assert best_shares(np.zeros(2_000), np.stack([-truth, 0 * truth]), success).tolist() == [0, 0]


def test_folds_deal_every_type_evenly() -> None:
    task_type = np.repeat(np.arange(3, dtype=np.int32), (50, 25, 5))
    rows = np.arange(80) != 7

    folds = split_folds(task_type, rows, 5, seed=3)

    assert folds[7] == -1
    for kind in range(3):
        counts = np.bincount(folds[(task_type == kind) & rows], minlength=5)
        assert counts.max() - counts.min() <= 1
