"""Databases: units of work, migrations, idempotency."""
