"""Plays many workflows at once and notes every call, as arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from orchestai_env.dataset import Dataset
from orchestai_env.datasets.calibration.log_table import BoolArray, FloatArray, IntArray
from orchestai_env.episodes import Episodes
from orchestai_env.observation import ObservationLayout
from orchestai_env.reward import RewardWeights
from orchestai_env.rules import EpisodeRules
from orchestai_env.state import (
    ATTEMPTS,
    CALL_COST,
    CLOCK,
    CURRENT,
    END,
    NONE,
    ONGOING,
    ORDER,
    QUALITY,
    START,
    WINS,
    WORKER,
    WORKFLOW,
)

Choose = Callable[[Episodes, IntArray], IntArray]
"""Returns an action for each of the given rows, all of which wait for a decision."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlayedCalls:
    """C calls that started, in the order in which rows and steps met them."""

    row: IntArray
    """int64 (C,); episode."""
    subtask: IntArray
    """int64 (C,); index in its workflow."""
    worker: IntArray
    """int64 (C,)."""
    attempt: IntArray
    """int64 (C,)."""
    order: IntArray
    """int64 (C,); number of the decision in its episode."""
    decided_us: IntArray
    """int64 (C,) [us]."""
    start_us: IntArray
    """int64 (C,) [us]."""
    end_us: IntArray
    """int64 (C,) [us]; also of a call that the episode's end cut off."""
    success: BoolArray
    """bool (C,)."""
    quality: FloatArray
    """float64 (C,), 0..1."""
    cost_usd: FloatArray
    """float64 (C,) [USD]."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Played:
    """n episodes that were played to their end."""

    episodes: Episodes
    calls: PlayedCalls
    success: BoolArray
    """bool (n,)."""
    cost_usd: FloatArray
    """float64 (n,) [USD]."""
    makespan_ms: FloatArray
    """float64 (n,) [ms]."""

    @property
    def ended(self) -> BoolArray:
        """Which calls ended before their episode did, bool (C,)."""
        return self.calls.end_us <= np.round(self.makespan_ms * 1e3)[self.calls.row]


def play(
    dataset: Dataset, workflows: IntArray, rules: EpisodeRules, choose: Choose, *, seed: int
) -> Played:
    """Plays an episode of each workflow.

    Args:
        dataset: workers, workflows and outcomes.
        workflows: int64 (n,); index of each episode's workflow.
        rules: of the episodes.
        choose: the policy.
        seed: of the outcomes.
    """
    n = len(workflows)
    layout = ObservationLayout.of(dataset, ("action_mask",))
    episodes = Episodes(dataset, n=n, rules=rules, weights=RewardWeights(), layout=layout)
    rng = np.random.default_rng(seed)
    for r in range(n):
        episodes.seed_row(r, rng)
    episodes.reset(workflows=workflows)
    recorder = _Recorder(episodes)
    rows = np.arange(n)
    while len(rows):
        recorder.before(rows)
        episodes.step(choose(episodes, rows), rows)
        recorder.after(rows)
        rows = rows[episodes.ended[rows] == ONGOING]
    summary = episodes.summary
    return Played(
        episodes=episodes,
        calls=recorder.calls(),
        success=summary[:, 0] > 0,
        cost_usd=summary[:, 1].copy(),
        makespan_ms=summary[:, 2].copy(),
    )


class _Recorder:
    """Notes calls as they start; every subtask has at most one new call a step."""

    def __init__(self, episodes: Episodes) -> None:
        self.state = episodes.state
        shape = self.state.subtask.shape[:2]
        self.seen = np.full(shape, NONE, np.int64)
        sizes = episodes.problem.num_subtasks[self.state.episode[:, WORKFLOW]]
        self.exists = np.arange(shape[1]) < sizes[:, None]
        self.attempt, self.decided = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        self.parts: list[list[np.ndarray]] = []

    def before(self, rows: IntArray) -> None:
        """Notes attempt and clock of the decisions that are about to be made."""
        episode, subtask = self.state.episode, self.state.subtask
        current = episode[rows, CURRENT]
        decides = current != NONE
        rows, current = rows[decides], current[decides]
        self.attempt[rows, current] = subtask[rows, current, ATTEMPTS]
        self.decided[rows, current] = episode[rows, CLOCK]

    def after(self, rows: IntArray) -> None:
        """Notes the calls that the step started."""
        subtask = self.state.subtask[rows]
        has_started = self.exists[rows] & (subtask[..., START] != NONE)
        is_new = has_started & (subtask[..., ORDER] != self.seen[rows])
        at, i = np.nonzero(is_new)
        r = rows[at]
        columns = subtask[at, i]
        self.seen[r, i] = columns[:, ORDER]
        self.parts.append(
            [
                r,
                i,
                columns[:, WORKER],
                self.attempt[r, i],
                columns[:, ORDER],
                self.decided[r, i],
                columns[:, START],
                columns[:, END],
                columns[:, WINS] == 1,
                self.state.value[r, i, QUALITY],
                self.state.value[r, i, CALL_COST],
            ]
        )

    def calls(self) -> PlayedCalls:
        """Returns all calls."""
        columns = [np.concatenate(parts) for parts in zip(*self.parts, strict=True)]
        names = [field.name for field in dataclasses.fields(PlayedCalls)]
        return PlayedCalls(**dict(zip(names, columns, strict=True)))
