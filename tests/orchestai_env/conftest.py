"""Settings shared by the tests of the library."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture
def windows() -> Iterator[list[float]]:
    """Opens windows that nobody sees; gives the seconds that each picture was left to live."""
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    from tests.orchestai_env.render import window_backend

    before = mpl.get_backend()
    plt.switch_backend(f"module://{window_backend.__name__}")
    window_backend.WAITS.clear()
    yield window_backend.WAITS
    plt.close("all")
    plt.switch_backend(before)
