"""The transition on wall-clock time: one episode whose calls happen elsewhere.

The rules are those of dynamics.py. A step that has to wait for a call is PAUSED; its host notes the
calls that have ended and goes on with it.
"""

from __future__ import annotations

from typing import NamedTuple

from orchestai_env.compiled import compiled
from orchestai_env.dynamics import account_row, resume_row, step_row
from orchestai_env.episodes import Episodes
from orchestai_env.features import Features
from orchestai_env.observation import Observation
from orchestai_env.observe import forget, write_observation
from orchestai_env.state import (
    ATTEMPTS,
    CALL_COST,
    CLOCK,
    COST,
    END,
    NONE,
    PAUSED,
    QUALITY,
    R_COST,
    R_LATENCY,
    RUNNING,
    START,
    STATUS,
    WINS,
    WORKER,
    WORKFLOW,
    EpisodeState,
    Problem,
)

_RESUME, _CHARGE = -1, -2  # in place of an action


class OpenCall(NamedTuple):
    """A call that has started and not ended."""

    subtask: int
    worker: int
    attempt: int
    """Failed calls on the subtask before it."""


class LiveClock:
    """Moves row 0 of episodes of a live source; nothing here waits or reads a clock."""

    def __init__(self, episodes: Episodes) -> None:
        """Takes episodes of one row that `reset` has started."""
        self._episodes = episodes

    @property
    def is_paused(self) -> bool:
        """Whether the step waits for a call to end."""
        return bool(self._episodes.ended[0] == PAUSED)

    def prepare(self) -> None:
        """Compiles what is not compiled yet, which would count as the time of the first call."""
        self._go_on(_CHARGE, 0)

    def step(self, action: int, now_us: int) -> None:
        """Calls the worker of an action on the current subtask.

        Args:
            action: 0..W-1.
            now_us: time since the episode began [us], not before that of the last call here.
        """
        self._go_on(action, now_us)

    def resume(self, now_us: int) -> None:
        """Goes on with a paused step, after `end_call` or once the deadline has passed."""
        self._go_on(_RESUME, now_us)

    def open_calls(self) -> list[OpenCall]:
        """Returns the calls that have started and not ended, by subtask."""
        rows = self._episodes.state.subtask[0].tolist()
        workflow = self._episodes.state.episode[0, WORKFLOW]
        num_subtasks = int(self._episodes.problem.num_subtasks[workflow])
        return [
            OpenCall(i, row[WORKER], row[ATTEMPTS])
            for i, row in enumerate(rows[:num_subtasks])
            if row[STATUS] == RUNNING and row[START] != NONE
        ]

    def end_call(
        self, subtask: int, *, success: bool, quality: float, cost_usd: float, now_us: int
    ) -> None:
        """Notes how a call ended; the transition reads it when it goes on."""
        state = self._episodes.state
        state.subtask[0, subtask, END] = now_us
        state.subtask[0, subtask, WINS] = int(success)
        state.value[0, subtask, QUALITY] = quality
        state.value[0, subtask, CALL_COST] = cost_usd

    def charge(self, subtask: int, cost_usd: float) -> None:
        """Charges, once the episode has ended, what a call that was cut off had cost."""
        state = self._episodes.state
        state.value[0, subtask, COST] += cost_usd
        state.spent[0] += cost_usd
        state.amounts[0, R_COST] += cost_usd
        self._go_on(_CHARGE, 0)

    def _go_on(self, action: int, now_us: int) -> None:
        one = self._episodes
        _go_on(one.problem, one.features, one.state, one.out, action, now_us)


@compiled
def _go_on(
    problem: Problem,
    features: Features,
    state: EpisodeState,
    out: Observation,
    action: int,
    now_us: int,
) -> None:
    """Steps row 0, resumes it, or only counts anew what it was charged; writes what is seen."""
    if action == _RESUME:
        resume_row(problem, state, 0, now_us)
    elif action >= 0:
        passed = float(now_us - state.episode[0, CLOCK]) / 1000.0
        state.episode[0, CLOCK] = now_us
        step_row(problem, state, 0, action)
        state.amounts[0, R_LATENCY] += passed
    account_row(problem, state, 0)
    forget(out, 0)
    write_observation(problem, features, state, out, 0)
