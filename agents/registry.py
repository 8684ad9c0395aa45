"""The agents of a benchmark by name, and how a foreign one joins it."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path

from gymnasium import spaces
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy

from agents.agent import Agent, Setting
from agents.baselines.bounds import HindsightAgent
from agents.baselines.simple import LowestFeatureAgent, RandomAgent
from agents.checkpoint import load_policy_state, load_ppo, read_phase1
from agents.evaluate import KEYS
from agents.phase2_callbacks import BEST
from agents.policy import WorkerScoringPolicy
from agents.tune_tables import TABLES, read_tables
from orchestai_env.errors import CheckpointError, ConfigError, MissingFileError, unknown_name
from orchestai_env.observation import ObservationLayout

PHASE1, PHASE2, SCRATCH = "phase1", "phase2", "ppo_from_scratch"
"""Run folders of one profile and seed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AgentContext:
    """What an agent of one profile and seed is built from."""

    setting: Setting
    run_dir: Path
    """Holds tables.json and the folders of phase 1, phase 2 and PPO from scratch."""
    seed: int


Build = Callable[[AgentContext], Agent]

BUILDERS: Mapping[str, Build] = {
    "random": lambda context: RandomAgent(context.seed),
    "cheapest": lambda context: LowestFeatureAgent(context.setting, "price"),
    "fastest": lambda context: LowestFeatureAgent(context.setting, "expected_latency"),
    "best-single": lambda context: _table(context, "best-single"),
    "lookup": lambda context: _table(context, "lookup"),
    "escalation": lambda context: _table(context, "escalation"),
    "bc": lambda context: load_cloned_policy(
        context.run_dir / PHASE1 / "phase1_best.pth", context.setting
    ),
    "bc-ppo": lambda context: load_ppo_policy(context.run_dir / PHASE2 / BEST, context.setting),
    "ppo": lambda context: load_ppo_policy(context.run_dir / SCRATCH / BEST, context.setting),
    "hindsight": lambda context: HindsightAgent(context.setting),
}
"""Name -> builder, in the order of the report. hindsight knows the outcomes: a bound.

PPO takes part with its best checkpoint by validation return.
"""


def _table(context: AgentContext, name: str) -> Agent:
    return read_tables(context.run_dir / TABLES, context.setting)[name]


def load_cloned_policy(path: Path, setting: Setting) -> MaskableActorCriticPolicy:
    """Loads the policy of a phase-1 checkpoint for prediction.

    Raises:
        OrchestAIError: the file is missing, broken, or of another vocabulary.
    """
    checkpoint = read_phase1(path, setting.dataset)
    policy = WorkerScoringPolicy(
        ObservationLayout.of(setting.dataset, KEYS).space,
        spaces.Discrete(len(setting.dataset.pool)),
        lambda _: 0.0,
        **checkpoint["policy_kwargs"],
    )
    load_policy_state(policy, checkpoint["policy_state_dict"], path)
    return policy


def load_ppo_policy(path: Path, setting: Setting) -> Agent:
    """Loads the policy of a PPO zip for prediction.

    Raises:
        MissingFileError: there is no such file.
        CheckpointError: the file is broken, or made for other spaces.
    """
    model = load_ppo(path, device="cpu")
    expected = ObservationLayout.of(setting.dataset, KEYS).space
    actions = spaces.Discrete(len(setting.dataset.pool))
    if model.observation_space != expected or model.action_space != actions:
        raise CheckpointError(
            f"{path}: made for other spaces than this environment's; expected {expected} "
            f"with {len(setting.dataset.pool)} workers, got {model.observation_space}"
        )
    agent: Agent = model.policy
    return agent


_SUMMARY_KEYS = ("paired", "profiles")
"""Keys of summary.json beside the agents' names."""


def foreign_builder(text: str) -> tuple[str, Build]:
    """Reads `name=path.zip` or `name=package.module:factory` of the option --agent.

    A factory is called as factory(setting, seed) and returns anything with SB3's `predict`.

    Raises:
        ConfigError: the text has another form, the name is taken, or there is no such factory.
        MissingFileError: there is no such zip.
    """
    name, _, where = text.partition("=")
    if not name or not where:
        raise ConfigError(
            f"--agent: expected name=path.zip or name=package.module:factory, got {text!r}"
        )
    if name in (*BUILDERS, *_SUMMARY_KEYS):
        raise ConfigError(f"--agent: the name {name!r} is taken; choose another")
    if where.endswith(".zip"):
        if not Path(where).is_file():
            raise MissingFileError(f"--agent {name}: {where}: no such checkpoint; check the path")
        return name, lambda context: load_ppo_policy(Path(where), context.setting)
    module_name, _, attribute = where.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError, TypeError) as error:  # the last two: empty or relative names
        raise ConfigError(f"--agent {name}: cannot import {module_name!r} ({error})") from None
    factory = getattr(module, attribute, None)
    if not callable(factory):
        known = [key for key, value in vars(module).items() if callable(value)]
        raise ConfigError(f"--agent {name}: " + unknown_name("factory", attribute, known))
    return name, lambda context: factory(context.setting, context.seed)
