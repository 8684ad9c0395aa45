"""Logged calls as tables of recorded outcomes, which `orchestai import-recorded` reads.

import.yaml                 settings for `orchestai import-recorded --config`
logs/queries.csv.gz         query_id, task_type, prompt; a query per different (task type, text)
logs/outcomes.csv.gz        a row per call that ended; trial counts those of a query and worker
planning/logs.jsonl.gz      the plans, one a line, whose DAG shapes an import composes with; their
                            texts are in the table of queries
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pydantic_core
import yaml

from orchestai_env.datasets.recorded_csv import OUTCOME_COLUMNS, QUERY_COLUMNS, gzip_text
from orchestai_env.datasets.recorded_import import PLANNING
from orchestai_env.datasets.recorded_settings import RecordedSourceSettings
from orchestai_env.datasets.training_data import is_text, links_of
from orchestai_env.execution.log.record import Decision, ExecutionRecord

SOURCE = "logs"
"""Name of the source, as settings of an import give it."""

IMPORT_SETTINGS = "import.yaml"
QUERIES = f"{SOURCE}/queries.csv.gz"
OUTCOMES = f"{SOURCE}/outcomes.csv.gz"
PLANS = f"{PLANNING}/{SOURCE}.jsonl.gz"
FILES = (QUERIES, OUTCOMES, PLANS, IMPORT_SETTINGS)
"""What is written; an import asks for the settings, which come last."""

_BUCKETS = 64  # chosen: queries of a 5 GB log are some ten thousand a bucket
_BATCH = 1 << 20  # bytes of a bucket that become rows at once; chosen
_THRESHOLD = RecordedSourceSettings.model_fields["success_threshold"].default
_MAX_FIELD = 131_072  # characters of a CSV field that Python's csv module reads by default

_IMPORT_COMMENT = """\
# Settings for `orchestai import-recorded --config FILE --data DIR`, made from an execution log.
# Costs and latencies are in the log; add the workers' prices and speeds, which agents see.
"""


def query_left_out(task_type: str, text: str) -> str | None:
    """Returns why a subtask is no query; None where it is one."""
    if not task_type or not is_text(text):
        return "subtask without text or task type"
    if len(text) > _MAX_FIELD:
        return "subtask text too long for a CSV field"
    return None


def query_key(task_type: str, text: str) -> bytes:
    """Returns a query as JSON: one line, without tabs."""
    return pydantic_core.to_json([task_type, text])


def query_id(key: bytes) -> str:
    """Returns the id of a query: equal for the same task type and text, in any log."""
    return hashlib.blake2b(key, digest_size=8).hexdigest()


def score_of(success: bool, quality: float | None) -> float:
    """Returns the quality of a call, or 1 or 0 where that would not say whether it succeeded.

    An import takes a score of 0.5 and more for a success.
    """
    if quality is None or (quality >= _THRESHOLD) != success:
        return float(success)
    return quality


@dataclasses.dataclass(kw_only=True)
class OutcomeCounts:
    """What the tables hold, and what they lack."""

    queries: int = 0
    calls: int = 0
    left_out: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    """Calls left out, by reason."""


class _Query(NamedTuple):
    """A query, and where its calls are kept."""

    id: str
    key: bytes
    """See `query_key`."""
    bucket: BinaryIO


_KnownQuery = tuple[str, dict[str, int]]
"""Of a query in the table: how its outcomes' rows begin, and the trials of each worker so far."""


class LoggedOutcomes:
    """Collects logged calls on disk, in buckets by query, and makes the tables bucket by bucket.

    So memory holds the ids of the queries of one bucket, a 64th of all. Rows are in the order of
    buckets, and within one in that of the log: equal logs give equal files.
    """

    def __init__(self, folder: Path) -> None:
        """Takes the folder to write to; it is made, and must not hold anything else."""
        self._folder = folder
        self.counts = OutcomeCounts()
        self._workers: dict[str, int] = {}  # to their numbers in the buckets
        self._types: set[str] = set()
        self._sizes: set[int] = set()
        for file in FILES:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as opened:
            self._buckets = [
                opened.enter_context((folder / f"bucket-{n}").open("w+b")) for n in range(_BUCKETS)
            ]
            self._plans = opened.enter_context(gzip_text(folder / PLANS))
            self._open = opened.pop_all()

    def add(self, record: ExecutionRecord) -> None:
        """Adds the calls of an execution, and its plan where it has one usable call."""
        if not record.decisions:
            self.counts.left_out["execution without decisions"] += 1
        elif record.interrupted:  # the longest calls are those that were cut off
            self.counts.left_out["call of an interrupted execution"] += len(record.decisions)
            return
        queries: dict[int, _Query] = {}
        for call in record.decisions:
            reason = self._add_call(call, record, queries)
            if reason is not None:
                self.counts.left_out[reason] += 1
        if queries:
            self._sizes.add(len(record.planner_outputs.task_types))
            self._plans.write(pydantic_core.to_json(_plan(record, queries)).decode() + "\n")

    def _add_call(
        self, call: Decision, record: ExecutionRecord, queries: dict[int, _Query]
    ) -> str | None:
        """Adds a call and its query, or returns why it is no recorded outcome.

        Args:
            call: one of the record.
            record: an execution.
            queries: those of its subtasks, as far as they are known; grows.
        """
        # Each field is read once, as a pydantic model takes twice the time of a plain object.
        subtask, called, success = call.subtask, call.called, call.success
        start_ms, end_ms = call.start_ms, call.end_ms
        if called is None or success is None or start_ms is None or end_ms is None:
            return "call without an end"
        if called != call.worker:
            return "call that a fallback answered"  # its cost holds the tries of both workers
        if end_ms < start_ms:
            return "call that ends before it starts"
        if subtask not in queries:
            kind = record.planner_outputs.task_types[subtask]
            text = record.execution_result.subtasks[subtask].name
            reason = query_left_out(kind, text)
            if reason is not None:
                return reason
            queries[subtask] = self._query(kind, text)
        query, worker_idx = queries[subtask], self._workers.setdefault(called, len(self._workers))
        score = score_of(success, call.quality)
        tokens = (call.input_tokens, call.output_tokens)
        numbers = pydantic_core.to_json((score, *tokens, call.cost, end_ms - start_ms))
        parts = (query.key, query.id.encode(), worker_idx, numbers[1:-1])
        query.bucket.write(b"%b\t%b\t%d\t%b\n" % parts)
        return None

    def _query(self, kind: str, text: str) -> _Query:
        key = query_key(kind, text)
        name = query_id(key)
        self._types.add(kind)
        return _Query(name, key, self._buckets[int(name[:2], 16) % _BUCKETS])

    def close(self) -> None:
        """Closes the files, whole or not."""
        self._open.close()

    def write(self) -> None:
        """Makes the tables out of the calls; the buckets are removed."""
        with (
            gzip_text(self._folder / QUERIES) as queries,
            gzip_text(self._folder / OUTCOMES) as outcomes,
        ):
            queries.write(",".join(QUERY_COLUMNS) + "\n")
            outcomes.write(",".join(OUTCOME_COLUMNS) + "\n")
            for bucket in self._buckets:
                bucket.seek(0)
                known: dict[str, _KnownQuery] = {}
                while lines := bucket.readlines(_BATCH):
                    query_rows, outcome_rows = self._rows(lines, known)
                    queries.write("".join(query_rows))
                    outcomes.write("".join(outcome_rows))
                    self.counts.calls += len(outcome_rows)
                self.counts.queries += len(known)
        self.close()
        for bucket in self._buckets:
            Path(bucket.name).unlink()
        (self._folder / IMPORT_SETTINGS).write_text(self._import_settings(), encoding="utf-8")

    def _rows(
        self, lines: Iterable[bytes], known: dict[str, _KnownQuery]
    ) -> tuple[list[str], list[str]]:
        """Returns rows of both tables, queries first.

        Args:
            lines: of a bucket.
            known: by id the queries that earlier lines of it had; grows.
        """
        workers = list(map(_field, self._workers))
        queries: list[str] = []
        outcomes: list[str] = []
        for line in lines:
            key, query, worker_idx, numbers = line.decode().split("\t")
            if query not in known:
                kind, text = map(_field, pydantic_core.from_json(key))
                queries.append(f"{query},{kind},{text}\n")
                known[query] = (f"{query},{kind}", {})
            start, trials = known[query]
            worker = workers[int(worker_idx)]
            trials[worker] = trial = trials.get(worker, 0) + 1
            outcomes.append(f"{start},{worker},{trial},{numbers}")
        return queries, outcomes

    def move_to(self, folder: Path) -> None:
        """Moves the written files to another folder, over those of an earlier log.

        Where that is broken off, the folder has no settings, so that nobody imports a mixture.
        """
        (folder / IMPORT_SETTINGS).unlink(missing_ok=True)
        for file in FILES:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (self._folder / file).replace(folder / file)

    def _import_settings(self) -> str:
        """Returns settings that import these tables."""
        source = {
            "source": SOURCE,
            "task_types": sorted(self._types),
            "min_subtasks": min(self._sizes, default=1),
            "max_subtasks": max(self._sizes, default=1),
        }
        workers = [{"name": name} for name in sorted(self._workers)]
        settings = {"source": source, "worker_models": workers}
        return _IMPORT_COMMENT + yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)


def _field(text: str) -> str:
    """Returns a text as a field of a CSV table."""
    return '"' + text.replace('"', '""') + '"'


def _plan(record: ExecutionRecord, queries: Mapping[int, _Query]) -> dict[str, Any]:
    """Returns types and links of the subtasks, and the queries of those with a usable call."""
    subtasks = [{"type": kind} for kind in record.planner_outputs.task_types]
    for i, query in queries.items():
        subtasks[i]["query_id"] = query.id
    return {"id": record.execution_id, "subtasks": subtasks, "links": links_of(record)}
