"""Renderer and its window, on a backend whose windows nobody sees."""

from __future__ import annotations

import copy
import pickle
import sys
from collections.abc import Callable

import gymnasium as gym
import numpy as np
import pytest
from matplotlib import pyplot as plt

from orchestai_env.env import OrchestAIEnv
from orchestai_env.errors import ConfigError, MissingPackageError
from orchestai_env.render.image import Image, render_image
from orchestai_env.render.renderer import RENDER_FPS, RENDER_MODES, Renderer
from orchestai_env.render.text import render_text
from orchestai_env.render.window import ImageWindow
from tests.orchestai_env.recording import diamond
from tests.orchestai_env.toy import DIAMOND, DIAMOND_RULES, toy_env

BLACK, GREY = np.zeros((30, 40, 3), np.uint8), np.full((30, 40, 3), 99, np.uint8)


@pytest.fixture
def env() -> OrchestAIEnv:
    """The diamond, at its beginning."""
    env = toy_env(DIAMOND, **DIAMOND_RULES)
    env.reset(seed=0)
    return env


def _picture() -> Image:
    """Returns the picture in the only window."""
    (number,) = plt.get_fignums()
    (axes,) = plt.figure(number).axes
    return np.asarray(axes.images[0].get_array())


def _step(env: OrchestAIEnv, renderer: Renderer, action: int) -> None:
    env.step(action)
    renderer.update(env._episodes)


def test_renderer_draws_an_episode_as_text(env: OrchestAIEnv) -> None:
    renderer = Renderer("ansi")
    renderer.begin(env._episodes)
    assert renderer.render() == render_text(diamond())

    _step(env, renderer, 1)

    assert renderer.render() == render_text(diamond(1))


def test_renderer_draws_an_episode_as_a_picture(env: OrchestAIEnv) -> None:
    renderer = Renderer("rgb_array", width=500, height=300)
    renderer.begin(env._episodes)
    _step(env, renderer, 1)

    picture = renderer.render()

    assert isinstance(picture, np.ndarray)
    np.testing.assert_array_equal(picture, render_image(diamond(1), width=500, height=300))


def test_renderer_keeps_one_window_up_to_date(env: OrchestAIEnv, windows: list[float]) -> None:
    renderer = Renderer("human")
    renderer.begin(env._episodes)
    np.testing.assert_array_equal(_picture(), render_image(diamond()))

    _step(env, renderer, 1)

    np.testing.assert_array_equal(_picture(), render_image(diamond(1)))
    assert renderer.render() is None
    assert windows == [1 / RENDER_FPS] * 2
    renderer.close()
    assert plt.get_fignums() == []


def test_renderer_without_a_mode_records_nothing_and_warns(env: OrchestAIEnv) -> None:
    renderer = Renderer(None)
    renderer.begin(env._episodes)
    _step(env, renderer, 1)

    with pytest.warns(UserWarning, match="render.. does nothing without a render_mode"):
        assert renderer.render() is None
    renderer.close()


@pytest.mark.parametrize("mode", ["ansi", "rgb_array"])
def test_renderer_before_an_episode_says_so(mode: str) -> None:
    with pytest.raises(gym.error.ResetNeeded, match=r"call reset\(\) before render\(\)"):
        Renderer(mode).render()


def test_renderer_refuses_an_unknown_mode() -> None:
    words = f"render_mode: expected None or one of {', '.join(RENDER_MODES)}, got 'rgb'"
    with pytest.raises(ConfigError, match=words):
        Renderer("rgb")


@pytest.mark.parametrize("mode", ["rgb_array", "human"])
def test_renderer_without_matplotlib_says_how_to_install_it(
    mode: str, env: OrchestAIEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    renderer = Renderer(mode)

    with pytest.raises(MissingPackageError, match=r'pip install "orchestai-env\[render\]"'):
        renderer.begin(env._episodes)
        renderer.render()


def test_text_needs_no_matplotlib(env: OrchestAIEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    renderer = Renderer("ansi")
    renderer.begin(env._episodes)

    assert renderer.render() == render_text(diamond())


def test_window_shows_each_picture_in_place_of_the_last(windows: list[float]) -> None:
    window = ImageWindow()
    window.show(BLACK, seconds=0.1)
    first = plt.get_fignums()
    window.show(GREY, seconds=0.2)

    assert plt.get_fignums() == first
    np.testing.assert_array_equal(_picture(), GREY)
    assert windows == [0.1, 0.2]
    drawn = np.asarray(plt.figure(first[0]).canvas.buffer_rgba())  # type: ignore[attr-defined]
    assert (drawn[:, :, :3] == 99).all()


def test_window_opens_again_after_it_was_closed(windows: list[float]) -> None:
    window = ImageWindow()
    window.show(BLACK, seconds=0.1)
    plt.close("all")

    window.show(GREY, seconds=0.1)

    np.testing.assert_array_equal(_picture(), GREY)
    window.close()
    window.close()
    assert plt.get_fignums() == []


def test_windows_are_independent(windows: list[float]) -> None:
    first, second = ImageWindow(), ImageWindow()
    first.show(BLACK, seconds=0.1)
    second.show(GREY, seconds=0.1)

    first.close()

    np.testing.assert_array_equal(_picture(), GREY)


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda window: pickle.loads(pickle.dumps(window))]
)
def test_copy_of_a_window_opens_its_own(
    copied: Callable[[ImageWindow], ImageWindow], windows: list[float]
) -> None:
    window = ImageWindow()
    window.show(BLACK, seconds=0.1)

    copied(window).show(GREY, seconds=0.1)

    assert len(plt.get_fignums()) == 2
    window.close()
    np.testing.assert_array_equal(_picture(), GREY)


@pytest.mark.parametrize("backend", ["agg", "svg"])
def test_window_that_cannot_open_is_one_clear_error(
    backend: str, monkeypatch: pytest.MonkeyPatch, windows: list[float]
) -> None:
    plt.switch_backend(backend)

    words = f"backend '{backend}' opens no window; use render_mode=\"rgb_array\", or a backend that"
    with pytest.raises(ConfigError, match=words):
        ImageWindow().show(BLACK, seconds=0.1)
    assert plt.get_fignums() == []


def test_window_without_a_screen_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch, windows: list[float]
) -> None:
    def figure(**_: object) -> None:
        raise ImportError("Cannot load backend 'TkAgg'")

    monkeypatch.setattr(plt, "figure", figure)
    with pytest.raises(ConfigError, match="Cannot load backend 'TkAgg'; use render_mode="):
        ImageWindow().show(BLACK, seconds=0.1)
