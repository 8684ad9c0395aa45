"""Tally: what a collection has come to, as its log says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from orchestai_env.execution.calls.budget import Ledger, sum_usd
from orchestai_env.execution.log.log_tail import LogTail
from orchestai_env.execution.log.record import ExecutionRecord


class Tally:
    """Executions that are done and money that is spent.

    The log is the only source, so that it is the same in one process and on many machines, and
    whoever was killed before.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        """Takes a log and the ids of the executions that are to be in it; reads what is there.

        Raises:
            OSError: the log cannot be read.
        """
        self._tail, self._names = LogTail(folder), names
        self._wanted = frozenset(names)
        self._successes: dict[str, bool] = {}
        self._costs: defaultdict[str, float] = defaultdict(float)
        self._ledger = Ledger()
        self.num_interrupted = 0
        """Executions that were cut short since this was made."""
        self.catch_up()
        self.num_interrupted = 0

    @property
    def num_done(self) -> int:
        """Executions of the collection that have ended by themselves."""
        return len(self._successes)

    @property
    def num_succeeded(self) -> int:
        """Of them, those that were a success."""
        return sum(self._successes.values())

    @property
    def spent_usd(self) -> float:
        """Cost of all that was logged [USD]: calls, planning, judging; of interrupted ones too."""
        return self._ledger.spent_usd

    def missing(self) -> list[int]:
        """Returns the indices of executions that are not done."""
        return [i for i, name in enumerate(self._names) if name not in self._successes]

    def cost_usd(self, indices: Iterable[int]) -> float:
        """Returns what some executions have cost so far, interrupted ones included [USD]."""
        return sum(self._costs[self._names[index]] for index in indices)

    def catch_up(self) -> None:
        """Reads what has come to the log.

        Raises:
            OSError: it cannot be read.
        """
        for record in self._tail.records():
            self._note(record)

    def _note(self, record: ExecutionRecord) -> None:
        name, judging = record.execution_id, (call.check_cost for call in record.decisions)
        cost_usd = sum_usd([record.cost, record.planning_cost, *judging])
        self._ledger.charge(record.agent, cost_usd)
        self._costs[name] += cost_usd
        if record.interrupted:
            self.num_interrupted += 1
        elif name in self._wanted:
            self._successes[name] = record.success
