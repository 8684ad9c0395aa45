from __future__ import annotations

import asyncio
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from orchestai_env.execution.calls.budget import Ledger, LedgerError, Reservation, sum_usd

USD = st.floats(min_value=0, max_value=10)


def test_ledger_counts_what_is_reserved_and_spent():
    ledger = Ledger(1.0)
    reservation = ledger.reserve("mini", 0.5)
    assert reservation is not None
    assert (ledger.reserved_usd, ledger.spent_usd) == (0.5, 0.0)
    ledger.settle(reservation, 0.25)
    assert (ledger.reserved_usd, ledger.spent_usd) == (0.0, 0.25)
    assert ledger.spent_by_worker() == {"mini": 0.25}


def test_ledger_refuses_what_reservations_leave_no_money_for():
    ledger = Ledger(1.0)
    assert ledger.reserve("mini", 0.6) is not None
    assert not ledger.allows(0.5)
    assert ledger.reserve("large", 0.5) is None
    assert ledger.reserved_usd == 0.6
    assert ledger.reserve("large", 0.4) is not None


def test_ledger_without_budget_allows_everything():
    ledger = Ledger()
    assert ledger.reserve("mini", 1e6) is not None
    assert ledger.overrun_usd == 0.0


def test_ledger_charges_an_overrun_in_full_and_allows_nothing_after_it():
    ledger = Ledger(1.0)
    reservation = ledger.reserve("mini", 0.5)
    assert reservation is not None
    ledger.settle(reservation, 1.25)
    assert (ledger.spent_usd, ledger.overrun_usd) == (1.25, 0.25)
    assert ledger.reserve("mini", 0.0) is None


def test_child_ledger_needs_its_parents_leave_and_charges_it():
    whole = Ledger(1.0)
    one, other = Ledger(0.8, parent=whole), Ledger(0.8, parent=whole)
    reservation = one.reserve("mini", 0.7)
    assert reservation is not None
    assert other.reserve("mini", 0.7) is None  # the whole has 0.3 left
    assert other.reserved_usd == 0.0
    assert one.reserve("mini", 0.2) is None  # its own has 0.1 left
    one.settle(reservation, 0.1)
    assert (one.spent_usd, other.spent_usd, whole.spent_usd) == (0.1, 0.0, 0.1)
    assert whole.reserved_usd == 0.0


def test_refusing_tells_what_is_spent_from_what_is_only_held():
    whole = Ledger(1.0)
    part = Ledger(0.8, parent=whole)
    reservation = part.reserve("mini", 0.7)
    assert reservation is not None
    assert part.reserve("mini", 0.5) is None
    assert part.refusing(0.5) is None  # 0.7 may come back
    assert part.refusing(0.9) is part
    part.settle(reservation, 0.6)
    assert part.refusing(0.3) is part
    assert part.refusing(0.2) is None
    whole.charge("other", 0.3)
    assert part.refusing(0.2) is whole
    assert Ledger().refusing(1e6) is None


def test_settled_wakes_all_that_wait_and_survives_those_that_are_gone():
    whole = Ledger(1.0)

    async def main() -> int:
        part, other = Ledger(parent=whole), Ledger(parent=whole)
        reservation = part.reserve("mini", 1.0)
        assert reservation is not None
        waiting = [asyncio.ensure_future(other.settled()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[1].cancel()
        await asyncio.sleep(0)
        part.settle(reservation, 0.25)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return sum(task.done() and not task.cancelled() for task in waiting)

    assert asyncio.run(main()) == 2


def test_settling_twice_is_an_error_and_charges_once():
    ledger = Ledger()
    reservation = ledger.reserve("mini", 1.0)
    assert reservation is not None
    ledger.settle(reservation, 0.5)
    with pytest.raises(LedgerError, match="mini: this reservation is settled already"):
        ledger.settle(reservation, 0.5)
    assert ledger.spent_usd == 0.5


def test_settling_at_another_ledger_is_an_error():
    reservation = Ledger().reserve("mini", 1.0)
    assert reservation is not None
    with pytest.raises(LedgerError, match="expected a reservation of this ledger"):
        Ledger().settle(reservation, 0.5)


@pytest.mark.parametrize("amount", [-0.01, math.nan, math.inf, 1e300])
def test_ledger_refuses_what_is_no_amount(amount):
    ledger = Ledger()
    for charge in (
        lambda: Ledger(amount),
        lambda: ledger.allows(amount),
        lambda: ledger.reserve("mini", amount),
        lambda: ledger.charge("mini", amount),
    ):
        with pytest.raises(LedgerError, match="expected an amount of USD >= 0, got"):
            charge()
    assert (ledger.spent_usd, ledger.reserved_usd) == (0.0, 0.0)


def test_ledger_sums_100000_calls_without_error():
    rng = random.Random(0)
    costs = [rng.randrange(1, 10**8) / 1e9 for _ in range(100_000)]
    ledger = Ledger()
    for i, cost in enumerate(costs):
        ledger.charge(f"worker {i % 3}", cost)
    exact = sum(round(cost * 1e9) for cost in costs) / 1e9
    assert ledger.spent_usd == exact == sum_usd(reversed(costs))
    assert sum_usd(ledger.spent_by_worker().values()) == exact


@given(st.lists(USD))
def test_sum_differs_from_the_unrounded_one_by_half_a_nano_dollar_a_call(costs):
    assert abs(sum_usd(costs) - math.fsum(costs)) <= 0.5e-9 * len(costs) + 1e-12


@given(st.integers(min_value=0, max_value=10**15))
def test_whole_nano_dollars_survive_as_floats(nano):
    assert sum_usd([nano / 1e9]) == nano / 1e9
    assert round(sum_usd([nano / 1e9]) * 1e9) == nano


class LedgerMachine(RuleBasedStateMachine):
    """Two workflows under one collection; calls cost up to twice their upper estimate."""

    def __init__(self) -> None:
        super().__init__()
        self.whole = Ledger(20.0)
        self.parts = [Ledger(8.0, parent=self.whole), Ledger(None, parent=self.whole)]
        self.open: list[tuple[Ledger, Reservation, float]] = []
        self.spent, self.overrun = [0.0, 0.0], [0.0, 0.0]

    @rule(part=st.integers(0, 1), worker=st.sampled_from(["mini", "large"]), upper=USD)
    def reserve(self, part, worker, upper):
        ledger = self.parts[part]
        allowed = ledger.allows(upper)
        reservation = ledger.reserve(worker, upper)
        assert (reservation is not None) == allowed
        if reservation is not None:
            self.open.append((ledger, reservation, upper))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), share=st.floats(min_value=0, max_value=2))
    def settle(self, data, share):
        ledger, reservation, upper = self.open.pop(
            data.draw(st.integers(0, len(self.open) - 1), label="which")
        )
        ledger.settle(reservation, share * upper)
        part = self.parts.index(ledger)
        self.spent[part] += share * upper
        self.overrun[part] += max(0.0, (share - 1.0) * upper)
        with pytest.raises(LedgerError):
            ledger.settle(reservation, 0.0)

    @invariant()
    def nothing_is_negative_and_sums_agree(self):
        for part, ledger in enumerate(self.parts):
            assert min(ledger.spent_usd, ledger.reserved_usd, ledger.overrun_usd) >= 0.0
            assert ledger.spent_usd == pytest.approx(self.spent[part], abs=1e-6)
        spent = [ledger.spent_usd for ledger in self.parts]
        reserved = [ledger.reserved_usd for ledger in self.parts]
        assert self.whole.spent_usd == sum_usd(spent)
        assert self.whole.reserved_usd == sum_usd(reserved)
        workers = self.whole.spent_by_worker()
        assert sum_usd(workers.values()) == self.whole.spent_usd

    @invariant()
    def budget_is_exceeded_by_overruns_only(self):
        one, whole = self.parts[0], self.whole
        assert one.spent_usd + one.reserved_usd <= 8.0 + self.overrun[0] + 1e-6
        assert whole.spent_usd + whole.reserved_usd <= 20.0 + sum(self.overrun) + 1e-6


TestLedgerMachine = LedgerMachine.TestCase
