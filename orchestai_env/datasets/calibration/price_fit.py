"""PriceFit: what a call costs before its output, and per token of output."""

from __future__ import annotations

import dataclasses

import numpy as np

from orchestai_env.datasets.calibration.log_table import BoolArray, FloatArray, IntArray, LogTable
from orchestai_env.workers import TaskSkill

_DEFAULT_INPUT = float(TaskSkill.model_fields["input_tokens"].default)
_COLLINEAR = 1e-6


@dataclasses.dataclass(frozen=True, kw_only=True)
class PriceFit:
    """Cost = input_usd * input_tokens + token_usd * output tokens; each pair's mean is met."""

    input_usd: FloatArray
    """float64 (W,) [USD per input token], >= 0."""
    token_usd: FloatArray
    """float64 (W,) [USD per output token], >= 0."""
    input_tokens: FloatArray
    """float64 (P,), >= 0; input tokens that cost what the pair's calls cost beside their output."""
    deviation: FloatArray
    """float64 (P,); standard errors of `input_tokens`."""


def fit_prices(log: LogTable, mask: BoolArray, cells: IntArray) -> PriceFit:
    """Fits cost by input and output tokens, per worker, by least squares around its pairs' means.

    Where all prompts of a pair are equally long, the input says nothing and is left out. What is
    left of a pair's mean cost is the cost of its input, so that the mean is met whatever
    the prompts, the caches and the fees. A worker's input price is such that its pairs' input
    tokens are those of the log on the whole.

    Args:
        log: the log.
        mask: bool (C,); calls that count.
        cells: int64 (P,); pairs, task type * W + worker, ascending.
    """
    calls, n = log.calls, len(log.workers)
    used = mask & calls.has_answer
    worker, tokens, cost = calls.worker[used], calls.output_tokens[used], calls.cost_usd[used]
    pair = np.searchsorted(cells, log.task_type[calls.subtask[used]] * n + worker)
    count = np.bincount(pair, minlength=len(cells))
    calls_of = np.maximum(count, 1)
    mean_tokens = np.bincount(pair, tokens, len(cells)) / calls_of
    mean_cost = np.bincount(pair, cost, len(cells)) / calls_of
    mean_sent = np.bincount(pair, calls.input_tokens[used], len(cells)) / calls_of
    slope = _output_slope(
        worker, tokens - mean_tokens[pair], calls.input_tokens[used] - mean_sent[pair], cost, n
    )
    # Neither price is below 0, on the whole of a worker's calls.
    total_tokens, total_cost = np.bincount(worker, tokens, n), np.bincount(worker, cost, n)
    all_of_it = total_cost / np.where(total_tokens > 0, total_tokens, 1.0)
    slope = np.clip(slope, 0.0, np.where(total_tokens > 0, all_of_it, 0.0))
    of_pair = cells % n
    rest = np.maximum(mean_cost - slope[of_pair] * mean_tokens, 0.0)
    residual = cost - slope[worker] * tokens - rest[pair]
    variance = np.bincount(pair, residual**2, len(cells)) / np.maximum(count - 1, 1)
    sent = np.bincount(worker, calls.input_tokens[used], n)
    sent = np.where(sent > 0, sent, _DEFAULT_INPUT * np.bincount(worker, minlength=n))
    price = np.bincount(of_pair, rest * count, n) / np.maximum(sent, 1.0)
    has_price = price[of_pair] > 0
    per_usd = np.where(has_price, 1.0 / np.where(has_price, price[of_pair], 1.0), 0.0)
    return PriceFit(
        input_usd=price,
        token_usd=slope,
        input_tokens=np.where(has_price, rest * per_usd, _DEFAULT_INPUT),
        deviation=np.sqrt(variance / calls_of) * per_usd,
    )


def _output_slope(
    worker: IntArray, output: FloatArray, sent: FloatArray, cost: FloatArray, num_workers: int
) -> FloatArray:
    """Returns float64 (W,) [USD per output token], of tokens less the means of their pairs."""

    def total(of: FloatArray) -> FloatArray:
        return np.bincount(worker, of, num_workers).astype(np.float64)

    both, own, squares = total(output * sent), total(sent**2), total(output**2)
    alone = squares * own - both**2  # 0 where one follows from the other
    is_told = alone > _COLLINEAR * squares * own
    top = np.where(is_told, total(output * cost) * own - total(sent * cost) * both, 0.0)
    joint = top / np.where(is_told, alone, 1.0)
    simple = total(output * cost) / np.where(squares > 0, squares, 1.0)
    slope: FloatArray = np.where(is_told, joint, simple)
    return slope
