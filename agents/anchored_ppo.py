"""AnchoredPPO: SB3's PPO with what keeps it from losing what the policy that it starts from can."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import DictRolloutBufferSamples
from stable_baselines3.common.utils import explained_variance
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from orchestai_env.errors import OrchestAIError

_ENTROPY_BOOST = 10.0
"""Factor on ent_coef below the entropy floor; chosen."""


class LossError(OrchestAIError, FloatingPointError):
    """A loss of phase 2 or its gradient is not finite."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Anchoring:
    """How PPO keeps what the policy that it starts from can."""

    critic_warmup: int = 0
    """First roll-outs, >= 0, that only the critic learns from."""
    kl_coef: float = 0.0
    """Weight, >= 0, of the KL divergence from the policy at the start [nats] in the first loss."""
    kl_fade: float = 0.5
    """Share of the training, 0..1, over which that weight falls linearly to 0."""

    def kl_coef_at(self, progress: float) -> float:
        """Returns the weight of the divergence after this share, 0..1, of the training."""
        return self.kl_coef * max(0.0, 1.0 - progress / self.kl_fade) if self.kl_fade else 0.0


class _Update(NamedTuple):
    """What stays the same over the minibatches of one update."""

    clip_range: float
    clip_range_vf: float | None
    kl_coef: float
    critic: list[nn.Parameter] | None
    """Parameters of the critic alone while only it is trained, else None."""


class AnchoredPPO(PPO):
    """SB3's PPO that first fits the critic, then stays close to the policy that it starts from.

    `anchor` switches that on; without it updates equal those of PPO bit by bit. A policy that was
    cloned comes without a critic, and PPO's first updates, led by a random one, destroy what was
    cloned. Hence at the start only the critic learns, from roll-outs of the unchanged policy.

    The loss has the forward divergence KL(start || policy). It is the loss that cloned the policy,
    now on the states that PPO meets; it weighs by what the start would do, so that the policy keeps
    some probability wherever the start has some, while KL(policy || start) would be content with
    one of several good workers. Its gradient per logit stays within -1..1.

    Saved models are models of PPO: the zip holds neither the anchor nor its settings.
    """

    policy: ActorCriticPolicy
    entropy_floor: float = 0.0
    """Mean entropy of a minibatch [nats], >= 0, below which ent_coef counts tenfold."""
    num_episodes: int | None = None
    """Episodes after which training is stopped, so that schedules know; None = by steps alone."""
    _anchoring = Anchoring()
    _anchor: ActorCriticPolicy | None = None

    def anchor(self, anchoring: Anchoring, weights: Mapping[str, Tensor] | None = None) -> None:
        """Holds on to a policy from now on; to be called before training.

        Args:
            anchoring: how.
            weights: state_dict of the policy to stay close to; None = the policy as it is now.
        """
        self._anchoring = anchoring
        anchor = copy.deepcopy(self.policy)
        if weights is not None:
            anchor.load_state_dict(dict(weights))
        anchor.set_training_mode(False)
        self._anchor = anchor.requires_grad_(False)

    def train(self) -> None:
        """Updates the policy by the roll-out that was collected.

        Raises:
            LossError: a loss or gradient is not finite; that step was not taken.
        """
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        update = self._start_update()
        log: dict[str, list[float]] = defaultdict(list)
        for _ in range(self.n_epochs):
            log["approx_kl"].clear()  # SB3 reports that of the last epoch
            is_close = self._train_epoch(update, log)
            self._n_updates += 1
            if not is_close:
                break
        self._record(update, log)

    def _update_current_progress_remaining(self, num_timesteps: int, total_timesteps: int) -> None:
        super()._update_current_progress_remaining(num_timesteps, total_timesteps)
        if self.num_episodes is not None:
            remaining = max(0.0, 1.0 - self._episode_num / self.num_episodes)
            self._current_progress_remaining = min(self._current_progress_remaining, remaining)

    def _start_update(self) -> _Update:
        progress_remaining = self._current_progress_remaining
        clip_vf = None if self.clip_range_vf is None else self.clip_range_vf(progress_remaining)  # type: ignore[operator]
        num_before = (self.num_timesteps - 1) // (self.n_steps * self.n_envs)
        is_warming_up = num_before < self._anchoring.critic_warmup
        return _Update(
            clip_range=self.clip_range(progress_remaining),  # type: ignore[operator]
            clip_range_vf=clip_vf,
            kl_coef=self._anchoring.kl_coef_at(1.0 - progress_remaining),
            critic=self._critic_parameters() if is_warming_up else None,
        )

    def _critic_parameters(self) -> list[nn.Parameter]:
        """Returns the parameters that the action probabilities do not depend on."""
        parameters = list(self.policy.parameters())
        observation, _ = self.policy.obs_to_tensor(self._last_obs)  # type: ignore[arg-type]
        categorical: Any = self.policy.get_distribution(observation).distribution
        score = categorical.logits.sum()
        gradients: Any = torch.autograd.grad(score, parameters, allow_unused=True)
        return [p for p, g in zip(parameters, gradients, strict=True) if g is None]

    def _train_epoch(self, update: _Update, log: dict[str, list[float]]) -> bool:
        """Goes through the roll-out once; returns False where target_kl ended it."""
        batches: Any = self.rollout_buffer.get(self.batch_size)  # of a Dict, which SB3 does not say
        for step, batch in enumerate(batches):
            if update.critic is not None:
                loss = self._critic_loss(update, batch, log)
            else:
                loss = self._loss(update, batch, log)
                if self.target_kl is not None and log["approx_kl"][-1] > 1.5 * self.target_kl:
                    return False
            self._step(loss, update, step)
        return True

    def _critic_loss(
        self, update: _Update, batch: DictRolloutBufferSamples, log: dict[str, list[float]]
    ) -> Tensor:
        values = self.policy.predict_values(batch.observations).flatten()
        value_loss = _value_loss(values, batch, update.clip_range_vf)
        loss = self.vf_coef * value_loss
        log["value_loss"].append(value_loss.item())
        log["loss"].append(loss.item())
        return loss

    def _loss(
        self, update: _Update, batch: DictRolloutBufferSamples, log: dict[str, list[float]]
    ) -> Tensor:
        """Returns PPO's loss, in SB3's own order of arithmetic, and the divergence."""
        values, log_prob, entropy = self.policy.evaluate_actions(
            batch.observations,
            batch.actions.long().flatten(),
        )
        assert entropy is not None, "actions are discrete, so their entropy is known"
        advantages = batch.advantages
        if self.normalize_advantage and len(advantages) > 1:
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        log_ratio = log_prob - batch.old_log_prob
        ratio = torch.exp(log_ratio)
        clipped = torch.clamp(ratio, 1 - update.clip_range, 1 + update.clip_range)
        policy_loss = -torch.min(advantages * ratio, advantages * clipped).mean()
        value_loss = _value_loss(values.flatten(), batch, update.clip_range_vf)
        entropy_loss = -torch.mean(entropy)
        loss = policy_loss + self._ent_coef(entropy_loss) * entropy_loss + self.vf_coef * value_loss
        with torch.no_grad():
            log["policy_gradient_loss"].append(policy_loss.item())
            log["value_loss"].append(value_loss.item())
            log["entropy_loss"].append(entropy_loss.item())
            is_clipped = torch.abs(ratio - 1) > update.clip_range
            log["clip_fraction"].append(is_clipped.float().mean().item())
            # http://joschu.net/blog/kl-approx.html, as in SB3
            log["approx_kl"].append(torch.mean((ratio - 1) - log_ratio).item())
        if self._anchor is not None and (update.kl_coef > 0 or not log["kl_to_start"]):
            divergence = self._kl_to_start(self._anchor, batch)
            log["kl_to_start"].append(divergence.item())
            loss = loss + update.kl_coef * divergence if update.kl_coef > 0 else loss
        log["loss"].append(loss.item())
        return loss

    def _ent_coef(self, entropy_loss: Tensor) -> float:
        if self.entropy_floor > 0 and -entropy_loss.item() < self.entropy_floor:
            return self.ent_coef * _ENTROPY_BOOST
        return self.ent_coef

    def _kl_to_start(self, anchor: ActorCriticPolicy, batch: DictRolloutBufferSamples) -> Tensor:
        """Returns KL(anchor || policy) [nats], averaged over the minibatch."""
        # SB3's policies keep the distribution that evaluate_actions made: no second forward pass.
        log_probs = self.policy.action_dist.distribution.logits  # type: ignore[union-attr]
        with torch.no_grad():
            start: Any = anchor.get_distribution(batch.observations).distribution
        divergence: Tensor = (start.probs * (start.logits - log_probs)).sum(-1).mean()
        return divergence

    def _step(self, loss: Tensor, update: _Update, step: int) -> None:
        """Takes one step down the gradient, clipped by its norm."""
        parameters = list(self.policy.parameters()) if update.critic is None else update.critic
        self.policy.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if update.critic is not None:  # the optimizer leaves out what has no gradient
            alone = set(update.critic)
            for parameter in self.policy.parameters():
                parameter.grad = parameter.grad if parameter in alone else None
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.max_grad_norm)
        if not math.isfinite(norm):
            raise LossError(
                f"phase 2: the loss of update {self._n_updates}, minibatch {step}, at step "
                f"{self.num_timesteps} is {loss.item()} with a gradient of norm {norm.item()}; "
                "lower learning_rate, set normalize_reward, or look for such numbers in the data"
            )
        self.policy.optimizer.step()

    def _record(self, update: _Update, log: Mapping[str, list[float]]) -> None:
        """Logs under SB3's names."""
        for name, values in log.items():
            if values:
                self.logger.record(
                    f"train/{name}", values[-1] if name == "loss" else np.mean(values)
                )
        buffer = self.rollout_buffer
        explained = explained_variance(buffer.values.flatten(), buffer.returns.flatten())
        self.logger.record("train/explained_variance", explained)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/clip_range", update.clip_range)
        if update.clip_range_vf is not None:
            self.logger.record("train/clip_range_vf", update.clip_range_vf)
        if self._anchor is not None:
            self.logger.record("train/kl_coef", update.kl_coef)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_anchor", "_anchoring"]


def _value_loss(
    values: Tensor, batch: DictRolloutBufferSamples, clip_range: float | None
) -> Tensor:
    """Returns the mean squared error of the values, clipped near the old ones where asked."""
    if clip_range is not None:
        difference = torch.clamp(values - batch.old_values, -clip_range, clip_range)
        values = batch.old_values + difference
    return mse_loss(batch.returns, values)
