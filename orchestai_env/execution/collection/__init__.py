"""Collections: many executions into one log, by one process or a cluster."""
