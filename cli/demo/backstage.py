"""What the story can't get by calling: made beside the auth server's database, by whoever owns the machine."""

import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection

from authserver.access_tokens import AccessToken, TokenSealer
from authserver.clients.provision import provision_master
from authserver.clients.store.clients import find_client
from authserver.clients.store.platforms import Platform
from authserver.config import AuthServerConfig
from authserver.installation import read_installation
from authserver.keys.schedule import Use
from authserver.keys.store import list_keys
from cli.home import Home, read_credentials
from cli.local.preparation import provisioner, scopes_of, write_credentials
from mesh.access.rules import Caller, ClientType
from mesh.config import load
from mesh.storage.database import Database

T = TypeVar("T")


def provision_rival(home: Home, file: Path) -> None:
    """Add another platform, and write its Master Client's credentials to a file."""
    config = load(home.config("authserver"), AuthServerConfig)

    def provision(connection: Connection) -> None:
        rival = f"rival-{secrets.token_hex(4)}"
        platform = Platform(scopes_of(ClientType.PARTNER), max_clients=100)
        credentials = provision_master(connection, provisioner(config), rival, platform, scopes_of(ClientType.MASTER))
        write_credentials(file, credentials)

    _run(config, provision)


def expired_token(home: Home, credentials: Path) -> str:
    """Return a token as a client took it an hour ago: genuine, and expired."""
    config = load(home.config("authserver"), AuthServerConfig)
    client_id, _ = read_credentials(credentials)
    now = int(time.time())

    encryption = read_installation(config).key_encryption

    def seal(connection: Connection) -> str:
        key = next(key for key in list_keys(connection) if key.use == Use.SEALING)
        key_id = key.times.key_id
        sealer = TokenSealer({key_id: encryption.unseal(key.material, key.use)}, key_id)
        client = find_client(connection, client_id)
        if client is None:
            raise LookupError(f"{credentials} belongs to no client of this mesh")
        caller = Caller(client.client_id, client.client_type, client.platform_id, client.partner_id, client.scopes)
        return sealer.seal(AccessToken(caller, secrets.token_hex(12), now - 3600, client.epochs))

    return _run(config, seal)


def _run(config: AuthServerConfig, work: Callable[[Connection], T]) -> T:
    database = Database(config.database)
    try:
        return database.run_here(work)
    finally:
        database.close()
