"""Success predictors on the recorded outcomes of real LLMs, by the form of the text alone.

Sentence embeddings take a minute, so they are left out here; with them predictions get better.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from supervised.compare_new_workers import OTHERS, leave_one_out, price_features
from supervised.success.cross_fitting import Problem, cross_fit
from supervised.success.predictors import LOGISTIC
from supervised.success.scores import intervals, score, worker_losses
from supervised.success.source_labels import SourceLabels, read_source_labels
from supervised.texts.form import text_form

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def source(data_root: Path) -> SourceLabels:
    return read_source_labels(data_root / "zeroeval")


@pytest.fixture(scope="module")
def problem(source: SourceLabels) -> Problem:
    return Problem(
        embeddings=np.zeros((len(source.queries), 1), np.float32),
        form=text_form(source.queries.prompts),
        labels=source.labels,
        num_types=len(source.queries.task_types),
    )


def test_source_has_all_its_workers(source: SourceLabels) -> None:
    assert source.labels.success.shape == (1972, 56)
    assert source.queries.task_types == ("code_reasoning", "competition_math", "grade_school_math")


def test_text_beats_the_type_mean_and_is_calibrated(source: SourceLabels, problem: Problem) -> None:
    """Interval of the gain in log loss above 0 on test queries; calibration error below 0.03."""
    candidates = {"type mean": (), "logistic": (LOGISTIC,)}
    test = source.rows("test")

    fitted = cross_fit(problem, candidates, source.rows("train"), seed=0)

    predicted = {name: [found.probabilities] for name, found in fitted.items()}
    gain = intervals(source.labels, predicted, test, "type mean", replicates=200)["logistic"]
    assert gain["log_loss_gain"].low > 0 and gain["auc_gain"].low > 0
    assert score(source.labels, predicted["logistic"][0], test).calibration_error < 0.03


def test_worker_left_out_is_predicted_better_than_by_the_others_mean(
    source: SourceLabels, problem: Problem, data_root: Path
) -> None:
    """Mean log loss over the 56 workers, from prices and the difficulty of the text, no call."""
    features = price_features(data_root / "worker_prices.csv", source.workers)

    found = leave_one_out(problem, source, features, seed=0)

    losses = {
        name: np.nanmean(worker_losses(source.labels, values, source.rows("test")))
        for name, values in found.items()
    }
    assert losses["0 calls per type"] < losses[OTHERS] - 0.01
    assert losses["20 calls per type"] < losses["5 calls per type"] < losses["0 calls per type"]


def test_permuted_texts_gain_nothing(source: SourceLabels, problem: Problem) -> None:
    """A control: texts dealt out anew within their type leave the type mean."""
    rng = np.random.default_rng(0)
    form = problem.form.copy()
    for kind in range(problem.num_types):
        rows = np.flatnonzero(problem.labels.task_type == kind)
        form[rows] = form[rng.permutation(rows)]
    control = dataclasses.replace(problem, form=form)

    fitted = cross_fit(
        control, {"type mean": (), "logistic": (LOGISTIC,)}, source.rows("train"), seed=0
    )

    by_type, by_text = (
        score(source.labels, found.probabilities, source.rows("test")).log_loss
        for found in fitted.values()
    )
    assert by_text < by_type + 0.003
