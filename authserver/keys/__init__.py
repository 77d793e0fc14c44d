"""The auth server's own keys: made, sealed, announced, used, retired."""
