"""Evaluation: every workflow once, with returns that are the rewards of its results."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from agents.agent import Setting
from agents.baselines.simple import LowestFeatureAgent, RandomAgent
from agents.baselines.tables import TableAgent
from agents.evaluate import KEYS, AgentActionError, _obeys_precedence, evaluate
from orchestai_env.errors import ConfigError
from orchestai_env.reward import RewardWeights, compute_reward
from orchestai_env.rules import EpisodeRules
from orchestai_env.state import FIRST_START, WORKFLOW
from tests.agents.problems import Recorder, builtin_setting, toy_setting
from tests.orchestai_env.toy import ONE_SECOND, Instance, chain, lose, win


def taken(setting: Setting, rows: list[int]) -> Setting:
    workflows = setting.dataset.workflows.take(np.array(rows))
    return dataclasses.replace(setting, dataset=setting.dataset.with_workflows(workflows))


def test_every_workflow_is_run_once_to_its_end() -> None:
    setting = builtin_setting(25)
    recorder = Recorder(RandomAgent(0))

    found = evaluate(recorder, setting, seed=0)

    assert recorder.episodes is not None
    assert recorder.episodes.state.episode[:, WORKFLOW].tolist() == list(range(25))
    assert [len(calls) for calls in recorder.calls] == found.num_calls.tolist()
    assert (found.num_calls > 0).all()


@pytest.mark.parametrize(
    "weights",
    [RewardWeights(), RewardWeights(cost_weight=1000.0, latency_weight=0.2, latency_unit="s")],
)
def test_return_is_the_reward_of_the_result(weights: RewardWeights) -> None:
    setting = dataclasses.replace(builtin_setting(25), weights=weights)
    recorder = Recorder(RandomAgent(0))

    found = evaluate(recorder, setting, seed=0)

    assert recorder.episodes is not None
    for r in range(25):
        result = recorder.episodes.result(r)
        assert found.episode_return[r] == pytest.approx(compute_reward(result, weights), rel=1e-6)
        assert found.success[r] == result.success
        assert found.cost_usd[r] == pytest.approx(result.total_cost)
        assert found.latency_ms[r] == result.total_latency_ms


def test_summary_has_the_means_in_the_units_of_the_report() -> None:
    instances = [
        chain((win(1000, 0.25),), (win(3000, 0.5),)),
        chain((lose(2000, 0.125),), (win(1000, 0.5),)),
    ]
    setting = toy_setting(instances, max_attempts=2)

    summary = evaluate(RandomAgent(0), setting, seed=0).summary()

    # The first succeeds: 10 + 2 * 0.5 - 0.75 - 4. The second fails twice: -0.25 - 4.
    assert summary == {
        "return_mean": (6.25 - 4.25) / 2,
        "success_rate": 0.5,
        "cost_usd": 0.5,
        "latency_s": 4.0,
        "validity": 1.0,
        "calls": 2.0,
        "masked_actions": 0.0,
        "reward_success": 5.0,
        "reward_cost": -0.5,
        "reward_latency": -4.0,
        "reward_shaping": 0.5,
    }


def test_schedules_are_valid_and_a_broken_one_is_noticed() -> None:
    setting = toy_setting([chain((ONE_SECOND,), (ONE_SECOND,)), chain((ONE_SECOND,))])
    recorder = Recorder(RandomAgent(0))
    assert evaluate(recorder, setting, seed=0).valid.all()
    assert recorder.episodes is not None

    recorder.episodes.state.subtask[0, 1, FIRST_START] = 999_999  # us, before the end

    assert _obeys_precedence(recorder.episodes).tolist() == [False, True]


def test_random_play_on_wide_dags_is_valid() -> None:
    setting = builtin_setting(60, on_failure="continue", max_parallel_tasks=2)

    assert evaluate(RandomAgent(1), setting, seed=0).valid.all()


def test_same_seed_gives_the_same_and_another_does_not() -> None:
    setting = builtin_setting(25)

    def returns(seed: int) -> list[float]:
        return evaluate(
            LowestFeatureAgent(setting, "price"), setting, seed=seed
        ).episode_return.tolist()

    assert returns(5) == returns(5) != returns(6)


def test_simulated_result_does_not_depend_on_later_workflows() -> None:
    setting = builtin_setting(30)
    table = np.full((10, 3), 2)

    alone = evaluate(TableAgent(setting, table), taken(setting, list(range(12))), seed=0)
    beside = evaluate(TableAgent(setting, table), setting, seed=0)

    for name in set(vars(alone)) - {"picks"}:
        assert getattr(alone, name).tolist() == getattr(beside, name)[:12].tolist(), name


def test_recorded_result_does_not_depend_on_its_neighbours() -> None:
    instances = [
        chain((win(100 * k, 0.25), lose(50, 0.125 * k)), (ONE_SECOND,) * 2) for k in range(6)
    ]
    setting = toy_setting(instances)
    agent = LowestFeatureAgent(setting, "price")

    everyone = evaluate(agent, setting, seed=0).episode_return

    few = evaluate(agent, taken(setting, [4, 1, 4]), seed=3).episode_return
    assert few.tolist() == everyone[[4, 1, 4]].tolist()


def test_reward_terms_and_picks_add_up() -> None:
    setting = builtin_setting(40, on_failure="continue")

    found = evaluate(RandomAgent(0), setting, seed=0)

    assert found.reward_terms.sum(axis=1) == pytest.approx(found.episode_return)
    assert found.reward_terms[:, 1] == pytest.approx(-200.0 * found.cost_usd)
    assert found.picks.sum() == found.num_calls.sum()
    assert found.picks.shape == (10, 3, 8)
    assert (found.picks.sum(axis=(1, 2)) > 0).all()
    assert (np.diff(found.picks.sum(axis=(0, 2))) < 0).all()  # ever fewer come to a further attempt
    assert found.masked_actions.tolist() == [0] * 40


def test_picks_tell_type_attempt_and_worker() -> None:
    instance = Instance(
        calls=((lose(1, 0.1), win(1, 0.2)), (win(1, 0.1), win(1, 0.2))), types=(1, 0)
    )
    setting = toy_setting([dataclasses.replace(instance, links=((0, 1),))], max_attempts=2)

    picks = evaluate(TableAgent(setting, np.array([[0, 1], [0, 1]])), setting, seed=0).picks

    # By type: that of the second subtask, then that of the first, which fails once.
    assert picks.tolist() == [[[1, 0], [0, 0]], [[1, 0], [0, 1]]]


def test_picks_name_workers_where_actions_are_shuffled() -> None:
    """The cheapest worker is the same one, whatever its action."""
    setting = toy_setting([chain((win(1, 0.3), win(1, 0.1), win(1, 0.2)))] * 60)
    shuffled = dataclasses.replace(setting, rules=EpisodeRules(shuffle_workers=True))
    agent = LowestFeatureAgent(shuffled, "price")

    found = evaluate(agent, shuffled, seed=0)

    assert found.picks[0, 0].tolist() == [0, 60, 0]


class Says:
    """Answers by a function of the observation, and remembers what it was shown."""

    def __init__(self, answer: Any, keys: tuple[str, ...] | None = None) -> None:
        self._answer = answer
        self.shown: list[set[str]] = []
        if keys is not None:
            self.observation_keys = keys

    def predict(self, observation: Any, *args: Any, **kwargs: Any) -> tuple[Any, None]:
        self.shown.append(set(observation))
        return self._answer(observation["action_mask"]), None


def first(mask: np.ndarray) -> np.ndarray:
    return mask.argmax(axis=1)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda mask: first(mask)[:, None], r"shape \(3,\).* got shape \(3, 1\)"),
        (lambda mask: [[1], [1, 2], [1]], r"an array of 3 actions, got \[\[1\], \[1, 2\], \[1\]\]"),
        (lambda mask: 0, r"shape \(3,\).* got shape \(\)"),
        (lambda mask: first(mask)[1:], r"got shape \(2,\)"),
        (lambda mask: first(mask).astype(float), "dtype int64, got 1.0 of dtype float64"),
        (lambda mask: np.array([1.0, 1.5, np.nan]), "got 1.5 of dtype float64 for workflow 1"),
        (lambda mask: np.array([1.0, np.nan, 1.5]), "got nan of dtype float64 for workflow 1"),
        (lambda mask: first(mask) > 0, "got True of dtype bool"),
        (lambda mask: ["a", "b", "c"], "got 'a' of dtype <U1"),
        (lambda mask: [None, 1, 1], "got None of dtype object"),
        (lambda mask: np.array([1, 3, -1]), r"in 0\.\.2, got 3 for workflow 1"),
        (lambda mask: np.array([1, 1, -1]), r"in 0\.\.2, got -1 for workflow 2"),
        (lambda mask: np.array([1, 0, 0]), "got the masked 0 for workflow 1"),
    ],
)
def test_bad_action_is_refused(answer: Any, message: str) -> None:
    setting = toy_setting([chain(((), ONE_SECOND, ONE_SECOND))] * 3)

    with pytest.raises(AgentActionError, match=message) as caught:
        evaluate(Says(answer), setting, seed=0)

    text = str(caught.value)
    assert text.startswith("agent Says: expected ")
    assert "\n" not in text
    if "shape" not in message and "array" not in message:
        assert "allowed there: 1 (worker-1), 2 (worker-2); choose by action_mask" in text


def test_bad_action_is_named_by_its_workflow_where_others_have_ended() -> None:
    setting = toy_setting([chain((ONE_SECOND,) * 2), chain(*[(ONE_SECOND,) * 2] * 2)])

    with pytest.raises(AgentActionError, match=r"got 7 for workflow 1; allowed there: 0 \(worker"):
        evaluate(Says(lambda mask: np.full(len(mask), 0 if len(mask) == 2 else 7)), setting, seed=0)


def test_agent_sees_the_keys_that_it_names() -> None:
    setting = builtin_setting(3)
    default, named = Says(first), Says(first, ("adjacency", "action_mask", "subtask"))

    evaluate(default, setting, seed=0)
    evaluate(named, setting, seed=0)

    assert set(default.shown[0]) == set(KEYS)
    assert set(named.shown[0]) == {"adjacency", "action_mask", "subtask"}


def test_embedding_that_the_data_lacks_is_refused() -> None:
    with pytest.raises(ConfigError, match="no stored embeddings"):
        evaluate(Says(first, ("subtask",)), toy_setting([chain((ONE_SECOND,))]), seed=0)


class Counting:
    """A recurrent agent: its state counts the steps since each row's start."""

    def __init__(self) -> None:
        self.seen: list[tuple[list[int], list[bool]]] = []

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        count = np.zeros(len(episode_start), int) if state is None else state[0] + 1
        self.seen.append((count.tolist(), episode_start.tolist()))
        actions = observation["action_mask"].argmax(axis=1)
        actions[0] = 99 if count[0] else 0
        return actions, (count,)


def test_recurrent_agent_gets_its_state_and_all_rows_to_the_end() -> None:
    """Workflow 0 ends after a step; what the agent says of it afterwards is ignored."""
    setting = toy_setting([chain((ONE_SECOND,)), chain(*[(ONE_SECOND,)] * 2)])
    agent = Counting()

    found = evaluate(agent, setting, seed=0)

    assert agent.seen == [([0, 0], [True, True]), ([1, 1], [False, False])]
    assert found.num_calls.tolist() == [1, 2]
