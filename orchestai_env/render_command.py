"""`orchestai render`: plays one episode and writes a GIF of its schedule."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import gymnasium as gym

from orchestai_env.env import OrchestAIEnv
from orchestai_env.errors import ConfigError, unknown_name
from orchestai_env.policies import POLICIES
from orchestai_env.render.gif import MAX_FPS, checked_gif_path, write_gif
from orchestai_env.render.image import Image
from orchestai_env.render.renderer import RENDER_FPS


def add_render_command(commands: Any) -> None:
    """Adds the command to the subparsers of `orchestai`."""
    add = commands.add_parser("render", help="play one episode and write a GIF of its schedule")
    add.add_argument("--output", type=Path, required=True, help="GIF to write")
    add.add_argument("--dataset", type=Path, help="data set folder; the built-in data without it")
    add.add_argument("--split", help="train, validation or test; train without it")
    add.add_argument("--workflow", type=int, help="index in the split; drawn by the seed without")
    add.add_argument("--policy", default="cheapest", help=f"one of {', '.join(POLICIES)}")
    add.add_argument("--rewards", type=Path, help="YAML reward profile")
    add.add_argument("--seed", type=int, default=0, help="seed of the episode and of the policy")
    add.add_argument("--fps", type=float, default=RENDER_FPS, help="decisions shown a second")
    add.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    output = _checked(args)
    env = gym.make(
        "orchestai_env:OrchestAI-v0",
        render_mode="rgb_array",
        dataset=args.dataset,
        split=args.split,
        reward_weights=args.rewards,
    )
    frames, episode_return, success = _play(env, args)
    env.close()
    write_gif(frames, output, fps=args.fps)
    outcome = "succeeded" if success else "failed"
    print(f"{output}: {len(frames)} frames, return {episode_return:.2f}, the workflow {outcome}")


def _checked(args: argparse.Namespace) -> Path:
    """Checks what would otherwise fail after the episode; returns the file to write."""
    if args.policy not in POLICIES:
        raise ConfigError("--policy: " + unknown_name("policy", args.policy, POLICIES))
    if args.seed < 0:
        raise ConfigError(f"--seed: expected a whole number >= 0, got {args.seed}")
    if not 0 < args.fps <= MAX_FPS:
        raise ConfigError(f"--fps: expected a number > 0 and <= {MAX_FPS:g}, got {args.fps:g}")
    return checked_gif_path(args.output)


def _play(env: gym.Env[Any, Any], args: argparse.Namespace) -> tuple[list[Image], float, bool]:
    """Plays one episode; returns a picture per decision and one of the end, return and success."""
    plain = env.unwrapped
    assert isinstance(plain, OrchestAIEnv)
    policy = POLICIES[args.policy](plain, args.seed)
    options = None if args.workflow is None else {"workflow": args.workflow}
    obs, info = env.reset(seed=args.seed, options=options)
    frames, episode_return, has_ended = [_picture(env)], 0.0, False
    while not has_ended:
        obs, reward, terminated, truncated, info = env.step(policy(obs))
        episode_return += float(reward)
        has_ended = terminated or truncated
        frames.append(_picture(env))
    return frames, episode_return, info["is_success"]


def _picture(env: gym.Env[Any, Any]) -> Image:
    picture: Any = env.render()
    return picture  # type: ignore[no-any-return]  # an array in this mode
