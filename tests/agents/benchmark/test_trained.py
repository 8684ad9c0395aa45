"""Trained agents of a benchmark: jobs as declared, changes merged, senseless ones refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from agents.benchmark.jobs import Job
from agents.benchmark.trained import agent_settings, trained_jobs, write_settings
from agents.config import ExperimentSettings, load_experiment, profile_weights
from orchestai_env.errors import ConfigError
from tests.tiny_config import write_config

CHAIN: dict[str, Any] = {
    "finer": {"start_from": "second", "training": {"phase2_rl": {"learning_rate": 0.0002}}},
    "second": {"start_from": "first", "training": {"phase2_rl": {"kl_coef": 0.5}}},
    "first": {"phase": 1, "training": {"policy": {"hidden": 12}}},
    "alone": {},
}


def experiment(folder: Path, trained: dict[str, Any]) -> tuple[ExperimentSettings, Path]:
    path = write_config(folder)
    data = yaml.safe_load(path.read_text())
    data["benchmark"]["trained"] = trained
    path.write_text(yaml.safe_dump(data))
    return load_experiment(path), path


def jobs_of(folder: Path, trained: dict[str, Any]) -> dict[str, Job]:
    config, path = experiment(folder, trained)
    jobs = trained_jobs(
        config.benchmark.trained,
        list(agent_settings(config, path)),
        settings=folder / "settings",
        folder=folder / "seed0",
        options=["--seed", "0"],
    )
    return {job.result.parent.name: job for job in jobs}


def option(job: Job, name: str) -> str:
    return job.arguments[job.arguments.index(name) + 1]


def test_jobs_are_those_declared_in_folders_of_their_names(tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path, CHAIN)

    assert set(jobs) == set(CHAIN)
    for name, job in jobs.items():
        assert option(job, "--config") == str(tmp_path / "settings" / f"{name}.yaml")
        assert option(job, "--output_dir") == str(tmp_path / "seed0" / name)
        assert option(job, "--seed") == "0"
    assert jobs["first"].module == "supervised.train_phase1"
    assert {jobs[name].module for name in ("second", "finer", "alone")} == {"agents.train_phase2"}


def test_job_waits_for_the_agent_that_it_starts_from(tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path, CHAIN)

    assert list(jobs).index("first") < list(jobs).index("second") < list(jobs).index("finer")
    assert jobs["second"].after == jobs["first"]
    assert option(jobs["second"], "--checkpoint") == str(
        tmp_path / "seed0" / "first" / "phase1_best.pth"
    )
    assert jobs["finer"].after == jobs["second"]
    assert option(jobs["finer"], "--checkpoint") == str(
        tmp_path / "seed0" / "second" / "phase2_best.zip"
    )
    assert jobs["alone"].after is None and "--checkpoint" not in jobs["alone"].arguments


def test_killed_run_is_resumed(tmp_path: Path) -> None:
    (tmp_path / "seed0" / "second").mkdir(parents=True)
    (tmp_path / "seed0" / "second" / "phase2_last.zip").touch()

    resumed = [
        name for name, job in jobs_of(tmp_path, CHAIN).items() if "--resume" in job.arguments
    ]

    assert resumed == ["second"]


def test_changes_reach_the_settings_of_their_agent_alone(tmp_path: Path) -> None:
    config, path = experiment(tmp_path, CHAIN)

    found = {name: one.training for name, one in agent_settings(config, path).items()}

    assert found["alone"] == config.training
    assert found["second"].phase2_rl.kl_coef == 0.5
    assert found["finer"].phase2_rl.kl_coef == config.training.phase2_rl.kl_coef
    assert found["finer"].phase2_rl.learning_rate == 0.0002
    assert found["finer"].phase2_rl.total_timesteps == config.training.phase2_rl.total_timesteps
    assert found["first"].phase1_supervised == config.training.phase1_supervised


def test_agent_has_the_network_of_the_one_it_starts_from(tmp_path: Path) -> None:
    config, path = experiment(tmp_path, CHAIN)

    hidden = {
        name: one.training.policy.hidden for name, one in agent_settings(config, path).items()
    }

    assert hidden == {
        "first": 12,
        "second": 12,
        "finer": 12,
        "alone": config.training.policy.hidden,
    }


def test_written_settings_are_complete_and_find_the_profiles(tmp_path: Path) -> None:
    config, path = experiment(tmp_path, CHAIN)
    folder = tmp_path / "run" / "settings"

    write_settings(agent_settings(config, path), path, folder)

    assert sorted(file.stem for file in folder.iterdir()) == sorted(CHAIN)
    written = load_experiment(folder / "second.yaml")
    assert written.training == agent_settings(config, path)["second"].training
    assert written.system == config.system
    weights = profile_weights(written, folder / "second.yaml", "balanced")
    assert weights == profile_weights(config, path, "balanced")


def test_relative_paths_find_the_profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment(tmp_path, {"alone": {}})
    monkeypatch.chdir(tmp_path)
    path = Path("config.yaml")

    write_settings(agent_settings(load_experiment(path), path), path, Path("run"))

    written = load_experiment("run/alone.yaml")
    assert profile_weights(written, Path("run/alone.yaml"), "balanced").success_weight == 10.0


@pytest.mark.parametrize(
    ("trained", "message"),
    [
        (
            {"odd": {"training": {"phase2_rl": {"xyz": 1}}}},
            r"config\.yaml: benchmark\.trained\.odd\.training\.phase2_rl\.xyz: unknown key 'xyz'",
        ),
        (
            {"odd": {"training": {"phase2_rl": {"gamma": 2.0}}}},
            r"benchmark\.trained\.odd\.training\.phase2_rl\.gamma: .*less than or equal to 1",
        ),
        (
            {"odd": {"training": {"phase3": {}}}},
            r"benchmark\.trained\.odd\.training\.phase3: unknown key",
        ),
        ({"odd": {"start_from": "od"}}, r"odd\.start_from: unknown trained agent 'od'. Did you"),
        (
            {"odd": {"phase": 1, "start_from": "even"}, "even": {"phase": 1}},
            r"odd\.start_from: phase 1 starts from scratch, got 'even'",
        ),
        ({"odd": {"start_from": "odd"}}, "start_from goes in a circle among odd; one has"),
        (
            {"odd": {"start_from": "even"}, "even": {"start_from": "odd"}, "free": {}},
            "goes in a circle among even, odd;",
        ),
        (
            {
                "base": {"phase": 1},
                "odd": {"start_from": "base", "training": {"policy": {"hidden": 3}}},
            },
            r"odd\.training\.policy: it starts from 'base' and has its network",
        ),
    ],
)
def test_senseless_agents_are_refused(
    tmp_path: Path, trained: dict[str, Any], message: str
) -> None:
    config, path = experiment(tmp_path, trained)

    with pytest.raises(ConfigError, match=message):
        agent_settings(config, path)


@pytest.mark.parametrize("name", ["../x", "a/b", "", "tables.json"])
def test_name_that_is_no_folder_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"benchmark\.trained\."):
        experiment(tmp_path, {name: {}})
