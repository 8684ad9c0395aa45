"""CrossedPrior: how far pairs of worker and task type are shrunk towards the others."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from orchestai_env.datasets.calibration.crossed import CrossedPrior

WORKERS, TYPES = 8, 10


def drawn(rng: np.random.Generator, rest: list[float]) -> tuple[CrossedPrior, np.ndarray]:
    """Draws pairs whose rest has a standard deviation per worker, and an unfitted prior of them."""
    worker, kind = (axis.ravel() for axis in np.indices((WORKERS, TYPES)))
    effects = rng.normal(0.0, 0.6, WORKERS)[worker] + rng.normal(0.0, 0.4, TYPES)[kind]
    prior = CrossedPrior(worker=worker, task_type=kind, center=0.0, center_sd=1.0)
    return prior, effects + rng.normal(0.0, np.array(rest)[worker])


def test_standard_deviations_are_found() -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(8):
        prior, truth = drawn(rng, [0.3] * WORKERS)
        noise = rng.normal(0.0, 0.1, len(truth))
        found.append(prior.fitted(truth + noise, np.eye(len(truth)) / 0.01).deviations)
    assert np.mean(found, axis=0) == pytest.approx([0.3, 0.6, 0.4], rel=0.2)


def test_uneven_worker_is_shrunk_less_than_even_ones() -> None:
    """One worker is good at some types and useless at others: its other types say little of one."""
    rng = np.random.default_rng(1)
    prior, truth = drawn(rng, [1.5, *[0.1] * (WORKERS - 1)])
    precision = np.eye(len(truth)) / 0.5**2
    estimate = truth + rng.normal(0.0, 0.5, len(truth))
    fitted = prior.fitted(estimate, precision)
    factor = np.broadcast_to(fitted.unevenness, truth.shape)[::TYPES]
    assert factor[0] > 1.5 > 1.2 > factor[1:].max()
    alike = dataclasses.replace(fitted, unevenness=1.0)
    own, equal = (one.posterior(estimate, precision)[0] - truth for one in (fitted, alike))
    uneven = prior.worker == 0
    for workers in (uneven, ~uneven):
        assert (own[workers] ** 2).mean() < (equal[workers] ** 2).mean()


def test_surprise_has_the_slopes_of_its_value() -> None:
    rng = np.random.default_rng(2)
    prior, truth = drawn(rng, [0.4] * WORKERS)
    noise = np.diag(rng.uniform(0.05, 0.5, len(truth)))
    logs = np.log([0.5, 0.4, 0.3])

    def at(step: np.ndarray) -> tuple[float, list[float]]:
        rest, worker, kind = np.exp(logs + step).tolist()
        moved = dataclasses.replace(prior, deviations=(rest, worker, kind))
        value, by_pair, by_worker, by_type = moved._surprise(truth, noise)
        return value, [float(by_pair.sum()), by_worker, by_type]

    for step, slope in zip(1e-5 * np.eye(3), at(np.zeros(3))[1], strict=True):
        assert (at(step)[0] - at(-step)[0]) / 2e-5 == pytest.approx(slope, rel=1e-5)
