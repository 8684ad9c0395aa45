"""docs/training.md names only commands, options, settings, metrics and modules that exist."""

from __future__ import annotations

import ast
import csv
import importlib
import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pydantic
import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents import train_phase2
from agents.config import ExperimentSettings, load_experiment
from orchestai_env import cli
from orchestai_env.errors import OrchestAIError
from orchestai_env.planning import Plan
from orchestai_env.reward import RewardWeights
from orchestai_env.settings import parse_settings
from supervised import train_phase1
from tests.tiny_config import write_config

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
PROSE = re.sub(r"^```\w+\n.*?^```", "", TEXT, flags=re.DOTALL | re.MULTILINE)
CODE: list[str] = sorted(set(re.findall(r"`([^`\n]+)`", PROSE)))
LOG_GROUPS = ("planner", "policy", "eval", "rollout", "train", "time")
FORMATS = {"links", "subtasks"}
"""Keys of the data formats that the page explains in place."""


def blocks(kind: str) -> list[str]:
    return [body for found, body in BLOCKS if found == kind]


def options_of(module: str, capsys: pytest.CaptureFixture[str]) -> set[str]:
    with pytest.raises(SystemExit):
        found = importlib.import_module(module)
        if hasattr(found, "__path__"):  # a package is run by its __main__
            found = importlib.import_module(f"{module}.__main__")
        found.main(["--help"])
    return set(re.findall(r"--\w+", capsys.readouterr().out))


def setting_paths(section: type[pydantic.BaseModel], prefix: str = "") -> Iterator[str]:
    """Yields the path of every section and setting."""
    for name, field in section.model_fields.items():
        path = f"{prefix}{name}"
        yield path
        kinds = (field.annotation, *get_args(field.annotation))
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, pydantic.BaseModel):
                yield from setting_paths(kind, f"{path}.")


def setting_names() -> set[str]:
    """Returns every setting by its path or any end of it: `network.dropout`, `dropout`."""
    paths = [path.split(".") for path in setting_paths(ExperimentSettings)]
    return {".".join(path[k:]) for path in paths for k in range(len(path))}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of both phases, trained for a moment."""
    folder = tmp_path_factory.mktemp("runs")
    planner = {
        "kind": "learned",
        "max_subtasks": 6,
        "network": {"hidden": 16, "num_heads": 2, "max_spans": 2, "num_neighbours": 2},
    }
    anchored = {"phase2_rl": {"kl_coef": 0.1}}
    config = write_config(folder / "config", planner=planner, training=anchored)
    shared = ["--config", str(config), "--profile", "balanced", "--quiet"]
    train_phase1.main([*shared, "--output_dir", str(folder / "phase1"), "--epochs", "1"])
    start = ["--checkpoint", str(folder / "phase1" / "phase1_best.pth")]
    train_phase2.main([*shared, *start, "--output_dir", str(folder / "phase2")])
    return folder


def logged(runs: Path) -> set[str]:
    folders = {path.parent for path in runs.rglob("events.out.*")}
    return {
        tag for path in folders for tag in EventAccumulator(str(path)).Reload().Tags()["scalars"]
    }


def keys_of(value: object) -> set[str]:
    if not isinstance(value, dict):
        return set()
    return set(value).union(*(keys_of(inner) for inner in value.values()))


def test_readable_parts_are_found() -> None:
    assert len(CODE) > 50


def test_options_in_the_text_exist(capsys: pytest.CaptureFixture[str]) -> None:
    modules = ("supervised.train_phase1", "agents.train_phase2", "agents.benchmark", "agents.tune")
    known = set().union(*(options_of(module, capsys) for module in modules))
    named = {option for code in CODE for option in re.findall(r"--\w+", code)}
    assert named <= known, named - known


def test_settings_of_the_walk_through_load(tmp_path: Path) -> None:
    walk, *others = blocks("yaml")
    path = tmp_path / "mine.yaml"
    path.write_text(walk)

    config = load_experiment(path)
    for block in others:
        parse_settings(yaml.safe_load(block), ExperimentSettings, where="page")

    assert config.planner.kind == "learned"
    for profile in config.benchmark.profiles.values():
        assert (ROOT / "configs" / profile).is_file()


def test_values_of_settings_in_the_text_are_accepted() -> None:
    paths = [path.split(".") for path in setting_paths(ExperimentSettings)]
    settings = [code.split(": ") for code in CODE if re.fullmatch(r"[a-z0-9_.]+: \S+", code)]
    assert settings
    for name, text in settings:
        found = [path for path in paths if path[-name.count(".") - 1 :] == name.split(".")]
        accepted = [path for path in found if _is_accepted(path, yaml.safe_load(text))]
        assert accepted or name in RewardWeights.model_fields, name


def _is_accepted(path: list[str], value: object) -> bool:
    data: Any = value
    for key in reversed(path):
        data = {key: data}
    try:
        parse_settings(data, ExperimentSettings, where="page")
    except OrchestAIError:
        return False
    return True


def test_every_name_in_the_text_is_a_setting_or_something_that_runs_write(runs: Path) -> None:
    results = [json.loads(path.read_text()) for path in runs.rglob("result.json")]
    with next(runs.rglob("curve.csv")).open() as file:
        columns = set(next(csv.reader(file)))
    known = setting_names() | columns | set(RewardWeights.model_fields) | FORMATS
    known |= set().union(*(keys_of(result) for result in results))
    known |= {"escalation", "info", "fallback_reason", *Plan.__dataclass_fields__}
    for code in CODE:
        name = code.split(": ")[0]
        if re.fullmatch(r"[a-z_]+[a-z0-9_.]*", name) and not _is_elsewhere(name, runs):
            assert name in known, name


def _is_elsewhere(name: str, runs: Path) -> bool:
    """Tells file names, modules and values of settings, which are no names of the above."""
    if name in {"auto", "val", "train", "cuda", "cpu", "hindsight", "lookahead", "wandb"}:
        return True
    if name.startswith(("supervised.", "agents.", "orchestai_env.")):
        return importlib.util.find_spec(name) is not None
    return Path(name).suffix in {".py", ".gz", ".jsonl"} or any(runs.rglob(name))


def test_log_tags_are_written(runs: Path) -> None:
    named = {code for code in CODE if re.fullmatch(rf"({'|'.join(LOG_GROUPS)})(/\w+)+", code)}
    assert len(named) > 20
    assert named <= logged(runs), named - logged(runs)


def test_files_of_the_run_folders_are_written(runs: Path) -> None:
    named = [code for code in CODE if re.fullmatch(r"[\w/]+(\.(pth|zip|csv|json)|/)", code)]
    assert named
    for name in named:
        assert any(runs.rglob(name.rstrip("/"))), name


@pytest.mark.parametrize("source", blocks("python"))
def test_imports_of_the_snippets_exist(source: str) -> None:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module or "")
            missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
            assert not missing, (node.module, missing)


def test_commands_of_the_text_exist() -> None:
    for code in CODE:
        words = code.split()
        if words[:2] == ["python", "-m"]:
            assert importlib.util.find_spec(words[2]), code
        if words[0] == "orchestai":
            with pytest.raises(SystemExit) as caught:
                cli.main([words[1], "--help"])
            assert caught.value.code == 0, code
