"""`orchestai render`: the GIF that it writes, and how it refuses bad input."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image as Pillow

from orchestai_env.cli import main
from orchestai_env.policies import POLICIES
from tests.recorded_source import import_source


def _render(capsys: pytest.CaptureFixture[str], path: Path, *arguments: object) -> tuple[str, int]:
    """Runs the command; returns what it printed and the number of pictures in the file."""
    main(["render", "--output", str(path), "--split", "validation", *map(str, arguments)])
    printed = capsys.readouterr()
    assert printed.err == ""
    with Pillow.open(path) as file:
        assert file.size == (960, 600)
        return printed.out, getattr(file, "n_frames", 0)


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_render_writes_a_picture_per_decision_and_one_line(
    policy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "play.gif"
    line, num_frames = _render(capsys, path, "--policy", policy, "--workflow", 3)

    pattern = rf"{re.escape(str(path))}: (\d+) frames, return -?[\d.]+, the workflow (\w+)\n"
    found = re.fullmatch(pattern, line)
    assert found is not None, line
    assert int(found[1]) == num_frames >= 3
    assert found[2] in ("succeeded", "failed")


def test_render_of_the_same_seed_is_the_same_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        _render(capsys, tmp_path / f"{name}.gif", "--seed", seed, "--policy", "random")

    first, again, other = (tmp_path / f"{name}.gif" for name in "abc")
    assert first.read_bytes() == again.read_bytes()
    assert first.read_bytes() != other.read_bytes()


def test_render_shows_imported_data_under_a_reward_profile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, profile = import_source(tmp_path / "data"), tmp_path / "profile.yaml"
    arguments = ("--dataset", folder, "--workflow", 0, "--rewards", profile)
    returns = []
    for weight in ("0.0", "7.0"):
        profile.write_text(
            f"success_weight: {weight}\ncost_weight: 0.0\nlatency_weight: 0.0\n"
            "latency_unit: s\nshaping_weight: 0.0\n"
        )
        line, _ = _render(capsys, tmp_path / "play.gif", *arguments)
        returns.append((line.split("return ")[1], "succeeded" in line))

    expected = "7.00, the workflow succeeded\n" if returns[1][1] else "0.00, the workflow failed\n"
    assert returns[0][0].startswith("0.00, ")
    assert returns[1][0] == expected


def test_render_plays_as_fast_as_it_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _render(capsys, tmp_path / "play.gif", "--fps", 10)

    with Pillow.open(tmp_path / "play.gif") as file:
        assert file.info["duration"] == 100


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--policy", "cheap"], "--policy: unknown policy 'cheap'. Did you mean 'cheapest'"),
        (["--seed", "-1"], "--seed: expected a whole number >= 0, got -1"),
        (["--fps", "0"], "--fps: expected a number > 0 and <= 50, got 0"),
        (["--fps", "nan"], "--fps: expected a number > 0 and <= 50, got nan"),
        (["--workflow", "100000"], "workflow: expected an index in 0..199, got 100000"),
        (["--workflow", "-1"], "workflow: expected an index in 0..199, got -1"),
        (["--split", "tests"], "unknown split 'tests'. Did you mean 'test'"),
        (["--dataset", "nowhere"], "nowhere/dataset.json: no imported data set there"),
        (["--rewards", "none.yaml"], "none.yaml: no such settings file; check the path"),
    ],
    ids=lambda value: "-".join(value)[2:] if isinstance(value, list) else "",
)
def test_render_refuses_bad_input_in_one_line(
    arguments: list[str], words: str, tmp_path: Path, refused: Callable[..., str]
) -> None:
    path = tmp_path / "play.gif"

    assert words in refused(main, "render", "--output", path, "--split", "validation", *arguments)
    assert not path.exists()


def test_render_refuses_another_ending(tmp_path: Path, refused: Callable[..., str]) -> None:
    line = refused(main, "render", "--output", tmp_path / "play.mp4")

    assert "play.mp4: expected a file name that ends in .gif" in line


def test_render_refuses_a_folder(tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "play.gif").mkdir()

    line = refused(main, "render", "--output", tmp_path / "play.gif")

    assert "play.gif: expected a file, got a folder" in line


@pytest.mark.parametrize("package", ["matplotlib", "PIL"])
def test_render_without_a_package_says_how_to_install_it(
    package: str, tmp_path: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)

    line = refused(main, "render", "--output", tmp_path / "play.gif", "--split", "validation")

    assert 'install it with: pip install "orchestai-env[render]"' in line


def test_render_without_an_output_prints_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["render"])

    assert caught.value.code == 2
    assert "the following arguments are required: --output" in capsys.readouterr().err
