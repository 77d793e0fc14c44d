"""The auth server's tables and statements: the only place with SQL."""
