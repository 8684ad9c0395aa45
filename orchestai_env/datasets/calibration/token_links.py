"""TokenLinks: how the tokens of a call rise with its subtask's difficulty and with its luck."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from orchestai_env.datasets.calibration.likelihood import Nodes, margins, seen_courses
from orchestai_env.datasets.calibration.log_table import BoolArray, FloatArray, IntArray, LogTable
from orchestai_env.datasets.calibration.patterns import Patterns
from orchestai_env.datasets.calibration.success_fit import SuccessFit
from orchestai_env.datasets.calibration.token_fit import TokenFit

_PRIOR_SD = 0.3
"""Prior standard deviation of both; chosen, about the mean of those of zeroeval's pairs."""
_ROUNDS, _STEP, _LARGEST = 12, 1e-4, 1.5
_MOST_EXPLAINED = 0.95  # of the spread; the rest keeps calls on equal subtasks from being equal


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenLinks:
    """What a standard deviation adds to the logarithm of the tokens, by pair."""

    by_difficulty: FloatArray
    """float64 (P,)."""
    by_luck: FloatArray
    """float64 (P,)."""
    deviation: FloatArray
    """float64 (P, 2); their standard errors."""
    log_excess: FloatArray
    """float64 (P,); logarithm of the mean tokens of the pair's calls in the log by those of any
    calls: repeated attempts are on subtasks that are hard."""


class _Cells(NamedTuple):
    """G different (course, pair, outcome): what a call's tokens may follow."""

    pair: IntArray
    """int64 (G,)."""
    calls: FloatArray
    """float64 (G,); how many calls."""
    total: FloatArray
    """float64 (G,); their tokens."""
    squares: FloatArray
    """float64 (G,); sum of their tokens' squares."""
    is_single: BoolArray
    """bool (G,); whether the worker made no other call on the subtask."""
    at_node: FloatArray
    """float64 (G, K); chance of each node and that the subtask is solvable."""
    unsolvable: FloatArray
    """float64 (G,)."""
    signed_margin: FloatArray
    """float64 (G, K); margin where the call succeeded, minus it where it failed."""
    sign: FloatArray
    """float64 (G,); 1 or -1."""


def fit_token_links(
    log: LogTable, mask: BoolArray, success: SuccessFit, located: tuple[Patterns, IntArray]
) -> TokenLinks:
    """Fits both by least squares on tokens relative to their mean, with a normal prior around 0.

    What is expected of a call's tokens is averaged over difficulty and luck given the course of its
    subtask. Only calls of workers that made no other on the subtask count. Standard errors are
    those of White's sandwich.

    Args:
        log: the log.
        mask: bool (C,); calls that count.
        success: fitted to them.
        located: courses of the subtasks, and which is whose.
    """
    cells, nodes = _cells(log, mask, success, located)
    size = len(success.cell)
    link, prior = np.zeros((size, 2)), np.eye(2) / _PRIOR_SD**2
    for _ in range(_ROUNDS):
        score, precision, meat = _information(cells, nodes, link)
        total = precision + prior
        change = np.linalg.solve(total, (score - link @ prior)[..., None])[..., 0]
        link = np.clip(link + change, -_LARGEST, _LARGEST)
    bread = np.linalg.inv(total)
    covariance = bread @ (meat + prior) @ bread
    seen = np.bincount(cells.pair, cells.calls * _expected(cells, nodes, link), size)
    count = np.bincount(cells.pair, cells.calls, size)
    return TokenLinks(
        by_difficulty=link[:, 0],
        by_luck=link[:, 1],
        deviation=np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)),
        log_excess=np.log(np.where(count > 0, seen / np.maximum(count, 1), 1.0)),
    )


def _information(
    cells: _Cells, nodes: Nodes, link: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Returns score (P, 2), information (P, 2, 2) and the scatter of the score (P, 2, 2)."""
    size, chosen = len(link), cells.is_single.astype(float)
    count, tokens = cells.calls * chosen, cells.total * chosen

    def sums(values: FloatArray) -> FloatArray:
        return np.bincount(cells.pair, values, size).astype(np.float64)

    here = _expected(cells, nodes, link)
    squares = np.maximum(sums(count * here**2), 1e-12)
    mean = sums(tokens * here) / squares
    mean = np.where(mean > 0, mean, 1.0)[cells.pair]
    # The mean is fitted too, so that the slopes are those around it.
    slopes = []
    for step in _STEP * np.eye(2):
        slope = (_expected(cells, nodes, link + step) - here) / _STEP
        slopes.append(slope - here * (sums(count * slope * here) / squares)[cells.pair])
    off = tokens / mean - count * here
    scatter = chosen * cells.squares / mean**2 - 2.0 * here * tokens / mean + count * here**2
    precise = 1.0 / np.maximum(sums(scatter) / np.maximum(sums(count) - 3.0, 1.0), 1e-6)
    score = np.stack([precise * sums(slope * off) for slope in slopes], axis=1)
    pairs = [(a, b) for a in slopes for b in slopes]
    shape = (size, 2, 2)
    precision = np.stack([precise * sums(count * a * b) for a, b in pairs], axis=1)
    meat = np.stack([precise**2 * sums(a * b * scatter) for a, b in pairs], axis=1)
    return score, precision.reshape(shape), meat.reshape(shape)


def within_spread(links: TokenLinks, tokens: TokenFit) -> TokenLinks:
    """Returns the links, where need be smaller, so that they explain no more than the spread."""
    size = np.hypot(links.by_difficulty, links.by_luck)
    most = _MOST_EXPLAINED * tokens.pair_spread
    share = np.minimum(1.0, most / np.maximum(size, 1e-12))
    return dataclasses.replace(
        links, by_difficulty=links.by_difficulty * share, by_luck=links.by_luck * share
    )


def _expected(cells: _Cells, nodes: Nodes, link: FloatArray) -> FloatArray:
    """Returns the tokens expected of each cell's calls, by the pair's mean, float64 (G,)."""
    from scipy.special import ndtr

    by_difficulty, by_luck = link[cells.pair, 0], link[cells.pair, 1]
    rise = np.exp(by_difficulty[:, None] * nodes.difficulty - 0.5 * by_difficulty[:, None] ** 2)
    # E[exp(b e - b ** 2 / 2) | e > -m] = Phi(m + b) / Phi(m) for a standard normal e.
    moved = ndtr(cells.signed_margin + (cells.sign * by_luck)[:, None])
    rise *= moved / np.maximum(ndtr(cells.signed_margin), 1e-300)
    expected: FloatArray = (cells.at_node * rise).sum(axis=1) + cells.unsolvable
    return expected


def _cells(
    log: LogTable, mask: BoolArray, success: SuccessFit, located: tuple[Patterns, IntArray]
) -> tuple[_Cells, Nodes]:
    """Groups the answered calls with tokens by what is known of their subtask."""
    patterns, course = located
    patterns = dataclasses.replace(patterns, cell=np.searchsorted(success.cell, patterns.cell))
    seen, nodes = seen_courses(patterns, success.parameters)
    calls, size = log.calls, len(success.cell)
    used = mask & calls.has_answer & (calls.output_tokens > 0)
    cell = log.task_type[calls.subtask[used]] * len(log.workers) + calls.worker[used]
    pair, won = np.searchsorted(success.cell, cell), calls.success[used]
    row, tokens = course[calls.subtask[used]], calls.output_tokens[used]
    key, group = np.unique((row * size + pair) * 2 + won, return_inverse=True)
    row, pair, sign = key // 2 // size, key // 2 % size, np.where(key % 2 == 1, 1.0, -1.0)
    several = patterns.failures + patterns.successes > 1
    repeated = np.isin(row * size + pair, patterns.row[several] * size + patterns.cell[several])
    margin = margins(pair, patterns.lost_quality[row], success.parameters, nodes)
    return _Cells(
        pair=pair,
        calls=np.bincount(group).astype(float),
        total=np.bincount(group, tokens).astype(float),
        squares=np.bincount(group, tokens**2).astype(float),
        is_single=~repeated,
        at_node=seen.at_node[row],
        unsolvable=seen.unsolvable[row],
        signed_margin=sign[:, None] * margin,
        sign=sign,
    ), nodes
