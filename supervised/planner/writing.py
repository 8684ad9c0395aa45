"""Writing plans place by place with the planner's network: the likeliest one, or samples."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from supervised.planner.network import Memory, PlannerNetwork
from supervised.plans.metrics import MATCH_THRESHOLD

_NUM_TEXTS = 64
"""Likeliest texts that are looked at for a place."""
_SHARPNESS = 0.03
"""Width of the sigmoid that stands for the threshold of matching, as a cosine."""
_REPEATED, _SAME_TEXT = 0.5, 0.95
"""Factor on the score of a text whose cosine to one in the plan is above this."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Written:
    """S plans of each of B instructions."""

    texts: Tensor
    """int64 (B, S, T); candidate at each place: a row of the library, then of the spans."""
    embeddings: Tensor
    """float32 (B, S, T, D), of these texts."""
    num_subtasks: Tensor
    """int64 (B, S), 1..T."""


class Chooser(Protocol):
    """How the end of a plan and its texts are chosen."""

    num_plans: int

    def ends(self, place: int, chance: Tensor) -> Tensor:
        """Tells, bool (B, S), which plans end before a place, given the chances float32 (B, S)."""

    def text(self, place: int, logits: Tensor, candidates: Tensor, written: Tensor) -> Tensor:
        """Chooses the texts of a place.

        Args:
            place: 0..N-1.
            logits: float32 (B, S, Q), of all candidates.
            candidates: float32 (B, Q, D), their embeddings.
            written: float32 (B, S, place, D), embeddings of the plans so far.
        Returns:
            int64 (B, S).
        """


class Likeliest:
    """Takes the text that is expected to match, and ends when the plan has more likely ended.

    A text is scored by the chance that it matches the right one, the sum over all candidates of
    their probability where their cosine to it is above the threshold of matching.
    """

    num_plans = 1

    def __init__(self) -> None:
        """Starts a batch of plans."""
        self._going_on: Tensor | float = 1.0

    def ends(self, place: int, chance: Tensor) -> Tensor:
        """See Chooser."""
        self._going_on = self._going_on * (1.0 - chance)
        return self._going_on < 0.5

    def text(self, place: int, logits: Tensor, candidates: Tensor, written: Tensor) -> Tensor:
        """See Chooser."""
        chances = logits[:, 0].softmax(dim=-1)
        top = chances.topk(min(_NUM_TEXTS, chances.shape[-1]), dim=-1).indices
        chosen = candidates.take_along_dim(top[..., None], dim=1)
        alike = (chosen @ candidates.transpose(1, 2) - MATCH_THRESHOLD) / _SHARPNESS
        score = (alike.sigmoid() @ chances[..., None])[..., 0]
        if place:
            nearest = (chosen @ written[:, 0].transpose(1, 2)).amax(dim=-1)
            score = torch.where(nearest > _SAME_TEXT, _REPEATED * score, score)
        return top.gather(1, score.argmax(dim=-1, keepdim=True))


class Sampled:
    """Draws ends and texts at random; an instruction's draws depend on seed and text alone."""

    def __init__(
        self,
        instructions: Sequence[str],
        *,
        num_plans: int,
        max_subtasks: int,
        temperature: float,
        seed: int,
    ) -> None:
        """Draws the random numbers of a batch."""
        self.num_plans, self._temperature = num_plans, temperature
        ends, texts = [], []
        for instruction in instructions:
            digest = hashlib.sha256(instruction.encode()).digest()
            rng = np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])
            ends.append(rng.random((max_subtasks, num_plans), np.float32))
            texts.append(rng.gumbel(size=(max_subtasks, num_plans, _NUM_TEXTS)))
        self._ends = torch.from_numpy(np.stack(ends))
        self._texts = torch.from_numpy(np.stack(texts).astype(np.float32))

    def ends(self, place: int, chance: Tensor) -> Tensor:
        """See Chooser."""
        return self._ends[:, place].to(chance.device) < chance

    def text(self, place: int, logits: Tensor, candidates: Tensor, written: Tensor) -> Tensor:
        """See Chooser."""
        top = logits.topk(min(_NUM_TEXTS, logits.shape[-1]), dim=-1)
        noise = self._texts[:, place, :, : top.values.shape[-1]].to(logits.device)
        pick = (top.values / self._temperature + noise).argmax(dim=-1, keepdim=True)
        return top.indices.gather(-1, pick)[..., 0]


def write_plans(model: PlannerNetwork, memory: Memory, chooser: Chooser) -> Written:
    """Writes plans until all have ended or have max_subtasks subtasks."""
    library = model.library_embeddings
    batch, plans = len(memory.mask), chooser.num_plans
    spans = memory.inputs.spans
    candidates = torch.cat([library.expand(batch, -1, -1), spans], dim=1)
    embeddings = spans.new_zeros(batch, plans, 0, library.shape[1])
    texts = torch.zeros(batch, plans, 0, dtype=torch.int64, device=spans.device)
    num_subtasks = torch.full((batch, plans), model.shape.max_subtasks, device=spans.device)
    for place in range(model.shape.max_subtasks):
        states = model.write(memory, embeddings)[:, :, -1]
        if place:
            is_open = num_subtasks > place
            chance = model.stop(states)[..., 0].float().sigmoid()
            ends = chooser.ends(place, chance)
            num_subtasks = torch.where(is_open & ends, place, num_subtasks)
            if not (num_subtasks > place).any():
                break
        logits = model.text_logits(states, memory, library).float()
        picked = chooser.text(place, logits, candidates, embeddings)
        new = candidates.take_along_dim(picked[..., None], dim=1)
        embeddings = torch.cat([embeddings, new[:, :, None]], dim=2)
        texts = torch.cat([texts, picked[..., None]], dim=2)
    return Written(texts=texts, embeddings=embeddings, num_subtasks=num_subtasks)
