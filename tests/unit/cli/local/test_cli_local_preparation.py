import hmac
import json
import socket
import stat
from dataclasses import astuple
from pathlib import Path

import pytest
import yaml
from sqlalchemy import Connection, text

from authserver.clients.store.clients import find_client
from authserver.config import AuthServerConfig
from authserver.installation import read_installation
from cli.home import Home, read_credentials
from cli.local.configurations import Ports
from cli.local.preparation import prepare, scopes_of
from mesh.access.descriptors import own_contracts, read_methods
from mesh.access.rules import ALL_CLIENT_TYPES, ClientType
from mesh.config import ConfigError, load
from mesh.storage.database import Database
from payments.config import PaymentsConfig
from policy.routes import compile_routes
from policy.sources.gateway_config import GatewayConfig
from shops.config import ShopsConfig
from tests.databases import upgrade_to


def test_ports_follow_the_gateways() -> None:
    assert Ports.choose(7443) == Ports(
        gateway=7443, shops=7444, authserver=7445, payments=7446, http=7447, checkpoint=7448, envoy_admin=7449
    )
    assert Ports.choose(7443, 3).metrics == (7448, 7449, 7450)


def test_free_ports_differ_and_are_kept_for_the_servers_that_name_them() -> None:
    chosen = Ports.choose(0, 3)
    ports = (*astuple(chosen)[:5], *chosen.metrics)
    assert len(set(ports)) == 8
    for port in ports:
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do, gRPC's own too
            server.bind(("127.0.0.1", port))
            server.listen()


@pytest.mark.parametrize(
    ("client_type", "scopes"),
    [
        (ClientType.MASTER, "applications.read applications.write clients.read clients.write"),
        (ClientType.PARTNER, "payments.read payments.write"),
        (ClientType.WALLET, "wallets.read wallets.write"),
        (ClientType.OPERATOR, "ledger.read reviews.read reviews.write"),
    ],
)
def test_a_client_types_scopes_are_those_that_the_contracts_ask_it_for(client_type: ClientType, scopes: str) -> None:
    assert " ".join(sorted(scopes_of(client_type))) == scopes


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home.at(tmp_path_factory.mktemp("prepared"))
    prepare(home, Ports.choose(7443))
    return home


def test_what_is_written_is_what_each_service_reads(home: Home) -> None:
    load(home.config("authserver"), AuthServerConfig)
    load(home.config("payments"), PaymentsConfig)
    load(home.config("shops"), ShopsConfig)
    config = load(home.config("gateway"), GatewayConfig)
    methods = read_methods(own_contracts())
    routes = compile_routes(config, methods)
    behind = {path for path, method in methods.items() if method.rule and not path.startswith("/sekisho.shops.")}
    assert {path for path, route in routes.items() if route.reachable_by(ALL_CLIENT_TYPES)} == behind


def test_only_their_owner_can_read_the_secrets(home: Home) -> None:
    secrets = [file for file in home.path.rglob("*") if "key" in file.name or file.suffix == ".json"]
    secret = [file for file in secrets if file.name != "payments-statement-keys.json"]  # public keys
    assert len(secret) > 10
    assert {stat.S_IMODE(file.stat().st_mode) for file in secret} == {0o600}


def test_preparing_again_keeps_keys_and_clients_and_follows_the_ports(home: Home) -> None:
    kept = [file for file in home.path.rglob("*") if "key" in file.name or "credentials" in str(file)]
    before = {file: file.read_bytes() for file in kept if file.is_file() and home.pki not in file.parents}
    assert len(before) >= 8
    addresses = prepare(home, Ports.choose(8443))
    assert {file: file.read_bytes() for file in before} == before
    assert (addresses.gateway, addresses.shops) == ("127.0.0.1:8443", "127.0.0.1:8444")
    assert load(home.config("gateway"), GatewayConfig).listeners[0].server.listen == "127.0.0.1:8443"


def as_the_first_version_left_it(home: Home) -> None:
    """Undo what came later: more than one pepper, the audit log and its key, and the tables that go with them."""
    folder = home.folder("authserver")
    (folder / "audit-key").unlink()
    config = yaml.safe_load(home.config("authserver").read_text())
    del config["peppers"], config["audit_key"]
    home.config("authserver").write_text(yaml.safe_dump({**config, "pepper": "pepper"}))
    for file in folder.glob("database.db*"):
        file.unlink()
    database = Database(home.database("authserver"))
    pepper = (folder / "pepper").read_bytes()

    def fill(connection: Connection) -> None:
        upgrade_to(connection, "authserver", "0001")
        connection.execute(text("INSERT INTO platforms VALUES ('shops', 'payments.read payments.write', 0, 1)"))
        insert = text("INSERT INTO clients VALUES (:id, :type, 'x', :platform, NULL, 'clients.read', 0, :digest, 1)")
        for file, client_type, platform in (
            (home.folder("shops") / "master-credentials.json", "MASTER", "shops"),
            (home.credentials / "operator.json", "OPERATOR", None),
            (home.credentials / "wallet.json", "WALLET", None),
        ):
            client_id, secret = read_credentials(file)
            digest = hmac.digest(pepper, secret.encode(), "sha256")
            values = {"id": client_id, "type": client_type, "platform": platform, "digest": digest}
            connection.execute(insert, values)

    database.run_here(fill)
    database.close()


def test_a_home_of_the_first_version_goes_on_with_its_clients(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    prepare(home, Ports.choose(7443))
    as_the_first_version_left_it(home)
    before = {file: file.read_bytes() for file in home.path.rglob("*.json")}
    pepper = (home.folder("authserver") / "pepper").read_bytes()
    addresses = prepare(home, Ports.choose(7443))
    assert {file: file.read_bytes() for file in before} == before
    assert (home.folder("authserver") / "pepper").read_bytes() == pepper
    config = load(home.config("authserver"), AuthServerConfig)
    peppers = read_installation(config).peppers
    database = Database(config.database)
    for file in (addresses.master_credentials, addresses.operator_credentials, addresses.wallet_credentials):
        client_id, secret = read_credentials(file)
        client = database.read_here(lambda connection, wanted=client_id: find_client(connection, wanted))
        assert client is not None
        assert peppers.matches(secret, client.secrets[0].digest)
    database.close()


def test_credentials_that_were_lost_are_made_anew(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    file = prepare(home, Ports.choose(7443)).operator_credentials
    lost, _ = read_credentials(file)
    file.unlink()
    prepare(home, Ports.choose(7443))
    assert read_credentials(file)[0] != lost


def test_damaged_credentials_are_not_overwritten(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    file = prepare(home, Ports.choose(7443)).operator_credentials
    for damaged in ("", "{", json.dumps({"client_id": "cli_1"})):
        file.write_text(damaged)
        with pytest.raises(ConfigError, match="damaged"):
            prepare(home, Ports.choose(7443))
        assert file.read_text() == damaged
