"""`sekisho.auth.v1.KeyService`."""

from google.protobuf.json_format import ParseDict

from authserver.keys.ring import KeyRing
from mesh.calls.wrapping import Context
from sekisho.auth.v1 import key_service_pb2, key_service_pb2_grpc


class KeyServiceServicer(key_service_pb2_grpc.KeyServiceServicer):
    """Publishes the keys that verify private access tokens."""

    def __init__(self, key_ring: KeyRing) -> None:
        self._key_ring = key_ring

    async def ListKeys(self, request: key_service_pb2.ListKeysRequest, context: Context) -> key_service_pb2.JwkSet:
        """Return the public keys."""
        del request, context
        return ParseDict(self._key_ring.jwks(), key_service_pb2.JwkSet())
