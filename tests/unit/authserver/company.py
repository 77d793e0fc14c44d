"""The payment company's auth server as its use cases see it: a database, keys, two platforms, a clock that stands."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, text

from authserver.access_tokens import TokenSealer
from authserver.audit.chain import AuditLine
from authserver.audit.store import read_audit_head, read_page
from authserver.audit.trail import Trail
from authserver.clients.authentication import Authenticator, Judge
from authserver.clients.authentication_method import BY_SECRET, ClientAuthentication
from authserver.clients.cache import ClientCache
from authserver.clients.owned import delete_client, update_client
from authserver.clients.presented import PresentedSecret
from authserver.clients.provision import Provisioner, provision_master, provision_staff
from authserver.clients.refusals import Refusals
from authserver.clients.register import Credentials, Registration, register_client
from authserver.clients.rotate_secret import rotate_client_secret
from authserver.clients.secret_uses import SecretUses
from authserver.clients.secrets import Peppers
from authserver.clients.software_statements import SoftwareStatement
from authserver.clients.store.clients import Client
from authserver.clients.store.platforms import Platform
from authserver.keys.encryption import KeyEncryption
from authserver.keys.ring import KeyRing
from authserver.keys.rotation import make_key
from authserver.keys.schedule import Use
from authserver.keys.store import list_keys
from authserver.revocation.feed import Feed
from authserver.tokens.client_tokens import introspect_token
from authserver.tokens.exchange import PrivateToken, TokenChecker, TokenExchange
from authserver.tokens.issue import issue_token
from authserver.tokens.revoke import revoke_token
from mesh.access.rules import Caller, ClientType
from mesh.storage.database import Database

NOW = 1_800_000_000.0
PEPPERS = Peppers({1: bytes(range(32))}, 1)
KEY_ENCRYPTION_KEY = bytes(range(1, 33))
ENCRYPTION = KeyEncryption([KEY_ENCRYPTION_KEY])
ISSUER, TOKEN_URL = "https://auth.example", "https://auth.example/oauth2/token"
AUDIT_KEY = bytes(range(2, 34))
MASTER_SCOPES = frozenset({"clients.read", "clients.write"})
CEILING = frozenset({"payments.read", "payments.write"})

T = TypeVar("T")


class Replica:
    """One auth server's memory, on the company's database."""

    def __init__(
        self,
        company: "Company",
        capacity: int = 1000,
        monotonic: Callable[[], float] = time.monotonic,
        failures_at_once: int = 1000,
    ) -> None:
        self.company = company
        self.feed = Feed(company.database, monotonic)
        self.clients = ClientCache(company.database, self.feed, capacity)
        self.key_ring = KeyRing(company.database, ENCRYPTION, company.clock)
        self.key_ring.take(company.run(list_keys))
        self.feed.listen(self.key_ring.hear)
        self.uses = SecretUses(PEPPERS)
        self.refusals = Refusals(failures_at_once, refill_seconds=6)
        self.authenticator = self.authenticating(PEPPERS)
        self.tokens = TokenChecker(self.key_ring, self.clients, self.feed, company.clock)
        self.exchanger = self.exchanging(ttl_seconds=300)

    def authenticating(
        self, peppers: Peppers, audiences: frozenset[str] = frozenset({ISSUER, TOKEN_URL})
    ) -> Authenticator:
        judge = Judge(peppers, self.uses, audiences, self.company.clock)
        return Authenticator(self.company.database, self.clients, judge, self.refusals)

    async def authenticate(self, client_id: str, client_secret: str, address: str = "") -> Client:
        return await self.authenticator.authenticate(PresentedSecret(client_id, client_secret), address)

    def exchanging(self, ttl_seconds: int) -> TokenExchange:
        return TokenExchange(
            self.tokens,
            self.key_ring,
            self.company.clock,
            issuer="authserver",
            audiences=frozenset({"payments", "authserver"}),
            ttl_seconds=ttl_seconds,
        )


class Company:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = NOW
        self.trail = Trail(AUDIT_KEY, self.clock)
        self.key_ring = KeyRing(database, ENCRYPTION, self.clock)
        self.key_ring.take(self.run(lambda connection: [make_key(connection, ENCRYPTION, use, 0, 0) for use in Use]))
        self.masters = {name: self.add_platform(name) for name in ("shops", "stalls")}
        self.operator = self.add_staff(ClientType.OPERATOR, "alice")

    def clock(self) -> float:
        return self.now

    @property
    def now_ms(self) -> int:
        return round(self.now * 1000)

    @property
    def sealer(self) -> TokenSealer:
        return self.key_ring.sealer

    @property
    def provisioner(self) -> Provisioner:
        return Provisioner(PEPPERS, self.trail, "operator:test", self.now_ms)

    def run(self, work: Callable[[Connection], T]) -> T:
        return self.database.run_here(work)

    def add_platform(
        self,
        platform_id: str,
        scopes: frozenset[str] = MASTER_SCOPES,
        ceiling: frozenset[str] = CEILING,
        max_clients: int = 100,
    ) -> Credentials:
        platform = Platform(ceiling, max_clients)
        return self.run(
            lambda connection: provision_master(connection, self.provisioner, platform_id, platform, scopes)
        )

    def add_staff(
        self, client_type: ClientType, name: str, scopes: frozenset[str] = frozenset({"reviews.write"})
    ) -> Credentials:
        return self.run(lambda connection: provision_staff(connection, self.provisioner, client_type, name, scopes))

    def register(
        self,
        platform_id: str = "shops",
        *,
        statement: SoftwareStatement | None = None,
        scope: str = "",
        authentication: ClientAuthentication = BY_SECRET,
    ) -> Credentials:
        """Register a client by the platform's Master Client."""
        return self.run(self.registering(platform_id, statement or approval(), scope, authentication))

    def registering(
        self,
        platform_id: str,
        statement: SoftwareStatement,
        scope: str = "",
        authentication: ClientAuthentication = BY_SECRET,
    ) -> Callable[[Connection], Credentials]:
        registration = Registration(statement, "Tea shop", scope, authentication)
        caller = caller_of(self.masters[platform_id])
        return lambda connection: register_client(connection, PEPPERS, self.trail, caller, registration, self.now_ms)

    def rotate(self, client_id: str, platform_id: str = "shops", *, old_expire_time: int | None = None) -> Credentials:
        caller = caller_of(self.masters[platform_id])
        return self.run(
            lambda connection: rotate_client_secret(
                connection,
                PEPPERS,
                self.trail,
                caller,
                client_id,
                old_expire_time=old_expire_time,
                now_ms=self.now_ms,
            )
        )

    def update(
        self,
        client_id: str,
        platform_id: str = "shops",
        *,
        name: str = "Tea shop",
        scope: str = "",
        authentication: ClientAuthentication | None = None,
    ) -> Client:
        caller = caller_of(self.masters[platform_id])
        return self.run(
            lambda connection: update_client(
                connection,
                self.trail,
                caller,
                client_id,
                client_name=name,
                scope=scope,
                authentication=authentication,
            )
        )

    def delete(self, client_id: str, platform_id: str = "shops") -> None:
        caller = caller_of(self.masters[platform_id])
        self.run(lambda connection: delete_client(connection, self.trail, caller, client_id))

    def revoke(self, client_id: str, token: str, sealer: TokenSealer | None = None) -> None:
        opening = sealer or self.sealer
        self.run(lambda connection: revoke_token(connection, self.trail, opening, client_id, token, self.now))

    async def authenticate(self, client_id: str, client_secret: str) -> Client:
        """Authenticate at a replica that has just started; the other questions are asked there too."""
        return await Replica(self).authenticate(client_id, client_secret)

    async def token(self, credentials: Credentials, scope: str = "", ttl_seconds: int = 600) -> str:
        client = await self.authenticate(credentials.client.client_id, credentials.client_secret)
        return issue_token(self.sealer, client, scope, now=self.now, ttl_seconds=ttl_seconds).access_token

    async def exchange(self, token: str, audience: str = "payments", ttl_seconds: int = 300) -> PrivateToken:
        return await Replica(self).exchanging(ttl_seconds).exchange(token, audience, 0)

    async def introspect(self, credentials: Credentials, token: str) -> Any:
        return await introspect_token(Replica(self).tokens, credentials.client, token)

    def last_audit_line(self) -> AuditLine:
        def read(connection: Connection) -> AuditLine:
            last = read_audit_head(connection).sequence
            return read_page(connection, last - 1)[0].line

        return self.database.read_here(read)

    def execute(self, statement: str) -> None:
        self.run(lambda connection: connection.execute(text(statement)))


def approval(
    jti: str = "app_1", *, partner_id: str = "ptr_1", platform_id: str = "shops", iss: str = "payments"
) -> SoftwareStatement:
    return SoftwareStatement(iss, jti, partner_id, platform_id)


def caller_of(credentials: Credentials) -> Caller:
    client = credentials.client
    return Caller(client.client_id, client.client_type, client.platform_id, client.partner_id, client.scopes)
