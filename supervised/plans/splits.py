"""Splits of planning data by instruction, with near-duplicates on one side."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from orchestai_env.datasets.splits import SPLITS, Split, normalised, split_of
from orchestai_env.errors import SplitLeakError, shown
from supervised.plans.dataset import WorkflowDataset
from supervised.texts.near_duplicates import duplicate_groups, near_duplicate_pairs


def plan_split_of(instruction: str) -> Split:
    """Assigns an instruction to the test set or, of the others, 80 / 20 to train and validation.

    The test set is that of `split_of` (30 % of all), so that a text is tested on wherever it is
    met. The others go to validation when the first 8 bytes of SHA-256 of "plan " and their text are
    divisible by 5. White space makes no difference.
    """
    if split_of(instruction) == "test":
        return "test"
    digest = hashlib.sha256(f"plan {normalised(instruction)}".encode()).digest()
    return "train" if int.from_bytes(digest[:8], "big") % 5 else "validation"


def split_rows(dataset: WorkflowDataset) -> dict[Split, npt.NDArray[np.int64]]:
    """Returns the rows of each split, ascending; a split may be empty.

    All near-duplicates of an instruction go where the first of their texts, in alphabetic order,
    belongs by `plan_split_of`. An instruction without near-duplicates is thus on the same side
    whatever file it came from; one with them is, when the files are split as one data set.
    """
    _, sides = groups_and_sides([workflow.instruction for workflow in dataset.workflows])
    return {split: np.flatnonzero(sides == split) for split in SPLITS}


def groups_and_sides(
    instructions: Sequence[str],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.str_]]:
    """Groups near-duplicates and assigns each group to a split, see `split_rows`.

    Returns:
        int64 (n,) number of each instruction's group, and str (n,) its split.
    """
    texts = [normalised(instruction) for instruction in instructions]
    groups = duplicate_groups(texts)
    spokesman: dict[int, str] = {}
    for group, text in zip(groups.tolist(), texts, strict=True):
        spokesman[group] = min(text, spokesman.get(group, text))
    side = {group: plan_split_of(text) for group, text in spokesman.items()}
    return groups, np.array([side[group] for group in groups.tolist()])


def check_no_leak(splits: Mapping[str, WorkflowDataset]) -> None:
    """Checks that no instruction, nor a near-duplicate of it, is in two splits.

    Raises:
        SplitLeakError: names the first such pair of workflows and their splits.
    """
    found = [(split, w) for split, part in splits.items() for w in part.workflows]
    for i, j in near_duplicate_pairs([normalised(w.instruction) for _, w in found]):
        (first, a), (second, b) = found[i], found[j]
        if first != second:
            raise SplitLeakError(
                f"expected (near-)duplicate instructions in one split, got workflow {a.id!r} in "
                f"{first} and {b.id!r} in {second}: {shown(a.instruction)} and "
                f"{shown(b.instruction)}; split them as one data set by split_rows"
            )
