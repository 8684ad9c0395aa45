"""Tables of recorded outcomes out of a log, and what an import makes of them."""

from __future__ import annotations

import csv
import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestai_env.cli import main
from orchestai_env.datasets.folder import load_folder
from orchestai_env.datasets.logged_outcomes import (
    FILES,
    IMPORT_SETTINGS,
    OUTCOMES,
    PLANS,
    QUERIES,
    query_id,
    query_key,
    score_of,
)
from orchestai_env.datasets.prepare import PrepareRequest, prepare
from orchestai_env.datasets.prepare_report import PrepareReport
from orchestai_env.datasets.recorded_csv import OUTCOME_COLUMNS, read_outcomes, read_queries
from orchestai_env.env import OrchestAIEnv
from orchestai_env.workflow import read_json_lines
from tests.orchestai_env.datasets.log_lines import call, execution, write_log

_ANY_TEXT = st.text(min_size=1).filter(lambda text: not text.isspace() and "subtask" not in text)


def tables_of(tmp_path: Path, *executions: dict[str, Any]) -> tuple[Path, PrepareReport]:
    """Prepares a log; returns the folder of outcomes, and the report."""
    logs = write_log(tmp_path / "logs" / "executions-2026-11-23.jsonl", executions)
    folder = tmp_path / "outcomes"
    request = PrepareRequest(logs=logs, output=tmp_path / "data.json", outcomes=folder)
    return folder, prepare(request)


def rows_of(path: Path) -> list[list[str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_tables_hold_a_query_per_text_and_a_trial_per_call(tmp_path: Path) -> None:
    calls = [
        call(0, "ace", success=False, cost=0.02),
        call(0, "ace", attempt=1, quality=0.75),
        call(1, "bob", end_ms=300.5),
    ]
    folder, report = tables_of(
        tmp_path, execution("a", calls=calls), execution("b", instruction="Another one")
    )

    first, second = (
        query_id(query_key("summary", "sum up")),
        query_id(query_key("translation", "translate")),
    )
    assert sorted(rows_of(folder / QUERIES)[1:]) == sorted(
        [[first, "summary", "sum up"], [second, "translation", "translate"]]
    )
    header, *rows = rows_of(folder / OUTCOMES)
    assert header == list(OUTCOME_COLUMNS)
    assert [row[2:] for row in rows if row[0] == first] == [
        ["ace", "1", "0.0", "10", "20", "0.02", "100.0"],
        ["ace", "2", "0.75", "10", "20", "0.01", "100.0"],
        ["ace", "3", "1.0", "10", "20", "0.01", "100.0"],
    ]
    assert [row[2:] for row in rows if row[0] == second] == [
        ["bob", "1", "1.0", "10", "20", "0.01", "200.5"],
        ["ace", "1", "1.0", "10", "20", "0.01", "100.0"],
    ]
    assert (report.queries, report.calls, report.calls_left_out) == (2, 5, {})
    assert sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    ) == sorted(FILES)


def test_tables_reproduce_byte_for_byte(tmp_path: Path) -> None:
    lines = [execution(str(i), texts=[f"do {i}", f"then {i}"]) for i in range(100)]

    folder, _ = tables_of(tmp_path, *lines)
    first = {name: (folder / name).read_bytes() for name in FILES}
    again, _ = tables_of(tmp_path, *lines)

    assert first == {name: (again / name).read_bytes() for name in FILES}


@pytest.mark.parametrize("num_moved", range(len(FILES)))
def test_tables_of_which_only_some_were_moved_cannot_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Any, num_moved: int
) -> None:
    folder, _ = tables_of(tmp_path, execution("a"))
    left = iter(range(num_moved))
    replace = Path.replace

    def broken_off(path: Path, target: Path) -> Path:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return replace(path, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", broken_off)
        tables_of(tmp_path, execution("b", instruction="Another one"))

    config, data = str(folder / IMPORT_SETTINGS), str(folder)
    arguments = ("--config", config, "--data", data, "--output_dir", str(tmp_path / "set"))
    assert "import.yaml: no such settings file" in refused(main, "import-recorded", *arguments)


@given(
    texts=st.lists(_ANY_TEXT, min_size=2, max_size=2, unique=True),
    kind=_ANY_TEXT,
    worker=_ANY_TEXT,
)
@example(texts=['say "a", b\r\n', "größer\tals;"], kind='a "b", c', worker="\t,\n")
def test_tables_are_what_the_importer_reads(texts: list[str], kind: str, worker: str) -> None:
    calls = [call(i, worker, cost=1e-7 / 3, end_ms=1e-9 + 1e3 / 3) for i in (0, 1)]
    with tempfile.TemporaryDirectory() as path:
        folder, _ = tables_of(Path(path), execution(texts=texts, types=[kind] * 2, calls=calls))

        queries = read_queries(folder / QUERIES)
        types = {name: row.task_type for name, row in queries.items()}
        rows, models = read_outcomes(folder / OUTCOMES, types, [worker])
    assert {row.prompt for row in queries.values()} == set(texts) and set(types.values()) == {kind}
    assert models == {worker} and len(rows.query) == 2
    assert set(rows.cost_usd) == {1e-7 / 3}
    assert set(rows.latency_ms) == {one["end_ms"] - one["start_ms"] for one in calls}


def test_plans_name_the_queries_that_were_called(tmp_path: Path) -> None:
    folder, _ = tables_of(
        tmp_path,
        execution("half", calls=[call(0, "ace", success=False)]),
        execution("idle", calls=[]),
    )

    ((_, plan),) = read_json_lines(folder / PLANS)
    assert plan == {
        "id": "half",
        "subtasks": [
            {"type": "summary", "query_id": query_id(query_key("summary", "sum up"))},
            {"type": "translation"},
        ],
        "links": [[0, 1]],
    }


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"success": False, "fault": "timeout"}, None),
        ({"called": None}, "call without an end"),
        ({"success": None, "quality": None, "end_ms": None}, "call without an end"),
        ({"called": "bob"}, "call that a fallback answered"),
        ({"start_ms": 500.0}, "call that ends before it starts"),
    ],
)
def test_calls_that_are_no_outcome(
    changes: dict[str, Any], reason: str | None, tmp_path: Path
) -> None:
    _, report = tables_of(tmp_path, execution(calls=[call(0, "ace", **changes)]))

    assert report.calls_left_out == ({} if reason is None else {reason: 1})
    assert report.calls == (reason is None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"texts": ["subtask 0"], "types": ["x"]}, "subtask without text or task type"),
        ({"texts": [""], "types": ["x"]}, "subtask without text or task type"),
        ({"texts": ["a"], "types": [""]}, "subtask without text or task type"),
        ({"texts": ["a" * 200_000], "types": ["x"]}, "subtask text too long for a CSV field"),
    ],
    ids=["unnamed", "redacted", "no type", "long"],
)
def test_calls_of_subtasks_that_are_no_query(
    changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    _, report = tables_of(tmp_path, execution(**changes), execution(decisions=[]))

    assert report.calls_left_out == {reason: 1, "execution without decisions": 1}
    assert (report.queries, report.calls, report.examples) == (0, 0, 2)


@pytest.mark.parametrize(
    ("success", "quality", "score"),
    [(True, 0.5, 0.5), (False, 0.4, 0.4), (True, 0.4, 1.0), (False, 0.5, 0.0), (True, None, 1.0)],
)
def test_score_never_contradicts_success(
    success: bool, quality: float | None, score: float
) -> None:
    assert score_of(success, quality) == score


def test_tables_leave_interrupted_executions_out(tmp_path: Path) -> None:
    """The second one was done again, under its id."""
    cut = [call(0, "bob"), call(1, "bob", success=None, quality=None, end_ms=None)]
    folder, report = tables_of(
        tmp_path,
        execution("none", calls=[], interrupted=True),
        execution("again", calls=cut, interrupted=True),
        execution("again"),
    )

    assert report.calls_left_out == {
        "execution without decisions": 1,
        "call of an interrupted execution": 2,
    }
    assert (report.queries, report.calls) == (2, 2)
    assert [row[2] for row in rows_of(folder / OUTCOMES)[1:]] == ["ace", "ace"]
    assert [plan["id"] for _, plan in read_json_lines(folder / PLANS)] == ["again"]


def test_log_can_be_played_after_an_import(tmp_path: Path) -> None:
    """Ace always succeeds at 0.02 USD in 100 ms, bob never at 0.001 in 50."""
    lines = []
    for i in range(40):
        calls = [
            call(k, name, attempt=0, success=name == "ace", cost=cost, end_ms=100.0 * k + ms)
            for k in (0, 1)
            for name, cost, ms in (("bob", 0.001, 50.0), ("ace", 0.02, 100.0))
        ]
        lines.append(execution(str(i), texts=[f"sum up {i}", f"translate {i}"], calls=calls))
    folder, report = tables_of(tmp_path, *lines)
    assert (report.queries, report.calls) == (80, 160)
    config, data = folder / "import.yaml", tmp_path / "dataset"

    main(["import-recorded", f"--config={config}", f"--data={folder}", f"--output_dir={data}"])

    imported = load_folder(data)
    assert imported.all_splits.latency_label == "recorded"
    assert imported.all_splits.task_types == ("summary", "translation")
    env = OrchestAIEnv(imported.dataset("test"))
    env.reset(seed=0)
    ended = False
    for action in (1, 0, 0):  # bob fails on the first subtask, then ace serves both
        assert not ended
        *_, ended, _, info = env.step(action)
    assert ended and info["is_success"]
    result = info["episode_result"]
    assert result.total_cost == pytest.approx(0.041)
    assert result.total_latency_ms == pytest.approx(250.0)


def test_report_names_what_the_tables_lack(tmp_path: Path) -> None:
    tables_of(tmp_path, execution(calls=[call(0, "ace", called="bob"), call(1, "ace")]))

    report = json.loads((tmp_path / "data.report.json").read_text())
    assert report["calls_left_out"] == {"call that a fallback answered": 1}
    assert (report["queries"], report["calls"]) == (1, 1)


def test_command_says_how_to_import_the_tables_where_they_hold_a_call(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, said = tmp_path / "outcomes", "orchestai import-recorded --config"
    for calls, is_said in ((None, True), ([], False)):
        logs = write_log(
            tmp_path / f"logs-{is_said}" / "executions-2026-11-23.jsonl", [execution(calls=calls)]
        )
        output = tmp_path / "data.json"
        main(["prepare", f"--logs={logs}", f"--output={output}", f"--outcomes={folder}"])
        assert (said in capsys.readouterr().out) == is_said
