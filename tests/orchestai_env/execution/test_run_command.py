"""`orchestai run`: one instruction, before the user's eyes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestai_env.cli import main
from orchestai_env.execution.log.log_reading import read_log
from tests.orchestai_env.execution.openai_server import OpenAIServer, SeenRequest, completion

PLAN = {
    "subtasks": [{"name": "find it", "type": "text"}, {"name": "tell it", "type": "text"}],
    "links": [[0, 1]],
}


@pytest.fixture
def workflows(tmp_path: Path) -> Path:
    """Returns a file with one known workflow."""
    path = tmp_path / "workflows.jsonl"
    path.write_text(json.dumps({"id": "a", "instruction": "Say it", **PLAN}) + "\n")
    return path


def workers(tmp_path: Path, server: OpenAIServer) -> Path:
    """Returns a file with one worker at the server."""
    path = tmp_path / "workers.yaml"
    path.write_text(
        f"workers:\n  - {{name: w, model: m, base_url: '{server.base_url}', "
        "input_usd_per_mtok: 1.0, max_output_tokens: 100}\n"
    )
    return path


def test_schedule_and_outputs_are_shown_and_the_execution_is_logged(
    workflows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with OpenAIServer(answer=lambda request: f"answer {request.number}") as server:
        files = ["--workers", str(workers(tmp_path, server)), "--workflows", str(workflows)]
        main(["run", "Say it", *files, "--log", str(tmp_path / "logs")])
    out = capsys.readouterr().out

    assert "workflow 0: succeeded" in out
    assert "--- 0: find it\nanswer 0" in out
    assert "--- 1: tell it\nanswer 1" in out
    (record,) = read_log(tmp_path / "logs")
    assert record.success
    assert record.execution_result.outputs == {0: "answer 0", 1: "answer 1"}


def test_worker_may_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def answer(request: SeenRequest) -> str:
        return json.dumps(PLAN) if request.number == 0 else "done"

    with OpenAIServer(answer=answer) as server:
        file = str(workers(tmp_path, server))
        main(["run", "Say it", "--workers", file, "--planner", "w", "--task_types", "text"])

    assert "--- 1: tell it\ndone" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected either --workflows FILE or --planner, a worker or"),
        (["--planner", "w"], "--planner: expected --task_types"),
        (["--planner", "x", "--task_types", "text"], "unknown worker 'x'"),
    ],
)
def test_bad_arguments_are_refused(
    arguments: list[str], message: str, tmp_path: Path, refused: Any
) -> None:
    with OpenAIServer() as server:
        file = workers(tmp_path, server)
    assert message in refused(main, "run", "Say it", "--workers", file, *arguments)


def test_unknown_instruction_is_refused(workflows: Path, tmp_path: Path, refused: Any) -> None:
    with OpenAIServer() as server:
        files = ["--workers", workers(tmp_path, server), "--workflows", workflows]
    assert "is none of the 1 that it knows" in refused(main, "run", "Sing it", *files)


def test_budget_that_does_not_suffice_interrupts_the_execution(
    workflows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = tmp_path / "logs"
    with OpenAIServer() as server:
        files = ["--workers", workers(tmp_path, server), "--workflows", workflows, "--log", logs]
        with pytest.raises(SystemExit) as caught:
            main(["run", "Say it", *map(str, files), "--budget_usd", "1e-9"])
    shown = capsys.readouterr()
    assert caught.value.code == 2
    assert shown.err.startswith("error: interrupted: --budget_usd 1e-09 does not suffice for the")
    assert "workflow 0: ongoing" in shown.out
    (record,) = read_log(logs)
    assert record.interrupted and not record.success


def test_what_went_wrong_is_said_also_where_it_was_mended(
    workflows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checks = tmp_path / "checks.yaml"
    checks.write_text("default: {kind: regex, pattern: '^[0-9]+$'}\n")
    answers = iter(["", "two", "2", "3"])  # the first of a request that fails
    with OpenAIServer(script=("server",), answer=lambda request: next(answers)) as server:
        files = ["--workers", workers(tmp_path, server), "--workflows", workflows]
        main(["run", "Say it", *map(str, files), "--checks", str(checks)])
    out = capsys.readouterr().out

    assert "workflow 0: succeeded" in out
    told = out.split("what went wrong:\n")[1].split("\n\n")[0].splitlines()
    assert told == [
        "subtask 0: worker 'w': HTTP 500: it broke; then w answered",
        "subtask 0: w: expected text that matches '^[0-9]+$', got 'two'",
    ]


@pytest.mark.parametrize(
    ("limit", "latency_s", "told"),
    [
        (["--timeout_s", "0.2"], 30.0, "out of time after 0.2"),
        # A try costs up to 0.0005 USD and an observed one 0.00002: the mask allows a first call.
        (["--workflow_budget_usd", "0.00001"], 0.0, "no worker may be called any more; see --work"),
    ],
)
def test_limit_that_ends_a_workflow_is_named(
    workflows: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    limit: list[str],
    latency_s: float,
    told: str,
) -> None:
    with OpenAIServer(latency_s=latency_s) as server:
        files = ["--workers", workers(tmp_path, server), "--workflows", workflows]
        main(["run", "Say it", *map(str, files), *limit])
    out = capsys.readouterr().out

    assert "workflow 0: failed" in out
    assert told in out


def test_names_are_shown_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # draws the table though there is no terminal,
    monkeypatch.setattr("rich._console", None)  # once rich looks anew
    subtask = {"name": "close [/b] it", "type": "text"}
    path = tmp_path / "workflows.jsonl"
    path.write_text(
        json.dumps({"id": "a", "instruction": "Say it", "subtasks": [subtask], "links": []}) + "\n"
    )
    with OpenAIServer() as server:
        main(
            ["run", "Say it", "--workers", str(workers(tmp_path, server)), "--workflows", str(path)]
        )
    assert "close [/b] it" in capsys.readouterr().out.split("workflow 0")[0]


def test_cost_of_judging_is_shown_beside(
    workflows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checks = tmp_path / "checks.yaml"
    checks.write_text("default: {kind: judge, worker: w}\n")
    usage = {"prompt_tokens": 3, "completion_tokens": 1}
    with OpenAIServer(answer=lambda request: completion("1", usage)) as server:
        files = ["--workers", workers(tmp_path, server), "--workflows", workflows]
        main(["run", "Say it", *map(str, files), "--checks", str(checks)])
    assert "beside: planning 0.00000 USD, judging 0.0000060 USD" in capsys.readouterr().out


def test_redaction_keeps_texts_out_of_the_log(workflows: Path, tmp_path: Path) -> None:
    redaction = tmp_path / "redaction.yaml"
    redaction.write_text("instruction: drop\noutputs: drop\n")
    logs = tmp_path / "logs"
    with OpenAIServer(answer=lambda request: "a secret") as server:
        files = ["--workers", workers(tmp_path, server), "--workflows", workflows, "--log", logs]
        main(["run", "Say it", *map(str, files), "--redaction", str(redaction)])
    (record,) = read_log(logs)
    assert (record.instruction, record.execution_result.outputs) == ("", {})


def test_wrong_redaction_is_refused(workflows: Path, tmp_path: Path, refused: Any) -> None:
    redaction = tmp_path / "redaction.yaml"
    redaction.write_text("outputs: burn\n")
    with OpenAIServer() as server:
        files = ["--workers", workers(tmp_path, server), "--workflows", workflows]
    line = refused(
        main, "run", "Say it", *files, "--log", tmp_path / "logs", "--redaction", redaction
    )
    assert "outputs" in line and "burn" in line
