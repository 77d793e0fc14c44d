"""Traces: the way of a call through the services, recorded for a share of the calls."""
