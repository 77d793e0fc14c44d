"""Envoy's configuration: the same doors, methods, limits and backends as the gateway's, and a checkpoint to ask."""
