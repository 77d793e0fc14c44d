"""Who may call which method: rules, their reading from contracts, and the decision."""
