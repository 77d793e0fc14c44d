"""Gets the auth server's published keys."""

import grpc
from google.protobuf.json_format import MessageToDict

from mesh.errors import Code, ServiceError
from mesh.security import signed_jwt
from mesh.security.private_tokens import Keys
from sekisho.auth.v1 import key_service_pb2, key_service_pb2_grpc

_TIMEOUT_SECONDS = 5.0


class KeysUnavailable(ServiceError):
    """The auth server's keys can't be had now, so no private access token can be verified."""

    code = Code.UNAVAILABLE


class PublishedKeys:
    """Fetches keys by `sekisho.auth.v1.KeyService`; an instance is what a `PrivateTokenVerifier` calls."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """Call through a channel to the auth server."""
        self._keys = key_service_pb2_grpc.KeyServiceStub(channel)

    async def __call__(self) -> Keys:
        """Return the keys that are published now.

        Raises:
            KeysUnavailable: If the auth server does not answer, or not with keys.

        """
        try:
            jwks = await self._keys.ListKeys(key_service_pb2.ListKeysRequest(), timeout=_TIMEOUT_SECONDS)
            return signed_jwt.public_keys(MessageToDict(jwks))
        except (grpc.aio.AioRpcError, signed_jwt.JwtRejected) as error:
            raise KeysUnavailable("the auth server's keys are not available") from error
