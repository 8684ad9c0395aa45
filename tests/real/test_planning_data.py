"""The public planning data: counts, sides, duplicates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from orchestai_env.datasets.splits import normalised
from orchestai_env.errors import DataError
from supervised.plans.dataset import WorkflowDataset
from supervised.plans.files import read_plans
from supervised.plans.splits import check_no_leak, plan_split_of, split_rows
from supervised.texts.near_duplicates import duplicate_groups

pytestmark = pytest.mark.real

NUM_WORKFLOWS = {"worfbench": 1295, "nestful": 211, "sealtools": 1397, "asynchow": 1085}


@pytest.fixture(scope="module")
def folder(data_root: Path) -> Path:
    if not (data_root / "planning").is_dir():
        pytest.skip(f"no planning data in {data_root}; set ORCHESTAI_DATA to the folder of it")
    return data_root / "planning"


@pytest.fixture(scope="module")
def everything(folder: Path) -> WorkflowDataset:
    return read_plans(*(folder / f"{name}.jsonl.gz" for name in NUM_WORKFLOWS)).dataset


@pytest.fixture(scope="module")
def parts(everything: WorkflowDataset) -> dict[str, WorkflowDataset]:
    return {split: everything.take(rows) for split, rows in split_rows(everything).items()}


def test_every_workflow_of_every_source_is_read(everything: WorkflowDataset) -> None:
    found, counts = np.unique(everything.sources, return_counts=True)
    linked = [w for w in everything.plans if w.source == "sealtools" and w.workflow.links]

    assert dict(zip(found.tolist(), counts.tolist(), strict=True)) == NUM_WORKFLOWS
    assert len(linked) == 57
    assert max(len(w.subtasks) for w in everything.workflows) == 17


def test_sides_are_of_the_sizes_that_the_hash_promises(parts: dict[str, WorkflowDataset]) -> None:
    sizes = {split: len(part) for split, part in parts.items()}

    assert sizes["test"] / sum(sizes.values()) == pytest.approx(0.3, abs=0.02)
    share = sizes["validation"] / (sizes["train"] + sizes["validation"])
    assert share == pytest.approx(0.2, abs=0.02)


def test_no_instruction_nor_near_duplicate_is_on_two_sides(
    parts: dict[str, WorkflowDataset],
) -> None:
    texts = {s: {normalised(w.instruction) for w in p.workflows} for s, p in parts.items()}

    assert not texts["train"] & texts["validation"]
    assert not (texts["train"] | texts["validation"]) & texts["test"]
    check_no_leak(parts)


def test_seal_tools_instructions_of_both_sources_are_on_one_side(
    everything: WorkflowDataset, parts: dict[str, WorkflowDataset]
) -> None:
    """139 of 141 of worfbench recur in sealtools word for word."""
    side = {w.id: split for split, part in parts.items() for w in part.workflows}
    of_text = {
        normalised(p.workflow.instruction): side[p.workflow.id]
        for p in everything.plans
        if p.source == "sealtools"
    }
    twins = [w for w in everything.workflows if w.id.startswith("worfbench/seal_tools")]
    shared = [w for w in twins if normalised(w.instruction) in of_text]

    assert (len(twins), len(shared)) == (141, 139)
    assert all(side[w.id] == of_text[normalised(w.instruction)] for w in shared)


def test_near_duplicates_do_not_chain_through_the_data(everything: WorkflowDataset) -> None:
    """Rooms of alfworld are long and alike; their tasks differ, and so they stay apart."""
    texts = sorted({normalised(w.instruction) for w in everything.workflows})
    sizes = np.bincount(duplicate_groups(texts))

    assert sizes.max() <= 10
    assert sizes[sizes > 1].sum() < 0.05 * len(texts)


def test_few_rows_are_moved_by_their_near_duplicates(parts: dict[str, WorkflowDataset]) -> None:
    own = [
        plan_split_of(w.instruction) == split
        for split, part in parts.items()
        for w in part.workflows
    ]
    assert np.mean(own) > 0.98


def test_file_of_other_content_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match=r"taskbench_requests\.jsonl\.gz:1: expected training data"):
        read_plans(folder / "taskbench_requests.jsonl.gz")
