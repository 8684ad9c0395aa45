"""Real workers: calls, orchestration, the execution log, and what is made of it."""
