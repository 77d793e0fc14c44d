"""The payment company's auth server as its use cases see it: a database, keys, two platforms, a clock that stands."""

from sqlalchemy import text

from authserver import store
from authserver.access_tokens import TokenSealer
from authserver.authentication import authenticate
from authserver.exchange_token import Exchanged, TokenExchange
from authserver.issue_token import issue_token
from authserver.key_ring import load_key_ring
from authserver.provision_client import provision_master, provision_staff
from authserver.register_client import Credentials, Registration, register_client, rotate_client_secret
from authserver.software_statements import SoftwareStatement
from mesh.access.rules import Caller, ClientType
from mesh.database import Database

NOW = 1_800_000_000.0
PEPPER = bytes(range(32))
KEY_ENCRYPTION_KEY = bytes(range(1, 33))
MASTER_SCOPES = frozenset({"clients.read", "clients.write"})
CEILING = frozenset({"payments.read", "payments.write"})


class Company:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = NOW
        self.key_ring = database.run_here(lambda connection: load_key_ring(connection, KEY_ENCRYPTION_KEY, 0))
        self.masters = {name: self.add_platform(name) for name in ("shops", "stalls")}
        self.operator = self.add_staff(ClientType.OPERATOR, "alice")
        self.exchanger = self.exchanging(ttl_seconds=300)

    @property
    def sealer(self) -> TokenSealer:
        return self.key_ring.sealer

    def exchanging(self, ttl_seconds: int) -> TokenExchange:
        audiences = frozenset({"payments", "authserver"})
        return TokenExchange(self.key_ring, issuer="authserver", audiences=audiences, ttl_seconds=ttl_seconds)

    def add_platform(
        self, platform_id: str, scopes: frozenset[str] = MASTER_SCOPES, ceiling: frozenset[str] = CEILING
    ) -> Credentials:
        return self.database.run_here(
            lambda connection: provision_master(
                connection, PEPPER, platform_id, scopes=scopes, ceiling=ceiling, now_ms=int(NOW * 1000)
            )
        )

    def add_staff(
        self, client_type: ClientType, name: str, scopes: frozenset[str] = frozenset({"reviews.write"})
    ) -> Credentials:
        return self.database.run_here(
            lambda connection: provision_staff(connection, PEPPER, client_type, name, scopes=scopes, now_ms=0)
        )

    def register(
        self, platform_id: str = "shops", *, statement: SoftwareStatement | None = None, scope: str = ""
    ) -> Credentials:
        """Register a client by the platform's Master Client."""
        registration = Registration(statement or approval(), "Tea shop", scope)
        return self.database.run_here(
            lambda connection: register_client(
                connection, PEPPER, caller_of(self.masters[platform_id]), registration, int(NOW * 1000)
            )
        )

    def rotate(self, client_id: str, platform_id: str = "shops") -> Credentials:
        caller = caller_of(self.masters[platform_id])
        return self.database.run_here(lambda connection: rotate_client_secret(connection, PEPPER, caller, client_id))

    def authenticate(self, client_id: str, client_secret: str) -> store.Client:
        return self.database.read_here(lambda connection: authenticate(connection, PEPPER, client_id, client_secret))

    def token(self, credentials: Credentials, scope: str = "", ttl_seconds: int = 600) -> str:
        client = self.authenticate(credentials.client.client_id, credentials.client_secret)
        return issue_token(self.sealer, client, scope, now=self.now, ttl_seconds=ttl_seconds).access_token

    def exchange(self, token: str, audience: str = "payments") -> Exchanged:
        return self.database.read_here(
            lambda connection: self.exchanger.exchange(connection, token, audience, self.now)
        )

    def execute(self, statement: str) -> None:
        self.database.run_here(lambda connection: connection.execute(text(statement)))


def approval(
    jti: str = "app_1", *, partner_id: str = "ptr_1", platform_id: str = "shops", iss: str = "payments"
) -> SoftwareStatement:
    return SoftwareStatement(iss, jti, partner_id, platform_id)


def caller_of(credentials: Credentials) -> Caller:
    client = credentials.client
    return Caller(client.client_id, client.client_type, client.platform_id, client.partner_id, client.scopes)
