"""OutcomeTables on disk: queries and calls written as they come, trials numbered on the way."""

from __future__ import annotations

import array
import collections
import contextlib
import csv
import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

from orchestai_env.datasets.recorded_csv import OUTCOME_COLUMNS, QUERY_COLUMNS, gzip_text
from orchestai_env.errors import DataError

IS_CUT = "latency_is_cut"
"""Further column of the outcomes of a source that stopped calls at a time limit: 1 where it did, so
that the latency is that limit."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """What was asked."""

    query_id: str
    task_type: str
    prompt: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One recorded answer of one worker; None = not recorded."""

    worker: str
    score: float
    """0..1."""
    input_tokens: float | None = None
    output_tokens: float | None = None
    cost_usd: float | None = None
    latency_ms: float | None = None
    latency_is_cut: bool = False
    """Whether the source stopped the call then."""


@dataclasses.dataclass(kw_only=True, slots=True)
class WorkerCounts:
    """What was read of one worker."""

    num_calls: int = 0
    total_score: float = 0.0
    num_costs: int = 0
    num_latencies: int = 0
    num_both: int = 0
    """Calls with a cost and a latency."""
    num_cut: int = 0
    """Calls whose latency is a time limit."""

    def add(self, call: Call) -> None:
        """Counts one call."""
        has_cost, has_latency = call.cost_usd is not None, call.latency_ms is not None
        self.num_calls += 1
        self.total_score += call.score
        self.num_costs += has_cost
        self.num_latencies += has_latency
        self.num_both += has_cost and has_latency
        self.num_cut += call.latency_is_cut


class TableWriter(contextlib.ExitStack):
    """Writes queries.csv.gz and outcomes.csv.gz as `orchestai import-recorded` reads them.

    Repeated calls are numbered as trials from 1. Texts are written at once: what stays in memory is
    a few hundred bytes a query, and nothing a call.
    """

    def __init__(self, folder: Path, *, with_cut: bool = False) -> None:
        """Opens both files.

        Args:
            folder: where to; exists.
            with_cut: whether outcomes have the column `latency_is_cut`.
        """
        self.workers: collections.defaultdict[str, WorkerCounts] = collections.defaultdict(
            WorkerCounts
        )
        self.task_types: collections.Counter[str] = collections.Counter()
        self._with_cut = with_cut
        self._known: dict[str, _KnownQuery] = {}
        self._places: dict[str, int] = {}
        super().__init__()
        files = (
            self.enter_context(gzip_text(folder / name))
            for name in ("queries.csv.gz", "outcomes.csv.gz")
        )
        self._queries, self._outcomes = map(csv.writer, files)
        self._queries.writerow(QUERY_COLUMNS)
        self._outcomes.writerow((*OUTCOME_COLUMNS, IS_CUT) if with_cut else OUTCOME_COLUMNS)

    @property
    def num_queries(self) -> int:
        """Different queries so far."""
        return len(self._known)

    @property
    def num_calls(self) -> int:
        """Calls so far."""
        return sum(counts.num_calls for counts in self.workers.values())

    def add(self, query: Query, calls: Sequence[Call]) -> None:
        """Writes the query, unless it is there, and its calls.

        Raises:
            DataError: the same id came with another text or type; nothing is written then.
        """
        text = f"{query.task_type}\0{query.prompt}".encode(errors="surrogatepass")
        digest = hashlib.blake2b(text, digest_size=16).digest()
        known = self._known.get(query.query_id)
        if known is not None and known.digest != digest:
            raise DataError(
                f"query {query.query_id!r} came before with another text or type; give each query "
                "an id of its own"
            )
        if known is None:
            known = self._known[query.query_id] = _KnownQuery(digest)
            self.task_types[query.task_type] += 1
            self._queries.writerow((query.query_id, query.task_type, query.prompt))
        for call in calls:
            place = self._places.setdefault(call.worker, len(self._places))
            self._outcomes.writerow(self._row(query, call, known.next_trial(place)))

    def _row(self, query: Query, call: Call, trial: int) -> list[str | int]:
        """Counts a call and returns its line."""
        self.workers[call.worker].add(call)
        numbers = (
            call.score,
            call.input_tokens,
            call.output_tokens,
            call.cost_usd,
            call.latency_ms,
        )
        cut = [int(call.latency_is_cut)] if self._with_cut else []
        texts = map(_number_text, numbers)
        return [query.query_id, query.task_type, call.worker, trial, *texts, *cut]


class _KnownQuery:
    """A query that was written: a digest of its text, and how often each worker answered it."""

    __slots__ = ("_counts", "digest")

    def __init__(self, digest: bytes) -> None:
        self.digest = digest
        self._counts = array.array("L")

    def next_trial(self, place: int) -> int:
        """Counts an answer of the worker at this place; returns its number, from 1."""
        missing = place + 1 - len(self._counts)
        self._counts.extend([0] * missing)
        self._counts[place] += 1
        return self._counts[place]


def _number_text(value: float | None) -> str:
    """Returns the shortest text that reads back as the same number; nothing for None."""
    return "" if value is None else repr(float(value)).removesuffix(".0")
