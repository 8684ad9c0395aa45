"""Packages that only real workers need, and that come with an extra."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from orchestai_env.errors import MissingPackageError


@contextlib.contextmanager
def needs_extra(extra: str, *, what: str) -> Iterator[None]:
    """Turns a failed import into one that says how to install the package.

    Args:
        extra: name of the extra that brings it.
        what: what needs it, for the message; "local workers".
    Raises:
        MissingPackageError: the block could not import a package.
    """
    try:
        yield
    except ImportError as error:
        raise MissingPackageError(
            f"{what} need {error.name or 'a package'}, which cannot be imported; "
            f'install it with: pip install "orchestai-env[{extra}]"'
        ) from error
