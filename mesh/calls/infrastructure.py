"""What every server answers by itself, beside the services it was made for."""

HEALTH_SERVICE = "grpc.health.v1.Health"
# The two versions are alike on the wire; clients ask for v1 first, and older ones know v1alpha only.
REFLECTION_SERVICES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
INFRASTRUCTURE_SERVICES = frozenset({HEALTH_SERVICE, *REFLECTION_SERVICES})
