"""Search space of phase 2: which settings are tuned, and the values that are tried.

Keys are named as in a settings file, below `training`. The values are those of rl_zoo3's samplers
(rl_zoo3/hyperparams_opt.py), thinned out; those of the settings are always among them.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import optuna

from agents.algorithms import ALGORITHMS, trains_our_policy
from agents.config import Algorithm, ExperimentSettings
from orchestai_env.settings import parse_settings

Value = float | str | bool | None
LEARNING_RATE = "phase2_rl.learning_rate"
_RATES = (1.0e-5, 3.0e-3)
"""Bounds of the learning rate, drawn log-uniformly."""
_GAMMA: tuple[Value, ...] = (0.95, 0.98, 0.99, 0.995, 1.0)
_BATCH_SIZE: tuple[Value, ...] = (64, 128, 256, 512, 1024)
_ARGUMENTS = "phase2_rl.algorithm_arguments."
_ACTOR_CRITIC: dict[str, tuple[Value, ...]] = {
    "phase2_rl.n_steps": (8, 16, 32, 64, 128, 256),
    "phase2_rl.gamma": _GAMMA,
    "phase2_rl.gae_lambda": (0.8, 0.9, 0.95, 0.98, 1.0),
    "phase2_rl.normalize_reward": (False, True),
}
_WITH_ENTROPY = _ACTOR_CRITIC | {
    "phase2_rl.ent_coef": (0.0, 0.0003, 0.001, 0.003, 0.01, 0.03),
    "phase2_rl.learning_rate_schedule": ("constant", "linear"),
    "phase2_rl.max_grad_norm": (0.3, 0.5, 1.0, 2.0),
    "phase2_rl.vf_coef": (0.25, 0.5, 1.0),
}
_PPO = _WITH_ENTROPY | {
    "phase2_rl.batch_size": _BATCH_SIZE,
    "phase2_rl.n_epochs": (1, 2, 5, 10, 20),
    "phase2_rl.epsilon": (0.1, 0.2, 0.3),
}
_TRPO = _ACTOR_CRITIC | {
    "phase2_rl.batch_size": _BATCH_SIZE,
    _ARGUMENTS + "target_kl": (0.003, 0.01, 0.03, 0.1),
    _ARGUMENTS + "n_critic_updates": (5, 10, 20, 30),
}
_A2C = _WITH_ENTROPY | {
    "phase2_rl.n_steps": (2, 4, 8, 16, 32, 64),  # one gradient step each
    _ARGUMENTS + "normalize_advantage": (False, True),
}
_DQN: dict[str, tuple[Value, ...]] = {
    "phase2_rl.batch_size": _BATCH_SIZE,
    "phase2_rl.gamma": _GAMMA,
    "phase2_rl.normalize_reward": (False, True),
    _ARGUMENTS + "gradient_steps": (1, 2, 4, 8, 16),
    _ARGUMENTS + "target_update_interval": (500, 1000, 2000, 5000, 10000),
    _ARGUMENTS + "exploration_fraction": (0.1, 0.2, 0.3, 0.5),
    _ARGUMENTS + "exploration_final_eps": (0.01, 0.02, 0.05, 0.1),
}
CHOICES: dict[Algorithm, dict[str, tuple[Value, ...]]] = {
    "PPO": _PPO,
    "MaskablePPO": _PPO,
    "RecurrentPPO": _PPO,
    "TRPO": _TRPO,
    "A2C": _A2C,
    "DQN": _DQN,
}
"""Values that are tried beside LEARNING_RATE."""
NETWORK: dict[str, tuple[Value, ...]] = {"policy.hidden": (32, 64, 128)}
"""Without a checkpoint, which comes with its network."""
ANCHORING: dict[str, tuple[Value, ...]] = {
    "phase2_rl.critic_warmup": (0, 2, 5, 10),
    "phase2_rl.kl_coef": (0.0, 0.03, 0.1, 0.3, 1.0),
    "phase2_rl.kl_fade": (0.3, 0.5, 1.0),
}
"""With a checkpoint, of PPO."""


def choices(config: ExperimentSettings, *, has_checkpoint: bool) -> dict[str, tuple[Value, ...]]:
    """Returns the values to try of every setting that is tuned, but for the learning rate."""
    algorithm = config.training.phase2_rl.algorithm
    found = dict(CHOICES[algorithm])
    if trains_our_policy(algorithm) and not has_checkpoint:
        found |= NETWORK
    if algorithm == "PPO" and has_checkpoint:
        found |= ANCHORING
    own = own_values(config, found)
    return {
        name: values if own[name] in values else (*values, own[name])
        for name, values in found.items()
    }


def own_values(config: ExperimentSettings, names: Iterable[str]) -> dict[str, Value]:
    """Returns what the settings say of these keys; of an algorithm's argument, its own default."""
    settings = config.training.phase2_rl
    known = inspect.signature(ALGORITHMS[settings.algorithm]).parameters
    arguments = {name: parameter.default for name, parameter in known.items()}
    data = config.training.model_dump()
    data["phase2_rl"]["algorithm_arguments"] = arguments | settings.algorithm_arguments
    return {name: _section(data, name)[name.rpartition(".")[2]] for name in names}


def _section(training: dict[str, Any], name: str) -> dict[str, Any]:
    """Returns the mapping that holds a key."""
    section = training
    for part in name.split(".")[:-1]:
        section = section[part]
    return section


def draw(
    trial: optuna.Trial, config: ExperimentSettings, *, has_checkpoint: bool
) -> dict[str, Value]:
    """Draws one value of each setting that is tuned."""
    own = config.training.phase2_rl.learning_rate
    low, high = min(own, _RATES[0]), max(own, _RATES[1])
    values: dict[str, Value] = {
        LEARNING_RATE: trial.suggest_float(LEARNING_RATE, low, high, log=True)
    }
    for name, of in choices(config, has_checkpoint=has_checkpoint).items():
        values[name] = trial.suggest_categorical(name, of)
    return values


def with_values(config: ExperimentSettings, values: dict[str, Value]) -> ExperimentSettings:
    """Returns the settings with tuned values put in."""
    data = config.model_dump()
    for name, value in values.items():
        _section(data["training"], name)[name.rpartition(".")[2]] = value
    return parse_settings(data, ExperimentSettings, where="tuned values")
