"""Wires the auth server together."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from authserver.config import AuthServerConfig, StatementIssuerConfig
from authserver.exchange_token import TokenExchange
from authserver.key_ring import KeyRing, load_key_ring
from authserver.servicers.client_registration import ClientRegistrationServiceServicer
from authserver.servicers.exchange import ExchangeServiceServicer
from authserver.servicers.keys import KeyServiceServicer
from authserver.servicers.tokens import TokenServiceServicer
from authserver.software_statements import StatementIssuer
from mesh import migrations
from mesh.access.descriptors import own_contracts, read_methods
from mesh.config import ConfigError
from mesh.database import Database
from mesh.interceptors.peers import ANY_WORKLOAD, PeerInterceptor
from mesh.interceptors.private_token import PrivateTokenInterceptor
from mesh.private_tokens import PrivateTokenVerifier
from mesh.sealing import SealBroken
from mesh.secret_files import read_key
from mesh.server import Server, Service
from mesh.signed_jwt import JwtRejected, public_keys
from mesh.timestamps import to_ms
from sekisho.auth.v1 import (
    client_registration_service_pb2_grpc,
    exchange_service_pb2_grpc,
    key_service_pb2_grpc,
    token_service_pb2_grpc,
)

NAME = "authserver"

_GATEWAY = frozenset({"gateway"})
_PEERS = {
    "sekisho.auth.v1.TokenService": _GATEWAY,
    "sekisho.auth.v1.ClientRegistrationService": _GATEWAY,
    "sekisho.auth.v1.ExchangeService": _GATEWAY,
    "sekisho.auth.v1.KeyService": ANY_WORKLOAD,  # every backend verifies private access tokens by these keys
}


@asynccontextmanager
async def running(config: AuthServerConfig) -> AsyncIterator[Server]:
    """Run the auth server as long as the context lasts.

    Raises:
        ConfigError: If a file is missing or wrong, the database is not migrated, or the address is taken.

    """
    pepper = read_key(config.pepper)
    issuers = tuple(_statement_issuer(issuer) for issuer in config.statement_issuers)
    async with AsyncExitStack() as stack:
        database = Database(config.database)
        stack.callback(database.close)
        await database.read(lambda connection: migrations.require_current(connection, NAME))
        key_ring = await _load_keys(database, config)
        services = _services(config, database, key_ring, issuers, pepper)
        names = [service.name for service in services]
        contracts = own_contracts()
        verifier = PrivateTokenVerifier(key_ring.published, config.issuer, NAME, time.time)
        server = Server(
            config.server,
            services,
            [PeerInterceptor(_PEERS, names), PrivateTokenInterceptor(read_methods(contracts), verifier)],
            contracts=contracts,
            reflected=names,
        )
        await server.start()
        stack.push_async_callback(server.stop)
        yield server


def _services(
    config: AuthServerConfig,
    database: Database,
    key_ring: KeyRing,
    issuers: tuple[StatementIssuer, ...],
    pepper: bytes,
) -> list[Service]:
    exchange = TokenExchange(
        key_ring, issuer=config.issuer, audiences=config.audiences, ttl_seconds=config.private_token_ttl_seconds
    )
    return [
        Service(
            "sekisho.auth.v1.TokenService",
            token_service_pb2_grpc.add_TokenServiceServicer_to_server,
            TokenServiceServicer(
                database, key_ring.sealer, pepper, ttl_seconds=config.access_token_ttl_seconds, clock=time.time
            ),
        ),
        Service(
            "sekisho.auth.v1.ClientRegistrationService",
            client_registration_service_pb2_grpc.add_ClientRegistrationServiceServicer_to_server,
            ClientRegistrationServiceServicer(database, issuers, pepper, audience=config.issuer, clock=time.time),
        ),
        Service(
            "sekisho.auth.v1.ExchangeService",
            exchange_service_pb2_grpc.add_ExchangeServiceServicer_to_server,
            ExchangeServiceServicer(database, exchange, time.time),
        ),
        Service(
            "sekisho.auth.v1.KeyService",
            key_service_pb2_grpc.add_KeyServiceServicer_to_server,
            KeyServiceServicer(key_ring),
        ),
    ]


async def _load_keys(database: Database, config: AuthServerConfig) -> KeyRing:
    key_encryption_key = read_key(config.key_encryption_key)
    try:
        return await database.run(lambda connection: load_key_ring(connection, key_encryption_key, to_ms(time.time())))
    except SealBroken as error:
        raise ConfigError(f"{config.key_encryption_key}: {error}") from error


def _statement_issuer(config: StatementIssuerConfig) -> StatementIssuer:
    try:
        return StatementIssuer(config.iss, public_keys(json.loads(config.jwks.read_text())))
    except (OSError, ValueError, JwtRejected) as error:
        raise ConfigError(f"{config.jwks}: {error}") from error
