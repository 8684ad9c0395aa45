"""Plans as data: read, checked, split, stored to be looked up, scored, and simply copied."""
