"""The rules and tables that the trained agents are compared with."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.agent import Agent, Setting
from agents.baselines.bounds import HindsightAgent
from agents.baselines.simple import LowestFeatureAgent, RandomAgent
from agents.baselines.tables import FixedTableAgent, TableAgent
from agents.evaluate import evaluate
from tests.agents.problems import (
    builtin_setting,
    calls_of,
    first_observations,
    random_observations,
    toy_setting,
)
from tests.orchestai_env.strategies import TRIALS
from tests.orchestai_env.toy import SECONDS, Instance, Trial, lose, win

UNRECORDED: tuple[Trial, ...] = ()


def table(*rows: list[int]) -> npt.NDArray[np.int64]:
    return np.array(rows, np.int64)


def one_subtask(*workers: tuple[Trial, ...]) -> Instance:
    return Instance(calls=(workers,))


def escalate(cells: list[int], *workers: tuple[Trial, ...]) -> list[int]:
    """Returns the calls of a TableAgent in a workflow of one subtask."""
    setting = toy_setting([one_subtask(*workers)], max_attempts=len(cells))
    return calls_of(TableAgent(setting, table(cells)), setting)[0]


def test_random_agent_picks_allowed_workers_evenly() -> None:
    allowed = np.array([1, 0, 1, 1], np.int8)
    observation = {"action_mask": np.tile(allowed, (9000, 1))}

    actions, _ = RandomAgent(0).predict(observation)

    # A share of 1/3 of 9000 draws has a standard deviation of 45.
    assert np.bincount(actions, minlength=4) == pytest.approx([3000, 0, 3000, 3000], abs=4 * 45)
    assert actions[1] == 0


def test_random_agent_follows_its_seed() -> None:
    observation = {"action_mask": np.ones((50, 4), np.int8)}

    first, again, other = (RandomAgent(seed).predict(observation)[0] for seed in (3, 3, 4))

    assert first.tolist() == again.tolist() != other.tolist()


@pytest.mark.parametrize(
    ("feature", "figures"), [("price", "cost_usd"), ("expected_latency", "latency_ms")]
)
def test_lowest_feature_agent_picks_the_lowest_known_figure(feature: str, figures: str) -> None:
    rng = np.random.default_rng(0)
    instances = [
        Instance(calls=(tuple(win(*rng.random(2)) for _ in range(3)),), types=(t,))
        for t in range(20)
    ]
    setting = toy_setting([*instances, one_subtask(UNRECORDED, *instances[0].calls[0][1:])])
    episodes, observation = first_observations(setting)
    known = getattr(setting.dataset.statistics, figures)
    task_type = setting.dataset.workflows.task_type[:, 0]

    actions, _ = LowestFeatureAgent(setting, feature).predict(observation)

    expected = np.where(episodes.state.mask > 0, known[task_type], np.inf).argmin(axis=1)
    assert actions.tolist() == expected.tolist()
    assert len(set(actions.tolist())) > 1


def test_table_agent_moves_to_the_next_column_after_a_failure() -> None:
    assert escalate([2, 0, 1], lose(1, 0.1), win(1, 0.3), lose(1, 0.2)) == [2, 0, 1]


def test_table_agent_reads_the_row_of_the_task_type() -> None:
    calls = ((win(1, 0.1), win(1, 0.2)), (win(1, 0.1), win(1, 0.2)))
    setting = toy_setting([Instance(calls=calls, links=((0, 1),), types=(1, 0))], max_attempts=1)

    agent = TableAgent(setting, table([0], [1]))

    assert calls_of(agent, setting) == [[1, 0]]


@pytest.mark.parametrize(
    ("cells", "workers", "calls"),
    [
        # A masked cell falls to the next column's worker at once, and so does the next attempt.
        ([0, 1, 2], (UNRECORDED, lose(1, 0.3), win(1, 0.2)), [1, 2]),
        # A worker that has failed on the subtask is passed over.
        ([0, 0, 1], (lose(1, 0.1), win(1, 0.3), win(1, 0.2)), [0, 1]),
        # Past the last column: the cheapest allowed worker, even one that has failed.
        ([1, 1, 1], (lose(1, 0.1), lose(1, 0.3), win(1, 0.2)), [1, 0, 0]),
        ([0, 0, 0], (UNRECORDED, lose(1, 0.3), win(1, 0.2)), [2]),
    ],
)
def test_table_agent_falls_through_unusable_cells(
    cells: list[int], workers: tuple[tuple[Trial, ...], ...], calls: list[int]
) -> None:
    assert escalate(cells, *workers) == calls


def test_fixed_table_agent_retries_and_falls_to_the_cheapest_where_masked() -> None:
    instances = [
        one_subtask(lose(1, 0.3), lose(1, 0.2), win(1, 0.1)),
        one_subtask(UNRECORDED, lose(1, 0.2), win(1, 0.1)),
    ]
    setting = toy_setting(instances, max_attempts=3)

    agent = FixedTableAgent(setting, np.array([0]))

    assert calls_of(agent, setting) == [[0, 0, 0], [2]]


def test_hindsight_agent_needs_the_episodes() -> None:
    with pytest.raises(RuntimeError, match="attach"):
        HindsightAgent().predict({})


def test_hindsight_agent_picks_the_known_best() -> None:
    instances = [
        one_subtask(win(1000, 1.0), win(2000, 0.5), lose(1, 0.0)),  # 8.5, 8.0 and -0.001
        one_subtask(win(3000, 1.0), win(1000, 0.5), lose(1, 0.0)),
        one_subtask(lose(1000, 1.0), lose(1000, 2.0), lose(1, 0.0)),  # nothing helps: fail cheaply
        one_subtask(UNRECORDED, lose(1000, 2.0), win(9000, 9.0)),  # -3 against -7.5
    ]
    setting = toy_setting(instances, max_attempts=1)

    assert calls_of(HindsightAgent(), setting) == [[0], [1], [2], [1]]


def other_agents(setting: Setting, seed: int) -> list[Agent]:
    rng = np.random.default_rng(seed)
    num_workers = len(setting.dataset.pool)
    return [
        RandomAgent(seed),
        LowestFeatureAgent(setting, "price"),
        LowestFeatureAgent(setting, "expected_latency"),
        TableAgent(setting, rng.integers(num_workers, size=(1, 1))),
        FixedTableAgent(setting, rng.integers(num_workers, size=1)),
    ]


@settings(max_examples=25)
@given(
    calls=st.lists(st.lists(TRIALS, min_size=3, max_size=3), min_size=1, max_size=5),
    seed=st.integers(0, 99),
)
def test_hindsight_is_the_optimum_where_calls_are_independent(calls: Any, seed: int) -> None:
    """With one subtask and one attempt, no agent can do better than per-call hindsight."""
    instances = [one_subtask(*((trial,) for trial in workers)) for workers in calls]
    setting = toy_setting(instances, max_attempts=1)

    hindsight = evaluate(HindsightAgent(), setting, seed=0).episode_return

    success, usd, per_ms, shaping = SECONDS.as_array()
    values = [
        [
            (success + shaping) * (trial.score >= 0.5)
            - usd * trial.cost_usd
            - per_ms * trial.latency_ms
            for trial in workers
        ]
        for workers in calls
    ]
    assert hindsight == pytest.approx([max(of_workflow) for of_workflow in values])
    for agent in other_agents(setting, seed):
        assert (evaluate(agent, setting, seed=0).episode_return <= hindsight + 1e-12).all()


def test_every_baseline_obeys_the_mask() -> None:
    setting = builtin_setting(30)
    observation = random_observations(setting, 60, seed=1)
    rng = np.random.default_rng(2)
    shape = len(setting.dataset.task_types), setting.rules.max_attempts
    agents: list[Agent] = [
        RandomAgent(0),
        LowestFeatureAgent(setting, "price"),
        LowestFeatureAgent(setting, "expected_latency"),
        TableAgent(setting, rng.integers(len(setting.dataset.pool), size=shape)),
        FixedTableAgent(setting, rng.integers(len(setting.dataset.pool), size=shape[0])),
    ]
    assert (observation["action_mask"] == 0).any()

    for agent in agents:
        actions, _ = agent.predict(observation)
        assert observation["action_mask"][np.arange(60), actions].all()


def test_random_evaluations_do_not_depend_on_earlier_ones() -> None:
    setting, agent = builtin_setting(40), RandomAgent(0)

    first, again = (evaluate(agent, setting, seed=0).episode_return for _ in range(2))

    assert first.tolist() == again.tolist()
