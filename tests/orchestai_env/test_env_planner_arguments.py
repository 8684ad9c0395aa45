"""What goes wrong with a planner, its plans or an instruction ends in one line that says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from orchestai_env.dataset import Dataset
from orchestai_env.env import OrchestAIEnv
from orchestai_env.errors import ConfigError, PlanningError
from orchestai_env.vector_env import OrchestAIVectorEnv
from tests.orchestai_env.planning.planners import (
    ChainPlanner,
    annotated,
    builtin,
    chain,
    numbers,
    written,
)
from tests.orchestai_env.toy import DIAMOND, toy_dataset

KEYS = ("subtasks", "adjacency", "workers", "context", "action_mask")
TEXT = "Compare three offers."


@pytest.fixture(scope="module")
def data() -> Dataset:
    return builtin()


def test_default_observation_has_embeddings_where_all_plans_have_them(data: Dataset) -> None:
    bare = OrchestAIEnv(data, planner=ChainPlanner())
    whole = OrchestAIEnv(
        data,
        planner=ChainPlanner(
            changes={"instruction_embedding": numbers(5), "subtask_embeddings": numbers(2, 7)}
        ),
    )
    assert set(bare.observation_space) == set(KEYS)  # type: ignore[call-overload]
    assert whole.observation_space["instruction"].shape == (5,)  # type: ignore[index]
    assert whole.observation_space["subtask"].shape == (7,)  # type: ignore[index]
    obs, _ = whole.reset(seed=0, options={"instruction": TEXT})
    np.testing.assert_array_equal(obs["instruction"], numbers(5))
    np.testing.assert_array_equal(obs["subtask"], numbers(2, 7)[0])
    obs, *_ = whole.step(0)
    assert obs in whole.observation_space


@pytest.mark.parametrize("key", ["instruction", "subtask"])
def test_asked_embedding_that_plans_lack_is_named(data: Dataset, key: str) -> None:
    for kind in (OrchestAIEnv, lambda *args, **rest: OrchestAIVectorEnv(2, *args, **rest)):
        with pytest.raises(ConfigError) as caught:
            kind(data, planner=ChainPlanner(), observation=["workers", key])
        assert str(caught.value) == (
            f"observation key {key!r}: planner 'chain' has plans without this embedding; choose "
            "among subtasks, adjacency, workers, context, action_mask"
        )


@pytest.mark.parametrize(("size", "got"), [(None, "none"), (3, "one of 3 numbers")], ids=str)
def test_text_whose_embedding_does_not_fit_is_refused(
    data: Dataset, size: int | None, got: str
) -> None:
    planner = ChainPlanner(changes={"instruction_embedding": numbers(5)})
    env, other = (
        OrchestAIEnv(data, planner=planner, observation=keys)
        for keys in (["instruction", "workers"], ["workers"])
    )
    planner.changes = {"instruction_embedding": None if size is None else numbers(size)}
    with pytest.raises(
        PlanningError, match=f"shows an embedding of 5 numbers, and the plan has {got}; leave the"
    ):
        env.reset(seed=0, options={"instruction": TEXT})
    assert env.reset(seed=0)[0] in env.observation_space
    other.reset(seed=0, options={"instruction": TEXT})


WRONG_OPTIONS: dict[str, tuple[Any, str]] = {
    "empty": ({"instruction": ""}, "options: expected instruction as text, got ''"),
    "blank": ({"instruction": " \n"}, "options: expected instruction as text, got ' \\n'"),
    "number": ({"instruction": 3}, "options: expected instruction as text, got 3"),
    "list": ({"instruction": ["x"]}, "options: expected instruction as text, got ['x']"),
    "both": (
        {"instruction": "x", "workflow": 0},
        "options: expected either an instruction or a workflow, got keys ['instruction', 'work",
    ),
    "other": ({"instructions": "x"}, "options: expected {'workflow': index}, got keys ["),
}


@pytest.mark.parametrize(("options", "message"), WRONG_OPTIONS.values(), ids=WRONG_OPTIONS)
def test_wrong_option_is_named(data: Dataset, options: Any, message: str) -> None:
    env = OrchestAIEnv(data, planner=ChainPlanner())
    with pytest.raises(ConfigError) as caught:
        env.reset(seed=0, options=options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        OrchestAIEnv,
        lambda data: OrchestAIVectorEnv(2, data),
        lambda data: OrchestAIVectorEnv(2, data, planner=ChainPlanner()),
    ],
    ids=["env", "vector", "planning vector"],
)
def test_text_without_a_single_environment_with_a_planner_is_refused(
    data: Dataset, make: Callable[[Dataset], Any]
) -> None:
    with pytest.raises(
        ConfigError, match="an instruction is planned by a single OrchestAIEnv with"
    ):
        make(data).reset(seed=0, options={"instruction": TEXT})


@pytest.mark.parametrize("name", ["OrchestAI-v0", "OrchestAI-MO-v0"])
@pytest.mark.parametrize(
    ("planner", "dataset", "message"),
    [
        (
            3,
            None,
            "planner: expected an object with name, task_types and plan(instructions), got 3",
        ),
        (ChainPlanner(task_types=("cooking",)), None, "got cooking as well"),
        (ChainPlanner(), toy_dataset([DIAMOND]), "planner: data set 'toy' has recorded outcomes"),
    ],
    ids=["none", "types", "recorded"],
)
def test_wrong_planner_is_named(
    data: Dataset, name: str, planner: Any, dataset: Dataset | None, message: str
) -> None:
    for make in (
        gym.make,
        lambda name, **rest: gym.make_vec(
            name, num_envs=2, vectorization_mode="vector_entry_point", **rest
        ),
    ):
        with pytest.raises(ConfigError) as caught:
            make(name, dataset=dataset or data, planner=planner)
        assert message in str(caught.value) and "\n" not in str(caught.value)


def test_bug_of_a_planner_is_named_with_the_instruction(data: Dataset) -> None:
    planner = ChainPlanner(changes={"workflow": chain("Another.")})
    with pytest.raises(PlanningError, match=r"^planner 'chain', instruction '.*: got a plan of an"):
        OrchestAIEnv(data, planner=planner)


def test_wrong_rule_is_named_before_anything_is_planned(data: Dataset) -> None:
    planner = written(annotated())
    with pytest.raises(ConfigError, match="max_attempts"):
        OrchestAIEnv(data, planner=planner, max_attempts=0)
    assert planner.asked == []
