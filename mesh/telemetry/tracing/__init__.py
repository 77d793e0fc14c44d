"""Traces: what a call met on its way through the services, for the few calls of which that is recorded."""
