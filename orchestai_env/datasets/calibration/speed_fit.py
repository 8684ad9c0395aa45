"""SpeedFit: time to the first token, speed, slowdown under load and concurrency."""

from __future__ import annotations

import dataclasses

import numpy as np

from orchestai_env.datasets.calibration.log_table import BoolArray, FloatArray, IntArray, LogTable

_ROUNDS = 60
_HUBER = 1.345
"""Residuals beyond 1.345 standard deviations count less; 95 % efficient under normal noise
(Huber, "Robust Statistics", 1981)."""
_LEAST_MS = 1e-3
_LONGEST = 10.0
"""Robust standard deviations beyond which a time counts as if it were there, in the mean; chosen on
halves of recorded calls of four LLMs (fbc), whose robust means are 18, 7, 3 and 0 % below those of
the other halves, and 4 % at most so; a call that hangs for a minute still changes little."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpeedFit:
    """Latency = (first_token_ms + token_ms * tokens) * (1 + load_slowdown * running)."""

    first_token_ms: FloatArray
    """float64 (W,), >= 0."""
    token_ms: FloatArray
    """float64 (W,), >= 0; 0 where the time does not grow with tokens, or cannot be told."""
    load_slowdown: float
    """>= 0."""
    deviation: FloatArray
    """float64 (2 W + 1,); standard errors of all these, in this order; 0 where untold."""
    is_load_known: bool
    """Whether a worker's calls overlapped, so that the slowdown can be told."""
    calls: IntArray
    """int64 (W,); calls of each worker that were used."""


def times_for_tokens(
    log: LogTable, mask: BoolArray, speed: SpeedFit
) -> tuple[LogTable, SpeedFit, BoolArray]:
    """Lets milliseconds stand for the tokens of workers that log none.

    Their calls' times by task type, and what they depend on, are then fitted as tokens are.

    Args:
        log: the log.
        mask: bool (C,); calls that count.
        speed: fitted to them.
    Returns:
        The log with times, without the slowdown, in the place of these workers' tokens; the speed
        at which a token takes a millisecond; and bool (W,): which workers these are.
    """
    calls, n = log.calls, len(log.workers)
    used = mask & calls.has_answer & (calls.latency_ms > 0)
    tokens = np.bincount(calls.worker[mask], calls.output_tokens[mask], n)
    silent = (tokens == 0) & (np.bincount(calls.worker[used], minlength=n) > 0)
    if not silent.any():
        return log, speed, silent
    alone = calls.latency_ms / (1.0 + speed.load_slowdown * calls.running)
    output = np.where(silent[calls.worker] & calls.has_answer, alone, calls.output_tokens)
    deviation = speed.deviation.copy()
    deviation[: 2 * n][np.tile(silent, 2)] = 0.0
    timed = dataclasses.replace(
        speed,
        first_token_ms=np.where(silent, 0.0, speed.first_token_ms),
        token_ms=np.where(silent, 1.0, speed.token_ms),
        deviation=deviation,
    )
    changed = dataclasses.replace(calls, output_tokens=output)
    return dataclasses.replace(log, calls=changed), timed, silent


def fit_speed(log: LogTable, mask: BoolArray) -> SpeedFit:
    """Fits latencies by Huber's robust regression, in relative residuals, and then to their means.

    Gauss-Newton on reweighted squares; standard errors are those of White's sandwich ("A
    heteroskedasticity-consistent covariance matrix estimator", Econometrica 1980). Times of calls
    are skewed: robustly they are shorter than on average, which makespans follow. So the times of
    each worker are stretched until their mean is met.

    Args:
        log: the log.
        mask: bool (C,); calls that count; those without an answer are left out.
    """
    calls = log.calls
    used = mask & calls.has_answer & (calls.latency_ms > 0)
    worker, tokens = calls.worker[used], calls.output_tokens[used]
    problem = _Speed(worker, tokens, calls.running[used], calls.latency_ms[used], len(log.workers))
    free = np.ones(2 * len(log.workers) + 1, bool)
    free[len(log.workers) : -1] = _varies(worker, tokens, len(log.workers))
    free[-1] = is_load_known = bool(problem.running.any())
    told = free.copy()
    found = problem.solve(free)
    while (found < 0).any():  # a time or a slowdown below 0 is held at 0, and the rest fitted anew
        free &= found >= 0
        found = problem.solve(free)
    factor, error = problem.stretch(found)
    stretch, stretch_error = np.append(np.tile(factor, 2), 1.0), np.append(np.tile(error, 2), 0.0)
    deviation = np.hypot(problem.deviations(found, told) * stretch, found * stretch_error)
    found = found * stretch
    return SpeedFit(
        first_token_ms=found[: len(log.workers)],
        token_ms=found[len(log.workers) : -1],
        load_slowdown=float(found[-1]),
        deviation=deviation,
        is_load_known=is_load_known,
        calls=np.bincount(worker, minlength=len(log.workers)),
    )


class _Speed:
    """The regression; its parameters are (first_token_ms (W,), token_ms (W,), slowdown)."""

    def __init__(
        self,
        worker: IntArray,
        tokens: FloatArray,
        running: FloatArray,
        latency: FloatArray,
        num_workers: int,
    ) -> None:
        self.worker, self.tokens, self.num_workers = worker, tokens, num_workers
        self.running, self.latency = running, latency

    def solve(self, free: BoolArray) -> FloatArray:
        """Returns the parameters; those not free are 0."""
        count = np.bincount(self.worker, minlength=self.num_workers)
        mean = np.bincount(self.worker, self.latency, self.num_workers) / np.maximum(count, 1)
        point = np.concatenate([mean, np.zeros(self.num_workers), [0.0]]) * free
        for _ in range(_ROUNDS):
            residual, jacobian = self._linearised(point)
            weight = self._huber(residual)
            inverse = self._inverse(self._normal(jacobian, weight), free)
            step = inverse @ self._project(jacobian, weight * residual)
            point = point + step
            if np.all(np.abs(step) <= 1e-9 * (1.0 + np.abs(point))):
                break
        return point

    def deviations(self, point: FloatArray, told: BoolArray) -> FloatArray:
        """Returns the standard errors of the parameters that the calls tell; 0 of the others."""
        residual, jacobian = self._linearised(point)
        weight = self._huber(residual)
        # The slope of a weighted residual: 0 where it is cut, else that of time by expected time.
        slope = (weight == 1.0) * (1.0 + residual)
        inverse = self._inverse(self._normal(jacobian, slope), told)
        middle = self._normal(jacobian, (weight * residual) ** 2)
        return np.sqrt(np.maximum(np.diag(inverse @ middle @ inverse), 0.0))

    def stretch(self, point: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Returns the mean time of a worker by that of the fit, and its standard error, both (W,).

        The error is that of what the robust fit leaves out.
        """
        residual, _ = self._linearised(point)
        most = _LONGEST * self._scale(residual)[self.worker]
        near = np.clip(residual, -most, most)
        beyond = near - self._huber(residual) * residual
        expected = self.latency / (1.0 + residual)

        def total(of: FloatArray) -> FloatArray:
            return np.bincount(self.worker, of, self.num_workers).astype(np.float64)

        whole = np.maximum(total(expected), _LEAST_MS)
        factor: FloatArray = 1.0 + total(expected * near) / whole
        return factor, np.sqrt(total((expected * beyond) ** 2)) / whole

    def _linearised(self, point: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Returns relative residuals (C,) and the derivatives of the relative fit, (3, C)."""
        first, per_token = np.split(point[:-1], 2)
        alone = np.maximum(first[self.worker] + per_token[self.worker] * self.tokens, _LEAST_MS)
        load = 1.0 + point[-1] * self.running
        expected = np.maximum(alone * load, _LEAST_MS)
        residual = (self.latency - expected) / expected
        jacobian = np.stack([load, load * self.tokens, alone * self.running]) / expected
        return residual, jacobian

    def _huber(self, residual: FloatArray) -> FloatArray:
        """Returns a weight per call."""
        size = np.abs(residual) / (_HUBER * self._scale(residual)[self.worker])
        return 1.0 / np.maximum(size, 1.0)

    def _scale(self, residual: FloatArray) -> FloatArray:
        """Returns each worker's standard deviation by its median absolute residual, (W,)."""
        scale = np.ones(self.num_workers)
        for w in np.unique(self.worker):
            own = np.abs(residual[self.worker == w])
            scale[w] = max(1.4826 * float(np.median(own)), 1e-12)
        return scale

    def _normal(self, jacobian: FloatArray, weight: FloatArray) -> FloatArray:
        """Returns the weighted sum of products of derivatives, (2 W + 1, 2 W + 1)."""
        n = self.num_workers
        total = np.zeros((2 * n + 1, 2 * n + 1))
        place = (np.arange(n), np.arange(n, 2 * n), np.full(n, 2 * n))
        for a in range(3):
            for b in range(3):
                sums = np.bincount(self.worker, weight * jacobian[a] * jacobian[b], n)
                np.add.at(total, (place[a], place[b]), sums)
        return total

    def _project(self, jacobian: FloatArray, weighted: FloatArray) -> FloatArray:
        first, per_token, load = (
            np.bincount(self.worker, weighted * row, self.num_workers) for row in jacobian
        )
        return np.concatenate([first, per_token, [load.sum()]])

    @staticmethod
    def _inverse(normal: FloatArray, free: BoolArray) -> FloatArray:
        free = free & (np.diag(normal) > 0)
        inverse = np.zeros_like(normal)
        # Milliseconds and shares differ by orders of magnitude: scaled, then inverted.
        scale = 1.0 / np.sqrt(np.diag(normal)[free])
        inner = normal[np.ix_(free, free)] * scale[:, None] * scale
        inverse[np.ix_(free, free)] = (
            np.linalg.pinv(inner, rcond=1e-12, hermitian=True) * scale[:, None] * scale
        )
        return inverse


def fit_concurrency(log: LogTable, mask: BoolArray) -> IntArray:
    """Returns int64 (W,): the most calls that a worker ran at once; 0 where it shows no limit.

    A worker whose calls never waited shows none.
    """
    calls, n = log.calls, len(log.workers)
    most = np.zeros(n, np.int64)
    np.maximum.at(most, calls.worker[mask], calls.running[mask].astype(np.int64) + 1)
    waited = calls.start_ms[mask] > calls.decided_ms[mask]
    has_waited = np.bincount(calls.worker[mask], waited, n) > 0
    return most * has_waited


def _varies(worker: IntArray, tokens: FloatArray, num_workers: int) -> BoolArray:
    """Tells which workers have calls of different lengths."""
    low, high = np.full(num_workers, np.inf), np.full(num_workers, -np.inf)
    np.minimum.at(low, worker, tokens)
    np.maximum.at(high, worker, tokens)
    return high > low
