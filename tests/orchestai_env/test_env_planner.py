"""An environment with a planner plays its plans: the same episodes where the plans are the same."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from orchestai_env.dataset import Dataset
from orchestai_env.env import OrchestAIEnv
from orchestai_env.errors import ConfigError, PlanningError
from orchestai_env.mo_env import OrchestAIMOEnv, OrchestAIMOVectorEnv
from orchestai_env.planning import FallbackPlanner, LanguageModelPlanner
from orchestai_env.vector_env import OrchestAIVectorEnv
from tests.orchestai_env.checkers import assert_passes_gymnasium, assert_passes_sb3
from tests.orchestai_env.planning.planners import (
    TASK_TYPES,
    ChainPlanner,
    WrittenPlanner,
    annotated,
    builtin,
    with_embeddings,
    written,
)
from tests.orchestai_env.play import Played, play, random_actions
from tests.orchestai_env.test_copies import steps, to_bytes

KEYS = ("subtasks", "adjacency", "workers", "context", "action_mask")
TEXT = "Compare three offers."
VARIED: dict[str, Any] = {
    "on_failure": "continue",
    "price_spread": 2.0,
    "preference_spread": 2.0,
    "min_workers": 2,
    "shuffle_workers": True,
}


@pytest.fixture(scope="module")
def data() -> Dataset:
    return builtin()


def episodes(env: gym.Env[Any, Any], seed: int = 3, count: int = 5) -> list[Any]:
    """Plays episodes at random; returns all that came back but `info["plan"]`."""
    played = [play(env, random_actions(8, k), seed=None if k else seed) for k in range(count)]
    return [everything(one) for one in played]


def everything(played: Played) -> Any:
    """Returns an episode in a form that is equal only bit for bit."""
    infos = [
        {k: v for k, v in info.items() if k not in ("plan", "episode_result")}
        for info in played.infos
    ]
    obs = [to_bytes(obs) for obs in played.observations]
    return obs, list(map(to_bytes, infos)), [r.hex() for r in played.rewards], played.result


def play_text(env: gym.Env[Any, Any], text: str, seed: int | None = None) -> list[Any]:
    """Plays the plan of an instruction; returns all that came back."""
    taken = [env.reset(seed=seed, options={"instruction": text})]
    while len(taken) == 1 or not (taken[-1][2] or taken[-1][3]):  # type: ignore[misc]
        taken.append(env.step(0))  # type: ignore[arg-type]
    return [list(map(to_bytes, step)) for step in taken]


@pytest.mark.parametrize("rules", [{}, VARIED], ids=["default", "varied"])
@pytest.mark.parametrize("kind", [OrchestAIEnv, OrchestAIMOEnv])
def test_annotated_plans_give_the_episodes_of_no_planner(
    data: Dataset, kind: Any, rules: dict[str, Any]
) -> None:
    env = kind(data, observation=KEYS, **rules)
    planned = kind(data, observation=KEYS, planner=written(annotated()), **rules)
    if kind is OrchestAIEnv:
        assert episodes(planned) == episodes(env)
    for one in (env, planned):
        one.reset(seed=1)
    assert without_infos(steps(planned, 2)) == without_infos(steps(env, 2))


def without_infos(taken: list[Any]) -> list[Any]:
    """Returns what `steps` gives, but for the infos."""
    return [step[:4] if isinstance(step, list) else step for step in taken]


def test_annotated_plans_with_embeddings_give_the_whole_observation(data: Dataset) -> None:
    planner = with_embeddings(written(annotated()), data)
    env = OrchestAIEnv(data, planner=planner)

    assert env.observation_space == OrchestAIEnv(data).observation_space
    assert episodes(env) == episodes(OrchestAIEnv(data))


@pytest.mark.parametrize("kind", [OrchestAIVectorEnv, OrchestAIMOVectorEnv])
def test_batched_form_plays_annotated_plans_alike(data: Dataset, kind: Any) -> None:
    venvs = [
        kind(3, data, observation=KEYS, **arguments)
        for arguments in ({}, {"planner": written(annotated())})
    ]
    played = []
    for venv in venvs:
        obs, _ = venv.reset(seed=4)
        played.append([to_bytes(obs), steps(venv, 0)])

    assert played[0] == played[1]


def test_batched_form_plays_a_row_as_the_single_one_does(data: Dataset) -> None:
    venv = gym.make_vec(
        "OrchestAI-v0",
        num_envs=2,
        vectorization_mode="vector_entry_point",
        dataset=data,
        planner=ChainPlanner(size=4),
    )
    env = OrchestAIEnv(data, planner=ChainPlanner(size=4))
    rows, _ = venv.reset(seed=6)
    obs, _ = env.reset(seed=7)
    for _ in range(3):
        assert to_bytes({key: values[1] for key, values in rows.items()}) == to_bytes(obs)
        rows, obs = venv.step(np.array([1, 1]))[0], env.step(1)[0]


def test_environments_of_gymnasium_stack_the_info(data: Dataset) -> None:
    planner = FallbackPlanner(ChainPlanner("first"), ChainPlanner("other"), 0.5)
    venv = gym.make_vec(
        "OrchestAI-v0", num_envs=2, vectorization_mode="sync", dataset=data, planner=planner
    )
    _, info = venv.reset(seed=0)

    assert info["plan"]["planner"].tolist() == ["first", "first"]
    assert info["plan"]["confidence"].tolist() == [1.0, 1.0]


def test_info_says_whose_plan_it_is_at_reset_and_at_the_end(data: Dataset) -> None:
    plans = dict(written(annotated()).plans)
    texts = list(plans)
    plans[texts[1]] = dataclasses.replace(plans[texts[1]], confidence=0.31)
    del plans[texts[2]]
    env = gym.make(
        "OrchestAI-v0",
        dataset=data,
        planner=FallbackPlanner(WrittenPlanner(plans), ChainPlanner(), 0.5),
    )
    expected = [
        ("written", 1.0, None),
        ("chain", 1.0, "confidence 0.31 below 0.5"),
        ("chain", 1.0, f"planner 'written': no plan of {texts[2]!r}"),
    ]
    for workflow, values in enumerate(expected):
        info = play(env, random_actions(8, 0), workflow=workflow).infos
        plan = dict(zip(("planner", "confidence", "fallback_reason"), values, strict=True))
        assert info[0]["plan"] == info[-1]["plan"] == plan
        assert not any("plan" in between for between in info[1:-1])
        info[0]["plan"]["planner"] = "changed by a caller"


def test_without_a_planner_info_says_nothing_of_plans(data: Dataset) -> None:
    infos = play(OrchestAIEnv(data), random_actions(8, 0), seed=0).infos
    assert not any("plan" in info for info in infos)


def test_text_is_planned_and_played(data: Dataset) -> None:
    env = OrchestAIEnv(data, planner=ChainPlanner(size=5))
    obs, info = env.reset(seed=0, options={"instruction": TEXT})

    assert obs in env.observation_space
    assert obs["subtasks"][:, 0].sum() == 5
    assert obs["adjacency"].sum() == 4
    assert info["plan"] == {"planner": "chain", "confidence": 1.0, "fallback_reason": None}
    assert env.episodes.dataset.workflows.instruction_texts == (TEXT,)
    assert len(play_text(env, TEXT)) > 1


@pytest.mark.parametrize("kind", [OrchestAIEnv, OrchestAIMOEnv])
def test_text_of_the_data_set_gives_the_episode_of_its_workflow(data: Dataset, kind: Any) -> None:
    env = kind(data, planner=written(annotated()), **VARIED)
    k = 5
    text = annotated()[k].instruction
    first = env.reset(seed=8, options={"workflow": k})
    by_index = [to_bytes(first[0]), steps(env, 0, count=3)]
    first = env.reset(seed=8, options={"instruction": text})

    assert [to_bytes(first[0]), steps(env, 0, count=3)] == by_index


def test_seed_decides_all_that_follows_with_texts_in_between(data: Dataset) -> None:
    def run(env: OrchestAIEnv) -> list[Any]:
        return [
            play_text(env, TEXT, seed=9),
            play_text(env, TEXT),
            everything(play(env, random_actions(8, 0))),
            play_text(env, "Another text."),
        ]

    env = OrchestAIEnv(data, planner=ChainPlanner())
    first = run(env)
    assert run(env) == first == run(OrchestAIEnv(data, planner=ChainPlanner()))
    assert first[0] != first[1]


def test_texts_in_between_leave_the_other_episodes_as_they_were(data: Dataset) -> None:
    env, other = (OrchestAIEnv(data, planner=written(annotated())) for _ in range(2))
    env.reset(seed=2)
    other.reset(seed=2)
    other.reset(options={"workflow": 0})
    env.reset(options={"instruction": annotated()[0].instruction})

    assert episodes_going_on(env) == episodes_going_on(other)


def episodes_going_on(env: OrchestAIEnv) -> list[Any]:
    return [everything(play(env, random_actions(8, k))) for k in range(4)]


def test_held_observations_stay_as_they_are(data: Dataset) -> None:
    env = OrchestAIEnv(data, planner=ChainPlanner())
    held = [env.reset(seed=0)[0], env.reset(options={"instruction": TEXT})[0], env.reset()[0]]
    before = list(map(to_bytes, held))
    for text in ("a", "b"):
        play_text(env, text)
        env.reset()

    assert list(map(to_bytes, held)) == before


def test_refused_text_leaves_the_episode_as_it_was(data: Dataset) -> None:
    env = OrchestAIEnv(data, planner=written(annotated()))
    env.reset(seed=0)
    twin = copy.deepcopy(env)
    with pytest.raises(PlanningError, match="no plan of 'unknown'"):
        env.reset(seed=5, options={"instruction": "unknown"})

    assert steps(env, 0, count=9) == steps(twin, 0, count=9)


def test_wrong_workflow_after_a_text_needs_a_reset(data: Dataset) -> None:
    env = OrchestAIEnv(data, planner=ChainPlanner())
    env.reset(seed=0, options={"instruction": TEXT})
    with pytest.raises(ConfigError, match=r"workflow: expected an index in 0\.\.11, got 12"):
        env.reset(options={"workflow": 12})
    with pytest.raises(gym.error.ResetNeeded):
        env.step(0)
    env.reset()
    env.step(0)


@pytest.mark.parametrize("option", [None, TEXT], ids=["drawn", "text"])
def test_fork_of_a_planned_episode_goes_on_alike_and_apart(
    data: Dataset, option: str | None
) -> None:
    env = OrchestAIEnv(data, planner=ChainPlanner(size=6))
    env.reset(seed=0, options=None if option is None else {"instruction": option})
    env.step(0)
    twin, untouched = env.fork(), copy.deepcopy(env)
    ahead = steps(twin, 1)
    play_text(twin, "Another text.")
    twin.reset()

    assert steps(env, 1) == ahead
    assert steps(untouched, 1) == ahead


@pytest.mark.parametrize("option", [None, TEXT], ids=["drawn", "text"])
@pytest.mark.parametrize("kind", [OrchestAIEnv, OrchestAIMOEnv])
def test_pickle_of_a_planned_episode_goes_on_alike(
    data: Dataset, kind: Any, option: str | None
) -> None:
    env = kind(data, planner=ChainPlanner(size=6))
    env.reset(seed=0, options=None if option is None else {"instruction": option})
    env.step(0)
    twin = pickle.loads(pickle.dumps(env))

    assert steps(twin, 1) == steps(env, 1)
    assert play_text(twin, "Another text.") == play_text(env, "Another text.")


@pytest.mark.parametrize("mode", ["ansi", "rgb_array"])
def test_plans_are_rendered(data: Dataset, mode: str) -> None:
    env = OrchestAIEnv(data, planner=ChainPlanner(size=7), render_mode=mode)
    env.reset(seed=0, options={"instruction": TEXT})
    env.step(0)
    picture = env.render()

    if mode == "ansi":
        assert "of 7 subtasks done" in picture
        env.reset(options={"workflow": 3})
        assert "workflow 3: ongoing, to be decided: subtask 0" in env.render()
    else:
        assert picture.shape == (600, 960, 3)


@pytest.mark.parametrize("embeddings", [False, True], ids=["bare", "embeddings"])
@pytest.mark.usefixtures("windows")
def test_checkers_pass(data: Dataset, embeddings: bool) -> None:
    planner = written(annotated())
    env = gym.make(
        "OrchestAI-v0",
        dataset=data,
        planner=with_embeddings(planner, data) if embeddings else planner,
    )
    assert_passes_gymnasium(env.unwrapped)
    assert_passes_sb3(env.unwrapped)


def test_language_model_plans_for_the_environment(data: Dataset) -> None:
    reply = f'```json\n{{"subtasks": [{{"name": "Do it", "type": "{TASK_TYPES[0]}"}}]}}\n```'
    planner = LanguageModelPlanner(lambda prompt: reply, task_types=TASK_TYPES)
    env = gym.make("OrchestAI-v0", dataset=data, planner=planner)
    _, info = env.reset(seed=0, options={"instruction": TEXT})

    assert info["plan"]["planner"] == "language model"
