"""Predict, then optimise: success is predicted first, and the call that earns most is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from agents.agent import Actions, Obs, ObservationReader, Setting, State
from agents.evaluate import KEYS
from orchestai_env.outcomes.tables import RECORDED

Inputs = npt.NDArray[np.float32]
"""float32 (m, D + T): sentence embedding of a subtask, of length 1, and its task type, one-hot."""
Chances = npt.NDArray[np.float64]
"""float64 (m, W), 0..1: success of each worker."""
SuccessModel = Callable[[Inputs], Chances]

_LEAST = 0.01  # chosen: no prediction is surer than this


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingCalls:
    """Recorded calls of the training queries. M queries, W workers."""

    inputs: Inputs
    """float32 (M, D + T)."""
    success: Chances
    """float64 (M, W), 0..1; mean over trials."""
    known: npt.NDArray[np.bool_]
    """bool (M, W); the pair was recorded."""


def training_calls(setting: Setting) -> TrainingCalls | None:
    """Collects the recorded calls of every query in the workflows of a training split.

    None where success does not depend on the text, or there is no text: simulated outcomes depend
    on the task type and on a hidden difficulty that no text tells, so that the type means, which
    observations show, are the best prediction.
    """
    dataset = setting.dataset
    outcomes, table = dataset.outcomes, dataset.workflows
    if outcomes.kind[0] != RECORDED or dataset.query_embeddings is None:
        return None
    exists = table.query >= 0
    query, first = np.unique(table.query[exists], return_index=True)
    task_type = table.task_type[exists][first]
    num_trials = outcomes.num_trials[query]
    is_trial = np.arange(outcomes.success.shape[2]) < num_trials[..., None]
    wins = (outcomes.success[query] * is_trial).sum(axis=2)
    types = np.eye(len(dataset.task_types), dtype=np.float32)[task_type]
    return TrainingCalls(
        inputs=np.hstack([_of_unit_length(dataset.query_embeddings[query]), types]),
        success=wins / np.maximum(num_trials, 1),
        known=num_trials > 0,
    )


def _of_unit_length(embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    length = np.linalg.norm(embeddings, axis=1, keepdims=True)
    unit: npt.NDArray[np.float32] = embeddings / np.maximum(length, 1e-12)
    return unit


def fit_neighbours(calls: TrainingCalls, seed: int, *, num_neighbours: int = 50) -> SuccessModel:
    """Predicts by the mean over the training queries of the most similar text.

    Those of the same task type come first. The worker's overall mean counts for one more query.

    Args:
        calls: of the training split.
        seed: not read; nothing is drawn.
        num_neighbours: chosen, as in supervised/success/predictors.py.
    """
    count = min(num_neighbours, len(calls.inputs))
    prior = _means(calls)
    wins = calls.success * calls.known

    def model(inputs: Inputs) -> Chances:
        similarity = inputs @ calls.inputs.T
        nearest = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
        total = wins[nearest].sum(axis=1) + prior
        return np.asarray(total / (calls.known[nearest].sum(axis=1) + 1.0))

    return model


def fit_logistic(calls: TrainingCalls, seed: int) -> SuccessModel:
    """Predicts by a logistic regression per worker, with scikit-learn's penalty."""

    def classifier() -> LogisticRegression:
        return LogisticRegression(max_iter=500)

    return _fit_each(calls, calls.inputs, classifier, lambda inputs: inputs)


def fit_boosting(calls: TrainingCalls, seed: int, *, num_components: int = 20) -> SuccessModel:
    """Predicts by gradient-boosted trees per worker, on the main components of the inputs.

    A split looks at some of the components only, drawn by the seed. Sizes are chosen. Not the
    histogram-based trees of scikit-learn: their threads wait for each other where several
    processes share the cores.
    """
    size = min(num_components, *calls.inputs.shape)
    components = PCA(size, svd_solver="covariance_eigh").fit(calls.inputs)

    def classifier() -> GradientBoostingClassifier:
        return GradientBoostingClassifier(
            learning_rate=0.1,
            n_estimators=60,
            max_depth=3,
            min_samples_leaf=20,
            max_features="sqrt",
            random_state=seed,
        )

    return _fit_each(calls, components.transform(calls.inputs), classifier, components.transform)


PREDICTORS: Mapping[str, Callable[[TrainingCalls, int], SuccessModel]] = {
    "predict-knn": fit_neighbours,
    "predict-logistic": fit_logistic,
    "predict-gbm": fit_boosting,
}
"""Name of the agent -> how its predictor is fitted."""


def _means(calls: TrainingCalls) -> npt.NDArray[np.float64]:
    """Returns float64 (W,), inside 0..1: mean success, with one win and one loss added."""
    wins = (calls.success * calls.known).sum(axis=0)
    return np.asarray((wins + 1.0) / (calls.known.sum(axis=0) + 2.0))


def _fit_each(
    calls: TrainingCalls,
    inputs: npt.NDArray[np.floating],
    classifier: Callable[[], LogisticRegression | GradientBoostingClassifier],
    transform: Callable[[Inputs], npt.NDArray[np.floating]],
) -> SuccessModel:
    """Fits a classifier per worker; one whose calls all end alike is predicted its mean.

    A query counts as won where at least half of its trials were.
    """
    prior, fitted = _means(calls), {}
    for w in range(calls.success.shape[1]):
        rows = np.flatnonzero(calls.known[:, w])
        is_won = calls.success[rows, w] >= 0.5
        if is_won.any() and not is_won.all():
            fitted[w] = classifier().fit(inputs[rows], is_won)

    def model(given: Inputs) -> Chances:
        chances = np.tile(prior, (len(given), 1))
        values = transform(given)
        for w, one in fitted.items():
            chances[:, w] = one.predict_proba(values)[:, 1]
        return chances

    return model


class Remembered:
    """Keeps the predictions of inputs that came before: queries come again and again."""

    def __init__(self, model: SuccessModel) -> None:
        """Wraps a model, which is then asked for each input once."""
        self._model = model
        self._known: dict[int, npt.NDArray[np.float64]] = {}

    def __call__(self, inputs: Inputs) -> Chances:
        """Returns the model's predictions."""
        keys, first, inverse = np.unique(self._hash(inputs), return_index=True, return_inverse=True)
        names: list[int] = keys.tolist()
        new = [place for place, key in enumerate(names) if key not in self._known]
        if new:
            found = np.clip(self._model(inputs[first[new]]), _LEAST, 1.0 - _LEAST)
            self._known |= {names[place]: row for place, row in zip(new, found, strict=True)}
        return np.stack([self._known[key] for key in names])[inverse]

    @staticmethod
    def _hash(inputs: Inputs) -> npt.NDArray[np.uint64]:
        """Returns uint64 (m,): a multilinear hash of the bits; two inputs meet by 2**-64 or so."""
        high, size = np.iinfo(np.uint64).max, inputs.shape[1]
        factors = np.random.default_rng(0).integers(high, size=size, dtype=np.uint64)
        bits = np.ascontiguousarray(inputs).view(np.uint32).astype(np.uint64)
        return np.asarray((bits * factors).sum(axis=1, dtype=np.uint64))


class PredictThenOptimiseAgent:
    """Picks the call that is expected to earn most by itself, see ObservationReader.call_value.

    Workers that have failed on the subtask are passed over. Without a model, success is what the
    observation shows: the stored cross-fitted prediction, else the mean of the task type.
    """

    def __init__(
        self, setting: Setting, model: SuccessModel | None = None, *, success_share: float = 1.0
    ) -> None:
        """Takes a fitted model, whose columns are the actions, and the share of call_value."""
        self._success_share = success_share
        self._read = ObservationReader(setting.dataset, setting.rules.max_attempts)
        self._model = None if model is None else Remembered(model)
        self._num_types = len(setting.dataset.task_types)
        self.observation_keys = KEYS if model is None else (*KEYS, "subtask")

    def predict(
        self,
        observation: Obs,
        state: State = None,
        episode_start: npt.NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Actions, State]:
        """Returns int64 (m,) workers; see Agent."""
        value = self._read.call_value(
            observation, self.scores(observation), success_share=self._success_share
        )
        return self._read.best_fresh(observation, value), state

    def scores(self, observation: Obs) -> npt.NDArray[np.floating]:
        """Returns the predicted success (m, W), 0..1."""
        if self._model is None:
            return self._read.worker_feature(observation, "predicted_success")
        types = np.eye(self._num_types, dtype=np.float32)[self._read.task_type(observation)]
        return self._model(np.hstack([_of_unit_length(observation["subtask"]), types]))


def fitted_agent(
    name: str, setting: Setting, train: Setting, *, seed: int, success_share: float = 1.0
) -> PredictThenOptimiseAgent:
    """Returns the agent of a predictor of PREDICTORS that is fitted on a training split."""
    calls = training_calls(train)
    if calls is None:
        return PredictThenOptimiseAgent(setting, success_share=success_share)
    model = PREDICTORS[name](calls, seed)
    return PredictThenOptimiseAgent(setting, model, success_share=success_share)
