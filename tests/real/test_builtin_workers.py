"""The built-in pool against the record that its figures cite, where the data is at hand."""

from __future__ import annotations

import csv
import gzip
import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from orchestai_env.datasets.builtin import builtin_pool
from orchestai_env.workers import TaskSkill, WorkerSpec

pytestmark = pytest.mark.real

POOL, TASK_TYPES = builtin_pool()
MEAN_OVER_MEDIAN = math.exp(0.5**2 / 2)

# Task type -> beginnings of source/model/task type that record something analogous.
ANALOGUES = {
    "question_answering": (r"mmlu_pro/.*/", r"routerarena/.*/MMLUPro_"),
    "code_generation": (r"aider/edit_leaderboard/.*/",),
    "data_analysis": (r"bfcl_2024_08_11/.*/",),
    "planning": (r"planbench/.*/",),
    "translation": (r"routerarena/.*/WMT19-",),
}
# What the names of a worker's records have in common, in small letters and digits.
FAMILIES = {
    "gemini-1.5-flash-002": "gemini15flash",
    "Meta-Llama-3.1-70B-Instruct": "llama3170b",
    "claude-3-5-sonnet-20240620": "claude35sonnet",
    "gpt-4o-2024-08-06": "gpt4o",
    "gemini-1.5-pro-002": "gemini15pro",
    "DeepSeek-Coder-V2-0724": "deepseekcoderv2",
    "claude-3-haiku-20240307": "claude3haiku",
    "functionary-medium-v3.1": "functionarymedium",
}

Rows = dict[str, dict[str, str]]


def skills(*, assumed: bool) -> Iterator[tuple[WorkerSpec, str, TaskSkill]]:
    for worker in POOL.workers:
        for kind, skill in worker.skills.items():
            if (skill.source == "assumed") == assumed:
                yield worker, kind, skill


def spell(worker: WorkerSpec, kind: str) -> str:
    return f"{worker.name} {kind}"


CITED = [pytest.param(w, k, s, id=spell(w, k)) for w, k, s in skills(assumed=False)]
ASSUMED = [pytest.param(w, k, id=spell(w, k)) for w, k, _ in skills(assumed=True)]
WORKERS = [pytest.param(worker, id=worker.name) for worker in POOL.workers]


@pytest.fixture(scope="module")
def rows(data_root: Path) -> Rows:
    with (data_root / "worker_calibration.csv").open(newline="") as file:
        return {"/".join(list(row.values())[:3]): row for row in csv.DictReader(file)}


def cited(source: str, rows: Rows) -> list[dict[str, str]]:
    """Returns the rows that a source names, such as "org/repo@1234567, a/b/c_* (note); more"."""
    figure = re.sub(r" \([^()]*\)$", "", source.split(", ", 1)[1].split("; ")[0])
    if figure in rows:
        return [rows[figure]]
    assert figure.endswith(("_*", "-*")), figure
    return [row for name, row in rows.items() if name.startswith(figure[:-1])]


def of_family(worker: WorkerSpec, rows: Rows) -> Rows:
    family = FAMILIES[worker.name]
    return {
        name: row
        for name, row in rows.items()
        if family in re.sub("[^a-z0-9]", "", row["model"].lower())
    }


def weighted(found: list[dict[str, str]], column: str) -> float:
    counts = np.array([float(row["n"]) for row in found])
    return float(np.average([float(row[column]) for row in found], weights=counts))


def is_analogous(name: str, kind: str) -> bool:
    return any(re.match(pattern, name) for pattern in ANALOGUES.get(kind, ()))


@pytest.mark.parametrize(("worker", "kind", "skill"), CITED)
def test_cited_success_is_that_of_the_record(
    worker: WorkerSpec, kind: str, skill: TaskSkill, rows: Rows, data_root: Path
) -> None:
    found = cited(skill.source, rows)
    recorded = weighted(found, "mean_score")
    if "scores at or above 0.5" in skill.source:
        calls = {(row["model"], row["task_type"]) for row in found}
        with gzip.open(data_root / "routerarena" / "outcomes.csv.gz", "rt", newline="") as file:
            recorded = float(
                np.mean(
                    [
                        float(row["score"]) >= 0.5
                        for row in csv.DictReader(file)
                        if (row["model"], row["task_type"]) in calls
                    ]
                )
            )

    assert skill.success == round(recorded, 3)
    assert all(is_analogous("/".join(list(row.values())[:3]), kind) for row in found)


@pytest.mark.parametrize(("worker", "kind", "skill"), CITED)
def test_cited_tokens_are_those_of_the_record(
    worker: WorkerSpec, kind: str, skill: TaskSkill, rows: Rows
) -> None:
    found = cited(skill.source, rows)
    if skill.source.endswith("; output_tokens assumed"):
        assert {row["mean_output_tokens"] for row in found} == {""}
    else:
        recorded = weighted(found, "mean_output_tokens") / MEAN_OVER_MEDIAN
        assert skill.output_tokens == round(recorded)


@pytest.mark.parametrize(("worker", "kind"), ASSUMED)
def test_assumed_figures_have_no_record(worker: WorkerSpec, kind: str, rows: Rows) -> None:
    mine = of_family(worker, rows)

    assert mine, "the worker's family is in no record: is its name right?"
    assert not [name for name in mine if is_analogous(name, kind)]


@pytest.mark.parametrize("worker", WORKERS)
def test_prices_are_those_of_the_list(worker: WorkerSpec, data_root: Path) -> None:
    with (data_root / "worker_prices.csv").open(newline="") as file:
        prices = [
            (
                float(row["input_usd_per_mtok"]),
                float(row["output_usd_per_mtok"]),
                row["price_source"].replace(": ", ", "),
            )
            for row in csv.DictReader(file)
            if row["model"] in (worker.name, f"meetkai_{worker.name}-FC")
        ]
    stated = worker.source.removeprefix("prices ").split("; speed ")[0]

    assert (worker.input_usd_per_mtok, worker.output_usd_per_mtok, stated) in prices


@pytest.mark.parametrize("worker", WORKERS)
def test_speed_is_that_of_the_record(worker: WorkerSpec, rows: Rows, data_root: Path) -> None:
    source = worker.source.split("; speed ")[1]
    model = source.rpartition("/")[2]
    if source == "assumed":
        calls_with_latency = {row["latency_n"] for row in of_family(worker, rows).values()}
        assert calls_with_latency == {"0"}
    elif "llmperf/" in source:
        with gzip.open(data_root / "llmperf" / "requests.csv.gz", "rt", newline="") as file:
            calls = [
                [float(row[column]) for column in ("ttft_ms", "latency_ms", "output_tokens")]
                for row in csv.DictReader(file)
                if f"{row['provider']}/{row['model']}" in source
            ]
        first, whole, tokens = np.array(calls).T
        assert worker.first_token_ms == round(float(np.median(first)))
        speed = np.median(1000 * tokens / (whole - first))
        assert worker.tokens_per_s == round(float(speed), 1)
    else:
        found = [
            [float(row[column]) for column in ("mean_output_tokens", "mean_latency_ms", "n")]
            for name, row in rows.items()
            if name.startswith(f"bfcl_2024_08_11/{model}/") and row["task_type"] != "*"
        ]
        assert len(found) == 12
        x, y, n = np.array(found).T
        ms_per_token, first_ms = np.polyfit(x, y, 1, w=np.sqrt(n))
        assert worker.first_token_ms == round(first_ms)
        assert worker.tokens_per_s == round(1000 / ms_per_token, 1)


def test_commits_are_those_that_were_read(data_root: Path) -> None:
    text = (data_root / "README.md").read_text(encoding="utf-8")
    read = {
        f"{repository}@{commit[:7]}"
        for repository, commit in re.findall(r"^\* (\S+) ([0-9a-f]{40})$", text, flags=re.MULTILINE)
    }
    sources = [skill.source for *_, skill in skills(assumed=False)]
    sources += [worker.source for worker in POOL.workers]
    named = {name for source in sources for name in re.findall(r"\S+@[0-9a-f]{7}(?=,)", source)}

    assert len(named) == 6
    assert named <= read
