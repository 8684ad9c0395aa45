"""Schedules to look at: as text, as a picture, in a window, as a GIF."""
