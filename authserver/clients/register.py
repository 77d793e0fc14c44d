"""Registers the clients of partners (RFC 7591)."""

from dataclasses import dataclass, field, replace

from sqlalchemy import Connection

from authserver.access_tokens import NEW
from authserver.audit.trail import Trail
from authserver.clients.authentication_method import BY_SECRET, ClientAuthentication
from authserver.clients.owned import actor_of
from authserver.clients.scopes import format_scope, grant_scope
from authserver.clients.secrets import Peppers, new_client_secret
from authserver.clients.software_statements import SoftwareStatement
from authserver.clients.store import clients, platforms
from authserver.clients.store.blocks import is_blocked
from authserver.clients.store.clients import Client
from authserver.clients.store.platforms import Platform
from authserver.clients.store.secrets import Secret
from authserver.errors import ClientQuotaExceeded, SoftwareStatementUsed, UnapprovedSoftwareStatement
from mesh.access.revocation import Subject
from mesh.access.rules import Caller, ClientType
from mesh.ids import new_id


@dataclass(frozen=True, slots=True)
class Credentials:
    """A client and its secret, at the one moment when the secret is known; empty if the client has none.

    Attributes:
        client: The client.
        client_secret: Its secret.

    """

    client: Client
    client_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Registration:
    """What a platform asks for.

    Attributes:
        statement: The approval of the partner.
        client_name: What people will recognize the client by.
        scope: The scopes it wants, space-delimited; the platform's whole ceiling if empty.
        authentication: How the client will authenticate.

    """

    statement: SoftwareStatement
    client_name: str
    scope: str
    authentication: ClientAuthentication = BY_SECRET


def register_client(
    connection: Connection, peppers: Peppers, trail: Trail, caller: Caller, registration: Registration, now_ms: int
) -> Credentials:
    """Mint the client of one partner.

    Raises:
        UnapprovedSoftwareStatement: If the partner was approved for another platform than the caller's, or is blocked.
        SoftwareStatementUsed: If the approval has registered a client already.
        InvalidScope: If the scope goes beyond the platform's ceiling.
        ClientQuotaExceeded: If the platform has as many clients as it may.

    """
    statement = registration.statement
    platform = platforms.find_platform(connection, caller.platform_id, lock=True)  # the quota is strict
    if platform is None or statement.platform_id != caller.platform_id:
        raise UnapprovedSoftwareStatement("the software statement approves a partner of another platform")
    if used_by := clients.find_statement_client(connection, statement.iss, statement.jti):
        raise SoftwareStatementUsed("the software statement has registered a client already", client_id=used_by)
    _ensure_partner(connection, statement, now_ms)
    _check_quota(connection, caller.platform_id, platform)
    minted = mint(
        Client(
            client_id=new_id("cli"),
            client_type=ClientType.PARTNER,
            client_name=registration.client_name,
            platform_id=caller.platform_id,
            partner_id=statement.partner_id,
            scopes=grant_scope(registration.scope, platform.ceiling),
            epochs=NEW,
            create_time=now_ms,
            authentication=registration.authentication,
        ),
        peppers,
    )
    client = minted.client
    clients.add_clients(connection, [client])
    clients.add_statement(connection, statement.iss, statement.jti, client.client_id)
    trail.record(
        connection,
        actor_of(caller),
        "client.register",
        client.client_id,
        partner_id=client.partner_id,
        scope=format_scope(client.scopes),
        software_statement=statement.jti,
        token_endpoint_auth_method=client.authentication.method.value,
    )
    return minted


def mint(client: Client, peppers: Peppers) -> Credentials:
    """Return a client that is yet to be added, with a first secret unless it authenticates by its keys."""
    if not client.authentication.has_secret:
        return Credentials(client, "")
    client_secret = new_client_secret()
    secret = Secret(new_id("sec"), peppers.digest(client_secret), client.create_time)
    return Credentials(replace(client, secrets=(secret,)), client_secret)


def _ensure_partner(connection: Connection, statement: SoftwareStatement, now_ms: int) -> None:
    platform_id = platforms.find_partner_platform(connection, statement.partner_id)
    if platform_id is None:
        platforms.add_partner(connection, statement.partner_id, statement.platform_id, now_ms)
    elif platform_id != statement.platform_id:
        raise UnapprovedSoftwareStatement("the software statement's partner belongs to another platform")
    if is_blocked(connection, Subject.PARTNER, statement.partner_id):
        raise UnapprovedSoftwareStatement("the software statement's partner is blocked")


def _check_quota(connection: Connection, platform_id: str, platform: Platform) -> None:
    if clients.count_clients(connection, platform_id) >= platform.max_clients:
        raise ClientQuotaExceeded(f"this platform has {platform.max_clients} clients, as many as it may; delete some")
