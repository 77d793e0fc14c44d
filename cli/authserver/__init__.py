"""Commands beside the auth server's database."""
