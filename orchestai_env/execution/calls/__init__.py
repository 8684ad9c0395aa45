"""Calls of workers: tries, waits, circuit breakers, budgets."""
