"""`orchestai prepare`: what it writes, what it leaves out, and what it refuses."""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestai_env.datasets.prepare import PrepareRequest, newest_mask, prepare
from orchestai_env.datasets.prepare_command import add_prepare_command
from orchestai_env.datasets.splits import SPLITS, split_of
from orchestai_env.datasets.training_data import example_of
from tests.orchestai_env.datasets.log_lines import call, execution, record, write_log

DAY = "executions-2026-11-23"


def main(arguments: list[str]) -> None:
    """Runs `orchestai prepare` as the command line does."""
    parser = argparse.ArgumentParser()
    add_prepare_command(parser.add_subparsers())
    args = parser.parse_args(["prepare", *arguments])
    args.run(args)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Two files: two executions of one plan, one of another, one that failed, three of no use."""
    folder = write_log(
        tmp_path / "logs" / f"{DAY}.jsonl",
        [
            execution("new", timestamp="2026-11-23T12:00:00Z", cost=0.5),
            execution("cut", calls=[call(0, "ace")]),
            execution("other", instruction="Größe?\n"),
        ],
    )
    write_log(
        folder / f"{DAY}.001.jsonl",
        [
            execution("old", timestamp="2026-11-23T10:00:00+00:00"),
            execution("none", calls=[]),
            execution("failed", instruction="Rewrite", calls=[call(0, "ace", success=False)]),
            execution("hidden", instruction=""),
        ],
    )
    return folder


def listed(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_prepare_writes_examples_in_the_order_of_the_log(logs: Path, tmp_path: Path) -> None:
    output = tmp_path / "out" / "training_data.json"

    report = prepare(PrepareRequest(logs=logs, output=output))

    assert listed(output) == [
        json.loads(json.dumps(example_of(record(**changes))))
        for changes in (
            {"cost": 0.5},
            {"instruction": "Größe?\n"},
            {},
            {"instruction": "Rewrite", "calls": [call(0, "ace", success=False)]},
        )
    ]
    assert (report.executions, report.examples) == (7, 4)
    assert report.left_out == {"unfinished": 1, "no decisions": 1, "no instruction": 1}
    assert listed(tmp_path / "out" / "training_data.report.json") == {
        "executions": 7,
        "examples": 4,
        "left_out": {"unfinished": 1, "no decisions": 1, "no instruction": 1},
        "bad_lines": [],
    }
    assert names(tmp_path / "out") == ["training_data.json", "training_data.report.json"]


def test_prepare_keeps_the_newest_of_equal_plans(logs: Path, tmp_path: Path) -> None:
    output = tmp_path / "training_data.json"

    report = prepare(PrepareRequest(logs=logs, output=output, deduplicate=True, split=True))

    examples = listed(output)
    assert [one["instruction"] for one in examples] == [
        "Sum up and translate",
        "Größe?\n",
        "Rewrite",
    ]
    assert examples[0]["rewards"]["cost"] == -0.5
    assert report.left_out["duplicate"] == 1 and report.examples == 3
    assert report.splits is not None and report.splits.total() == 3


@pytest.mark.parametrize("deduplicate", [False, True])
def test_prepare_splits_by_instruction(deduplicate: bool, tmp_path: Path) -> None:
    texts = [f"Do {i}" for i in range(60)]
    logs = write_log(
        tmp_path / "logs" / f"{DAY}.jsonl",
        [execution(str(i), instruction=text) for i, text in enumerate([*texts, *texts])],
    )
    output = tmp_path / "training_data.json"

    report = prepare(PrepareRequest(logs=logs, output=output, deduplicate=deduplicate, split=True))

    examples = listed(output)
    assert len(examples) == (60 if deduplicate else 120)
    assert all(one["split"] == split_of(one["instruction"]) for one in examples)
    assert report.splits == {side: sum(one["split"] == side for one in examples) for side in SPLITS}


def test_prepare_writes_the_same_to_parquet(logs: Path, tmp_path: Path) -> None:
    for name in ("data.json", "data.parquet"):
        prepare(PrepareRequest(logs=logs, output=tmp_path / name, split=True, deduplicate=True))

    rows = pyarrow.parquet.read_table(tmp_path / "data.parquet").to_pylist()
    assert rows == listed(tmp_path / "data.json")


@pytest.mark.parametrize("name", ["data.json", "data.parquet"])
@pytest.mark.parametrize("deduplicate", [False, True])
def test_prepare_of_nothing_is_an_empty_list(name: str, deduplicate: bool, tmp_path: Path) -> None:
    logs = write_log(tmp_path / "logs" / f"{DAY}.jsonl", [])
    output = tmp_path / name

    report = prepare(PrepareRequest(logs=logs, output=output, deduplicate=deduplicate))

    assert report.examples == 0
    if name.endswith(".json"):
        assert listed(output) == []
    else:
        assert pyarrow.parquet.read_table(output).num_rows == 0


@pytest.mark.parametrize("deduplicate", [False, True])
def test_execution_done_again_after_an_interruption_counts_once(
    deduplicate: bool, tmp_path: Path
) -> None:
    """Of two plans one was interrupted twice and then finished; the other never was finished."""
    cut: dict[str, Any] = {"calls": [call(0, "ace", success=False)], "interrupted": True}
    logs = write_log(
        tmp_path / "logs" / f"{DAY}.jsonl",
        [
            execution("again", **cut),
            execution("again", timestamp="2026-11-23T11:00:00Z", **cut),
            execution("again", timestamp="2026-11-23T10:30:00Z", cost=0.5),
            execution("never", instruction="Another", **cut),
        ],
    )
    output = tmp_path / "data.json"

    report = prepare(PrepareRequest(logs=logs, output=output, deduplicate=deduplicate))

    assert [one["rewards"]["cost"] for one in listed(output)] == [-0.5]
    assert (report.executions, report.examples) == (4, 1)
    assert +report.left_out == {"interrupted": 3}


def test_prepare_reads_lines_of_both_versions(tmp_path: Path) -> None:
    old, new = execution("old"), execution("new", instruction="Another")
    new |= {"schema_version": 2, "interrupted": False, "planning_cost": 0.25}
    new["decisions"] = [one | {"check_cost": 0.125} for one in new["decisions"]]
    logs = write_log(tmp_path / "logs" / f"{DAY}.jsonl", [old, new])

    report = prepare(PrepareRequest(logs=logs, output=tmp_path / "data.json"))

    assert report.examples == 2 and not report.left_out
    assert [one["rewards"]["cost"] for one in listed(tmp_path / "data.json")] == [-0.02, -0.02]


def test_prepare_takes_one_file(logs: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    file = logs / f"{DAY}.jsonl"

    report = prepare(
        PrepareRequest(logs=file, output=tmp_path / "data.json"),
        on_progress=lambda num_bytes, executions: told.append((num_bytes, executions)),
    )

    assert report.examples == 2
    assert told == [(file.stat().st_size, 3)]


def test_progress_is_told_within_a_file(tmp_path: Path) -> None:
    text = "x" * 1_000_000
    logs = write_log(
        tmp_path / "logs" / f"{DAY}.jsonl", [execution(str(i), instruction=text) for i in range(10)]
    )
    told: list[tuple[int, int]] = []

    prepare(
        PrepareRequest(logs=logs, output=tmp_path / "data.json"),
        on_progress=lambda num_bytes, executions: told.append((num_bytes, executions)),
    )

    size = (logs / f"{DAY}.jsonl").stat().st_size
    assert told == [(size // 10 * count, count) for count in (4, 8, 10)]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1), st.integers(0, 3)), max_size=20))
def test_newest_mask_keeps_the_newest_and_last_of_each(rows: list[tuple[int, int, int]]) -> None:
    best: dict[tuple[int, int], int] = {}
    for row, (high, low, time) in enumerate(rows):
        if (high, low) not in best or time >= rows[best[high, low]][2]:
            best[high, low] = row
    table = np.array(rows, np.uint64).reshape(-1, 3)

    mask = newest_mask(table[:, :2], table[:, 2].astype(np.float64))

    assert np.flatnonzero(mask).tolist() == sorted(best.values())


def test_skip_bad_leaves_bad_lines_out_and_lists_them(
    logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (logs / f"{DAY}.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"schema_version": 1}\n{"torn')
    output = tmp_path / "data.json"

    main(["--logs", str(logs), "--output", str(output), "--skip-bad"])

    text, report = capsys.readouterr().out, listed(tmp_path / "data.report.json")
    assert report["executions"] == 9 and report["examples"] == 4 == len(listed(output))
    assert report["left_out"]["bad line"] == 2
    assert [line.split(": ")[0] for line in report["bad_lines"]] == [
        f"{logs / DAY}.jsonl:{number}" for number in (4, 5)
    ]
    rows = {cells[0]: cells[-1] for line in text.splitlines() if (cells := cells_of(line))}
    assert rows["read"] == "9" and rows["examples"] == "4"
    assert rows["left out: bad line"] == "2" and rows["left out: unfinished"] == "1"
    assert f"left out: {logs / DAY}.jsonl:4: " in text
    assert f"report: {tmp_path / 'data.report.json'}\n" in text


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("│") if cell.strip()]


Refused = Callable[..., str]


@pytest.fixture
def refuses(logs: Path, tmp_path: Path, refused: Refused) -> Callable[..., str]:
    """Returns a function that runs the command on the log, and checks that nothing was written."""

    def run(**options: object) -> str:
        before = sorted(tmp_path.rglob("*"))
        given = {"logs": logs, "output": tmp_path / "data.json"} | options
        words = [word for name, value in given.items() for word in (f"--{name}", value)]
        line = refused(main, *words)
        assert sorted(tmp_path.rglob("*")) == before
        return line

    return run


def test_bad_line_ends_it(logs: Path, tmp_path: Path, refuses: Refused) -> None:
    (tmp_path / "data.json").write_text("the old one")
    with (logs / f"{DAY}.jsonl").open("a", encoding="utf-8") as file:
        file.write("no JSON\n")

    for outcomes in (tmp_path, tmp_path / "new"):
        line = refuses(outcomes=outcomes)
        assert f"{logs / DAY}.jsonl:4: expected an execution" in line and "--skip-bad" in line
    refuses(output=tmp_path / "new" / "data.json")
    refuses(output=tmp_path / "data.parquet")
    assert (tmp_path / "data.json").read_text() == "the old one"


def test_missing_logs(tmp_path: Path, refuses: Refused) -> None:
    assert "none: expected an execution log" in refuses(logs=tmp_path / "none")


def test_folder_without_logs(tmp_path: Path, refuses: Refused) -> None:
    (tmp_path / "empty").mkdir()

    assert "empty: expected an execution log, got a folder w" in refuses(logs=tmp_path / "empty")


@pytest.mark.parametrize("name", ["data.jsonl", "data", "data.csv"])
def test_output_of_another_kind(name: str, tmp_path: Path, refuses: Refused) -> None:
    line = refuses(output=tmp_path / name)

    assert f"{name}: expected a file name that ends in .json or .parquet" in line


def test_output_that_is_a_folder(tmp_path: Path, refuses: Refused) -> None:
    (tmp_path / "data.json").mkdir()

    assert "data.json: expected a file to write to, got a folder" in refuses()


def test_output_in_what_is_no_folder(tmp_path: Path, refuses: Refused) -> None:
    (tmp_path / "file").write_text("mine")

    line = refuses(output=tmp_path / "file" / "data.json")

    assert "file: no files can be written there" in line and "name another folder" in line


@pytest.mark.parametrize("more", [[], ["--outcomes"], ["--outcomes", "--deduplicate"]])
def test_full_disk(more: list[str], tmp_path: Path, refused: Refused) -> None:
    texts = ["".join(random.Random(i).choices("abcdefgh", k=30_000)) for i in range(20)]
    logs = write_log(
        tmp_path / "logs" / f"{DAY}.jsonl",
        [execution(str(i), texts=[text, "then"]) for i, text in enumerate(texts)],
    )
    before, output, folder = sorted(tmp_path.rglob("*")), tmp_path / "data.json", tmp_path / "new"
    words = [word for name in more for word in (name, folder)[: 1 + (name == "--outcomes")]]
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limit[1]))
    try:
        line = refused(main, "--logs", logs, "--output", output, *words)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)

    places = f"{output} and {folder}" if more else f"{output}"
    assert f"{places}: could not be written (File too large); make room" in line
    assert sorted(tmp_path.rglob("*")) == before


def test_output_equal_to_a_log_file(tmp_path: Path, refuses: Refused) -> None:
    log = tmp_path / "log.json"
    log.write_text(json.dumps(execution()) + "\n")

    assert "log.json: this is a file of the log" in refuses(logs=log, output=log)
    again = tmp_path / "data.report.json"
    log.rename(again)
    assert "data.report.json: this is a file of the log" in refuses(logs=again)


def test_outcomes_that_are_no_folder_of_their_own(
    logs: Path, tmp_path: Path, refuses: Refused
) -> None:
    (tmp_path / "file").write_text("mine")

    assert "file: expected a folder to write to, got a file" in refuses(outcomes=tmp_path / "file")
    assert "logs: expected a folder of its own for the outcome" in refuses(outcomes=logs)
    output = tmp_path / "data.json"
    assert "data.json: expected a folder of its own" in refuses(outcomes=output)


def test_missing_packages(
    refuses: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    line = refuses(output=tmp_path / "data.parquet")

    assert "Parquet files need pyarrow" in line
    assert 'pip install "orchestai-env[data]"' in line
