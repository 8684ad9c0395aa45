"""The policy's part of phase 1: what is held out stays held out, and seeds decide everything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.config import load_experiment
from agents.experiment import Experiment
from agents.policy import policy_keys
from orchestai_env.observation import CONTEXT_FEATURES
from supervised.cloning.demonstrations import Demonstrations
from supervised.cloning.learner import CloningLearner
from supervised.cloning.policy_fit import policy_fit
from tests.agents.policies import KINDS
from tests.agents.problems import WEIGHTS
from tests.supervised.nested import assert_equal
from tests.supervised.phase1_runs import phase1
from tests.supervised.test_fit import train
from tests.tiny_config import write_config

Parts = list[tuple[Demonstrations, Demonstrations]]


def experiment(
    folder: Path, seed: int = 0, training: dict[str, Any] | None = None, **changes: Any
) -> Experiment:
    """Returns the tiny experiment with other settings of phase 1, and of training besides."""
    settings = phase1(lookahead_samples=2, **changes)["training"] | (training or {})
    path = write_config(folder, training=settings)
    return Experiment(
        config=load_experiment(path),
        config_path=path,
        data=None,
        output_dir=folder,
        profile="balanced",
        seed=seed,
        device="cpu",
        weights=WEIGHTS,
    )


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Parts:
    """Lists the two parts of the data that every round adds."""
    found: Parts = []
    add = CloningLearner.add

    def noted(self: CloningLearner, training: Demonstrations, held_out: Demonstrations) -> None:
        found.append((training, held_out))
        add(self, training, held_out)

    monkeypatch.setattr(CloningLearner, "add", noted)
    return found


def test_held_out_workflows_stay_held_out_in_every_round(tmp_path: Path, parts: Parts) -> None:
    fit = policy_fit(experiment(tmp_path, dagger_rounds=2, num_epochs=1))
    train(fit)

    assert len(parts) == 2
    trained = {w for training, _ in parts for w in training.workflow.tolist()}
    held = {w for _, held_out in parts for w in held_out.workflow.tolist()}
    assert trained | held == set(range(20)) and not trained & held


def test_every_round_meets_other_luck(tmp_path: Path, parts: Parts) -> None:
    train(policy_fit(experiment(tmp_path, dagger_rounds=2, num_epochs=1)))

    (first, _), (second, _) = parts
    assert len(first) != len(second) or not np.array_equal(
        first.observation["workers"], second.observation["workers"]
    )


def test_same_seed_gives_the_same_rounds(tmp_path: Path) -> None:
    fits = [
        policy_fit(experiment(tmp_path, seed, dagger_rounds=1, num_epochs=1)) for seed in (0, 0, 1)
    ]
    for fit in fits:
        train(fit)

    assert_equal(fits[0].state_dict(), fits[1].state_dict())
    assert fits[0].best.losses != fits[2].best.losses


@pytest.mark.parametrize("expert", ["hindsight", "lookahead"])
def test_expert_of_the_settings_labels(tmp_path: Path, expert: str) -> None:
    fit = policy_fit(experiment(tmp_path, expert=expert, num_epochs=1))
    other = policy_fit(experiment(tmp_path, expert="lookahead", num_epochs=1))

    losses = [found.run_epoch()["val"] for found in (fit, other)]

    assert (losses[0] == losses[1]) == (expert == "lookahead")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("embeddings", [False, True])
def test_policy_of_the_settings_clones_what_it_reads(
    tmp_path: Path, kind: str, embeddings: bool, parts: Parts
) -> None:
    """With everything varied that may vary in training."""
    training = {
        "policy": {"kind": kind, "embeddings": embeddings},
        "variation": {
            "preference_spread": 3.0,
            "price_spread": 2.0,
            "min_workers": 3,
            "shuffle_workers": True,
        },
    }
    fit = policy_fit(experiment(tmp_path, training=training, dagger_rounds=1, num_epochs=1))
    losses = train(fit)

    ((round_of_policy, _),) = parts
    seen = round_of_policy.observation
    assert tuple(seen) == policy_keys(kind, embeddings)
    assert len(np.unique(seen["context"][:, CONTEXT_FEATURES.index("cost_weight")])) > 5
    assert (seen["workers"] == 0).all(axis=2).any()  # absent ones
    assert (round_of_policy.target[(seen["workers"] == 0).all(axis=2)] == 0).all()
    assert np.isfinite(fit.best.losses["total"]), losses
