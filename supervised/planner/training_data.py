"""What phase 1 teaches a planner with: files of plans, or the workflows of the experiment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from agents.agent import Setting
from agents.evaluate import start_episodes
from agents.experiment import Experiment
from orchestai_env.datasets.builtin import builtin_workflows
from orchestai_env.datasets.folder import workflows_file
from orchestai_env.errors import ConfigError
from orchestai_env.state import CURRENT, ONGOING
from orchestai_env.workflow import Workflow, read_workflows
from supervised.experts import EXPERTS, Expert
from supervised.plans.dataset import PlanVocabulary, WorkflowDataset
from supervised.plans.files import read_plans
from supervised.plans.splits import split_rows


def planner_data(
    experiment: Experiment, plans: Sequence[Path] = ()
) -> tuple[WorkflowDataset, WorkflowDataset]:
    """Returns workflows to learn from and workflows that are held out.

    Files of plans are split by instruction, and their test part is left alone. Of the experiment's
    own training workflows, whose workers are labelled by the expert, a share is held out.

    Raises:
        OrchestAIError: a file cannot be read.
        ConfigError: nothing is left on one side.
    """
    if plans:
        whole = read_plans(*plans, max_subtasks=experiment.config.planner.max_subtasks).dataset
        rows = split_rows(whole)
        train, held_out = rows["train"], rows["validation"]
    else:
        whole = _own_workflows(experiment)
        share = experiment.config.training.phase1_supervised.validation_share
        is_held = np.random.default_rng(experiment.seed).random(len(whole)) < share
        train, held_out = np.flatnonzero(~is_held), np.flatnonzero(is_held)
    if not len(train) or not len(held_out):
        raise ConfigError(
            f"planner: {len(whole)} workflows leave {len(train)} to learn from and "
            f"{len(held_out)} to hold out; give more of them, or another validation_share"
        )
    return whole.take(train.tolist()), whole.take(held_out.tolist())


def _own_workflows(experiment: Experiment) -> WorkflowDataset:
    settings = experiment.config.training.phase1_supervised
    setting = experiment.setting("train", settings.expert_workflows)
    workflows = _workflows(experiment)[: len(setting.dataset.workflows)]
    expert = EXPERTS[settings.expert](setting, settings, experiment.seed)
    return WorkflowDataset.from_workflows(
        workflows,
        first_choices(setting, expert, seed=experiment.seed),
        vocabulary=PlanVocabulary(
            task_types=setting.dataset.task_types, workers=setting.dataset.pool.names
        ),
        max_subtasks=experiment.config.planner.max_subtasks,
    )


def _workflows(experiment: Experiment) -> list[Workflow]:
    """Returns the training workflows in the order of the data set."""
    if experiment.data is not None:
        return read_workflows(experiment.data / workflows_file("train"))
    settings = experiment.config.training.phase1_supervised
    return builtin_workflows(
        settings.train_data_size,
        experiment.config.seed,
        experiment.dataset("train").task_types,
        synthetic_augmentations=settings.synthetic_augmentations,
        max_subtasks=experiment.config.planner.max_subtasks,
    )


def first_choices(setting: Setting, expert: Expert, *, seed: int) -> list[list[str | None]]:
    """Plays an expert, and returns the worker that it calls first for each subtask.

    Args:
        setting: workflows, rules and weights.
        expert: plays its best worker at every step.
        seed: of simulated outcomes.
    Returns:
        For each workflow the workers of its subtasks; None where no call was made.
    """
    episodes = start_episodes(setting, seed=seed)
    names, sizes = setting.dataset.pool.names, setting.dataset.workflows.num_subtasks
    choices: list[list[str | None]] = [[None] * int(size) for size in sizes]
    rows = np.flatnonzero(episodes.ended == ONGOING)
    while len(rows):
        actions = expert.values(episodes, rows).argmax(axis=1)
        for row, subtask, action in zip(
            rows.tolist(), episodes.state.episode[rows, CURRENT], actions.tolist(), strict=True
        ):
            if choices[row][int(subtask)] is None:
                choices[row][int(subtask)] = names[action]
        episodes.step(actions, rows)
        rows = rows[episodes.ended[rows] == ONGOING]
    return choices
