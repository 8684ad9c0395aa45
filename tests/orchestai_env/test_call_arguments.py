"""Every wrong seed, option or action, of `reset`, `step` and `fork`, ends in one clear error."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from orchestai_env.env import OrchestAIEnv
from orchestai_env.errors import ConfigError
from orchestai_env.mo_env import OrchestAIMOEnv, OrchestAIMOVectorEnv
from orchestai_env.state import KEY
from orchestai_env.vector_env import OrchestAIVectorEnv
from tests.orchestai_env.toy import ONE_SECOND, Instance, toy_dataset

TOY = toy_dataset([Instance(calls=((ONE_SECOND, ONE_SECOND),))])

ENVS: dict[str, Callable[[], Any]] = {
    "env": lambda: OrchestAIEnv(TOY),
    "mo": lambda: OrchestAIMOEnv(TOY),
    "made": lambda: gym.make("OrchestAI-v0", dataset=TOY),
}
ROWS: dict[str, Callable[[], Any]] = {
    "vector": lambda: OrchestAIVectorEnv(1, TOY),
    "mo-vector": lambda: OrchestAIMOVectorEnv(1, TOY),
}


def refusal(call: Callable[[], object]) -> str:
    """Calls what must be refused; returns the one line that says why."""
    with pytest.raises(ConfigError) as caught:
        call()
    line = str(caught.value)
    assert line and "\n" not in line
    return line


WRONG_OPTIONS: list[tuple[Any, str]] = [
    ({"workflow": 1}, "workflow: expected an index in 0..0, got 1..1"),
    ({"workflow": -1}, "workflow: expected an index in 0..0, got -1..-1"),
    ({"workflow": 0.0}, "expected workflow as one index or 1, got 0.0"),
    ({"workflow": True}, "expected workflow as one index or 1, got True"),
    ({"workflow": "0"}, "expected workflow as one index or 1, got '0'"),
    ({"workflow": None}, "expected workflow as one index or 1, got None"),
    ({"workflow": 2**70}, "expected workflow as one index or 1, got 1180591620717411303424"),
    ({"workflow": [0, 0]}, "expected workflow as one index or 1, got [0, 0]"),
    ({"workflow": [[0], [0, 0]]}, "expected workflow as one index or 1, got [[0], [0, 0]]"),
    ({"workflow": {"a": 0}}, "expected workflow as one index or 1, got {'a': 0}"),
    ({"workflows": 0}, "options: expected {'workflow': index}, got keys ['workflows']"),
    ({"workflow": 0, "x": 0}, "got keys ['workflow', 'x']"),
    ({1: 0, "x": 0}, "options: expected {'workflow': index}, got keys ['1', 'x']"),
    (3, "options: expected {'workflow': index} or None, got 3"),
    (0, "options: expected {'workflow': index} or None, got 0"),
    ("workflow", "options: expected {'workflow': index} or None, got 'workflow'"),
    ([], "options: expected {'workflow': index} or None, got []"),
]


@pytest.mark.parametrize("make", (ENVS | ROWS).values(), ids=ENVS | ROWS)
@pytest.mark.parametrize(("options", "message"), WRONG_OPTIONS, ids=lambda x: str(x)[:30])
def test_wrong_reset_option_is_named(make: Callable[[], Any], options: Any, message: str) -> None:
    assert message in refusal(lambda: make().reset(seed=0, options=options))


NO_SEEDS = [-1, 0.5, 2.0, "1", "", True, b"1", np.float64(1.0), np.array(0.5), {"a": 1}, object()]


@pytest.mark.parametrize("seed", [*NO_SEEDS, [1], np.array([1])], ids=lambda x: str(x)[:20])
@pytest.mark.parametrize("make", ENVS.values(), ids=ENVS)
def test_wrong_seed_is_named(make: Callable[[], Any], seed: Any) -> None:
    env = make()
    for call in (lambda: env.reset(seed=seed), lambda: env.unwrapped.fork(seed)):
        line = refusal(call)
        assert line.startswith("seed: expected a whole number >= 0 or None, got ")


@pytest.mark.parametrize("seed", NO_SEEDS, ids=lambda x: str(x)[:20])
@pytest.mark.parametrize("kind", [OrchestAIVectorEnv, OrchestAIMOVectorEnv])
def test_wrong_seed_of_rows_is_named(kind: Any, seed: Any) -> None:
    for given in (seed, [0, seed]):
        line = refusal(lambda given=given: kind(2, TOY).reset(seed=given))  # type: ignore[misc]
        assert line.startswith("seed: expected a whole number >= 0 or None, got ")


@pytest.mark.parametrize("seed", [[], [1], (1, 2, 3), np.array([1, 2, 3])])
def test_wrong_number_of_seeds_is_named(seed: Any) -> None:
    line = refusal(lambda: OrchestAIVectorEnv(2, TOY).reset(seed=seed))
    assert line == f"seed: expected 2 seeds, got {len(seed)}"


@pytest.mark.parametrize("seed", [7, np.int64(7), np.uint8(7)])
def test_seeds_of_any_integer_kind_are_taken(seed: Any) -> None:
    env, venv = OrchestAIEnv(TOY), OrchestAIVectorEnv(2, TOY)
    forms: list[Any] = [seed, [seed, 8], np.array([7, 8])]
    for given in forms:
        venv.reset(seed=given)
        env.reset(seed=seed)
        keys = venv.episodes.state.episode[:, KEY].tolist()
        assert keys[0] == int(env._episodes.state.episode[0, KEY])
        assert keys[0] != keys[1]


def test_row_without_a_seed_goes_on_as_a_single_environment_does() -> None:
    venv, env = OrchestAIVectorEnv(2, TOY), OrchestAIEnv(TOY)
    venv.reset(seed=[3, 4])
    env.reset(seed=4)
    venv.reset(seed=[5, None])
    env.reset()

    np.testing.assert_array_equal(venv.episodes.state.episode[1], env._episodes.state.episode[0])


NO_ACTIONS = [
    *(-1, 2, 10**30, 1.0, 0.5, float("nan"), "0", b"0", None, True, np.bool_(True), 1j, object()),
    *([], [0, 1], [0.0], [True], [[0], [0, 1]], {"a": 0}, np.array([0.0]), np.array(["0"])),
]


@pytest.mark.parametrize("action", NO_ACTIONS, ids=lambda x: str(x)[:20])
@pytest.mark.parametrize("make", ENVS.values(), ids=ENVS)
def test_wrong_action_is_named_and_steps_nothing(make: Callable[[], Any], action: Any) -> None:
    env = make()
    env.reset(seed=0)
    line = refusal(lambda: env.step(action))

    assert line.startswith("action: expected a worker index 0..1, got ")
    assert env.unwrapped.current_subtask == 0
    assert env.step(1)[2]


@pytest.mark.parametrize("action", [0, np.int64(1), np.int32(1), np.uint8(1), np.array(1), [1]])
def test_actions_of_any_integer_kind_are_taken(action: Any) -> None:
    env, plain = OrchestAIEnv(TOY), OrchestAIEnv(TOY)
    env.reset(seed=0)
    plain.reset(seed=0)

    assert env.step(action)[1] == plain.step(int(np.asarray(action).item()))[1]


@pytest.mark.parametrize(
    "actions", [*NO_ACTIONS, 0, [0, 0], np.array([[0]])], ids=lambda x: str(x)[:20]
)
@pytest.mark.parametrize("make", ROWS.values(), ids=ROWS)
def test_wrong_actions_of_rows_are_named(make: Callable[[], Any], actions: Any) -> None:
    venv = make()
    venv.reset(seed=0)
    line = refusal(lambda: venv.step(actions))

    assert re.search(r"^actions: expected (1 integers|worker indexes 0\.\.1), got ", line)
    assert venv.step([1])[2].all()
