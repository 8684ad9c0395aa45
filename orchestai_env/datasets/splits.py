"""Splits by query: which side a text belongs to, and the check that no query is on two sides."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal

from orchestai_env.errors import SplitLeakError

Split = Literal["train", "validation", "test"]

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
"""Every split, in the order in which tables list them."""


def normalised(text: str) -> str:
    """Returns a text with every run of white space made one space, and none at its ends."""
    return " ".join(text.split())


def split_of(text: str) -> Split:
    """Assigns a query to train (60 %), validation (10 %) or test (30 %) by a hash of its text.

    Texts that differ in white space alone land on the same side, whatever their ids, and a query
    keeps its side when others are added or removed.
    """
    digest = hashlib.sha256(normalised(text).encode()).digest()
    tenth = int.from_bytes(digest[:8], "big") % 10
    if tenth < 6:
        return "train"
    return "validation" if tenth == 6 else "test"


def check_splits(queries: Iterable[tuple[str, str, str]], *, where: str = "queries") -> None:
    """Checks that no query, by id or by normalised text, is in two splits.

    Args:
        queries: (query id, text, split) of every query.
        where: file that they came from, for the message.
    Raises:
        SplitLeakError: names the first such query and both splits.
    """
    of_id: dict[str, str] = {}
    of_text: dict[str, tuple[str, str]] = {}
    for query_id, text, split in queries:
        first = of_id.setdefault(query_id, split)
        if first != split:
            raise SplitLeakError(leak_message(where, query_id, first, split))
        twin, first = of_text.setdefault(normalised(text), (query_id, split))
        if first != split:
            raise SplitLeakError(leak_message(where, query_id, first, split, twin=twin))


def leak_message(where: str, query_id: str, first: str, second: str, *, twin: str = "") -> str:
    """Returns the line that names a query on two sides.

    Args:
        where: file at fault.
        query_id: the query.
        first: the split that it was seen in before.
        second: the split that it is in now.
        twin: id under which the same text was seen before, if another.
    """
    other = f" (there as {twin!r}, with the same text)" if twin and twin != query_id else ""
    return (
        f"{where}: query {query_id!r} is in two splits, {first}{other} and {second}; "
        "import the data set again, so that every query is on one side"
    )
