"""The learned planner in the places where planners are asked: checks, environment, fallback."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from orchestai_env.errors import PlanningError
from orchestai_env.planning import FallbackPlanner, Planner
from orchestai_env.planning.planner import checked_plans
from supervised.learned_planner import LearnedPlanner
from supervised.plans.baselines import NearestPlanner
from supervised.plans.dataset import WorkflowDataset
from supervised.texts.encoder import TextEncoder
from tests.orchestai_env.planning.planners import TASK_TYPES, builtin
from tests.supervised.small_planners import (
    TINY_OBJECTS,
    TINY_VERBS,
    WordBag,
    grammar,
    history,
    small_fit,
    small_planner,
    tiny_encoder,
)

TEXT = "draw a map, then add two numbers and write a poem"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> TextEncoder:
    return tiny_encoder(tmp_path_factory.mktemp("learned"))


@pytest.fixture(scope="module")
def train() -> WorkflowDataset:
    verbs = dict(zip(TINY_VERBS, TASK_TYPES, strict=False))
    return grammar(20, 0, verbs=verbs, objects=TINY_OBJECTS)


@pytest.fixture(scope="module")
def planner(train: WorkflowDataset, encoder: TextEncoder) -> LearnedPlanner:
    return LearnedPlanner(small_planner(train, encoder, max_subtasks=6))


def play(env: gym.Env[Any, Any], **reset: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Plays an episode with the first worker; returns the info of its beginning and of its end."""
    obs, first = env.reset(**reset)
    info, over = first, False
    while not over:
        assert obs in env.observation_space
        obs, _, terminated, truncated, info = env.step(0)
        over = terminated or truncated
    return first, info


def test_learned_planner_is_a_planner_whose_plans_keep_the_promise(
    planner: LearnedPlanner, train: WorkflowDataset
) -> None:
    texts = [TEXT, "", "Zeichne 地図", *(flow.instruction for flow in train.workflows)]

    plans = checked_plans(planner, texts, task_types=planner.task_types, max_subtasks=6)

    assert isinstance(planner, Planner)
    assert planner.task_types == train.vocabulary.task_types
    assert [plan.workflow.instruction for plan in plans] == texts
    assert {plan.planner for plan in plans} == {"learned"}
    assert all(plan.fallback_reason is None for plan in plans)
    assert planner.plan(texts) == list(plans)


def test_environment_plays_what_it_plans(planner: LearnedPlanner) -> None:
    env = gym.make("OrchestAI-v0", dataset=builtin(), planner=planner)
    (plan,) = planner.plan([TEXT])

    first, last = play(env, seed=0)
    assert first["plan"]["planner"] == "learned"
    first, last = play(env, options={"instruction": TEXT})

    assert first["plan"] == last["plan"]
    assert first["plan"] == {
        "planner": "learned",
        "confidence": pytest.approx(plan.confidence, abs=1e-5),
        "fallback_reason": None,
    }
    obs, _ = env.reset(options={"instruction": TEXT})
    assert obs["subtasks"][:, 0].sum() == len(plan.workflow.subtasks)
    assert obs["adjacency"].sum() == len(plan.workflow.links)
    assert obs["instruction"].shape == obs["subtask"].shape == (32,)


def test_fallback_plans_where_the_learned_planner_is_not_sure_and_info_says_why(
    planner: LearnedPlanner, train: WorkflowDataset, encoder: TextEncoder
) -> None:
    nearest = NearestPlanner.of(train, encoder)
    (plan,) = planner.plan([TEXT])
    assert 0.0 < plan.confidence < 0.95
    reason = f"confidence {plan.confidence:.3g} below 0.95"

    for least, expected in ((0.0, ("learned", None)), (0.95, ("nearest", reason))):
        both = FallbackPlanner(planner, nearest, least)
        env = gym.make("OrchestAI-v0", dataset=builtin(), planner=both)
        first, last = play(env, seed=0, options={"instruction": TEXT})
        assert (first["plan"]["planner"], first["plan"]["fallback_reason"]) == expected
        assert last["plan"] == first["plan"]


def test_other_seed_and_number_of_samples_may_plan_otherwise(train: WorkflowDataset) -> None:
    model = small_planner(grammar(20, 0), WordBag(), max_subtasks=5)
    texts = [flow.instruction for flow in grammar(12, 5).workflows]

    plans = LearnedPlanner(model, num_samples=2, seed=0).plan(texts)

    assert LearnedPlanner(model, num_samples=2, seed=0).plan(texts) == plans
    assert LearnedPlanner(model, num_samples=2, seed=1).plan(texts) != plans
    assert LearnedPlanner(model, num_samples=3, seed=0).plan(texts) != plans


@pytest.mark.parametrize("count", [1, 2, 6])
def test_link_probabilities_are_chances_between_the_given_subtasks(
    planner: LearnedPlanner, count: int
) -> None:
    texts = ["draw a map", "a thing that nobody knows", "", "add", "add", "write a poem"][:count]

    chances = planner.link_probabilities(TEXT, texts)

    assert chances.shape == (count, count)
    assert chances.dtype == np.float32
    assert ((chances >= 0) & (chances <= 1)).all()
    np.testing.assert_array_equal(chances, planner.link_probabilities(TEXT, texts))


@pytest.mark.parametrize("count", [0, 99])
def test_too_few_or_many_texts_to_link_are_refused(planner: LearnedPlanner, count: int) -> None:
    with pytest.raises(PlanningError, match=rf"expected 1\.\.\d+ subtasks, got {count}; train"):
        planner.link_probabilities(TEXT, ["draw"] * count)


def test_link_probabilities_are_high_where_training_had_links() -> None:
    """Trains on "a, then b" alone; untrained, every link has a chance of about 0.12."""
    train = grammar(60, 0)
    pairs = train.take([k for k in range(60) if len(train.workflows[k].subtasks) == 2])
    model = small_planner(pairs, WordBag(), max_subtasks=4)
    history(small_fit(model, pairs, pairs, max_epochs=30, learning_rate=1.0e-2))

    flow = pairs.workflows[0]
    chances = LearnedPlanner(model).link_probabilities(
        flow.instruction, [subtask.name for subtask in flow.subtasks]
    )

    assert chances[0, 1] > 0.8
    assert chances[1, 0] < 0.2
