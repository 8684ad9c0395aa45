"""Small hand-made files of every foreign format, and running `orchestai convert` on them."""

from __future__ import annotations

import argparse
import csv
import gzip
import json
from pathlib import Path
from typing import Any

from orchestai_env.datasets.importers.convert_command import add_convert_command

WORKERS = ("gpt-4-1106-preview", "mistralai/mixtral-8x7b-chat")
ROUTERBENCH_HEADER = [
    "sample_id",
    "prompt",
    "eval_name",
    *WORKERS,
    *(f"{worker}|model_response" for worker in WORKERS),
    *(f"{worker}|total_cost" for worker in WORKERS),
    "oracle_model_to_route_to",
]
NUM_QUERIES = 30


def convert(*arguments: object) -> None:
    """Runs `orchestai convert` without catching errors."""
    parser = argparse.ArgumentParser()
    add_convert_command(parser.add_subparsers(required=True))
    args = parser.parse_args(["convert", *map(str, arguments)])
    args.run(args)


def routerbench_rows() -> list[list[Any]]:
    """The first worker is always right, the second on even queries; one score is not there."""
    rows: list[list[Any]] = []
    for i in range(NUM_QUERIES):
        scores = [1.0, "" if i == 3 else float(i % 2 == 0)]
        kind = "grade-school-math" if i % 3 else "mbpp"
        prompt = f'["Question {i},\n with ""quotes"""]'
        answers = ["['an answer']", "['another']"]
        costs = [0.01 + i / 1000, 0.0003]
        rows.append([f"{kind}.dev.{i}", prompt, kind, *scores, *answers, *costs, WORKERS[0]])
    return rows


def write_csv(path: Path, header: list[str], rows: list[list[Any]]) -> Path:
    """Writes a CSV table, gzipped where the name says so."""
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def write_lines(path: Path, rows: list[Any]) -> Path:
    """Writes JSONL, gzipped where the name says so; text is taken as a raw line."""
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding="utf-8") as file:
        file.writelines((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows)
    return path


def llmrouter_rows() -> list[dict[str, Any]]:
    """Two models on ten questions; the first model answers each of the first five twice."""
    rows = []
    for i in range(10):
        for model in ("qwen2.5-7b-instruct", "llama-3.1-8b-instruct"):
            row = {
                "task_name": "gsm8k",
                "query": f"What is {i} + {i}?",
                "ground_truth": str(2 * i),
                "metric": "GSM8K",
                "choices": None,
                "task_id": None,
                "model_name": model,
                "response": f"The answer is {2 * i}.",
                "token_num": 453,
                "input_tokens": 449,
                "output_tokens": 4,
                "response_time": 1.5,
                "performance": float(i % 2),
                "embedding_id": i,
            }
            rows += [row] * (2 if i < 5 and model.startswith("qwen") else 1)
    return rows


def taskbench_row(**changes: Any) -> dict[str, Any]:
    """A chain of two nodes, as in data.json."""
    return {
        "id": "10523150",
        "seed": 1,
        "type": "chain",
        "n_tools": 2,
        "user_request": "Describe example.jpg and read it to me.",
        "task_steps": ["Step 1: Call Image-to-Text", "Step 2: Call Text-to-Speech"],
        "task_nodes": [
            {"task": "Image-to-Text", "arguments": ["example.jpg"]},
            {"task": "Text-to-Speech", "arguments": ["<node-0>"]},
        ],
        "task_links": [{"source": "Image-to-Text", "target": "Text-to-Speech"}],
    } | changes


AGBENCH_TASKS: list[dict[str, Any]] = [
    {"name": "Write", "task": "Write a file", "category": ["interface"], "depends_on": []},
    {"name": "Read", "task": "Read it", "category": ["interface"], "depends_on": ["Write"]},
    {"name": "Fix", "task": "Fix it", "category": ["code", "iterate"], "depends_on": ["Read"]},
    {"name": "Search", "task": "Search", "category": ["interface"], "depends_on": ["Write"]},
    {"name": "Gone", "task": "", "category": [], "depends_on": None},
]
AGBENCH_HEADER = ["run_id", "agent", "date", "task", "success", "run_time_ms", "cost_usd"]
AGBENCH_HEADER += ["reached_cutoff"]
AGBENCH_RUNS: list[list[Any]] = [
    ["r1", "beebot", "2023-08-17", "Write", 1, 10_000, 0.1, 0],
    ["r1", "beebot", "2023-08-17", "Read", 0, 60_030, "", 1],
    ["r2", "beebot", "2023-08-18", "Write", 0, 12_000, 0.2, 0],
    ["r3", "Turbo", "2023-08-19", "Write", 1, "", 0.3, ""],
    ["r3", "Turbo", "2023-08-19", "Gone", 1, 500, 0.3, 0],
]


def write_agbench(folder: Path, suffix: str = ".gz", **changes: Any) -> Path:
    """Writes both files and returns their folder."""
    folder.mkdir(exist_ok=True)
    write_lines(folder / f"tasks.jsonl{suffix}", changes.get("tasks", AGBENCH_TASKS))
    rows = changes.get("runs", AGBENCH_RUNS)
    write_csv(folder / f"runs.csv{suffix}", changes.get("header", AGBENCH_HEADER), rows)
    return folder


def read_csv(path: Path) -> list[dict[str, str]]:
    """Reads a gzipped table."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
