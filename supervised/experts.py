"""Experts: what each worker is worth in a state, for the labels of cloning and of plans."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from agents.agent import Setting
from agents.config import Phase1Settings
from orchestai_env.episodes import Episodes
from orchestai_env.oracle import Lookahead, hindsight_utility, peek


class Expert(Protocol):
    """Values every action; `orchestai_env.oracle.Lookahead` is one."""

    def values(self, episodes: Episodes, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Returns float64 (m, W) [reward]; -inf where masked. Nothing in the rows changes."""


class HindsightExpert:
    """Knows the outcome of every call, and values each by itself: `oracle.hindsight_utility`."""

    def values(self, episodes: Episodes, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Returns what each call earns, without what comes after it."""
        return hindsight_utility(peek(episodes, rows), episodes.state.weights[rows])


EXPERTS: Mapping[str, Callable[[Setting, Phase1Settings, int], Expert]] = {
    "hindsight": lambda setting, settings, seed: HindsightExpert(),
    "lookahead": lambda setting, settings, seed: Lookahead(
        setting.dataset, num_samples=settings.lookahead_samples, seed=seed
    ),
}
"""Name in the settings -> builder, called with decision problem, settings and seed."""
