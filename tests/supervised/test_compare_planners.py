"""The command that compares planners: what it writes, what it trains again, what it refuses."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from orchestai_env.errors import ConfigError, DataError
from orchestai_env.workflow import Workflow, read_workflows, write_workflows
from supervised import compare_planners as command
from supervised.compare_planners import compare_planners, read_given_steps, read_parts
from supervised.planner_comparison.report import console_tables, plot_curves
from supervised.planner_comparison.seeds import Parts, PlannerRecipe, planner_of_seed
from supervised.texts.encoder import MemoEncoder, TextEncoder
from tests.supervised.planner_problems import (
    EPOCHS,
    WordEncoder,
    dataset,
    flow,
    recipe,
    write_source,
)
from tests.supervised.tiny_encoders import save_tiny_encoder

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "default.yaml"


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [
        write_source(tmp_path / f"{source}.jsonl", source=source) for source in ("north", "south")
    ]


@pytest.fixture
def parts(files: list[Path]) -> Parts:
    return read_parts(files, ["south"], 20)


def compare(
    parts: Parts,
    output_dir: Path,
    *,
    made_by: PlannerRecipe | None = None,
    num_seeds: int = 2,
    given_steps: Sequence[Workflow] = (),
) -> Any:
    return compare_planners(
        parts,
        recipe(num_right=10) if made_by is None else made_by,
        MemoEncoder(cast(Any, WordEncoder())),
        output_dir,
        num_seeds=num_seeds,
        given_steps=given_steps,
    )


def test_workflows_without_links_are_left_out_of_the_sources_named(
    files: list[Path], parts: Parts
) -> None:
    everything = read_parts(files, [], 20)
    count = {
        source: sum(part.sources.count(source) for part in parts.values())
        for source in ("north", "south")
    }

    assert count == {"north": 60, "south": 45}
    assert sum(map(len, everything.values())) == 120
    for split, part in parts.items():
        kept = [w for w in everything[split].workflows if w.links or w.id.startswith("north")]
        assert list(part.workflows) == kept
    assert len({part.vocabulary for part in parts.values()}) == 1


def test_learned_planner_is_compared_by_source_with_the_nearest_plan(
    parts: Parts, tmp_path: Path
) -> None:
    summary = compare(parts, tmp_path / "run")

    pooled = summary["test"]["pooled"]["planners"]
    assert list(pooled) == ["learned", "nearest", "chain", "most frequent"]
    assert pooled["learned"]["minus_baseline"]["node_f1"]["low"] > 0
    assert pooled["learned"]["valid"]["mean"] == 1.0
    assert pooled["learned"]["confidence_correlation"] > 0.9
    assert {"north", "south", "north/even", "south, non-chain"} <= set(summary["test"])
    sample = summary["train"]["pooled"]
    assert sample["num_workflows"] == len(parts["train"])
    assert sample["planners"]["nearest"]["exact"]["mean"] == 1.0


def test_training_sample_is_bounded(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "TRAIN_SAMPLE", 7)

    assert compare(parts, tmp_path)["train"]["pooled"]["num_workflows"] == 7


def test_summary_report_and_curves_are_written(parts: Parts, tmp_path: Path) -> None:
    summary = compare(parts, tmp_path)

    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    report = (tmp_path / "report.md").read_text()
    assert "## Test instructions" in report and "| pooled (" in report
    assert "![every part of the loss, epoch by epoch](curves.png)" in report
    table = [line for line in report.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    (shown,) = console_tables(summary)
    assert shown.row_count == 4 * sum("/" not in group for group in summary["test"])


def test_curves_of_seeds_that_stopped_at_different_epochs_are_drawn(tmp_path: Path) -> None:
    plot_curves(tmp_path / "curves.png", [EPOCHS, EPOCHS[:1]])

    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_finished_seeds_are_not_trained_again(parts: Parts, tmp_path: Path) -> None:
    trained: list[int] = []

    first = compare(parts, tmp_path, made_by=recipe(trained), num_seeds=1)
    second = compare(parts, tmp_path, made_by=recipe(trained), num_seeds=3)

    assert trained == [0, 1, 2]
    assert first["test"]["pooled"]["planners"] == second["test"]["pooled"]["planners"]


def test_seed_whose_training_was_cut_is_trained_again(parts: Parts, tmp_path: Path) -> None:
    trained: list[int] = []
    planner_of_seed(recipe(trained), parts, 0, tmp_path)
    (tmp_path / "history_0.json").unlink()

    planner_of_seed(recipe(trained), parts, 0, tmp_path)

    assert trained == [0, 0]


def test_planner_of_other_data_is_refused(parts: Parts, tmp_path: Path) -> None:
    planner_of_seed(recipe(), parts, 0, tmp_path)
    other = {**parts, "train": parts["train"].take(range(10))}

    with pytest.raises(ConfigError, match=r"planner_0\.pth: expected a planner of these settings"):
        planner_of_seed(recipe(), other, 0, tmp_path)


def test_links_between_given_steps_are_asked_of_test_workflows(
    parts: Parts, tmp_path: Path
) -> None:
    given = write_source(tmp_path / "given.jsonl", source="given")

    workflows = read_given_steps([given], parts)
    summary = compare(parts, tmp_path / "run", given_steps=read_given_steps([], parts))

    assert 5 < len(workflows) < 40
    assert set(workflows) < set(read_workflows(given))
    assert "given_steps" not in summary


def test_given_steps_are_scored_and_shown(parts: Parts, files: list[Path], tmp_path: Path) -> None:
    summary = compare(parts, tmp_path, given_steps=read_given_steps(files[:1], parts))

    found = summary["given_steps"]
    assert found["written_in_order"] == 1.0
    assert found["pooled"]["edge_f1"]["learned"]["mean"] == 1.0
    assert found["pooled"]["edge_f1"]["learned minus chain"]["low"] > 0
    assert "## Links between given subtasks" in (tmp_path / "report.md").read_text()
    assert len(console_tables(summary)) == 2


def test_given_steps_that_were_trained_on_are_left_out(parts: Parts, tmp_path: Path) -> None:
    write_workflows(tmp_path / "seen.jsonl", parts["train"].workflows)

    with pytest.raises(DataError, match="expected at least one test workflow that no planner"):
        read_given_steps([tmp_path / "seen.jsonl"], parts)


def test_command_trains_compares_and_prints(
    files: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(command, "planner_recipe", lambda *_: recipe(num_right=10))
    monkeypatch.setattr(TextEncoder, "load", lambda *_, **__: _Loaded())
    arguments = ["--data", *map(str, files), "--output_dir", str(tmp_path / "run")]

    command.main(
        ["--config", str(CONFIG), *arguments, "--num_seeds", "2", "--linked_only", "south"]
    )

    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["num_seeds"] == 2 and sum(summary["num_workflows"].values()) == 105
    printed = capsys.readouterr().out
    assert "test instructions" in printed and "most frequent" in printed
    assert "summary.json, report.md, curves.png" in printed


class _Loaded(WordEncoder):
    def to(self, device: str) -> _Loaded:
        """Returns itself."""
        return self


def test_command_trains_real_planners_and_takes_them_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = save_tiny_encoder(tmp_path / "encoder")
    config = tmp_path / "config.yaml"
    config.write_text(
        f"planner: {{network: {{encoder: {encoder}, hidden: 8, num_layers: 1, num_heads: 2}}}}\n"
        "training: {phase1_supervised: {num_epochs: 2}}\n"
    )
    data = write_source(tmp_path / "north.jsonl", source="north", num_workflows=24)
    run = tmp_path / "run"
    arguments = ["--config", str(config), "--data", str(data), "--output_dir", str(run)]
    arguments += ["--num_seeds", "1", "--given_steps", str(data), "--device", "cpu"]

    command.main(arguments)
    first = (run / "summary.json").read_bytes()
    monkeypatch.setattr(command, "train_planner", None)
    command.main(arguments)

    history = json.loads((run / "history_0.json").read_text())["epochs"]
    assert len(history) == 2 and "dag" in history[0]["train"]
    assert (run / "summary.json").read_bytes() == first
    learned = json.loads(first)["test"]["pooled"]["planners"]["learned"]
    assert learned["valid"]["mean"] == 1.0
    assert "links between given subtasks" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "{tmp}/none.jsonl"], "none.jsonl: no such file; check the path"),
        (["--data", "{north}", "--config", "{tmp}/none.yaml"], "none.yaml: no such settings file"),
        (
            ["--data", "{north}", "--linked_only", "nort"],
            "--linked_only: unknown source 'nort'. Did you mean 'north'? Known: north",
        ),
        (["--data", "{few}"], "few.jsonl: expected at least one workflow in each split, got none"),
        (["--data", "{broken}"], "broken.jsonl:2: expected one JSON object a line"),
        (["--data", "{north}", "--given_steps", "{tmp}/none.jsonl"], "none.jsonl: no such file"),
        (["--data", "{north}", "--output_dir", "{north}"], "expected a folder, got a file"),
    ],
)
def test_command_refuses(
    files: list[Path],
    tmp_path: Path,
    refused: Callable[..., str],
    arguments: list[str],
    message: str,
) -> None:
    few, broken = tmp_path / "few.jsonl", tmp_path / "broken.jsonl"
    write_workflows(few, [flow("one text alone", ["a"])])
    broken.write_text(few.read_text() + "{\n")
    places = {"tmp": tmp_path, "north": files[0], "few": few, "broken": broken}
    base = [] if "--config" in arguments else ["--config", str(CONFIG)]
    base += [] if "--output_dir" in arguments else ["--output_dir", str(tmp_path / "run")]

    line = refused(command.main, *base, *(text.format(**places) for text in arguments))

    assert message in line


def test_file_that_breaks_off_is_refused(tmp_path: Path, refused: Callable[..., str]) -> None:
    whole = gzip.compress(json.dumps(flow("a b", ["x"]).to_dict()).encode() * 50)
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[:-9])

    line = refused(command.main, "--data", tmp_path / "cut.jsonl.gz", "--output_dir", tmp_path)

    assert "cut.jsonl.gz: the file breaks off or is damaged" in line


def test_no_seed_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command.main(["--data", "x", "--output_dir", str(tmp_path), "--num_seeds", "0"])

    assert caught.value.code == 2
    assert "--num_seeds: expected a whole number, at least 1" in capsys.readouterr().err


def test_small_training_part_still_has_baselines(tmp_path: Path) -> None:
    one = dataset(flow("a b", ["get a"]))
    parts: Parts = {"train": one, "validation": one, "test": one}

    summary = compare(parts, tmp_path, num_seeds=1)

    assert summary["test"]["pooled"]["planners"]["most frequent"]["exact"]["mean"] == 1.0
