"""Built-in workflows, importers of recorded data, and their splits."""
