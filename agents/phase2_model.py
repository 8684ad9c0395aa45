"""The model of phase 2 over its training environment: new, from a checkpoint, or resumed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm

from agents.algorithms import new_model, resumed_model, trains_our_policy
from agents.anchored_ppo import AnchoredPPO, Anchoring
from agents.baselines.simple import RandomAgent
from agents.checkpoint import (
    load_policy_state,
    read_policy_weights,
    read_torch,
    save_checkpoint,
    trained_for,
    vocabulary,
)
from agents.config import Algorithm, PolicySettings
from agents.evaluate import KEYS, evaluate
from agents.experiment import Experiment
from agents.policy import policy_keys
from agents.vec_env import OrchestAIVecEnv
from orchestai_env.errors import ConfigError
from orchestai_env.vector_env import OrchestAIVectorEnv

START = "phase2_start.pth"
"""File of a phase-2 run folder: the weights that the run started from, where it had some."""
_RANDOM_WORKFLOWS = 1000


def build_phase2_model(
    experiment: Experiment, checkpoint: Path | None, resume_from: Path | None
) -> BaseAlgorithm:
    """Builds the model over its environment, with new, pretrained or resumed weights.

    Args:
        experiment: settings, data and run folder.
        checkpoint: phase-1 .pth or SB3 zip whose policy it starts from; None = from scratch.
        resume_from: the run's last model, to go on with; None = a new one.
    Raises:
        ConfigError: the algorithm refuses an argument, or cannot start from a checkpoint.
        CheckpointError: a checkpoint is broken, or of another network or task types.
    """
    settings = experiment.config.training.phase2_rl
    is_ours = trains_our_policy(settings.algorithm)
    if not is_ours:
        _refuse(checkpoint, settings.algorithm)
    policy_kwargs: dict[str, Any] = experiment.config.training.policy.model_dump()
    dataset = experiment.dataset("train")
    state, source = None, resume_from or checkpoint
    if is_ours and source is not None:  # it says how its network is made, not the settings
        state, found = read_policy_weights(source, dataset)
        # Algorithms add to their policy's arguments, A2C an optimizer; those stay there.
        policy_kwargs = {k: v for k, v in found.items() if k in PolicySettings.model_fields}
    keys = _keys(policy_kwargs) if is_ours else KEYS
    env = _training_env(experiment, keys)
    logs = str(experiment.output_dir / "tensorboard")
    if resume_from is not None:
        model = resumed_model(
            settings.algorithm, resume_from, env, device=experiment.device, tensorboard_log=logs
        )
    else:
        model = new_model(
            settings,
            env,
            policy_kwargs=policy_kwargs,
            seed=experiment.seed,
            device=experiment.device,
            tensorboard_log=logs,
        )
    starts = resume_from is None and checkpoint is not None
    if starts and state is not None and source is not None:
        load_policy_state(model.policy, state, source)
    if isinstance(model, AnchoredPPO):
        _anchor(model, experiment, is_new=starts)
    model.vocabulary = vocabulary(dataset)  # type: ignore[attr-defined]  # SB3 saves attributes
    model.trained_for = trained_for(experiment.setting("train"))  # type: ignore[attr-defined]  # likewise
    return model


def _refuse(checkpoint: Path | None, algorithm: Algorithm) -> None:
    """Refuses a checkpoint for an algorithm that does not train our policy."""
    if checkpoint is not None:
        raise ConfigError(
            f"--checkpoint {checkpoint}: {algorithm} has a network of its own and cannot start "
            "from another; leave it out, or set algorithm to PPO, MaskablePPO, TRPO or A2C"
        )


def _keys(policy_kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    names = ("kind", "embeddings")
    return policy_keys(**{name: policy_kwargs[name] for name in names if name in policy_kwargs})


def _training_env(experiment: Experiment, keys: tuple[str, ...]) -> OrchestAIVecEnv:
    settings = experiment.config.training.phase2_rl
    setting = experiment.training_setting()
    rules = {k: v for k, v in setting.rules.model_dump().items() if v is not None}
    return OrchestAIVecEnv(
        OrchestAIVectorEnv(
            settings.num_envs,
            setting.dataset,
            reward_weights=setting.weights,
            observation=keys,
            **rules,
        ),
        seed=experiment.seed,
        reward_scale=_reward_scale(experiment) if settings.normalize_reward else 1.0,
    )


def _anchor(model: AnchoredPPO, experiment: Experiment, *, is_new: bool) -> None:
    """Ties the model to the checkpoint that the run started from, if it did from one.

    Its weights are kept in the run folder, so that a resumed run stays close to the same policy.
    """
    settings = experiment.config.training.phase2_rl
    model.entropy_floor = settings.entropy_floor
    model.num_episodes = None if settings.total_timesteps else settings.num_episodes
    path = experiment.output_dir / START
    if is_new:
        save_checkpoint(path, dict(model.policy.state_dict()))
    if path.is_file():
        anchoring = Anchoring(
            critic_warmup=settings.critic_warmup,
            kl_coef=settings.kl_coef,
            kl_fade=settings.kl_fade,
        )
        model.anchor(anchoring, read_torch(path))


def _reward_scale(experiment: Experiment) -> float:
    """Returns 1 / the standard deviation of a random agent's training returns."""
    setting = experiment.setting("train", _RANDOM_WORKFLOWS)
    outcomes = evaluate(RandomAgent(0), setting, seed=0)
    return 1.0 / max(float(np.std(outcomes.episode_return)), 1e-6)
