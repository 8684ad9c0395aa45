"""Learned planners of several seeds: trained once, loaded ever after."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from agents.checkpoint import write_whole
from orchestai_env.datasets.splits import Split
from orchestai_env.errors import ConfigError
from orchestai_env.planning.planner import Planner
from supervised.planner_comparison.given_steps import LinkPlanner
from supervised.plans.dataset import WorkflowDataset

Parts = Mapping[Split, WorkflowDataset]
History = list[dict[str, dict[str, float]]]
"""Of every epoch {"train": {loss part: mean}, "val": {loss part: mean}}."""


class TrainedPlanner(Planner, LinkPlanner, Protocol):
    """A planner that can also link given subtasks."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlannerRecipe:
    """How planners are trained and read."""

    settings: Mapping[str, Any]
    """What they are trained by, as plain values; a run folder belongs to it."""
    train_fn: Callable[[Parts, int, Path], History]
    """(data, seed, checkpoint to write) -> losses of every epoch."""
    load_fn: Callable[[Path], TrainedPlanner]
    """Checkpoint -> planner."""


def planner_of_seed(
    recipe: PlannerRecipe, parts: Parts, seed: int, folder: Path
) -> tuple[TrainedPlanner, History]:
    """Trains the planner of a seed, or loads the one that the folder has of it.

    A seed is finished when its history is there, which is written last.

    Args:
        recipe: how to train.
        parts: training and validation data.
        seed: of the training.
        folder: gets planner_SEED.pth and history_SEED.json.
    Raises:
        ConfigError: the folder's planner was made with other settings or data.
        OrchestAIError: as the recipe's functions say.
    """
    checkpoint, finished = folder / f"planner_{seed}.pth", folder / f"history_{seed}.json"
    origin = _fingerprint(recipe.settings, parts)
    if finished.is_file() and checkpoint.is_file():
        stored = json.loads(finished.read_text(encoding="utf-8"))
        if stored["made_of"] != origin:
            raise ConfigError(
                f"{checkpoint}: expected a planner of these settings and data, got one of others; "
                "name another --output_dir, or remove the file to train anew"
            )
        return recipe.load_fn(checkpoint), stored["epochs"]
    history = recipe.train_fn(parts, seed, checkpoint)
    text = json.dumps({"made_of": origin, "epochs": history}, indent=1) + "\n"
    write_whole(finished, lambda partial: partial.write_text(text, encoding="utf-8"))
    return recipe.load_fn(checkpoint), history


def _fingerprint(settings: Mapping[str, Any], parts: Parts) -> str:
    """Returns a hash of what a planner is trained by and on."""
    data: list[Sequence[Any]] = [
        (plan.workflow.to_dict(), plan.workers)
        for split in ("train", "validation")
        for plan in parts[split].plans
    ]
    text = json.dumps([settings, data], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
