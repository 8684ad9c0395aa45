"""Redaction: keeps texts out of the execution log; they are dropped, hashed or masked.

Workers decide what they write, so what reads it is limited: a text on which a mask, or taking out
what it quotes, would take too long is taken out as a whole.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Self

import pydantic

from orchestai_env.errors import ConfigError
from orchestai_env.execution.checks.checks import SEARCH_LIMIT_S, compiled_pattern
from orchestai_env.execution.log.record import ExecutionRecord
from orchestai_env.execution.workers.keys import read_keys
from orchestai_env.settings import StrictSettings, load_yaml

Treatment = Literal["keep", "drop", "hash"]

MIN_KEY = 16
"""Characters of a key for hashes; whoever guesses it can test texts against the log. Chosen."""
_HASH_BYTES = 16
_NOTHING = "(?!)"
_MOST_PASSES = 20  # over a text, until no dropped quote is left in it; chosen, one is usual

TAKEN_OUT = "[taken out]"
"""Stands in place of a text that could not be masked in time."""


class Mask(StrictSettings):
    """A pattern that is replaced in every text that is kept."""

    pattern: str
    """Regular expression, as of Python's `re`."""
    replacement: str = ""
    r"""What stands there instead; \1 is the first group."""

    @pydantic.model_validator(mode="after")
    def _compiles(self) -> Self:
        try:
            re.compile(self.pattern).sub(self.replacement, "")
        except (re.error, IndexError) as error:
            raise ValueError(
                f"expected a regular expression and a replacement for it, but {error}"
            ) from None
        return self


class RedactionSettings(StrictSettings):
    """What the execution log is to hold of the texts.

    The text of a subtask may quote the instruction, and an output may quote both. Where a text is
    dropped or hashed, it is taken out of the kept texts after it in this order, too.
    """

    instruction: Treatment = "keep"
    """keep; drop: an empty text; hash: HMAC-SHA256 with the key, so that equal texts stay equal."""
    subtasks: Treatment = "keep"
    """Likewise, of the names of subtasks."""
    outputs: Treatment = "keep"
    """Likewise, of outputs; drop leaves none."""
    masks: tuple[Mask, ...] = pydantic.Field(default=(), strict=False)
    """Applied one after the other to every text that is kept; see `TAKEN_OUT`."""
    key_env: str = "ORCHESTAI_REDACTION_KEY"
    """Environment variable that holds the key for hashes."""


def load_redaction(path: str | Path) -> Redaction:
    """Reads from YAML what the execution log is to hold; keys may be in a file .env beside it.

    Raises:
        MissingFileError: there is no such file.
        ConfigError: it is malformed, or a key for hashes is missing.
    """
    return Redaction(load_yaml(path, RedactionSettings), env_file=Path(path).parent / ".env")


class Redaction:
    """Takes texts out of records as settings say."""

    def __init__(self, settings: RedactionSettings, *, env_file: Path | None = None) -> None:
        """Reads the key where texts are hashed.

        Args:
            settings: what to do with which text.
            env_file: .env file, read for the key where the environment has none.
        Raises:
            ConfigError: the key is not set, or shorter than 16 characters.
            MissingPackageError: there are masks, and the package regex is not installed.
        """
        self._settings = settings
        self._masks = [(compiled_pattern(m.pattern), m.replacement) for m in settings.masks]
        self._key = b""
        if "hash" in (settings.instruction, settings.subtasks, settings.outputs):
            self._key = _read_key(settings.key_env, env_file)

    def __call__(self, record: ExecutionRecord) -> ExecutionRecord:
        """Returns a record without what the log must not hold."""
        settings, result = self._settings, record.execution_result
        hidden: dict[str, str] = {}  # what later texts must not quote, and what stands there

        def treated(texts: Sequence[str], treatment: Treatment) -> list[str]:
            if treatment == "keep":
                return [self._masked(_without(hidden, text)) for text in texts]
            shown: Callable[[str], str] = self._hashed if treatment == "hash" else _dropped
            replaced = [shown(text) for text in texts]
            hidden.update(zip(texts, replaced, strict=True))
            return replaced

        (instruction,) = treated([record.instruction], settings.instruction)
        names = treated([subtask.name for subtask in result.subtasks], settings.subtasks)
        outputs: dict[int, str] = {}
        if settings.outputs != "drop":
            texts = treated(list(result.outputs.values()), settings.outputs)
            outputs = dict(zip(result.outputs, texts, strict=True))
        subtasks = tuple(
            subtask.model_copy(update={"name": name})
            for subtask, name in zip(result.subtasks, names, strict=True)
        )
        changed = result.model_copy(update={"subtasks": subtasks, "outputs": outputs})
        return record.model_copy(update={"instruction": instruction, "execution_result": changed})

    def _masked(self, text: str) -> str:
        try:
            for pattern, replacement in self._masks:
                text = pattern.sub(replacement, text, timeout=SEARCH_LIMIT_S)
        except TimeoutError:
            return TAKEN_OUT
        return text

    def _hashed(self, text: str) -> str:
        digest = hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), hashlib.sha256)
        return f"hmac:{digest[:_HASH_BYTES].hex()}"


def _read_key(variable: str, env_file: Path | None) -> bytes:
    key = read_keys([variable], env_file)[variable]
    if len(key) < MIN_KEY:
        raise ConfigError(
            f"environment variable {variable}: expected a key of at least {MIN_KEY} characters, "
            f"got {len(key)}; make one with: openssl rand -hex 16"
        )
    return key.encode()


def _dropped(_: str) -> str:
    return ""


def _without(hidden: Mapping[str, str], text: str) -> str:
    """Returns a text in which hidden texts are replaced, longer ones before those within them."""
    quotes = sorted(filter(None, hidden), key=len, reverse=True)
    dropped = _any_of([quote for quote in quotes if not hidden[quote]])
    for _ in range(_MOST_PASSES):  # what stood around a quote may make another
        text, count = dropped.subn("", text)
        if not count:
            break
    else:
        return TAKEN_OUT
    hashed = _any_of([quote for quote in quotes if hidden[quote]])
    return hashed.sub(lambda match: hidden[match[0]], text)


def _any_of(quotes: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, quotes)) or _NOTHING)
