"""Search space of phase 2: which settings are tuned, and the values that are tried.

Keys are named as in a settings file, below `training`. The values are those of rl_zoo3's samplers
(rl_zoo3/hyperparams_opt.py), thinned out; those of the settings are always among them.
"""

from __future__ import annotations

from collections.abc import Iterable

import optuna

from agents.algorithms import trains_our_policy
from agents.config import Algorithm, ExperimentSettings
from orchestai_env.settings import parse_settings

Value = float | str | bool | None
LEARNING_RATE = "phase2_rl.learning_rate"
_RATES = (1.0e-5, 3.0e-3)
"""Bounds of the learning rate, drawn log-uniformly."""
_GAMMA: tuple[Value, ...] = (0.95, 0.98, 0.99, 0.995, 1.0)
_BATCH_SIZE: tuple[Value, ...] = (64, 128, 256, 512, 1024)
_ACTOR_CRITIC: dict[str, tuple[Value, ...]] = {
    "phase2_rl.n_steps": (16, 32, 64, 128, 256),
    "phase2_rl.gamma": _GAMMA,
    "phase2_rl.gae_lambda": (0.8, 0.9, 0.95, 0.98, 1.0),
    "phase2_rl.normalize_reward": (False, True),
}
_A2C = _ACTOR_CRITIC | {
    "phase2_rl.ent_coef": (0.0, 0.0003, 0.001, 0.003, 0.01, 0.03),
    "phase2_rl.learning_rate_schedule": ("constant", "linear"),
    "phase2_rl.max_grad_norm": (0.3, 0.5, 1.0, 2.0),
    "phase2_rl.vf_coef": (0.25, 0.5, 1.0),
}
_PPO = _A2C | {
    "phase2_rl.batch_size": _BATCH_SIZE,
    "phase2_rl.n_epochs": (1, 2, 5, 10, 20),
    "phase2_rl.epsilon": (0.1, 0.2, 0.3),
}
CHOICES: dict[Algorithm, dict[str, tuple[Value, ...]]] = {
    "PPO": _PPO,
    "MaskablePPO": _PPO,
    "RecurrentPPO": _PPO,
    "TRPO": _ACTOR_CRITIC | {"phase2_rl.batch_size": _BATCH_SIZE},
    "A2C": _A2C,
    "DQN": {"phase2_rl.batch_size": _BATCH_SIZE, "phase2_rl.gamma": _GAMMA},
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
    """Returns what the settings themselves say of these keys."""
    found = {}
    for name in names:
        section, key = name.split(".")
        found[name] = getattr(getattr(config.training, section), key)
    return found


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
        section, key = name.split(".")
        data["training"][section][key] = value
    return parse_settings(data, ExperimentSettings, where="tuned values")
