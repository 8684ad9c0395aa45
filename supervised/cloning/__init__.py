"""Behaviour cloning: an expert's choices, and the policy that learns them."""
