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
from payments.servicers.watches import Watches
from payments.software_statements import StatementSigner
from sekisho.payments.v1 import (
    ledger_service_pb2_grpc,
    partner_application_service_pb2_grpc,
    partner_review_service_pb2_grpc,
    payment_service_pb2_grpc,
    wallet_service_pb2_grpc,
)

_EVENTS_LOOK_SECONDS = 0.5
_GATEWAY = frozenset({"gateway"})

# Which workloads may call which service.
PEERS = {
    "sekisho.payments.v1.PartnerApplicationService": _GATEWAY,
    "sekisho.payments.v1.PartnerReviewService": _GATEWAY,
    "sekisho.payments.v1.PaymentService": _GATEWAY,
    "sekisho.payments.v1.WalletService": _GATEWAY,
    "sekisho.payments.v1.LedgerService": _GATEWAY,
}


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
            PeerInterceptor(PEERS, names),  # first: other workloads learn nothing about tokens
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
        Service(
            "sekisho.payments.v1.PartnerApplicationService",
            partner_application_service_pb2_grpc.add_PartnerApplicationServiceServicer_to_server,
            PartnerApplicationServiceServicer(database, signer, time.time),
        ),
        Service(
            "sekisho.payments.v1.PartnerReviewService",
            partner_review_service_pb2_grpc.add_PartnerReviewServiceServicer_to_server,
            PartnerReviewServiceServicer(database, time.time),
        ),
        Service(
            "sekisho.payments.v1.PaymentService",
            payment_service_pb2_grpc.add_PaymentServiceServicer_to_server,
            PaymentServiceServicer(database, config.fee_basis_points, time.time, watches, config.heartbeat_seconds),
        ),
        Service(
            "sekisho.payments.v1.WalletService",
            wallet_service_pb2_grpc.add_WalletServiceServicer_to_server,
            WalletServiceServicer(database, time.time),
        ),
        Service(
            "sekisho.payments.v1.LedgerService",
            ledger_service_pb2_grpc.add_LedgerServiceServicer_to_server,
            LedgerServiceServicer(database),
        ),
    ]


def _signing_key(path: Path) -> SigningKey:
    try:
        return SigningKey.from_pem(read_private(path))
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
