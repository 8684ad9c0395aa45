"""Intervals over queries and seeds."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest

from agents.agent import Agent, Setting
from agents.baselines.simple import LowestFeatureAgent, RandomAgent
from agents.baselines.tables import FixedTableAgent
from agents.benchmark.resampling import (
    MEASURES,
    Compose,
    Replicate,
    SeedAgents,
    evaluate_seeds,
    measure,
    recorded_composer,
    resample,
    simulated_composer,
)
from agents.evaluate import evaluate
from orchestai_env.datasets.folder import RecordedFolder, load_folder
from orchestai_env.datasets.splits import SPLITS, Split
from orchestai_env.rules import EpisodeRules
from tests.agents.problems import WEIGHTS, builtin_setting
from tests.recorded_source import import_source


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RecordedFolder:
    return load_folder(import_source(tmp_path_factory.mktemp("source")))


def recorded_setting(folder: RecordedFolder, split: str = "test") -> Setting:
    return Setting(dataset=folder.dataset(split), rules=EpisodeRules(), weights=WEIGHTS)


def only_bob(folder: RecordedFolder) -> FixedTableAgent:
    return FixedTableAgent(recorded_setting(folder), np.array([1, 1]))


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("resample", [False, True])
def test_composed_workflows_use_queries_of_their_split_only(
    folder: RecordedFolder, split: Split, resample: bool
) -> None:
    compose = recorded_composer(folder, split)

    dataset = compose(np.random.default_rng(0), 300, resample)

    used = set(dataset.workflows.query[dataset.workflows.query >= 0].tolist())
    rows = set(folder.queries.rows(split).tolist())
    assert used <= rows
    assert (used == rows) is (not resample)  # drawn with replacement, some queries stay out
    assert len(dataset.workflows) == 300
    assert dataset.workflows.max_subtasks == folder.dataset(split).workflows.max_subtasks


def run(
    agents: SeedAgents, compose: Compose, setting: Setting, *seed: int
) -> npt.NDArray[np.float64]:
    replicate = resample(compose, setting, num_workflows=40, num_seeds=len(agents), seed=seed)
    return measure(agents, replicate)


def test_replicate_follows_its_seed(folder: RecordedFolder) -> None:
    agents, compose = [only_bob(folder)] * 2, recorded_composer(folder, "test")
    setting = recorded_setting(folder)

    first, again, other = (run(agents, compose, setting, 0, 1, index) for index in (1, 1, 2))

    assert first.shape == (len(MEASURES), 2)
    assert (first == again).all()
    assert (first != other).any()


def test_simulated_replicate_follows_its_seed() -> None:
    setting = builtin_setting(20)
    agents = [LowestFeatureAgent(setting, "price")]
    compose = simulated_composer(setting.dataset)

    first, again, other = (run(agents, compose, setting, 0, 1, index) for index in (1, 1, 2))

    assert (first == again).all()
    assert (first != other).any()


def test_seeds_drawn_are_the_same_for_both_splits() -> None:
    """So that the difference of training and test return is paired over seeds."""
    setting = builtin_setting(20)
    compose = simulated_composer(setting.dataset)

    train, test = (
        resample(compose, setting, num_workflows=20, num_seeds=50, seed=[3, split, 9])
        for split in (0, 1)
    )

    assert (train.chosen == test.chosen).all()
    assert train.luck != test.luck


def evaluate_rows(agent: Agent, setting: Setting, rows: list[int]) -> npt.NDArray[np.float64]:
    workflows = setting.dataset.workflows.take(np.array(rows))
    part = dataclasses.replace(setting, dataset=setting.dataset.with_workflows(workflows))
    return evaluate(agent, part, seed=4).episode_return


def test_every_seeds_agent_gets_its_share_of_the_workflows() -> None:
    setting = builtin_setting(12)
    agents = [FixedTableAgent(setting, np.full(10, worker)) for worker in (0, 2, 5)]

    replicate = Replicate(setting=setting, chosen=np.array([2, 0, 2]), luck=4)
    found = measure(agents, replicate)[MEASURES.index("return")]

    rows = [list(range(place, 12, 3)) for place in range(3)]
    both = evaluate_rows(agents[2], setting, sorted(rows[0] + rows[2]))
    expected = [both[::2].mean(), evaluate_rows(agents[0], setting, rows[1]).mean()]
    assert found == pytest.approx([*expected, both[1::2].mean()], rel=1e-12)


def test_point_estimates_run_each_seed_and_equal_agents_once() -> None:
    setting = builtin_setting(8)
    same = LowestFeatureAgent(setting, "price")

    assert len(evaluate_seeds([same, same], setting, seed=0)) == 1
    assert len(evaluate_seeds([same, RandomAgent(0)], setting, seed=0)) == 2


def test_simulated_composer_repeats_or_draws_workflows() -> None:
    dataset = builtin_setting(7).dataset
    compose = simulated_composer(dataset)

    plain = compose(np.random.default_rng(0), 10, False).workflows
    drawn = compose(np.random.default_rng(0), 10, True).workflows

    expected = dataset.workflows.take(np.arange(10) % 7)
    assert plain.task_type.tolist() == expected.task_type.tolist()
    known = {tuple(row) for row in dataset.workflows.task_type.tolist()}
    assert {tuple(row) for row in drawn.task_type.tolist()} <= known
    assert drawn.task_type.tolist() != plain.task_type.tolist()


def test_simulated_resampling_leaves_some_workflows_out() -> None:
    """However many workflows are asked for, so the interval does not shrink with their number."""
    dataset = builtin_setting(40).dataset

    drawn = simulated_composer(dataset)(np.random.default_rng(0), 4000, True).workflows

    kinds = {tuple(row) for row in drawn.task_type.tolist()}
    assert len(drawn) == 4000
    assert 40 * 0.4 < len(kinds) < 40 * 0.85  # 63 % are expected


def test_few_queries_widen_the_interval_more_than_episodes_tell(folder: RecordedFolder) -> None:
    """Worker bob is right on a third of the 18 test queries, so which ones are drawn matters most.

    Composing anew from the same queries varies by sampling of episodes alone. The standard error
    over queries does not shrink with the number of workflows; here it is several times as large.
    """
    agent, compose = only_bob(folder), recorded_composer(folder, "test")
    setting = recorded_setting(folder)

    def spread(resample: bool) -> float:
        means: list[npt.NDArray[np.float64]] = []
        for index in range(30):
            dataset = compose(np.random.default_rng([index]), 400, resample)
            part = dataclasses.replace(setting, dataset=dataset)
            means.append(evaluate(agent, part, seed=0).episode_return.mean())
        return float(np.std(means))

    assert spread(resample=True) > 3 * spread(resample=False) > 0
