"""WorkerScoringPolicy: one scorer shared by all workers, for PPO, MaskablePPO and cloning."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from sb3_contrib.common.maskable.distributions import MaskableDistribution
from sb3_contrib.common.maskable.policies import MaskableMultiInputActorCriticPolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor, nn

from agents.agent import Obs, State
from agents.attention import DagAttentionExtractor
from agents.extractors import TEXT_KEYS, NetworkShape, PlanExtractor, StateExtractor, masked_mean
from orchestai_env.errors import ConfigError, unknown_name

EXTRACTORS: Mapping[str, type[PlanExtractor] | type[DagAttentionExtractor]] = {
    "mlp": PlanExtractor,
    "attention": DagAttentionExtractor,
}
"""Kind of network in the settings -> what reads the observation."""


def policy_keys(kind: str = "mlp", embeddings: bool = False) -> tuple[str, ...]:
    """Returns the observation keys that a policy of these settings reads.

    Raises:
        ConfigError: there is no such kind.
    """
    if kind not in EXTRACTORS:
        raise ConfigError("training.policy.kind: " + unknown_name("kind", kind, EXTRACTORS))
    return EXTRACTORS[kind].keys + (TEXT_KEYS if embeddings else ())


class WorkerScorer(nn.Module):
    """Embeds each worker together with the state; the value sees the state and the workers' mean.

    That mean is over allowed workers, so that absent ones do not count. `forward` returns the
    actor's latent (B, W * hidden) and the critic's (B, hidden), as SB3's MlpExtractor does.
    """

    def __init__(self, extractor: StateExtractor, hidden: int) -> None:
        """Sizes the networks."""
        super().__init__()
        self._split = extractor.state_width
        self._num_workers, self._row_width = extractor.num_workers, extractor.worker_width
        worker_width = self._row_width - 1
        self.latent_dim_pi, self.latent_dim_vf = self._num_workers * hidden, hidden
        self.actor_state = nn.Sequential(
            nn.Linear(self._split, hidden), nn.ReLU(), nn.Linear(hidden, hidden)
        )
        self.actor_worker = nn.Linear(worker_width, hidden)
        self.actor_joint = nn.Sequential(nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.critic_worker = nn.Sequential(nn.Linear(worker_width, hidden), nn.ReLU())
        self.critic_joint = nn.Sequential(
            nn.Linear(self._split + hidden, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()
        )

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the latents of actor and critic."""
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: Tensor) -> Tensor:
        """Returns float32 (B, W * hidden)."""
        state, workers, _ = self._parts(features)
        shared = self.actor_state(state)  # (B, hidden); what else all workers share adds here
        joint: Tensor = self.actor_joint(shared.unsqueeze(1) + self.actor_worker(workers))
        return joint.flatten(1)

    def forward_critic(self, features: Tensor) -> Tensor:
        """Returns float32 (B, hidden)."""
        state, workers, allowed = self._parts(features)
        pooled = masked_mean(self.critic_worker(workers), allowed)
        value: Tensor = self.critic_joint(torch.cat([state, pooled], dim=1))
        return value

    def _parts(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the state (B, S), workers (B, W, Fw) and whether each is allowed (B, W)."""
        rows = features[:, self._split :].reshape(-1, self._num_workers, self._row_width)
        return features[:, : self._split], rows[:, :, :-1], rows[:, :, -1]


class SharedHead(nn.Module):
    """Scores every worker's embedding by the same linear map: (B, W * hidden) -> (B, W)."""

    def __init__(self, num_workers: int, hidden: int) -> None:
        """Sizes the map."""
        super().__init__()
        self._num_workers = num_workers
        self.score = nn.Linear(hidden, 1)

    def forward(self, latent: Tensor) -> Tensor:
        """Returns the logits."""
        workers = latent.reshape(len(latent), self._num_workers, -1)
        logits: Tensor = self.score(workers).squeeze(-1)
        return logits


class WorkerScoringPolicy(MaskableMultiInputActorCriticPolicy):
    """Actor-critic policy whose workers share one scorer: their order does not matter.

    It serves stock PPO and MaskablePPO: where no `action_masks` are passed it reads
    `obs["action_mask"]`, so that stock PPO obeys masks too.
    """

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.Discrete,
        lr_schedule: Schedule,
        kind: str = "mlp",
        hidden: int = 64,
        num_layers: int = 2,
        num_heads: int = 4,
        embeddings: bool = False,
        use_sde: bool = False,
        **kwargs: Any,
    ) -> None:
        """Builds the networks.

        Args:
            observation_space: of OrchestAIEnv, with the keys of `policy_keys`.
            action_space: Discrete(W).
            lr_schedule: SB3's schedule.
            kind: mlp, or attention over the subtasks.
            hidden: width of the hidden layers.
            num_layers: of attention.
            num_heads: of attention; divides hidden.
            embeddings: read the raw sentence embeddings too.
            use_sde: accepted because stock PPO passes it; must be False (actions are discrete).
            kwargs: the other arguments of SB3's actor-critic policies; the features extractor is
                that of the kind.
        Raises:
            ConfigError: there is no such kind, or the heads do not divide the width.
            CheckpointError: a key that the policy reads is missing.
        """
        assert not use_sde, "state-dependent exploration is for continuous actions"
        self._observation_keys = policy_keys(kind, embeddings)
        self._kind = kind
        self._shape = NetworkShape(
            hidden=hidden, num_layers=num_layers, num_heads=num_heads, embeddings=embeddings
        )
        kwargs["features_extractor_class"] = EXTRACTORS[kind]
        kwargs["features_extractor_kwargs"] = {"shape": self._shape}
        super().__init__(observation_space, action_space, lr_schedule, **kwargs)

    @property
    def observation_keys(self) -> tuple[str, ...]:
        """Returns the observation keys that it reads."""
        return self._observation_keys

    def obs_to_tensor(self, observation: Any) -> tuple[PyTorchObs, bool]:
        """Returns the keys that it reads as tensors, and whether they are a batch.

        So observations may have more keys, which SB3 answers with a bare KeyError.
        """
        return super().obs_to_tensor({key: observation[key] for key in self._observation_keys})

    def _get_constructor_parameters(self) -> dict[str, Any]:
        network = {"kind": self._kind} | dataclasses.asdict(self._shape)
        return super()._get_constructor_parameters() | network

    def _build_mlp_extractor(self) -> None:
        assert isinstance(self.features_extractor, StateExtractor)
        self.mlp_extractor = WorkerScorer(self.features_extractor, self._shape.hidden)  # type: ignore[assignment]

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        assert isinstance(self.action_space, spaces.Discrete)
        self.action_net = SharedHead(int(self.action_space.n), self._shape.hidden)
        self.action_net.apply(lambda module: self.init_weights(module, gain=0.01))
        self.optimizer = self.optimizer_class(
            self.parameters(),
            lr=lr_schedule(1),  # type: ignore[call-arg]
            **self.optimizer_kwargs,
        )

    def forward(
        self, obs: Any, deterministic: bool = False, action_masks: Any = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns actions, values and log-probabilities."""
        return super().forward(obs, deterministic, _mask(obs, action_masks))

    def evaluate_actions(
        self, obs: Any, actions: Tensor, action_masks: Any = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Returns values, log-probabilities and entropies of given actions."""
        return super().evaluate_actions(obs, actions, _mask(obs, action_masks))

    def scores(self, observation: Obs) -> npt.NDArray[np.float32]:
        """Returns float32 (m, W): the logarithm of each worker's probability; masked ones least."""
        tensors, _ = self.obs_to_tensor(dict(observation))
        with torch.no_grad():
            categorical: Any = self.get_distribution(tensors).distribution
        found: npt.NDArray[np.float32] = categorical.logits.cpu().numpy()
        return found

    has_probabilities = True

    def probabilities(
        self,
        observation: Obs,
        state: State = None,
        episode_start: npt.NDArray[np.bool_] | None = None,
    ) -> tuple[npt.NDArray[np.float64], State]:
        """Returns float64 (m, W), by which `predict` draws, and the state as it was given."""
        return np.exp(self.scores(observation).astype(np.float64)), state

    def get_distribution(self, obs: PyTorchObs, action_masks: Any = None) -> MaskableDistribution:
        """Returns the distribution over workers; masked ones have probability 0."""
        return super().get_distribution(obs, _mask(obs, action_masks))


def _mask(obs: Any, action_masks: Any) -> Any:
    if action_masks is not None:
        return action_masks
    return obs["action_mask"].bool()
