"""Behaviour cloning: the SB3 policy of phase 2 learns the expert's choices."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import torch
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from torch import Tensor

from orchestai_env.errors import OrchestAIError
from supervised.demonstrations import Demonstrations


class DivergenceError(OrchestAIError, FloatingPointError):
    """The loss of a training step is not finite."""


@dataclasses.dataclass(frozen=True)
class CloningLoss:
    """Parts of the loss over some decisions, each a mean."""

    cross_entropy: float
    """Of the policy against the expert's targets [nats]."""
    entropy: float
    """Of the policy [nats]."""
    accuracy: float
    """Share of decisions where the likeliest worker is the expert's."""
    total: float
    """cross_entropy - entropy_coef * entropy."""


class CloningTrainer:
    """Minimises cross-entropy to the expert's targets less a bonus for entropy."""

    def __init__(
        self,
        policy: MaskableActorCriticPolicy,
        *,
        learning_rate: float,
        batch_size: int,
        entropy_coef: float,
        max_grad_norm: float,
        seed: int,
    ) -> None:
        """Takes the policy to train, in place."""
        self.policy = policy
        self.optimizer = torch.optim.Adam(policy.parameters(), lr=learning_rate)
        self._batch_size, self._entropy_coef = batch_size, entropy_coef
        self._max_grad_norm, self._seed = max_grad_norm, seed

    def train_epoch(self, data: Demonstrations, epoch: int) -> CloningLoss:
        """Goes once through the decisions, in an order that seed and epoch alone decide.

        Raises:
            DivergenceError: the loss is not finite; the message names the batch.
        """
        order = np.random.default_rng([self._seed, epoch]).permutation(len(data))
        self.policy.set_training_mode(True)
        sums = np.zeros(3)
        for index, rows in enumerate(_batches(order, self._batch_size)):
            place = f"epoch {epoch}, batch {index}"
            cross_entropy, entropy, accuracy = self._losses(data, rows, place)
            loss = cross_entropy - self._entropy_coef * entropy
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self._max_grad_norm)
            self.optimizer.step()
            parts = torch.stack([cross_entropy.detach(), entropy.detach(), accuracy])
            sums += len(rows) * parts.cpu().numpy()
        return self._mean(sums, len(data))

    def measure(self, data: Demonstrations) -> CloningLoss:
        """Measures the loss without training.

        Raises:
            DivergenceError: it is not finite.
        """
        self.policy.set_training_mode(False)
        sums = np.zeros(3)
        with torch.no_grad():
            for index, rows in enumerate(_batches(np.arange(len(data)), 4096)):
                losses = self._losses(data, rows, f"measuring, batch {index}")
                sums += len(rows) * torch.stack(losses).cpu().numpy()
        return self._mean(sums, len(data))

    def _losses(
        self, data: Demonstrations, rows: np.ndarray, place: str
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns cross-entropy, entropy and accuracy, and checks that the loss is finite."""
        try:
            losses = self._raw_losses(data, rows)
            is_finite = bool(torch.isfinite(losses[0] + losses[1]))
        except ValueError:  # torch refuses probabilities that are not finite
            is_finite = False
        if not is_finite:
            raise DivergenceError(
                f"the loss is not finite in {place}; lower the learning_rate, or look for such "
                "numbers in the data"
            )
        return losses

    def _raw_losses(self, data: Demonstrations, rows: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        device = self.policy.device
        observation = {
            key: torch.as_tensor(values[rows], device=device)
            for key, values in data.observation.items()
        }
        target = torch.as_tensor(data.target[rows], device=device)
        distribution = self.policy.get_distribution(observation).distribution
        assert isinstance(distribution, torch.distributions.Categorical)
        log_probability = distribution.logits
        cross_entropy = -(target * log_probability).sum(1).mean()
        hit = (log_probability.argmax(1) == target.argmax(1)).float().mean()
        entropy = distribution.entropy()  # type: ignore[no-untyped-call]
        return cross_entropy, entropy.mean(), hit

    def _mean(self, sums: np.ndarray, count: int) -> CloningLoss:
        cross_entropy, entropy, accuracy = (float(value) / count for value in sums)
        total = cross_entropy - self._entropy_coef * entropy
        return CloningLoss(cross_entropy, entropy, accuracy, total)


def _batches(order: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(order), size):
        yield order[start : start + size]
