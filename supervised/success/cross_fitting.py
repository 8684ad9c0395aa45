"""Success predictor: P(success | query text, task type, worker), cross-fitted and calibrated.

Log-odds of success are those of the task-type mean plus a share of what predictors add from the
text. The shares, 0 where text tells nothing, are chosen by cross-fitted log loss of the training
queries; they shrink predictions towards the type mean and calibrate them at once. A training query
is predicted by models, type means and shares that have not seen it: each fold chooses its shares
by folds within the other folds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
from rich.progress import track

from orchestai_env.errors import DataError

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

FOLDS = 5
"""Parts of the training queries; each is predicted by the other four."""
INNER_FOLDS = 3
"""Parts of those four, by which they choose their shares."""
PRIOR_CALLS = 2.0
"""Calls that a prior mean counts for; chosen, 2 as in Laplace's rule."""
MAX_SHARE = 2.0
"""Largest share: twice what the predictor says; chosen, so that little data cannot run away."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Labels:
    """Recorded successes of Q queries and W workers."""

    success: FloatArray
    """float64 (Q, W), 0..1: mean over trials."""
    known: BoolArray
    """bool (Q, W): the pair was recorded."""
    task_type: npt.NDArray[np.int32]
    """int32 (Q,), 0..num_types-1."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
    """Queries with what is known before a call, and their recorded outcomes."""

    embeddings: npt.NDArray[np.float32]
    """float32 (Q, D): sentence embeddings."""
    form: FloatArray
    """float64 (Q, F): counts of `text_form`, or no column."""
    labels: Labels
    num_types: int
    """Size T of the vocabulary of task types."""


class Predictor(Protocol):
    """Predicts log-odds of success from text."""

    def __call__(self, problem: Problem, fit: BoolArray, *, seed: int) -> FloatArray:
        """Learns from some queries and predicts all.

        Args:
            problem: queries.
            fit: bool (Q,); only the labels of these are read.
            seed: of whatever is drawn.
        Returns:
            float64 (Q, W) log-odds.
        """
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrossFitted:
    """Predictions of all queries, each by models that have not seen it."""

    probabilities: FloatArray
    """float64 (Q, W), inside 0..1."""
    shares: tuple[float, ...]
    """Share of each predictor in the model of all training queries, 0..MAX_SHARE."""


def type_means(labels: Labels, fit: BoolArray, num_types: int) -> FloatArray:
    """Returns float64 (T, W), inside 0..1: mean success over the chosen queries of each type.

    Two calls are added that go as type and worker together suggest: their log-odds are those of
    the type over all workers plus those of the worker over all types less those of everything. So
    a worker without calls of a type gets a sensible mean, and none is 0 or 1.
    """
    known = labels.known[fit].astype(np.float64)
    kind = np.eye(num_types)[labels.task_type[fit]]
    wins, calls = kind.T @ (labels.success[fit] * known), kind.T @ known
    overall = (wins.sum() + 1.0) / (calls.sum() + 2.0)

    def shrunk(wins: FloatArray, calls: FloatArray, prior: FloatArray | float) -> FloatArray:
        return np.asarray((wins + PRIOR_CALLS * prior) / (calls + PRIOR_CALLS))

    of_type = log_odds(shrunk(wins.sum(1), calls.sum(1), overall))
    of_worker = log_odds(shrunk(wins.sum(0), calls.sum(0), overall))
    prior = sigmoid(of_type[:, None] + of_worker - log_odds(np.array(overall)))
    return shrunk(wins, calls, prior)


def cross_fit(
    problem: Problem,
    candidates: Mapping[str, Sequence[Predictor]],
    train: BoolArray,
    *,
    seed: int,
) -> dict[str, CrossFitted]:
    """Predicts every query by models that have not seen it.

    A predictor that several candidates share is fitted once for all of them.

    Args:
        problem: queries; only labels of training queries are read.
        candidates: name -> predictors whose log-odds are added; none gives the type mean.
        train: bool (Q,); queries that models may be fitted on.
        seed: of the folds and the predictors.
    Returns:
        name -> predictions.
    Raises:
        DataError: there are fewer training queries than folds.
    """
    if train.sum() < FOLDS:
        raise DataError(
            f"success predictor: expected at least {FOLDS} training queries, got {train.sum()}; "
            "record more"
        )
    folds = split_folds(problem.labels.task_type, train, FOLDS, seed)
    results = {name: np.zeros_like(problem.labels.success) for name in candidates}
    shares: dict[str, tuple[float, ...]] = {}
    parts = (*range(FOLDS), -1)  # -1, the queries outside training, last: its shares stay
    for fold in track(parts, description="cross-fitting predictors"):
        fit, apply = train & (folds != fold), folds == fold
        predicted = _predict_part(problem, candidates, fit, seed)
        for name, part in predicted.items():
            results[name][apply] = part.probabilities[apply]
            shares[name] = part.shares
    return {
        name: CrossFitted(probabilities=results[name], shares=shares[name]) for name in candidates
    }


def _predict_part(
    problem: Problem, candidates: Mapping[str, Sequence[Predictor]], fit: BoolArray, seed: int
) -> dict[str, CrossFitted]:
    """Fits models and shares on the chosen queries alone and predicts all queries."""
    labels = problem.labels
    predictors = list(dict.fromkeys(p for several in candidates.values() for p in several))
    inner = split_folds(labels.task_type, fit, INNER_FOLDS, seed + 1)
    held_prior, held_gains = (
        np.zeros_like(labels.success),
        np.zeros((len(predictors), *labels.success.shape)),
    )
    for fold in range(INNER_FOLDS):
        prior, gains = _prior_and_gains(problem, predictors, fit & (inner != fold), seed)
        apply = inner == fold
        held_prior[apply], held_gains[:, apply] = prior[apply], gains[:, apply]
    prior, gains = _prior_and_gains(problem, predictors, fit, seed)
    use = labels.known & fit[:, None]
    result = {}
    for name, members in candidates.items():
        rows = [predictors.index(member) for member in members]
        shares = best_shares(held_prior[use], held_gains[rows][:, use], labels.success[use])
        total = prior + np.tensordot(shares, gains[rows], axes=1)
        result[name] = CrossFitted(probabilities=sigmoid(total), shares=tuple(shares.tolist()))
    return result


def _prior_and_gains(
    problem: Problem, predictors: Sequence[Predictor], fit: BoolArray, seed: int
) -> tuple[FloatArray, FloatArray]:
    """Returns log-odds of the type means (Q, W), and what each predictor adds (P, Q, W)."""
    prior = prior_log_odds(problem, fit)
    gains = np.zeros((len(predictors), *prior.shape))
    for row, predictor in enumerate(predictors):
        gains[row] = predictor(problem, fit, seed=seed) - prior
    return prior, gains


def prior_log_odds(problem: Problem, fit: BoolArray) -> FloatArray:
    """Returns float64 (Q, W): log-odds of the type means of the chosen queries."""
    means = type_means(problem.labels, fit, problem.num_types)
    return log_odds(means)[problem.labels.task_type]


def best_shares(prior: FloatArray, gains: FloatArray, success: FloatArray) -> FloatArray:
    """Returns the shares of the gains that minimise the log loss, within 0..MAX_SHARE.

    Newton's method; the most negative share is set to 0 until none is left, then large ones cut.

    Args:
        prior: float64 (n,) log-odds.
        gains: float64 (P, n), added to them.
        success: float64 (n,), 0..1.
    Returns:
        float64 (P,), 0..MAX_SHARE.
    """
    shares = np.zeros(len(gains))
    active = np.flatnonzero((gains != 0).any(axis=1))
    while len(active):
        found = _newton(prior, gains[active], success)
        if found.min() >= 0:
            shares[active] = np.minimum(found, MAX_SHARE)
            break
        active = np.delete(active, found.argmin())
    return shares


def _newton(prior: FloatArray, gains: FloatArray, success: FloatArray) -> FloatArray:
    """Minimises mean log loss + ridge * |shares|^2, which is convex, by damped Newton steps."""
    shares, ridge = np.zeros(len(gains)), 1e-6  # the ridge only keeps equal gains apart

    def loss(shares: FloatArray) -> float:
        return mean_loss(prior + shares @ gains, success) + ridge * float(shares @ shares)

    for _ in range(50):
        chance = sigmoid(prior + shares @ gains)
        slope = gains @ (chance - success) / len(success) + 2 * ridge * shares
        bend = (gains * chance * (1 - chance)) @ gains.T / len(success)
        step = np.linalg.solve(bend + 2 * ridge * np.eye(len(gains)), slope)
        size, before = 1.0, loss(shares)
        while loss(shares - size * step) > before and size > 1e-6:
            size /= 2
        shares = shares - size * step
        if np.abs(size * step).max() < 1e-8:
            break
    return shares


def split_folds(
    task_type: npt.NDArray[np.int32], rows: BoolArray, num_folds: int, seed: int
) -> npt.NDArray[np.int64]:
    """Deals the chosen queries out to folds, each type evenly; returns int64 (Q,), -1 elsewhere."""
    shuffled = np.random.default_rng(seed).permutation(np.flatnonzero(rows))
    dealt = shuffled[np.argsort(task_type[shuffled], kind="stable")]
    folds = np.full(len(rows), -1)
    folds[dealt] = np.arange(len(dealt)) % num_folds
    return folds


def mean_loss(log_odds: FloatArray, success: FloatArray) -> float:
    """Returns the mean log loss [nats] of log-odds against outcomes in 0..1."""
    return float((np.logaddexp(0.0, log_odds) - success * log_odds).mean())


def sigmoid(log_odds: FloatArray) -> FloatArray:
    """Returns probabilities inside 0..1, kept 1e-6 away from both."""
    clipped = np.clip(log_odds, -13.8, 13.8)  # ln(1e6)
    return np.asarray(1.0 / (1.0 + np.exp(-clipped)))


def log_odds(probability: FloatArray) -> FloatArray:
    """Returns ln(p / (1 - p)), with p kept 1e-6 away from 0 and 1."""
    kept = np.clip(probability, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(kept / (1.0 - kept)))
