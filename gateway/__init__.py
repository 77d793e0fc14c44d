"""The checkpoint: lets outsiders' calls through to the backends, by the rules of the contracts."""
