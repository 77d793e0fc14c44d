"""Clients in the database."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, String, and_, delete, exists, func, insert, or_, select, update
from sqlalchemy import bindparam as bind

from authserver.access_tokens import Epochs
from authserver.clients.authentication_method import BY_SECRET, AuthMethod, ClientAuthentication
from authserver.clients.keys import parse_keys
from authserver.clients.scopes import format_scope, parse_scope
from authserver.clients.store.registration_access_tokens import delete_registration_access
from authserver.clients.store.revoked_tokens import forget_revoked_tokens, revoked_tokens_of
from authserver.clients.store.secrets import Secret, add_secrets, delete_secrets, list_secrets
from authserver.tables import blocks, clients, partners, platforms, software_statements
from mesh.access.revocation import Subject
from mesh.access.rules import ClientType
from mesh.serving.paging import Page

_AFTER_ALL_IDS = "z"  # in any collation

_BLOCKED = exists().where(
    or_(
        and_(blocks.c.kind == Subject.CLIENT.value, blocks.c.id == clients.c.client_id),
        and_(blocks.c.kind == Subject.PARTNER.value, blocks.c.id == clients.c.partner_id),
        and_(blocks.c.kind == Subject.PLATFORM.value, blocks.c.id == clients.c.platform_id),
    )
)
_CLIENTS = (
    select(
        clients,
        func.coalesce(partners.c.epoch, 0).label("partner_epoch"),
        func.coalesce(platforms.c.epoch, 0).label("platform_epoch"),
        _BLOCKED.label("blocked"),
    )
    .outerjoin(partners, clients.c.partner_id == partners.c.partner_id)
    .outerjoin(platforms, clients.c.platform_id == platforms.c.platform_id)
)
_FIND = _CLIENTS.where(clients.c.client_id == bind("client_id"))
_LOCK = select(clients.c.client_id).where(clients.c.client_id == bind("client_id")).with_for_update()
_LIST = (
    _CLIENTS.where(
        clients.c.platform_id == bind("platform"),
        clients.c.client_type == ClientType.PARTNER.value,
        clients.c.client_id < bind("before"),
    )
    .order_by(clients.c.client_id.desc())
    .limit(bind("most"))
)
_LIST_ALL = (
    _CLIENTS.where(
        or_(bind("platform", type_=String) == "", clients.c.platform_id == bind("platform")),
        clients.c.client_id < bind("before"),
    )
    .order_by(clients.c.client_id.desc())
    .limit(bind("most"))
)
_COUNT = (
    select(func.count())
    .select_from(clients)
    .where(clients.c.platform_id == bind("platform"), clients.c.client_type == ClientType.PARTNER.value)
)
_INSERT = insert(clients)
_UPDATE = (
    update(clients)
    .where(clients.c.client_id == bind("id"))
    .values(client_name=bind("new_name"), scope=bind("new_scope"))
)
_AUTHENTICATION = (
    update(clients)
    .where(clients.c.client_id == bind("id"))
    .values(token_endpoint_auth_method=bind("new_method"), jwks=bind("new_jwks"))
)
_DELETE = delete(clients).where(clients.c.client_id == bind("id"))

_STATEMENT_CLIENT = select(software_statements.c.client_id).where(
    software_statements.c.iss == bind("iss"), software_statements.c.jti == bind("jti")
)
_INSERT_STATEMENT = insert(software_statements)


@dataclass(frozen=True, slots=True)
class Client:
    """A registered client.

    Attributes:
        client_id: Its id.
        client_type: Its type.
        client_name: What people recognize it by.
        platform_id: The platform that owns it; empty for the company's own clients.
        partner_id: The Partner ID that it acts for; empty unless its type is PARTNER.
        scopes: What it may ask for.
        epochs: Its own, its partner's and its platform's, 0 where it has none.
        create_time: When its id was issued, in milliseconds since the epoch.
        authentication: How it authenticates.
        secrets: Its secrets, the newest first.
        blocked: Whether it, its partner or its platform is blocked.
        revoked_tokens: The digests of the tokens that were revoked one by one.

    """

    client_id: str
    client_type: ClientType
    client_name: str
    platform_id: str
    partner_id: str
    scopes: frozenset[str]
    epochs: Epochs
    create_time: int
    authentication: ClientAuthentication = BY_SECRET
    secrets: tuple[Secret, ...] = ()
    blocked: bool = False
    revoked_tokens: frozenset[bytes] = frozenset()


def find_client(connection: Connection, client_id: str, *, lock: bool = False) -> Client | None:
    """Return a client, by its id; None if there is none.

    Args:
        connection: To the database.
        client_id: The id.
        lock: Whether nobody else may change the client until the transaction ends.

    """
    if "\0" in client_id:  # PostgreSQL takes no such text, not even to look for it
        return None
    if lock:
        connection.execute(_LOCK, {"client_id": client_id})
    row = connection.execute(_FIND, {"client_id": client_id}).one_or_none()
    # Asked in any case, so that an unknown client takes as long as a wrong secret.
    secrets = list_secrets(connection, [client_id])
    revoked = revoked_tokens_of(connection, client_id)
    return None if row is None else _client(row, secrets[client_id], revoked)


def list_clients(connection: Connection, platform_id: str, page: Page) -> Sequence[Client]:
    """Return a page of a platform's registered clients and one more, the newest first."""
    key = {"platform": platform_id, "before": page.after or _AFTER_ALL_IDS, "most": page.limit}
    return _with_secrets(connection, connection.execute(_LIST, key).all())


def list_all_clients(connection: Connection, platform_id: str, before: str) -> Sequence[Client]:
    """Return the next hundred clients of any type before an id, the newest first; all platforms' if none is given."""
    key = {"platform": platform_id, "before": before or _AFTER_ALL_IDS, "most": 100}
    return _with_secrets(connection, connection.execute(_LIST_ALL, key).all())


def count_clients(connection: Connection, platform_id: str) -> int:
    """Return how many registered clients a platform has."""
    return connection.execute(_COUNT, {"platform": platform_id}).scalar_one()


def scopes_in_use(connection: Connection) -> set[tuple[ClientType, frozenset[str]]]:
    """Return the scopes that clients may have, each set once, with the type of such clients."""
    rows = connection.execute(select(clients.c.client_type, clients.c.scope).distinct())
    return {(ClientType(client_type), parse_scope(scope)) for client_type, scope in rows}


def add_clients(connection: Connection, added: Sequence[Client]) -> None:
    """Add clients and their secrets. Their platforms and their partners must be there."""
    connection.execute(_INSERT, [_client_row(client) for client in added])
    if secrets := [(client.client_id, secret) for client in added for secret in client.secrets]:
        add_secrets(connection, secrets)


def update_client(connection: Connection, client_id: str, client_name: str, scopes: frozenset[str]) -> None:
    """Replace a client's name and scopes."""
    connection.execute(_UPDATE, {"id": client_id, "new_name": client_name, "new_scope": format_scope(scopes)})


def update_authentication(connection: Connection, client_id: str, authentication: ClientAuthentication) -> None:
    """Replace how a client authenticates."""
    changes = {"new_method": authentication.method.value, "new_jwks": authentication.jwks or None}
    connection.execute(_AUTHENTICATION, {"id": client_id, **changes})


def delete_client(connection: Connection, client_id: str) -> None:
    """Remove a client, its secrets, its registration access token, and what is known of its tokens."""
    forget_revoked_tokens(connection, client_id)
    delete_secrets(connection, client_id)
    delete_registration_access(connection, client_id)
    connection.execute(_DELETE, {"id": client_id})


def find_statement_client(connection: Connection, iss: str, jti: str) -> str | None:
    """Return the id of the client that a software statement registered; None if it was not used."""
    return connection.execute(_STATEMENT_CLIENT, {"iss": iss, "jti": jti}).scalar_one_or_none()


def add_statement(connection: Connection, iss: str, jti: str, client_id: str) -> None:
    """Record that a software statement registered a client."""
    connection.execute(_INSERT_STATEMENT, {"iss": iss, "jti": jti, "client_id": client_id})


def _client_row(client: Client) -> dict[str, object]:
    return {
        "client_id": client.client_id,
        "client_type": client.client_type.value,
        "client_name": client.client_name,
        "platform_id": client.platform_id or None,
        "partner_id": client.partner_id or None,
        "scope": format_scope(client.scopes),
        "epoch": client.epochs.client,
        "create_time": client.create_time,
        "token_endpoint_auth_method": client.authentication.method.value,
        "jwks": client.authentication.jwks or None,
    }


def _with_secrets(connection: Connection, rows: Sequence[Row[*tuple[Any, ...]]]) -> Sequence[Client]:
    secrets = list_secrets(connection, [row.client_id for row in rows])
    return [_client(row, secrets[row.client_id], frozenset()) for row in rows]


def _client(row: Row[*tuple[Any, ...]], secrets: Sequence[Secret], revoked_tokens: frozenset[bytes]) -> Client:
    return Client(
        client_id=row.client_id,
        client_type=ClientType(row.client_type),
        client_name=row.client_name,
        platform_id=row.platform_id or "",
        partner_id=row.partner_id or "",
        scopes=parse_scope(row.scope),
        epochs=Epochs(row.epoch, row.partner_epoch, row.platform_epoch),
        create_time=row.create_time,
        authentication=ClientAuthentication(
            AuthMethod(row.token_endpoint_auth_method), parse_keys(row.jwks) if row.jwks else ()
        ),
        secrets=tuple(secrets),
        blocked=bool(row.blocked),
        revoked_tokens=revoked_tokens,
    )
