"""Wires the payments service together."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from mesh.access.descriptors import own_contracts, read_methods
from mesh.background import forever, working
from mesh.calls.wrapping import Interceptor
from mesh.channels.channel import open_channel
from mesh.channels.renewed_channel import renewed_channel
from mesh.config import ConfigError
from mesh.interceptors.peers import PeerInterceptor
from mesh.interceptors.private_token import PrivateTokenInterceptor
from mesh.security.private_tokens import PrivateTokenVerifier
from mesh.security.published_keys import PublishedKeys
from mesh.security.secret_files import read_private
from mesh.security.signed_jwt import SigningKey
from mesh.serving.reflection import ReflectionHandler
from mesh.serving.server import Server, Service
from mesh.storage.database import Database
from mesh.storage.schema import require_current
from mesh.telemetry.metrics import Metrics
from mesh.telemetry.tracing.tracing import tracing
from payments.config import PaymentsConfig
from payments.servicers.ledger import LedgerServiceServicer
from payments.servicers.partner_applications import PartnerApplicationServiceServicer
from payments.servicers.partner_reviews import PartnerReviewServiceServicer
from payments.servicers.payments import PaymentServiceServicer
from payments.servicers.wallets import WalletServiceServicer
from payments.software_statements import StatementSigner
from payments.watches import Watches

_EVENTS_LOOK_SECONDS = 0.5
# The workload that may call these services.
_GATEWAY = frozenset({"gateway"})


@asynccontextmanager
async def running(config: PaymentsConfig) -> AsyncIterator[Server]:
    """Run the service; on leaving, end calls gracefully and close what was opened.

    Raises:
        ConfigError: If the configuration can't be used, or the database lacks migrations.

    """
    async with AsyncExitStack() as stack:
        traces = await stack.enter_async_context(tracing(config.tracing, "payments"))
        database = Database(config.database, traces.around_units())
        stack.callback(database.close)
        database.read_here(lambda connection: require_current(connection, "payments"))
        auth = await stack.enter_async_context(renewed_channel(config.auth, partial(open_channel, config.auth)))
        contracts = own_contracts()
        verifier = PrivateTokenVerifier(
            PublishedKeys(traces.channel(auth)), config.auth_issuer, config.audience, time.time
        )
        watches = Watches(
            database, config.server.max_concurrent_calls // 2
        )  # the rest is for calls that end by themselves
        services = _services(config, database, watches)
        names = [service.name for service in services]
        methods = read_methods(contracts)
        metrics = Metrics(config.metrics_listen, methods)
        interceptors: list[Interceptor] = [
            *traces.interceptors(trusting=True),
            # First: other workloads learn nothing about tokens.
            PeerInterceptor({service.name: service.workloads for service in services}),
            PrivateTokenInterceptor(methods, verifier),
        ]
        server = Server(
            config.server,
            services,
            interceptors,
            reflection=ReflectionHandler(dict.fromkeys(names, contracts)),
            observers=[*metrics.observers, *traces.observers()],
        )
        await stack.enter_async_context(metrics.served())
        stack.push_async_callback(server.stop)
        await server.start()
        looking = forever(watches.look, _EVENTS_LOOK_SECONDS, asyncio.Event())
        await stack.enter_async_context(working(looking))
        stack.callback(watches.stop)  # first: no other call lasts until its caller has had enough
        yield server


def _services(config: PaymentsConfig, database: Database, watches: Watches) -> list[Service]:
    signer = StatementSigner(_signing_key(config.statement_key), config.statement_issuer, config.auth_issuer)
    return [
        Service.of(PartnerApplicationServiceServicer(database, signer, time.time), _GATEWAY),
        Service.of(PartnerReviewServiceServicer(database, time.time), _GATEWAY),
        Service.of(
            PaymentServiceServicer(database, config.fee_basis_points, time.time, watches, config.heartbeat_seconds),
            _GATEWAY,
        ),
        Service.of(WalletServiceServicer(database, time.time), _GATEWAY),
        Service.of(LedgerServiceServicer(database), _GATEWAY),
    ]


def _signing_key(path: Path) -> SigningKey:
    try:
        return SigningKey.from_pem(read_private(path))
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
