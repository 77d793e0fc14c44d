"""What the story can't get by calling: made beside the auth server's database, by whoever owns the machine."""

import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection

from authserver.access_tokens import AccessToken
from authserver.config import AuthServerConfig
from authserver.key_ring import load_key_ring
from authserver.provision_client import provision_master
from authserver.store import find_client
from cli.home import Home, read_credentials
from cli.preparation import scopes_of, write_credentials
from mesh.access.rules import Caller, ClientType
from mesh.config import load
from mesh.database import Database
from mesh.secret_files import read_key
from mesh.timestamps import to_ms

T = TypeVar("T")


def provision_rival(home: Home, file: Path) -> None:
    """Add another platform, and write its Master Client's credentials to a file."""
    config = load(home.config("authserver"), AuthServerConfig)

    def provision(connection: Connection) -> None:
        credentials = provision_master(
            connection,
            read_key(config.pepper),
            f"rival-{secrets.token_hex(4)}",
            scopes=scopes_of(ClientType.MASTER),
            ceiling=scopes_of(ClientType.PARTNER),
            now_ms=to_ms(time.time()),
        )
        write_credentials(file, credentials)

    _run(config, provision)


def expired_token(home: Home, credentials: Path) -> str:
    """Return a token as a client took it an hour ago: genuine, and expired."""
    config = load(home.config("authserver"), AuthServerConfig)
    client_id, _ = read_credentials(credentials)
    now = int(time.time())

    def seal(connection: Connection) -> str:
        key_ring = load_key_ring(connection, read_key(config.key_encryption_key), to_ms(now))
        client = find_client(connection, client_id)
        if client is None:
            raise LookupError(f"{credentials} belongs to no client of this mesh")
        caller = Caller(client.client_id, client.client_type, client.platform_id, client.partner_id, client.scopes)
        return key_ring.sealer.seal(AccessToken(caller, secrets.token_hex(12), now - 3600, client.epochs))

    return _run(config, seal)


def _run(config: AuthServerConfig, work: Callable[[Connection], T]) -> T:
    database = Database(config.database)
    try:
        return database.run_here(work)
    finally:
        database.close()
