"""The knob at prediction time: the observation is that of an environment of the asked weights."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from agents.agent import Obs, Setting, State
from agents.baselines.simple import RandomAgent
from agents.evaluate import KEYS, evaluate
from agents.preference import PreferenceAgent, PreferenceRange, scaled_weights
from orchestai_env.episodes import Episodes
from orchestai_env.errors import ConfigError
from orchestai_env.observation import ObservationLayout
from orchestai_env.reward import RewardWeights
from tests.agents.problems import WEIGHTS, builtin_setting
from tests.orchestai_env.toy import Instance, lose, toy_dataset, win

ASKED = scaled_weights(WEIGHTS, 0.3, 3.7)


class Witness:
    """Notes what it is shown and picks as RandomAgent does."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__ |= attributes
        self.seen: list[dict[str, npt.NDArray[Any]]] = []
        self.given: list[Any] = []
        self._random = RandomAgent(0)

    def attach(self, episodes: Episodes) -> None:
        self.episodes = episodes
        self._random.attach(episodes)

    def predict(
        self,
        observation: Obs,
        state: State = None,
        episode_start: npt.NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[npt.NDArray[Any], State]:
        self.seen.append({key: value.copy() for key, value in observation.items()})
        self.given.append((state, episode_start, deterministic))
        return self._random.predict(observation)[0], state


def rewritten_and_true(setting: Setting, asked: RewardWeights) -> tuple[Witness, Witness]:
    """Plays the same actions in both environments; one shows, the other is rewritten."""
    shown, true = Witness(), Witness()
    evaluate(PreferenceAgent(shown, setting.dataset, asked), setting, seed=3)
    evaluate(true, dataclasses.replace(setting, weights=asked), seed=3)
    assert len(shown.seen) == len(true.seen) > 3
    return shown, true


@pytest.mark.parametrize("asked", [ASKED, scaled_weights(WEIGHTS, 50.0, 50.0), RewardWeights()])
def test_observation_is_that_of_an_environment_of_the_weights(asked: RewardWeights) -> None:
    """Bit for bit, through whole episodes with failures, also where the value is cut at -1."""
    shown, true = rewritten_and_true(builtin_setting(40), asked)

    for found, expected in zip(shown.seen, true.seen, strict=True):
        assert list(found) == list(expected)
        for key in expected:
            np.testing.assert_array_equal(found[key], expected[key])
            assert found[key].dtype == expected[key].dtype


def test_predictions_per_query_are_kept() -> None:
    instances = [Instance(calls=((win(500, 0.01), lose(2000, 0.2)), (win(900, 0.1),) * 2))]
    dataset = toy_dataset(instances)
    predicted = np.array([[0.125, 0.7], [0.9, 0.33]], np.float32)
    statistics = dataclasses.replace(dataset.statistics, predicted_success=predicted)
    setting = dataclasses.replace(
        builtin_setting(1), dataset=dataclasses.replace(dataset, statistics=statistics)
    )

    shown, true = Witness(), Witness()
    evaluate(PreferenceAgent(shown, setting.dataset, ASKED), setting, seed=0)
    evaluate(true, dataclasses.replace(setting, weights=ASKED), seed=0)

    for found, expected in zip(shown.seen, true.seen, strict=True):
        np.testing.assert_array_equal(found["workers"], expected["workers"])


def test_shuffled_workers_and_varied_factors_are_met_to_a_millionth() -> None:
    """The setting varies preferences too: the asked weights go before those of the episode."""
    setting = builtin_setting(
        60, price_spread=4.0, latency_spread=3.0, min_workers=4, shuffle_workers=True
    )
    varied = dataclasses.replace(
        setting, rules=setting.rules.model_copy(update={"preference_spread": 3.0})
    )
    shown, true = Witness(), Witness()
    evaluate(PreferenceAgent(shown, setting.dataset, ASKED), varied, seed=5)
    evaluate(true, dataclasses.replace(setting, weights=ASKED), seed=5)

    for found, expected in zip(shown.seen, true.seen, strict=True):
        for key in expected:
            np.testing.assert_allclose(found[key], expected[key], rtol=0, atol=1e-6)
    absent = np.concatenate([(obs["workers"] == 0).all(axis=2).ravel() for obs in true.seen])
    assert absent.any()


def test_own_weights_change_nothing_and_the_observation_is_not_written_to() -> None:
    setting = builtin_setting(10)
    episodes = Episodes(
        setting.dataset,
        n=10,
        rules=setting.rules,
        weights=setting.weights,
        layout=ObservationLayout.of(setting.dataset, KEYS),
    )
    for r in range(10):
        episodes.seed_row(r, np.random.default_rng(r))
    episodes.reset()
    observation = {key: getattr(episodes.out, key) for key in KEYS}
    before = {key: value.copy() for key, value in observation.items()}
    for weights in (WEIGHTS, ASKED):
        witness = Witness()
        PreferenceAgent(witness, setting.dataset, weights).predict(observation)
        for key in KEYS:
            np.testing.assert_array_equal(observation[key], before[key])
    one, batch = Witness(), Witness()
    single = {key: value[4] for key, value in observation.items()}
    PreferenceAgent(batch, setting.dataset, ASKED).predict(observation)
    agent = PreferenceAgent(one, setting.dataset, ASKED)
    one._random = LastWorker()  # type: ignore[assignment]
    agent.predict(single)
    for key in KEYS:
        np.testing.assert_array_equal(one.seen[0][key], batch.seen[0][key][4])


class LastWorker:
    """Answers one observation, without a batch."""

    def predict(self, observation: Obs) -> tuple[npt.NDArray[Any], State]:
        return np.array(observation["workers"].shape[0] - 1), None


def test_state_start_and_running_episodes_are_handed_on() -> None:
    setting = builtin_setting(4)
    witness = Witness()
    agent = PreferenceAgent(witness, setting.dataset, ASKED)
    evaluate(agent, setting, seed=0)
    observation, state = witness.seen[0], (np.ones((1, 4, 2)),)
    start = np.array([True, False, True, False])

    _, after = agent.predict(observation, state, start, True)

    assert witness.given[-1][0] is state is after
    assert witness.given[-1][1] is start
    assert witness.given[-1][2] is True
    assert witness.episodes.n == 4
    assert agent.observation_keys == KEYS


def test_agent_sees_the_keys_that_it_names() -> None:
    """What the knob itself needs is asked for as well, and kept from the agent."""
    setting = builtin_setting(4)
    witness = Witness(observation_keys=("workers", "adjacency", "action_mask"))
    agent = PreferenceAgent(witness, setting.dataset, ASKED)
    evaluate(agent, setting, seed=0)

    assert set(agent.observation_keys) == {*KEYS, "adjacency"}
    assert list(witness.seen[0]) == ["workers", "adjacency", "action_mask"]


def test_agent_that_no_preference_reaches_is_refused() -> None:
    agent = Witness(observation_keys=("subtasks", "action_mask"))
    with pytest.raises(ConfigError, match="reads subtasks, action_mask only, but weights show in"):
        PreferenceAgent(agent, builtin_setting(2).dataset, ASKED)


def test_observation_without_its_keys_is_refused() -> None:
    agent = PreferenceAgent(RandomAgent(0), builtin_setting(2).dataset, ASKED)
    with pytest.raises(ConfigError, match="got none of subtasks, context; add them"):
        agent.predict({"workers": np.zeros((1, 8, 12)), "action_mask": np.ones((1, 8))})


@pytest.mark.parametrize(
    ("cost", "latency", "inside"),
    [(1.0, 1.0, True), (4.0, 0.25, True), (0.25, 4.0, True), (4.1, 1.0, False), (1.0, 0.2, False)],
)
def test_range_is_that_of_the_training(cost: float, latency: float, inside: bool) -> None:
    trained = PreferenceRange(weights=WEIGHTS, spread=4.0)

    assert trained.contains(scaled_weights(WEIGHTS, cost, latency)) is inside


def test_leaving_the_range_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    setting = builtin_setting(3)
    trained = PreferenceRange(weights=WEIGHTS, spread=2.0)
    with caplog.at_level(logging.WARNING):
        inside = PreferenceAgent(
            RandomAgent(0), setting.dataset, scaled_weights(WEIGHTS, 2.0, 0.5), trained
        )
        evaluate(inside, setting, seed=0)
        assert caplog.messages == []
        outside = PreferenceAgent(RandomAgent(0), setting.dataset, RewardWeights(), trained)
        evaluate(outside, setting, seed=0)

    (message,) = caplog.messages
    assert "outside what the policy was trained on" in message
    assert "cost_weight 100..400, latency_weight 5e-05..0.0002 per ms" in message


def test_scaled_weights_keep_their_unit() -> None:
    scaled = scaled_weights(WEIGHTS, 2.0, 0.5)

    assert scaled.latency_unit == "s"
    np.testing.assert_allclose(scaled.as_array(), WEIGHTS.as_array() * [1, 2, 0.5, 1])
