"""The payment company's core: partners, wallets, payments and the ledger."""

import mesh  # noqa: F401 - before gRPC, whose own log it silences
