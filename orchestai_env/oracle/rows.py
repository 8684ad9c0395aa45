"""Scratch rows: copies of an episode in which a planner tries steps that it can take back."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from orchestai_env.compiled import inlined
from orchestai_env.state import EpisodeState, new_state

STEP_OUTPUTS = ("amounts", "terms", "reward", "ended", "summary", "plan")
"""Fields of EpisodeState that a step writes and never reads; no copy takes them along."""


def scratch_rows(state: EpisodeState, r: int, n: int) -> EpisodeState:
    """Returns a state of n rows, the first of which is a copy of row r; the others are empty."""
    num_subtasks, num_workers = state.failures.shape[1:]
    scratch = new_state(n, num_subtasks, num_workers)
    for name, rows in scratch._asdict().items():
        rows[0] = getattr(state, name)[r]
    return scratch


@inlined
def copy_row(source: EpisodeState, r: int, target: EpisodeState, s: int, n: int) -> None:
    """Copies row r of one state to row s of another, or of the same: all that a step reads.

    Args:
        source: int arrays of any number of rows, as `target`.
        r: row to copy.
        target: may be `source`.
        s: row to write.
        n: subtasks of the workflow; padding is left as it is.
    """
    _copy(source.episode[r], target.episode[s])
    target.spent[s] = source.spent[r]
    for i in range(n):
        _copy(source.subtask[r, i], target.subtask[s, i])
        _copy(source.value[r, i], target.value[s, i])
        _copy(source.failures[r, i], target.failures[s, i])
    _copy(source.busy[r], target.busy[s])
    _copy(source.roster[r], target.roster[s])
    _copy(source.price[r], target.price[s])
    _copy(source.slowness[r], target.slowness[s])
    _copy(source.mask[r], target.mask[s])
    _copy(source.weights[r], target.weights[s])


@inlined
def _copy(source: npt.NDArray[Any], target: npt.NDArray[Any]) -> None:
    for place in range(len(source)):
        target[place] = source[place]
