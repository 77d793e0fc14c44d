"""Wires the auth server together."""

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from authserver.audit.heads import HeadFile
from authserver.clients.authentication import Authenticator, Judge
from authserver.clients.cache import ClientCache
from authserver.clients.refusals import Refusals
from authserver.clients.registrations import Registrations
from authserver.clients.secret_uses import SecretUses
from authserver.clients.software_statements import StatementIssuer
from authserver.config import AuthServerConfig, HttpConfig, StatementIssuerConfig
from authserver.http.app import application
from authserver.http.discovery import DiscoveryEndpoints
from authserver.http.registration import RegistrationEndpoints
from authserver.http.tls import tls_context
from authserver.http.tokens import TokenEndpoints
from authserver.installation import Installation, read_installation
from authserver.keys.ring import KeyRing
from authserver.keys.rotation import KeyKeeper, paces, prepare_keys
from authserver.revocation.feed import Feed
from authserver.servicers.client_registration import ClientRegistrationServiceServicer
from authserver.servicers.exchange import ExchangeServiceServicer
from authserver.servicers.keys import KeyServiceServicer
from authserver.servicers.partner_access import PartnerAccessServiceServicer
from authserver.servicers.revocations import RevocationServiceServicer
from authserver.servicers.tokens import TokenServiceServicer
from authserver.tokens.client_tokens import ClientTokens
from authserver.tokens.exchange import TokenChecker, TokenExchange
from authserver.workers import keep_account, keep_keys_in_time, keep_tidy
from mesh.access.descriptors import Method, own_contracts, read_methods
from mesh.background import working
from mesh.config import ConfigError
from mesh.http_server import HttpServer
from mesh.interceptors.peers import ANY_WORKLOAD, PeerInterceptor
from mesh.interceptors.private_token import PrivateTokenInterceptor
from mesh.security.private_tokens import PrivateTokenVerifier
from mesh.security.sealing import SealBroken
from mesh.security.signed_jwt import JwtRejected, public_keys
from mesh.serving.reflection import ReflectionHandler
from mesh.serving.server import Server, Service
from mesh.storage.database import Database
from mesh.storage.schema import require_current
from mesh.telemetry.metrics import Metrics
from mesh.telemetry.tracing.tracing import tracing
from mesh.timestamps import to_ms

NAME = "authserver"

# Workloads that may call.
_GATEWAY = frozenset({"gateway"})
_PAYMENTS = frozenset({"payments"})


@asynccontextmanager
async def running(config: AuthServerConfig) -> AsyncIterator[Server]:
    """Run the auth server as long as the context lasts.

    Raises:
        ConfigError: If a file is missing or wrong, the database is not migrated, or the address is taken.

    """
    installation = read_installation(config)
    heads = HeadFile(config.audit_heads, installation.audit_key) if config.audit_heads else None
    async with AsyncExitStack() as stack:
        traces = await stack.enter_async_context(tracing(config.tracing, NAME))
        database = Database(config.database, traces.around_units())
        stack.callback(database.close)
        await database.read(partial(require_current, service=NAME))
        feed, uses = Feed(database), SecretUses(installation.peppers)
        refusals = Refusals(config.failures_at_once, config.failure_refill_seconds)
        keeper = KeyKeeper(installation.key_encryption, paces(config), installation.trail)
        key_ring = await _load_keys(database, feed, keeper)
        work = _work(config, installation, database, feed, key_ring, uses, refusals)
        services = _services(config, installation, work)
        names = [service.name for service in services]
        contracts = own_contracts()
        verifier = PrivateTokenVerifier(key_ring.published, config.issuer, NAME, time.time)
        methods = read_methods(contracts)
        metrics = Metrics(config.metrics_listen, methods)
        server = Server(
            config.server,
            services,
            [
                *traces.interceptors(trusting=True),
                PeerInterceptor({service.name: service.workloads for service in services}),
                PrivateTokenInterceptor(methods, verifier),
            ],
            reflection=ReflectionHandler(dict.fromkeys(names, contracts)),
            observers=[*metrics.observers, *traces.observers()],
        )
        await feed.follow()
        await key_ring.reload()  # what has changed since they were loaded, the feed does not tell
        face = _http_face(config, config.http, work, methods, metrics) if config.http else None
        for task in (
            feed.keep_following(),
            keep_tidy(database, uses),
            keep_keys_in_time(key_ring, feed, keeper),
            keep_account(database, installation.trail, refusals, heads),
        ):
            await stack.enter_async_context(working(task))
        await stack.enter_async_context(metrics.served())
        if face:
            await face.start()
            stack.push_async_callback(face.stop)
        await server.start()
        stack.push_async_callback(server.stop)
        stack.callback(feed.stop)  # first: no other call lasts until its caller has had enough
        yield server


@dataclass(frozen=True, slots=True)
class _Work:
    """What both gRPC and HTTP call."""

    database: Database
    feed: Feed
    key_ring: KeyRing
    authenticator: Authenticator
    access_tokens: TokenChecker
    client_tokens: ClientTokens
    registrations: Registrations


def _work(
    config: AuthServerConfig,
    installation: Installation,
    database: Database,
    feed: Feed,
    key_ring: KeyRing,
    uses: SecretUses,
    refusals: Refusals,
) -> _Work:
    trail, peppers, clock = installation.trail, installation.peppers, time.time
    issuers = tuple(_statement_issuer(issuer) for issuer in config.statement_issuers)
    clients = ClientCache(database, feed, config.client_cache_entries)
    tokens = TokenChecker(key_ring, clients, feed, clock)
    ttl_seconds = config.access_token_ttl_seconds
    judge = Judge(peppers, uses, config.assertion_audiences(), clock)
    return _Work(
        database,
        feed,
        key_ring,
        Authenticator(database, clients, judge, refusals),
        tokens,
        ClientTokens(key_ring, tokens, feed, trail, clock=clock, ttl_seconds=ttl_seconds),
        Registrations(database, feed, issuers, peppers, trail, audience=config.issuer, clock=clock),
    )


def _http_face(
    config: AuthServerConfig, http: HttpConfig, work: _Work, methods: Mapping[str, Method], metrics: Metrics
) -> HttpServer:
    url, seconds = http.public_url, http.request_seconds
    app = application(
        TokenEndpoints(work.authenticator, work.client_tokens, issuer=url, seconds=seconds),
        RegistrationEndpoints(work.access_tokens, work.registrations, methods=methods, public_url=url, seconds=seconds),
        DiscoveryEndpoints(work.key_ring, methods=methods, public_url=url),
        metrics,
    )
    return HttpServer(
        app,
        http.listen,
        tls=tls_context(http),
        max_connections=http.max_connections,
        request_seconds=http.request_seconds,
        drain_seconds=config.server.drain_seconds,
    )


def _services(config: AuthServerConfig, installation: Installation, work: _Work) -> list[Service]:
    database, feed, key_ring = work.database, work.feed, work.key_ring
    trail, clock = installation.trail, time.time
    exchange = TokenExchange(
        work.access_tokens,
        key_ring,
        clock,
        issuer=config.issuer,
        audiences=config.audiences,
        ttl_seconds=config.private_token_ttl_seconds,
    )
    return [
        Service.of(TokenServiceServicer(work.authenticator, work.client_tokens, issuer=config.issuer), _GATEWAY),
        Service.of(
            ClientRegistrationServiceServicer(
                work.registrations, database, feed, installation.peppers, trail, clock=clock
            ),
            _GATEWAY,
        ),
        Service.of(ExchangeServiceServicer(exchange), _GATEWAY),
        Service.of(RevocationServiceServicer(database, feed), _GATEWAY),
        Service.of(PartnerAccessServiceServicer(feed, trail, clock), _PAYMENTS),
        # Every backend verifies private access tokens by these keys.
        Service.of(KeyServiceServicer(key_ring), ANY_WORKLOAD),
    ]


async def _load_keys(database: Database, feed: Feed, keeper: KeyKeeper) -> KeyRing:
    key_ring = KeyRing(database, keeper.encryption, time.time)
    feed.listen(key_ring.hear)
    try:
        key_ring.take(await database.run(lambda connection: prepare_keys(connection, keeper, to_ms(time.time()))))
    except SealBroken as error:
        raise ConfigError(f"key_encryption_keys: {error}") from error
    return key_ring


def _statement_issuer(config: StatementIssuerConfig) -> StatementIssuer:
    try:
        return StatementIssuer(config.iss, public_keys(json.loads(config.jwks.read_text())))
    except (OSError, ValueError, JwtRejected) as error:
        raise ConfigError(f"{config.jwks}: {error}") from error
