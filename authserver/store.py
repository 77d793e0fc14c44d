"""The auth server's tables and statements."""

from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    String,
    Table,
    func,
    insert,
    select,
    update,
)
from sqlalchemy import bindparam as bind

from authserver.access_tokens import Epochs
from authserver.scopes import format_scope, parse_scope
from mesh.access.rules import ClientType

NAME_LENGTH = 200

METADATA = MetaData()

_platforms = Table(
    "platforms",
    METADATA,
    Column("platform_id", String(64), primary_key=True),
    Column("scope", String(500), nullable=False),  # the ceiling of what its partners' clients may have
    Column("epoch", BigInteger, nullable=False),
    Column("create_time", BigInteger, nullable=False),
)

_partners = Table(
    "partners",
    METADATA,
    Column("partner_id", String(64), primary_key=True),
    Column("platform_id", ForeignKey("platforms.platform_id"), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("create_time", BigInteger, nullable=False),
)

_clients = Table(
    "clients",
    METADATA,
    Column("client_id", String(64), primary_key=True),
    Column("client_type", String(16), nullable=False),
    Column("client_name", String(NAME_LENGTH), nullable=False),
    Column("platform_id", ForeignKey("platforms.platform_id")),
    Column("partner_id", ForeignKey("partners.partner_id")),
    Column("scope", String(500), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("secret_digest", LargeBinary, nullable=False),
    Column("create_time", BigInteger, nullable=False),
    # A client speaks for a platform, for a partner of a platform, or for the company itself.
    CheckConstraint(
        "(client_type = 'MASTER' AND platform_id IS NOT NULL AND partner_id IS NULL)"
        " OR (client_type = 'PARTNER' AND platform_id IS NOT NULL AND partner_id IS NOT NULL)"
        " OR (client_type IN ('WALLET', 'OPERATOR') AND platform_id IS NULL AND partner_id IS NULL)",
        name="clients_belong",
    ),
)

_software_statements = Table(
    "software_statements",
    METADATA,
    Column("iss", String(200), primary_key=True),
    Column("jti", String(64), primary_key=True),
    Column("client_id", String(64), nullable=False),  # no foreign key: outlives its client, so it can't be used again
)

_keys = Table(
    "keys",
    METADATA,
    Column("key_id", Integer, primary_key=True),
    Column("use", String(16), nullable=False),
    Column("material", LargeBinary, nullable=False),  # sealed under the key-encryption key
    Column("create_time", BigInteger, nullable=False),
)

_SELECT_CLIENT = (
    select(
        _clients,
        func.coalesce(_partners.c.epoch, 0).label("partner_epoch"),
        func.coalesce(_platforms.c.epoch, 0).label("platform_epoch"),
    )
    .outerjoin(_partners, _clients.c.partner_id == _partners.c.partner_id)
    .outerjoin(_platforms, _clients.c.platform_id == _platforms.c.platform_id)
    .where(_clients.c.client_id == bind("client_id"))
)
_INSERT_CLIENT = insert(_clients)
_SET_SECRET = (
    update(_clients)
    .where(_clients.c.client_id == bind("id"))
    .values(secret_digest=bind("digest"), epoch=_clients.c.epoch + 1)
)
_SELECT_PLATFORM_SCOPE = select(_platforms.c.scope).where(_platforms.c.platform_id == bind("platform_id"))
_INSERT_PLATFORM = insert(_platforms)
_SELECT_PARTNER_PLATFORM = select(_partners.c.platform_id).where(_partners.c.partner_id == bind("partner_id"))
_INSERT_PARTNER = insert(_partners)
_SELECT_STATEMENT_CLIENT = select(_software_statements.c.client_id).where(
    _software_statements.c.iss == bind("iss"), _software_statements.c.jti == bind("jti")
)
_INSERT_STATEMENT = insert(_software_statements)

_SELECT_KEY = select(_keys).where(_keys.c.use == bind("use"))
_INSERT_KEY = insert(_keys).returning(_keys.c.key_id)


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
        secret_digest: What is stored of its secret.
        create_time: When its id was issued, in milliseconds since the epoch.

    """

    client_id: str
    client_type: ClientType
    client_name: str
    platform_id: str
    partner_id: str
    scopes: frozenset[str]
    epochs: Epochs
    secret_digest: bytes
    create_time: int


def find_client(connection: Connection, client_id: str) -> Client | None:
    """Return a client, by its id; None if there is none."""
    if "\0" in client_id:  # PostgreSQL takes no such text, not even to look for it
        return None
    row = connection.execute(_SELECT_CLIENT, {"client_id": client_id}).one_or_none()
    return _client(row) if row else None


def add_client(connection: Connection, client: Client) -> None:
    """Add a client. Its platform and its partner must be there."""
    row = {
        "client_id": client.client_id,
        "client_type": client.client_type.value,
        "client_name": client.client_name,
        "platform_id": client.platform_id or None,
        "partner_id": client.partner_id or None,
        "scope": format_scope(client.scopes),
        "epoch": client.epochs.client,
        "secret_digest": client.secret_digest,
        "create_time": client.create_time,
    }
    connection.execute(_INSERT_CLIENT, row)


def replace_secret(connection: Connection, client_id: str, digest: bytes) -> None:
    """Replace what is stored of a client's secret, and raise its epoch, which ends its tokens."""
    connection.execute(_SET_SECRET, {"id": client_id, "digest": digest})


def find_platform_ceiling(connection: Connection, platform_id: str) -> frozenset[str] | None:
    """Return the scopes that a platform's partners may have; None if there is no such platform."""
    scope = connection.execute(_SELECT_PLATFORM_SCOPE, {"platform_id": platform_id}).scalar_one_or_none()
    return None if scope is None else parse_scope(scope)


def add_platform(connection: Connection, platform_id: str, ceiling: frozenset[str], now_ms: int) -> None:
    """Add a platform."""
    row = {"platform_id": platform_id, "scope": format_scope(ceiling), "epoch": 0, "create_time": now_ms}
    connection.execute(_INSERT_PLATFORM, row)


def find_partner_platform(connection: Connection, partner_id: str) -> str | None:
    """Return the platform that a partner belongs to; None if the partner is not known here."""
    return connection.execute(_SELECT_PARTNER_PLATFORM, {"partner_id": partner_id}).scalar_one_or_none()


def add_partner(connection: Connection, partner_id: str, platform_id: str, now_ms: int) -> None:
    """Add a partner."""
    row = {"partner_id": partner_id, "platform_id": platform_id, "epoch": 0, "create_time": now_ms}
    connection.execute(_INSERT_PARTNER, row)


def find_statement_client(connection: Connection, iss: str, jti: str) -> str | None:
    """Return the id of the client that a software statement registered; None if it was not used."""
    return connection.execute(_SELECT_STATEMENT_CLIENT, {"iss": iss, "jti": jti}).scalar_one_or_none()


def add_statement(connection: Connection, iss: str, jti: str, client_id: str) -> None:
    """Record that a software statement registered a client."""
    connection.execute(_INSERT_STATEMENT, {"iss": iss, "jti": jti, "client_id": client_id})


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key as it lies in the database.

    Attributes:
        key_id: Its id.
        material: The key, sealed under the key-encryption key.

    """

    key_id: int
    material: bytes


def find_key(connection: Connection, use: str) -> StoredKey | None:
    """Return the key for a use, `signing` or `sealing`."""
    row = connection.execute(_SELECT_KEY, {"use": use}).one_or_none()
    return StoredKey(row.key_id, row.material) if row else None


def add_key(connection: Connection, use: str, material: bytes, now_ms: int) -> StoredKey:
    """Add a key, and return it with the id that it got."""
    key_id = connection.execute(_INSERT_KEY, {"use": use, "material": material, "create_time": now_ms}).scalar_one()
    return StoredKey(key_id, material)


def _client(row: Row[tuple[object, ...]]) -> Client:
    return Client(
        client_id=row.client_id,
        client_type=ClientType(row.client_type),
        client_name=row.client_name,
        platform_id=row.platform_id or "",
        partner_id=row.partner_id or "",
        scopes=parse_scope(row.scope),
        epochs=Epochs(row.epoch, row.partner_epoch, row.platform_epoch),
        secret_digest=row.secret_digest,
        create_time=row.create_time,
    )
