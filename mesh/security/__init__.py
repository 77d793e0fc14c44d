"""TLS and certificates, keys and secrets, tokens that are signed."""
