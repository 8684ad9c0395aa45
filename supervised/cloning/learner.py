"""Behaviour cloning: the SB3 policy of phase 2 learns the expert's choices."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from torch import Tensor

from supervised.cloning.demonstrations import Demonstrations
from supervised.fit import DivergenceError, Fit, FitSettings, Losses, Weights


@dataclasses.dataclass(frozen=True, kw_only=True)
class CloningSettings:
    """How the policy is trained."""

    learning_rate: float
    batch_size: int
    """Decisions per step."""
    entropy_coef: float
    """>= 0; bonus for the policy's entropy."""
    max_grad_norm: float
    seed: int
    """Of the order of the decisions."""


class CloningLearner:
    """Minimises cross-entropy to the expert's targets less a bonus for entropy.

    Its losses, each a mean over decisions: `cross_entropy` of the policy against the targets
    [nats]; `entropy` of the policy [nats]; `accuracy`, the share of decisions where the likeliest
    worker is the expert's; `total`, cross_entropy - entropy_coef * entropy.
    """

    def __init__(
        self,
        policy: MaskableActorCriticPolicy,
        train: Demonstrations,
        held_out: Demonstrations,
        settings: CloningSettings,
    ) -> None:
        """Takes the policy to train, in place, and both parts of the data."""
        self.module = policy
        self._train, self._held_out, self._settings = train, held_out, settings
        self._new_optimizer()

    def _new_optimizer(self) -> None:
        self.optimizer = torch.optim.Adam(self.module.parameters(), lr=self._settings.learning_rate)

    def add(self, train: Demonstrations, held_out: Demonstrations) -> None:
        """Adds decisions to both parts, and starts the optimizer anew."""
        self._train = Demonstrations.concatenate([self._train, train])
        self._held_out = Demonstrations.concatenate([self._held_out, held_out])
        self._new_optimizer()

    def train_epoch(self, epoch: int) -> Losses:
        """Goes once through the training part, in an order that seed and epoch alone decide.

        Raises:
            DivergenceError: the loss is not finite; the message names the batch.
        """
        data, settings = self._train, self._settings
        order = np.random.default_rng([settings.seed, epoch]).permutation(len(data))
        self.module.set_training_mode(True)
        sums = np.zeros(3)
        for index, rows in enumerate(_batches(order, settings.batch_size)):
            place = f"epoch {epoch}, batch {index}"
            cross_entropy, entropy, accuracy = self._losses(data, rows, place)
            loss = cross_entropy - settings.entropy_coef * entropy
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.module.parameters(), settings.max_grad_norm)
            self.optimizer.step()
            parts = torch.stack([cross_entropy.detach(), entropy.detach(), accuracy])
            sums += len(rows) * parts.cpu().numpy()
        return self._mean(sums, len(data))

    def measure(self) -> Losses:
        """Measures the losses of the held-out part without training.

        Raises:
            DivergenceError: one is not finite.
        """
        self.module.set_training_mode(False)
        sums = np.zeros(3)
        with torch.no_grad():
            for index, rows in enumerate(_batches(np.arange(len(self._held_out)), 4096)):
                losses = self._losses(self._held_out, rows, f"measuring, batch {index}")
                sums += len(rows) * torch.stack(losses).cpu().numpy()
        return self._mean(sums, len(self._held_out))

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
                f"the cloning loss is not finite in {place}; lower the learning_rate, or look for "
                "such numbers in the data"
            )
        return losses

    def _raw_losses(self, data: Demonstrations, rows: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        device = self.module.device
        observation = {
            key: torch.as_tensor(values[rows], device=device)
            for key, values in data.observation.items()
        }
        target = torch.as_tensor(data.target[rows], device=device)
        distribution = self.module.get_distribution(observation).distribution
        assert isinstance(distribution, torch.distributions.Categorical)
        log_probability = distribution.logits
        cross_entropy = -(target * log_probability).sum(1).mean()
        hit = (log_probability.argmax(1) == target.argmax(1)).float().mean()
        entropy = distribution.entropy()  # type: ignore[no-untyped-call]
        return cross_entropy, entropy.mean(), hit

    def _mean(self, sums: np.ndarray, count: int) -> Losses:
        cross_entropy, entropy, accuracy = (float(value) / count for value in sums)
        total = cross_entropy - self._settings.entropy_coef * entropy
        return {
            "cross_entropy": cross_entropy,
            "entropy": entropy,
            "accuracy": accuracy,
            "total": total,
        }


def _batches(order: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(order), size):
        yield order[start : start + size]


Collect = Callable[[MaskableActorCriticPolicy, int], tuple[Demonstrations, Demonstrations]]
"""(policy, round) -> expert labels of states that the policy meets, for both parts of the data."""


class DaggerFit(Fit):
    """Cloning in rounds: the best policy so far plays, its states are labelled, training goes on.

    Each round trains on the decisions of all rounds so far, from the best weights of the round
    before, and lasts as long as a fit does. Validation losses of two rounds are of other data, so
    the best weights are those of the latest round. What a round has collected is a function of its
    number and of the weights that played; these are kept, so resuming collects the same again.

    Source: S. Ross, G. Gordon, D. Bagnell, "A Reduction of Imitation Learning and Structured
        Prediction to No-Regret Online Learning", AISTATS 2011.
    """

    def __init__(
        self, learner: CloningLearner, settings: FitSettings, *, collect: Collect, num_rounds: int
    ) -> None:
        """Takes how states are collected, and how often, >= 0; 0 is plain cloning."""
        self._cloning, self._collect, self._num_rounds = learner, collect, num_rounds
        self._played: list[Weights] = []
        super().__init__(learner, settings)

    @property
    def is_done(self) -> bool:
        """Tells whether the last round has ended."""
        return super().is_done and len(self._played) == self._num_rounds

    def run_epoch(self) -> dict[str, Losses]:
        """Trains and measures one epoch; the first of a round collects before."""
        if super().is_done:
            self._begin_round(self.best.weights)
        return super().run_epoch()

    def _begin_round(self, weights: Weights) -> None:
        self._played.append(weights)
        self._cloning.module.load_state_dict(weights)
        self._cloning.add(*self._collect(self._cloning.module, len(self._played)))
        self.restart()

    def state_dict(self) -> dict[str, Any]:
        """Returns all that `load_state_dict` needs, the weights that played included."""
        return super().state_dict() | {"played": self._played}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Collects what the rounds had collected, and takes training up."""
        for weights in state["played"]:
            self._begin_round(weights)
        super().load_state_dict(state)
