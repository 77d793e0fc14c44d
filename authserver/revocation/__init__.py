"""What was revoked, in the order in which replicas and gateways must hear of it."""
