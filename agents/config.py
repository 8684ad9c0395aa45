"""Settings of experiments: one record per section of a YAML file in configs/."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pydantic
import yaml

from agents.benchmark.front_settings import FrontSettings
from agents.calibrated import with_calibrated_workers
from agents.extended_yaml import read_extended
from orchestai_env.datasets.recorded_settings import RecordedSourceSettings
from orchestai_env.errors import ConfigError, unknown_name
from orchestai_env.outcomes.simulated import SimulationSettings
from orchestai_env.reward import RewardWeights
from orchestai_env.rules import EpisodeRules, Spread
from orchestai_env.settings import load_yaml, parse_settings
from orchestai_env.workers import WorkerPool

Count = Annotated[int, pydantic.Field(ge=1)]
NonNegative = Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]
Rate = Annotated[float, pydantic.Field(gt=0, le=1.0e12)]
"""A learning rate; the bound only keeps it within what torch can hold."""
Share = Annotated[float, pydantic.Field(ge=0, le=1)]
AgentName = Annotated[str, pydantic.Field(pattern=r"^\w[\w-]*$")]
Device = Literal["auto", "cpu", "cuda"]
Algorithm = Literal["PPO", "MaskablePPO", "RecurrentPPO", "TRPO", "A2C", "DQN"]


class Section(pydantic.BaseModel):
    """A section of settings: frozen, and unknown keys are refused."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class PlannerNetworkSettings(Section):
    """The network that plans, and what it looks up."""

    encoder: str = "all-MiniLM-L6-v2"
    """Transformers encoder, by name or folder; this one comes with a package."""
    max_tokens: Count = 512
    """Tokens of an instruction that are read; the rest is cut off, which is logged."""
    fine_tune: bool = False
    """Train the encoder along; without it the encoder's outputs are computed once."""
    hidden: Count = 128
    """Width of the decoder, a multiple of num_heads."""
    num_layers: Count = 2
    num_heads: Count = 4
    dropout: Share = 0.2
    num_neighbours: Annotated[int, pydantic.Field(ge=0)] = 8
    """Most similar training plans that are read along and may be taken over; 0 = none."""
    max_spans: Annotated[int, pydantic.Field(ge=0)] = 24
    """Parts of an instruction that may be a subtask's text."""
    learning_rate: Rate | None = None
    """null = that of phase1_supervised."""
    encoder_learning_rate: Rate = 2.0e-5
    """Of the encoder, with fine_tune."""
    balance_types: bool = False
    """Draw every task type alike often in training."""


class PlannerSettings(Section):
    """What plans the workflows."""

    kind: Literal["annotated", "learned"] = "learned"
    """learned: phase 1 trains a planner as well; annotated: it does not. Agents are trained and
    compared on annotated workflows either way."""
    max_subtasks: Count = 20
    """Padded number of subtasks; longer workflows are refused, plans are cut there."""
    network: PlannerNetworkSettings = PlannerNetworkSettings()


class SystemSettings(Section):
    """Rules of execution and the machine."""

    max_parallel_tasks: Count = 5
    """Calls of one workflow that run at once."""
    max_attempts: Count = 3
    """Calls that may fail before a subtask has failed."""
    on_failure: Literal["abort", "continue"] = "abort"
    """What happens when a subtask has failed."""
    cost_budget_usd: Positive | None = None
    """Most that a workflow may spend [USD]; null = no limit."""
    deadline_ms: Positive | None = None
    """Time at which an unfinished workflow fails [ms]; null = none."""
    price_spread: Spread = 1.0
    """Costs of each worker in each episode are multiplied by a factor of its own, log-uniform over
    1/x..x; 1 = list prices."""
    latency_spread: Spread = 1.0
    """Latencies of each worker in each episode likewise; 1 = as they are."""
    min_workers: Count | None = None
    """Fewest workers of an episode: a random number from there to all is there each time; null =
    all, always."""
    device: Device = "auto"
    """Where networks are trained; auto = a GPU when there is one."""
    num_threads: Count = 1
    """Threads of torch on the CPU; small networks run fastest on one."""


class Phase1Settings(Section):
    """Supervised pretraining: behaviour cloning of expert decisions."""

    batch_size: Count = 32
    learning_rate: Rate = 1.0e-4
    num_epochs: Count = 50
    lambda_dag: NonNegative = 0.3
    """Weight of the DAG term in the loss of a learned planner."""
    train_data_size: Count = 300
    """Base workflows of the built-in training data."""
    synthetic_augmentations: Annotated[int, pydantic.Field(ge=0)] = 1000
    """Variants of them that are added."""
    expert_workflows: Count = 4000
    """Most training workflows that the expert plays."""
    expert: Literal["hindsight", "lookahead"] = "lookahead"
    """Who labels: hindsight knows the outcome of every call and values each by itself; lookahead
    knows the odds only, and what comes after a call."""
    lookahead_samples: Count = 64
    """Sampled futures that lookahead tries each worker in; time grows in proportion."""
    dagger_rounds: Annotated[int, pydantic.Field(ge=0)] = 0
    """Times that the cloned policy plays and the expert labels what it meets, each followed by up
    to num_epochs more on all decisions so far; 0 = plain cloning."""
    random_share: Share = 0.3
    """Share of the expert's roll-out steps that take a random worker, so that states after a
    failure are seen; labels are always the expert's."""
    label_temperature: Positive = 0.3
    """Targets are softmax(the expert's values / this), in units of reward; small = one-hot."""
    entropy_coef: NonNegative = 0.01
    """Bonus for the entropy of the cloned policy, so that PPO can still explore."""
    max_grad_norm: Positive = 1.0
    validation_share: Share = 0.2
    """Share of the played workflows that is held out of training for early stopping."""
    patience: Count = 8
    """Epochs without a lower validation loss before training stops."""


class Phase2Settings(Section):
    """Fine-tuning in the environment."""

    algorithm: Algorithm = "PPO"
    """PPO anchors to the policy that it starts from, see kl_coef; the others are those of
    Stable-Baselines3 and sb3-contrib as they are."""
    algorithm_arguments: dict[str, Any] = {}
    """More arguments of the algorithm's class, by its own names; they go before the keys below,
    which it gets as far as it knows them (DQN not n_steps, which means something else there)."""
    learning_rate: Rate = 3.0e-5
    num_episodes: Count = 1000
    """Episodes to train for, counted over all environments; see total_timesteps."""
    max_steps_per_episode: Count = 50
    gamma: Share = 0.99
    epsilon: Positive = 0.2
    """Clip range of PPO."""
    alpha: NonNegative = 10.0
    """Reward of a workflow's success, where no profile is chosen."""
    beta: NonNegative = 0.1
    """Charge per USD, where no profile is chosen."""
    gamma_latency: NonNegative = 0.01
    """Charge per ms, where no profile is chosen."""
    shaped_reward: NonNegative = 0.1
    """Reward of a subtask's success, where no profile is chosen."""
    total_timesteps: Count | None = None
    """Steps to train for, over all environments; null = as many as num_episodes take."""
    num_envs: Count = 8
    """Episodes that run side by side."""
    n_steps: Count = 128
    """Steps of each environment per roll-out."""
    batch_size: Count = 256
    n_epochs: Count = 10
    gae_lambda: Share = 0.95
    ent_coef: NonNegative = 0.01
    vf_coef: NonNegative = 0.5
    max_grad_norm: Positive = 0.5
    learning_rate_schedule: Literal["constant", "linear"] = "constant"
    normalize_reward: bool = False
    """Divide rewards by the spread of a random agent's returns; the critic learns better then."""
    critic_warmup: Annotated[int, pydantic.Field(ge=0)] = 0
    """Roll-outs of the policy started from that only the critic learns from (PPO)."""
    kl_coef: NonNegative = 0.0
    """Weight of the KL divergence from the policy started from [nats], at the start (PPO)."""
    kl_fade: Share = 0.5
    """Share of the training over which that weight falls linearly to 0."""
    entropy_floor: NonNegative = 0.0
    """Mean entropy of the policy [nats] below which ent_coef is raised tenfold (PPO)."""
    patience: Count | None = None
    """Evaluations without a better validation return before training stops; null = never."""
    collapse_share: Share = 0.98
    """Alarm where one worker gets more than this share of a task type's calls, of at least 100 in
    about 1,000 that had a choice."""
    num_evaluations: Count = 10
    """Evaluations on validation workflows during training; the best checkpoint is kept."""
    evaluation_workflows: Count = 1000
    """Validation workflows, and as many training ones, per evaluation; where there are fewer,
    simulated ones are played again with other luck, recorded ones once."""


class PolicySettings(Section):
    """The network that phase 1 clones and phase 2 trains."""

    kind: Literal["mlp", "attention"] = "mlp"
    """How the subtasks are read: mlp takes their mean, attention lets each see those it depends on
    and those that depend on it. Both share one scorer among all workers."""
    hidden: Count = 64
    """Width of the hidden layers."""
    num_layers: Count = 2
    """Of attention."""
    num_heads: Count = 4
    """Of attention; divides hidden."""
    embeddings: bool = False
    """Read the raw sentence embeddings too; they make it memorise the training queries."""


class VariationSettings(Section):
    """What varies from episode to episode in training, beyond the rules that are evaluated."""

    preference_spread: Spread = 1.0
    """Cost and latency weight of each episode are multiplied by factors of their own, log-uniform
    over 1/x..x, so that one policy serves every trade-off; 1 = the weights of the profile."""
    price_spread: Spread | None = None
    """In place of system.price_spread; null = the same."""
    latency_spread: Spread | None = None
    """In place of system.latency_spread; null = the same."""
    min_workers: Count | None = None
    """In place of system.min_workers; null = the same."""
    shuffle_workers: bool = False
    """Put the workers on the actions in a random order each time."""


class TrainingSettings(Section):
    """Both phases."""

    phase1_supervised: Phase1Settings = Phase1Settings()
    phase2_rl: Phase2Settings = Phase2Settings()
    policy: PolicySettings = PolicySettings()
    variation: VariationSettings = VariationSettings()


class TrainedAgentSettings(Section):
    """An agent that a benchmark trains."""

    phase: Literal[1, 2] = 2
    """1: supervised; 2: by reinforcement learning."""
    start_from: str | None = None
    """Phase 2: the trained agent whose weights it starts from; null = from scratch."""
    training: dict[str, Any] = {}
    """Changes of the settings under `training`, nested as there."""


_TRAINED = {
    "bc": TrainedAgentSettings(phase=1),
    "bc-ppo": TrainedAgentSettings(start_from="bc"),
    "ppo": TrainedAgentSettings(),
}


class BenchmarkSettings(Section):
    """What `python -m agents.benchmark` compares, and how surely."""

    trained: dict[AgentName, TrainedAgentSettings] = _TRAINED
    """Agents to train, by name, which is that of their run folders too."""
    agents: tuple[str, ...] | None = None
    """Baselines and bounds that take part, by their names in agents/registry.py; null = all."""
    profiles: dict[str, str] = {}
    """Reward profiles to compare under: name -> YAML file, relative to this one."""
    num_seeds: Count = 5
    """Seeds of every trained or tuned agent."""
    workflows: Count = 10000
    """Test workflows, and as many training ones, of the point estimates."""
    replicates: Annotated[int, pydantic.Field(ge=2)] = 200
    """Resamplings of queries and seeds behind the intervals."""
    replicate_workflows: Count = 4000
    """Workflows composed anew per resampling."""
    bound_workflows: Count = 1000
    """Test workflows of agents that are too slow for more, such as the exact solver."""
    table_workflows: Count = 3000
    """Training workflows that the table baselines are tuned on."""
    num_jobs: Count = 2
    """Trainings that run side by side."""
    engine: Literal["local", "ray"] = "local"
    """Where they run: local processes, or a Ray cluster (extra: ray)."""
    front: FrontSettings = FrontSettings()


class ExperimentSettings(Section):
    """One experiment: workers, data, rules, training and benchmark."""

    seed: Annotated[int, pydantic.Field(ge=0)] = 0
    worker_models: WorkerPool | None = None
    """The pool; null = the built-in one, for simulated data. In place of a list, a YAML file of
    `orchestai calibrate`, named relative to the settings, gives `simulation` too."""
    simulation: SimulationSettings | None = None
    """What all workers of simulated data share; null = the defaults."""
    use_workers: Annotated[tuple[str, ...], pydantic.Field(min_length=1)] | None = None
    """Workers of the data that may be called, by name, in this order; null = all."""
    source: RecordedSourceSettings | None = None
    """Recorded outcomes to import; null = the built-in simulated data."""
    planner: PlannerSettings = PlannerSettings()
    system: SystemSettings = SystemSettings()
    training: TrainingSettings = TrainingSettings()
    benchmark: BenchmarkSettings = BenchmarkSettings()

    @pydantic.model_validator(mode="after")
    def _source_fits(self) -> Self:
        if self.source is not None and self.worker_models is None:
            raise ValueError(
                "worker_models: a list of workers is required beside `source`; name models of it"
            )
        if self.source is not None and self.simulation is not None:
            raise ValueError("simulation: expected none beside `source`; nothing is simulated")
        return self

    def rules(self) -> EpisodeRules:
        """Returns the rules of an episode that is evaluated."""
        return EpisodeRules(
            price_spread=self.system.price_spread,
            latency_spread=self.system.latency_spread,
            min_workers=self.system.min_workers,
            max_attempts=self.system.max_attempts,
            max_parallel_tasks=self.system.max_parallel_tasks,
            on_failure=self.system.on_failure,
            cost_budget_usd=self.system.cost_budget_usd,
            deadline_ms=self.system.deadline_ms,
            max_steps=self.training.phase2_rl.max_steps_per_episode,
        )

    def training_rules(self) -> EpisodeRules:
        """Returns the rules of an episode that is trained on: those evaluated, and what varies."""
        given = self.training.variation.model_dump(exclude_none=True)
        return EpisodeRules(**{**self.rules().model_dump(), **given})

    def default_weights(self) -> RewardWeights:
        """Returns the weights that phase2_rl states, per USD and ms."""
        stated = self.training.phase2_rl
        return RewardWeights(
            success_weight=stated.alpha,
            cost_weight=stated.beta,
            latency_weight=stated.gamma_latency,
            shaping_weight=stated.shaped_reward,
        )


def load_experiment(path: str | Path) -> ExperimentSettings:
    """Reads an experiment's YAML file, and the file that it extends.

    Profile files and calibrated workers are named relative to `path`, whichever file names them.

    Raises:
        MissingFileError: there is no such file, or none that it extends.
        ConfigError: a key is unknown, mistyped or out of range, or files extend each other.
    """
    files: list[Path] = []
    data = with_calibrated_workers(read_extended(Path(path), files), Path(path))
    bases = ", ".join(map(str, files[1:]))
    where = f"{path} (extends {bases})" if bases else str(path)
    return parse_settings(data, ExperimentSettings, where=where)


def profile_weights(config: ExperimentSettings, path: Path, profile: str | None) -> RewardWeights:
    """Returns the reward weights of a profile, or those that phase2_rl states where None.

    Args:
        config: the experiment.
        path: its file; profile files are named relative to it.
        profile: a key of benchmark.profiles.
    Raises:
        ConfigError: there is no such profile.
        MissingFileError: its file is missing.
    """
    if profile is None:
        return config.default_weights()
    if profile not in config.benchmark.profiles:
        raise ConfigError(f"{path}: " + unknown_name("profile", profile, config.benchmark.profiles))
    return load_yaml(path.parent / config.benchmark.profiles[profile], RewardWeights)


def save_resolved(config: ExperimentSettings, path: Path) -> None:
    """Writes the settings with every default filled in."""
    data = config.model_dump(mode="json")
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
