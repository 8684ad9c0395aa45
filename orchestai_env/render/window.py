"""A window that shows one picture after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestai_env.errors import ConfigError
from orchestai_env.render.extra import needs_render_extra
from orchestai_env.render.image import Image

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

_DPI = 100
_REMEDY = (
    'use render_mode="rgb_array", or a backend that opens windows, such as MPLBACKEND=TkAgg on a '
    "machine with a screen"
)


class ImageWindow:
    """A matplotlib window; it opens at the first picture, and again after someone closed it."""

    def __init__(self) -> None:
        """Opens nothing yet."""
        self._figure: Figure | None = None
        self._artist: AxesImage | None = None

    def __getstate__(self) -> dict[str, None]:
        """Leaves the window where it is; a copy opens its own."""
        return {"_figure": None, "_artist": None}

    def show(self, image: Image, *, seconds: float) -> None:
        """Shows a picture in place of the last one and lets the window live for a while.

        Args:
            image: uint8 (H, W, 3), RGB.
            seconds: how long to wait, > 0; the window answers meanwhile.
        Raises:
            ConfigError: matplotlib's backend cannot open a window.
            MissingPackageError: matplotlib is not installed.
        """
        with needs_render_extra():
            from matplotlib import pyplot as plt
        if self._figure is None or not plt.fignum_exists(self._figure.number):
            self._open(image)
        assert self._figure is not None and self._artist is not None
        self._artist.set_data(image)
        self._figure.canvas.draw_idle()
        self._figure.canvas.start_event_loop(seconds)

    def close(self) -> None:
        """Closes the window, if there is one."""
        if self._figure is not None:
            from matplotlib import pyplot as plt

            plt.close(self._figure)
            self._figure = self._artist = None

    def _open(self, image: Image) -> None:
        import matplotlib as mpl
        from matplotlib import pyplot as plt
        from matplotlib.backends import registry

        backends: Any = registry.backend_registry
        silent = backends.list_builtin(registry.BackendFilter.NON_INTERACTIVE)
        backend = mpl.get_backend().lower()
        if backend in silent or "inline" in backend:
            raise ConfigError(
                f'render_mode="human": matplotlib\'s backend {backend!r} opens no window; {_REMEDY}'
            )
        height, width = image.shape[:2]
        try:
            self._figure = plt.figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
        except ImportError as error:
            raise ConfigError(f'render_mode="human": {error}; {_REMEDY}') from None
        axes = self._figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        self._artist = axes.imshow(image)
        plt.show(block=False)
