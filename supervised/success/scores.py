"""How good success predictions are: log loss, ranking and calibration, with intervals."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from supervised.intervals import REPLICATES, Interval
from supervised.success.cross_fitting import BoolArray, FloatArray, Labels, log_odds, mean_loss

CALIBRATION_BINS = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """How good predictions are on one set of queries; NaN where nothing was recorded."""

    log_loss: float
    """Mean over recorded pairs [nats]."""
    auc: float
    """Area under the ROC curve, mean over workers."""
    calibration_error: float
    """Expected calibration error: see `reliability`, mean of |gap| weighted by pairs."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reliability:
    """Predicted and seen success by bins of the prediction, pooled over workers."""

    predicted: FloatArray
    """float64 (bins,), ascending: mean prediction of a bin."""
    seen: FloatArray
    """float64 (bins,): mean recorded success."""
    count: npt.NDArray[np.int64]
    """int64 (bins,): pairs, all about as many."""

    @property
    def error(self) -> float:
        """Expected calibration error, 0..1.

        Source: Naeini, Cooper, Hauskrecht, Obtaining Well Calibrated Probabilities Using Bayesian
        Binning (AAAI 2015), with bins of equal count.
        """
        if not len(self.count):
            return float("nan")
        return float(np.average(np.abs(self.predicted - self.seen), weights=self.count))


def reliability(
    labels: Labels, predicted: FloatArray, rows: BoolArray, num_bins: int = CALIBRATION_BINS
) -> Reliability:
    """Bins the recorded pairs of chosen queries by their prediction; equal ones stay together."""
    use = labels.known & rows[:, None]
    success, values = labels.success[use], predicted[use]
    cuts = np.linspace(0, 1, num_bins + 1)[1:-1]
    edges = np.unique(np.quantile(values, cuts)) if use.any() else np.empty(0)
    place = np.searchsorted(edges, values, side="left")
    count = np.bincount(place, minlength=len(edges) + 1)
    full = np.flatnonzero(count)
    total, won = (
        np.bincount(place, weights=w, minlength=len(edges) + 1)[full] for w in (values, success)
    )
    return Reliability(predicted=total / count[full], seen=won / count[full], count=count[full])


def score(labels: Labels, predicted: FloatArray, rows: BoolArray) -> Score:
    """Scores predictions on chosen queries."""
    use = labels.known & rows[:, None]
    nothing = not use.any()
    areas = _only_finite(worker_auc(labels, predicted, rows))
    return Score(
        log_loss=float("nan")
        if nothing
        else mean_loss(log_odds(predicted[use]), labels.success[use]),
        auc=float(areas.mean()) if len(areas) else float("nan"),
        calibration_error=reliability(labels, predicted, rows).error,
    )


def choose(labels: Labels, predicted: Mapping[str, FloatArray], rows: BoolArray) -> str:
    """Returns the candidate with the least log loss on the given queries, the first of equals."""
    losses = {name: score(labels, values, rows).log_loss for name, values in predicted.items()}
    return min(losses, key=lambda name: losses[name])


def worker_losses(labels: Labels, predicted: FloatArray, rows: BoolArray) -> FloatArray:
    """Returns float64 (W,): log loss [nats] of each worker; NaN for one without a recorded call."""
    weight = rows.astype(np.float64)[None]
    return np.asarray(_weighted_losses(labels, predicted, weight)[0])


def worker_auc(labels: Labels, predicted: FloatArray, rows: BoolArray) -> FloatArray:
    """Returns float64 (W,): area under each worker's ROC curve; NaN without both outcomes."""
    weight = rows.astype(np.float64)[None]
    return np.asarray(_weighted_auc(labels, predicted, weight)[0])


def intervals(
    labels: Labels,
    predicted: Mapping[str, Sequence[FloatArray]],
    rows: BoolArray,
    baseline: str,
    *,
    replicates: int = REPLICATES,
) -> dict[str, dict[str, Interval]]:
    """Scores candidates on chosen queries, with intervals and paired gains over a baseline.

    A draw resamples queries and takes the predictions of one seed; all candidates share it.

    Args:
        labels: recorded successes.
        predicted: candidate -> predictions of each seed, float64 (Q, W) each.
        rows: bool (Q,); the queries.
        baseline: candidate that gains are against.
        replicates: number of draws.
    Returns:
        candidate -> log_loss, auc (means over workers), and their gains log_loss_gain, auc_gain
        (above 0 is better than the baseline).
    """
    rng = np.random.default_rng(0)
    chosen = np.flatnonzero(rows)
    drawn = rng.multinomial(len(chosen), np.full(len(chosen), 1 / len(chosen)), replicates)
    weight = np.zeros((1 + replicates, len(rows)))
    weight[0, chosen], weight[1:, chosen] = 1.0, drawn
    num_seeds = len(predicted[baseline])
    seed_of = rng.integers(num_seeds, size=replicates)
    values = {
        name: {
            "log_loss": _over_workers(_weighted_losses, labels, several, weight),
            "auc": _over_workers(_weighted_auc, labels, several, weight),
        }
        for name, several in predicted.items()
    }
    base = values[baseline]
    result = {}
    for name, own in values.items():
        table = own | {
            "log_loss_gain": base["log_loss"] - own["log_loss"],
            "auc_gain": own["auc"] - base["auc"],
        }
        result[name] = {key: _interval(value, seed_of) for key, value in table.items()}
    return result


def _interval(values: FloatArray, seed_of: npt.NDArray[np.int64]) -> Interval:
    """Summarises values (seeds, 1 + draws), of which the first column has every query once."""
    draws = values[seed_of, np.arange(1, values.shape[1])]
    low, high = np.nanquantile(draws, (0.025, 0.975)) if np.isfinite(draws).any() else (np.nan,) * 2
    return Interval(mean=float(values[:, 0].mean()), low=float(low), high=float(high))


def _over_workers(
    figure: Callable[[Labels, FloatArray, FloatArray], FloatArray],
    labels: Labels,
    several: Sequence[FloatArray],
    weight: FloatArray,
) -> FloatArray:
    """Returns float64 (seeds, 1 + draws): a figure's mean over the workers that have it."""
    result = []
    for predicted in several:
        values = figure(labels, predicted, weight)
        finite = np.isfinite(values)
        total = np.where(finite, values, 0.0).sum(axis=1)
        with np.errstate(invalid="ignore"):
            result.append(total / finite.sum(axis=1))
    return np.array(result)


def _weighted_losses(labels: Labels, predicted: FloatArray, weight: FloatArray) -> FloatArray:
    """Returns float64 (R, W): log loss under each of R query weightings (R, Q)."""
    odds = log_odds(predicted)
    loss = (np.logaddexp(0.0, odds) - labels.success * odds) * labels.known
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((weight @ loss) / (weight @ labels.known))


def _weighted_auc(labels: Labels, predicted: FloatArray, weight: FloatArray) -> FloatArray:
    """Returns float64 (R, W): area under the ROC curve under R query weightings (R, Q).

    The share of (success, failure) pairs in which the success has the higher prediction, ties half.
    A query with several trials counts as success and failure, by their shares.
    """
    result = np.full((len(weight), predicted.shape[1]), np.nan)
    for w in range(predicted.shape[1]):
        known = np.flatnonzero(labels.known[:, w] & (weight > 0).any(axis=0))
        if not len(known):
            continue
        order = known[np.argsort(predicted[known, w], kind="stable")]
        starts = np.flatnonzero(np.diff(predicted[order, w], prepend=-np.inf))
        won = np.add.reduceat(weight[:, order] * labels.success[order, w], starts, axis=1)
        lost = np.add.reduceat(weight[:, order] * (1 - labels.success[order, w]), starts, axis=1)
        below = np.cumsum(lost, axis=1) - lost / 2
        pairs = won.sum(axis=1) * lost.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            result[:, w] = np.where(pairs > 0, (won * below).sum(axis=1) / pairs, np.nan)
    return result


def _only_finite(values: FloatArray) -> FloatArray:
    return values[np.isfinite(values)]
