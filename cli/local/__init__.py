"""Runs the mesh on this machine."""
