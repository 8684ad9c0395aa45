"""Command: phase 1, supervised training of the networks that phase 2 and the planner start from."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.progress import Progress
from torch.utils.tensorboard import SummaryWriter

from agents.checkpoint import (
    TRAINED_FOR,
    check_resume,
    read_phase1,
    save_checkpoint,
    trained_for,
    vocabulary,
)
from agents.config import ExperimentSettings, load_experiment
from agents.evaluate import evaluate
from agents.experiment import Experiment, experiment_parser, read_experiment, with_overrides
from agents.registry import load_cloned_policy
from agents.tracking import wandb_run
from orchestai_env.cli import run_command
from orchestai_env.errors import CheckpointError
from orchestai_env.run_folder import claim
from supervised.cloning.policy_fit import policy_fit
from supervised.fit import Fit, Losses, Weights
from supervised.planner.checkpoint import PLANNER_KEY, check_planner_words, planner_state
from supervised.planner.learner import MISSED
from supervised.planner.model import PlannerModel
from supervised.planner.training import planner_fit
from supervised.planner.training_data import planner_data
from supervised.plans.files import holds_plans

BEST, LAST, RESULT = "phase1_best.pth", "phase1_last.pth", "result.json"
PLANNER, POLICY = "planner", "policy"
_EVALUATION_WORKFLOWS = 2000


def train_phase1(
    experiment: Experiment,
    *,
    resume: bool,
    progress_bar: bool,
    use_wandb: bool = False,
    plans: Sequence[Path] = (),
) -> dict[str, Any]:
    """Trains every learner until it is done; keeps the best and the last checkpoint.

    Args:
        experiment: settings, data and run folder.
        resume: continue from the run folder's last checkpoint; a run cut in two equals one run.
        progress_bar: show one.
        use_wandb: copy the TensorBoard log to Weights & Biases.
        plans: files that a learned planner is taught with; without them it learns the workflows
            of the experiment.
    Returns:
        What the run folder's result.json holds.
    Raises:
        OrchestAIError: data, checkpoint or settings are wrong, or a loss is not finite.
        KeyboardInterrupt: Ctrl-C; the message says what was saved.
    """
    last = experiment.output_dir / LAST
    check_resume(last, resume=resume)
    experiment.prepare_output()
    with contextlib.ExitStack() as stack:
        if use_wandb:
            config = experiment.config.model_dump(mode="json")
            stack.enter_context(wandb_run(experiment.output_dir, config))
        fits = _new_fits(experiment, plans)
        if resume:
            _restore(last, fits)
        logs = str(experiment.output_dir / "tensorboard")
        writer = stack.enter_context(contextlib.closing(SummaryWriter(logs)))
        progress = stack.enter_context(Progress(disable=not progress_bar))
        try:
            _train(experiment, fits, writer, progress)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_interrupted(last)) from None
    return _finish(experiment, fits)


def _new_fits(experiment: Experiment, plans: Sequence[Path]) -> dict[str, Fit]:
    """Returns what phase 1 trains, by the names of the log and the checkpoints."""
    fits: dict[str, Fit] = {}
    if experiment.config.planner.kind == "learned":
        train, held_out = planner_data(experiment, plans)
        fits[PLANNER] = planner_fit(
            train, held_out, experiment.config, seed=experiment.seed, device=experiment.device
        )
    return fits | {POLICY: policy_fit(experiment)}


def _train(
    experiment: Experiment, fits: Mapping[str, Fit], writer: SummaryWriter, progress: Progress
) -> None:
    """Trains epoch by epoch, each learner until it is done, and saves after every epoch."""
    bars = {
        name: progress.add_task(name, total=fit.settings.max_epochs, completed=fit.epoch)
        for name, fit in fits.items()
    }
    while running := {name: fit for name, fit in fits.items() if not fit.is_done}:
        for name, fit in running.items():
            _log(writer, name, fit.run_epoch(), fit.epoch - 1)
            progress.advance(bars[name])
        if any(fit.best.epoch == fit.epoch for fit in running.values()):
            _save(experiment, fits, BEST)
        _save(experiment, fits, LAST)


def _log(writer: SummaryWriter, name: str, losses: Mapping[str, Losses], epoch: int) -> None:
    for side, parts in losses.items():
        for part, value in parts.items():
            writer.add_scalar(f"{name}/{side}/{part}", value, epoch)


def _save(experiment: Experiment, fits: Mapping[str, Fit], name: str) -> None:
    """Writes a checkpoint of all learners; only the last one can be resumed.

    In both, `epoch` is the highest of its weights, `val_loss` the sum of their validation totals
    (one by one in `val_losses`), and the optimizers' states are those of the last epoch.
    """
    is_best = name == BEST
    weights: dict[str, Weights] = {}
    epochs, val_losses = {}, {}
    for key, fit in fits.items():
        weights[key] = fit.best.weights if is_best else fit.weights()
        epochs[key] = fit.best.epoch if is_best else fit.epoch
        val_losses[key] = fit.best.losses["total"] if is_best else fit.val_loss
    data = {
        "epoch": max(epochs.values()),
        "epochs": epochs,
        "model_state_dict": weights.get(PLANNER, {}),
        "optimizer_state_dict": {
            key: fit.learner.optimizer.state_dict() for key, fit in fits.items()
        },
        "val_loss": sum(val_losses.values()),
        "val_losses": val_losses,
        "config": experiment.config.model_dump(mode="json")
        | {
            "vocabulary": vocabulary(experiment.dataset("train")),
            TRAINED_FOR: trained_for(experiment.setting("train")),
        },
        "policy_state_dict": weights[POLICY],
        "policy_kwargs": experiment.config.training.policy.model_dump(),
    }
    if PLANNER in fits:
        data[PLANNER_KEY] = planner_state(_planner_of(fits))
    if not is_best:
        data["fits"] = {key: fit.state_dict() for key, fit in fits.items()}
    save_checkpoint(experiment.output_dir / name, data)


def _restore(path: Path, fits: Mapping[str, Fit]) -> None:
    """Takes all learners up where the run's last checkpoint left them.

    Raises:
        CheckpointError: the file is broken, or of other learners or networks.
    """
    data = read_phase1(path)
    states = data.get("fits", {})
    if set(states) != set(fits):
        raise CheckpointError(
            f"{path}: expected the learners {sorted(fits)}, got {sorted(states)}; resume with the "
            "settings that it was made with, or name another --output_dir"
        )
    if PLANNER in fits:
        check_planner_words(path, data, _planner_of(fits).vocabulary)
    for name, fit in fits.items():
        try:
            fit.load_state_dict(states[name])
        except (RuntimeError, ValueError) as error:  # torch's words for other shapes
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(
                f"{path}: its {name} is another network ({reason}); resume with the settings that "
                "it was made with"
            ) from None


def _planner_of(fits: Mapping[str, Fit]) -> PlannerModel:
    model = fits[PLANNER].learner.module
    assert isinstance(model, PlannerModel)
    return model


def _interrupted(last: Path) -> str:
    if not last.is_file():
        return "interrupted before the first epoch ended; nothing was saved"
    return f"interrupted; {last} holds all finished epochs, --resume goes on from there"


def _finish(experiment: Experiment, fits: Mapping[str, Fit]) -> dict[str, Any]:
    """Measures the best policy in the environment and writes result.json."""
    result: dict[str, Any] = {
        "epochs": max(fit.epoch for fit in fits.values()),
        "val_loss": sum(fit.best.losses["total"] for fit in fits.values()),
        "learners": {
            name: {"epochs": fit.epoch, "best_epoch": fit.best.epoch, "best": fit.best.losses}
            for name, fit in fits.items()
        },
    }
    for split in ("train", "validation"):
        setting = experiment.evaluation_setting(split, _EVALUATION_WORKFLOWS)
        policy = load_cloned_policy(experiment.output_dir / BEST, setting).to(experiment.device)
        result[split] = evaluate(policy, setting, seed=experiment.seed).summary()
    (experiment.output_dir / RESULT).write_text(json.dumps(result, indent=1) + "\n")
    return result


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, trains, and prints the result."""
    parser = experiment_parser("supervised.train_phase1", __doc__)
    parser.add_argument("--epochs", type=int, help="most epochs; num_epochs of the settings")
    parser.add_argument("--batch_size", type=int, help="decisions per batch")
    parser.add_argument("--resume", action="store_true", help="continue the run in --output_dir")
    parser.add_argument(
        "--wandb", action="store_true", help="copy the curves to Weights & Biases (extra: wandb)"
    )
    args = parser.parse_args(argv)
    plans = _plan_files(args)
    experiment = read_experiment(args, _settings(args, learns_plans=bool(plans)))
    with claim(experiment.output_dir):
        result = train_phase1(
            experiment,
            resume=args.resume,
            progress_bar=not args.quiet,
            use_wandb=args.wandb,
            plans=plans,
        )
    planner, policy = (result["learners"].get(name) for name in (PLANNER, POLICY))
    if planner is not None:
        print(
            f"planner: best after {planner['best_epoch']} of {planner['epochs']} epochs; it misses "
            f"{planner['best'][MISSED]:.0%} of held-out texts and links that it is led to"
        )
    print(
        f"phase 1: {result['epochs']} epochs on {experiment.device}; validation loss "
        f"{result['val_loss']:.3f}, entropy of the policy {policy['best']['entropy']:.2f} nats, "
        f"return {result['validation']['return_mean']:.3f} (training "
        f"{result['train']['return_mean']:.3f}); {experiment.output_dir / BEST}"
    )


def _plan_files(args: argparse.Namespace) -> list[Path]:
    """Takes --data for plans where it is no imported data set; the policy then learns on others."""
    data: Path | None = args.data
    if data is None or not (data.is_file() or holds_plans(data)):
        return []
    args.data = None
    return [data]


def _settings(args: argparse.Namespace, *, learns_plans: bool) -> ExperimentSettings:
    given = {"num_epochs": args.epochs, "batch_size": args.batch_size}
    changed = {key: value for key, value in given.items() if value is not None}
    config = with_overrides(load_experiment(args.config), "phase1_supervised", changed)
    if not learns_plans:
        return config
    planner = config.planner.model_copy(update={"kind": "learned"})
    return config.model_copy(update={"planner": planner})


if __name__ == "__main__":
    run_command(main)
