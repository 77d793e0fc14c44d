"""Reads the files that a policy is made of."""
