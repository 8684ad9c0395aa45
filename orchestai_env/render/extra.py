"""Packages that only a part of the library needs, and that come with an extra."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from orchestai_env.errors import MissingPackageError


@contextlib.contextmanager
def needs_render_extra() -> Iterator[None]:
    """Turns a failed import of what draws pictures into one that says how to install it.

    Raises:
        MissingPackageError: the block could not import a package.
    """
    try:
        yield
    except ImportError as error:
        raise MissingPackageError(
            f"pictures of schedules need {error.name or 'a package'}, which cannot be imported; "
            'install it with: pip install "orchestai-env[render]"'
        ) from error
