"""Training of a planner: data, network and settings of phase 1 put together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from agents.checkpoint import save_checkpoint
from agents.config import ExperimentSettings
from supervised.fit import Fit, FitSettings, Losses
from supervised.planner.checkpoint import PLANNER_KEY, planner_state
from supervised.planner.inputs import RequestReader
from supervised.planner.learner import MISSED, PlannerLearner, PlannerLearnerSettings
from supervised.planner.model import PlannerModel
from supervised.planner.network import PlannerShape
from supervised.plans.dataset import WorkflowDataset
from supervised.plans.library import PlanLibrary
from supervised.texts.encoder import MemoEncoder, TextEncoder

History = list[dict[str, Losses]]
"""Losses of each epoch under "train" and "val"."""


def planner_fit(
    train: WorkflowDataset,
    held_out: WorkflowDataset,
    config: ExperimentSettings,
    *,
    seed: int,
    device: str,
    encoder: MemoEncoder | None = None,
) -> Fit:
    """Makes a planner that is to learn from annotated workflows.

    Args:
        train: workflows to learn from, which are its library as well.
        held_out: for early stopping, of the same vocabulary.
        config: its sections planner and training.
        seed: of the weights and the order of the data.
        device: torch device.
        encoder: the one of the settings, where several trainings share what it has encoded.
    Raises:
        ConfigError: the encoder cannot be loaded.
    """
    network, how = config.planner.network, config.training.phase1_supervised
    texts = encoder or TextEncoder.load(network.encoder, max_tokens=network.max_tokens).to(device)
    reader = RequestReader(
        texts,
        PlanLibrary.of(train, texts),
        num_neighbours=network.num_neighbours,
        max_spans=network.max_spans,
    )
    shape = PlannerShape(
        hidden=network.hidden,
        num_layers=network.num_layers,
        num_heads=network.num_heads,
        dropout=network.dropout,
        max_subtasks=config.planner.max_subtasks,
    )
    torch.manual_seed(seed)
    model = PlannerModel(reader, train.vocabulary, shape, fine_tune=network.fine_tune).to(device)
    learner = PlannerLearner(
        model,
        train,
        held_out,
        PlannerLearnerSettings(
            batch_size=how.batch_size,
            learning_rate=network.learning_rate or how.learning_rate,
            encoder_learning_rate=network.encoder_learning_rate,
            lambda_dag=how.lambda_dag,
            max_grad_norm=how.max_grad_norm,
            balance=network.balance_types,
            seed=seed,
        ),
    )
    settings = FitSettings(
        max_epochs=how.num_epochs, patience=how.patience, seed=seed, monitor=MISSED
    )
    return Fit(learner, settings)


def train_planner(
    train: WorkflowDataset,
    held_out: WorkflowDataset,
    config: ExperimentSettings,
    *,
    seed: int,
    device: str,
    path: Path,
    encoder: MemoEncoder | None = None,
    on_epoch: Callable[[int], None] = lambda epoch: None,
) -> History:
    """Trains a planner alone and writes its best weights.

    Args:
        train: see `planner_fit`, as for all others down to device.
        held_out: likewise.
        config: likewise.
        seed: likewise.
        device: likewise.
        path: checkpoint to write.
        encoder: likewise.
        on_epoch: called with the number of finished epochs.
    """
    fit = planner_fit(train, held_out, config, seed=seed, device=device, encoder=encoder)
    history: History = []
    while not fit.is_done:
        history.append(fit.run_epoch())
        on_epoch(fit.epoch)
    model = fit.learner.module
    assert isinstance(model, PlannerModel)
    save_checkpoint(
        path,
        {
            "epoch": fit.best.epoch,
            "model_state_dict": fit.best.weights,
            "optimizer_state_dict": fit.learner.optimizer.state_dict(),
            "val_loss": fit.best.losses["total"],
            "config": config.model_dump(mode="json"),
            PLANNER_KEY: planner_state(model),
        },
    )
    return history
