"""Agents of someone else, for tests of the benchmark's option --agent."""

from __future__ import annotations

import sys

from agents.agent import Agent, Setting
from agents.baselines.simple import LowestFeatureAgent, RandomAgent

NUMBER = 1


def dearest_of_seed(setting: Setting, seed: int) -> Agent:
    """Returns an agent of two that depends on the seed."""
    return RandomAgent(seed) if seed else LowestFeatureAgent(setting, "price")


def quits(setting: Setting, seed: int) -> Agent:
    """Ends the program, as one that reads a command line does where that is not its own."""
    sys.exit("usage: quits")


def nothing(setting: Setting, seed: int) -> None:
    """Forgets to return the agent."""


def no_agent(setting: Setting, seed: int) -> Agent:
    """Fails, as a factory of someone else may."""
    raise RuntimeError("no agent today <&>")
