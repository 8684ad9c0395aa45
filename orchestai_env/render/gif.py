"""Pictures as a GIF that plays in a loop."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from orchestai_env.errors import ConfigError
from orchestai_env.render.extra import needs_render_extra
from orchestai_env.render.image import Image

MAX_FPS = 50.0
"""Most pictures a second that viewers of GIFs show; the format counts hundredths of a second."""

_LAST_MS = 2000  # chosen: time to read the last picture before the loop begins anew


def write_gif(frames: Iterable[Image], path: str | Path, *, fps: float = 2.0) -> None:
    """Writes pictures as a GIF; the old file stays until the new one is whole.

    Equal neighbours become one picture that is shown for longer.

    Args:
        frames: at least one, all of one size.
        path: file to write; its name ends in .gif.
        fps: pictures a second, 0 < fps <= 50; the last one stays for 2 s at least.
    Raises:
        ConfigError: an argument is out of range, or the file cannot be written.
        MissingPackageError: Pillow is not installed.
    """
    path = checked_gif_path(path)
    if not 0 < fps <= MAX_FPS:
        raise ConfigError(f"fps: expected a number > 0 and <= {MAX_FPS:g}, got {fps}")
    with needs_render_extra():
        from PIL import Image as Pillow
    pictures = [
        Pillow.fromarray(frame).quantize(256, dither=Pillow.Dither.NONE) for frame in frames
    ]
    if not pictures:
        raise ConfigError(f"{path}: expected at least one picture, got none")
    durations = [round(1000 / fps)] * len(pictures)
    durations[-1] = max(durations[-1], _LAST_MS)
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pictures[0].save(
            partial,
            format="GIF",
            save_all=True,
            append_images=pictures[1:],
            duration=durations,
            loop=0,
        )
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise ConfigError(f"{path}: cannot be written: {error.strerror or error}") from None


def checked_gif_path(path: str | Path) -> Path:
    """Returns the path of a GIF to write.

    Raises:
        ConfigError: its name has another ending, or it is a folder.
    """
    path = Path(path)
    if path.suffix.lower() != ".gif":
        raise ConfigError(f"{path}: expected a file name that ends in .gif")
    if path.is_dir():
        raise ConfigError(f"{path}: expected a file, got a folder")
    return path
