import json
import socket
import stat
from dataclasses import astuple
from pathlib import Path

import pytest

from authserver.config import AuthServerConfig
from cli.configurations import Ports
from cli.home import Home, read_credentials
from cli.preparation import prepare, scopes_of
from gateway.config import GatewayConfig
from gateway.policy import compile_routes
from mesh.access.descriptors import own_contracts, read_methods
from mesh.access.rules import ALL_CLIENT_TYPES, ClientType
from mesh.config import ConfigError, load
from payments.config import PaymentsConfig
from shops.config import ShopsConfig


def test_ports_follow_the_gateways() -> None:
    assert Ports.choose(7443) == Ports(gateway=7443, shops=7444, authserver=7445, payments=7446)


def test_free_ports_differ_and_can_be_taken() -> None:
    ports = astuple(Ports.choose(0))
    assert len(set(ports)) == 4
    for port in ports:
        with socket.socket() as free:
            free.bind(("127.0.0.1", port))


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
