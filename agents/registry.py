"""The agents of a benchmark by name: baselines, bounds, trained ones, and foreign ones."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from agents.agent import Agent, Setting
from agents.baselines.bandits import LinUCBAgent, ThompsonAgent, trained
from agents.baselines.bounds import HindsightAgent, LookaheadAgent, OracleAgent
from agents.baselines.controls import shuffled
from agents.baselines.heuristics import CriticalPathAgent
from agents.baselines.predictive import PREDICTORS, PredictThenOptimiseAgent, fitted_agent
from agents.baselines.simple import LowestFeatureAgent, RandomAgent, RoundRobinAgent
from agents.baselines.success_share import tuned_success_share
from agents.checkpoint import build_policy, read_phase1
from agents.config import BenchmarkSettings, TrainedAgentSettings
from agents.phase2_callbacks import BEST
from agents.policy import WorkerScoringPolicy
from agents.sb3_agent import load_sb3_agent
from agents.tune_tables import TABLES, read_tables
from orchestai_env.errors import ConfigError, MissingFileError, unknown_name

CLONED = "phase1_best.pth"
"""File of a run folder of phase 1: the best checkpoint, with the cloned policy."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AgentContext:
    """What an agent of one profile and seed is built from."""

    setting: Setting
    """What it is evaluated on."""
    train: Callable[[], Setting]
    """Makes the training workflows, for agents that are fitted on them."""
    run_dir: Path
    """Holds tables.json, and a folder per trained agent, of its name."""
    seed: int

    @functools.cached_property
    def success_share(self) -> float:
        """Share of a workflow's success that agents of single calls count one call's as."""
        return tuned_success_share(self.train(), seed=self.seed)


Build = Callable[[AgentContext], Agent]


def _table(context: AgentContext, name: str) -> Agent:
    return read_tables(context.run_dir / TABLES, context.setting)[name]


def _predictor(name: str, context: AgentContext) -> Agent:
    share = context.success_share
    return fitted_agent(
        name, context.setting, context.train(), seed=context.seed, success_share=share
    )


def _bandit(kind: type[LinUCBAgent | ThompsonAgent], context: AgentContext) -> Agent:
    bandit = kind(context.setting, success_share=context.success_share)
    return trained(bandit, context.train(), seed=context.seed)


def _shuffled(build: Build, context: AgentContext) -> Agent:
    return shuffled(build(context), context.setting, context.train(), context.seed)


BUILDERS: Mapping[str, Build] = {
    "random": lambda context: RandomAgent(context.seed),
    "cheapest": lambda context: LowestFeatureAgent(context.setting, "price"),
    "fastest": lambda context: LowestFeatureAgent(context.setting, "expected_latency"),
    "best-single": lambda context: _table(context, "best-single"),
    "lookup": lambda context: _table(context, "lookup"),
    "escalation": lambda context: _table(context, "escalation"),
    "round-robin": lambda context: RoundRobinAgent(context.setting),
    "critical-path": lambda context: CriticalPathAgent(
        context.setting, success_share=context.success_share
    ),
    "predict-then-optimise": lambda context: PredictThenOptimiseAgent(
        context.setting, success_share=context.success_share
    ),
    **{name: functools.partial(_predictor, name) for name in PREDICTORS},
    "linucb": lambda context: _bandit(LinUCBAgent, context),
    "thompson": lambda context: _bandit(ThompsonAgent, context),
    "shuffled": lambda context: _shuffled(BUILDERS["escalation"], context),
    "hindsight": lambda context: HindsightAgent(),
    "lookahead": lambda context: LookaheadAgent(context.seed),
    "oracle": lambda context: OracleAgent(),
}
"""Name -> builder of the baselines and, last, the bounds, in the order of the report."""

BOUNDS = frozenset({"hindsight", "lookahead", "oracle"})
"""Names of agents that know more than one can know in production."""

SHUFFLED_FROM = "bc-ppo"
"""Trained agent that `shuffled` takes its shares from; where it is not trained, escalation."""

SLOW = frozenset({"lookahead", "oracle"})
"""Names of agents too slow for intervals by resampling, or for many workflows."""

RIVALS = ("escalation", "predict-then-optimise", "shuffled")
"""Baselines that every trained agent is held against, one by one."""

NOT_AGENTS = ("paired", "head_to_head", "front", "profiles", "all_profiles")
"""Keys of summary.json beside the agents' names."""


def agent_builders(settings: BenchmarkSettings, foreign: Sequence[str]) -> dict[str, Build]:
    """Returns the agents of a benchmark, in the order of the report.

    Args:
        settings: which baselines and bounds take part, and what is trained.
        foreign: values of the option --agent.
    Returns:
        Name -> builder: baselines, trained agents, foreign ones, bounds.
    Raises:
        ConfigError: a baseline is unknown, or a name is taken twice.
        MissingFileError: a foreign zip is not there.
    """
    chosen = tuple(BUILDERS) if settings.agents is None else settings.agents
    for name in chosen:
        if name not in BUILDERS:
            raise ConfigError("benchmark.agents: " + unknown_name("agent", name, BUILDERS))
    for name in settings.trained:
        if name in (*BUILDERS, *NOT_AGENTS):
            raise ConfigError(f"benchmark.trained: the name {name!r} is taken; choose another")
    builders = {name: BUILDERS[name] for name in BUILDERS if name in chosen and name not in BOUNDS}
    trained_builders = {name: _trained_builder(name, of) for name, of in settings.trained.items()}
    if "shuffled" in builders and SHUFFLED_FROM in trained_builders:
        builders["shuffled"] = functools.partial(_shuffled, trained_builders[SHUFFLED_FROM])
    builders |= trained_builders
    for text in foreign:
        name, build = foreign_builder(text)
        if name in builders:
            raise ConfigError(f"--agent: the name {name!r} is taken; choose another")
        builders[name] = build
    return builders | {name: BUILDERS[name] for name in BUILDERS if name in BOUNDS & set(chosen)}


def _trained_builder(name: str, settings: TrainedAgentSettings) -> Build:
    """Returns the builder of a trained agent; it takes part with its best checkpoint."""
    if settings.phase == 1:
        return lambda context: load_cloned_policy(context.run_dir / name / CLONED, context.setting)
    return lambda context: load_sb3_agent(context.run_dir / name / BEST, context.setting)


def load_cloned_policy(path: Path, setting: Setting) -> WorkerScoringPolicy:
    """Loads the policy of a phase-1 checkpoint for prediction.

    Raises:
        OrchestAIError: the file is missing, broken, or of another vocabulary.
    """
    data = read_phase1(path, setting.dataset)
    return build_policy(setting, data["policy_kwargs"], data["policy_state_dict"], path)


def foreign_builder(text: str) -> tuple[str, Build]:
    """Reads `name=path.zip` or `name=package.module:factory` of the option --agent.

    A zip is of any algorithm that `load_sb3_agent` takes. A factory is called as factory(setting,
    seed) and returns anything with SB3's `predict`.

    Raises:
        ConfigError: the text or the name has another form, the name is taken, or there is no such
            factory.
        MissingFileError: there is no such zip.
    """
    name, _, where = text.partition("=")
    if not name or not where:
        raise ConfigError(
            f"--agent: expected name=path.zip or name=package.module:factory, got {text!r}"
        )
    if not re.fullmatch(r"\w[\w-]*", name):  # names become files and cells of tables
        raise ConfigError(f"--agent: expected a name of letters, digits, _ and -, got {name!r}")
    if name in (*BUILDERS, *NOT_AGENTS):
        raise ConfigError(f"--agent: the name {name!r} is taken; choose another")
    if where.endswith(".zip"):
        if not Path(where).is_file():
            raise MissingFileError(f"--agent {name}: {where}: no such checkpoint; check the path")
        return name, lambda context: load_sb3_agent(Path(where), context.setting)
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
