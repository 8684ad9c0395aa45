"""What the runs of a benchmark are made of: additions are welcome, silent mixtures are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from agents.benchmark.made_of import MADE_OF, claim_parts, data_part, parts_of
from agents.config import load_experiment
from orchestai_env.errors import ConfigError, DataError
from tests.tiny_config import write_config

TRAINED: dict[str, Any] = {
    "bc": {"phase": 1},
    "bc-ppo": {"start_from": "bc"},
    "ppo": {},
}


def claim(folder: Path, **changes: Any) -> None:
    """Claims the output folder for the tiny benchmark with some changes."""
    changes = {"benchmark": {"trained": TRAINED}} | changes
    path = write_config(folder, **changes)
    claim_parts(folder / "run", parts_of(load_experiment(path), path))


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """The folder of a benchmark whose trainings are done."""
    (tmp_path / "run").mkdir()
    claim(tmp_path)
    seed = tmp_path / "run" / "balanced" / "seed0"
    for name in TRAINED:
        (seed / name).mkdir(parents=True)
        (seed / name / "result.json").touch()
    (seed / "tables.json").touch()
    return tmp_path


def test_same_settings_go_on(finished: Path) -> None:
    claim(finished)


def test_another_agent_is_added(finished: Path) -> None:
    more = {"more": {"training": {"phase2_rl": {"ent_coef": 0.1}}}}

    claim(finished, benchmark={"trained": TRAINED | more})
    claim(finished)


@pytest.mark.parametrize(
    "changes",
    [
        {"benchmark": {"trained": TRAINED, "num_seeds": 4, "num_jobs": 2, "replicates": 9}},
        {"system": {"num_threads": 2}},
        {"benchmark": {"trained": {"ppo": {}}}},
    ],
    ids=["statistics", "threads", "fewer agents"],
)
def test_what_decides_no_run_may_change(finished: Path, changes: dict[str, Any]) -> None:
    claim(finished, **changes)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"seed": 1}, "workers, data and rules"),
        ({"system": {"max_attempts": 1}}, "workers, data and rules"),
        ({"training": {"phase2_rl": {"max_steps_per_episode": 9}}}, "workers, data and rules"),
        ({"training": {"phase1_supervised": {"train_data_size": 9}}}, "workers, data and rules"),
        ({"benchmark": {"trained": TRAINED, "table_workflows": 9}}, "tables"),
        ({"training": {"phase2_rl": {"ent_coef": 0.5}}}, "agent ppo"),
        ({"training": {"phase1_supervised": {"num_epochs": 3}}}, "agent bc"),
        ({"training": {"policy": {"hidden": 9}}}, "agent bc"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_runs_of_other_settings_are_told(
    finished: Path, changes: dict[str, Any], part: str
) -> None:
    with pytest.raises(ConfigError, match=rf"holds runs of other settings.* \({part}\); name"):
        claim(finished, **changes)


def test_change_of_one_agent_names_it_and_those_after_it_alone(finished: Path) -> None:
    changed = TRAINED | {"bc": {"phase": 1, "training": {"phase1_supervised": {"patience": 1}}}}
    for name in ("bc", "bc-ppo"):
        with pytest.raises(ConfigError, match=rf"\(agent {name}\); .*remove .*/\*/seed\*/{name}$"):
            claim(finished, benchmark={"trained": changed})
        (finished / "run" / "balanced" / "seed0" / name / "result.json").unlink()

    claim(finished, benchmark={"trained": changed})


def test_changed_profile_is_told(finished: Path) -> None:
    path = write_config(finished, benchmark={"trained": TRAINED})
    weights = yaml.safe_load((finished / "balanced.yaml").read_text()) | {"cost_weight": 1.0}
    (finished / "balanced.yaml").write_text(yaml.safe_dump(weights))

    with pytest.raises(ConfigError, match=r"\(profile balanced\)"):
        claim_parts(finished / "run", parts_of(load_experiment(path), path))


def test_run_that_has_nothing_to_take_up_does_not_count(finished: Path) -> None:
    """A training that failed at once leaves its log, and must not hold up mended settings."""
    folder = finished / "run" / "balanced" / "seed0" / "ppo"
    (folder / "result.json").rename(folder / "log.txt")

    claim(
        finished, benchmark={"trained": TRAINED | {"ppo": {"training": {"policy": {"hidden": 9}}}}}
    )


def test_killed_run_of_other_settings_is_told(finished: Path) -> None:
    """Its last checkpoint would be taken up."""
    folder = finished / "run" / "balanced" / "seed0" / "ppo"
    (folder / "result.json").rename(folder / "phase2_last.zip")

    changed = TRAINED | {"ppo": {"training": {"policy": {"hidden": 9}}}}
    with pytest.raises(ConfigError, match=r"\(agent ppo\)"):
        claim(finished, benchmark={"trained": changed})


def test_other_data_is_told(finished: Path) -> None:
    data = finished / "data"
    data.mkdir()
    (data / "dataset.json").write_text("one")
    claim_parts(finished / "run", [data_part(data)])
    (data / "dataset.json").write_text("two")

    with pytest.raises(ConfigError, match=r"other settings or data.*\(imported data\)"):
        claim_parts(finished / "run", [data_part(data)])


@pytest.mark.parametrize("text", ["{", "[]"])
def test_broken_note_is_told(finished: Path, text: str) -> None:
    (finished / "run" / MADE_OF).write_text(text)

    with pytest.raises(DataError, match=rf"{MADE_OF}: expected hashes as JSON"):
        claim(finished)
