"""Execution log: its records, files, schema, and what is kept out of it."""
