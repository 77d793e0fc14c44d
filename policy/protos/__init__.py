"""Source text of contracts, made from their compiled form."""
