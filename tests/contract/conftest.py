"""A gateway with several listeners, in front of the mesh's own backends."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import grpc
import pytest
import yaml

from cli.local.configurations import Ports
from mesh.access.rules import ALL_CLIENT_TYPES, ClientType
from tests.mesh import Mesh

LISTENERS: Mapping[str, frozenset[ClientType]] = {
    "everybody": ALL_CLIENT_TYPES,
    "partners": frozenset({ClientType.MASTER, ClientType.PARTNER}),
    "staff": frozenset({ClientType.OPERATOR}),
    "app": frozenset({ClientType.WALLET}),
}


@dataclass(frozen=True)
class Doors:
    """The listeners' channels, and a token of each client type."""

    channels: Mapping[str, grpc.Channel]
    tokens: Mapping[ClientType | None, str | None]


@pytest.fixture(scope="session")
def doors(mesh: Mesh, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    config = yaml.safe_load(mesh.home.config("gateway").read_text())
    server = config["listeners"][0]["server"]
    free = Ports.choose(0)
    ports = dict(zip(LISTENERS, (free.gateway, free.shops, free.authserver, free.payments), strict=True))
    config["listeners"] = [
        {
            "name": name,
            "server": {**server, "listen": f"127.0.0.1:{ports[name]}"},
            "client_types": sorted(map(str, who)),
        }
        for name, who in LISTENERS.items()
    ]
    folder = tmp_path_factory.mktemp("doors")
    (folder / "gateway.yaml").write_text(yaml.safe_dump(config))
    with (
        (folder / "gateway.log").open("wb") as log,
        subprocess.Popen([sys.executable, "-m", "gateway", "--config", folder / "gateway.yaml"], stderr=log) as gateway,
    ):
        channels = {name: mesh.channel(f"127.0.0.1:{port}") for name, port in ports.items()}
        for channel in channels.values():
            grpc.channel_ready_future(channel).result(timeout=30)
        yield Doors(channels, _tokens(mesh))
        for channel in channels.values():
            channel.close()
        gateway.terminate()
        assert gateway.wait(timeout=30) == 0


def _tokens(mesh: Mesh) -> Mapping[ClientType | None, str | None]:
    tenant = mesh.tenant()
    return {
        None: None,
        ClientType.MASTER: mesh.token("master"),
        ClientType.PARTNER: mesh.token_of(tenant.client_id, tenant.client_secret),
        ClientType.WALLET: mesh.token("wallet"),
        ClientType.OPERATOR: mesh.token("operator"),
    }
