"""Command: phase 2, PPO training of the policy, from a phase-1 checkpoint or from scratch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.utils import set_random_seed

from agents.baselines.simple import RandomAgent
from agents.checkpoint import check_resume, load_policy_state, load_ppo, read_policy_weights
from agents.config import Phase2Settings, load_experiment
from agents.evaluate import KEYS, evaluate
from agents.experiment import Experiment, experiment_parser, read_experiment, with_overrides
from agents.phase2_callbacks import BEST, LAST, StopAfterEpisodes, ValidationCallback
from agents.policy import WorkerScoringPolicy
from agents.vec_env import OrchestAIVecEnv
from orchestai_env.cli import run_command
from orchestai_env.vector_env import OrchestAIVectorEnv

RESULT = "result.json"
_RANDOM_WORKFLOWS = 1000


def train_phase2(
    experiment: Experiment,
    *,
    checkpoint: Path | None,
    resume: bool,
    progress_bar: bool,
) -> dict[str, Any]:
    """Trains the policy by PPO; keeps the best checkpoint by validation return.

    Args:
        experiment: settings, data and run folder.
        checkpoint: phase-1 .pth or SB3 zip whose policy training starts from; None = from scratch.
        resume: continue from the run folder's last checkpoint.
        progress_bar: show one.
    Returns:
        What the run folder's result.json holds.
    Raises:
        OrchestAIError: data, checkpoint or settings are wrong.
    """
    settings = experiment.config.training.phase2_rl
    last = experiment.output_dir / LAST
    check_resume(last, resume=resume)
    experiment.prepare_output()
    set_random_seed(experiment.seed, using_cuda=experiment.device == "cuda")
    model = _build_model(experiment, checkpoint, last if resume else None)
    total = settings.total_timesteps or settings.num_episodes * settings.max_steps_per_episode
    validation = ValidationCallback(
        experiment.setting("validation", settings.evaluation_workflows),
        experiment.setting("train", settings.evaluation_workflows),
        output_dir=experiment.output_dir,
        every=max(1, total // settings.num_evaluations),
        seed=experiment.seed,
        resume=resume,
    )
    stop = None if settings.total_timesteps else settings.num_episodes
    model.learn(
        max(0, total - model.num_timesteps),
        callback=[validation, StopAfterEpisodes(stop)],
        reset_num_timesteps=not resume,
        tb_log_name="phase2",
        progress_bar=progress_bar,
    )
    result = {"timesteps": model.num_timesteps, "checkpoint": str(checkpoint or "")}
    result |= validation.best
    (experiment.output_dir / RESULT).write_text(json.dumps(result, indent=1) + "\n")
    return result


def _build_model(experiment: Experiment, checkpoint: Path | None, resume_from: Path | None) -> PPO:
    """Builds PPO over the training environment, with new, pretrained or resumed weights."""
    settings = experiment.config.training.phase2_rl
    setting = experiment.training_setting()
    rules = {k: v for k, v in setting.rules.model_dump().items() if v is not None}
    venv = OrchestAIVecEnv(
        OrchestAIVectorEnv(
            settings.num_envs,
            setting.dataset,
            reward_weights=setting.weights,
            observation=KEYS,
            **rules,
        ),
        seed=experiment.seed,
        reward_scale=_reward_scale(experiment) if settings.normalize_reward else 1.0,
    )
    logs = str(experiment.output_dir / "tensorboard")
    if resume_from is not None:
        return load_ppo(resume_from, env=venv, device=experiment.device, tensorboard_log=logs)
    policy_kwargs: dict[str, Any] = experiment.config.training.policy.model_dump()
    state = None
    if checkpoint is not None:
        state, policy_kwargs = read_policy_weights(checkpoint, setting.dataset)
    policy: Any = WorkerScoringPolicy  # a maskable policy, which PPO's types do not know
    model = PPO(
        policy,
        venv,
        policy_kwargs=policy_kwargs,
        tensorboard_log=logs,
        seed=experiment.seed,
        device=experiment.device,
        **_ppo_arguments(settings),
    )
    if state is not None and checkpoint is not None:
        load_policy_state(model.policy, state, checkpoint)
    return model


def _ppo_arguments(settings: Phase2Settings) -> dict[str, Any]:
    """Translates the settings to SB3's names."""
    rate: Any = settings.learning_rate
    if settings.learning_rate_schedule == "linear":
        rate = LinearRate(settings.learning_rate)
    return {
        "learning_rate": rate,
        "n_steps": settings.n_steps,
        "batch_size": min(settings.batch_size, settings.n_steps * settings.num_envs),
        "n_epochs": settings.n_epochs,
        "gamma": settings.gamma,
        "gae_lambda": settings.gae_lambda,
        "clip_range": settings.epsilon,
        "ent_coef": settings.ent_coef,
        "vf_coef": settings.vf_coef,
        "max_grad_norm": settings.max_grad_norm,
    }


class LinearRate:
    """Learning rate that falls linearly to a fiftieth; a class, so that checkpoints can hold it."""

    def __init__(self, initial: float) -> None:
        """Takes the rate at the start."""
        self.initial = initial

    def __call__(self, progress_remaining: float) -> float:
        """Returns the rate where this share (1..0) of the training is left."""
        return self.initial * max(progress_remaining, 0.02)


def _reward_scale(experiment: Experiment) -> float:
    """Returns 1 / the standard deviation of a random agent's training returns."""
    setting = experiment.setting("train", _RANDOM_WORKFLOWS)
    outcomes = evaluate(RandomAgent(0), setting, seed=0)
    return 1.0 / max(float(np.std(outcomes.episode_return)), 1e-6)


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, trains, and prints the result."""
    parser = experiment_parser("agents.train_phase2", __doc__)
    parser.add_argument("--checkpoint", type=Path, help="phase-1 .pth or SB3 zip to start from")
    parser.add_argument("--episodes", type=int, help="episodes over all environments")
    parser.add_argument("--resume", action="store_true", help="continue the run in --output_dir")
    args = parser.parse_args(argv)
    config = load_experiment(args.config)
    if args.episodes is not None:
        config = with_overrides(
            config, "phase2_rl", {"num_episodes": args.episodes, "total_timesteps": None}
        )
    experiment = read_experiment(args, config)
    result = train_phase2(
        experiment,
        checkpoint=args.checkpoint,
        resume=args.resume,
        progress_bar=not args.quiet,
    )
    print(
        f"phase 2: {result['timesteps']} steps on {experiment.device}; best validation return "
        f"{result['validation_return']:.3f} at step {result['step']}; "
        f"{experiment.output_dir / BEST}"
    )


if __name__ == "__main__":
    run_command(main)
