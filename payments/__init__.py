"""The payment company's core: partners, wallets, payments and the ledger."""
