"""calibrate: reads a log, fits the simulator to most of it and checks it on the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from orchestai_env.datasets.calibration.comparison import Comparison, compare
from orchestai_env.datasets.calibration.fit import FittedPool, fit_pool
from orchestai_env.datasets.calibration.log_table import LogTable
from orchestai_env.datasets.calibration.reliability import (
    Reliability,
    predict_success,
    reliability,
)
from orchestai_env.datasets.calibration.replay import Replay, replay
from orchestai_env.errors import ConfigError

STEPS = 8
"""Times that `calibrate` calls its on_step."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calibration:
    """A fitted simulator, and how it does on executions that it was not fitted to."""

    fitted: FittedPool
    num_executions: int
    num_left_out: int
    """Further executions of the log, that were interrupted or not planned."""
    num_held_out: int
    has_shared_instructions: bool
    """Whether an instruction stands on both sides, as the log has too few to deal them out."""
    num_open_calls: int
    """Calls of the log without an end."""
    num_faults: int
    """Ended calls without an answer; they count as failures, not for tokens and times."""
    reliability: Reliability | None
    """None where nothing held out can be predicted."""
    comparison: Comparison | None
    """None where nothing held out can be played."""
    replayed: Replay | None


def calibrate(
    log: LogTable,
    *,
    held_out: float = 0.2,
    seed: int = 0,
    on_step: Callable[[], None] = lambda: None,
) -> Calibration:
    """Fits the simulator to a part of the executions, and compares it with the rest.

    Args:
        log: executions.
        held_out: 0..0.9; share of the instructions, by their hash, whose executions are held out.
        seed: of the simulated episodes.
        on_step: called STEPS times, as the work goes on.
    Raises:
        ConfigError: a share out of range.
        DataError: too few calls to fit to.
        MissingPackageError: scipy is not there.
    """
    if not 0.0 <= held_out <= 0.9:
        raise ConfigError(f"held_out: expected a share in 0..0.9, got {held_out:g}")
    aside = log.held_out(held_out)
    mask = ~aside[log.calls.execution]
    fitted = fit_pool(log, mask, on_step=on_step)
    predicted, known = predict_success(log, ~mask, fitted.pool, fitted.success.cell)
    on_step()
    replayed = replay(log, aside, fitted.pool, seed=seed) if aside.any() else None
    on_step()
    return Calibration(
        fitted=fitted,
        num_executions=log.num_executions,
        num_left_out=log.num_left_out,
        num_held_out=int(aside.sum()),
        has_shared_instructions=bool(
            np.isin(log.instruction_hash[aside], log.instruction_hash[~aside]).any()
        ),
        num_open_calls=log.num_open,
        num_faults=int((~log.calls.has_answer).sum()),
        reliability=reliability(predicted, log.calls.success[known]) if len(predicted) else None,
        comparison=None if replayed is None else compare(log, replayed),
        replayed=replayed,
    )
