"""Planners that learn nothing, on the public planning data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from orchestai_env.workflow import Workflow, read_workflows
from supervised.compare_planners import read_parts
from supervised.planner_comparison.given_steps import score_given_steps
from supervised.planner_comparison.scores import FIGURES, groups_of, is_chain, score_planners
from supervised.plans.baselines import MostFrequentPlanner, NearestPlanner, chain_links
from supervised.plans.files import read_plans
from supervised.plans.metrics import score_plan
from supervised.texts.encoder import MemoEncoder, TextEncoder

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def folder(data_root: Path) -> Path:
    if not (data_root / "planning").is_dir():
        pytest.skip(f"no planning data in {data_root}; set ORCHESTAI_DATA to the folder of it")
    return data_root / "planning"


@pytest.fixture(scope="module")
def worfbench(folder: Path) -> tuple[Workflow, ...]:
    return read_plans(folder / "worfbench.jsonl.gz").dataset.workflows


def edge_f1_of_chains(workflows: Sequence[Workflow]) -> tuple[float, float]:
    """Returns the mean over workflows and the F1 of all links together, subtasks given."""
    mean, right, both = [], 0, 0
    for workflow in workflows:
        size = len(workflow.subtasks)
        planned, gold = set(chain_links(size)), set(workflow.links)
        mean.append(score_plan(np.eye(size), chain_links(size), workflow.links).edge_f1)
        right, both = right + len(planned & gold), both + len(planned) + len(gold)
    return float(np.mean(mean)), 2 * right / both


def test_chain_of_the_true_subtasks_is_good_overall_and_poor_off_chains(
    worfbench: tuple[Workflow, ...],
) -> None:
    branched = [workflow for workflow in worfbench if not is_chain(workflow)]
    linked = [workflow for workflow in branched if workflow.links]

    assert (len(worfbench), len(branched), len(linked)) == (1295, 276, 146)
    assert edge_f1_of_chains(worfbench) == pytest.approx((0.851, 0.900), abs=5e-4)
    assert edge_f1_of_chains(branched)[0] == pytest.approx(0.300, abs=5e-4)
    assert edge_f1_of_chains(linked)[0] == pytest.approx(0.568, abs=5e-4)


def test_parts_of_all_sources_are_of_the_sizes_reported(folder: Path) -> None:
    files = [folder / f"{name}.jsonl.gz" for name in ("worfbench", "nestful", "sealtools")]
    parts = read_parts(files, ["sealtools"], 20)
    groups = groups_of(parts["test"])

    assert {split: len(part) for split, part in parts.items()} == {
        "train": 898,
        "validation": 199,
        "test": 466,
    }
    assert {"worfbench/lumos", "worfbench/seal_tools", "nestful/executable"} < set(groups)
    assert sum(part.sources.count("sealtools") for part in parts.values()) == 57


def test_steps_of_asynchow_are_mostly_written_in_order(folder: Path) -> None:
    """Hence planners get them shuffled; none of its workflows is a chain or without links."""
    workflows = read_workflows(folder / "asynchow.jsonl.gz")

    class NoLinks:
        def link_probabilities(self, instruction: str, texts: Sequence[str]) -> np.ndarray:
            return np.zeros((len(texts), len(texts)))

    found = score_given_steps([NoLinks()], workflows)

    assert found["written_in_order"] == pytest.approx(0.759, abs=5e-4)
    assert found["pooled"]["edge_f1"]["chain"]["mean"] == pytest.approx(0.534, abs=5e-4)
    assert found["pooled"]["edge_f1"]["independent"]["mean"] == 0.0
    assert "pooled, non-chain" not in found


def test_nearest_plan_beats_the_most_frequent_one(folder: Path) -> None:
    parts = read_parts([folder / "nestful.jsonl.gz"], [], 20)
    encoder = MemoEncoder(TextEncoder.load())
    nearest = NearestPlanner.of(parts["train"], encoder)
    frequent = MostFrequentPlanner(nearest.library, nearest.task_types)

    scores = [
        dict(
            zip(
                FIGURES,
                score_planners([planner], parts["validation"], encoder).figures.mean(axis=(0, 1)),
                strict=True,
            )
        )
        for planner in (nearest, frequent)
    ]

    assert scores[0]["node_f1"] > scores[1]["node_f1"] + 0.3
    assert scores[0]["edge_f1"] > scores[1]["edge_f1"]
    assert scores[0]["valid"] == scores[1]["valid"] == 1.0
