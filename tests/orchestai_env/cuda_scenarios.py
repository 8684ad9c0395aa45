"""The environment on a GPU beside that on the CPU; run as a program, in numba's simulator of GPUs.

The simulator runs the kernels as plain Python, a thread of the system for each of a GPU's, so
that everything but the rounding of a GPU can be tested without one.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numba
import numpy as np
import pytest

from orchestai_env import cuda_env
from orchestai_env.cuda_env import OrchestAICudaEnv
from orchestai_env.dataset import Dataset
from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.errors import ConfigError
from orchestai_env.outcomes.simulated import SimulationSettings
from orchestai_env.state import SUMMARY
from orchestai_env.vector_env import OrchestAIVectorEnv
from tests.orchestai_env.hidden import hidden_dataset
from tests.orchestai_env.toy import DIAMOND, ONE_SECOND, Instance, toy_dataset

IS_SIMULATED = bool(numba.config.ENABLE_CUDASIM)  # type: ignore[attr-defined]
NUM_ENVS, NUM_STEPS = (7, 40) if IS_SIMULATED else (300, 60)

EXACT = ("instruction", "subtask", "adjacency", "action_mask")
"""Keys of the observation without arithmetic; on a GPU the others are rounded otherwise."""

UNANSWERED = Instance(calls=((ONE_SECOND, ()), ((), ())), links=((0, 1),))
NEVER_ASKED = Instance(calls=(((), ()),))
DATASETS: dict[str, Callable[[], Dataset]] = {
    "simulated": lambda: builtin_dataset(
        "validation", num_workflows=12, simulation=SimulationSettings(load_slowdown=0.3)
    ),
    "hidden": lambda: hidden_dataset(num_workflows=12),
    "recorded": lambda: toy_dataset([DIAMOND, UNANSWERED, NEVER_ASKED], concurrency=(1, 1)),
}
RULES: dict[str, dict[str, Any]] = {
    "default": {},
    "limits": {
        "max_attempts": 2,
        "max_parallel_tasks": 2,
        "cost_budget_usd": 0.5,
        "deadline_ms": 6_000.0,
        "max_steps": 4,
    },
    "varied": {
        "on_failure": "continue",
        "preference_spread": 3.0,
        "price_spread": 2.0,
        "latency_spread": 3.0,
        "min_workers": 1,
        "shuffle_workers": True,
    },
}


class Both:
    """An environment on a GPU and one on the CPU, with everything that they do compared."""

    def __init__(self, dataset: Dataset, num_envs: int = NUM_ENVS, **arguments: Any) -> None:
        """Makes both."""
        self.gpu: Any = OrchestAICudaEnv(num_envs, dataset, **arguments)
        self.cpu = OrchestAIVectorEnv(num_envs, dataset, **arguments)
        self.num_envs, self.num_workers = num_envs, len(dataset.pool)
        self.num_ended = 0

    def reset(self, **arguments: Any) -> None:
        """Starts both and compares."""
        obs, info = self.gpu.reset(**arguments)
        expected, expected_info = self.cpu.reset(**arguments)
        compare_obs(obs, expected)
        np.testing.assert_array_equal(host(info["action_mask"]), expected_info["action_mask"])
        self.compare_states()

    def step(self, actions: np.ndarray[Any, Any], given: Any = None) -> None:
        """Steps both; the GPU is given other actions where they are to come to the same."""
        obs, *said, info = self.gpu.step(actions if given is None else given)
        expected, *expected_said, expected_info = self.cpu.step(actions)
        compare_obs(obs, expected)
        for array, values in zip(said, expected_said, strict=True):
            assert array.dtype == values.dtype
            np.testing.assert_array_equal(host(array), values)
        np.testing.assert_array_equal(host(info["action_mask"]), expected_info["action_mask"])
        self.compare_states()
        self.compare_final(info, expected_said[1] | expected_said[2], expected_info)

    def compare_states(self) -> None:
        """Compares the states of all rows, bit for bit."""
        state = self.gpu.copy_state_to_host()._asdict()
        expected = self.cpu.episodes.state._asdict()
        assert list(state) == list(expected)
        for name, array in state.items():
            assert array.dtype == expected[name].dtype, name
            assert array.shape == expected[name].shape, name
            assert array.tobytes() == expected[name].tobytes(), name
        np.testing.assert_array_equal(self.gpu.action_masks(), self.cpu.action_masks())

    def compare_final(self, info: Any, ended: Any, expected: Any) -> None:
        """Compares what is said of the rows that ended."""
        for mask in (info["_final_obs"], info["_final_info"], info["final_info"]["_summary"]):
            np.testing.assert_array_equal(host(mask), ended)
        if ended.any():
            compare_obs(info["final_obs"], expected["final_obs"], ended)
            summary = host(info["final_info"]["summary"])
            for column, name in enumerate(SUMMARY):
                values = expected["final_info"][name]
                np.testing.assert_array_equal(summary[ended, column], values[ended], err_msg=name)
        self.num_ended += int(ended.sum())

    def play(self, count: int, seed: int = 0) -> None:
        """Takes random steps."""
        rng = np.random.default_rng(seed)
        for _ in range(count):
            self.step(rng.integers(self.num_workers, size=self.num_envs))


def host(array: Any) -> Any:
    """Returns an array on the GPU as one of numpy."""
    return array.copy_to_host()


def compare_obs(obs: Any, expected: Any, rows: Any = slice(None)) -> None:
    """Compares observations: bit for bit, on a GPU to the rounding of float32."""
    assert list(obs) == [key for key in expected if not key.startswith("_")]
    for key, array in obs.items():
        values, like = host(array)[rows], expected[key][rows]
        assert (array.dtype, array.shape) == (like.dtype, expected[key].shape)
        if IS_SIMULATED or key in EXACT:
            np.testing.assert_array_equal(values, like, err_msg=key)
        else:
            np.testing.assert_allclose(values, like, rtol=2.0**-22, atol=1e-7, err_msg=key)


def on_device(actions: Any) -> Any:
    """Returns actions that lie on the GPU; the simulator's arrays do not say that they do."""
    array = cuda_env.cuda.to_device(np.asarray(actions))
    if IS_SIMULATED:
        array.__cuda_array_interface__ = {"shape": array.shape, "typestr": array.dtype.str}
    return array


def plays_alike(data: str, rules: str) -> None:
    """Episodes, ends and restarts are those of the CPU."""
    both = Both(DATASETS[data](), **RULES[rules])
    both.reset(seed=3)
    both.play(NUM_STEPS)
    assert both.num_ended >= NUM_ENVS


def plays_alike_in_blocks_of_the_usual_size() -> None:
    """The sizes of blocks that a GPU gets; other scenarios have the simulator run fewer threads."""
    with blocks(128, 32, 4):
        both = Both(DATASETS["simulated"](), num_envs=5, **RULES["varied"])
        both.reset(seed=1)
        both.play(4)


def resets_alike() -> None:
    """Seeds and workflows, one for all rows or one per row, and the next episodes after them."""
    both = Both(DATASETS["simulated"](), num_envs=3, price_spread=2.0)
    both.reset(seed=5)
    both.reset()
    both.play(3)
    both.reset(seed=5, options={"workflow": 4})
    both.play(2)
    both.reset(options={"workflow": np.array([0, 11, 7])})
    both.reset(seed=[8, None, 2])
    both.play(6)
    both.reset(seed=[None, 1, None], options={"workflow": [1, 2, 3]})
    before = both.gpu.copy_state_to_host()
    for arguments, message in (
        ({"options": {"workflow": 12}}, r"workflow: expected an index in 0\.\.11, got 12\.\.12"),
        ({"options": {"workflow": [0, 1]}}, "options: expected workflow as one index or 3"),
        ({"seed": [1, 2]}, "seed: expected 3 seeds, got 2"),
    ):
        with pytest.raises(ConfigError, match=message):
            both.gpu.reset(**arguments)
    for array, old in zip(both.gpu.copy_state_to_host(), before, strict=True):
        np.testing.assert_array_equal(array, old)
    both.play(2)


def shows_the_keys_that_are_chosen() -> None:
    """Without the mask among them, `info` has it all the same."""
    both = Both(DATASETS["simulated"](), num_envs=3, observation=["context", "subtask"])
    both.reset(seed=2)
    both.play(8)
    assert set(both.gpu.reset()[0]) == {"subtask", "context"}


def takes_actions_on_the_gpu() -> None:
    """They are the same there; out of range they stand for action 0."""
    both = Both(DATASETS["simulated"](), num_envs=6)
    both.reset(seed=2)
    last = both.num_workers - 1
    for given, meant in (
        ([0, 1, 2, 3, 4, last], [0, 1, 2, 3, 4, last]),
        ([-1, 1, last + 1, last, -(2**63), 2**63 - 1], [0, 1, 0, last, 0, 0]),
    ):
        both.step(np.array(meant), on_device(given))
    for array, got in (
        (np.zeros(5, np.int64), r"int64 \(5,\)"),
        (np.zeros(128, np.int64), r"int64 \(128,\)"),
        (np.zeros((6, 1), np.int64), r"int64 \(6, 1\)"),
        (np.zeros(6, np.int32), r"int32 \(6,\)"),
        (np.zeros(6), r"float64 \(6,\)"),
    ):
        message = rf"actions: expected int64 \(6,\) on the GPU, got {got}"
        with pytest.raises(ConfigError, match=message):
            both.gpu.step(on_device(array))
    both.compare_states()


def refuses_wrong_actions_of_the_cpu() -> None:
    """They are checked as on the CPU, and nothing is stepped."""
    both = Both(DATASETS["recorded"](), num_envs=2)
    with pytest.raises(gym.error.ResetNeeded, match=r"call reset\(\) first"):
        both.gpu.step(np.zeros(2, np.int64))
    both.reset(seed=0)
    for actions, message in (
        ([0], r"actions: expected 2 integers, got int64 \(1,\)"),
        ([0.0, 1.0], r"actions: expected 2 integers, got float64 \(2,\)"),
        ([0, 2], r"actions: expected worker indexes 0\.\.1, got 0\.\.2"),
    ):
        with pytest.raises(ConfigError, match=message):
            both.gpu.step(actions)
    both.compare_states()


def refuses_to_raise_for_masked_actions() -> None:
    """A GPU cannot raise."""
    with pytest.raises(ConfigError, match="on_masked_action: expected 'replace' on a GPU"):
        OrchestAICudaEnv(2, DATASETS["recorded"](), on_masked_action="error")


def overwrites_nothing_that_is_held() -> None:
    """Neither arrays nor slices of them, nor the same memory under another shape."""
    env: Any = OrchestAICudaEnv(3, DATASETS["simulated"](), max_steps=2)
    obs, info = env.reset(seed=0)
    held = [*obs.values(), info["action_mask"]]
    copies = [host(array) for array in held]
    for number in range(12):
        obs, *said, info = env.step(np.full(3, number % 8))
        everything = [*obs.values(), *said, *info["final_obs"].values(), info["action_mask"]]
        whole = [everything, [*obs.values(), *said], [info["final_info"]["summary"]], []][
            number % 4
        ]
        parts = [obs["context"][1], obs["subtasks"].ravel(), info["final_obs"]["workers"][2:]]
        held += [*whole, parts[number % 3]]
        copies += [host(array) for array in (*whole, parts[number % 3])]
        del obs, said, info, everything, whole, parts
    for array, expected in zip(held, copies, strict=True):
        np.testing.assert_array_equal(host(array), expected)


def writes_again_what_is_not_held() -> None:
    """Two buffers do for one who keeps the last observation; what is held takes more, but 3."""
    env: Any = OrchestAICudaEnv(2, DATASETS["recorded"]())
    obs, _ = env.reset(seed=0)
    for _ in range(6):
        obs = env.step(np.zeros(2, np.int64))[0]
    assert len(env._cuda_buffers._buffers) == 2
    assert len(env._final_cuda_buffers._buffers) == 1
    kept = [obs]
    for _ in range(5):
        kept.append(env.step(np.zeros(2, np.int64))[0])
    assert len(env._cuda_buffers._buffers) == 3
    assert len({id(obs["context"]) for obs in kept}) == 6


@contextlib.contextmanager
def blocks(threads: int, lanes: int, rows: int) -> Iterator[None]:
    """Sets the sizes of blocks, in the simulator; kernels are compiled for theirs."""
    names = ("_THREADS", "_LANES", "_ROWS")
    before = [getattr(cuda_env, name) for name in names]
    try:
        for name, size in zip(names, (threads, lanes, rows), strict=True):
            if IS_SIMULATED:
                setattr(cuda_env, name, size)
        yield
    finally:
        for name, size in zip(names, before, strict=True):
            setattr(cuda_env, name, size)


SCENARIOS: dict[str, Callable[[], None]] = {
    f"plays {data} outcomes under {rules} rules": functools.partial(plays_alike, data, rules)
    for data, rules in itertools.product(DATASETS, RULES)
} | {
    scenario.__name__.replace("_", " "): scenario
    for scenario in (
        plays_alike_in_blocks_of_the_usual_size,
        resets_alike,
        shows_the_keys_that_are_chosen,
        takes_actions_on_the_gpu,
        refuses_wrong_actions_of_the_cpu,
        refuses_to_raise_for_masked_actions,
        overwrites_nothing_that_is_held,
        writes_again_what_is_not_held,
    )
}


def failure_of(scenario: Callable[[], None]) -> str:
    """Runs a scenario; returns the traceback where it fails."""
    try:
        scenario()
    except (Exception, pytest.fail.Exception):  # the second is what `pytest.raises` raises
        return traceback.format_exc()
    return ""


if __name__ == "__main__":
    with blocks(3, 3, 2):
        print(json.dumps({name: failure_of(scenario) for name, scenario in SCENARIOS.items()}))
