"""Baselines and bounds: agents that need no network."""
