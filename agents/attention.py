"""DagAttentionExtractor: attention over the subtasks, which knows how they depend on each other."""

from __future__ import annotations

import math

import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from agents.extractors import (
    NetworkShape,
    PlanExtractor,
    StateExtractor,
    current_row,
    masked_mean,
    subtask_width,
)
from orchestai_env.errors import ConfigError

_MASKED = -1e9
"""Bias of what does not exist; finite, so that a row without any subtask is no NaN."""

_RELATIONS = 5


class DagAttentionExtractor(StateExtractor):
    """Reads the current subtask and the mean over subtasks, after all have attended to each other.

    Every existing subtask attends to every other. To the score of a pair each head adds learned
    numbers for what the other is: the subtask itself, one it waits for (any; directly), one that
    waits for it (any; directly); for an unrelated one nothing, since only differences count. So
    heads can keep to the links, and yet see the unrelated subtasks, which compete for the same
    workers. Ancestors and descendants are transitive: what a delay holds up is all that follows,
    which two layers over direct links would not reach.

    Source: the bias by relation in place of a mask follows C. Ying et al., "Do Transformers Really
        Perform Bad for Graph Representation?", NeurIPS 2021; pre-norm layers R. Xiong et al., "On
        Layer Normalization in the Transformer Architecture", ICML 2020.
    """

    keys = (*PlanExtractor.keys, "adjacency")

    def __init__(self, observation_space: spaces.Dict, shape: NetworkShape) -> None:
        """Sizes the networks by the spaces.

        Raises:
            CheckpointError: a key that the policy reads is missing.
            ConfigError: the heads do not divide the width.
        """
        if shape.hidden % shape.num_heads:
            raise ConfigError(
                f"training.policy.num_heads: expected a divisor of hidden, {shape.hidden}, got "
                f"{shape.num_heads}"
            )
        row_width = subtask_width(observation_space)
        super().__init__(observation_space, shape, row_width + 2 * shape.hidden)
        self.embed = nn.Linear(row_width, shape.hidden)
        self.layers = nn.ModuleList(
            AttentionLayer(shape.hidden, shape.num_heads) for _ in range(shape.num_layers)
        )
        self.norm = nn.LayerNorm(shape.hidden)

    def read_plan(self, observations: dict[str, Tensor]) -> list[Tensor]:
        """Returns the current row (B, Fs), its embedding and the embeddings' mean (B, hidden)."""
        subtasks = observations["subtasks"]
        used = max(1, _last_used(subtasks))
        subtasks, adjacency = subtasks[:, :used], observations["adjacency"][:, :used, :used]
        related, mask = relations(adjacency), _MASKED * (1.0 - subtasks[:, None, None, :, 0])
        attended = self.embed(subtasks)
        for layer in self.layers:
            attended = layer(attended, related, mask)
        attended = self.norm(attended)
        pooled = masked_mean(attended, subtasks[:, :, 0])
        return [current_row(subtasks, subtasks), current_row(attended, subtasks), pooled]


def _last_used(subtasks: Tensor) -> int:
    """Returns how many leading rows hold every existing subtask; padding costs no time then."""
    exists = subtasks[:, :, 0].amax(0)
    return int((exists * torch.arange(1, len(exists) + 1, device=exists.device)).max())


def relations(adjacency: Tensor) -> Tensor:
    """Returns what subtask j is to subtask i: float32 (B, 5, N, N), 0 or 1.

    In this order: i itself; i waits for it, in the end; directly; it waits for i, in the end;
    directly.

    Args:
        adjacency: float32 (B, N, N), [i, j] = 1 when j depends on i; without cycles.
    """
    size = adjacency.shape[1]
    follows = adjacency
    for _ in range(math.ceil(math.log2(max(2, size - 1)))):  # paths twice as long each time
        follows = (follows + follows @ follows).clamp(max=1.0)
    itself = torch.eye(size, device=adjacency.device).expand_as(adjacency)
    return torch.stack([itself, follows.mT, adjacency.mT, follows, adjacency], dim=1)


class AttentionLayer(nn.Module):
    """One pre-norm transformer layer with a bias by relation."""

    def __init__(self, hidden: int, num_heads: int) -> None:
        """Sizes the layer; num_heads divides hidden."""
        super().__init__()
        self._num_heads = num_heads
        self.norm_in, self.norm_out = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.heads = nn.Linear(hidden, 3 * hidden)
        self.merge = nn.Linear(hidden, hidden)
        self.feed = nn.Sequential(
            nn.Linear(hidden, 2 * hidden), nn.ReLU(), nn.Linear(2 * hidden, hidden)
        )
        # Normal, so that heads look at different relations from the start.
        self.bias = nn.Parameter(torch.randn(num_heads, _RELATIONS))

    def forward(self, values: Tensor, related: Tensor, mask: Tensor) -> Tensor:
        """Returns float32 (B, N, hidden).

        Args:
            values: float32 (B, N, hidden).
            related: float32 (B, 5, N, N), see `relations`.
            mask: float32 (B, 1, 1, N); added to the scores of subtask N.
        """
        b, n, hidden = values.shape
        query, key, value = (
            part.unflatten(2, (self._num_heads, -1)).transpose(1, 2)
            for part in self.heads(self.norm_in(values)).chunk(3, dim=2)
        )
        bias = (self.bias @ related.flatten(2)).view(b, self._num_heads, n, n) + mask
        with sdpa_kernel(SDPBackend.MATH):  # TRPO differentiates twice, which only this one can
            mixed = scaled_dot_product_attention(query, key, value, attn_mask=bias)
        values = values + self.merge(mixed.transpose(1, 2).reshape(b, n, hidden))
        fed: Tensor = values + self.feed(self.norm_out(values))
        return fed
