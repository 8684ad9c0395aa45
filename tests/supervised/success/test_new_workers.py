"""A worker that was not in training: from its features, then more and more from its calls."""

from __future__ import annotations

import numpy as np
import pytest

from orchestai_env.errors import DataError
from orchestai_env.workers import WorkerPool, WorkerSpec
from supervised.success.cross_fitting import log_odds, sigmoid
from supervised.success.new_workers import (
    KnownWorkers,
    known_workers,
    predict_new_worker,
    worker_features,
)
from tests.supervised.success.problems import make_problem, rows_of

TYPES = np.array([0, 1, 0, 1], np.int32)
NO_CALLS = {"wins": np.zeros(2), "calls": np.zeros(2)}


def made_up(noise: float = 0.0, num_workers: int = 12) -> KnownWorkers:
    """Skill is the feature on type 0 and a constant on type 1; the second feature is noise."""
    rng = np.random.default_rng(0)
    features = np.stack([np.linspace(-2, 2, num_workers), rng.normal(size=num_workers)], axis=1)
    odds = np.stack([features[:, 0], np.full(num_workers, 0.5)])
    return KnownWorkers(
        features=features,
        type_odds=odds + noise * rng.normal(size=odds.shape),
        known=np.ones((2, num_workers), bool),
        difficulty=np.array([0.0, 0.0, 1.0, -1.0]),
    )


def test_features_tell_the_skill_of_a_worker_without_calls() -> None:
    found = predict_new_worker(made_up(), np.array([1.5, 0.0]), TYPES, **NO_CALLS)

    expected = sigmoid(np.array([1.5, 0.5, 2.5, -0.5]))
    assert found == pytest.approx(expected, abs=0.03)


def test_calls_overrule_the_features() -> None:
    wins, calls = np.array([100.0, 0.0]), np.array([10_000.0, 0.0])

    found = predict_new_worker(made_up(0.5), np.array([1.5, 0.0]), TYPES, wins=wins, calls=calls)

    assert found[0] == pytest.approx(0.01, abs=0.01)
    assert found[1] == pytest.approx(sigmoid(np.array(0.5)), abs=0.1)  # no call of that type


def test_without_features_it_is_the_mean_of_the_others() -> None:
    workers = made_up()
    bare = KnownWorkers(
        features=np.zeros((12, 0)),
        type_odds=workers.type_odds,
        known=workers.known,
        difficulty=workers.difficulty,
    )

    found = predict_new_worker(bare, np.zeros(0), TYPES, **NO_CALLS)

    assert log_odds(found) == pytest.approx([0.0, 0.5, 1.0, -0.5])


def test_type_that_no_known_worker_was_called_on_is_predicted() -> None:
    workers = made_up()
    bare = KnownWorkers(
        features=workers.features,
        type_odds=workers.type_odds,
        known=np.zeros((2, 12), bool),
        difficulty=workers.difficulty,
    )

    assert np.isfinite(predict_new_worker(bare, np.zeros(2), TYPES, **NO_CALLS)).all()


def test_difficulty_is_what_workers_agree_on() -> None:
    problem, chance = make_problem(lambda x, _: 5.0 * x[:, :1] + np.arange(3.0), num_workers=3)

    found = known_workers(problem.labels, rows_of(240), 2, chance, np.zeros((3, 0)))

    assert np.corrcoef(found.difficulty, problem.embeddings[:, 0])[0, 1] > 0.99
    assert found.type_odds.shape == (2, 3) and found.known.all()


@pytest.mark.parametrize(
    ("features", "counts"), [(np.zeros(3), np.zeros(2)), (np.zeros(2), np.zeros(3))]
)
def test_other_features_or_types_are_refused(features: np.ndarray, counts: np.ndarray) -> None:
    with pytest.raises(DataError, match="expected 2 features and counts of 2 task types"):
        predict_new_worker(made_up(), features, TYPES, wins=counts, calls=counts)


def test_features_of_a_pool() -> None:
    pool = WorkerPool(
        (
            WorkerSpec(name="a", input_usd_per_mtok=0.99, first_token_ms=0, tokens_per_s=1),
            WorkerSpec(name="b", kind="code"),
        )
    )

    found = worker_features(pool)

    assert found.shape == (2, 10)
    assert found[0, [0, 2, 3, 4]].tolist() == pytest.approx([0.0, 0.0, 0.0, 1.0])
    assert found[1, 4:].tolist() == [0, 0, 0, 1, 0, 0]
