"""Checks: whether an output is a success."""
