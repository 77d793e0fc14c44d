"""Provisions the clients that no wire method can mint: Master Clients, operators and the wallet application."""

import re

from sqlalchemy import Connection

from authserver import client_secrets, store
from authserver.access_tokens import NEW
from authserver.errors import InvalidScope
from authserver.register_client import Credentials
from authserver.scopes import format_scope, parse_scope
from authserver.store import Client
from mesh.access.rules import ClientType
from mesh.ids import new_id

_PLATFORM_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class ProvisioningError(Exception):
    """The client can't be provisioned as asked; the message says why."""


def provision_master(
    connection: Connection,
    pepper: bytes,
    platform_id: str,
    *,
    scopes: frozenset[str],
    ceiling: frozenset[str],
    now_ms: int,
) -> Credentials:
    """Add a platform and its Master Client.

    Args:
        connection: To the auth server's database.
        pepper: What secrets are digested with.
        platform_id: The new platform's id.
        scopes: What the Master Client may ask for.
        ceiling: What the platform's partners' clients may ask for, at most.
        now_ms: The time.

    Raises:
        ProvisioningError: If the id is malformed, or the platform is there already.

    """
    if not _PLATFORM_ID.fullmatch(platform_id):
        raise ProvisioningError("a platform's id has 1 to 63 lower-case letters, digits and hyphens")
    _check_scopes(ceiling)
    if store.find_platform_ceiling(connection, platform_id) is not None:
        raise ProvisioningError(f"the platform {platform_id} has its Master Client already")
    store.add_platform(connection, platform_id, ceiling, now_ms)
    return _add(connection, pepper, ClientType.MASTER, platform_id, scopes, platform_id=platform_id, now_ms=now_ms)


def provision_staff(
    connection: Connection, pepper: bytes, client_type: ClientType, name: str, *, scopes: frozenset[str], now_ms: int
) -> Credentials:
    """Add a client of the payment company's own: an operator, or the wallet application.

    Raises:
        ProvisioningError: If the type is another one, or the name is empty or too long.

    """
    if client_type not in {ClientType.OPERATOR, ClientType.WALLET}:
        raise ProvisioningError(f"{client_type} clients are not provisioned this way")
    return _add(connection, pepper, client_type, name, scopes, platform_id="", now_ms=now_ms)


def _add(
    connection: Connection,
    pepper: bytes,
    client_type: ClientType,
    name: str,
    scopes: frozenset[str],
    *,
    platform_id: str,
    now_ms: int,
) -> Credentials:
    if not name.strip() or len(name) > store.NAME_LENGTH or not name.isprintable():
        raise ProvisioningError(f"a client's name has 1 to {store.NAME_LENGTH} printable characters")
    _check_scopes(scopes)
    secret = client_secrets.new_client_secret()
    client = Client(
        client_id=new_id("cli"),
        client_type=client_type,
        client_name=name,
        platform_id=platform_id,
        partner_id="",
        scopes=scopes,
        epochs=NEW,
        secret_digest=client_secrets.digest(pepper, secret),
        create_time=now_ms,
    )
    store.add_client(connection, client)
    return Credentials(client, secret)


def _check_scopes(scopes: frozenset[str]) -> None:
    try:
        readable = parse_scope(format_scope(scopes)) == scopes
    except InvalidScope as error:
        raise ProvisioningError(error.message) from error
    if not readable:
        raise ProvisioningError("a scope has a space in it")
