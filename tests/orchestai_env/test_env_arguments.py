"""Every wrong argument of either environment ends in one error that names it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from orchestai_env.env import OrchestAIEnv
from orchestai_env.errors import ConfigError, MissingFileError, OrchestAIError
from orchestai_env.reward import RewardWeights
from orchestai_env.vector_env import OrchestAIVectorEnv
from tests.orchestai_env.toy import ONE_SECOND, Instance, toy_dataset

TOY = toy_dataset([Instance(calls=((ONE_SECOND, ONE_SECOND),))])

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"dataset": 3}, r"^dataset: expected a Dataset, a folder or None, got 3"),
    ({"dataset": None, "split": "tset"}, r"split 'tset'\. Did you mean 'test'\?"),
    ({"reward_weights": 3}, r"^reward_weights: expected RewardWeights, .*got 3"),
    ({"reward_weights": {"sucess_weight": 1}}, r"sucess_weight.*mean 'success_weight'\?"),
    ({"reward_weights": {"cost_weight": -1}}, r"^reward_weights: cost_weight: .*got -1"),
    ({"reward_weights": {"cost_weight": float("inf")}}, r"cost_weight: .*finite.*got inf"),
    ({"reward_weights": {"latency_unit": "h"}}, r"latency_unit: .*'ms' or 's'; got 'h'"),
    ({"observation": ["worker"]}, r"observation key 'worker'\. Did you mean 'workers'\?"),
    ({"observation": []}, r"^observation: expected at least one key"),
    ({"observation": "workers"}, r"^observation: expected a list of keys or None, got 'workers'"),
    ({"observation": 3}, r"^observation: expected a list of keys or None, got 3"),
    ({"observation": ["subtask"]}, r"'subtask': the data set has no stored embeddings"),
    ({"render_mode": "human"}, r"^render_mode: expected None, got 'human'"),
    ({"max_attempts": 0}, r"^OrchestAI-v0: max_attempts: .*greater than or equal to 1; got 0"),
    ({"max_attempts": 1001}, r"max_attempts: .*less than or equal to 1000; got 1001"),
    ({"max_attempts": 2.5}, r"max_attempts: .*got 2\.5"),
    ({"max_attempts": "x"}, r"max_attempts: .*got 'x'"),
    ({"max_parallel_tasks": 0}, r"max_parallel_tasks: .*got 0"),
    ({"on_failure": "stop"}, r"on_failure: .*'abort' or 'continue'; got 'stop'"),
    ({"on_masked_action": "raise"}, r"on_masked_action: .*'replace' or 'error'; got 'raise'"),
    ({"cost_budget_usd": 0}, r"cost_budget_usd: .*greater than 0; got 0"),
    ({"cost_budget_usd": float("inf")}, r"cost_budget_usd: .*finite number; got inf"),
    ({"deadline_ms": -1.0}, r"deadline_ms: .*greater than 0; got -1\.0"),
    ({"deadline_ms": 1.0e30}, r"deadline_ms: .*less than or equal to .*; got 1e\+30"),
    ({"max_steps": 0}, r"max_steps: .*greater than or equal to 1; got 0"),
    ({"max_steps": 10**30}, r"max_steps: .*less than or equal to"),
    ({"max_parallel_tasks": 10**30}, r"max_parallel_tasks: .*less than or equal to"),
    ({"max_atempts": 3}, r"unknown key 'max_atempts'\. Did you mean 'max_attempts'\?"),
    ({"max_atempts": 3, "deadline_ms": "x"}, r"\(and 1 more\)$"),
]


@pytest.mark.parametrize("kind", [OrchestAIEnv, OrchestAIVectorEnv])
@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=lambda x: str(x)[:40])
def test_wrong_argument_is_named(kind: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        kind(**({"dataset": TOY} | arguments))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("num_envs", [0, -1, 1.5, "3", None, True])
def test_wrong_num_envs_is_named(num_envs: Any) -> None:
    with pytest.raises(ConfigError, match=r"^num_envs: expected a whole number >= 1, got "):
        OrchestAIVectorEnv(num_envs, TOY)


def test_missing_data_set_folder_is_named(tmp_path: Path) -> None:
    for folder in (tmp_path / "nowhere", str(tmp_path / "nowhere")):
        with pytest.raises(MissingFileError, match=r"nowhere.*no imported data set there"):
            OrchestAIEnv(folder)


def test_missing_reward_profile_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"gone\.yaml: no such settings file"):
        OrchestAIEnv(TOY, reward_weights=tmp_path / "gone.yaml")


def test_reward_weights_come_from_record_mapping_or_profile(tmp_path: Path) -> None:
    profile = tmp_path / "profile.yaml"
    profile.write_text("success_weight: 3\nlatency_unit: s\n")
    expected = RewardWeights(success_weight=3.0, latency_unit="s")

    for given in (expected, {"success_weight": 3, "latency_unit": "s"}, profile, str(profile)):
        assert OrchestAIEnv(TOY, reward_weights=given).reward_weights == expected
    assert OrchestAIEnv(TOY).reward_weights == RewardWeights()


@pytest.mark.parametrize("action", [-1, 2, 1.0, 0.5, "0", None, True, [0, 1], np.array([0.0])])
def test_wrong_action_raises_and_steps_nothing(action: Any) -> None:
    env = OrchestAIEnv(TOY)
    env.reset(seed=0)
    with pytest.raises(ConfigError, match=r"^action: expected a worker index 0\.\.1, got "):
        env.step(action)
    assert env.current_subtask == 0
    assert env.step(1)[2]


@pytest.mark.parametrize("action", [0, np.int64(1), np.int32(1), np.uint8(1), np.array(1), [1]])
def test_actions_of_any_integer_kind_are_taken(action: Any) -> None:
    env, plain = OrchestAIEnv(TOY), OrchestAIEnv(TOY)
    env.reset(seed=0)
    plain.reset(seed=0)

    assert env.step(action)[1] == plain.step(int(np.asarray(action).item()))[1]


WRONG_OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"workflow": 1}, "workflow: expected an index in 0..0, got 1..1"),
    ({"workflow": -1}, "workflow: expected an index in 0..0, got -1..-1"),
    ({"workflow": 0.0}, "expected workflow as one index or 1, got 0.0"),
    ({"workflow": True}, "expected workflow as one index or 1, got True"),
    ({"workflow": [0, 0]}, "expected workflow as one index or 1, got [0, 0]"),
    ({"workflows": 0}, "options: expected {'workflow': index}, got keys ['workflows']"),
    ({"workflow": 0, "x": 0}, "got keys ['workflow', 'x']"),
]


@pytest.mark.parametrize(("options", "message"), WRONG_OPTIONS)
@pytest.mark.parametrize("env", [OrchestAIEnv(TOY), OrchestAIVectorEnv(1, TOY)], ids=["one", "n"])
def test_wrong_reset_option_is_named(env: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        env.reset(seed=0, options=options)


@pytest.mark.parametrize("seed", [-1, 0.5, "1"])
def test_wrong_seed_raises(seed: Any) -> None:
    with pytest.raises((gym.error.Error, OrchestAIError)):
        OrchestAIEnv(TOY).reset(seed=seed)


def test_observation_keys_can_be_chosen_and_keep_their_order() -> None:
    env = OrchestAIEnv(TOY, observation=("context", "subtasks"))
    obs, _ = env.reset(seed=0)

    assert list(obs) == list(env.observation_space) == ["context", "subtasks"]  # type: ignore[call-overload]
    assert set(env.observation_layout.feature_names) == {"context", "subtasks"}
    assert env.step(0)[2]
