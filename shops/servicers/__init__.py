"""The gRPC services: messages in, messages out."""
