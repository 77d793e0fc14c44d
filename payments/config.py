"""The configuration of the payments service."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from mesh.config import ChannelConfig, ServerConfig, ServiceConfig


class PaymentsConfig(ServiceConfig, frozen=True):
    """`payments.yaml`."""

    # Where and how to listen. With a client CA: only workloads of the company call here.
    server: ServerConfig
    # The database, a SQLAlchemy URL.
    database: str
    # The auth server, which publishes the keys of private access tokens.
    auth: ChannelConfig
    # The auth server's name: the issuer of private access tokens, and the audience of software statements.
    auth_issuer: str
    # The issuer of software statements.
    statement_issuer: str
    # The key that signs software statements: a P-256 private key, PKCS #8 PEM, readable by its owner only.
    statement_key: Path
    # This backend's name: the audience of the private access tokens that it takes.
    audience: str = "payments"
    # The fee on captured amounts, in hundredths of a percent. Payments keep the fee that they were made with.
    fee_basis_points: Annotated[int, Meta(ge=0, le=10_000)] = 250
    # How long a watch of payments may be silent: then it is told that it goes on. The contract promises 30.
    heartbeat_seconds: Annotated[float, Meta(gt=0, le=30)] = 30.0
