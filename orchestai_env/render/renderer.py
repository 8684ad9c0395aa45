"""Renderer: what an environment needs for `render_mode`, in one object."""

from __future__ import annotations

import gymnasium as gym

from orchestai_env.episodes import Episodes
from orchestai_env.errors import ConfigError
from orchestai_env.render.image import Image, render_image
from orchestai_env.render.text import render_text
from orchestai_env.render.window import ImageWindow
from orchestai_env.schedule import ScheduleRecorder

RENDER_MODES = ("ansi", "rgb_array", "human")
"""Text; uint8 (H, W, 3); a window that every reset and step update."""

RENDER_FPS = 2
"""Pictures a second in a window or a video; a picture is a decision, and takes time to read."""


class Renderer:
    """Records an episode and shows its schedule; without a mode it does neither."""

    def __init__(self, mode: str | None, *, width: int = 960, height: int = 600) -> None:
        """Prepares for a mode.

        Args:
            mode: one of RENDER_MODES, or None.
            width: of a picture [pixels].
            height: of a picture [pixels].
        Raises:
            ConfigError: an unknown mode.
        """
        if mode is not None and mode not in RENDER_MODES:
            raise ConfigError(
                f"render_mode: expected None or one of {', '.join(RENDER_MODES)}, got {mode!r}"
            )
        self.mode = mode
        self._size = {"width": width, "height": height}
        self._recorder = ScheduleRecorder()
        self._window = ImageWindow()

    def begin(self, episodes: Episodes, r: int = 0) -> None:
        """Starts over with the episode that row r has just begun."""
        if self.mode is not None:
            self._recorder.begin(episodes, r)
            self._show()

    def update(self, episodes: Episodes, r: int = 0) -> None:
        """Takes in what the last step of row r did."""
        if self.mode is not None:
            self._recorder.update(episodes, r)
            self._show()

    def render(self) -> Image | str | None:
        """Returns the schedule in this mode; None for a window, which is up to date already.

        Raises:
            gymnasium.error.ResetNeeded: no episode was begun.
            MissingPackageError: a package that draws pictures is not installed.
        """
        if self.mode is None:
            gym.logger.warn(
                "render() does nothing without a render_mode; choose one when the environment is "
                f"made, of {', '.join(RENDER_MODES)}"
            )
            return None
        if self.mode == "ansi":
            return render_text(self._recorder.schedule)
        if self.mode == "rgb_array":
            return render_image(self._recorder.schedule, **self._size)
        return None

    def close(self) -> None:
        """Closes the window, if there is one."""
        self._window.close()

    def _show(self) -> None:
        if self.mode == "human":
            picture = render_image(self._recorder.schedule, **self._size)
            self._window.show(picture, seconds=1 / RENDER_FPS)
