"""AnchoredPPO: equals PPO until it is anchored; then the critic goes first and the policy stays."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger, configure

from agents.anchored_ppo import AnchoredPPO, Anchoring, LossError
from agents.policy import WorkerScoringPolicy, policy_keys
from agents.vec_env import OrchestAIVecEnv
from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.vector_env import OrchestAIVectorEnv
from tests.agents.problems import WEIGHTS, builtin_setting, random_observations

POLICY: Any = WorkerScoringPolicy
DATASET = builtin_dataset(num_workflows=20, max_subtasks=6)
NUM_ENVS, N_STEPS = 8, 8
ROLLOUT = NUM_ENVS * N_STEPS


def env_of(kind: str = "mlp", reward_scale: float = 1.0) -> OrchestAIVecEnv:
    keys = policy_keys(kind)
    venv = OrchestAIVectorEnv(NUM_ENVS, DATASET, reward_weights=WEIGHTS, observation=keys)
    return OrchestAIVecEnv(venv, seed=0, reward_scale=reward_scale)


def model_of(algorithm: type[PPO], kind: str = "mlp", **arguments: Any) -> Any:
    defaults = {"n_steps": N_STEPS, "batch_size": 32, "n_epochs": 2, "learning_rate": 0.003}
    shape = {"kind": kind, "hidden": 8, "num_layers": 1, "num_heads": 2}
    env = arguments.pop("env", None) or env_of(kind)
    return algorithm(
        POLICY, env, seed=0, device="cpu", policy_kwargs=shape, **(defaults | arguments)
    )


def trained(algorithm: type[PPO], rollouts: int = 3, **arguments: Any) -> Any:
    return model_of(algorithm, **arguments).learn(rollouts * ROLLOUT)


def anchored(anchoring: Anchoring, *, rollouts: int, **arguments: Any) -> tuple[Any, Any]:
    """Returns the trained model and the probabilities, before and after, of some observations."""
    model = model_of(AnchoredPPO, **arguments)
    model.anchor(anchoring)
    before = probabilities(model)
    model.learn(rollouts * ROLLOUT)
    return model, (before, probabilities(model))


def probabilities(model: Any) -> torch.Tensor:
    observation = random_observations(builtin_setting(20), 16, seed=1)
    adjacency = torch.zeros(16, 6, 6)
    tensors = {key: torch.as_tensor(value) for key, value in observation.items()}
    tensors |= {"adjacency": adjacency} if "adjacency" in model.observation_space.spaces else {}
    with torch.no_grad():
        found: torch.Tensor = model.policy.get_distribution(tensors).distribution.probs
    return found


def divergence(before: torch.Tensor, after: torch.Tensor) -> float:
    ratio = torch.where(before > 0, before / after.clamp(min=1e-12), torch.ones(()))
    return float((before * ratio.log()).sum(-1).mean())


def logged(model: Any) -> dict[str, float]:
    """Trains one roll-out more and returns what was logged of its update."""
    logger: Logger = configure(None, [])
    model.set_logger(logger)
    model.learn(ROLLOUT, reset_num_timesteps=False)
    return dict(logger.name_to_value)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"clip_range_vf": 0.2, "normalize_advantage": False, "batch_size": 48},
        {"target_kl": 1e-5, "learning_rate": 0.03},
    ],
    ids=["defaults", "value-clip", "target-kl"],
)
@pytest.mark.filterwarnings("ignore:You have specified a mini-batch size")
def test_updates_equal_those_of_ppo_bit_by_bit(arguments: dict[str, Any]) -> None:
    stock = trained(PPO, **arguments)
    of_stock = logged(stock)
    ours = trained(AnchoredPPO, **arguments)
    told = logged(ours)

    expected, found = stock.policy.state_dict(), ours.policy.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert ours._n_updates == stock._n_updates
    for name in (*of_stock, *told):
        if name.startswith("train/"):
            assert told[name] == pytest.approx(of_stock[name], rel=1e-5, abs=1e-7), name


@pytest.mark.parametrize("kind", ["mlp", "attention"])
def test_warmup_moves_the_critic_and_leaves_the_actor_exactly_as_it_was(kind: str) -> None:
    model = model_of(AnchoredPPO, kind=kind)
    model.anchor(Anchoring(critic_warmup=2))
    before, weights = probabilities(model), clone(model)

    model.learn(2 * ROLLOUT)

    assert torch.equal(probabilities(model), before)
    moved = {name for name, value in weights.items() if not torch.equal(value, clone(model)[name])}
    assert "value_net.weight" in moved
    assert all(name.startswith(("value_net", "mlp_extractor.critic")) for name in moved)

    model.learn(ROLLOUT, reset_num_timesteps=False)
    assert not torch.equal(probabilities(model), before)


def clone(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.policy.state_dict().items()}


def test_warmup_fits_the_critic() -> None:
    """The value loss of the second half of the warm-up is below that of the first."""
    model = model_of(AnchoredPPO, n_epochs=10, env=env_of(reward_scale=0.1))
    model.anchor(Anchoring(critic_warmup=100))
    losses = [logged(model)["train/value_loss"] for _ in range(20)]

    assert np.mean(losses[10:]) < 0.8 * np.mean(losses[:10])


def test_policy_stays_near_its_start_under_a_large_coefficient() -> None:
    """Training with learning_rate 0.03 moves a free policy by more than 20 times as much."""
    arguments: dict[str, Any] = {"rollouts": 4, "learning_rate": 0.03}
    _, free = anchored(Anchoring(), **arguments)
    _, held = anchored(Anchoring(kl_coef=300.0, kl_fade=1.0), **arguments)

    assert divergence(*free) > 20 * divergence(*held)


def test_coefficient_falls_linearly_to_zero() -> None:
    anchoring = Anchoring(kl_coef=2.0, kl_fade=0.5)

    assert [anchoring.kl_coef_at(p) for p in (0.0, 0.25, 0.5, 1.0)] == [2.0, 1.0, 0.0, 0.0]
    assert Anchoring(kl_coef=2.0, kl_fade=0.0).kl_coef_at(0.0) == 0.0


def test_divergence_and_coefficient_are_logged() -> None:
    model = model_of(AnchoredPPO)
    model.anchor(Anchoring(kl_coef=0.5, kl_fade=1.0))
    model.learn(2 * ROLLOUT)

    told = logged(model)

    assert told["train/kl_to_start"] > 0.0
    assert told["train/kl_coef"] == 0.0  # the last roll-out of that training


def test_anchor_can_be_another_policy() -> None:
    """Weights that are passed are what the divergence is measured to, as a resumed run does."""
    other = trained(AnchoredPPO, learning_rate=0.05)
    model = model_of(AnchoredPPO)
    model.anchor(Anchoring(), clone(other))

    told = logged(model)["train/kl_to_start"]

    assert told > 0.01


def test_schedules_count_episodes_where_they_end_the_training() -> None:
    model = model_of(AnchoredPPO)
    model.num_episodes = 40
    model._episode_num = 30

    model._update_current_progress_remaining(100, 1000)

    assert model._current_progress_remaining == 0.25


def test_entropy_bonus_is_tenfold_below_the_floor() -> None:
    """A floor above any entropy equals ten times the coefficient; one below it changes nothing."""
    plain = clone(trained(AnchoredPPO, ent_coef=0.02))
    tenfold = clone(trained(AnchoredPPO, ent_coef=0.2))

    def with_floor(floor: float) -> dict[str, torch.Tensor]:
        model = model_of(AnchoredPPO, ent_coef=0.02)
        model.entropy_floor = floor
        return clone(model.learn(3 * ROLLOUT))

    high, low = with_floor(100.0), with_floor(1e-6)
    assert all(torch.equal(low[name], plain[name]) for name in plain)
    assert all(torch.allclose(high[name], tenfold[name], atol=1e-6) for name in tenfold)


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_loss_that_is_not_finite_is_refused_before_the_step(scale: float) -> None:
    model = model_of(AnchoredPPO, env=env_of(reward_scale=scale))
    before = clone(model)

    with (
        np.errstate(invalid="ignore"),
        pytest.raises(LossError, match=r"loss of update 0, minibatch 0, at step 64 is .*; lower"),
    ):
        model.learn(ROLLOUT)

    assert all(torch.equal(value, before[name]) for name, value in clone(model).items())


def test_zip_is_one_of_stock_ppo(tmp_path: Path) -> None:
    model, (_, after) = anchored(Anchoring(kl_coef=1.0, kl_fade=1.0), rollouts=2)

    model.save(tmp_path / "model.zip")

    loaded = PPO.load(tmp_path / "model.zip", device="cpu")
    assert type(loaded) is PPO
    assert torch.equal(probabilities(loaded), after)
    data = zipfile.ZipFile(tmp_path / "model.zip").read("data").decode()
    assert "_anchor" not in data and "anchored_ppo" not in data
