"""The gRPC services: messages to plain values and back, and checks of fields."""
