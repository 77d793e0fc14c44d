"""The marketplace platform: an outsider that opens shops and has their orders paid."""

import mesh  # noqa: F401 - before gRPC, whose own log it silences
