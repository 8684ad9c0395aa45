"""Planners compared: trained with several seeds, scored, and reported."""
