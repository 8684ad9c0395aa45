"""API keys: where they are read, and how they are kept out of messages."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from orchestai_env.errors import ConfigError
from orchestai_env.execution.extra import needs_extra

HIDDEN = "[hidden]"
"""Stands in messages where a key was."""

_PIECE = 8
"""Characters of a key that may not be shown in a row: servers echo parts of keys, too. Chosen."""


def read_keys(variables: Iterable[str], env_file: Path | None) -> dict[str, str]:
    """Returns the keys that environment variables hold.

    Args:
        variables: names of the variables.
        env_file: read for what the environment has not; it need not be there. Nothing is put into
            the environment.
    Raises:
        ConfigError: variables are not set or no keys; the message names them and says what to do,
            and holds no value.
        MissingPackageError: there is such a file, and python-dotenv is not installed.
    """
    names = sorted(set(variables))
    written = {} if all(os.environ.get(name) for name in names) else _env_file_values(env_file)
    values = {name: (os.environ.get(name) or written.get(name) or "").strip() for name in names}
    missing = [name for name, value in values.items() if not value]
    if missing:
        place = "" if env_file is None else f", or write {missing[0]}=... into {env_file}"
        raise ConfigError(
            f"expected a key in each of the environment variables {', '.join(missing)}, "
            f"which are not set; export {missing[0]}=...{place}"
        )
    for name, value in values.items():
        # Anything else breaks the HTTP header, whose error would show the key.
        if not (value.isascii() and value.isprintable() and " " not in value):
            raise ConfigError(
                f"environment variable {name}: expected a key of printable ASCII characters "
                "without spaces, got others among them; set it anew"
            )
    return values


def _env_file_values(env_file: Path | None) -> dict[str, str | None]:
    if env_file is None or not env_file.is_file():
        return {}
    with needs_extra("live", what=".env files"):
        import dotenv
    try:
        return dict(dotenv.dotenv_values(env_file, interpolate=False))
    except UnicodeDecodeError:
        pass  # raised below, out of reach of an error that holds the file's bytes
    raise ConfigError(f"{env_file}: expected lines NAME=value in UTF-8, got other bytes")


def without_key(text: str, key: str) -> str:
    """Returns a text in which every piece of a key is hidden.

    Args:
        text: what a server or a library said.
        key: the key; "" where there is none.
    """
    size = min(_PIECE, len(key))
    if size == 0:
        return text
    pieces = {key[i : i + size] for i in range(len(key) - size + 1)}
    shown, i = [], 0
    while i < len(text):
        if text[i : i + size] not in pieces:
            shown.append(text[i])
            i += 1
            continue
        i += size
        while text[i - size + 1 : i + 1] in pieces and i < len(text):
            i += 1
        shown.append(HIDDEN)
    return "".join(shown)


def said(text: object, key: str = "") -> str:
    """Returns what came from outside as one line of at most 200 characters, without the key."""
    # Hiding takes time per character, and a body may be of any size.
    line = " ".join(without_key(str(text)[:4000], key).split())
    return line if len(line) <= 200 else line[:197] + "..."
