"""What tests of the payments service act with: callers, tokens, certificates, and a server that publishes keys."""

import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import ParseDict
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status

from mesh.access.descriptors import own_contracts
from mesh.access.rules import Caller, ClientType
from mesh.calls.error_info import DETAILS_KEY
from mesh.calls.wrapping import Context
from mesh.config import ChannelConfig, ServerConfig
from mesh.security import tls
from mesh.security.pki import create_authority, issue_workload
from mesh.security.private_tokens import TYP, claims_of
from mesh.security.secret_files import write_private
from mesh.security.signed_jwt import SigningKey, create_pem, sign
from mesh.serving.reflection import ReflectionHandler
from mesh.serving.server import Server, Service
from payments.config import PaymentsConfig
from payments.server import running
from sekisho.auth.v1 import key_service_pb2, key_service_pb2_grpc
from sekisho.payments.v1 import (
    money_pb2,
    payment_service_pb2,
)

ISSUER = "https://auth.test"
STATEMENT_ISSUER = "https://payments.test"
KEY = SigningKey.from_pem(create_pem())
FOREIGN_KEY = SigningKey.from_pem(create_pem())
STATEMENT_KEY_PEM = create_pem()

MASTER = Caller(
    "cli_master", ClientType.MASTER, "plt_shops", "", frozenset({"applications.write", "applications.read"})
)
OPERATOR = Caller(
    "cli_operator", ClientType.OPERATOR, "", "", frozenset({"reviews.read", "reviews.write", "ledger.read"})
)
WALLET = Caller("cli_wallet", ClientType.WALLET, "", "", frozenset({"wallets.write", "wallets.read"}))
PARTNER = Caller("cli_shop", ClientType.PARTNER, "plt_shops", "", frozenset({"payments.write", "payments.read"}))

Metadata = tuple[tuple[str, str], ...]


class KeyServicer(key_service_pb2_grpc.KeyServiceServicer):
    """Publishes one key."""

    async def ListKeys(  # noqa: N802 - named by the contract
        self, _request: key_service_pb2.ListKeysRequest, _context: Context
    ) -> key_service_pb2.JwkSet:
        return ParseDict({"keys": [KEY.public_jwk()]}, key_service_pb2.JwkSet())


def as_caller(
    caller: Caller, *, audience: str = "payments", key: SigningKey = KEY, issuer: str = ISSUER, age: int = 0
) -> Metadata:
    now = int(time.time()) - age
    claims = {"iss": issuer, "aud": audience, "iat": now, "exp": now + 300, "jti": secrets.token_hex(8)}
    return (("authorization", f"Bearer {sign(key, TYP, {**claims, **claims_of(caller)})}"),)


def request_id() -> str:
    return secrets.token_hex(16)


def yen(minor_units: int) -> money_pb2.Money:
    return money_pb2.Money(currency_code="JPY", minor_units=minor_units)


def refusal(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    code, status = _refused(call)
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "sekisho"
    return code, info.reason


def refused_fields(call: Callable[[], object]) -> set[str]:
    _, status = _refused(call)
    bad_request = BadRequest()
    assert any(detail.Unpack(bad_request) for detail in status.details)
    return {violation.field for violation in bad_request.field_violations}


def _refused(call: Callable[[], object]) -> tuple[grpc.StatusCode, Status]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error = caught.value
    assert isinstance(error, grpc.Call)
    details = dict(error.trailing_metadata() or ())[DETAILS_KEY]
    assert isinstance(details, bytes)
    return error.code(), Status.FromString(details)


def server_config(folder: Path, workload: str, drain_seconds: float = 1.0) -> ServerConfig:
    return ServerConfig(
        listen="127.0.0.1:0",
        certificate=folder / f"{workload}.pem",
        private_key=folder / f"{workload}-key.pem",
        client_ca=folder / "ca.pem",
        drain_seconds=drain_seconds,
    )


def channel_config(folder: Path, port: int, server: str, client: str) -> ChannelConfig:
    return ChannelConfig(
        target=f"127.0.0.1:{port}",
        ca=folder / "ca.pem",
        server_name=tls.dns_name(server),
        certificate=folder / f"{client}.pem",
        private_key=folder / f"{client}-key.pem",
    )


def payments_config(
    folder: Path, auth_port: int, database: str, drain_seconds: float = 1.0, **settings: Any
) -> PaymentsConfig:
    return PaymentsConfig(
        server=server_config(folder, "payments", drain_seconds),
        database=database,
        auth=channel_config(folder, auth_port, "authserver", "payments"),
        auth_issuer=ISSUER,
        statement_issuer=STATEMENT_ISSUER,
        statement_key=folder / "statement-key.pem",
        **settings,
    )


@asynccontextmanager
async def both_servers(folder: Path, database: str, drain_seconds: float = 1.0, **settings: Any) -> AsyncIterator[int]:
    keys = Service.of(KeyServicer())
    auth = Server(
        server_config(folder, "authserver"), [keys], [], reflection=ReflectionHandler({keys.name: own_contracts()})
    )
    await auth.start()
    async with running(payments_config(folder, auth.port, database, drain_seconds, **settings)) as server:
        yield server.port
    await auth.stop()


def create_files(folder: Path) -> None:
    """Write certificates and keys."""
    authority = create_authority(folder, "ca")
    for workload in ("gateway", "payments", "authserver"):
        issue_workload(authority, folder, workload)
    write_private(folder / "statement-key.pem", STATEMENT_KEY_PEM)


def charge(code: str, minor_units: int, *, capture: bool = False) -> payment_service_pb2.CreatePaymentRequest:
    return payment_service_pb2.CreatePaymentRequest(
        request_id=request_id(), payment_code=code, amount=yen(minor_units), capture=capture, description="order 7"
    )
