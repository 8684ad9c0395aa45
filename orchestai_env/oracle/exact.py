"""The exact optimum in hindsight: which workers to call, for somebody who knows all outcomes.

Depth-first branch and bound over the decisions of the environment's own transition, so queues,
retries, the budget, the deadline and failing on purpose are all in it. A masked action does what
the allowed one that replaces it does, so only allowed ones are tried.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from orchestai_env.compiled import compiled, inlined
from orchestai_env.dynamics import step_row
from orchestai_env.episodes import Episodes
from orchestai_env.oracle.bound import reward_bound
from orchestai_env.oracle.limits import Limits, depend_on_quality, new_limits, write_limits
from orchestai_env.oracle.rows import copy_row, scratch_rows
from orchestai_env.state import (
    ATTEMPTS,
    FAILED,
    MAX_ATTEMPTS,
    MAX_STEPS,
    NONE,
    ONGOING,
    RUNNING,
    STATUS,
    STEPS,
    SUCCEEDED,
    SUCCESSES,
    WORKFLOW,
    EpisodeState,
    Problem,
)

MAX_NODES = 1_000_000
"""Steps that a search tries by default; up to a second. Most workflows of up to 6 subtasks take
tens of them. Chosen: it left none of the 200 built-in validation workflows unfinished, and at most
4 of 2,000 that were composed of recorded outcomes (balanced weights)."""

_TOLERANCE = 1e-9  # sums of rewards and bounds are rounded; this far below the best is as good


@dataclasses.dataclass(frozen=True, kw_only=True)
class HindsightOptimum:
    """The best that can be made of an episode from its present state."""

    episode_return: float
    """Reward still to come; the rewards of `actions` sum to it."""
    actions: tuple[int, ...]
    """Actions that achieve it when played in the environment; none where the episode has ended."""
    upper_bound: float
    """No sequence of actions earns more, up to 1e-9 (relative above 1); `episode_return` where
    `is_exact`."""
    is_exact: bool
    """Whether the search was finished, so that nothing better exists."""
    num_nodes: int
    """Steps that were tried."""


class Tree(NamedTuple):
    """Where a search stands. D decisions at most, W actions."""

    total: npt.NDArray[np.float64]
    """float64 (D + 1,); reward on the way to each depth."""
    value: npt.NDArray[np.float64]
    """float64 (D + 1, W); what each untried action is worth at most from the root on; -inf else."""
    cursor: npt.NDArray[np.int64]
    """int64 (D + 1,); next action to judge at each depth."""
    action: npt.NDArray[np.int64]
    """int64 (D + 1,); actions on the way to the present depth."""
    best: npt.NDArray[np.int64]
    """int64 (D + 1,); actions of the best episode found."""


def hindsight_optimum(
    episodes: Episodes, r: int, *, max_nodes: int = MAX_NODES
) -> HindsightOptimum:
    """Finds the actions that earn most in the running episode of a row.

    The order of search is best bound first among the actions of a state, so a good solution is
    found early. Up to 6 subtasks the search is nearly always finished. Beyond, `max_nodes` may stop
    it: then the best episode found is returned with a bound on what a longer search could still
    find, and the truth lies between the two.

    Args:
        episodes: running episodes; nothing in them changes.
        r: row.
        max_nodes: steps to try, >= 1; at least one episode is played to its end.
    Source: A. H. Land and A. G. Doig, "An automatic method of solving discrete programming
        problems", Econometrica 28 (1960).
    """
    problem, state = episodes.problem, episodes.state
    if state.ended[r] != ONGOING:
        return HindsightOptimum(
            episode_return=0.0, actions=(), upper_bound=0.0, is_exact=True, num_nodes=0
        )
    num_workers, num_subtasks = state.mask.shape[1], state.subtask.shape[1]
    depth = _most_decisions(episodes, r)
    scratch = scratch_rows(state, r, depth + 1)
    tree = Tree(
        total=np.zeros(depth + 1),
        value=np.full((depth + 1, num_workers), -np.inf),
        cursor=np.zeros(depth + 1, np.int64),
        action=np.zeros(depth + 1, np.int64),
        best=np.zeros(depth + 1, np.int64),
    )
    limits = new_limits(num_subtasks, num_workers, episodes.rules.max_attempts)
    found, length, bound, num_nodes = _search(problem, scratch, limits, tree, max_nodes)
    is_exact = bound <= found
    return HindsightOptimum(
        episode_return=float(found),
        actions=tuple(tree.best[:length].tolist()),
        upper_bound=float(found if is_exact else bound),
        is_exact=bool(is_exact),
        num_nodes=num_nodes,
    )


def _most_decisions(episodes: Episodes, r: int) -> int:
    """Returns how many decisions the episode of row r can still ask for; at least 1."""
    whole, subtask = episodes.problem.whole, episodes.state.subtask[r]
    subtask = subtask[: episodes.problem.num_subtasks[episodes.state.episode[r, WORKFLOW]]]
    status = subtask[:, STATUS]
    calls = whole[MAX_ATTEMPTS] - subtask[:, ATTEMPTS] - (status == RUNNING)
    left = int(calls[(status != SUCCEEDED) & (status != FAILED)].sum())
    return max(1, min(left, int(whole[MAX_STEPS] - episodes.state.episode[r, STEPS])))


@compiled
def _search(
    problem: Problem, state: EpisodeState, limits: Limits, tree: Tree, max_nodes: int
) -> tuple[float, int, float, int]:
    """Searches from row 0 of the state; row d is depth d.

    A state is left for one of its actions only when all of them have been judged, that is, tried
    once and bounded.

    Returns the best return, the number of its actions, the most that is left untried (-inf where
    nothing is) and the number of steps tried.
    """
    n = problem.num_subtasks[state.episode[0, WORKFLOW]]
    found, length, num_nodes, depth = -np.inf, 0, 0, 0
    owner = _renew_limits(problem, state, limits, NONE, 0)
    while depth >= 0:
        action = _next_allowed(state, tree, depth)
        judging = action != NONE
        if judging:
            tree.cursor[depth] = action + 1
            num_nodes += 1
        else:
            action = _most_promising(tree, depth)
            if not _is_better(tree.value[depth, action], found):
                depth -= 1
                continue
            if num_nodes >= max_nodes and found > -np.inf:
                return found, length, _most_left(tree, depth, found), num_nodes
            tree.value[depth, action] = -np.inf
        tree.action[depth] = action
        copy_row(state, depth, state, depth + 1, n)
        step_row(problem, state, depth + 1, action)
        total = tree.total[depth] + state.reward[depth + 1]
        if not judging:
            depth += 1
            tree.total[depth] = total
            _open(tree, depth)
            owner = _renew_limits(problem, state, limits, owner, depth)
        elif state.ended[depth + 1] == ONGOING:
            tree.value[depth, action] = total + reward_bound(problem, state, depth + 1, limits)
        elif total > found:
            found, length = total, depth + 1
            for d in range(length):
                tree.best[d] = tree.action[d]
    return found, length, -np.inf, num_nodes


@inlined
def _renew_limits(
    problem: Problem, state: EpisodeState, limits: Limits, owner: int, depth: int
) -> int:
    """Writes the limits anew where they belong to another branch, or can be tighter by now.

    Args:
        problem: the problem of the search.
        state: rows by depth.
        limits: to write.
        owner: depth that the limits were written for, NONE = not yet.
        depth: the present depth; its row has just been made.

    Returns the depth that the limits are written for now.
    """
    if owner != NONE:
        if not depend_on_quality(problem):
            return owner
        news = state.episode[depth, SUCCESSES] > state.episode[owner, SUCCESSES]
        if owner < depth and not news:
            return owner
    write_limits(problem, state, depth, limits)
    return depth


@inlined
def _open(tree: Tree, depth: int) -> None:
    """Marks all actions of this depth as not judged yet."""
    tree.cursor[depth] = 0
    for action in range(tree.value.shape[1]):
        tree.value[depth, action] = -np.inf


@inlined
def _next_allowed(state: EpisodeState, tree: Tree, depth: int) -> int:
    """Returns the next action to judge at this depth, NONE where all are judged."""
    for action in range(tree.cursor[depth], state.mask.shape[1]):
        if state.mask[depth, action] == 1:
            return action
    return NONE


@inlined
def _most_promising(tree: Tree, depth: int) -> int:
    best = 0
    for action in range(1, tree.value.shape[1]):
        if tree.value[depth, action] > tree.value[depth, best]:
            best = action
    return best


@inlined
def _is_better(value: float, found: float) -> bool:
    if np.isinf(found):
        return value > found
    return value > found + _TOLERANCE * max(1.0, abs(found))


@inlined
def _most_left(tree: Tree, depth: int, found: float) -> float:
    """Returns the highest value of an untried action up to this depth; -inf where none can help."""
    most = -np.inf
    for d in range(depth + 1):
        value = tree.value[d, _most_promising(tree, d)]
        if _is_better(value, found):
            most = max(most, value)
    return most
