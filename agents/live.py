"""Trained policies for real workers: what `--chooser` of `orchestai run` and `collect` reads."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pydantic
from gymnasium import spaces

from agents.agent import Setting
from agents.checkpoint import TRAINED_FOR, read_phase1, read_zip
from agents.policy import WorkerScoringPolicy
from agents.registry import load_cloned_policy
from agents.sb3_agent import MaskedPolicyAgent, load_sb3_agent
from orchestai_env.dataset import Dataset
from orchestai_env.errors import CheckpointError, ConfigError
from orchestai_env.execution.chooser import AgentChooser
from orchestai_env.execution.trained_files import TrainedChooser, content_name
from orchestai_env.reward import RewardWeights
from orchestai_env.rules import EpisodeRules

ZIP = ".zip"
"""Suffix of a model of SB3; any other file is a checkpoint of phase 1."""


def read_chooser(path: Path) -> TrainedChooser:
    """Reads the policy of a zip of SB3 or of a checkpoint of phase 1.

    Zips of SB3 hold pickles, so read only those that you or people you trust have made.

    Raises:
        MissingFileError: there is no such file.
        CheckpointError: the file is broken, or of something else.
    """
    size = None
    if path.suffix == ZIP:
        data, _ = read_zip(path)
        found = data.get(TRAINED_FOR)
        if data.get("policy_class") is not WorkerScoringPolicy:
            size = _max_subtasks(data.get("observation_space"))
    else:
        config = read_phase1(path)["config"]
        found = config.get(TRAINED_FOR) if isinstance(config, dict) else None
    stated: Mapping[str, Any] = found if isinstance(found, dict) else {}
    try:
        return TrainedChooser(
            build=functools.partial(_chooser, path),
            max_subtasks=size,
            rules=EpisodeRules(**stated.get("rules", {})).model_dump(exclude_unset=True),
            weights=RewardWeights(**stated["weights"]) if "weights" in stated else None,
        )
    except (pydantic.ValidationError, TypeError):
        raise CheckpointError(
            f"{path}: what it says of its training cannot be read; train it anew with this version"
        ) from None


def _max_subtasks(space: Any) -> int | None:
    """Returns the padded number of subtasks of an observation space; None where it shows none."""
    found = space.spaces if isinstance(space, spaces.Dict) else {}
    shapes = [found[key].shape for key in ("subtasks", "adjacency") if key in found]
    return shapes[0][0] if shapes and shapes[0] else None


def _chooser(path: Path, known: Dataset, sample: bool) -> AgentChooser:
    """Builds the policy for the workers that it is to choose from.

    Raises:
        CheckpointError: it was made for other task types, workers or spaces.
        ConfigError: it reads embeddings, or has no probabilities to sample by.
    """
    # How a policy is built depends on the data alone; what it is rewarded for it reads.
    setting = Setting(dataset=known, rules=EpisodeRules(), weights=RewardWeights())
    load = load_sb3_agent if path.suffix == ZIP else load_cloned_policy
    try:
        agent = load(path, setting)
    except ConfigError as error:
        raise ConfigError(
            f"{path}: {error}; train it without training.policy.embeddings, since live workflows "
            "have none"
        ) from None
    assert isinstance(agent, (WorkerScoringPolicy, MaskedPolicyAgent))
    if sample and not agent.has_probabilities:
        raise ConfigError(
            f"--sample: {path} holds values of actions, which are no probabilities; leave --sample "
            "out, or use --exploration"
        )
    return AgentChooser(agent, content_name(path), agent.observation_keys, sample=sample)
