"""What is watched: log, metrics, traces."""
