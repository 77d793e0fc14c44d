"""The auth server: clients, access tokens, their exchange for private tokens, and keys."""
