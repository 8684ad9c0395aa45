"""One policy for every trade-off: what is trained, how it is compared, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest

from agents.agent import Setting
from agents.benchmark import preference_front
from agents.benchmark.contest import Standing, load_policy
from agents.benchmark.fronts import hypervolume
from agents.benchmark.preference_front import (
    choose_checkpoint,
    finer,
    front_variants,
    summarise_front,
)
from agents.benchmark.resampling import MEASURES
from agents.benchmark.variants import Study, train_variants
from agents.config import load_experiment
from agents.evaluate import evaluate
from agents.experiment import experiment_dataset
from agents.phase2_callbacks import BEST, LAST
from agents.preference import PreferenceAgent, scaled_weights
from tests.agents.benchmark.in_process import InProcess, in_process
from tests.agents.problems import WEIGHTS
from tests.tiny_config import write_config

FACTORS = [[0.5, 1.0], [2.0, 1.0]]


def write(folder: Path, **changes: Any) -> Path:
    return write_config(folder, benchmark={"front": {"factors": FACTORS} | changes})


def study(folder: Path, **changes: Any) -> Study:
    return Study(
        config=load_experiment(write(folder, **changes)),
        profile="balanced",
        weights=WEIGHTS,
        data=None,
        output_dir=folder / "run",
    )


@pytest.fixture(scope="module")
def runner() -> Iterator[InProcess]:
    with in_process() as found:
        yield found


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, runner: InProcess) -> Path:
    """The command on built-in data: one seed, two preferences, 32 steps each."""
    folder = tmp_path_factory.mktemp("front")
    config = write(folder, timesteps=32)
    preference_front.main(["--config", str(config), "--output_dir", str(folder / "run"), "--finer"])
    return folder / "run"


def summary_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "summary.json").read_text())
    return found


def test_command_compares_both_on_both_splits(finished: Path) -> None:
    summary = summary_of(finished)

    assert summary["timesteps"] == {"conditioned": 32, "separate": 64}
    assert summary["factors"]["separate"] == FACTORS
    assert [len(summary["factors"][kind]) for kind in ("conditioned", "finer")] == [2, 3]
    for split in ("train", "test"):
        for kind, factors in summary["factors"].items():
            found = summary[split][kind]
            assert np.array(found["points"]).shape == (len(factors), 3)
            assert found["hypervolume"] == pytest.approx(
                hypervolume(np.array(found["points"]), np.array(summary[split]["reference"]))
            )
    test = summary["test"]
    expected = test["conditioned"]["hypervolume"] / test["separate"]["hypervolume"]
    assert test["conditioned"]["ratio"] == pytest.approx(expected)
    low, high = test["conditioned"]["ratio_ci95"]
    assert low <= high
    assert len(test["difference_mean"]) == len(test["difference_ci95"]) == 2


def test_one_policy_serves_all_preferences_and_the_knob_says_the_same(finished: Path) -> None:
    """What the summary says of the one policy is what PreferenceAgent makes of its file."""
    summary = summary_of(finished)
    config = load_experiment(finished / "config.yaml")
    dataset = experiment_dataset(config, None, "test")
    rows = np.arange(config.benchmark.workflows) % len(dataset.workflows)
    repeated = dataset.with_workflows(dataset.workflows.take(rows))
    setting = Setting(dataset=repeated, rules=config.rules(), weights=WEIGHTS)
    folder = finished / "conditioned" / "weights" / "seed0" / "policy"
    preferences = [scaled_weights(WEIGHTS, *pair) for pair in FACTORS]

    validation = experiment_dataset(config, None, "validation").first(10)
    of_validation = dataclasses.replace(setting, dataset=validation)
    policy = load_policy(choose_checkpoint(folder, of_validation, preferences), setting)
    for weights, point in zip(preferences, summary["test"]["conditioned"]["points"], strict=True):
        found = evaluate(PreferenceAgent(policy, repeated, weights), setting, seed=config.seed)
        np.testing.assert_allclose(
            point,
            [found.success.mean(), found.cost_usd.mean(), found.latency_ms.mean() / 1000.0],
        )


def test_picture_shows_something(finished: Path) -> None:
    pixels = matplotlib.image.imread(finished / "front.png")

    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 20


def test_second_call_trains_what_is_missing_alone(
    finished: Path, runner: InProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (finished / "summary.json").read_text()
    assert runner.modules == ["agents.train_phase2"] * 3
    runner.modules.clear()
    shutil.rmtree(finished / "cost2_latency1" / "weights")
    config = finished.parent / "config.yaml"

    preference_front.main(["--config", str(config), "--output_dir", str(finished), "--finer"])

    assert runner.modules == ["agents.train_phase2"]
    assert (finished / "summary.json").read_text() == before
    assert "at 32 of 64 steps a seed" in capsys.readouterr().out


def test_runs_of_other_weights_are_not_reused(finished: Path, refused: Callable[..., str]) -> None:
    folder = finished.parent / "other"
    config = write(folder, timesteps=32)
    weights = folder / "balanced.yaml"
    weights.write_text(weights.read_text().replace("200.0", "100.0"))

    line = refused(preference_front.main, "--config", config, "--output_dir", finished)

    assert "holds runs of other settings" in line


def test_variants_differ_in_weights_and_only_one_varies_them(tmp_path: Path) -> None:
    one, *separate = front_variants(study(tmp_path, timesteps=77, spread=3.0, start="bc"))

    assert one.weights == WEIGHTS
    assert one.config.training.variation.preference_spread == 3.0
    for variant, (cost, latency) in zip(separate, FACTORS, strict=True):
        assert variant.weights == scaled_weights(WEIGHTS, cost, latency)
        assert variant.config.training.variation.preference_spread == 1.0
    for variant in (one, *separate):
        assert variant.config.training.phase2_rl.total_timesteps == 77
        assert variant.start == "bc"
    assert len({variant.name for variant in (one, *separate)}) == 3


def test_cloned_start_trains_phase_1_first(
    tmp_path: Path, runner: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The training itself is tested elsewhere; here each command only leaves its result."""
    calls: list[tuple[str, str, str]] = []

    def leave_result(command: list[str], **_: Any) -> Any:
        module, arguments = command[2], command[3:]
        folder = Path(arguments[arguments.index("--output_dir") + 1])
        has_start = "--checkpoint" in arguments
        calls.append((module, folder.parents[2].name, str(has_start)))
        config = load_experiment(arguments[arguments.index("--config") + 1])
        assert (config.training.variation.preference_spread > 1) == ("conditioned" in str(folder))
        (folder / "result.json").write_text('{"timesteps": 1}')
        return type("Done", (), {"returncode": 0})

    monkeypatch.setattr("agents.benchmark.jobs.subprocess.run", leave_result)
    asked = study(tmp_path, start="bc")
    train_variants(front_variants(asked), asked.output_dir, None, tables=False)

    of_one = [call for call in calls if call[1] == "conditioned"]
    assert of_one == [
        ("supervised.train_phase1", "conditioned", "False"),
        ("agents.train_phase2", "conditioned", "True"),
    ]
    assert len(calls) == 6


def test_checkpoint_is_chosen_by_all_preferences(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """best is better under the first preference by 1, last under the second by 3."""
    returns = {(BEST, 100.0): 2.0, (LAST, 100.0): 1.0, (BEST, 400.0): 1.0, (LAST, 400.0): 4.0}

    def fake_evaluate(agent: Any, setting: Setting, *, seed: int) -> Any:
        value = returns[agent, setting.weights.cost_weight]
        return type("Found", (), {"episode_return": np.array([value])})

    monkeypatch.setattr(preference_front, "load_policy", lambda path, setting: path.name)
    monkeypatch.setattr(preference_front, "evaluate", fake_evaluate)
    setting = Setting.__new__(Setting)
    for name, value in (("dataset", None), ("rules", None), ("weights", WEIGHTS)):
        object.__setattr__(setting, name, value)
    both = [scaled_weights(WEIGHTS, *pair) for pair in FACTORS]

    assert choose_checkpoint(tmp_path, setting, both) == tmp_path / LAST
    assert choose_checkpoint(tmp_path, setting, both[:1]) == tmp_path / BEST


def test_finer_preferences_lie_between() -> None:
    found = finer(((0.25, 4.0), (1.0, 1.0), (4.0, 1.0)))

    expected = [(0.25, 4.0), (0.5, 2.0), (1.0, 1.0), (2.0, 1.0), (4.0, 1.0)]
    np.testing.assert_allclose(found, expected)


def standing_of(one: list[list[float]], separate: list[list[float]]) -> Standing:
    """Returns a standing where two preferences' (success, cost, latency) are the same always."""
    points = np.array([*one, *separate])
    returns = points[:, :1] * 10.0 - points[:, 1:2]
    values = np.concatenate([returns, points], axis=1)
    assert MEASURES == ("return", "success", "cost_usd", "latency_s")
    return Standing(
        points={split: values[:, :, None] for split in ("train", "test")},
        picks={},
        replicates=np.repeat(values[:, :, None], 5, axis=2),
    )


def summarised(monkeypatch: pytest.MonkeyPatch, folder: Path, standing: Standing) -> dict[str, Any]:
    monkeypatch.setattr(preference_front, "_timesteps", lambda study: {"conditioned": 1})
    return summarise_front(study(folder), standing, with_finer=False)


def test_equal_points_make_a_ratio_of_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    points = [[0.5, 0.01, 3.0], [0.8, 0.05, 4.0]]
    test = summarised(monkeypatch, tmp_path, standing_of(points, points))["test"]

    assert test["conditioned"]["ratio"] == 1.0
    assert test["conditioned"]["ratio_ci95"] == [1.0, 1.0]
    assert test["difference_ci95"] == [[0.0, 0.0]] * 2
    assert test["reference"] == pytest.approx([0.0, 0.055, 4.4])
    assert test["separate"]["on_front"] == [True, True]


def test_ratio_is_that_of_the_dominated_volumes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One point each way; volumes worked out by hand, of 0.4 and 0.8 success."""
    one, separate = [[0.4, 1.0, 1.0]] * 2, [[0.8, 1.0, 1.0]] * 2
    test = summarised(monkeypatch, tmp_path, standing_of(one, separate))["test"]

    share = (1 - 1 / 1.1) ** 2
    assert test["separate"]["hypervolume"] == pytest.approx(0.8 * share)
    assert test["conditioned"]["ratio"] == pytest.approx(0.5)
    assert test["difference_mean"] == pytest.approx([-4.0, -4.0])


@pytest.mark.parametrize(
    ("front", "message"),
    [
        ({"factors": [[1.0, 1.0]]}, "expected at least two pairs, none twice"),
        ({"factors": [[1.0, 1.0], [1.0, 1.0]]}, "expected at least two pairs, none twice"),
        ({"spread": 2.0, "factors": [[1.0, 1.0], [1.0, 2.5]]}, "expected values in 0.5..2"),
        ({"factors": [[1.0, 1.0], [0.0, 1.0]]}, "greater than 0"),
        ({"spread": 0.5}, "greater than or equal to 1"),
        ({"start": "warm"}, "'scratch' or 'bc'"),
        ({"steps": 3}, "benchmark.front.steps"),
    ],
)
def test_wrong_settings_are_refused(
    tmp_path: Path, refused: Callable[..., str], front: dict[str, Any], message: str
) -> None:
    config = write(tmp_path, **front)

    line = refused(preference_front.main, "--config", config, "--output_dir", tmp_path / "run")

    assert message in line


def test_unknown_profile_is_refused(tmp_path: Path, refused: Callable[..., str]) -> None:
    line = refused(
        preference_front.main,
        *("--config", write(tmp_path), "--output_dir", tmp_path / "run", "--profile", "balanecd"),
    )

    assert "Did you mean 'balanced'" in line
