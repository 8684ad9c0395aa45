"""The table and the page that a benchmark ends in."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from rich.console import Console

from agents.benchmark.plots import plot_cost_success, plot_learning_curves
from agents.benchmark.report import COLUMNS, agent_rows, console_table, write_report
from agents.config import ExperimentSettings
from agents.phase2_callbacks import CURVE_COLUMNS
from orchestai_env.datasets.recorded_settings import RecordedSourceSettings
from orchestai_env.workers import WorkerPool, WorkerSpec


def figures(mean: float, cost_usd: float = 0.0125) -> dict[str, Any]:
    return {
        "return_mean": mean,
        "success_rate": 0.875,
        "cost_usd": cost_usd,
        "latency_s": 3.25,
        "validity": 1.0,
        "calls": 4.0,
        "return_per_seed": [mean],
        "ci95": [mean - 0.5, mean + 0.25],
    }


RESULTS: dict[str, Any] = {
    "escalation": {"train": figures(4.5), "test": figures(4.0)},
    "ppo": {"train": figures(5.5), "test": figures(4.25, 0.02)},
    "paired": {"ppo": {"minus": "escalation", "difference_mean": 0.25, "ci95": [-0.125, 0.5]}},
}


def test_rows_have_train_and_test_side_by_side_and_the_paired_difference() -> None:
    reference, ppo = agent_rows(RESULTS)

    assert dict(zip(COLUMNS, ppo, strict=True)) == {
        "agent": "ppo",
        "test return": "4.25 [3.75, 4.50]",
        "train": "5.50",
        "success": "88 %",
        "USD/1000": "20.00",
        "seconds": "3.2",
        "valid": "100 %",
        "minus escalation": "+0.25 [-0.12, +0.50]",
    }
    assert reference[-1] == ""


def test_console_table_names_profile_and_agents() -> None:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(console_table("balanced", RESULTS))

    text = console.export_text()
    assert "profile balanced" in text
    assert all(name in text for name in ("escalation", "ppo", "4.25 [3.75, 4.50]"))


def report(tmp_path: Path, config: ExperimentSettings, *profiles: str) -> str:
    path = tmp_path / "report.md"
    write_report(path, dict.fromkeys(profiles, RESULTS), config)
    return path.read_text(encoding="utf-8")


def test_report_has_a_table_and_pictures_per_profile(tmp_path: Path) -> None:
    text = report(tmp_path, ExperimentSettings(), "balanced", "cost")

    for profile in ("balanced", "cost"):
        section = text.partition(f"## Profile {profile}\n")[2].partition("## Profile")[0]
        table = [line for line in section.splitlines() if line.startswith("|")]
        assert {line.count("|") for line in table} == {len(COLUMNS) + 1}
        assert len(table) == 2 + 2
        assert f"learning_curve_{profile}.png" in section
        assert f"cost_success_{profile}.png" in section
    assert "5 seeds" in text and "simulated" in text


def test_literal_profile_carries_its_warning(tmp_path: Path) -> None:
    balanced = report(tmp_path, ExperimentSettings(), "balanced")
    literal = report(tmp_path, ExperimentSettings(), "literal")

    assert "Warning" in literal and "Warning" not in balanced
    assert "failing early" in " ".join(str(console_table("literal", RESULTS).caption).split())


@pytest.mark.parametrize(
    ("latency", "words"), [("derived", "derived from tokens"), ("recorded", "is recorded")]
)
def test_report_says_where_the_data_is_from(tmp_path: Path, latency: Any, words: str) -> None:
    config = ExperimentSettings(
        source=RecordedSourceSettings(source="zeroeval", task_types=("a", "b"), latency=latency),
        worker_models=WorkerPool((WorkerSpec(name="x"),)),
    )

    text = report(tmp_path, config, "balanced")

    assert "zeroeval" in text and "a, b" in text and words in text


def write_curve(folder: Path, steps: int) -> None:
    folder.mkdir(parents=True)
    with (folder / "curve.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(CURVE_COLUMNS)
        writer.writerows([100 * k, k, k + 1, 0.5, 0.01, 3.0] for k in range(steps))


def assert_is_a_picture(path: Path) -> None:
    pixels = matplotlib.image.imread(path)
    assert min(pixels.shape[:2]) > 300
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 20


def test_plots_are_drawn(tmp_path: Path) -> None:
    for seed, steps in ((0, 4), (1, 3)):  # an interrupted seed has a shorter curve
        for kind in ("phase2", "ppo_from_scratch"):
            write_curve(tmp_path / f"seed{seed}" / kind, steps)
        tables = {"escalation_return": {"train": 2.5, "validation": 2.0}}
        (tmp_path / f"seed{seed}" / "tables.json").write_text(json.dumps(tables))

    plot_learning_curves(
        tmp_path / "curve.png", [tmp_path / "seed0", tmp_path / "seed1"], "balanced"
    )
    plot_cost_success(tmp_path / "cost.png", RESULTS, "balanced")

    assert_is_a_picture(tmp_path / "curve.png")
    assert_is_a_picture(tmp_path / "cost.png")
