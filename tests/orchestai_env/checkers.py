"""What the checkers of Gymnasium and Stable-Baselines3 say of an environment."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
from gymnasium.utils.env_checker import check_env as check_gymnasium
from stable_baselines3.common.env_checker import check_env as check_sb3

WRAPPED = "is different from the unwrapped version"
"""What Gymnasium's checker says of any wrapper."""


def warnings_of(check: Callable[[], object]) -> list[str]:
    """Returns the texts of the warnings that a call gives."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check()
    return [str(warning.message) for warning in caught]


def assert_passes_gymnasium(env: gym.Env[Any, Any]) -> None:
    """Asserts that Gymnasium's checker says nothing, but that a wrapper is one."""
    messages = warnings_of(lambda: check_gymnasium(env))
    assert len(messages) == int(env.unwrapped is not env), messages
    assert all(WRAPPED in message for message in messages)


def assert_passes_sb3(env: gym.Env[Any, Any]) -> None:
    """Asserts that Stable-Baselines3's checker says nothing, but its advice on keys of 2 axes.

    It would rather have them flat, since its own policies flatten them.
    """
    assert isinstance(env.observation_space, gym.spaces.Dict)
    spaces = env.observation_space.spaces
    tables = [key for key, space in spaces.items() if len(space.shape or ()) == 2]
    messages = warnings_of(lambda: check_sb3(env))
    advice = "Your observation {} has an unconventional shape"
    assert [message.partition(" (")[0] for message in messages] == list(map(advice.format, tables))
