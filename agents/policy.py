"""WorkerScoringPolicy: one scorer shared by all workers, for PPO, MaskablePPO and cloning."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from sb3_contrib.common.maskable.distributions import MaskableDistribution
from sb3_contrib.common.maskable.policies import MaskableMultiInputActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor, nn

from orchestai_env.errors import CheckpointError


class PlanExtractor(BaseFeaturesExtractor):
    """Turns the observation into one row: the state first, then every worker's features.

    The state is the context, the current subtask's row, and the mean over existing subtasks of a
    small network of their rows, so that the number of subtasks does not matter.
    """

    def __init__(self, observation_space: spaces.Dict, subtask_width: int = 32) -> None:
        """Sizes the network by the spaces.

        Raises:
            CheckpointError: a key that the policy reads is missing.
        """
        missing = {"subtasks", "workers", "context", "action_mask"} - set(observation_space.spaces)
        if missing:
            raise CheckpointError(
                f"WorkerScoringPolicy reads the observation keys {sorted(missing)}, which the "
                "environment leaves out; add them to its `observation` argument"
            )
        _, row_width = _shape(observation_space, "subtasks")
        self.num_workers, self.worker_width = _shape(observation_space, "workers")
        (context_width,) = _shape(observation_space, "context")
        self.state_width = context_width + row_width + subtask_width
        super().__init__(observation_space, self.state_width + self.num_workers * self.worker_width)
        self.subtask_net = nn.Sequential(nn.Linear(row_width, subtask_width), nn.ReLU())

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """Returns float32 (B, state_width + W * worker_width)."""
        subtasks = observations["subtasks"]
        exists, is_current = subtasks[:, :, :1], subtasks[:, :, -1:]  # first and last column
        pooled = (self.subtask_net(subtasks) * exists).sum(1) / exists.sum(1)
        current = (subtasks * is_current).sum(1)
        workers = observations["workers"].flatten(1)
        return torch.cat([observations["context"], current, pooled, workers], dim=1)


def _shape(space: spaces.Dict, key: str) -> tuple[int, ...]:
    shape = space[key].shape
    assert shape is not None
    return shape


class WorkerScorer(nn.Module):
    """Embeds each worker together with the state; the value sees the state and the workers' mean.

    `forward` returns the actor's latent (B, W * hidden) and the critic's (B, hidden), as SB3's
    MlpExtractor does.
    """

    def __init__(self, extractor: PlanExtractor, hidden: int) -> None:
        """Sizes the networks."""
        super().__init__()
        self._split = extractor.state_width
        self._num_workers, self._worker_width = extractor.num_workers, extractor.worker_width
        self.latent_dim_pi, self.latent_dim_vf = self._num_workers * hidden, hidden
        self.actor_state = nn.Sequential(
            nn.Linear(self._split, hidden), nn.ReLU(), nn.Linear(hidden, hidden)
        )
        self.actor_worker = nn.Linear(self._worker_width, hidden)
        self.actor_joint = nn.Sequential(nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.critic_worker = nn.Sequential(nn.Linear(self._worker_width, hidden), nn.ReLU())
        self.critic_joint = nn.Sequential(
            nn.Linear(self._split + hidden, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()
        )

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the latents of actor and critic."""
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: Tensor) -> Tensor:
        """Returns float32 (B, W * hidden)."""
        state, workers = self._parts(features)
        joint: Tensor = self.actor_joint(
            self.actor_state(state).unsqueeze(1) + self.actor_worker(workers)
        )
        return joint.flatten(1)

    def forward_critic(self, features: Tensor) -> Tensor:
        """Returns float32 (B, hidden)."""
        state, workers = self._parts(features)
        joint = torch.cat([state, self.critic_worker(workers).mean(1)], dim=1)
        value: Tensor = self.critic_joint(joint)
        return value

    def _parts(self, features: Tensor) -> tuple[Tensor, Tensor]:
        workers = features[:, self._split :]
        shape = (-1, self._num_workers, self._worker_width)
        return features[:, : self._split], workers.reshape(shape)


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
            observation_space: of OrchestAIEnv, with subtasks, workers, context and action_mask.
            action_space: Discrete(W).
            lr_schedule: SB3's schedule.
            hidden: width of the hidden layers.
            use_sde: accepted because stock PPO passes it; must be False (actions are discrete).
            kwargs: the other arguments of SB3's actor-critic policies.
        """
        assert not use_sde, "state-dependent exploration is for continuous actions"
        self._hidden = hidden
        self._network = {
            "kind": kind,
            "num_layers": num_layers,
            "num_heads": num_heads,
            "embeddings": embeddings,
        }
        kwargs.setdefault("features_extractor_class", PlanExtractor)
        super().__init__(observation_space, action_space, lr_schedule, **kwargs)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | self._network | {"hidden": self._hidden}

    def _build_mlp_extractor(self) -> None:
        assert isinstance(self.features_extractor, PlanExtractor)
        self.mlp_extractor = WorkerScorer(self.features_extractor, self._hidden)  # type: ignore[assignment]

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        assert isinstance(self.action_space, spaces.Discrete)
        self.action_net = SharedHead(int(self.action_space.n), self._hidden)
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

    def get_distribution(self, obs: PyTorchObs, action_masks: Any = None) -> MaskableDistribution:
        """Returns the distribution over workers; masked ones have probability 0."""
        return super().get_distribution(obs, _mask(obs, action_masks))


def _mask(obs: Any, action_masks: Any) -> Any:
    if action_masks is not None:
        return action_masks
    return obs["action_mask"].bool()
