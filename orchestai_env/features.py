"""What the observation knows of workers and queries before a call, as arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from orchestai_env.dataset import Dataset
from orchestai_env.observation import WORKER_FEATURES
from orchestai_env.workers import KINDS


class Features(NamedTuple):
    """What the observation needs beside the state; every figure is known before a call."""

    cost_usd: npt.NDArray[np.float64]
    """float64 (T, W) [USD]; mean cost of a call."""
    success: npt.NDArray[np.float32]
    """float32 (T, W), 0..1; mean success."""
    predicted: npt.NDArray[np.float32]
    """float32 (Q, W), 0..1; prediction per query; (1, 1) without predictions."""
    has_predictions: npt.NDArray[np.int64]
    """int64 (1,)."""
    kind: npt.NDArray[np.float32]
    """float32 (W, 6); one-hot."""
    slot_share: npt.NDArray[np.float64]
    """float64 (W,); one by the calls that the worker runs at once."""
    expected_us: npt.NDArray[np.int64]
    """int64 (T, W) [us]; mean latency of a call."""
    typical_us: npt.NDArray[np.int64]
    """int64 (T,) [us]; its mean over workers."""
    scale: npt.NDArray[np.float64]
    """float64 (2,): cost [USD] and time [us] that squash to 0.5."""
    workers: npt.NDArray[np.float32]
    """float32 (T, W, 12); what `workers` shows of each before an episode, where nothing varies;
    zeros until observe.py fills them."""
    instructions: npt.NDArray[np.float32]
    """float32 (I, D); embeddings of instructions; (1, 1) without."""
    queries: npt.NDArray[np.float32]
    """float32 (Q, D); embeddings of subtask texts; (1, 1) without."""


def squash(x: npt.ArrayLike, scale: float) -> npt.NDArray[np.float32]:
    """Maps x >= 0 into 0..1 by x / (x + scale); scale goes to 0.5."""
    values = np.asarray(x, np.float64)
    return (values / (values + scale)).astype(np.float32)


def build_features(dataset: Dataset) -> Features:
    """Builds the feature tables of a data set from its worker statistics."""
    known = dataset.statistics
    possible = known.latency_ms > 0
    cost_scale = _median_of_positive(known.cost_usd)
    time_scale = 1e3 * _median_of_positive(known.latency_ms)
    latency_us = np.round(known.latency_ms * 1e3)
    typical = np.array(
        [row[ok].mean() if ok.any() else 0.0 for row, ok in zip(latency_us, possible, strict=True)]
    )
    kind = [[float(worker.kind == name) for name in KINDS] for worker in dataset.pool.workers]
    nothing = np.zeros((1, 1), np.float32)

    def or_nothing(table: npt.NDArray[np.float32] | None) -> npt.NDArray[np.float32]:
        return nothing if table is None else np.ascontiguousarray(table, np.float32)

    return Features(
        cost_usd=known.cost_usd,
        success=known.success.astype(np.float32),
        predicted=or_nothing(known.predicted_success),
        has_predictions=np.array([int(known.predicted_success is not None)]),
        kind=np.array(kind, np.float32),
        slot_share=np.array([1.0 / worker.concurrency for worker in dataset.pool.workers]),
        expected_us=latency_us.astype(np.int64),
        typical_us=np.round(typical).astype(np.int64),
        scale=np.array([cost_scale, time_scale]),
        workers=np.zeros((*known.success.shape, len(WORKER_FEATURES)), np.float32),
        instructions=or_nothing(dataset.instruction_embeddings),
        queries=or_nothing(dataset.query_embeddings),
    )


def _median_of_positive(x: npt.NDArray[np.float64]) -> float:
    return float(np.median(x[x > 0])) if (x > 0).any() else 1.0


def empty_features() -> Features:
    """Returns features of length 1 in each dimension, of the right dtypes."""
    table, row = np.zeros((1, 1), np.float32), np.zeros(1, np.int64)
    return Features(
        cost_usd=np.zeros((1, 1)),
        success=table,
        predicted=table,
        has_predictions=row,
        kind=table,
        slot_share=np.zeros(1),
        expected_us=np.zeros((1, 1), np.int64),
        typical_us=row,
        scale=np.zeros(2),
        workers=np.zeros((1, 1, 1), np.float32),
        instructions=table,
        queries=table,
    )
