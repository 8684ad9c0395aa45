"""An experiment's decision problems, as its command line names them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from agents.baselines.simple import RandomAgent
from agents.evaluate import evaluate
from agents.experiment import Experiment, experiment_parser, read_experiment
from tests.tiny_config import write_config


def tiny_experiment(folder: Path) -> Experiment:
    config = write_config(folder)
    options = ["--config", str(config), "--profile", "balanced", "--output_dir", str(folder)]
    return read_experiment(experiment_parser("test", None).parse_args(options))


def test_evaluation_repeats_simulated_workflows_with_other_luck(tmp_path: Path) -> None:
    experiment = tiny_experiment(tmp_path)
    count = len(experiment.dataset("validation").workflows)

    setting = experiment.evaluation_setting("validation", 2 * count)

    instructions = setting.dataset.workflows.instruction
    assert np.array_equal(instructions[:count], instructions[count:])
    success = evaluate(RandomAgent(0), setting, seed=0).success
    assert not np.array_equal(success[:count], success[count:])
    assert len(experiment.evaluation_setting("validation", 10).dataset.workflows) == 10


def test_evaluation_plays_recorded_workflows_once(tmp_path: Path) -> None:
    experiment = tiny_experiment(tmp_path)
    count = len(experiment.dataset("validation").workflows)
    recorded = dataclasses.replace(experiment, data=tmp_path)  # the split was read already

    setting = recorded.evaluation_setting("validation", 2 * count)

    assert len(setting.dataset.workflows) == count
