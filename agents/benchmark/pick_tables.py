"""Pick tables: which worker an agent calls, by task type and attempt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Picks = Mapping[str, Sequence[Mapping[str, Any]]]
"""Task type -> for each attempt {calls: number, shares: worker -> share of these calls}."""


def pick_shares(
    picks: npt.NDArray[np.int64], task_types: Sequence[str], workers: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """Returns the shares of workers by task type and attempt; workers without a call are left out.

    Args:
        picks: int64 (T, max_attempts, W): calls.
        task_types: T names.
        workers: W names.
    """
    return {
        task_type: [
            {
                "calls": int(calls.sum()),
                "shares": {
                    workers[w]: round(float(calls[w] / calls.sum()), 6)
                    for w in np.flatnonzero(calls).tolist()
                },
            }
            for calls in picks[t]
        ]
        for t, task_type in enumerate(task_types)
    }


def pick_rows(picks: Picks) -> list[tuple[str, ...]]:
    """Returns a row of text per task type that was met: its name, then a cell per attempt.

    A cell names the workers in the order of their shares, each with it; below 0.5 % none is named.
    """
    return [
        (task_type, *(_cell(attempt["shares"]) for attempt in attempts))
        for task_type, attempts in picks.items()
        if any(attempt["calls"] for attempt in attempts)
    ]


def _cell(shares: Mapping[str, float]) -> str:
    ordered = sorted(shares.items(), key=lambda item: -item[1])
    named = [f"{worker} {100 * share:.0f} %" for worker, share in ordered if share >= 0.005]
    return ", ".join(named) or "-"


def attempt_shares(picks: Picks, attempt: int) -> dict[str, float]:
    """Returns each worker's share of the calls at an attempt, over all task types."""
    total: dict[str, float] = {}
    for attempts in picks.values():
        for worker, share in attempts[attempt]["shares"].items():
            total[worker] = total.get(worker, 0.0) + share * attempts[attempt]["calls"]
    calls = sum(total.values())
    return {worker: of / calls for worker, of in total.items()}
