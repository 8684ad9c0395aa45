"""Settings shared by all tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import settings

from orchestai_env.cli import run_command

# The first example of a test may compile the transition, so its time says nothing. On a CI,
# hypothesis's own profile comes first: the same examples in every run.
settings.register_profile("untimed", settings.default, deadline=None)
settings.load_profile("untimed")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Names bytes by their parameter: compressed ones hold the time, and processes must agree."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Returns a function that runs a command and gives back its one line on stderr."""

    def run(main: Callable[[list[str]], None], *arguments: object) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            run_command(lambda: main([str(argument) for argument in arguments]))
        line = capsys.readouterr().err
        assert caught.value.code == 2, line
        assert line.startswith("error: ") and line.endswith("\n"), line
        assert line.count("\n") == 1, line
        assert "Traceback" not in line
        return line

    return run
