"""Command: phase 2, reinforcement learning of the policy, from a checkpoint or from scratch."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, ProgressBarCallback
from stable_baselines3.common.utils import set_random_seed

from agents.anchored_ppo import LossError
from agents.checkpoint import check_resume, write_whole
from agents.config import load_experiment
from agents.experiment import Experiment, experiment_parser, read_experiment, with_overrides
from agents.phase2_callbacks import (
    BEST,
    LAST,
    FiniteLosses,
    OnEvaluation,
    StopCallback,
    ValidationCallback,
)
from agents.phase2_logging import EpisodeScalars, HyperParameters
from agents.phase2_model import build_phase2_model
from agents.picks import PickMonitor
from agents.tracking import wandb_run
from orchestai_env.cli import run_command
from orchestai_env.run_folder import claim

RESULT = "result.json"


def train_phase2(
    experiment: Experiment,
    *,
    checkpoint: Path | None,
    resume: bool,
    progress_bar: bool,
    use_wandb: bool = False,
    on_evaluation: OnEvaluation | None = None,
) -> dict[str, Any]:
    """Trains the policy by reinforcement learning; keeps the best checkpoint by validation return.

    Args:
        experiment: settings, data and run folder.
        checkpoint: phase-1 .pth or SB3 zip whose policy training starts from; None = from scratch.
        resume: continue from the run folder's last checkpoint.
        progress_bar: show one.
        use_wandb: copy the TensorBoard log to Weights & Biases.
        on_evaluation: told every evaluation, a row of curve.csv; what it raises ends the training.
    Returns:
        What the run folder's result.json holds.
    Raises:
        OrchestAIError: data, checkpoint or settings are wrong, or a loss is not finite.
        KeyboardInterrupt: Ctrl-C; the message says what was saved.
    """
    last = experiment.output_dir / LAST
    check_resume(last, resume=resume)
    experiment.prepare_output()
    set_random_seed(experiment.seed, using_cuda=experiment.device == "cuda")
    with contextlib.ExitStack() as stack:
        if use_wandb:
            config = experiment.config.model_dump(mode="json")
            stack.enter_context(wandb_run(experiment.output_dir, config))
        model = build_phase2_model(experiment, checkpoint, last if resume else None)
        validation = _validation(experiment, resume=resume)
        validation.on_evaluation = on_evaluation
        _learn(model, experiment, validation, resume=resume, progress_bar=progress_bar)
    result = {"timesteps": model.num_timesteps, "checkpoint": str(checkpoint or "")}
    result |= validation.best
    (experiment.output_dir / RESULT).write_text(json.dumps(result, indent=1) + "\n")
    return result


def _total_timesteps(experiment: Experiment) -> int:
    settings = experiment.config.training.phase2_rl
    return settings.total_timesteps or settings.num_episodes * settings.max_steps_per_episode


def _validation(experiment: Experiment, *, resume: bool) -> ValidationCallback:
    settings = experiment.config.training.phase2_rl
    return ValidationCallback(
        experiment.evaluation_setting("validation", settings.evaluation_workflows),
        experiment.evaluation_setting("train", settings.evaluation_workflows),
        output_dir=experiment.output_dir,
        every=max(1, _total_timesteps(experiment) // settings.num_evaluations),
        seed=experiment.seed,
        resume=resume,
    )


def _learn(
    model: BaseAlgorithm,
    experiment: Experiment,
    validation: ValidationCallback,
    *,
    resume: bool,
    progress_bar: bool,
) -> None:
    """Trains until the end; Ctrl-C saves the model."""
    settings = experiment.config.training.phase2_rl
    stop = StopCallback(
        validation,
        num_episodes=None if settings.total_timesteps else settings.num_episodes,
        patience=settings.patience,
    )
    callbacks: list[BaseCallback] = [
        HyperParameters(_named_settings(experiment)),
        EpisodeScalars(),
        PickMonitor(experiment.dataset("train"), settings.collapse_share),
        FiniteLosses(),
        validation,
        stop,
    ]
    try:
        with _shown_progress(progress_bar) as bars:
            model.learn(
                max(0, _total_timesteps(experiment) - model.num_timesteps),
                callback=[*callbacks, *bars],
                reset_num_timesteps=not resume,
                tb_log_name="phase2",
            )
    except KeyboardInterrupt:
        stop.forget_rollout()
        last = experiment.output_dir / LAST
        write_whole(last, model.save)
        raise KeyboardInterrupt(
            f"interrupted; {last} holds all {model.num_timesteps} steps that were learned from, "
            "--resume goes on from there"
        ) from None
    except ValueError as error:
        if not str(error).startswith("Expected parameter"):  # torch's words for NaN in a policy
            raise
        raise LossError(
            f"phase 2: the policy gives no finite probabilities any more at step "
            f"{model.num_timesteps}; lower learning_rate; the checkpoints of "
            f"{experiment.output_dir} are from before"
        ) from None


@contextlib.contextmanager
def _shown_progress(is_shown: bool) -> Iterator[list[BaseCallback]]:
    """Gives SB3's progress bar, if any, and closes it however the training ends.

    SB3 itself leaves it open after Ctrl-C or an error: messages then come in between, and rich may
    raise when the interpreter goes.
    """
    bars = [ProgressBarCallback()] if is_shown else []
    try:
        yield list(bars)
    finally:
        for bar in bars:
            if hasattr(bar, "pbar"):
                bar.pbar.close()


def _named_settings(experiment: Experiment) -> dict[str, Any]:
    """Returns what a reader of many runs compares them by."""
    training = experiment.config.training
    named: dict[str, Any] = {"seed": experiment.seed, "device": experiment.device}
    named["profile"] = experiment.profile
    named |= {f"reward/{name}": value for name, value in experiment.weights.model_dump().items()}
    stated = {"alpha", "beta", "gamma_latency", "shaped_reward"}  # the weights without a profile
    named |= training.phase2_rl.model_dump(exclude=stated)
    for section in ("policy", "variation"):
        values = getattr(training, section).model_dump()
        named |= {f"{section}/{name}": value for name, value in values.items()}
    return named


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, trains, and prints the result."""
    parser = experiment_parser("agents.train_phase2", __doc__)
    parser.add_argument("--checkpoint", type=Path, help="phase-1 .pth or SB3 zip to start from")
    parser.add_argument("--episodes", type=int, help="episodes over all environments")
    parser.add_argument("--resume", action="store_true", help="continue the run in --output_dir")
    parser.add_argument(
        "--wandb", action="store_true", help="copy the curves to Weights & Biases (extra: wandb)"
    )
    args = parser.parse_args(argv)
    config = load_experiment(args.config)
    if args.episodes is not None:
        config = with_overrides(
            config, "phase2_rl", {"num_episodes": args.episodes, "total_timesteps": None}
        )
    experiment = read_experiment(args, config)
    with claim(experiment.output_dir):
        result = train_phase2(
            experiment,
            checkpoint=args.checkpoint,
            resume=args.resume,
            progress_bar=not args.quiet,
            use_wandb=args.wandb,
        )
    print(
        f"phase 2: {result['timesteps']} steps on {experiment.device}; best validation return "
        f"{result['validation_return']:.3f} at step {result['step']}; "
        f"{experiment.output_dir / BEST}"
    )


if __name__ == "__main__":
    run_command(main)
