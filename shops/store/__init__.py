"""The marketplace's tables, and the only SQL."""
