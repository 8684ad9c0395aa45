"""Predict, then optimise: predictors that learn from text, and what is made of a prediction."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from agents.agent import ObservationReader, Setting
from agents.baselines.predictive import (
    PREDICTORS,
    Inputs,
    PredictThenOptimiseAgent,
    Remembered,
    fitted_agent,
    training_calls,
)
from agents.evaluate import evaluate
from orchestai_env.reward import RewardWeights
from tests.agents.problems import (
    builtin_setting,
    calls_of,
    first_observations,
    random_observations,
    toy_setting,
)
from tests.orchestai_env.toy import Instance, Trial, chain, lose, win

GROUPS = np.array([[1.0, 0.1, 0.0], [0.1, 1.0, 0.0]], np.float32)
"""Embeddings of two kinds of text; worker 0 serves the first, worker 1 the second."""


def with_embeddings(setting: Setting, embeddings: np.ndarray) -> Setting:
    dataset = dataclasses.replace(setting.dataset, query_embeddings=embeddings)
    return dataclasses.replace(setting, dataset=dataset)


def two_kinds(count: int, seed: int) -> Setting:
    """Returns workflows of one subtask of either kind, told apart by their text alone."""
    rng = np.random.default_rng(seed)
    kind = np.arange(count) % 2
    instances = [chain(tuple((win if w == k else lose)(1000, 0.5) for w in range(3))) for k in kind]
    text = GROUPS[kind] + rng.normal(0.0, 0.1, (count, 3)).astype(np.float32)
    return with_embeddings(toy_setting(instances, max_attempts=1), text.astype(np.float32))


@pytest.mark.parametrize("name", list(PREDICTORS))
def test_predictor_learns_from_text_who_serves_what(name: str) -> None:
    """Worker 0 or 1 is right by turns and 2 never; without the text a guess is right half the
    time."""
    train, test = two_kinds(300, 0), two_kinds(100, 1)

    agent = fitted_agent(name, test, train, seed=0)

    assert agent.observation_keys[-1] == "subtask"
    assert evaluate(agent, test, seed=0).success.mean() > 0.95


@pytest.mark.parametrize("name", list(PREDICTORS))
def test_prediction_of_an_observation_does_not_depend_on_others(name: str) -> None:
    train, test = two_kinds(60, 0), two_kinds(30, 1)
    together = calls_of(fitted_agent(name, test, train, seed=0), test)

    for k in (0, 7, 29):
        workflows = test.dataset.workflows.take(np.array([k]))
        alone = dataclasses.replace(test, dataset=test.dataset.with_workflows(workflows))
        assert calls_of(fitted_agent(name, test, train, seed=0), alone) == [together[k]]


@pytest.mark.parametrize("name", list(PREDICTORS))
def test_predictor_copes_with_workers_that_never_differ_and_unrecorded_ones(name: str) -> None:
    instances = [chain((win(1, 0.1), lose(1, 0.1), ())) for _ in range(8)]
    setting = with_embeddings(toy_setting(instances), np.eye(8, dtype=np.float32))

    assert calls_of(fitted_agent(name, setting, setting, seed=0), setting) == [[0]] * 8


def test_training_calls_are_means_over_trials_of_each_training_query() -> None:
    twice = (Trial(1.0, 1, 1), Trial(0.0, 1, 1))
    instances = [chain((twice, ()), (win(1, 1), lose(1, 1))), chain((twice, twice))]
    setting = with_embeddings(toy_setting(instances), 2.0 * np.eye(3, dtype=np.float32))
    first = dataclasses.replace(setting, dataset=setting.dataset.first(1))

    calls = training_calls(first)

    assert calls is not None
    assert calls.success.tolist() == [[0.5, 0.0], [1.0, 0.0]]
    assert calls.known.tolist() == [[True, False], [True, True]]
    assert calls.inputs.tolist() == [[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 1.0]]


@pytest.mark.parametrize("name", list(PREDICTORS))
def test_type_means_are_taken_where_text_tells_nothing(name: str) -> None:
    """Simulated success depends on the type and on what no text tells."""
    setting = builtin_setting(20)
    assert training_calls(setting) is None

    found = evaluate(fitted_agent(name, setting, setting, seed=0), setting, seed=0)

    expected = evaluate(PredictThenOptimiseAgent(setting), setting, seed=0)
    assert found.picks.tolist() == expected.picks.tolist()


def test_best_value_is_picked_and_failed_workers_are_passed_over() -> None:
    """Of 12 queries worker 0 serves 8, worker 1 serves 4; dollars weigh 1, success 10.5."""
    calls = [
        chain(((win if k < 8 else lose)(1, 0.5), (win if k >= 8 else lose)(1, 0.1)))
        for k in range(12)
    ]
    setting = toy_setting(calls, max_attempts=3)

    played = calls_of(PredictThenOptimiseAgent(setting), setting)

    assert played == [[0]] * 8 + [[0, 1]] * 4


def test_stored_prediction_goes_before_the_type_mean() -> None:
    setting = toy_setting([chain((lose(1, 0.1), win(1, 0.1)))] * 2 + [chain((win(1, 0.1),) * 2)])
    known = dataclasses.replace(
        setting.dataset.statistics,
        predicted_success=np.array([[0.9, 0.1], [0.1, 0.9], [0.1, 0.9]], np.float32),
    )
    dataset = dataclasses.replace(setting.dataset, statistics=known)
    setting = dataclasses.replace(setting, dataset=dataset)

    assert calls_of(PredictThenOptimiseAgent(setting), setting) == [[0, 1], [1], [1]]


def test_values_are_those_of_the_statistics_under_the_weights_of_the_episode() -> None:
    """What is read back from squashed columns is what they were made of, within 1e-4."""
    setting = builtin_setting(40, preference_spread=3.0, price_spread=2.0)
    episodes, observation = first_observations(setting)
    read = ObservationReader(setting.dataset, 3)
    known, task_type = setting.dataset.statistics, setting.dataset.workflows.task_type[:, 0]
    allowed = episodes.state.mask > 0
    success = np.full(allowed.shape, 0.5)

    value = read.call_value(observation, success)

    weights = episodes.state.weights[:, :, None]
    cost = known.cost_usd[task_type] * episodes.state.price
    expected = 0.5 * (weights[:, 0] + weights[:, 3]) - weights[:, 1] * cost
    expected = expected - weights[:, 2] * known.latency_ms[task_type]
    np.testing.assert_allclose(value[allowed], expected[allowed], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(read.weights(observation), episodes.state.weights, rtol=1e-4)


def test_free_weights_and_idle_columns_are_read_as_zero() -> None:
    setting = dataclasses.replace(
        builtin_setting(5), weights=RewardWeights(cost_weight=0.0, latency_weight=0.0)
    )
    _, observation = first_observations(setting)
    read = ObservationReader(setting.dataset, 3)

    assert read.weights(observation)[:, 1:3].tolist() == [[0.0, 0.0]] * 5
    assert read.calls(observation).tolist() == [0] * 5


def test_remembered_predictions_are_asked_for_once() -> None:
    asked: list[int] = []

    def model(inputs: Inputs) -> np.ndarray:
        asked.append(len(inputs))
        return np.repeat(inputs[:, :1].astype(np.float64), 2, axis=1)

    remembered = Remembered(model)
    inputs = np.array([[0.5, 0.1], [0.25, 0.2], [0.5, 0.1]], np.float32)

    assert remembered(inputs).tolist() == [[0.5] * 2, [0.25] * 2, [0.5] * 2]
    assert remembered(inputs[1:]).tolist() == [[0.25] * 2, [0.5] * 2]
    assert remembered(np.array([[2.0, 0.0]], np.float32)).tolist() == [[0.99, 0.99]]
    assert asked == [2, 1]


def test_observations_of_random_play_get_allowed_picks() -> None:
    setting = builtin_setting(30)
    observation = random_observations(setting, 200, seed=0)

    actions, _ = PredictThenOptimiseAgent(setting).predict(observation)

    assert (observation["action_mask"][np.arange(200), actions] == 1).all()


def test_instances_of_several_types_keep_their_own_types() -> None:
    instance = Instance(calls=((win(1, 0.1), lose(1, 0.1)),) * 2, types=(0, 1))
    setting = with_embeddings(toy_setting([instance]), np.eye(2, dtype=np.float32))

    calls = training_calls(setting)

    assert calls is not None
    assert calls.inputs[:, 2:].tolist() == [[1.0, 0.0], [0.0, 1.0]]
