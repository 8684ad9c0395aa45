"""Benchmark: train, tune and compare agents on fixed suites; `python -m agents.benchmark`."""
