from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from google.protobuf.json_format import ParseDict

from mesh.errors import Code
from mesh.security.published_keys import KeysUnavailable, PublishedKeys
from mesh.security.signed_jwt import SigningKey, create_pem
from mesh.serving.reflection import ReflectionHandler
from mesh.serving.server import Server, Service
from sekisho.auth.v1 import key_service_pb2, key_service_pb2_grpc
from tests.unit.mesh.echo_servers import calling, echo_server, server_config, started, unary

KEYS = [SigningKey.from_pem(create_pem()) for _ in range(2)]


class FixedKeyService(key_service_pb2_grpc.KeyServiceServicer):
    """Publishes what it is told."""

    def __init__(self, jwks: Sequence[dict[str, str]]) -> None:
        self.jwks = ParseDict({"keys": list(jwks)}, key_service_pb2.JwkSet())

    async def ListKeys(self, request: object, context: object) -> key_service_pb2.JwkSet:  # noqa: N802 - named by the contract
        del request, context
        return self.jwks


@asynccontextmanager
async def publishing(certificates: Path, jwks: Sequence[dict[str, str]]) -> AsyncIterator[grpc.aio.Channel]:
    server = Server(
        server_config(certificates), [Service.of(FixedKeyService(jwks))], [], reflection=ReflectionHandler({})
    )
    async with started(server), calling(server, certificates, "payments") as channel:
        yield channel


async def test_the_published_keys_are_those_of_the_auth_server(certificates: Path) -> None:
    async with publishing(certificates, [key.public_jwk() for key in KEYS]) as channel:
        found = await PublishedKeys(channel)()
        assert {kid: key.public_numbers() for kid, key in found.items()} == {
            key.kid: key.key.public_key().public_numbers() for key in KEYS
        }


@pytest.mark.parametrize(
    "jwk", [None, {}, {"kid": "a"}, {"kid": "a", "kty": "RSA"}, {**KEYS[0].public_jwk(), "crv": "P-384"}]
)
async def test_what_are_no_keys_are_unavailable(certificates: Path, jwk: dict[str, str] | None) -> None:
    async with publishing(certificates, [] if jwk is None else [jwk]) as channel:
        with pytest.raises(KeysUnavailable) as caught:
            await PublishedKeys(channel)()
        assert caught.value.code is Code.UNAVAILABLE


async def test_keys_are_unavailable_where_no_auth_server_is(certificates: Path) -> None:
    server = echo_server(server_config(certificates), unary())
    async with started(server), calling(server, certificates) as channel:
        with pytest.raises(KeysUnavailable):
            await PublishedKeys(channel)()
    async with calling(server, certificates) as channel:
        with pytest.raises(KeysUnavailable):
            await PublishedKeys(channel)()
