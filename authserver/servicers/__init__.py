"""Proto to domain and back, one module a service."""
