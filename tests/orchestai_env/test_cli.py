"""The command line: how a command ends, and `orchestai` itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestai_env.cli import main, run_command
from orchestai_env.errors import ConfigError, UnknownWorkerError

ROOT = Path(__file__).resolve().parents[2]


def test_run_command_returns_after_a_command_that_works(capsys: pytest.CaptureFixture[str]) -> None:
    done = []
    run_command(lambda: done.append(1))

    assert done == [1]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("error", [ConfigError("a.b: wrong"), UnknownWorkerError("a.b: wrong")])
def test_run_command_turns_our_errors_into_a_line_and_code_2(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        raise error

    with pytest.raises(SystemExit) as caught:
        run_command(command)
    assert caught.value.code == 2
    assert capsys.readouterr() == ("", "error: a.b: wrong\n")


def test_run_command_turns_an_interrupt_into_code_130(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as caught:
        run_command(command)
    assert caught.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_run_command_says_what_an_interrupted_command_has_saved(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def command() -> None:
        raise KeyboardInterrupt("interrupted; saved at epoch 3")

    with pytest.raises(SystemExit) as caught:
        run_command(command)
    assert caught.value.code == 130
    assert capsys.readouterr().err == "interrupted; saved at epoch 3\n"


def test_run_command_turns_an_error_of_the_system_into_one_line(
    tmp_path: Path, refused: Callable[..., str]
) -> None:
    def command(arguments: list[str]) -> None:
        (tmp_path / "gone" / "file").write_text("text")

    assert "No such file or directory: '" in refused(command)


def test_run_command_lets_our_own_mistakes_through() -> None:
    def command() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_command(command)


def test_main_missing_settings_file_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--config", tmp_path / "gone.yaml", "--data", tmp_path, "--output_dir", tmp_path]
    with pytest.raises(SystemExit) as caught:
        main(["import-recorded", *map(str, arguments)])

    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert "gone.yaml: no such settings file" in error


@pytest.mark.parametrize("arguments", [[], ["import-recorded"], ["nonsense"]])
def test_main_wrong_arguments_print_usage_and_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: orchestai" in capsys.readouterr().err


def test_process_ends_with_one_line_and_code_2() -> None:
    code = (
        "from orchestai_env.cli import run_command; from orchestai_env import OrchestAIEnv; "
        "run_command(lambda: OrchestAIEnv('nowhere'))"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert process.returncode == 2
    assert process.stdout == ""
    assert process.stderr.startswith(
        "error: dataset: nowhere/dataset.json: no imported data set there"
    )
    assert process.stderr.count("\n") == 1
