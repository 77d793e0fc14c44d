"""What every service stands on: TLS, servers, channels, access rules, storage; knows no business word."""
