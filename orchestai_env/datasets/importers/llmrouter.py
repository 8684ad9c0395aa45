"""LLMRouter routing data: JSONL, a line for each answer of a model to a query.

Fields of ulab-uiuc/LLMRouter, `llmrouter/data/README.md`: task_name, query, model_name,
performance (0..1), and, where recorded, input_tokens, output_tokens, response_time [s];
ground_truth, metric and choices tell queries of equal text apart. Costs are not recorded.
"""

from __future__ import annotations

import collections
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from orchestai_env.datasets.importers.conversion import (
    Converted,
    ConvertSettings,
    Workspace,
    import_tables,
)
from orchestai_env.datasets.importers.fields import number, text
from orchestai_env.datasets.importers.reading import check_input, read_json_records
from orchestai_env.datasets.importers.tables import Call, Query, TableWriter
from orchestai_env.errors import DataError

IDENTITY = ("task_name", "query", "ground_truth", "metric", "choices")
"""Fields that make two lines the same query; the source says the first four, and options of
multiple choice stand beside the question."""

FAILED = ("ERROR:", "API Error")
"""How the source starts the answer of a call that failed; it writes 0 for all figures of such."""

_READ = (*IDENTITY, "model_name", "performance", "input_tokens", "output_tokens", "response_time")


class _Lines:
    """Parses lines and counts what a user has to know."""

    def __init__(self, name: str) -> None:
        self.num_failed = 0
        self.unread: collections.Counter[str] = collections.Counter()
        self._name = name

    def parse(self, fields: Mapping[str, Any]) -> tuple[Query, list[Call]]:
        """Returns the query and the one call of a line.

        Raises:
            DataError: a field is missing, mistyped or out of range.
        """
        task_type, prompt = text(fields, "task_name"), text(fields, "query")
        score = number(fields, "performance", most=1.0)
        if score is None:
            raise DataError("performance: expected a number, 0..1, got none")
        seconds = number(fields, "response_time")
        call = Call(
            worker=text(fields, "model_name"),
            score=score,
            input_tokens=number(fields, "input_tokens"),
            output_tokens=number(fields, "output_tokens"),
            latency_ms=None if seconds is None else seconds * 1000.0,
        )
        response = fields.get("response")
        if isinstance(response, str) and response.startswith(FAILED):
            self.num_failed += 1
            call = Call(worker=call.worker, score=score)
        self.unread.update(key for key in fields if key not in _READ)
        key = json.dumps([fields.get(name) for name in IDENTITY], sort_keys=True)
        digest = hashlib.sha256(key.encode()).hexdigest()[:16]
        query_id = f"{self._name}/{task_type}/{digest}"
        return Query(query_id=query_id, task_type=task_type, prompt=prompt), [call]


def import_llmrouter(settings: ConvertSettings, workspace: Workspace, converted: Converted) -> None:
    """Reads files of this form, gzipped or not; a repeated answer is a further trial."""
    for path in settings.inputs:
        check_input(path)
        converted.inputs.append(path)
    lines = _Lines(settings.name)
    with TableWriter(workspace.tables) as tables:
        for path in settings.inputs:
            records = read_json_records(path, workspace.left_out, workspace.tell)
            import_tables(records, lines.parse, tables, workspace.left_out)
        converted.take(tables)
    converted.notes.append("costs are not part of this format: left empty")
    converted.notes.append(
        "prompts are the bare questions: options of multiple choice and the frame of the task, "
        "which the models saw too, are not in them"
    )
    if lines.num_failed:
        converted.notes.append(
            f"{lines.num_failed} calls gave no answer: their tokens and latency, written as 0 in "
            "the source, are left empty"
        )
    if lines.unread:
        converted.notes.append(f"fields passed over: {', '.join(sorted(lines.unread))}")
