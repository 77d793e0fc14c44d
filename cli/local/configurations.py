"""The configurations that `sekisho up` writes for the services on this machine."""

import enum
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from sqlalchemy.engine import URL

from cli.home import Home
from mesh.access.rules import ALL_CLIENT_TYPES
from mesh.config import ConfigError
from mesh.security import tls


def _loopback() -> str:
    """Return the loopback address as it stands in `host:port`: IPv4's, or IPv6's where there is no other."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", 0))
        except OSError:
            return "[::1]"
    return "127.0.0.1"


HOST = _loopback()
_ADDRESS = HOST.strip("[]")
DEFAULT_PORT = 7443  # of the gateway

_AUTH_ISSUER = "https://authserver.sekisho.internal"
_STATEMENT_ISSUER = "https://payments.sekisho.internal"
_BACKEND_SERVICES = {
    "authserver": (
        "sekisho.auth.v1.TokenService",
        "sekisho.auth.v1.ClientRegistrationService",
        "sekisho.auth.v1.KeyService",
    ),
    "payments": (
        "sekisho.payments.v1.PartnerApplicationService",
        "sekisho.payments.v1.PartnerReviewService",
        "sekisho.payments.v1.PaymentService",
        "sekisho.payments.v1.WalletService",
        "sekisho.payments.v1.LedgerService",
    ),
}

_Configuration: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ports:
    """The port of each service, of the auth server's HTTP face, of each process's metrics, and what Envoy needs."""

    gateway: int
    shops: int
    authserver: int
    payments: int
    http: int
    metrics: tuple[int, ...] = ()
    checkpoint: int = 0
    envoy_admin: int = 0

    @property
    def http_url(self) -> str:
        """The URL of the HTTP face, by the name that its certificate and the gateway's have."""
        return f"https://localhost:{self.http}"

    @classmethod
    def choose(cls, first: int, processes: int = 0) -> "Ports":
        """Return ports from `first` on, one after the other; free ones for 0.

        Args:
            first: The gateway's.
            processes: How many processes are to tell metrics.

        """
        count = 7 + processes
        ports = range(first, first + count) if first else [reserved_port() for _ in range(count)]
        gateway, shops, authserver, payments, http, *metrics, checkpoint, envoy_admin = ports
        return cls(gateway, shops, authserver, payments, http, tuple(metrics), checkpoint, envoy_admin)


class Plane(enum.StrEnum):
    """What carries the calls."""

    GATEWAY = "gateway"
    ENVOY = "envoy"


@dataclass(frozen=True, slots=True)
class MeshOptions:
    """How a mesh is to run.

    Attributes:
        databases: The URL of the services' databases, with `{service}` in place of each one's name; None for SQLite
            under the home.
        gateways: How many processes of the gateway share its port.
        restrictions: The gateway's file of restrictions.
        traces: The collector that all services send the traces of all calls to, `http://host:port`.
        plane: What carries the calls.

    """

    databases: str | None = None
    gateways: int = 1
    restrictions: Path | None = None
    traces: str | None = None
    plane: Plane = Plane.GATEWAY


def reserved_port() -> int:
    """Return a free port that the system hands to nobody for the next minute, but lets a server take that names it.

    A port that was only looked up may be another process's by the time the service listens. One that has just closed a
    connection is kept back (TIME-WAIT, RFC 9293).
    """
    with _socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((_ADDRESS, 0))
        server.listen(1)
        port: int = server.getsockname()[1]
        with socket.create_connection((_ADDRESS, port)):
            accepted, _ = server.accept()
            accepted.close()  # the side that closes first is the one that waits
        return port


def require_free(port: int) -> None:
    """Refuse a port that somebody listens on.

    Raises:
        ConfigError: If it is taken.

    """
    with _socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((_ADDRESS, port))
        except OSError as error:
            raise ConfigError(f"can't listen on {HOST}:{port}: is the port taken?") from error


def _socket() -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in _ADDRESS else socket.AF_INET)


def configurations(home: Home, ports: Ports, options: MeshOptions) -> Mapping[str, _Configuration]:
    """Return each service's configuration.

    Args:
        home: Where certificates, keys and SQLite databases lie.
        ports: Where the services listen.
        options: How they run.

    """

    def database(service: str) -> str:
        if options.databases:
            return options.databases.replace("{service}", service)
        file = home.folder(service) / "database.db"
        return URL.create("sqlite", database=str(file)).render_as_string()

    services = {
        "authserver": _authserver(home, ports, database("authserver")),
        "payments": _payments(home, ports, database("payments")),
        "gateway": _gateway(home, ports, options),
        "shops": _shops(home, ports, database("shops")),
    }
    if options.traces:
        for configuration in services.values():
            configuration["tracing"] = {"endpoint": options.traces, "sample_ratio": 1.0}
    return services


def _authserver(home: Home, ports: Ports, database: str) -> _Configuration:
    return {
        "server": _inside(home, "authserver", ports.authserver),
        "database": database,
        "http": {
            "listen": f"{HOST}:{ports.http}",
            **_certificate(home, "authserver-public"),
            "public_url": ports.http_url,
        },
        "issuer": _AUTH_ISSUER,
        "audiences": list(_BACKEND_SERVICES),
        "key_encryption_keys": ["key-encryption-key"],
        "peppers": [{"id": 1, "file": "pepper"}],
        "audit_key": "audit-key",
        "audit_heads": "audit-heads.jsonl",
        "statement_issuers": [{"iss": _STATEMENT_ISSUER, "jwks": "payments-statement-keys.json"}],
    }


def _payments(home: Home, ports: Ports, database: str) -> _Configuration:
    return {
        "server": _inside(home, "payments", ports.payments),
        "database": database,
        "auth": _channel(home, "payments", "authserver", ports.authserver),
        "auth_issuer": _AUTH_ISSUER,
        "statement_issuer": _STATEMENT_ISSUER,
        "statement_key": "statement-key.pem",
    }


def _gateway(home: Home, ports: Ports, options: MeshOptions) -> _Configuration:
    backend_ports = {"authserver": ports.authserver, "payments": ports.payments}
    return {
        "listeners": [
            {
                "name": "public",
                "server": {
                    "listen": f"{HOST}:{ports.gateway}",
                    "share_port": options.gateways > 1,
                    **_certificate(home, "gateway-public"),
                },
                "client_types": sorted(map(str, ALL_CLIENT_TYPES)),
            }
        ],
        "auth": _channel(home, "gateway", "authserver", ports.authserver),
        "backends": [
            {"name": name, "channel": _channel(home, "gateway", name, port), "services": list(_BACKEND_SERVICES[name])}
            for name, port in backend_ports.items()
        ],
        **({"restrictions": str(options.restrictions.absolute())} if options.restrictions else {}),
        **({"envoy": _envoy(home, ports)} if options.plane is Plane.ENVOY else {}),
    }


def _envoy(home: Home, ports: Ports) -> _Configuration:
    return {
        "server": _inside(home, "gateway", ports.checkpoint),
        "checkpoint": _channel(home, "gateway", "gateway", ports.checkpoint),
        "admin_listen": f"{HOST}:{ports.envoy_admin}",
    }


def _shops(home: Home, ports: Ports, database: str) -> _Configuration:
    return {
        "server": {"listen": f"{HOST}:{ports.shops}", **_certificate(home, "shops-public")},
        "database": database,
        "gateway": {"target": f"{HOST}:{ports.gateway}", "ca": str(home.pki / "public-ca.pem")},
        "master_credentials": "master-credentials.json",
        "sealing_key": "sealing-key",
        "token_key": "token-key",
    }


def _inside(home: Home, workload: str, port: int) -> _Configuration:
    """Return how a workload listens inside the company: by mTLS."""
    certificate = _certificate(home, workload)
    return {"listen": f"{HOST}:{port}", **certificate, "client_ca": str(home.pki / "workload-ca.pem")}


def _channel(home: Home, workload: str, to: str, port: int) -> _Configuration:
    """Return how a workload calls another one: by mTLS."""
    return {
        "target": f"{HOST}:{port}",
        "ca": str(home.pki / "workload-ca.pem"),
        "server_name": tls.dns_name(to),
        **_certificate(home, workload),
    }


def _certificate(home: Home, name: str) -> _Configuration:
    return {"certificate": str(home.pki / f"{name}.pem"), "private_key": str(home.pki / f"{name}-key.pem")}
