"""The standard OAuth endpoints over HTTP, for the use cases that the gRPC methods call."""
