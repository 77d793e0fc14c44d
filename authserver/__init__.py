"""The auth server: clients, access tokens, their exchange for private tokens, and keys."""

import mesh  # noqa: F401 - before gRPC, whose own log it silences
