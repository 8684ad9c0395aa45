"""Command: phase 1, cloning of expert decisions by the policy that phase 2 fine-tunes."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from rich.progress import track
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.utils import set_random_seed
from torch.utils.tensorboard import SummaryWriter

from agents.checkpoint import check_resume, load_policy_state, read_phase1, vocabulary, write_whole
from agents.config import ExperimentSettings, load_experiment
from agents.evaluate import KEYS, evaluate
from agents.experiment import Experiment, experiment_parser, read_experiment, with_overrides
from agents.policy import WorkerScoringPolicy
from orchestai_env.cli import run_command
from orchestai_env.errors import ConfigError
from orchestai_env.observation import ObservationLayout
from supervised.behaviour_cloning import CloningLoss, CloningTrainer
from supervised.demonstrations import Demonstrations, collect_demonstrations

BEST, LAST, RESULT = "phase1_best.pth", "phase1_last.pth", "result.json"
_EVALUATION_WORKFLOWS = 2000


@dataclasses.dataclass
class _Progress:
    """Where training stands; saved with the last checkpoint, so that resuming is exact."""

    epoch: int = 0
    best_loss: float = float("inf")
    epochs_without_gain: int = 0


def train_phase1(experiment: Experiment, *, resume: bool, progress_bar: bool) -> dict[str, Any]:
    """Clones the expert; keeps the best and the last checkpoint.

    Args:
        experiment: settings, data and run folder.
        resume: continue from the run folder's last checkpoint; a run cut in two equals one run.
        progress_bar: show one.
    Returns:
        What the run folder's result.json holds.
    Raises:
        OrchestAIError: data, checkpoint or settings are wrong.
    """
    last = experiment.output_dir / LAST
    check_resume(last, resume=resume)
    experiment.prepare_output()
    set_random_seed(experiment.seed)
    train, held_out = _demonstrations(experiment)
    policy = _new_policy(experiment)
    run = _Run(experiment, policy)
    if resume:
        run.restore(last)
    last_epoch = run.progress.epoch if run.is_done else run.settings.num_epochs
    epochs = range(run.progress.epoch, last_epoch)
    with contextlib.closing(SummaryWriter(str(experiment.output_dir / "tensorboard"))) as writer:
        for epoch in track(epochs, description="cloning", disable=not progress_bar):
            run.epoch(train, held_out, epoch, writer)
            if run.is_done:
                break
    return _finish(experiment, policy, run.progress)


def _demonstrations(experiment: Experiment) -> tuple[Demonstrations, Demonstrations]:
    """Plays the expert, and splits its decisions by workflow."""
    settings = experiment.config.training.phase1_supervised
    setting = experiment.setting("train", settings.expert_workflows)
    data = collect_demonstrations(
        setting,
        seed=experiment.seed,
        random_share=settings.random_share,
        temperature=settings.label_temperature,
    )
    rng = np.random.default_rng(experiment.seed)
    held = rng.random(len(setting.dataset.workflows)) < settings.validation_share
    rows = held[data.workflow]
    if rows.all() or not rows.any():
        raise ConfigError(
            f"training.phase1_supervised.validation_share {settings.validation_share}: leaves no "
            f"workflow on one side of {len(held)}; use more workflows or another share"
        )
    return data.take(~rows), data.take(rows)


def _new_policy(experiment: Experiment) -> WorkerScoringPolicy:
    dataset = experiment.dataset("train")
    policy = WorkerScoringPolicy(
        ObservationLayout.of(dataset, KEYS).space,
        spaces.Discrete(len(dataset.pool)),
        lambda _: experiment.config.training.phase1_supervised.learning_rate,
        **experiment.config.training.policy.model_dump(),
    )
    return policy.to(experiment.device)


class _Run:
    """One cloning run: trainer, schedule, checkpoints."""

    def __init__(self, experiment: Experiment, policy: WorkerScoringPolicy) -> None:
        self.settings = experiment.config.training.phase1_supervised
        self._dir = experiment.output_dir
        self._config = experiment.config.model_dump(mode="json")
        self._config["vocabulary"] = vocabulary(experiment.dataset("train"))
        self._policy_kwargs = experiment.config.training.policy.model_dump()
        self._policy = policy
        self.trainer = CloningTrainer(
            policy,
            learning_rate=self.settings.learning_rate,
            batch_size=self.settings.batch_size,
            entropy_coef=self.settings.entropy_coef,
            max_grad_norm=self.settings.max_grad_norm,
            seed=experiment.seed,
        )
        self.schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.trainer.optimizer, factor=0.5, patience=max(1, self.settings.patience // 2)
        )
        self.progress = _Progress()

    def epoch(
        self, train: Demonstrations, held: Demonstrations, epoch: int, writer: SummaryWriter
    ) -> None:
        """Trains one epoch and saves."""
        losses = {
            "train": self.trainer.train_epoch(train, epoch),
            "val": self.trainer.measure(held),
        }
        _log(writer, losses, epoch)
        val_loss = losses["val"].total
        self.schedule.step(val_loss)
        improved = val_loss < self.progress.best_loss
        self.progress.epoch = epoch + 1
        self.progress.epochs_without_gain = 0 if improved else self.progress.epochs_without_gain + 1
        self.progress.best_loss = min(val_loss, self.progress.best_loss)
        if improved:
            self._save(BEST, val_loss)
        self._save(LAST, val_loss)

    @property
    def is_done(self) -> bool:
        """Tells whether the validation loss has not fallen for `patience` epochs."""
        return self.progress.epochs_without_gain >= self.settings.patience

    def restore(self, path: Path) -> None:
        """Takes up a run where its last checkpoint left it."""
        data = read_phase1(path)
        load_policy_state(self._policy, data["policy_state_dict"], path)
        self.trainer.optimizer.load_state_dict(data["optimizer_state_dict"])
        self.schedule.load_state_dict(data["schedule"])
        self.progress = _Progress(**data["progress"])

    def _save(self, name: str, val_loss: float) -> None:
        weights = self._policy.state_dict()
        data = {
            "epoch": self.progress.epoch,
            "model_state_dict": weights,  # what phase 1 trains is, so far, the policy alone
            "optimizer_state_dict": self.trainer.optimizer.state_dict(),
            "val_loss": val_loss,
            "config": self._config,
            "policy_state_dict": weights,
            "policy_kwargs": self._policy_kwargs,
            "schedule": self.schedule.state_dict(),
            "progress": dataclasses.asdict(self.progress),
        }
        write_whole(self._dir / name, lambda path: torch.save(data, path))


def _log(writer: SummaryWriter, losses: dict[str, CloningLoss], epoch: int) -> None:
    for side, loss in losses.items():
        for part, value in dataclasses.asdict(loss).items():
            writer.add_scalar(f"{side}/{part}", value, epoch)


def _finish(
    experiment: Experiment, policy: MaskableActorCriticPolicy, progress: _Progress
) -> dict[str, Any]:
    """Measures the best policy in the environment and writes result.json."""
    path = experiment.output_dir / BEST
    load_policy_state(policy, read_phase1(path)["policy_state_dict"], path)
    result: dict[str, Any] = {"epochs": progress.epoch, "val_loss": progress.best_loss}
    for split in ("train", "validation"):
        found = evaluate(
            policy, experiment.setting(split, _EVALUATION_WORKFLOWS), seed=experiment.seed
        )
        result[split] = found.summary()
    (experiment.output_dir / RESULT).write_text(json.dumps(result, indent=1) + "\n")
    return result


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, trains, and prints the result."""
    parser = experiment_parser("supervised.train_phase1", __doc__)
    parser.add_argument("--epochs", type=int, help="most epochs; num_epochs of the settings")
    parser.add_argument("--batch_size", type=int, help="decisions per batch")
    parser.add_argument("--resume", action="store_true", help="continue the run in --output_dir")
    args = parser.parse_args(argv)
    experiment = read_experiment(args, _settings(args))
    result = train_phase1(experiment, resume=args.resume, progress_bar=not args.quiet)
    print(
        f"phase 1: {result['epochs']} epochs on {experiment.device}; validation loss "
        f"{result['val_loss']:.3f}, return {result['validation']['return_mean']:.3f} "
        f"(training {result['train']['return_mean']:.3f}); {experiment.output_dir / BEST}"
    )


def _settings(args: argparse.Namespace) -> ExperimentSettings:
    given = {"num_epochs": args.epochs, "batch_size": args.batch_size}
    changed = {key: value for key, value in given.items() if value is not None}
    return with_overrides(load_experiment(args.config), "phase1_supervised", changed)


if __name__ == "__main__":
    run_command(main)
