"""Access tokens are issued, exchanged, introspected and revoked."""
