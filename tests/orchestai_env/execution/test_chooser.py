"""Choosers, and the probabilities that choices are drawn by."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestai_env.env import OrchestAIEnv
from orchestai_env.errors import ConfigError
from orchestai_env.execution.chooser import CHOOSERS, AgentChooser, explored, next_allowed
from orchestai_env.observation import WORKER_FEATURES

MASKS = st.lists(st.booleans(), min_size=1, max_size=8).filter(any)


@st.composite
def choices(draw: st.DrawFn) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Draws probabilities, some of them on masked workers, and a mask."""
    mask = np.array(draw(MASKS), np.int8)
    weights = draw(
        st.lists(st.floats(0.0, 1.0), min_size=len(mask), max_size=len(mask)).filter(any)
    )
    given = np.array(weights)
    return given / given.sum(), mask


@given(choice=choices(), exploration=st.floats(0.0, 1.0))
def test_drawn_probabilities_are_a_distribution_over_what_is_allowed(
    choice: Any, exploration: float
) -> None:
    given, mask = choice
    drawn = explored(given, mask, exploration)

    assert drawn.sum() == pytest.approx(1.0)
    assert ((drawn >= 0) & (drawn <= 1)).all()
    assert (drawn[mask == 0] == 0).all()
    assert (drawn[mask == 1] >= exploration / mask.sum() - 1e-12).all()


@given(choice=choices())
def test_without_exploration_ratios_among_the_allowed_stay(choice: Any) -> None:
    given, mask = choice
    drawn = explored(given, mask, 0.0)

    kept = given * mask
    if kept.sum() > 1e-300:
        np.testing.assert_allclose(drawn, kept / kept.sum(), atol=1e-12)


def test_masked_choice_goes_to_the_next_allowed_worker() -> None:
    mask = np.array([1, 0, 0, 1], np.int8)

    assert explored(np.array([0.0, 1.0, 0.0, 0.0]), mask, 0.0).tolist() == [0.0, 0.0, 0.0, 1.0]
    assert next_allowed(mask, 1) == 3
    assert next_allowed(np.array([1, 0], np.int8), 1) == 0


@pytest.mark.parametrize("wrong", [[0.5], [-0.1, 1.1], [np.nan, 1.0]])
def test_probabilities_that_are_none_are_refused(wrong: list[float]) -> None:
    with pytest.raises(ConfigError, match="expected 2 probabilities >= 0"):
        explored(np.array(wrong), np.ones(2, np.int8), 0.0)


@pytest.mark.parametrize(
    ("name", "feature", "sign"),
    [
        ("cheapest", "price", 1),
        ("fastest", "expected_latency", 1),
        ("greedy", "expected_value", -1),
    ],
)
def test_named_choosers_pick_by_their_feature(name: str, feature: str, sign: int) -> None:
    obs, _ = OrchestAIEnv().reset(seed=0)
    chances = CHOOSERS[name]().probabilities(obs)
    values = sign * obs["workers"][:, WORKER_FEATURES.index(feature)]

    assert chances.sum() == chances.max() == 1.0
    assert values[chances.argmax()] == values[obs["action_mask"] > 0].min()


def test_worker_that_has_failed_is_called_again_only_where_no_other_is_allowed() -> None:
    obs, _ = OrchestAIEnv().reset(seed=0)
    cheapest = CHOOSERS["cheapest"]()
    first = int(cheapest.probabilities(obs).argmax())
    obs["workers"][first, WORKER_FEATURES.index("failed")] = 0.5
    assert cheapest.probabilities(obs).argmax() != first

    obs["action_mask"][:] = 0
    obs["action_mask"][first] = 1
    assert cheapest.probabilities(obs).argmax() == first


class Counter:
    """An agent that calls the worker of the number of its decision, by its state."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: Any = 0
    ) -> Any:
        self.seen.append((observation, episode_start.tolist(), deterministic))
        step = 0 if state is None else state[0] + 1
        return np.array([step]), (step,)

    def probabilities(self, observation: Any, state: Any, episode_start: Any) -> Any:
        (action,), state = self.predict(observation, state, episode_start)
        return np.full((1, 8), 0.3 / 7) + (0.7 - 0.3 / 7) * (np.arange(8) == action), state


def test_agent_of_the_predict_protocol_is_asked_with_its_keys() -> None:
    obs, _ = OrchestAIEnv().reset(seed=0)
    agent = Counter()
    chooser = AgentChooser(agent, "mine", ("workers", "action_mask"))

    assert chooser.probabilities(obs).tolist() == [1.0, *[0.0] * 7]
    batch, starts, deterministic = agent.seen[0]
    assert {key: rows.shape[0] for key, rows in batch.items()} == {"workers": 1, "action_mask": 1}
    assert starts == [True]
    assert deterministic is True


def test_copies_of_a_chooser_remember_an_execution_each() -> None:
    obs, _ = OrchestAIEnv().reset(seed=0)
    chooser = AgentChooser(Counter(), "mine", ("workers",))
    one, other = copy.copy(chooser), copy.copy(chooser)

    assert [int(one.probabilities(obs).argmax()) for _ in range(3)] == [0, 1, 2]
    assert [int(other.probabilities(obs).argmax()) for _ in range(2)] == [0, 1]


def test_sampling_chooser_tells_the_probabilities_of_its_agent() -> None:
    obs, _ = OrchestAIEnv().reset(seed=0)
    agent = Counter()
    chooser = AgentChooser(agent, "mine", ("workers",), sample=True)
    first, second = chooser.probabilities(obs), chooser.probabilities(obs)

    assert first.sum() == pytest.approx(1.0)
    assert [first[0], second[1]] == pytest.approx([0.7, 0.7])
    assert [starts for _, starts, _ in agent.seen] == [[True], [False]]
