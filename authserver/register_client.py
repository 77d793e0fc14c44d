"""Registers, shows and re-keys the clients of partners (RFC 7591)."""

from dataclasses import dataclass

from sqlalchemy import Connection

from authserver import client_secrets, store
from authserver.access_tokens import NEW
from authserver.errors import ClientNotFound, SoftwareStatementUsed, UnapprovedSoftwareStatement
from authserver.scopes import grant_scope
from authserver.software_statements import SoftwareStatement
from authserver.store import Client
from mesh.access.rules import Caller, ClientType
from mesh.ids import new_id


@dataclass(frozen=True, slots=True)
class Credentials:
    """A client and its secret, at the one moment when the secret is known.

    Attributes:
        client: The client.
        client_secret: Its secret.

    """

    client: Client
    client_secret: str


@dataclass(frozen=True, slots=True)
class Registration:
    """What a platform asks for.

    Attributes:
        statement: The approval of the partner.
        client_name: What people will recognize the client by.
        scope: The scopes it wants, space-delimited; the platform's whole ceiling if empty.

    """

    statement: SoftwareStatement
    client_name: str
    scope: str


def register_client(
    connection: Connection, pepper: bytes, caller: Caller, registration: Registration, now_ms: int
) -> Credentials:
    """Mint the client of one partner.

    Raises:
        UnapprovedSoftwareStatement: If the partner was approved for another platform than the caller's.
        SoftwareStatementUsed: If the approval has registered a client already.
        InvalidScope: If the scope goes beyond the platform's ceiling.

    """
    statement = registration.statement
    ceiling = store.find_platform_ceiling(connection, caller.platform_id)
    if ceiling is None or statement.platform_id != caller.platform_id:
        raise UnapprovedSoftwareStatement("the software statement approves a partner of another platform")
    if used_by := store.find_statement_client(connection, statement.iss, statement.jti):
        raise SoftwareStatementUsed("the software statement has registered a client already", client_id=used_by)
    _ensure_partner(connection, statement, now_ms)
    secret = client_secrets.new_client_secret()
    client = Client(
        client_id=new_id("cli"),
        client_type=ClientType.PARTNER,
        client_name=registration.client_name,
        platform_id=caller.platform_id,
        partner_id=statement.partner_id,
        scopes=grant_scope(registration.scope, ceiling),
        epochs=NEW,
        secret_digest=client_secrets.digest(pepper, secret),
        create_time=now_ms,
    )
    store.add_client(connection, client)
    store.add_statement(connection, statement.iss, statement.jti, client.client_id)
    return Credentials(client, secret)


def find_owned_client(connection: Connection, caller: Caller, client_id: str) -> Client:
    """Return a client of the caller's platform.

    Raises:
        ClientNotFound: If there is none, or it is another platform's, or it is not a partner's.

    """
    client = store.find_client(connection, client_id)
    if client is None or client.client_type != ClientType.PARTNER or client.platform_id != caller.platform_id:
        raise ClientNotFound("this platform has no such client")
    return client


def rotate_client_secret(connection: Connection, pepper: bytes, caller: Caller, client_id: str) -> Credentials:
    """Replace the secret of a client of the caller's platform. The old one and its tokens are dead at once.

    Raises:
        ClientNotFound: As `find_owned_client`.

    """
    client = find_owned_client(connection, caller, client_id)
    secret = client_secrets.new_client_secret()
    store.replace_secret(connection, client_id, client_secrets.digest(pepper, secret))
    return Credentials(client, secret)


def _ensure_partner(connection: Connection, statement: SoftwareStatement, now_ms: int) -> None:
    platform_id = store.find_partner_platform(connection, statement.partner_id)
    if platform_id is None:
        store.add_partner(connection, statement.partner_id, statement.platform_id, now_ms)
    elif platform_id != statement.platform_id:
        raise UnapprovedSoftwareStatement("the software statement's partner belongs to another platform")
