"""Any model of Stable-Baselines3 as an agent: ours, or a stock one that knows no action mask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.dqn.policies import DQNPolicy
from torch import Tensor

from agents.agent import Actions, Agent, Obs, Setting, State
from agents.checkpoint import build_policy, load_policy_state, read_zip, vocabulary
from agents.policy import WorkerScoringPolicy
from orchestai_env.errors import CheckpointError, shown
from orchestai_env.observation import ObservationLayout

_MASK = "action_mask"
_ACTORS = (ActorCriticPolicy, MaskableActorCriticPolicy)


class MaskedPolicyAgent:
    """Keeps a stock policy of SB3 to the allowed workers.

    It takes the allowed worker with the highest logit, or Q value, or draws one by the
    probabilities of the logits; Q values are always taken greedily. An LSTM's states are passed on.
    """

    def __init__(self, policy: BasePolicy) -> None:
        """Takes a policy of PPO, A2C, TRPO, MaskablePPO, RecurrentPPO or DQN, of a Dict space."""
        assert isinstance(policy.observation_space, spaces.Dict)
        self.policy = policy
        self._read = tuple(policy.observation_space.spaces)
        self.observation_keys = tuple(dict.fromkeys((*self._read, _MASK)))

    def predict(
        self,
        observation: Obs,
        state: State = None,
        episode_start: npt.NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Actions, State]:
        """Returns int64 (m,) workers and the state of an LSTM, None without one; see Agent."""
        scores, state = self._scores(observation, state, episode_start)
        if deterministic or not self.has_probabilities:
            return scores.argmax(dim=1).numpy(), state
        return torch.multinomial(scores.softmax(dim=1), 1).squeeze(1).numpy(), state

    @property
    def has_probabilities(self) -> bool:
        """Whether its scores are logits, by which `predict` can draw."""
        return not isinstance(self.policy, DQNPolicy)

    def probabilities(
        self,
        observation: Obs,
        state: State = None,
        episode_start: npt.NDArray[np.bool_] | None = None,
    ) -> tuple[npt.NDArray[np.float64], State]:
        """Returns float64 (m, W), by which `predict` draws where it may, and the state of an LSTM.

        Args:
            observation: m rows.
            state: of an LSTM, as it was returned last.
            episode_start: bool (m,); where it is forgotten.
        """
        scores, state = self._scores(observation, state, episode_start)
        return scores.double().softmax(dim=1).numpy(), state

    def _scores(
        self, observation: Obs, state: State, episode_start: npt.NDArray[np.bool_] | None
    ) -> tuple[Tensor, State]:
        """Returns float32 (m, W) logits or Q values, least where masked, and the next state."""
        self.policy.set_training_mode(False)
        tensors: Any = {
            key: torch.as_tensor(observation[key], device=self.policy.device) for key in self._read
        }
        allowed = torch.as_tensor(observation[_MASK] > 0)
        with torch.no_grad():
            if isinstance(self.policy, RecurrentActorCriticPolicy):
                scores, state = _recurrent_scores(
                    self.policy, tensors, len(allowed), state, episode_start
                )
            elif isinstance(self.policy, _ACTORS):
                scores = _logits(self.policy.get_distribution(tensors))
            else:
                assert isinstance(self.policy, DQNPolicy)
                scores = self.policy.q_net(tensors)
        return scores.cpu().masked_fill(~allowed, -torch.inf), state


def _logits(distribution: Any) -> Tensor:
    """Returns float32 (m, W): log-probabilities of a categorical distribution of SB3."""
    logits: Tensor = distribution.distribution.logits
    return logits


def _recurrent_scores(
    policy: RecurrentActorCriticPolicy,
    tensors: Any,
    count: int,
    state: State,
    episode_start: npt.NDArray[np.bool_] | None,
) -> tuple[Tensor, State]:
    """Returns float32 (count, W) logits and the next states, as the policy's own `predict`."""
    layers, _, width = policy.lstm_hidden_state_shape
    zeros = np.zeros((layers, count, width), np.float32)
    hidden, cell = (
        torch.as_tensor(part, dtype=torch.float32, device=policy.device)
        for part in ((zeros, zeros) if state is None else state)
    )
    begins = np.zeros(count) if episode_start is None else episode_start
    starts = torch.as_tensor(begins, dtype=torch.float32, device=policy.device)
    distribution, states = policy.get_distribution(tensors, (hidden, cell), starts)
    return _logits(distribution), tuple(part.cpu().numpy() for part in states)


def policy_agent(policy: BasePolicy) -> Agent:
    """Returns a policy as an agent that only picks allowed workers; ours does so by itself."""
    if isinstance(policy, WorkerScoringPolicy):
        agent: Agent = policy
        return agent
    return MaskedPolicyAgent(policy)


def load_sb3_agent(path: Path, setting: Setting) -> Agent:
    """Loads a zip of PPO, A2C, DQN, MaskablePPO, RecurrentPPO or TRPO for prediction.

    The zip says which policy it holds. WorkerScoringPolicy is built for the workers and the sizes
    of the setting; a stock policy needs those that it was trained with, and may read any keys of
    the observation.

    Raises:
        MissingFileError: there is no such file.
        CheckpointError: the file is broken, holds no policy for a choice of workers, or was made
            for other task types, workers or spaces.
    """
    data, weights = read_zip(path)
    policy_class = data.get("policy_class")
    kinds = (*_ACTORS, DQNPolicy)
    if not (isinstance(policy_class, type) and issubclass(policy_class, kinds)):
        raise CheckpointError(
            f"{path}: expected a policy of PPO, A2C, DQN, MaskablePPO, RecurrentPPO or TRPO, got "
            f"{shown(policy_class)}"
        )
    is_ours = issubclass(policy_class, WorkerScoringPolicy)
    _check_vocabulary(path, data.get("vocabulary"), setting, with_workers=not is_ours)
    arguments: dict[str, Any] = dict(data.get("policy_kwargs") or {})
    if is_ours:
        return build_policy(setting, arguments, weights, path)
    _check_spaces(path, data, setting)
    try:
        policy: BasePolicy = policy_class(
            data["observation_space"], data["action_space"], lambda _: 0.0, **arguments
        )
    except (TypeError, ValueError, AssertionError) as error:
        raise CheckpointError(f"{path}: its policy cannot be built again ({error})") from None
    load_policy_state(policy, weights, path)
    return MaskedPolicyAgent(policy)


def _check_vocabulary(path: Path, found: Any, setting: Setting, *, with_workers: bool) -> None:
    """Refuses a model of other task types or workers; one of somebody else may not say."""
    if not isinstance(found, dict):
        return
    expected = vocabulary(setting.dataset)
    for what in ("task_types", "workers") if with_workers else ("task_types",):
        if found.get(what) != expected[what]:
            raise CheckpointError(
                f"{path}: trained for the {what.replace('_', ' ')} {found.get(what)}, but the "
                f"data has {expected[what]}; train it for this data"
            )


def _check_spaces(path: Path, data: dict[str, Any], setting: Setting) -> None:
    """Refuses a model of other spaces; it may read any of the keys that the data can fill."""
    found, actions = data.get("observation_space"), data.get("action_space")
    count = len(setting.dataset.pool)
    wrong = None
    if not isinstance(actions, spaces.Discrete) or actions != spaces.Discrete(count):
        wrong = f"expected actions Discrete({count}), one per worker, got {shown(actions)}"
    elif not isinstance(found, spaces.Dict):
        wrong = f"expected observations of the Dict space of OrchestAI-v0, got {shown(found)}"
    else:
        known = ObservationLayout.of(setting.dataset, None).space.spaces
        for key, space in found.spaces.items():
            if key not in known:
                wrong = f"it reads the observation key {key!r}, but there are {', '.join(known)}"
            elif space != known[key]:
                wrong = f"observation key {key!r}: expected {known[key]}, got {space}"
    if wrong is not None:
        raise CheckpointError(
            f"{path}: made for other spaces than this environment's ({wrong}); "
            f"it has {count} workers; train the model in this environment"
        )
