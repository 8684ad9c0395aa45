"""A simulator fitted to a log of real agents' runs reaches what policies reach on other runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.agbench_runs import FORMAT, Runs, read_graph, read_runs
from benchmarks.calibration_agbench import (
    QUANTITIES,
    RETURN,
    Crossed,
    compare_halves,
    compare_held_back,
    order_kept,
)
from orchestai_env.workflow import Workflow

pytestmark = [pytest.mark.real, pytest.mark.slow]
CHEAPEST = "always the cheapest"
COST, MAKESPAN = QUANTITIES.index("cost [USD]"), QUANTITIES.index("makespan [s]")


@pytest.fixture(scope="module")
def recorded(data_root: Path) -> tuple[Runs, list[Workflow]]:
    folder = data_root / FORMAT
    if not folder.is_dir():
        pytest.skip(f"no recorded runs in {folder}")
    return read_runs(folder), read_graph(folder)


@pytest.fixture(scope="module")
def crossed(recorded: tuple[Runs, list[Workflow]]) -> list[Crossed]:
    return compare_halves(*recorded, halvings=6)


def test_simulated_returns_are_those_of_runs_that_the_log_has_not(crossed: list[Crossed]) -> None:
    """Each half of the runs is logged and replayed in turn.

    Over 20 halvings the errors of the balanced return are -5.5 % to +2.4 %, with standard errors of
    1 % to 2 %, and those of success -5.5 % to +5.2 %. About twice that is allowed here, with 6. The
    cheapest agent is left out: see below.
    """
    errors = {row.policy: row.error[:, 0] for row in crossed if row.policy != CHEAPEST}
    assert len(errors) == 4
    for error in errors.values():
        assert np.abs(error[[COST, MAKESPAN, RETURN]]).max() < 0.1
        assert np.abs(error).max() < 0.14


def test_simulated_policies_keep_the_order_of_replayed_ones(crossed: list[Crossed]) -> None:
    replayed = [float(row.replayed[:, RETURN].mean()) for row in crossed]
    simulated = [float(row.simulated[:, RETURN].mean()) for row in crossed]
    assert replayed == sorted(replayed, reverse=True)
    assert simulated == sorted(simulated, reverse=True)


def test_cheapest_agent_succeeds_more_often_in_the_simulator(crossed: list[Crossed]) -> None:
    """It never read a file in 14 runs or so, which leaves a chance of 3 % a try, not of 0.

    So it now and then gets to tasks that only dearer agents were tried on. Its return is 3.6
    below the replayed one of -6.2, where the best and the worst policy lie 140 apart.
    """
    row = next(row for row in crossed if row.policy == CHEAPEST)
    away = (row.simulated - row.replayed).mean(axis=0)
    assert 0.0 < away[0] < 0.08
    assert -6.0 < away[RETURN] < 0.0


def test_runs_held_back_agree_within_their_own_interval(
    recorded: tuple[Runs, list[Workflow]],
) -> None:
    """A third of the runs tells a return to a quarter or so: that much is all it can refute.

    Measured with 1,000 copies: errors of 9 % to 18 % of the balanced return, whose replays of the
    two sides differ as much, and the order of all pairs of policies that the runs tell apart.
    """
    rows = compare_held_back(*recorded, copies=200, replicates=60)
    for row in rows:
        if row.policy != CHEAPEST:
            away = np.abs(row.simulated - row.test[:, 0])
            assert (away < np.hypot(row.test[:, 1], row.train[:, 1])).all()
    kept, pairs = order_kept(rows, RETURN)
    assert kept[1] == pairs[1] >= 4
