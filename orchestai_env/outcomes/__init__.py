"""Outcome sources: what happens when a worker is called."""
