"""Every wrong input ends a command in one clear line and exit code 2, without a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from agents import train_phase2, tune_tables
from agents.benchmark import __main__ as benchmark
from supervised import predict_success, train_phase1
from tests.recorded_source import edit, import_source
from tests.tiny_config import recorded_config, write_config

ROOT = Path(__file__).resolve().parents[1]
Main = Callable[[list[str]], None]
TRAININGS = pytest.mark.parametrize(
    "main", [train_phase1.main, train_phase2.main], ids=["phase1", "phase2"]
)
EXPERIMENTS = pytest.mark.parametrize(
    "main",
    [train_phase1.main, train_phase2.main, tune_tables.main, benchmark.main],
    ids=["phase1", "phase2", "tables", "benchmark"],
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An imported data set."""
    return import_source(tmp_path)


@pytest.fixture
def arguments(tmp_path: Path) -> list[object]:
    """The tiny configuration, and a run folder that is not there yet."""
    config = write_config(tmp_path / "config")
    return ["--config", config, "--output_dir", tmp_path / "run"]


@EXPERIMENTS
def test_bad_key(main: Main, tmp_path: Path, refused: Callable[..., str]) -> None:
    config = write_config(tmp_path, training={"phase2_rl": {"learning_rte": 0.1}})

    line = refused(main, "--config", config, "--output_dir", tmp_path / "run")

    assert f"{config}: training.phase2_rl.learning_rte: unknown key" in line
    assert "Did you mean 'learning_rate'" in line
    assert not (tmp_path / "run").exists()


@EXPERIMENTS
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("training: [", "expected YAML, got text that breaks"),
        ("training:\n\t- x", "expected YAML, got text that breaks"),
        ("just words", "expected a mapping of settings, got 'just words'"),
        ("", "expected a mapping of settings, got None"),
        ("seed: many", "seed: Input should be a valid integer"),
    ],
)
def test_config_that_is_none(
    main: Main, text: str, words: str, tmp_path: Path, refused: Callable[..., str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(text)

    line = refused(main, "--config", config, "--output_dir", tmp_path / "run")

    assert str(config) in line and words in line


@EXPERIMENTS
def test_missing_config(main: Main, tmp_path: Path, refused: Callable[..., str]) -> None:
    path = tmp_path / "none.yaml"

    line = refused(main, "--config", path, "--output_dir", tmp_path / "run")

    assert f"{path}: no such settings file; check the path" in line


@TRAININGS
def test_unknown_profile(main: Main, arguments: list[object], refused: Callable[..., str]) -> None:
    line = refused(main, *arguments, "--profile", "balance")

    assert "unknown profile 'balance'. Did you mean 'balanced'" in line


@TRAININGS
@pytest.mark.parametrize("value", ["missing", "empty"])
def test_missing_data(
    main: Main, value: str, tmp_path: Path, arguments: list[object], refused: Callable[..., str]
) -> None:
    data = tmp_path / value
    if value == "empty":
        data.mkdir()

    line = refused(main, *arguments, "--data", data)

    assert f"{data}/dataset.json: no imported data set there; make one with" in line


@TRAININGS
def test_cyclic_workflow(
    main: Main, folder: Path, arguments: list[object], refused: Callable[..., str]
) -> None:
    def close_a_cycle(text: str) -> str:
        lines = text.splitlines()
        workflow = json.loads(lines[2])
        workflow["links"] = [[0, 1], [1, 0]]
        return "\n".join([*lines[:2], json.dumps(workflow), *lines[3:]]) + "\n"

    edit(folder / "workflows_train.jsonl.gz", close_a_cycle)

    line = refused(main, *arguments, "--data", folder)

    assert "workflows_train.jsonl.gz:3: " in line and "cycle" in line


@TRAININGS
@pytest.mark.parametrize(
    "name", ["queries.csv.gz", "outcomes.csv.gz", "workflows_test.jsonl.gz", "dataset.json"]
)
def test_missing_file(
    main: Main,
    name: str,
    folder: Path,
    arguments: list[object],
    refused: Callable[..., str],
) -> None:
    (folder / name).unlink()

    line = refused(main, *arguments, "--data", folder)

    assert f"{folder / name}: no " in line


@TRAININGS
@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("workflows_train.jsonl.gz", lambda text: text[:-40], "workflows_train.jsonl.gz:40: "),
        ("workflows_train.jsonl.gz", lambda text: "{}\n" + text, "workflows_train.jsonl.gz:1: "),
        ("outcomes.csv.gz", lambda text: text.replace("0.02", "cheap", 1), "outcomes.csv.gz:2: "),
        ("outcomes.csv.gz", lambda text: text.replace("score", "scor", 1), "column 'score'"),
    ],
)
def test_malformed_data(
    main: Main,
    name: str,
    change: Callable[[str], str],
    words: str,
    folder: Path,
    arguments: list[object],
    refused: Callable[..., str],
) -> None:
    edit(folder / name, change)

    line = refused(main, *arguments, "--data", folder)

    assert str(folder / name) in line and words in line


@TRAININGS
@pytest.mark.parametrize("name", ["queries.csv.gz", "outcomes.csv.gz", "workflows_train.jsonl.gz"])
def test_truncated_archive(
    main: Main,
    name: str,
    folder: Path,
    arguments: list[object],
    refused: Callable[..., str],
) -> None:
    path = folder / name
    path.write_bytes(path.read_bytes()[:-30])

    line = refused(main, *arguments, "--data", folder)

    assert str(path) in line


@TRAININGS
def test_unknown_worker(
    main: Main, folder: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    config = write_config(tmp_path, worker_models=[{"name": "ace"}, {"name": "bobb"}])

    line = refused(main, "--config", config, "--output_dir", tmp_path / "run", "--data", folder)

    assert "unknown worker 'bobb'. Did you mean 'bob'? Known: ace, bob" in line
    assert "import the data again" in line


@TRAININGS
def test_workers_in_another_order(
    main: Main, folder: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    config = write_config(tmp_path, worker_models=[{"name": "bob"}, {"name": "ace"}])

    line = refused(main, "--config", config, "--output_dir", tmp_path / "run", "--data", folder)

    assert "expected the workers of" in line and "ace, bob, got bob, ace" in line


@TRAININGS
def test_source_without_data(main: Main, tmp_path: Path, refused: Callable[..., str]) -> None:
    line = refused(main, "--config", recorded_config(tmp_path), "--output_dir", tmp_path / "run")

    assert "import it with `orchestai import-recorded`, then pass its folder as --data" in line


@pytest.mark.parametrize("name", ["none.pth", "none.zip", "text.pth", "text.zip"])
def test_bad_checkpoint(
    name: str, tmp_path: Path, arguments: list[object], refused: Callable[..., str]
) -> None:
    path = tmp_path / name
    if name.startswith("text"):
        path.write_text("no weights")

    line = refused(train_phase2.main, *arguments, "--checkpoint", path)

    words = "cannot be read as a" if name.startswith("text") else "no such checkpoint"
    assert f"{path}: {words}" in line


def test_checkpoint_of_other_workers(
    folder: Path, tmp_path: Path, arguments: list[object], refused: Callable[..., str]
) -> None:
    config = write_config(tmp_path / "config", planner={"max_subtasks": 3})
    shared = ["--config", str(config), "--quiet"]
    train_phase1.main([*shared, "--output_dir", str(tmp_path / "phase1"), "--epochs", "1"])
    path = tmp_path / "phase1" / "phase1_best.pth"

    line = refused(train_phase2.main, *arguments, "--data", folder, "--checkpoint", path)

    assert f"{path}: trained for task_types" in line and "['math', 'code']" in line


@TRAININGS
def test_resume_of_nothing(
    main: Main, arguments: list[object], refused: Callable[..., str]
) -> None:
    assert "nothing to resume; start without --resume" in refused(main, *arguments, "--resume")


@TRAININGS
def test_resume_of_a_broken_checkpoint(
    main: Main, tmp_path: Path, arguments: list[object], refused: Callable[..., str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in ("phase1_last.pth", "phase2_last.zip"):
        (run / name).write_bytes(b"half")

    line = refused(main, *arguments, "--resume")

    assert str(run) in line and "cannot be read" in line


@EXPERIMENTS
def test_output_folder_that_is_a_file(
    main: Main, tmp_path: Path, arguments: list[object], refused: Callable[..., str]
) -> None:
    (tmp_path / "run").write_text("")

    assert "expected a folder, got a file" in refused(main, *arguments)


@TRAININGS
def test_negative_seed(main: Main, arguments: list[object], refused: Callable[..., str]) -> None:
    assert "--seed: expected a whole number >= 0" in refused(main, *arguments, "--seed", -1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@TRAININGS
def test_no_gpu(main: Main, arguments: list[object], refused: Callable[..., str]) -> None:
    assert "torch finds no GPU; use auto or cpu" in refused(main, *arguments, "--device", "cuda")


def test_predictor_without_data(tmp_path: Path, refused: Callable[..., str]) -> None:
    assert "no imported data set there" in refused(predict_success.main, "--data", tmp_path)


@pytest.mark.parametrize(
    "module", ["agents.train_phase2", "supervised.train_phase1", "orchestai_env.cli"]
)
def test_real_process_ends_in_one_line(module: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", module]
    if module == "orchestai_env.cli":
        command = [sys.executable, "-c", "from orchestai_env.cli import main; main()"]
        command += ["import-recorded", "--data", str(tmp_path)]
    command += ["--config", str(tmp_path / "none.yaml"), "--output_dir", str(tmp_path / "run")]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    expected = f"error: {tmp_path / 'none.yaml'}: no such settings file; check the path\n"
    assert (done.returncode, done.stderr, done.stdout) == (2, expected, "")
