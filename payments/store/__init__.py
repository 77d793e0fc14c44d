"""The database of the payments service; the only place with SQL."""
