"""Logged calls as tables of recorded outcomes, which `orchestai import-recorded` reads.

import.yaml                 settings for `orchestai import-recorded --config`
logs/queries.csv.gz         query_id, task_type, prompt; a query per different (task type, text)
logs/outcomes.csv.gz        a row per call that ended; trial counts those of a query and worker
planning/logs.jsonl.gz      the workflows, one a line, whose DAG shapes an import composes with
"""

from __future__ import annotations

import collections
import contextlib
import csv
import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydantic_core
import yaml

from orchestai_env.datasets.recorded_csv import OUTCOME_COLUMNS, QUERY_COLUMNS, gzip_text
from orchestai_env.datasets.recorded_import import PLANNING
from orchestai_env.datasets.recorded_settings import RecordedSourceSettings
from orchestai_env.datasets.training_data import is_text, links_of
from orchestai_env.execution.record import Decision, ExecutionRecord

SOURCE = "logs"
"""Name of the source, as settings of an import give it."""

IMPORT_SETTINGS = "import.yaml"
QUERIES = f"{SOURCE}/queries.csv.gz"
OUTCOMES = f"{SOURCE}/outcomes.csv.gz"
WORKFLOWS = f"{PLANNING}/{SOURCE}.jsonl.gz"
FILES = (IMPORT_SETTINGS, QUERIES, OUTCOMES, WORKFLOWS)
"""What is written, in the order above."""

_BUCKETS = 64  # chosen: queries of a 5 GB log are some ten thousand a bucket
_THRESHOLD = RecordedSourceSettings.model_fields["success_threshold"].default
_MAX_FIELD = 131_072  # characters of a CSV field that Python's csv module reads by default

_IMPORT_COMMENT = """\
# Settings for `orchestai import-recorded --config FILE --data DIR`, made from an execution log.
# Costs and latencies are in the log; add the workers' prices and speeds, which agents see.
"""


def call_left_out(call: Decision, record: ExecutionRecord) -> str | None:
    """Returns why a call is no recorded outcome; None where it is one."""
    subtask = record.execution_result.subtasks[call.subtask]
    if call.called is None or call.success is None or call.start_ms is None or call.end_ms is None:
        return "call without an end"
    if call.called != call.worker:
        return "call that a fallback answered"  # its cost holds the tries of both workers
    if call.end_ms < call.start_ms:
        return "call that ends before it starts"
    if not is_text(subtask.name) or not record.planner_outputs.task_types[call.subtask]:
        return "subtask without text or task type"
    if len(subtask.name) > _MAX_FIELD:
        return "subtask text too long for a CSV field"
    return None


def query_id(task_type: str, text: str) -> str:
    """Returns the id of a query: equal for the same task type and text, in any log."""
    key = pydantic_core.to_json([task_type, text])
    return hashlib.blake2b(key, digest_size=8).hexdigest()


def score_of(call: Decision) -> float:
    """Returns the quality of a call, or 1 or 0 where that would not say whether it succeeded.

    An import takes a score of 0.5 and more for a success.
    """
    if call.quality is None or (call.quality >= _THRESHOLD) != call.success:
        return float(bool(call.success))
    return call.quality


@dataclasses.dataclass(kw_only=True)
class OutcomeCounts:
    """What the tables hold, and what they lack."""

    queries: int = 0
    calls: int = 0
    left_out: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    """Calls left out, by reason."""


class LoggedOutcomes:
    """Collects logged calls on disk, in buckets by query, and makes the tables bucket by bucket.

    So memory holds the queries of one bucket, a 64th of all. Rows are in the order of buckets, and
    within one in that of the log: equal logs give equal files.
    """

    def __init__(self, folder: Path) -> None:
        """Takes the folder to write to; it is made, and must not hold anything else."""
        self._folder = folder
        self.counts = OutcomeCounts()
        self._workers: set[str] = set()
        self._types: set[str] = set()
        self._sizes: set[int] = set()
        for file in FILES:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
        self._open = contextlib.ExitStack()
        self._buckets = [
            self._open.enter_context((folder / f"bucket-{n}").open("w+b")) for n in range(_BUCKETS)
        ]
        self._workflows = self._open.enter_context(gzip_text(folder / WORKFLOWS))

    def add(self, record: ExecutionRecord) -> None:
        """Adds the calls of an execution, and its workflow where it has one usable call."""
        ids: dict[int, str] = {}
        if not record.decisions:
            self.counts.left_out["execution without decisions"] += 1
        for call in record.decisions:
            reason = call_left_out(call, record)
            if reason is not None:
                self.counts.left_out[reason] += 1
                continue
            assert call.called is not None and call.end_ms is not None and call.start_ms is not None
            kind = record.planner_outputs.task_types[call.subtask]
            text = record.execution_result.subtasks[call.subtask].name
            query = ids.setdefault(call.subtask, query_id(kind, text))
            tokens = (call.input_tokens, call.output_tokens)
            row = (query, kind, text, call.called, score_of(call), *tokens, call.cost)
            bucket = self._buckets[int(query[:8], 16) % _BUCKETS]
            bucket.write(pydantic_core.to_json([*row, call.end_ms - call.start_ms]) + b"\n")
            self._workers.add(call.called)
            self._types.add(kind)
        if ids:
            self._sizes.add(len(record.planner_outputs.task_types))
            self._workflows.write(pydantic_core.to_json(_workflow(record, ids)).decode() + "\n")

    def close(self) -> None:
        """Closes the files, whole or not."""
        self._open.close()

    def write(self) -> None:
        """Makes the tables out of the calls; the buckets are removed."""
        with (
            gzip_text(self._folder / QUERIES) as queries,
            gzip_text(self._folder / OUTCOMES) as outcomes,
        ):
            query_table = csv.writer(queries, quoting=csv.QUOTE_ALL, lineterminator="\n")
            query_table.writerow(QUERY_COLUMNS)
            outcome_table = csv.writer(outcomes, lineterminator="\n")
            outcome_table.writerow(OUTCOME_COLUMNS)
            for bucket in self._buckets:
                trials: collections.Counter[tuple[str, str]] = collections.Counter()
                seen: set[str] = set()
                for query, kind, text, worker, *numbers in _rows(bucket):
                    if query not in seen:
                        seen.add(query)
                        query_table.writerow((query, kind, text))
                    trials[query, worker] += 1
                    trial = trials[query, worker]
                    outcome_table.writerow((query, kind, worker, trial, *numbers))
                self.counts.queries += len(seen)
                self.counts.calls += trials.total()
        self.close()
        for bucket in self._buckets:
            Path(bucket.name).unlink()
        (self._folder / IMPORT_SETTINGS).write_text(self._import_settings(), encoding="utf-8")

    def move_to(self, folder: Path) -> None:
        """Moves the written files to another folder, over those of an earlier log."""
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


def _rows(bucket: Any) -> Iterator[Any]:
    bucket.seek(0)
    return map(pydantic_core.from_json, bucket)


def _workflow(record: ExecutionRecord, query_ids: dict[int, str]) -> dict[str, Any]:
    """Returns the workflow in the JSON form of `Workflow`; subtasks without a call replay none."""
    kinds = record.planner_outputs.task_types
    return {
        "id": record.execution_id,
        "instruction": record.instruction,
        "subtasks": [
            {"name": subtask.name, "type": kinds[i]}
            | ({"query_id": query_ids[i]} if i in query_ids else {})
            for i, subtask in enumerate(record.execution_result.subtasks)
        ],
        "links": links_of(record),
    }
