"""Features extractors: an observation as one row, the state first, then every worker's features."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from orchestai_env.errors import CheckpointError

TEXT_KEYS = ("instruction", "subtask")
"""Observation keys that hold raw sentence embeddings."""

_TEXT_WIDTH = 16
_SUBTASK_WIDTH = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkShape:
    """Sizes of an extractor's networks."""

    hidden: int
    """Width of the attended embeddings."""
    num_layers: int
    """Of attention."""
    num_heads: int
    """Of attention; divides hidden."""
    embeddings: bool
    """Whether the state holds the raw sentence embeddings, projected to 16 numbers."""


class StateExtractor(BaseFeaturesExtractor):
    """Makes one row per observation: the state, then W workers of `worker_width` numbers each.

    A worker's numbers are its row of `workers` and, last, whether the mask allows it. Neither the
    state nor the weights depend on the number of workers or of padded subtasks.
    """

    keys: tuple[str, ...] = ("subtasks", "workers", "context", "action_mask")
    """Observation keys that the class reads, embeddings aside."""

    def __init__(
        self, observation_space: spaces.Dict, shape: NetworkShape, plan_width: int
    ) -> None:
        """Sizes the row.

        Args:
            observation_space: of OrchestAIEnv.
            shape: sizes of the networks.
            plan_width: columns that `read_plan` returns.
        Raises:
            CheckpointError: a key that the policy reads is missing.
        """
        text = TEXT_KEYS if shape.embeddings else ()
        missing = {*self.keys, *text} - set(observation_space.spaces)
        if missing:
            raise CheckpointError(
                f"WorkerScoringPolicy reads the observation keys {sorted(missing)}, which the "
                "environment leaves out; add them to its `observation` argument"
            )
        self.num_workers, worker_width = _sizes(observation_space, "workers")
        self.worker_width = worker_width + 1
        (context_width,) = _sizes(observation_space, "context")
        self.state_width = context_width + plan_width + (_TEXT_WIDTH if text else 0)
        super().__init__(observation_space, self.state_width + self.num_workers * self.worker_width)
        self.text_net: nn.Module | None = None
        if text:
            width = sum(_sizes(observation_space, key)[0] for key in text)
            self.text_net = nn.Sequential(nn.Linear(width, _TEXT_WIDTH), nn.ReLU())

    @abstractmethod
    def read_plan(self, observations: dict[str, Tensor]) -> list[Tensor]:
        """Returns what the state says of the subtasks, each float32 (B, ...)."""

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """Returns float32 (B, state_width + W * worker_width)."""
        state = [observations["context"], *self.read_plan(observations)]
        if self.text_net is not None:
            text = torch.cat([observations[key] for key in TEXT_KEYS], dim=1)
            state.append(self.text_net(text))
        allowed = observations["action_mask"].unsqueeze(2)
        workers = torch.cat([observations["workers"], allowed], dim=2)
        return torch.cat([*state, workers.flatten(1)], dim=1)


class PlanExtractor(StateExtractor):
    """Reads the current subtask's row, and the mean over subtasks of a small network of theirs."""

    def __init__(self, observation_space: spaces.Dict, shape: NetworkShape) -> None:
        """Sizes the network by the spaces.

        Raises:
            CheckpointError: a key that the policy reads is missing.
        """
        row_width = subtask_width(observation_space)
        super().__init__(observation_space, shape, row_width + _SUBTASK_WIDTH)
        self.subtask_net = nn.Sequential(nn.Linear(row_width, _SUBTASK_WIDTH), nn.ReLU())

    def read_plan(self, observations: dict[str, Tensor]) -> list[Tensor]:
        """Returns the current row (B, Fs) and the mean (B, 32)."""
        subtasks = observations["subtasks"]
        pooled = masked_mean(self.subtask_net(subtasks), subtasks[:, :, 0])
        return [current_row(subtasks, subtasks), pooled]


def subtask_width(observation_space: spaces.Dict) -> int:
    """Returns the number of columns of `subtasks`, 0 where that key is missing."""
    return _sizes(observation_space, "subtasks")[1] if "subtasks" in observation_space.spaces else 0


def current_row(values: Tensor, subtasks: Tensor) -> Tensor:
    """Returns float32 (B, D): the row of (B, N, D) that the last column of `subtasks` marks."""
    return _weighted_sum(values, subtasks[:, :, -1])


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Returns float32 (B, D): the mean of (B, N, D) where the mask (B, N) is 1; 0 where nowhere."""
    return _weighted_sum(values, mask / mask.sum(1, keepdim=True).clamp(min=1.0))


def _weighted_sum(values: Tensor, weights: Tensor) -> Tensor:
    total: Tensor = (weights.unsqueeze(1) @ values).squeeze(1)  # faster than (values * weights)
    return total


def _sizes(space: spaces.Dict, key: str) -> tuple[int, ...]:
    shape = space[key].shape
    assert shape is not None
    return shape
