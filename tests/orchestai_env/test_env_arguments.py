"""Every wrong argument of any of the environments ends in one error that names it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import yaml

from orchestai_env.env import OrchestAIEnv
from orchestai_env.errors import ConfigError, MissingFileError, OrchestAIError
from orchestai_env.mo_env import OrchestAIMOEnv, OrchestAIMOVectorEnv
from orchestai_env.reward import RewardWeights
from orchestai_env.rules import EpisodeRules
from orchestai_env.vector_env import OrchestAIVectorEnv
from tests.orchestai_env.toy import ONE_SECOND, Instance, toy_dataset

TOY = toy_dataset([Instance(calls=((ONE_SECOND, ONE_SECOND),))])

Make = Callable[..., object]


def make_vec(name: str, **arguments: Any) -> object:
    defaults: dict[str, Any] = {"num_envs": 2, "vectorization_mode": "vector_entry_point"}
    return gym.make_vec(name, **(defaults | arguments))


MAKERS: dict[str, Make] = {
    "env": lambda **arguments: gym.make("OrchestAI-v0", **arguments),
    "vector": lambda **arguments: make_vec("OrchestAI-v0", **arguments),
    "mo": lambda **arguments: gym.make("OrchestAI-MO-v0", **arguments),
    "mo-vector": lambda **arguments: make_vec("OrchestAI-MO-v0", **arguments),
}
CLASSES: list[Make] = [
    OrchestAIEnv,
    OrchestAIVectorEnv,
    OrchestAIMOEnv,
    OrchestAIMOVectorEnv,
]


def refusal(make: Make, kind: type[OrchestAIError] = ConfigError, **arguments: Any) -> str:
    """Makes an environment that must be refused; returns the one line that says why."""
    with pytest.raises(kind) as caught:
        make(**({"dataset": TOY} | arguments))
    line = str(caught.value)
    assert line and "\n" not in line
    assert len(line) < 400
    return line


MANY_LINES = np.arange(100).reshape(10, 10)

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"dataset": 3}, r"^dataset: expected a Dataset, a folder or None, got 3$"),
    ({"dataset": b"folder"}, r"^dataset: expected a Dataset, a folder or None, got b'folder'$"),
    ({"dataset": MANY_LINES}, r"^dataset: expected a Dataset, a folder or None, got array\("),
    ({"dataset": [TOY]}, r"^dataset: expected a Dataset, a folder or None, got \[Dataset"),
    ({"dataset": None, "split": "tset"}, r"split 'tset'\. Did you mean 'test'\? Known: test, "),
    ({"dataset": None, "split": "Train"}, r"split 'Train'\. Did you mean 'train'\?"),
    ({"dataset": None, "split": 3}, r"split 3\. Known: test, train, validation$"),
    ({"dataset": None, "split": ["test"]}, r"split \['test'\]\..* Known: test, train, validation$"),
    ({"dataset": "nowhere", "split": "tset"}, r"split 'tset'\. Did you mean 'test'\?"),
    ({"split": "test"}, r"^split: a Dataset is taken as it is.*got 'test' beside .*'toy'$"),
    ({"split": "train"}, r"^split: a Dataset is taken as it is"),
    ({"split": "tset"}, r"^split: a Dataset is taken as it is"),
    ({"reward_weights": 3}, r"^reward_weights: expected RewardWeights, .*got 3$"),
    ({"reward_weights": [1, 2, 3, 4]}, r"^reward_weights: expected .*got \[1, 2, 3, 4\]$"),
    ({"reward_weights": EpisodeRules()}, r"^reward_weights: expected RewardWeights, .*Episode"),
    ({"reward_weights": {"sucess_weight": 1}}, r"sucess_weight.*mean 'success_weight'\?"),
    ({"reward_weights": {1: 2}}, r"^reward_weights: 1: Keys should be strings"),
    ({"reward_weights": {"latency_unit": "h"}}, r"latency_unit: .*'ms' or 's'; got 'h'"),
    ({"reward_weights": {"latency_unit": 1}}, r"latency_unit: .*'ms' or 's'; got 1$"),
    ({"observation": ["worker"]}, r"observation key 'worker'\. Did you mean 'workers'\? Known: "),
    ({"observation": []}, r"^observation: expected at least one key of instruction, subtask, "),
    ({"observation": "workers"}, r"^observation: expected a list of keys or None, got 'workers'"),
    ({"observation": 3}, r"^observation: expected a list of keys or None, got 3"),
    ({"observation": True}, r"^observation: expected a list of keys or None, got True"),
    ({"observation": [3]}, r"observation key 3\. Known: action_mask, adjacency"),
    ({"observation": [None]}, r"observation key None\. Known: action_mask"),
    ({"observation": [["workers"]]}, r"observation key \['workers'\]\..* Known: action_mask"),
    ({"observation": MANY_LINES}, r"observation key array\("),
    ({"observation": ["workers"] * 2}, r"observation key 'workers': expected once, got it twice"),
    ({"observation": ["subtask"]}, r"'subtask': the data set has no stored embeddings; .*leave"),
    ({"planner": "nearest"}, r"^planner: expected an object with name, .*, got 'nearest'$"),
    ({"max_attempts": 0}, r"^OrchestAI: max_attempts: .*greater than or equal to 1; got 0$"),
    ({"max_attempts": 1001}, r"max_attempts: .*less than or equal to 1000; got 1001$"),
    ({"max_attempts": 2.5}, r"max_attempts: .*valid integer; got 2\.5$"),
    ({"max_attempts": None}, r"max_attempts: .*valid integer; got None$"),
    ({"max_parallel_tasks": 0}, r"max_parallel_tasks: .*greater than or equal to 1; got 0$"),
    ({"max_parallel_tasks": 10**30}, r"max_parallel_tasks: .*less than or equal to 10{12}; got"),
    ({"on_failure": "stop"}, r"on_failure: .*'abort' or 'continue'; got 'stop'$"),
    ({"on_failure": None}, r"on_failure: .*'abort' or 'continue'; got None$"),
    ({"on_masked_action": "raise"}, r"on_masked_action: .*'replace' or 'error'; got 'raise'$"),
    ({"cost_budget_usd": 0}, r"cost_budget_usd: .*greater than 0; got 0$"),
    ({"deadline_ms": -1.0}, r"deadline_ms: .*greater than or equal to 0\.001; got -1\.0$"),
    ({"deadline_ms": 0.0009}, r"deadline_ms: .*greater than or equal to 0\.001; got 0\.0009$"),
    ({"deadline_ms": 1.0e30}, r"deadline_ms: .*less than or equal to .*; got 1e\+30$"),
    ({"max_steps": 0}, r"max_steps: .*greater than or equal to 1; got 0$"),
    ({"max_steps": 10**30}, r"max_steps: .*less than or equal to"),
    ({"preference_spread": 0.5}, r"preference_spread: .*greater than or equal to 1; got 0\.5$"),
    ({"preference_spread": 1.0e7}, r"preference_spread: .*less than or equal to 1000000; got"),
    ({"preference_spread": None}, r"preference_spread: .*valid number; got None$"),
    ({"price_spread": 0}, r"price_spread: .*greater than or equal to 1; got 0$"),
    ({"latency_spread": 0.5}, r"latency_spread: .*greater than or equal to 1; got 0\.5$"),
    ({"price_spread": -2.0}, r"price_spread: .*greater than or equal to 1; got -2\.0$"),
    ({"min_workers": 0}, r"min_workers: .*greater than or equal to 1; got 0$"),
    ({"min_workers": 3}, r"^min_workers: expected at most the 2 workers of the pool, got 3$"),
    ({"min_workers": 10**30}, r"^min_workers: expected at most the 2 workers of the pool, got 1"),
    ({"shuffle_workers": 1}, r"shuffle_workers: .*valid boolean; got 1$"),
    ({"shuffle_workers": None}, r"shuffle_workers: .*valid boolean; got None$"),
    (
        {"max_atempts": 3},
        r"^unknown argument 'max_atempts'\. Did you mean 'max_attempts'\? Known: ",
    ),
    ({"spilt": "test"}, r"^unknown argument 'spilt'\. Did you mean 'split'\? Known: .*dataset, "),
    ({"seed": 0}, r"^unknown argument 'seed'\..* Known: .*observation, on_failure, "),
    ({"max_steps": 0, "deadline_ms": "x"}, r"\(and 1 more\)$"),
]


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=lambda x: str(x)[:40])
def test_wrong_argument_is_named(make: Make, arguments: dict[str, Any], message: str) -> None:
    assert re.search(message, refusal(make, **arguments))


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("render_mode", ["3d", "", 3, True, ["ansi"]])
def test_wrong_render_mode_is_named(kind: Make, render_mode: Any) -> None:
    line = refusal(kind, render_mode=render_mode)
    assert re.search(rf"^render_mode: expected .*got {re.escape(repr(render_mode))}", line)


NO_NUMBERS = ["3", "", True, False, [1], {"a": 1}, (), b"1", 1j, object, float("nan"), MANY_LINES]
NUMBERS = sorted(set(EpisodeRules.model_fields) - {"on_failure", "on_masked_action"})


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda x: str(x)[:10])
@pytest.mark.parametrize("name", NUMBERS)
def test_rule_that_is_no_number_is_named(name: str, value: Any) -> None:
    if name == "shuffle_workers" and isinstance(value, bool):
        return
    for kind in CLASSES:
        assert re.search(
            rf"^OrchestAI: {name}: Input should .*; got ", refusal(kind, **{name: value})
        )


@pytest.mark.parametrize("value", [*NO_NUMBERS, None, -1, -1.0e-9, 1.0e13, float("inf"), 10**400])
@pytest.mark.parametrize("name", sorted(set(RewardWeights.model_fields) - {"latency_unit"}))
def test_weight_that_is_no_number_in_range_is_named(name: str, value: Any, tmp_path: Path) -> None:
    line = refusal(OrchestAIEnv, reward_weights={name: value})
    assert re.search(rf"^reward_weights: {name}: Input should .*; got ", line)
    if isinstance(value, (str, bool, int, float, list)):
        profile = tmp_path / "profile.yaml"
        profile.write_text(yaml.safe_dump({name: value}))
        line = refusal(OrchestAIEnv, reward_weights=profile)
        assert re.search(rf"^reward_weights: .*profile\.yaml: {name}: Input should .*; got ", line)


@pytest.mark.parametrize("value", [float("inf"), float("-inf")])
@pytest.mark.parametrize(
    "name",
    ["cost_budget_usd", "deadline_ms", "preference_spread", "price_spread", "latency_spread"],
)
def test_rule_without_end_is_named(name: str, value: float) -> None:
    arguments: dict[str, Any] = {name: value}
    assert re.search(rf"^OrchestAI: {name}: .*; got -?inf", refusal(OrchestAIEnv, **arguments))


@pytest.mark.parametrize("name", ["OrchestAI-v0", "OrchestAI-MO-v0"])
@pytest.mark.parametrize("num_envs", [0, -1, 1.5, 2.0, "3", None, True, [2], MANY_LINES])
def test_wrong_num_envs_is_named(name: str, num_envs: Any) -> None:
    line = refusal(lambda **arguments: make_vec(name, **arguments), num_envs=num_envs)
    assert line.startswith("num_envs: expected a whole number >= 1, got ")


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_missing_data_set_folder_is_named(make: Make, tmp_path: Path) -> None:
    for folder in (tmp_path / "nowhere", str(tmp_path / "nowhere")):
        line = refusal(make, MissingFileError, dataset=folder)
        assert re.search(r"^dataset: .*nowhere.*no imported data set there", line)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_missing_reward_profile_is_named(make: Make, tmp_path: Path) -> None:
    for path in (tmp_path / "gone.yaml", str(tmp_path / "gone.yaml"), tmp_path):
        line = refusal(make, MissingFileError, reward_weights=path)
        assert re.search(r"^reward_weights: .*: no such settings file", line)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("success_weight: 3\n cost: [", r"profile\.yaml: expected YAML, got text that breaks"),
        ("- 1", r"profile\.yaml: expected a mapping of settings, got \[1\]"),
        ("cost_weight: 1e-4", r"profile\.yaml: cost_weight: .*valid number; got '1e-4'"),
        (
            "cost_wieght: 1",
            r"profile\.yaml: cost_wieght: unknown key .* Did you mean 'cost_weight'",
        ),
    ],
)
def test_wrong_reward_profile_is_named(text: str, message: str, tmp_path: Path) -> None:
    profile = tmp_path / "profile.yaml"
    profile.write_text(text)
    line = refusal(OrchestAIEnv, reward_weights=profile)
    assert re.search(f"^reward_weights: .*{message}", line)


def test_reward_weights_come_from_record_mapping_or_profile(tmp_path: Path) -> None:
    profile = tmp_path / "profile.yaml"
    profile.write_text("success_weight: 3\nlatency_unit: s\n")
    expected = RewardWeights(success_weight=3.0, latency_unit="s")

    for given in (expected, {"success_weight": 3, "latency_unit": "s"}, profile, str(profile)):
        assert OrchestAIEnv(TOY, reward_weights=given).reward_weights == expected
    assert OrchestAIEnv(TOY).reward_weights == RewardWeights()


def test_numbers_of_numpy_and_whole_numbers_for_floats_are_taken() -> None:
    env = OrchestAIEnv(
        TOY,
        max_attempts=np.int64(2),
        max_steps=np.uint8(9),
        deadline_ms=5,
        cost_budget_usd=np.float32(0.5),
        price_spread=np.int32(2),
        shuffle_workers=np.bool_(True),
        reward_weights={"success_weight": np.int64(3), "cost_weight": np.float64(0.5)},
    )

    assert env.rules == EpisodeRules(
        max_attempts=2,
        max_steps=9,
        deadline_ms=5.0,
        cost_budget_usd=0.5,
        price_spread=2.0,
        shuffle_workers=True,
    )
    assert env.reward_weights == RewardWeights(success_weight=3.0, cost_weight=0.5)
    assert all(type(value) in (int, float, bool, str, type(None)) for _, value in env.rules)


def test_split_chooses_workflows_of_the_built_in_data() -> None:
    sizes = [len(OrchestAIEnv(split=split).dataset.workflows) for split in ("validation", "test")]
    assert sizes == [200, 500]
    assert len(OrchestAIEnv().dataset.workflows) == len(
        OrchestAIEnv(split="train").dataset.workflows
    )


def test_observation_keys_can_be_chosen_and_keep_their_order() -> None:
    env = OrchestAIEnv(TOY, observation=("context", "subtasks"))
    obs, _ = env.reset(seed=0)

    assert list(obs) == list(env.observation_space) == ["context", "subtasks"]  # type: ignore[call-overload]
    assert set(env.observation_layout.feature_names) == {"context", "subtasks"}
    assert env.step(0)[2]
