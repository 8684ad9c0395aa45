"""A small made-up source of recorded outcomes, of 2 workers, 2 task types and 60 queries."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

NUM_QUERIES = 60
QUERY_HEADER = ["query_id", "task_type", "prompt"]
OUTCOME_HEADER = [
    "query_id",
    "task_type",
    "model",
    "trial",
    "score",
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "latency_ms",
]
PLANS: list[dict[str, Any]] = [
    {"subtasks": [{}, {}], "links": [[0, 1]]},
    {"subtasks": [{}, {}], "links": [[1, 0]]},
    {"subtasks": [{}, {}, {}], "links": [[0, 2], [1, 2]]},
    {"subtasks": [{}], "links": []},
]


def write_csv(path: Path, header: list[str], rows: list[list[Any]]) -> None:
    """Writes a gzipped CSV table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([header, *rows])


def write_json_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """Writes a gzipped JSONL file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def query_rows() -> list[list[Any]]:
    """Query i is code if even, math if odd; its prompt has a comma, a quote and a line break."""
    return [
        [f"toy/{i}", "math" if i % 2 else "code", f'What is "{i}",\n  {i} + {i}?']
        for i in range(NUM_QUERIES)
    ]


def outcome_rows() -> list[list[Any]]:
    """Worker ace is always right and dear, worker bob right on every third query and cheap."""
    rows: list[list[Any]] = []
    for query_id, task_type, _ in query_rows():
        i = int(query_id.split("/")[1])
        rows.append([query_id, task_type, "ace", 1, 1, 10, 100, 0.02, ""])
        rows.append([query_id, task_type, "bob", 1, 0 if i % 3 else 1, 10, 50, 0.001 * i, 400])
        rows.append([query_id, task_type, "eve", 1, 0.5, 10, 50, 0.5, 1])
    return rows
