"""Every predictor: reads only what it may, learns what is there, survives what is not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from supervised.success.cross_fitting import Predictor, Problem, log_odds, mean_loss, prior_log_odds
from supervised.success.predictors import (
    BOOSTING,
    CANDIDATES,
    LOGISTIC,
    NEIGHBOURS,
    NETWORK,
    TYPE_MEAN,
    Logistic,
    text_features,
)
from tests.supervised.success.problems import make_problem, rows_of

PREDICTORS: dict[str, Predictor] = {
    "neighbours": NEIGHBOURS,
    "logistic": LOGISTIC,
    "alone": Logistic(shared_penalty=None),
    "boosting": BOOSTING,
    "network": NETWORK,
}
every_predictor = pytest.mark.parametrize("predictor", PREDICTORS.values(), ids=PREDICTORS)
TRAIN = rows_of(600, 400)


@pytest.fixture(scope="module")
def problem() -> Problem:
    return make_problem(lambda x, _: 8.0 * x[:, :1], num_queries=600, num_workers=3, form=True)[0]


@every_predictor
def test_what_text_tells_is_learned(problem: Problem, predictor: Predictor) -> None:
    labels = problem.labels
    by_type = mean_loss(prior_log_odds(problem, TRAIN)[~TRAIN], labels.success[~TRAIN])

    found = predictor(problem, TRAIN, seed=0)

    assert found.shape == (600, 3)
    assert mean_loss(found[~TRAIN], labels.success[~TRAIN]) < by_type - 0.02


@every_predictor
def test_other_labels_are_not_read(problem: Problem, predictor: Predictor) -> None:
    success = problem.labels.success.copy()
    success[~TRAIN] = 1.0 - success[~TRAIN]
    changed = dataclasses.replace(
        problem, labels=dataclasses.replace(problem.labels, success=success)
    )

    found = predictor(changed, TRAIN, seed=0)

    assert np.array_equal(found, predictor(problem, TRAIN, seed=0))


@every_predictor
@pytest.mark.parametrize("always", [0.0, 1.0])
def test_one_kind_of_outcome_stays_finite(
    problem: Problem, predictor: Predictor, always: float
) -> None:
    labels = dataclasses.replace(problem.labels, success=np.full((600, 3), always))

    found = predictor(dataclasses.replace(problem, labels=labels), TRAIN, seed=0)

    assert np.isfinite(found).all()
    assert ((found > 0) == (always > 0.5)).all()


@every_predictor
def test_a_handful_of_queries_is_enough(problem: Problem, predictor: Predictor) -> None:
    assert np.isfinite(predictor(problem, rows_of(600, 4), seed=0)).all()


def test_random_numbers_of_the_caller_are_left_alone(problem: Problem) -> None:
    import torch

    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    NETWORK(problem, rows_of(600, 20), seed=0)

    assert torch.rand(1) == expected


def test_features_of_a_type_are_centred_on_its_training_queries(problem: Problem) -> None:
    features = text_features(problem, TRAIN)

    assert features.shape == (600, 8 + 3)
    for kind in (0, 1):
        rows = TRAIN & (problem.labels.task_type == kind)
        assert features[rows].mean(axis=0) == pytest.approx(0.0, abs=0.02)


def test_shared_part_carries_over_to_a_worker_with_few_calls(problem: Problem) -> None:
    known = problem.labels.known.copy()
    known[20:, 2] = False
    few = dataclasses.replace(problem, labels=dataclasses.replace(problem.labels, known=known))
    success = problem.labels.success[~TRAIN, 2]

    together, alone = (
        mean_loss(predictor(few, TRAIN, seed=0)[~TRAIN, 2], success)
        for predictor in (LOGISTIC, Logistic(shared_penalty=None))
    )

    assert together < alone - 0.05


def test_first_candidate_is_the_type_mean() -> None:
    assert next(iter(CANDIDATES)) == TYPE_MEAN and CANDIDATES[TYPE_MEAN] == ()


def test_log_odds_stay_finite() -> None:
    assert np.isfinite(log_odds(np.array([0.0, 1.0]))).all()
