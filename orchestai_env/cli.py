"""The command line: `orchestai ...`, and how every command of the project ends."""

from __future__ import annotations

import sys
from collections.abc import Callable

from orchestai_env.errors import OrchestAIError


def run_command(command: Callable[[], None]) -> None:
    """Runs a command; an error of ours becomes one line and exit code 2, Ctrl-C becomes 130."""
    try:
        command()
    except OrchestAIError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
