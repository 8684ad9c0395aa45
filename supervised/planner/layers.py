"""Layers of the planner's network: attention that several plans of one instruction share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class DecoderLayer(nn.Module):
    """Pre-norm decoder layer: causal attention within a plan, attention to the memory, MLP.

    Keys and values of the memory are computed once per instruction, however many plans are written
    and however long they are.
    """

    def __init__(self, hidden: int, num_heads: int, dropout: float) -> None:
        """Makes new weights; `hidden` is a multiple of `num_heads`."""
        super().__init__()
        self._num_heads, self._dropout = num_heads, dropout
        self.within = nn.Linear(hidden, 3 * hidden)
        self.within_out, self.across_out = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)
        self.across, self.memory = nn.Linear(hidden, hidden), nn.Linear(hidden, 2 * hidden)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(3))
        self.mlp = _mlp(hidden, dropout)
        self.dropout = nn.Dropout(dropout)

    def memory_keys(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Returns keys and values (B, heads, M, H / heads) of the memory's states (B, M, H)."""
        keys, values = self.memory(states).chunk(2, dim=-1)
        return self._heads(keys), self._heads(values)

    def forward(self, x: Tensor, memory: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        """Returns new states.

        Args:
            x: (B, S, T, H); T places of S plans of each instruction.
            memory: of `memory_keys`.
            mask: bool (B, M).
        """
        batch, plans, places, hidden = x.shape
        rate = self._dropout if self.training else 0.0
        flat = self.norms[0](x).reshape(batch * plans, places, hidden)
        parts: Any = self.within(flat).chunk(3, dim=-1)
        query, key, value = (self._heads(part) for part in parts)
        attended = functional.scaled_dot_product_attention(
            query, key, value, dropout_p=rate, is_causal=True
        )
        x = x + self.dropout(self.within_out(_joined(attended)).reshape(x.shape))
        query = self._heads(self.across(self.norms[1](x)).reshape(batch, plans * places, hidden))
        attended = functional.scaled_dot_product_attention(
            query, *memory, attn_mask=mask[:, None, None], dropout_p=rate
        )
        x = x + self.dropout(self.across_out(_joined(attended)).reshape(x.shape))
        result: Tensor = x + self.dropout(self.mlp(self.norms[2](x)))
        return result

    def _heads(self, x: Tensor) -> Tensor:
        """Splits (B, L, H) into (B, heads, L, H / heads)."""
        return x.reshape(*x.shape[:2], self._num_heads, -1).transpose(1, 2)


class PlanEncoder(nn.Module):
    """Reads a written plan in both directions."""

    def __init__(self, size: int, hidden: int, num_heads: int, dropout: float) -> None:
        """Makes new weights."""
        super().__init__()
        self.join = nn.Linear(hidden + size, hidden)
        self.attention = nn.MultiheadAttention(hidden, num_heads, dropout, batch_first=True)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(2))
        self.mlp = _mlp(hidden, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, texts: Tensor, mask: Tensor) -> Tensor:
        """Returns (B, T, H).

        Args:
            states: (B, T, H) of the decoder.
            texts: (B, T, D), embeddings.
            mask: bool (B, T); True where there is a subtask.
        """
        x = self.join(torch.cat([states, texts], dim=-1))
        normed = self.norms[0](x)
        attended, _ = self.attention(
            normed, normed, normed, key_padding_mask=~mask, need_weights=False
        )
        x = x + self.dropout(attended)
        result: Tensor = x + self.dropout(self.mlp(self.norms[1](x)))
        return result


def _mlp(hidden: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(hidden, 2 * hidden),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(2 * hidden, hidden),
    )


def _joined(x: Tensor) -> Tensor:
    """Joins (B, heads, L, H / heads) to (B, L, H)."""
    return x.transpose(1, 2).flatten(-2)
