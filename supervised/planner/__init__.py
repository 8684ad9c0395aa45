"""The learned planner: its network, how it is trained, kept and searched for plans."""
