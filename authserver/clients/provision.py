"""Provisions the clients that no wire method can mint or re-key: Master Clients, operators, the wallet application."""

import re
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from authserver.access_tokens import NEW
from authserver.audit.trail import Trail
from authserver.clients.authentication_method import BY_SECRET, ClientAuthentication
from authserver.clients.change import change_client
from authserver.clients.register import Credentials, mint
from authserver.clients.rotate_secret import replace_secret
from authserver.clients.scopes import format_scope, parse_scope
from authserver.clients.secrets import Peppers
from authserver.clients.store.clients import Client, add_clients, find_client
from authserver.clients.store.platforms import Platform, add_platform, find_platform
from authserver.errors import InvalidScope
from authserver.tables import NAME_LENGTH
from mesh.access.rules import ClientType
from mesh.errors import Mendable
from mesh.ids import new_id
from mesh.readable_text import fault_of

_PLATFORM_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class ProvisioningError(Mendable):
    """The client can't be provisioned as asked; the message says why."""


@dataclass(frozen=True, slots=True)
class Provisioner:
    """What provisioning takes.

    Attributes:
        peppers: What secrets are digested with.
        trail: Where it is recorded.
        actor: Who provisions, as the audit log names them.
        now_ms: The time.

    """

    peppers: Peppers
    trail: Trail
    actor: str
    now_ms: int


def provision_master(
    connection: Connection,
    provisioner: Provisioner,
    platform_id: str,
    platform: Platform,
    scopes: frozenset[str],
    authentication: ClientAuthentication = BY_SECRET,
) -> Credentials:
    """Add a platform and its Master Client, which may ask for the scopes.

    Raises:
        ProvisioningError: If the id is malformed, or the platform is there already.

    """
    if not _PLATFORM_ID.fullmatch(platform_id):
        raise ProvisioningError("a platform's id has 1 to 63 lower-case letters, digits and hyphens")
    _check_scopes(platform.ceiling)
    if find_platform(connection, platform_id) is not None:
        raise ProvisioningError(f"the platform {platform_id} has its Master Client already")
    add_platform(connection, platform_id, platform, provisioner.now_ms)
    return _add(
        connection, provisioner, ClientType.MASTER, platform_id, scopes, authentication, platform_id=platform_id
    )


def provision_staff(
    connection: Connection,
    provisioner: Provisioner,
    client_type: ClientType,
    name: str,
    scopes: frozenset[str],
    authentication: ClientAuthentication = BY_SECRET,
) -> Credentials:
    """Add a client of the payment company's own: an operator, or the wallet application.

    Raises:
        ProvisioningError: If the type is another one, or the name is empty or too long.

    """
    if client_type not in {ClientType.OPERATOR, ClientType.WALLET}:
        raise ProvisioningError(f"{client_type} clients are not provisioned this way")
    return _add(connection, provisioner, client_type, name, scopes, authentication, platform_id="")


def renew_secret(
    connection: Connection, provisioner: Provisioner, client_id: str, *, old_expire_time: int | None
) -> Credentials:
    """Give a provisioned client a new secret; a registered one gets it from its platform.

    Args:
        connection: To the auth server's database.
        provisioner: What it takes.
        client_id: Whose secret.
        old_expire_time: Until when the old secret goes on working, in milliseconds since the epoch. None: it stops at
            once, and all tokens of the client end.

    Raises:
        ProvisioningError: If there is no such client, it is a partner's, or it authenticates by its keys.

    """
    client = _provisioned(connection, client_id, "its platform gives it a new secret, by RotateClientSecret")
    if not client.authentication.has_secret:
        method = client.authentication.method
        raise ProvisioningError(
            f"{client_id} authenticates by {method}: to replace its keys, run: sekisho clients update"
        )
    return _replace_secret(connection, provisioner, client, old_expire_time=old_expire_time)


def update_authentication(
    connection: Connection, provisioner: Provisioner, client_id: str, authentication: ClientAuthentication
) -> Credentials:
    """Replace how a provisioned client authenticates. It gets a secret if it had none and needs one.

    What that ends, `change_client` says.

    Raises:
        ProvisioningError: If there is no such client, or it is a partner's.

    """
    client = _provisioned(connection, client_id, "its platform changes it, by UpdateClient")
    changed = replace(client, authentication=authentication)
    client = change_client(connection, provisioner.trail, provisioner.actor, client, changed)
    if authentication.has_secret and not client.secrets:
        return _replace_secret(connection, provisioner, client, old_expire_time=None)
    return Credentials(client, "")


def _provisioned(connection: Connection, client_id: str, otherwise: str) -> Client:
    client = find_client(connection, client_id, lock=True)
    if client is None:
        raise ProvisioningError(f"there is no client {client_id}")
    if client.client_type == ClientType.PARTNER:
        raise ProvisioningError(f"{client_id} is a partner's: {otherwise}")
    return client


def _replace_secret(
    connection: Connection, provisioner: Provisioner, client: Client, *, old_expire_time: int | None
) -> Credentials:
    return replace_secret(
        connection,
        provisioner.peppers,
        provisioner.trail,
        provisioner.actor,
        client,
        old_expire_time=old_expire_time,
        now_ms=provisioner.now_ms,
    )


def _add(
    connection: Connection,
    provisioner: Provisioner,
    client_type: ClientType,
    name: str,
    scopes: frozenset[str],
    authentication: ClientAuthentication,
    *,
    platform_id: str,
) -> Credentials:
    if fault := fault_of(name, NAME_LENGTH):
        raise ProvisioningError(f"the client's name {fault}")
    _check_scopes(scopes)
    minted = mint(
        Client(
            client_id=new_id("cli"),
            client_type=client_type,
            client_name=name,
            platform_id=platform_id,
            partner_id="",
            scopes=scopes,
            epochs=NEW,
            create_time=provisioner.now_ms,
            authentication=authentication,
        ),
        provisioner.peppers,
    )
    client = minted.client
    add_clients(connection, [client])
    provisioner.trail.record(
        connection,
        provisioner.actor,
        "client.provision",
        client.client_id,
        client_type=client_type.value,
        platform_id=platform_id,
        scope=format_scope(scopes),
        token_endpoint_auth_method=authentication.method.value,
    )
    return minted


def _check_scopes(scopes: frozenset[str]) -> None:
    try:
        readable = parse_scope(format_scope(scopes)) == scopes
    except InvalidScope as error:
        raise ProvisioningError(error.message) from error
    if not readable:
        raise ProvisioningError("a scope has a space in it")
