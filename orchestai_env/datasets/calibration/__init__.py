"""Calibration: a simulator of a user's own workers, fitted from an execution log."""
