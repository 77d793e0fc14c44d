"""Server interceptors, one job each."""
