"""The policy's part of phase 1: an experiment's expert decisions, and the network to learn them."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.utils import set_random_seed

from agents.experiment import Experiment
from agents.policy import WorkerScoringPolicy, policy_keys
from orchestai_env.errors import ConfigError
from orchestai_env.observation import ObservationLayout
from supervised.cloning.demonstrations import (
    Demonstrations,
    ExpertPlayer,
    Player,
    PolicyPlayer,
    collect_demonstrations,
)
from supervised.cloning.learner import CloningLearner, CloningSettings, DaggerFit
from supervised.experts import EXPERTS
from supervised.fit import FitSettings


def policy_fit(experiment: Experiment) -> DaggerFit:
    """Collects the expert's decisions, and makes the policy that is to learn them.

    Raises:
        ConfigError: the training data leave one of the two parts empty.
    """
    settings = experiment.config.training.phase1_supervised
    collector = _Collector(experiment)
    train, held_out = collector.collect(
        ExpertPlayer(settings.random_share, experiment.seed), experiment.seed
    )
    how = CloningSettings(
        learning_rate=settings.learning_rate,
        batch_size=settings.batch_size,
        entropy_coef=settings.entropy_coef,
        max_grad_norm=settings.max_grad_norm,
        seed=experiment.seed,
    )
    return DaggerFit(
        CloningLearner(_new_policy(experiment), train, held_out, how),
        FitSettings(
            max_epochs=settings.num_epochs, patience=settings.patience, seed=experiment.seed
        ),
        collect=collector.play,
        num_rounds=settings.dagger_rounds,
    )


def _observation_keys(experiment: Experiment) -> tuple[str, ...]:
    settings = experiment.config.training.policy
    return policy_keys(settings.kind, settings.embeddings)


def _new_policy(experiment: Experiment) -> WorkerScoringPolicy:
    set_random_seed(experiment.seed)
    dataset = experiment.dataset("train")
    policy = WorkerScoringPolicy(
        ObservationLayout.of(dataset, _observation_keys(experiment)).space,
        spaces.Discrete(len(dataset.pool)),
        lambda _: experiment.config.training.phase1_supervised.learning_rate,
        **experiment.config.training.policy.model_dump(),
    )
    return policy.to(experiment.device)


class _Collector:
    """Plays the training workflows, and splits what is met by workflow."""

    def __init__(self, experiment: Experiment) -> None:
        self._settings = experiment.config.training.phase1_supervised
        self._setting = experiment.training_setting(self._settings.expert_workflows)
        self._keys = _observation_keys(experiment)
        self._seed = experiment.seed
        self._expert = EXPERTS[self._settings.expert](self._setting, self._settings, self._seed)
        rng = np.random.default_rng(self._seed)
        count = len(self._setting.dataset.workflows)
        self._held_out = rng.random(count) < self._settings.validation_share

    def play(
        self, policy: MaskableActorCriticPolicy, number: int
    ) -> tuple[Demonstrations, Demonstrations]:
        """Returns what the policy meets in a round, 1.., in which outcomes are drawn anew."""
        seed = int(np.random.default_rng([self._seed, number]).integers(1 << 31))
        return self.collect(PolicyPlayer(policy, seed), seed)

    def collect(self, player: Player, seed: int) -> tuple[Demonstrations, Demonstrations]:
        """Returns the labelled states that the player meets, to train on and held out."""
        data = collect_demonstrations(
            self._setting,
            self._expert,
            player,
            seed=seed,
            temperature=self._settings.label_temperature,
            keys=self._keys,
        )
        rows = self._held_out[data.workflow]
        if rows.all() or not rows.any():
            raise ConfigError(
                f"training.phase1_supervised.validation_share {self._settings.validation_share}: "
                f"leaves no workflow on one side of {len(self._held_out)}; use more workflows or "
                "another share"
            )
        return data.take(~rows), data.take(rows)
