"""The checkpoint: lets outsiders' calls through to the backends, by the rules of the contracts."""

import mesh  # noqa: F401 - before gRPC, whose own log it silences
