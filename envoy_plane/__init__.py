"""Envoy carries the calls, Sekisho judges them: the checkpoint that Envoy asks, and the configuration for that."""
