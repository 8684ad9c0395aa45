"""Scores of success predictions: known values, ties, gaps and intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from supervised.success.cross_fitting import FloatArray, Labels
from supervised.success.scores import (
    intervals,
    reliability,
    score,
    worker_auc,
    worker_losses,
)


def labels_of(success: FloatArray) -> Labels:
    return Labels(
        success=success,
        known=np.ones(success.shape, bool),
        task_type=np.zeros(len(success), np.int32),
    )


EVERYONE = np.ones(100, bool)
ALTERNATING = labels_of(np.array([[1.0], [0.0]] * 50))


def test_score_of_known_predictions() -> None:
    right = score(ALTERNATING, np.array([[0.8], [0.2]] * 50), EVERYONE)
    even = score(ALTERNATING, np.full((100, 1), 0.5), EVERYONE)

    assert right.auc == 1.0 and even.auc == 0.5
    assert right.log_loss == pytest.approx(-np.log(0.8))
    assert even.log_loss == pytest.approx(np.log(2))
    assert right.calibration_error == pytest.approx(0.2)
    assert even.calibration_error == pytest.approx(0.0)


def test_score_without_two_outcomes_has_no_auc() -> None:
    found = score(labels_of(np.ones((20, 1))), np.full((20, 1), 0.9), np.ones(20, bool))

    assert np.isnan(found.auc) and found.log_loss == pytest.approx(-np.log(0.9))


def test_score_of_no_queries_is_nan() -> None:
    found = score(ALTERNATING, np.full((100, 1), 0.5), np.zeros(100, bool))

    assert np.isnan([found.log_loss, found.auc, found.calibration_error]).all()


@settings(max_examples=50)
@given(st.integers(0, 10_000))
def test_auc_equals_that_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    success = (rng.random((30, 2)) < 0.5).astype(float)
    success[:2] = [[0, 1], [1, 0]]
    predicted = rng.integers(1, 9, size=(30, 2)) / 10  # with ties

    found = worker_auc(labels_of(success), predicted, np.ones(30, bool))

    expected = [roc_auc_score(success[:, w], predicted[:, w]) for w in (0, 1)]
    assert found == pytest.approx(expected)


def test_worker_without_a_call_has_no_figures() -> None:
    labels = Labels(
        success=ALTERNATING.success.repeat(2, axis=1),
        known=np.array([[True, False]] * 100),
        task_type=np.zeros(100, np.int32),
    )
    predicted = np.full((100, 2), 0.5)

    assert np.isnan(worker_losses(labels, predicted, EVERYONE)).tolist() == [False, True]
    assert np.isnan(worker_auc(labels, predicted, EVERYONE)).tolist() == [False, True]


def test_reliability_of_calibrated_predictions_is_near_the_diagonal() -> None:
    rng = np.random.default_rng(0)
    chance = rng.random((20_000, 1))
    labels = labels_of((rng.random(chance.shape) < chance).astype(float))
    everyone = np.ones(20_000, bool)

    honest, bold = (reliability(labels, p, everyone) for p in (chance, chance**3))

    assert len(honest.count) == 10 and honest.count.sum() == 20_000
    assert honest.seen == pytest.approx(honest.predicted, abs=0.03)
    assert honest.error < 0.015 < 0.2 < bold.error


def test_intervals_hold_the_mean_and_tell_candidates_apart() -> None:
    rng = np.random.default_rng(0)
    chance = rng.random((400, 3))
    labels = labels_of((rng.random(chance.shape) < chance).astype(float))
    everyone = np.ones(400, bool)

    found = intervals(
        labels, {"flat": [np.full((400, 3), 0.5)] * 2, "true": [chance] * 2}, everyone, "flat"
    )

    for table in found.values():
        for value in table.values():
            assert value.low - 1e-12 <= value.mean <= value.high + 1e-12
    assert found["true"]["log_loss_gain"].low > 0.1 and found["true"]["auc_gain"].low > 0.2
    assert found["flat"]["log_loss_gain"].high == 0.0
    assert found["flat"]["auc_gain"].low == 0.0
    assert found["flat"]["log_loss"].mean == pytest.approx(np.log(2))
