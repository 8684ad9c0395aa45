"""What the commands share: options, files of results, and the width of tables."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console

from agents.checkpoint import write_whole

SUMMARY = "summary.json"
PACKAGES = ("numpy", "scikit-learn", "torch")
"""Whose versions are stored with predictions."""


def seed_count(text: str) -> int:
    """Parses a number of seeds for argparse.

    Raises:
        ArgumentTypeError: it is no whole number, at least 1.
    """
    if not (text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"expected a whole number, at least 1, got {text!r}")
    return int(text)


def add_device_option(parser: argparse.ArgumentParser) -> None:
    """Adds --device to a command without settings."""
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where networks run; auto = a GPU when there is one (default)",
    )


def write_json(path: Path, content: Any) -> None:
    """Writes plain values, whole or not at all."""
    text = json.dumps(content, indent=1) + "\n"
    write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def table_console(width: int) -> Console:
    """Returns the console of a terminal as it is; a log has room for rows of `width` columns."""
    console = Console()
    return console if console.is_terminal else Console(width=width)
