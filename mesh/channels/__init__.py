"""What opens channels to other services, and keeps them good."""
