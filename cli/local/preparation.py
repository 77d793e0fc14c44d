"""Makes a home ready to run: certificates, keys, configurations, schemas, and the first clients."""

import json
import time
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import Connection

from authserver.clients.provision import Provisioner, provision_master, provision_staff
from authserver.clients.register import Credentials
from authserver.clients.store.clients import find_client
from authserver.clients.store.platforms import Platform
from authserver.config import AuthServerConfig
from authserver.installation import read_installation
from authserver.tables import MAX_CLIENTS
from cli.authserver.database import operator
from cli.home import Home, MeshAddresses, read_credentials
from cli.local.configurations import HOST, MeshOptions, Plane, Ports, configurations
from cli.local.envoy import render_for
from mesh.access.descriptors import own_contracts, read_methods
from mesh.access.rules import ClientType
from mesh.config import ConfigError, load
from mesh.security import pki, signed_jwt
from mesh.security.secret_files import create_key, write_private
from mesh.storage import migrations
from mesh.storage.database import Database
from mesh.timestamps import to_ms

MIGRATED = ("authserver", "payments", "shops")

_PLATFORM_ID = "shops"


def prepare(home: Home, ports: Ports, options: MeshOptions | None = None) -> MeshAddresses:
    """Write all that the services need under the home, keeping keys, databases and credentials that are there.

    Args:
        home: Where to write.
        ports: Where the services will listen.
        options: How they will run.

    Raises:
        ConfigError: If a database is newer than this version.
        DatabaseUnavailable: If one can't be reached.

    """
    for folder in (home.pki, home.logs, home.credentials, *map(home.folder, ("gateway", *MIGRATED))):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _issue_certificates(home)
    _create_keys(home)
    for service, config in configurations(home, ports, options or MeshOptions()).items():
        text = "# Written by `sekisho up`, anew at each start.\n" + yaml.safe_dump(config, sort_keys=False)
        (home.folder(service) / "config.yaml").write_text(text)
    if options and options.plane is Plane.ENVOY:
        render_for(home)
    for service in MIGRATED:
        migrate(service, home.database(service))
    addresses = MeshAddresses(
        gateway=f"{HOST}:{ports.gateway}",
        shops=f"{HOST}:{ports.shops}",
        oauth=ports.http_url,
        ca=home.pki / "public-ca.pem",
        master_credentials=home.folder("shops") / "master-credentials.json",
        operator_credentials=home.credentials / "operator.json",
        wallet_credentials=home.credentials / "wallet.json",
        logs=home.logs,
    )
    _provision(home, addresses)
    return addresses


def migrate(service: str, url: str) -> list[str]:
    """Bring a service's database to the current schema; return the names of the migrations that ran."""
    database = Database(url)
    try:
        return database.run_here(lambda connection: migrations.upgrade(connection, service))
    finally:
        database.close()


def scopes_of(client_type: ClientType) -> frozenset[str]:
    """Return all scopes that the contracts ask clients of a type for."""
    rules = (method.rule for method in read_methods(own_contracts()).values() if method.rule)
    return frozenset().union(*(rule.scopes for rule in rules if client_type in rule.client_types))


def provisioner(config: AuthServerConfig) -> Provisioner:
    """Return what provisioning takes, for the person at the command line.

    Raises:
        ConfigError: If a file that the configuration names can't be read.

    """
    installation = read_installation(config)
    return Provisioner(installation.peppers, installation.trail, operator(), to_ms(time.time()))


def write_credentials(file: Path, credentials: Credentials) -> None:
    """Write a client's credentials to a file that only its owner can read; without a secret, if it has none."""
    secret = {"client_secret": credentials.client_secret} if credentials.client_secret else {}
    content = {"client_id": credentials.client.client_id, **secret}
    write_private(file, json.dumps(content).encode())


def _issue_certificates(home: Home) -> None:
    workloads = pki.create_authority(home.pki, "workload-ca")
    for workload in ("gateway", "authserver", "payments", "supervisor"):
        pki.issue_workload(workloads, home.pki, workload)
    public = pki.create_authority(home.pki, "public-ca")
    for endpoint in ("gateway-public", "shops-public", "authserver-public"):
        pki.issue_public(public, home.pki, endpoint)


def _create_keys(home: Home) -> None:
    for key in ("key-encryption-key", "pepper", "audit-key"):
        create_key(home.folder("authserver") / key)
    for key in ("sealing-key", "token-key"):
        create_key(home.folder("shops") / key)
    statement_key = home.folder("payments") / "statement-key.pem"
    if not statement_key.exists():
        write_private(statement_key, signed_jwt.create_pem())
    jwk = signed_jwt.SigningKey.from_pem(statement_key.read_bytes()).public_jwk()
    (home.folder("authserver") / "payments-statement-keys.json").write_text(json.dumps({"keys": [jwk]}))


def _provision(home: Home, addresses: MeshAddresses) -> None:
    by = provisioner(load(home.config("authserver"), AuthServerConfig))

    def master(connection: Connection) -> Credentials:
        platform = Platform(scopes_of(ClientType.PARTNER), MAX_CLIENTS)
        return provision_master(connection, by, _PLATFORM_ID, platform, scopes_of(ClientType.MASTER))

    def staff(client_type: ClientType, name: str) -> Any:  # noqa: ANN401
        return lambda connection: provision_staff(connection, by, client_type, name, scopes_of(client_type))

    wanted = {
        addresses.master_credentials: master,
        addresses.operator_credentials: staff(ClientType.OPERATOR, "operator"),
        addresses.wallet_credentials: staff(ClientType.WALLET, "wallet application"),
    }
    database = Database(home.database("authserver"))

    def provision(connection: Connection) -> None:
        for file, create in wanted.items():
            if not _is_provisioned(connection, file):
                # Before the commit: a crash in between leaves a file that works for nobody, which the next start mends.
                write_credentials(file, create(connection))

    try:
        database.run_here(provision)
    finally:
        database.close()


def _is_provisioned(connection: Connection, file: Path) -> bool:
    try:
        client_id, _ = read_credentials(file)
    except FileNotFoundError:
        return False
    except (ValueError, KeyError) as error:
        raise ConfigError(f"{file} is damaged; restore it from a backup") from error
    return find_client(connection, client_id) is not None
