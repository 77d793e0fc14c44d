"""What is kept of clients, partners and platforms."""
