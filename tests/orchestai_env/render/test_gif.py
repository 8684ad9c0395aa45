"""GIFs: what is read back, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageSequence

from orchestai_env.errors import ConfigError, MissingPackageError
from orchestai_env.render.gif import write_gif
from orchestai_env.render.image import Image, render_image
from tests.orchestai_env.recording import recorded
from tests.orchestai_env.toy import DIAMOND, DIAMOND_BEST, DIAMOND_RULES, toy_env


def _grey(value: int) -> Image:
    return np.full((8, 12, 3), value, np.uint8)


def _read(path: Path) -> tuple[list[Image], list[int]]:
    """Returns pictures and how long each is shown [ms]."""
    with Pillow.open(path) as file:
        frames = [
            (np.asarray(frame.convert("RGB")), frame.info["duration"])
            for frame in ImageSequence.Iterator(file)
        ]
    return [picture for picture, _ in frames], [duration for _, duration in frames]


def test_gif_reads_back_as_it_was_written(tmp_path: Path) -> None:
    frames = [_grey(10), _grey(200), _grey(90)]

    write_gif(iter(frames), tmp_path / "new" / "play.gif", fps=4)

    pictures, durations = _read(tmp_path / "new" / "play.gif")
    np.testing.assert_array_equal(pictures, frames)
    assert durations == [250, 250, 2000]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["play.gif"]


def test_gif_of_an_episode_keeps_its_colours(tmp_path: Path) -> None:
    schedules = recorded(toy_env(DIAMOND, **DIAMOND_RULES), *DIAMOND_BEST)
    frames = [render_image(schedule, width=400, height=250) for schedule in schedules]

    write_gif(frames, tmp_path / "play.GIF")

    pictures, _ = _read(tmp_path / "play.GIF")
    assert len(pictures) == len(schedules)
    for picture, frame in zip(pictures, frames, strict=True):
        assert np.abs(picture.astype(int) - frame).mean() < 2


def test_gif_loops_for_ever(tmp_path: Path) -> None:
    write_gif([_grey(0), _grey(9)], tmp_path / "play.gif")

    with Pillow.open(tmp_path / "play.gif") as file:
        assert file.info["loop"] == 0


@pytest.mark.parametrize("fps", [0, -1, 51, float("nan")])
def test_gif_speed_out_of_range_is_refused(fps: float, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fps: expected a number > 0 and <= 50, got"):
        write_gif([_grey(0)], tmp_path / "play.gif", fps=fps)


@pytest.mark.parametrize("name", ["play.png", "play", "gif"])
def test_gif_of_another_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{name}: expected a file name that ends in .gif"):
        write_gif([_grey(0)], tmp_path / name)


def test_gif_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "play.gif").mkdir()

    with pytest.raises(ConfigError, match=r"play\.gif: expected a file, got a folder"):
        write_gif([_grey(0)], tmp_path / "play.gif")


def test_gif_in_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigError, match=r"play\.gif: cannot be written: "):
        write_gif([_grey(0)], tmp_path / "file" / "play.gif")


def test_gif_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected at least one picture, got none"):
        write_gif([], tmp_path / "play.gif")
    assert not list(tmp_path.iterdir())


def test_old_gif_stays_until_the_new_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "play.gif"
    path.write_bytes(b"old")

    def save(self: Pillow.Image, target: Path, **_: object) -> None:
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Pillow.Image, "save", save)
    with pytest.raises(ConfigError, match=r"play\.gif: cannot be written: No space left on device"):
        write_gif([_grey(0)], path)

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_gif_without_pillow_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)

    with pytest.raises(MissingPackageError, match=r'pip install "orchestai-env\[render\]"'):
        write_gif([_grey(0)], tmp_path / "play.gif")
