"""What the environments make of their arguments; a wrong one ends in one line that names it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestai_env.dataset import Dataset
from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.datasets.folder import load_dataset
from orchestai_env.datasets.splits import SPLITS
from orchestai_env.errors import ConfigError, OrchestAIError, shown, unknown_name
from orchestai_env.planning.planned import check_embeddings, planned_dataset
from orchestai_env.planning.planner import Planner, PlanSummaries, summaries
from orchestai_env.reward import RewardWeights
from orchestai_env.rules import EpisodeRules
from orchestai_env.settings import load_yaml, parse_settings

_NAMED = ("dataset", "split", "planner", "reward_weights", "observation", "render_mode")
"""Arguments of the environments beside the rules."""


def resolve_dataset(dataset: Dataset | str | Path | None, split: object) -> Dataset:
    """Returns the data set itself, or a split of the one in a folder or of the built-in one.

    Args:
        dataset: None = the built-in one.
        split: None = "train"; a Dataset is taken as it is and has none.
    Raises:
        ConfigError: an unknown split, a split of a Dataset, or nothing that could be a data set.
        OrchestAIError: the folder cannot be read.
    """
    if isinstance(dataset, Dataset):
        if split is not None:
            raise ConfigError(
                f"split: a Dataset is taken as it is, so leave split out; got {shown(split)} "
                f"beside the data set {dataset.name!r}"
            )
        return dataset
    split = "train" if split is None else split
    if not isinstance(split, str) or split not in SPLITS:
        raise ConfigError(unknown_name("split", split, SPLITS))
    if dataset is None:
        return builtin_dataset(split)
    if not isinstance(dataset, (str, Path)):
        raise ConfigError(f"dataset: expected a Dataset, a folder or None, got {shown(dataset)}")
    with _naming("dataset"):
        return load_dataset(Path(dataset), split)


def resolve_plans(
    dataset: Dataset, planner: Planner | None, observation: Sequence[str] | None
) -> tuple[Dataset, PlanSummaries | None]:
    """Returns what is played: the data set itself or, with a planner, its plans and their summary.

    Raises:
        ConfigError: no planner, one that does not go with the data set, or observation keys that
            its plans cannot fill.
        PlanningError: an instruction cannot be planned, or its plan is no good.
    """
    if planner is None:
        return dataset, None
    planned, plans = planned_dataset(dataset, planner)
    check_embeddings(planned, planner, observation)
    return planned, summaries(plans)


def resolve_weights(
    weights: RewardWeights | Mapping[str, Any] | str | Path | None,
) -> RewardWeights:
    """Returns the weights themselves, or those of a mapping or a YAML profile.

    Raises:
        ConfigError: an unknown or mistyped key, or nothing that could be weights.
        MissingFileError: there is no such profile.
    """
    if weights is None:
        return RewardWeights()
    if isinstance(weights, RewardWeights):
        return weights
    if isinstance(weights, Mapping):
        return parse_settings(weights, RewardWeights, where="reward_weights")
    if not isinstance(weights, (str, Path)):
        raise ConfigError(
            "reward_weights: expected RewardWeights, a mapping of its fields or the path of a YAML "
            f"profile, got {shown(weights)}"
        )
    with _naming("reward_weights"):
        return load_yaml(weights, RewardWeights)


def resolve_rules(rules: Mapping[str, Any]) -> EpisodeRules:
    """Returns the rules that the remaining keyword arguments of an environment set.

    Raises:
        ConfigError: an unknown argument, or a value that is mistyped or out of range.
    """
    known = EpisodeRules.model_fields
    for name in rules:
        if name not in known:
            raise ConfigError(unknown_name("argument", name, [*_NAMED, *known]))
    return parse_settings(rules, EpisodeRules, where="OrchestAI")


def checked_seed(seed: Any) -> int | None:
    """Returns the seed of one row.

    Raises:
        ConfigError: it is neither None nor a whole number >= 0.
    """
    if seed is None:
        return None
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ConfigError(f"seed: expected a whole number >= 0 or None, got {shown(seed)}")
    return int(seed)


def checked_seeds(seed: Any, n: int) -> list[int | None]:
    """Returns the seeds of n rows: their own of a sequence, or seed, seed + 1 and so on.

    Raises:
        ConfigError: another number of seeds than rows, or one that is no seed.
    """
    if isinstance(seed, np.ndarray) and seed.ndim == 1:
        seed = list(seed)
    if isinstance(seed, Sequence) and not isinstance(seed, (str, bytes)):
        if len(seed) != n:
            raise ConfigError(f"seed: expected {n} seeds, got {len(seed)}")
        return [checked_seed(one) for one in seed]
    first = checked_seed(seed)
    return [None if first is None else first + r for r in range(n)]


def workflow_option(options: Mapping[str, Any] | None, n: int) -> npt.NDArray[np.int64] | None:
    """Reads the option "workflow": one index, or one per row.

    Raises:
        ConfigError: an unknown option, or indexes of another shape.
    """
    if options is None:
        return None
    if not isinstance(options, Mapping):
        raise ConfigError(f"options: expected {{'workflow': index}} or None, got {shown(options)}")
    if not options:
        return None
    if "instruction" in options:
        raise ConfigError(
            "options: an instruction is planned by a single OrchestAIEnv with a planner; leave it "
            "out, or pass planner= when the environment is made"
        )
    if set(options) != {"workflow"}:
        keys = sorted(map(str, options))
        raise ConfigError(f"options: expected {{'workflow': index}}, got keys {keys}")
    given = as_array(options["workflow"])
    if given.dtype.kind not in "iu" or given.shape not in ((), (n,)):
        raise ConfigError(
            f"options: expected workflow as one index or {n}, got {shown(options['workflow'])}"
        )
    return np.broadcast_to(given, (n,)).astype(np.int64)


def instruction_option(options: Mapping[str, Any] | None) -> str | None:
    """Reads the option "instruction"; None without it.

    Raises:
        ConfigError: it is no text, or not the only option.
    """
    if not isinstance(options, Mapping) or "instruction" not in options:
        return None
    if len(options) > 1:
        keys = sorted(map(str, options))
        raise ConfigError(f"options: expected either an instruction or a workflow, got keys {keys}")
    text = options["instruction"]
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(f"options: expected instruction as text, got {shown(text)}")
    return text


def as_array(given: Any) -> npt.NDArray[Any]:
    """Returns numpy.asarray(given); lists of unequal lengths become one object."""
    try:
        return np.asarray(given)
    except ValueError:
        held = np.empty((), object)
        held[()] = given
        return held


@contextlib.contextmanager
def _naming(argument: str) -> Iterator[None]:
    """Puts the name of an argument before the text of our errors."""
    try:
        yield
    except OrchestAIError as error:
        raise type(error)(f"{argument}: {error}") from None
