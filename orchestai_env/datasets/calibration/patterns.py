"""Patterns: the calls on each subtask, counted; all that the likelihood of success depends on."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from orchestai_env.datasets.calibration.log_table import BoolArray, FloatArray, IntArray, LogTable

_QUALITY_STEPS = 32
"""Parents' quality is rounded to 1/32. The error is independent of the rounded value, which leaves
a regression unbiased (Berkson 1950), and its standard deviation is 0.009."""


class FactorKinds(NamedTuple):
    """G factors that differ; R courses."""

    cell: IntArray
    """int64 (G,)."""
    lost_quality: FloatArray
    """float64 (G,)."""
    failures: IntArray
    """int64 (G,)."""
    successes: IntArray
    """int64 (G,)."""
    of_factor: IntArray
    """int64 (F,), 0..G-1."""
    in_course: Any
    """scipy.sparse (R, G); how often a course has each."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Patterns:
    """R different courses of a subtask; F factors, one a worker that was called in a course.

    Calls of one worker on one subtask are exchangeable, so their order says nothing.
    """

    weight: FloatArray
    """float64 (R,); subtasks that went so."""
    lost_quality: FloatArray
    """float64 (R,), 0..1; one minus the parents' quality."""
    row: IntArray
    """int64 (F,), 0..R-1, ascending, each at least once."""
    cell: IntArray
    """int64 (F,); task type * W + worker."""
    failures: IntArray
    """int64 (F,)."""
    successes: IntArray
    """int64 (F,); 0 or 1."""

    @functools.cached_property
    def all_failed(self) -> BoolArray:
        """Courses without a success, bool (R,)."""
        wins = np.bincount(self.row, self.successes, len(self.weight))
        failed: BoolArray = wins == 0
        return failed

    @functools.cached_property
    def kinds(self) -> FactorKinds:
        """The different factors; many courses share one."""
        from scipy.sparse import csr_array

        lost = self.lost_quality[self.row]
        table = np.column_stack([self.cell, lost, self.failures, self.successes])
        first, place = np.unique(table, axis=0, return_index=True, return_inverse=True)[1:]
        ones, shape = np.ones(len(self.row)), (len(self.weight), len(first))
        return FactorKinds(
            cell=self.cell[first],
            lost_quality=lost[first],
            failures=self.failures[first],
            successes=self.successes[first],
            of_factor=place.ravel(),
            in_course=csr_array((ones, (self.row, place.ravel())), shape=shape),
        )


def count_patterns(log: LogTable, mask: BoolArray) -> Patterns:
    """Counts the courses of subtasks over some calls.

    Args:
        log: the log.
        mask: bool (C,); the calls that count. Those of a subtask that come before a counted one
            must count too.
    """
    return located_patterns(log, mask)[0]


def located_patterns(log: LogTable, mask: BoolArray) -> tuple[Patterns, IntArray]:
    """Counts the courses of subtasks, and tells which is whose.

    Args:
        log: the log.
        mask: bool (C,); as in `count_patterns`.
    Returns:
        Patterns, and int64 (S,): the course of each subtask, -1 where it has no call that counts.
    """
    subtasks, signature = _signatures(log, mask)
    levels = np.round((1.0 - log.parent_quality[subtasks]) * _QUALITY_STEPS).astype(np.int64)
    table = np.column_stack([log.task_type[subtasks], levels, signature])
    courses, place, weight = np.unique(table, axis=0, return_inverse=True, return_counts=True)
    course = np.full(len(log.task_type), -1, np.int64)
    course[subtasks] = place.ravel()
    row, column = np.nonzero(courses[:, 2:] >= 0)
    code = courses[row, column + 2]
    worker, failures, successes = _decoded(code)
    patterns = Patterns(
        weight=weight.astype(float),
        lost_quality=courses[:, 1] / _QUALITY_STEPS,
        row=row.astype(np.int64),
        cell=courses[row, 0] * len(log.workers) + worker,
        failures=failures,
        successes=successes,
    )
    return patterns, course


def prefix_patterns(log: LogTable, mask: BoolArray) -> tuple[Patterns, Patterns, BoolArray]:
    """Returns, for each call of `mask`, the course before it and the course if it succeeds.

    Args:
        log: the log.
        mask: bool (C,); calls, all those of a subtask or none.
    Returns:
        Two Patterns with a row for each call after the first of its subtask (before) and for each
        call (with), and bool (C',) that tells which calls are not the first.
    """
    index = np.flatnonzero(mask)
    order = index[np.lexsort((index, log.calls.subtask[index]))]
    subtask = log.calls.subtask[order]
    place = np.arange(len(order)) - np.searchsorted(subtask, subtask)
    before, after = [], []
    for steps in range(int(place.max(initial=0)) + 1):
        ends = np.flatnonzero(place == steps)
        members = ends[:, None] - np.arange(steps, -1, -1)[None, :]
        after.append((order[ends], order[members]))
        if steps:
            before.append((order[ends], order[members[:, :-1]]))
    later = np.zeros(len(mask), bool)
    later[order[place > 0]] = True
    return (
        _per_call(log, before, mask, succeeds=False),
        _per_call(log, after, mask, succeeds=True),
        later[mask],
    )


def _per_call(
    log: LogTable,
    groups: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]],
    mask: BoolArray,
    *,
    succeeds: bool,
) -> Patterns:
    """Builds a row per call; with `succeeds`, the last call of each course counts as a success."""
    calls, num_workers = log.calls, len(log.workers)
    owner = np.concatenate([np.repeat(e, m.shape[1]) for e, m in groups]) if groups else _NONE
    member = np.concatenate([m.ravel() for _, m in groups]) if groups else _NONE
    won = (owner == member) if succeeds else np.zeros(len(member), bool)
    rows, row = np.unique(owner, return_inverse=True)
    key = row * num_workers + calls.worker[member]
    factors, where = np.unique(key, return_inverse=True)
    successes = np.bincount(where, weights=won, minlength=len(factors)).astype(np.int64)
    failures = np.bincount(where, minlength=len(factors)) - successes
    subtask = calls.subtask[rows]
    first = factors // num_workers
    return Patterns(
        weight=np.ones(len(rows)),
        lost_quality=1.0 - log.parent_quality[subtask],
        row=first,
        cell=log.task_type[subtask[first]] * num_workers + factors % num_workers,
        failures=failures,
        successes=successes,
    )


_NONE = np.zeros(0, np.int64)
_WORKER, _FAILURES = 1 << 20, 2


def _signatures(log: LogTable, mask: BoolArray) -> tuple[IntArray, IntArray]:
    """Returns the subtasks with calls, (N,), and their factors' codes, ascending, padded with -1.

    A code holds a worker, its failures and whether it succeeded.
    """
    calls = log.calls
    subtask, worker = calls.subtask[mask], calls.worker[mask]
    key = subtask * len(log.workers) + worker
    factors, where = np.unique(key, return_inverse=True)
    won = np.bincount(where, weights=calls.success[mask], minlength=len(factors)) > 0
    failures = np.bincount(where, weights=~calls.success[mask], minlength=len(factors))
    code = factors % len(log.workers) * _WORKER + failures.astype(np.int64) * _FAILURES + won
    subtasks, start = np.unique(factors // len(log.workers), return_index=True)
    place = np.arange(len(factors)) - np.repeat(start, np.diff([*start, len(factors)]))
    signature = np.full((len(subtasks), int(place.max(initial=0)) + 1), -1, np.int64)
    signature[np.repeat(np.arange(len(subtasks)), np.diff([*start, len(factors)])), place] = code
    return subtasks, signature


def _decoded(code: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    worker, rest = np.divmod(code, _WORKER)
    failures, successes = np.divmod(rest, _FAILURES)
    return worker, failures, successes
