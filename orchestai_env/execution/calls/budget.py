"""Ledger: what calls have cost and may cost, under a hard budget.

Amounts are kept as whole nano-dollars, so that a sum does not depend on its order and equals the
sum of its parts. Upper estimates are rounded up to one, costs to the nearest. A ledger belongs to
one event loop: a reservation is made without waiting, so nothing comes between the check and it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from orchestai_env.errors import OrchestAIError

_NANO = 1_000_000_000


class LedgerError(OrchestAIError, ValueError):
    """An amount is none, or a reservation is settled twice."""


class BudgetError(OrchestAIError, RuntimeError):
    """The budget of all executions together does not allow a call that one of them needs."""


@dataclasses.dataclass(eq=False, slots=True)
class Reservation:
    """Money that one running call may cost."""

    ledger: Ledger
    worker: str
    upper_nano: int
    is_settled: bool = False


class Ledger:
    """Counts money, and allows calls while it lasts.

    Spent and reserved money together never exceed the budget, unless a call costs more than its
    upper estimate: it is charged in full then, and no call is allowed until the sum fits again.
    """

    def __init__(self, budget_usd: float | None = None, *, parent: Ledger | None = None) -> None:
        """Starts with nothing spent.

        Args:
            budget_usd: [USD], >= 0; None for no limit of its own.
            parent: ledger that has to allow every call too and that is charged with it; that of a
                whole collection, where this one is for one workflow.
        Raises:
            LedgerError: the budget is negative or no finite number.
        """
        self._budget_nano = None if budget_usd is None else _nano(budget_usd, math.floor)
        self._parent = parent
        self._spent_nano: defaultdict[str, int] = defaultdict(int)
        self._total_nano = self._reserved_nano = 0
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def budget_usd(self) -> float | None:
        """Its own budget [USD]; None for no limit."""
        return None if self._budget_nano is None else self._budget_nano / _NANO

    @property
    def spent_usd(self) -> float:
        """Cost of all settled calls [USD]."""
        return self._total_nano / _NANO

    @property
    def reserved_usd(self) -> float:
        """Upper estimates of all running calls [USD]."""
        return self._reserved_nano / _NANO

    @property
    def overrun_usd(self) -> float:
        """How far what is spent exceeds the budget [USD], >= 0."""
        if self._budget_nano is None:
            return 0.0
        return max(0, self._total_nano - self._budget_nano) / _NANO

    def spent_by_worker(self) -> dict[str, float]:
        """Returns the cost of all settled calls of each worker that had any [USD]."""
        return {worker: nano / _NANO for worker, nano in self._spent_nano.items()}

    def allows(self, upper_usd: float) -> bool:
        """Tells whether a call of this upper estimate fits into this budget and its parents'.

        Args:
            upper_usd: [USD], >= 0.
        Raises:
            LedgerError: the amount is negative or no finite number.
        """
        return self._fits(_nano(upper_usd, math.ceil))

    def reserve(self, worker: str, upper_usd: float) -> Reservation | None:
        """Keeps money for a call; None where the budget or a parent's does not allow it.

        Args:
            worker: name of the worker that is called.
            upper_usd: [USD], >= 0; what the call costs at most.
        Raises:
            LedgerError: the amount is negative or no finite number.
        """
        upper_nano = _nano(upper_usd, math.ceil)
        if not self._fits(upper_nano):
            return None
        for ledger in self._with_parents():
            ledger._reserved_nano += upper_nano
        return Reservation(self, worker, upper_nano)

    def refusing(self, upper_usd: float) -> Ledger | None:
        """Returns the ledger, this one or a parent, that will never allow a call.

        What is spent leaves too little of its budget, whatever running calls give back. None where
        there is no such ledger; the call is allowed then once enough of them are settled.

        Args:
            upper_usd: [USD], >= 0.
        Raises:
            LedgerError: the amount is negative or no finite number.
        """
        upper_nano = _nano(upper_usd, math.ceil)
        for ledger in self._with_parents():
            budget = ledger._budget_nano
            if budget is not None and ledger._total_nano + upper_nano > budget:
                return ledger
        return None

    async def settled(self) -> None:
        """Waits until a call is settled that is charged to the same topmost ledger."""
        ended = asyncio.get_running_loop().create_future()
        self._top._waiting.append(ended)
        await ended

    def settle(self, reservation: Reservation, cost_usd: float) -> None:
        """Gives a reservation back, and charges what the call has cost.

        Args:
            reservation: of this ledger, not settled yet.
            cost_usd: [USD], >= 0; may exceed the reservation.
        Raises:
            LedgerError: the amount is negative or no finite number (nothing is charged then), or
                the reservation is another ledger's or settled already.
        """
        _nano(cost_usd, round)
        if reservation.ledger is not self:
            raise LedgerError(f"{reservation.worker}: expected a reservation of this ledger")
        if reservation.is_settled:
            raise LedgerError(f"{reservation.worker}: this reservation is settled already")
        reservation.is_settled = True
        for ledger in self._with_parents():
            ledger._reserved_nano -= reservation.upper_nano
        self.charge(reservation.worker, cost_usd)
        waiting, self._top._waiting = self._top._waiting, []
        for ended in waiting:
            if not ended.done():  # its call may have been cancelled
                ended.set_result(None)

    def charge(self, worker: str, cost_usd: float) -> None:
        """Charges a cost that is known already, as that of an earlier, resumed run is.

        Args:
            worker: name of the worker that was called.
            cost_usd: [USD], >= 0; may exceed the budget.
        Raises:
            LedgerError: the amount is negative or no finite number.
        """
        cost_nano = _nano(cost_usd, round)
        for ledger in self._with_parents():
            ledger._spent_nano[worker] += cost_nano
            ledger._total_nano += cost_nano

    def _fits(self, upper_nano: int) -> bool:
        return all(
            ledger._budget_nano is None
            or ledger._total_nano + ledger._reserved_nano + upper_nano <= ledger._budget_nano
            for ledger in self._with_parents()
        )

    @property
    def _top(self) -> Ledger:
        *_, top = self._with_parents()
        return top

    def _with_parents(self) -> Iterator[Ledger]:
        ledger: Ledger | None = self
        while ledger is not None:
            yield ledger
            ledger = ledger._parent


def sum_usd(costs_usd: Iterable[float]) -> float:
    """Returns the sum of costs as a ledger adds them [USD].

    Costs that a ledger charged are summed without error, while the sum is below 2 million USD:
    there floats still tell nano-dollars apart.

    Args:
        costs_usd: [USD], each >= 0; rounded to nano-dollars.
    Raises:
        LedgerError: an amount is negative or no finite number.
    """
    return sum(_nano(cost_usd, round) for cost_usd in costs_usd) / _NANO


def _nano(usd: float, to_whole: Callable[[float], int]) -> int:
    """Returns an amount in whole nano-dollars; one that is whole but for its last bits stays so."""
    if not (usd >= 0 and math.isfinite(usd * _NANO)):
        raise LedgerError(f"expected an amount of USD >= 0, got {usd}")
    nearest = round(usd * _NANO)
    if math.isclose(usd * _NANO, nearest, rel_tol=1e-12, abs_tol=1e-9):
        return nearest
    return to_whole(usd * _NANO)
