"""A schedule as a picture: its form, what is in it, and what is not."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import colors
from matplotlib import pyplot as plt

from orchestai_env.errors import ConfigError, MissingPackageError
from orchestai_env.render.gantt import time_axis
from orchestai_env.render.image import Image, render_image
from orchestai_env.render.style import STYLES
from orchestai_env.schedule import Schedule
from tests.orchestai_env.recording import crowded, diamond, recorded, secret_twins
from tests.orchestai_env.toy import (
    DIAMOND,
    DIAMOND_BEST,
    DIAMOND_RULES,
    ONE_SECOND,
    Instance,
    toy_env,
)

ROOT = Path(__file__).resolve().parents[3]


def _shows(image: Image, colour: str) -> bool:
    """Tells whether pixels above the legend have this colour."""
    wanted = np.round(255 * np.array(colors.to_rgb(colour)))
    return bool((image[: int(0.92 * len(image))] == wanted).all(axis=2).any())


def _shown(schedule: Schedule, key: str = "facecolor") -> set[str]:
    image = render_image(schedule)
    return {state for state, style in STYLES.items() if _shows(image, style[key])}


@pytest.mark.parametrize(("width", "height"), [(960, 600), (800, 500), (801, 333), (400, 250)])
def test_image_has_the_size_that_was_asked_for(width: int, height: int) -> None:
    image = render_image(diamond(1), width=width, height=height)

    assert image.shape == (height, width, 3)
    assert image.dtype == np.uint8
    assert image.std() > 10


@pytest.mark.parametrize(("width", "height"), [(399, 250), (400, 249)])
def test_image_too_small_to_read_is_refused(width: int, height: int) -> None:
    with pytest.raises(ConfigError, match=f"at least 400 x 250 pixels, got {width} x {height}"):
        render_image(diamond(), width=width, height=height)


def test_image_changes_with_every_decision() -> None:
    schedules = recorded(toy_env(DIAMOND, **DIAMOND_RULES), *DIAMOND_BEST)
    images = [render_image(schedule) for schedule in schedules]

    assert len(images) == 6
    for first, second in itertools.combinations(images, 2):
        assert (first != second).any()


def test_image_shows_every_state_in_its_colour() -> None:
    assert _shown(diamond()) - {"failed"} == {"ready", "pending"}  # failed is pending's white
    assert _shown(diamond(*DIAMOND_BEST)) >= {"succeeded"}
    assert not _shown(diamond(*DIAMOND_BEST)) & {"ready", "running", "waiting"}
    assert "running" in _shown(diamond(1, 1, 0))
    waiting = recorded(toy_env(Instance(calls=((ONE_SECOND,),) * 3), concurrency=(1,)), 0, 0)[-1]
    assert "waiting" in _shown(waiting)
    assert "failed" in _shown(diamond(1), "edgecolor")
    assert "failed" not in _shown(diamond(0), "edgecolor")


def test_image_tells_states_of_calls_apart_without_colour() -> None:
    calls = ("succeeded", "failed", "running", "waiting")
    forms = {(STYLES[s].get("hatch"), STYLES[s].get("linestyle")) for s in calls}

    assert len(forms) == len(calls)


@pytest.mark.parametrize("size", [(800, 500), (960, 600)])
def test_image_of_twenty_subtasks_and_sixteen_workers_stays_within_its_borders(
    size: tuple[int, int],
) -> None:
    image = render_image(
        crowded(name="a_very_long_name_of_a_worker"), width=size[0], height=size[1]
    )

    for border in (image[:2], image[-2:], image[:, :2], image[:, -2:]):
        assert (border == 255).all()


def test_image_keeps_a_long_queue_within_its_chart() -> None:
    instance = Instance(calls=((ONE_SECOND,),) * 30)
    schedule = recorded(toy_env(instance, concurrency=(1,)), *[0] * 29)[-1]
    assert sum(call.outcome == "waiting" for call in schedule.calls) == 28

    image = render_image(schedule, width=800, height=500)

    assert _shows(image, STYLES["waiting"]["facecolor"])
    assert (image[60:430, 522:532] == 255).all()  # between the chart and the DAG


def test_image_does_not_tell_what_a_running_call_will_do() -> None:
    first, second = map(render_image, secret_twins())

    np.testing.assert_array_equal(first, second)
    assert _shows(first, STYLES["running"]["facecolor"])


def test_image_neither_reads_nor_changes_the_settings_of_matplotlib() -> None:
    plain = render_image(diamond(1))
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "hatch.linewidth": 5}):
        before, figures = dict(mpl.rcParams), plt.get_fignums()
        styled = render_image(diamond(1))
        assert dict(mpl.rcParams) == before
        assert plt.get_fignums() == figures

    np.testing.assert_array_equal(plain, styled)


@pytest.mark.parametrize(
    ("now", "end"), [(0.0, 1.0), (1.0, 1.2), (4.0, 5.0), (9.0, 12.0), (0.0123, 0.015), (870, 1200)]
)
def test_time_axis_ends_at_a_round_number_behind_the_clock(now: float, end: float) -> None:
    found, step = time_axis(now)

    assert found == pytest.approx(end)
    assert found / step == pytest.approx(round(found / step))
    assert found >= 1.15 * now


def test_image_without_matplotlib_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    words = re.escape('need matplotlib, which cannot be imported; install it with: pip install "')
    with pytest.raises(MissingPackageError, match=words + r"orchestai-env\[render\]\"") as caught:
        render_image(diamond())
    assert isinstance(caught.value, gym.error.DependencyNotInstalled)


def test_what_draws_pictures_is_loaded_only_to_draw_one() -> None:
    code = (
        "import sys, orchestai_env.cli, orchestai_env.render.renderer, orchestai_env.render.gif; "
        "print(*sys.modules)"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    loaded = set(process.stdout.split())
    assert "orchestai_env.render.image" in loaded
    assert not loaded & {"matplotlib", "PIL"}
