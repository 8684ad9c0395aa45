"""The table and the page that a benchmark ends in."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from rich.console import Console

from agents.benchmark.plots import (
    plot_cost_success,
    plot_gap_closed,
    plot_learning_curves,
    plot_makespan_success,
    plot_pick_shares,
)
from agents.benchmark.report import console_table, write_report
from agents.benchmark.report_tables import COLUMNS, agent_rows, result_table
from agents.benchmark.words import verdict
from agents.config import BenchmarkSettings, ExperimentSettings
from agents.phase2_callbacks import CURVE_COLUMNS
from orchestai_env.datasets.recorded_settings import RecordedSourceSettings
from orchestai_env.reward import RewardWeights
from orchestai_env.workers import WorkerPool, WorkerSpec


def figures(mean: float, cost_usd: float = 0.0125) -> dict[str, Any]:
    terms = {f"reward_{name}": 0.5 for name in ("success", "cost", "latency", "shaping")}
    return terms | {
        "return_mean": mean,
        "success_rate": 0.875,
        "cost_usd": cost_usd,
        "latency_s": 3.25,
        "validity": 1.0,
        "calls": 4.0,
        "masked_actions": 0.0,
        "return_per_seed": [mean],
        "return_iqm": mean,
        "iqm_ci95": [mean - 0.5, mean + 0.25],
        "ci95": [mean - 0.5, mean + 0.25],
        "gap_closed": {"mean": 0.15, "ci95": [-0.05, 0.3]},
        "probability_of_improvement": {"mean": 0.75, "ci95": [0.5, 1.0]},
        "picks": {"math": [{"calls": 4, "shares": {"ace": 0.75, "bob": 0.25}}]},
    }


def agent(train: float, test: float, cost_usd: float = 0.0125) -> dict[str, Any]:
    ends = [-0.25, 0.75]
    gap = {"mean": train - test, "ci95": ends, "difference_mean": 0.5, "difference_ci95": ends}
    return {
        "train": figures(train),
        "test": figures(test, cost_usd),
        "train_minus_test": gap,
    }


PAIRED = {"minus": "escalation", "difference_mean": 0.25, "ci95": [-0.125, 0.5]}
RESULTS: dict[str, Any] = {
    "escalation": agent(4.5, 4.0),
    "ppo": agent(5.5, 4.25, 0.02),
    "broken": {"error": "expected | whole numbers"},
    "paired": {"ppo": PAIRED | {"bootstrap_p": 0.125}},
    "head_to_head": {
        "ppo": {"escalation": {"difference_mean": 0.25, "ci95": [-0.125, 0.5]}},
    },
    "front": {},
}


def test_rows_have_train_and_test_side_by_side_and_the_paired_difference() -> None:
    reference, ppo, broken = agent_rows(RESULTS)

    assert dict(zip(COLUMNS, ppo, strict=True)) == {
        "agent": "ppo",
        "test return": "4.25 [3.75, 4.50]",
        "train": "5.50",
        "success": "88 %",
        "USD/1000": "20.00",
        "seconds": "3.2",
        "gap closed": "15 %",
        "minus escalation": "+0.25 [-0.12, +0.50]",
    }
    assert reference[-1] == ""
    assert broken[:2] == ("broken", "failed")


def test_slow_agents_are_told_what_the_reference_earns_on_their_workflows() -> None:
    oracle = {"test": figures(5.0) | {"ci95": None, "gap_closed": {"mean": -0.001, "ci95": None}}}
    paired = RESULTS["paired"] | {"oracle": {"difference_mean": 1.5, "ci95": None}}

    table = result_table(RESULTS | {"oracle": oracle, "paired": paired})

    row = next(row for row in table.rows if row[0] == "oracle")
    assert row[1] == "5.00" and row[-2:] == ("0 %", "+1.50")
    assert "oracle: on the first test workflows only" in table.note
    assert "(escalation 3.50)" in table.note


def test_console_table_names_profile_agents_and_failures() -> None:
    console = Console(width=122, record=True, file=io.StringIO())
    results = RESULTS | {"broken": {"error": "expected [/red] numbers"}}
    console.print(console_table("balanced", results))

    text = console.export_text()
    assert "profile balanced" in text
    assert all(name in text for name in ("escalation", "ppo", "4.25 [3.75, 4.50]"))
    assert "broken failed: expected [/red] numbers" in text


@pytest.mark.parametrize(
    ("ends", "words"), [((0.125, 0.5), "which is clear of 0"), ((-0.125, 0.5), "may be chance")]
)
def test_verdict_says_who_wins_and_how_surely(ends: tuple[float, float], words: str) -> None:
    paired = {"ppo": RESULTS["paired"]["ppo"] | {"ci95": list(ends)}}

    text = verdict(RESULTS | {"paired": paired})

    assert text.startswith("ppo has the highest mean return on test queries, 4.25: +0.25")
    assert words in text and "p = 0.125" in text
    assert "closes 15 % [-5, 30] of the gap" in text


def test_verdict_says_when_nothing_is_above_the_reference() -> None:
    kept = ("escalation", "paired", "head_to_head", "front")
    alone = {name: RESULTS[name] for name in kept}

    assert "no agent is above the reference, escalation" in verdict(alone)
    assert verdict({"broken": RESULTS["broken"], "paired": {}}) == "No agent could be evaluated."


def report(tmp_path: Path, config: ExperimentSettings, *profiles: str) -> str:
    path = tmp_path / "report.md"
    weights = dict.fromkeys(profiles, RewardWeights(cost_weight=200.0))
    write_report(path, dict.fromkeys(profiles, RESULTS), weights, config)
    return path.read_text(encoding="utf-8")


def test_report_has_a_table_and_pictures_per_profile(tmp_path: Path) -> None:
    for name in ("learning_curve_balanced", "learning_curve_cost", "cost_success_cost"):
        (tmp_path / f"{name}.png").touch()

    text = report(tmp_path, ExperimentSettings(), "balanced", "cost")

    for profile in ("balanced", "cost"):
        section = text.partition(f"## Profile {profile}\n")[2].partition("\n## ")[0]
        main = section.partition("### How surely")[0]
        table = [line for line in main.splitlines() if line.startswith("|")]
        assert {line.count("|") for line in table} == {len(COLUMNS) + 1}
        assert len(table) == 2 + 3
        assert f"(learning_curve_{profile}.png)" in section
        assert ("(cost_success_cost.png)" in section) is (profile == "cost")
        assert "| math | ace 75 %, bob 25 % |" in section
        assert "is 10 if it succeeds, less 200 per USD, less 0.01 per millisecond" in section
        assert "**broken failed**: expected | whole numbers" in section
    assert "Seeds 0 to 4. Returns are means" in text and "simulated" in text


def test_report_of_one_seed_says_so(tmp_path: Path) -> None:
    one = ExperimentSettings(benchmark=BenchmarkSettings(num_seeds=1))

    assert "Seed 0 alone, so that nothing here tells how seeds differ." in report(
        tmp_path, one, "balanced"
    )


def test_literal_profile_carries_its_warning(tmp_path: Path) -> None:
    balanced = report(tmp_path, ExperimentSettings(), "balanced")
    literal = report(tmp_path, ExperimentSettings(), "literal")

    assert "Warning" in literal and "Warning" not in balanced
    assert "failing early" in " ".join(str(console_table("literal", RESULTS).caption).split())


@pytest.mark.parametrize(
    ("latency", "words"),
    [
        ("derived", "derived from tokens"),
        ("recorded", "Latency is recorded."),
        ("none", "not recorded: 0 stands for it. Cost is not recorded"),
    ],
)
def test_report_says_where_the_data_is_from(tmp_path: Path, latency: Any, words: str) -> None:
    config = ExperimentSettings(
        source=RecordedSourceSettings(
            source="zeroeval",
            task_types=("a", "b"),
            latency=latency,
            cost="none" if latency == "none" else "recorded",
        ),
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
    assert min(pixels.shape[:2]) > 150
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 20


def test_learning_curves_of_all_trained_agents_are_drawn(tmp_path: Path) -> None:
    for seed, steps in ((0, 4), (1, 3)):  # an interrupted seed has a shorter curve
        for name in ("bc-ppo", "mine"):
            write_curve(tmp_path / f"seed{seed}" / name, steps)
        tables = {"escalation_return": {"train": 2.5, "validation": 2.0}}
        (tmp_path / f"seed{seed}" / "tables.json").write_text(json.dumps(tables))

    run_dirs = [tmp_path / "seed0", tmp_path / "seed1"]
    plot_learning_curves(tmp_path / "curve.png", run_dirs, "balanced")

    assert_is_a_picture(tmp_path / "curve.png")


def test_without_a_curve_there_is_no_picture(tmp_path: Path) -> None:
    plot_learning_curves(tmp_path / "curve.png", [tmp_path], "balanced")

    assert not (tmp_path / "curve.png").exists()


@pytest.mark.parametrize(
    "plot", [plot_cost_success, plot_makespan_success, plot_pick_shares, plot_gap_closed]
)
def test_results_are_drawn(tmp_path: Path, plot: Callable[..., None]) -> None:
    plot(tmp_path / "plot.png", RESULTS, "balanced")

    assert_is_a_picture(tmp_path / "plot.png")
