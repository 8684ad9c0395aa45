"""Algorithms of phase 2: classes of Stable-Baselines3 and sb3-contrib, built from our settings."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sb3_contrib import TRPO, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DQN
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from agents.anchored_ppo import AnchoredPPO
from agents.config import Algorithm, Phase2Settings
from agents.policy import WorkerScoringPolicy
from orchestai_env.errors import CheckpointError, ConfigError, unknown_name

ALGORITHMS: dict[Algorithm, type[BaseAlgorithm]] = {
    "PPO": AnchoredPPO,
    "MaskablePPO": MaskablePPO,
    "RecurrentPPO": RecurrentPPO,
    "TRPO": TRPO,
    "A2C": A2C,
    "DQN": DQN,
}
_OWN_NETWORK: dict[Algorithm, str] = {
    "RecurrentPPO": "MultiInputLstmPolicy",
    "DQN": "MultiInputPolicy",
}
"""Policies of the algorithms that cannot train WorkerScoringPolicy: one has a memory, the other
learns values of actions and knows no masks, so that the environment replaces what it may not do."""
_GIVEN = ("policy", "env", "seed", "device", "tensorboard_log", "_init_setup_model")
"""Arguments that the command decides on."""


class LinearRate:
    """Learning rate that falls linearly to a fiftieth; a class, so that checkpoints can hold it."""

    def __init__(self, initial: float) -> None:
        """Takes the rate at the start."""
        self.initial = initial

    def __call__(self, progress_remaining: float) -> float:
        """Returns the rate where this share (1..0) of the training is left."""
        return self.initial * max(progress_remaining, 0.02)


def trains_our_policy(algorithm: Algorithm) -> bool:
    """Tells whether it trains WorkerScoringPolicy, and so can start from a checkpoint."""
    return algorithm not in _OWN_NETWORK


def new_model(
    settings: Phase2Settings,
    env: VecEnv,
    *,
    policy_kwargs: Mapping[str, Any],
    seed: int,
    device: str,
    tensorboard_log: str,
) -> BaseAlgorithm:
    """Builds a model that has learned nothing yet.

    Args:
        settings: which algorithm, and its arguments.
        env: what it is trained in.
        policy_kwargs: of WorkerScoringPolicy; the algorithms with networks of their own take theirs
            from algorithm_arguments.
        seed: of all its random numbers.
        device: cpu or cuda.
        tensorboard_log: folder.
    Raises:
        ConfigError: an argument is unknown, or the algorithm refuses it.
    """
    arguments = model_arguments(settings, env.num_envs)
    policy: Any = _OWN_NETWORK.get(settings.algorithm, WorkerScoringPolicy)
    if trains_our_policy(settings.algorithm):
        arguments["policy_kwargs"] = dict(policy_kwargs)
    try:
        return ALGORITHMS[settings.algorithm](
            policy=policy,
            env=env,
            seed=seed,
            device=device,
            tensorboard_log=tensorboard_log,
            **arguments,
        )
    except (TypeError, ValueError, AssertionError) as error:  # SB3's words for wrong arguments
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ConfigError(
            f"training.phase2_rl: {settings.algorithm} refuses its arguments ({reason}); see "
            "algorithm_arguments"
        ) from None


def model_arguments(settings: Phase2Settings, num_envs: int) -> dict[str, Any]:
    """Returns the arguments of the algorithm's class: our keys that it knows, then its own.

    Raises:
        ConfigError: algorithm_arguments has a name that the class does not know.
    """
    algorithm = ALGORITHMS[settings.algorithm]
    known = set(inspect.signature(algorithm).parameters) - set(_GIVEN)
    if trains_our_policy(settings.algorithm):
        known.discard("policy_kwargs")  # training.policy
    for name in settings.algorithm_arguments:
        if name not in known:
            what = f"argument of {settings.algorithm}"
            raise ConfigError(
                f"training.phase2_rl.algorithm_arguments: {unknown_name(what, name, known)}"
            )
    ours = _our_arguments(settings, num_envs)
    if issubclass(algorithm, OffPolicyAlgorithm):
        del ours["n_steps"]  # steps of a return there, not of a roll-out
    return {k: v for k, v in ours.items() if k in known} | settings.algorithm_arguments


def _our_arguments(settings: Phase2Settings, num_envs: int) -> dict[str, Any]:
    """Translates the settings to SB3's names."""
    is_linear = settings.learning_rate_schedule == "linear"
    rate: Any = LinearRate(settings.learning_rate) if is_linear else settings.learning_rate
    return {
        "learning_rate": rate,
        "n_steps": settings.n_steps,
        "batch_size": min(settings.batch_size, settings.n_steps * num_envs),
        "n_epochs": settings.n_epochs,
        "gamma": settings.gamma,
        "gae_lambda": settings.gae_lambda,
        "clip_range": settings.epsilon,
        "ent_coef": settings.ent_coef,
        "vf_coef": settings.vf_coef,
        "max_grad_norm": settings.max_grad_norm,
    }


def resumed_model(
    algorithm: Algorithm, path: Path, env: VecEnv, *, device: str, tensorboard_log: str
) -> BaseAlgorithm:
    """Loads the last model of a run to go on with; DQN starts with an empty replay buffer.

    Raises:
        CheckpointError: the file is broken, of another algorithm, or made for other spaces.
    """
    try:
        return ALGORITHMS[algorithm].load(
            path, env=env, device=device, tensorboard_log=tensorboard_log
        )
    except Exception as error:  # SB3 raises many kinds for a broken or foreign file
        reason = (" ".join(str(error).split()) or type(error).__name__)[:200]
        raise CheckpointError(
            f"{path}: cannot be read as a model of {algorithm} ({reason}); resume with the "
            "settings that the run was started with"
        ) from None
