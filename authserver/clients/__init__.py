"""Clients are registered, authenticated, changed and blocked."""
