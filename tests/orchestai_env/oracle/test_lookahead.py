"""Lookahead: it knows odds and no outcome, and that is worth something."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from orchestai_env.dataset import Dataset
from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.env import OrchestAIEnv
from orchestai_env.episodes import Episodes
from orchestai_env.errors import ConfigError
from orchestai_env.oracle import Lookahead, hindsight_optimum, hindsight_utility, peek
from orchestai_env.outcomes.simulated import SimulationSettings, simulated_tables
from orchestai_env.reward import RewardWeights
from orchestai_env.state import (
    CALL_COST,
    CLOCK,
    CURRENT,
    END,
    KEY,
    NONE,
    NUMBER,
    ONGOING,
    QUALITY,
    RUNNING,
    START,
    STATUS,
    STEPS,
    SUCCEEDED,
    WINS,
)
from orchestai_env.vector_env import OrchestAIVectorEnv
from orchestai_env.workers import TaskSkill, WorkerPool, WorkerSpec
from orchestai_env.workflow_table import WorkflowTable
from tests.orchestai_env.toy import (
    ONE_SECOND,
    SECONDS,
    Instance,
    lose,
    toy_dataset,
    win,
)
from tests.tiny_config import BALANCED

ROW = np.array([0])
Choice = Callable[[Episodes, npt.NDArray[np.int64]], npt.NDArray[np.int64]]


def single_subtask(*success: float, kinship: float = 0.0, **simulation: float) -> Dataset:
    """Returns a workflow of one simulated subtask for kin that differ in skill only."""
    pool = WorkerPool(
        tuple(
            WorkerSpec(
                name=f"worker-{w}",
                kinship=kinship,
                skills={"any": TaskSkill(success=p, output_tokens=100.0, source="made up")},
            )
            for w, p in enumerate(success)
        )
    )
    outcomes, statistics = simulated_tables(pool, ("any",), SimulationSettings(**simulation))
    workflows = WorkflowTable.from_links(
        task_types=("any",),
        num_subtasks=np.ones(1, np.int32),
        task_type=np.zeros((1, 1), np.int32),
        query=np.full((1, 1), -1, np.int32),
        links=np.zeros((0, 2), np.int32),
        link_owner=np.zeros(0, np.int32),
    )
    return Dataset(
        name="single",
        pool=pool,
        workflows=workflows,
        outcomes=outcomes,
        statistics=statistics,
        latency_label="simulated",
    )


def predicted(dataset: Dataset, *chances: list[float]) -> Dataset:
    """Returns the data set with a success prediction per query."""
    table = np.array(chances, np.float32)
    known = dataclasses.replace(dataset.statistics, predicted_success=table)
    return dataclasses.replace(dataset, statistics=known)


def hide_nothing(state: Any, r: int, rng: np.random.Generator) -> None:
    """Replaces everything in a row that no agent can know."""
    state.episode[r, KEY] = rng.integers(1 << 62)
    state.episode[r, NUMBER] = rng.integers(1000)
    now, subtask = state.episode[r, CLOCK], state.subtask[r]
    is_open = (subtask[:, STATUS] == RUNNING) & (subtask[:, START] != NONE)
    for i in np.flatnonzero(is_open):
        subtask[i, END] = now + rng.integers(1, 10**7)
        subtask[i, WINS] = rng.integers(2)
        state.value[r, i, CALL_COST] = rng.random()
    unknown = subtask[:, STATUS] != SUCCEEDED
    state.value[r, unknown, QUALITY] = rng.random(unknown.sum())


def test_values_do_not_depend_on_anything_hidden() -> None:
    rng = np.random.default_rng(0)
    venv = OrchestAIVectorEnv(60, builtin_dataset("validation"), on_failure="continue")
    venv.reset(seed=0)
    lookahead = Lookahead(venv.episodes.dataset, num_samples=4)
    rows, num_changed = np.arange(60), 0
    for _ in range(6):
        venv.step(rng.integers(8, size=60))
        twin = venv.episodes.fork()
        for r in range(60):
            hide_nothing(twin.state, r, rng)
        won, would_win = (each.state.subtask[:, :, WINS] for each in (twin, venv.episodes))
        num_changed += int((won != would_win).sum())

        np.testing.assert_array_equal(
            lookahead.values(twin, rows), lookahead.values(venv.episodes, rows)
        )
        np.testing.assert_array_equal(
            lookahead.expected_values(twin, rows), lookahead.expected_values(venv.episodes, rows)
        )
    assert num_changed > 20


def test_values_of_recorded_data_do_not_depend_on_its_outcomes() -> None:
    known = toy_dataset(
        [Instance(calls=((win(1000, 0.25), lose(500, 0.5)), (lose(100, 0.0), ONE_SECOND)))]
    )
    tables = known.outcomes
    other = dataclasses.replace(
        known,
        outcomes=tables._replace(
            success=1 - tables.success,
            quality=1.0 - tables.quality,
            cost_usd=3.0 * tables.cost_usd,
            latency_us=7 * tables.latency_us,
        ),
    )
    envs = [OrchestAIEnv(data, reward_weights=SECONDS) for data in (known, other)]
    for env in envs:
        env.reset(seed=0)
    first, second = (Lookahead(env.dataset, num_samples=8) for env in envs)
    for _ in range(2):
        for name, target in envs[1]._episodes.state._asdict().items():
            target[...] = getattr(envs[0]._episodes.state, name)
        np.testing.assert_array_equal(
            first.values(envs[0]._episodes, ROW), second.values(envs[1]._episodes, ROW)
        )
        envs[0].step(0)


def test_values_change_nothing_and_repeat_by_their_seed() -> None:
    venv = OrchestAIVectorEnv(20, builtin_dataset("validation", num_workflows=20))
    venv.reset(seed=0)
    before = [array.copy() for array in venv.episodes.state]
    rows = np.array([3, 1, 19])
    lookahead = Lookahead(venv.episodes.dataset, num_samples=3)
    values = lookahead.values(venv.episodes, rows)

    for old, new in zip(before, venv.episodes.state, strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(lookahead.values(venv.episodes, rows), values)
    np.testing.assert_array_equal(lookahead.values(venv.episodes, rows[1:]), values[1:])
    np.testing.assert_array_equal(lookahead.actions(venv.episodes, rows), values.argmax(axis=1))
    other = Lookahead(venv.episodes.dataset, num_samples=3, seed=1)
    assert (other.values(venv.episodes, rows) != values).any()
    np.testing.assert_array_equal(np.isfinite(values), venv.episodes.state.mask[rows] == 1)


@pytest.mark.parametrize(
    "simulation",
    [
        {"retry_correlation": 0.0},
        {"retry_correlation": 0.7},
        {"retry_correlation": 1.0},
        {"retry_correlation": 0.3, "unsolvable_share": 0.2},
        {"retry_correlation": 0.3, "kinship": 1.2},
    ],
)
def test_chances_after_a_failure_are_those_of_the_environment(simulation: dict[str, float]) -> None:
    # A return of 1 for success and nothing else: the value is the chance that the retry succeeds.
    data = single_subtask(0.7, 0.5, **simulation)
    weights = RewardWeights(
        success_weight=1.0, cost_weight=0.0, latency_weight=0.0, shaping_weight=0.0
    )
    venv = OrchestAIVectorEnv(6000, data, reward_weights=weights, max_attempts=2)
    venv.reset(seed=0)
    episodes = venv.episodes
    episodes.step(np.zeros(6000, np.int64))
    failed = np.flatnonzero(episodes.ended == ONGOING)
    assert len(failed) > 1500
    actual = []
    for worker in range(2):
        twin = episodes.fork()
        twin.step(np.full(len(failed), worker), failed)
        actual.append(twin.reward[failed].mean())
    lookahead = Lookahead(data, num_samples=4000)

    assert lookahead.values(episodes, failed[:1])[0] == pytest.approx(actual, abs=0.04)
    expected = lookahead.expected_values(episodes, failed[:1])[0]
    assert expected == pytest.approx([actual[0], 0.5], abs=0.04)


def test_call_that_cannot_be_repeated_is_believed_to_fail_again() -> None:
    # All three fail although each was predicted to succeed; a retry of one has nothing to hope for.
    data = predicted(
        toy_dataset([Instance(calls=((lose(1000, 0.0),) * 3 + (win(1000, 0.5),),))]),
        [0.999, 0.999, 0.999, 0.5],
    )
    env = OrchestAIEnv(data, max_attempts=4, reward_weights=SECONDS)
    env.reset(seed=0)
    for worker in range(3):
        env.step(worker)
    lookahead = Lookahead(data, num_samples=200)
    values = lookahead.values(env._episodes, ROW)[0]

    assert values[:3] == pytest.approx([-1.0] * 3, abs=0.2)
    assert values[3] > values[:3].max()
    assert lookahead.expected_values(env._episodes, ROW)[0][:3] == pytest.approx([-1.0] * 3)


def test_prediction_of_the_query_goes_before_the_mean_of_its_type() -> None:
    calls = ((ONE_SECOND, ONE_SECOND),)
    data = toy_dataset([Instance(calls=calls), Instance(calls=calls)])
    venv = OrchestAIVectorEnv(2, predicted(data, [0.9, 0.1], [0.1, 0.9]), reward_weights=SECONDS)
    venv.reset(seed=0, options={"workflow": [0, 1]})
    lookahead = Lookahead(venv.episodes.dataset)
    expected = lookahead.expected_values(venv.episodes, np.arange(2))

    assert expected == pytest.approx(np.array([[9.45, 1.05], [1.05, 9.45]]) - 0.125 - 1.0, abs=0.1)
    assert lookahead.actions(venv.episodes, np.arange(2)).tolist() == [0, 1]


def test_call_that_takes_longer_than_believed_is_expected_at_any_moment() -> None:
    # Queries 0 and 1 are of two types; both workers take 1 s on average on the second.
    slow = Instance(calls=((win(60_000, 0.0),), (win(1000, 0.0),)), types=(0, 1))
    data = toy_dataset([slow])
    data.statistics.latency_ms[0] = 10.0
    env = OrchestAIEnv(data, reward_weights=SECONDS, max_attempts=2)
    env.reset(seed=0)
    env.step(0)
    env._episodes.state.episode[0, CLOCK] = 50_000_000
    values = Lookahead(data).values(env._episodes, ROW)

    # Only the second subtask takes time.
    assert values[0, 0] == pytest.approx(11.0 - 1.0, abs=0.3)


@pytest.mark.parametrize(
    ("rule", "factor"), [("price_spread", "price"), ("latency_spread", "slowness")]
)
def test_factors_and_absent_workers_of_the_episode_count(rule: str, factor: str) -> None:
    data = builtin_dataset("validation", num_workflows=30)
    rules: dict[str, Any] = {"shuffle_workers": True, "min_workers": 2, rule: 50.0}
    env = OrchestAIEnv(data, reward_weights=BALANCED, **rules)
    lookahead, changed = Lookahead(data, num_samples=4), 0
    for seed in range(30):
        env.reset(seed=seed)
        values = lookahead.values(env._episodes, ROW)
        np.testing.assert_array_equal(np.isfinite(values[0]), env.action_masks())
        twin = env.fork()
        getattr(twin._episodes.state, factor)[...] *= 100.0
        assert (lookahead.values(twin._episodes, ROW) <= values).all()
        changed += int(lookahead.actions(twin._episodes, ROW)[0] != values.argmax())
    assert changed > 5


def test_episode_without_a_decision_is_worth_nothing() -> None:
    env = OrchestAIEnv(toy_dataset([Instance(calls=(((), ()),))]))
    env.reset(seed=0)
    lookahead = Lookahead(env.dataset)

    assert lookahead.values(env._episodes, ROW).tolist() == [[0.0, 0.0]]
    assert lookahead.expected_values(env._episodes, ROW).tolist() == [[0.0, 0.0]]


def test_wrong_arguments_are_refused() -> None:
    data = toy_dataset([Instance(calls=((ONE_SECOND,),))])
    env = OrchestAIEnv(toy_dataset([Instance(calls=((ONE_SECOND, ONE_SECOND),))]))
    with pytest.raises(ConfigError, match="num_samples: expected at least 1, got 0"):
        Lookahead(data, num_samples=0)
    with pytest.raises(ConfigError, match="expected 1 task types and 1 workers"):
        Lookahead(data).values(env._episodes, ROW)


def start(dataset: Dataset, seed: int) -> Episodes:
    """Starts an episode of every workflow, under the profile `balanced`."""
    n = len(dataset.workflows)
    venv = OrchestAIVectorEnv(n, dataset, reward_weights=BALANCED)
    venv.reset(seed=seed, options={"workflow": np.arange(n)})
    return venv.episodes


def returns(dataset: Dataset, choose: Choice, seed: int) -> npt.NDArray[np.float64]:
    """Plays every workflow once and returns float64 (K,): what each earned."""
    episodes = start(dataset, seed)
    total, rows = np.zeros(episodes.n), np.arange(episodes.n)
    while len(rows):
        episodes.step(choose(episodes, rows), rows)
        total[rows] += episodes.reward[rows]
        rows = rows[episodes.ended[rows] == ONGOING]
    return total


@pytest.mark.slow
def test_value_of_the_base_policys_action_is_what_that_policy_earns() -> None:
    """Compares predicted and earned returns of the base policy over 10 seeds of 200 workflows.

    At a first decision both are 3.0 on average, after a failure 1.9 and while older calls run 2.0.
    In four such runs, of other seeds, no difference of means was above 0.15; 0.3 is asked for.
    """
    data = builtin_dataset("validation")
    lookahead = Lookahead(data, num_samples=16)
    differences: list[list[float]] = [[], [], []]
    for seed in range(10):
        episodes = start(data, seed)
        earned, rows = np.zeros(episodes.n), np.arange(episodes.n)
        noted = []
        while len(rows):
            action = lookahead.expected_values(episodes, rows).argmax(axis=1)
            value = lookahead.values(episodes, rows)[np.arange(len(rows)), action]
            noted += list(zip(_kinds(episodes, rows), rows, value + earned[rows], strict=True))
            episodes.step(action, rows)
            earned[rows] += episodes.reward[rows]
            rows = rows[episodes.ended[rows] == ONGOING]
        for kinds, r, predicted_return in noted:
            for kind in np.flatnonzero(kinds):
                differences[kind].append(earned[r] - predicted_return)

    assert min(map(len, differences)) > 1000
    assert [np.mean(each) for each in differences] == pytest.approx([0.0] * 3, abs=0.3)


def _kinds(episodes: Episodes, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Returns bool (m, 3): a first decision, one after a failure, one while older calls run."""
    episode, subtask = episodes.state.episode[rows], episodes.state.subtask[rows]
    begun = (subtask[:, :, STATUS] == RUNNING) & (subtask[:, :, START] != NONE)
    older = (begun & (subtask[:, :, START] < episode[:, CLOCK, None])).any(axis=1)
    failed = episodes.state.failures[rows, episode[:, CURRENT]].any(axis=1)
    return np.stack([episode[:, STEPS] == 0, failed, older], axis=1)


@pytest.mark.slow
def test_lookahead_beats_its_base_policy_and_no_bound() -> None:
    """Compares mean returns over 5 seeds of the 200 built-in validation workflows, `balanced`.

    Random scores 1.38, the base policy 2.95, lookahead 3.77, per-call hindsight 7.03 and the exact
    optimum 7.49. Lookahead earns 0.83 more than its base policy, with a 95 % interval of 0.29 to
    either side over workflows; half of the gain is asked for, and three standard errors.
    """
    data, seeds = builtin_dataset("validation"), range(5)
    lookahead, rng = Lookahead(data), np.random.default_rng(0)

    def at_random(episodes: Episodes, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        allowed = episodes.state.mask[rows] > 0
        return np.where(allowed, rng.random(allowed.shape), -1.0).argmax(axis=1)

    def base(episodes: Episodes, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return lookahead.expected_values(episodes, rows).argmax(axis=1)

    def per_call(episodes: Episodes, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        value = hindsight_utility(peek(episodes, rows), episodes.state.weights[rows])
        return value.argmax(axis=1)

    policies: tuple[Choice, ...] = (at_random, base, lookahead.actions, per_call)
    score = np.array([[returns(data, choose, seed) for seed in seeds] for choose in policies])
    found = [
        [hindsight_optimum(episodes, r) for r in range(episodes.n)]
        for episodes in (start(data, seed) for seed in seeds)
    ]
    optimum = np.array([[each.episode_return for each in row] for row in found])
    gain = (score[2] - score[1]).mean(axis=0)

    assert all(each.is_exact for row in found for each in row)
    assert (score <= optimum + 1e-9).all()
    at_random_mean, base_mean, lookahead_mean, per_call_mean = score.mean(axis=(1, 2))
    assert at_random_mean + 1.0 < base_mean
    assert gain.mean() > 0.4
    assert gain.mean() > 3.0 * gain.std(ddof=1) / np.sqrt(len(gain))
    assert lookahead_mean < per_call_mean < optimum.mean()
