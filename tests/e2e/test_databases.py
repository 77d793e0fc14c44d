"""What becomes of a mesh whose database is not there, goes away, or is not the one it knows."""

import contextlib
import json
import resource
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, text

from cli.home import Home
from cli.local.configurations import MeshOptions, Ports
from cli.local.preparation import prepare
from sekisho.auth.v1 import token_service_pb2 as token_pb
from sekisho.payments.v1 import wallet_service_pb2 as wallet_pb
from tests.mesh import OK, Mesh, mesh_up, sekisho
from tests.postgresql import start_server
from tests.services import Services
from tests.waiting import until

UNAVAILABLE = ("UNAVAILABLE", "DATABASE_UNAVAILABLE")
PATIENCE_SECONDS = 60.0


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Any]:
    """Run a PostgreSQL server that the test may stop and start."""
    server = start_server(tmp_path / "postgresql")
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        for service in ("authserver", "payments", "shops"):
            connection.execute(f"CREATE DATABASE {service}")  # type: ignore[arg-type]
    yield server
    server.cleanup()


def open_wallet(mesh: Mesh, token: str) -> tuple[str, str]:
    request = wallet_pb.OpenWalletRequest(request_id=str(uuid.uuid4()), currency_code="JPY")
    return mesh.attempt(mesh.wallets.OpenWallet, request, token)


def take_token(mesh: Mesh) -> tuple[str, str]:
    client_id, client_secret = mesh.credentials("wallet")
    request = token_pb.IssueTokenRequest(
        grant_type="client_credentials", client_id=client_id, client_secret=client_secret
    )
    return mesh.attempt(mesh.tokens.IssueToken, request)


@pytest.mark.timeout(180)
def test_a_mesh_recovers_by_itself_when_its_database_comes_back(own_server: Any, tmp_path: Path) -> None:
    with mesh_up(tmp_path / "home", database=own_server.get_uri(database="{service}")) as mesh:
        token = mesh.token("wallet")
        assert open_wallet(mesh, token) == OK
        own_server.stop()
        until(lambda: open_wallet(mesh, token) == UNAVAILABLE)
        until(lambda: take_token(mesh) == UNAVAILABLE)  # once the auth server can't tell any more who is revoked
        own_server.start()
        until(lambda: open_wallet(mesh, token) == OK)
        until(lambda: take_token(mesh) == OK)


@pytest.mark.timeout(180)
def test_a_service_waits_for_a_database_that_is_not_there_yet(own_server: Any, tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    prepare(home, Ports.choose(0), MeshOptions(own_server.get_uri(database="{service}")))
    own_server.stop()
    command = [sys.executable, "-m", "authserver", "--config", str(home.config("authserver"))]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as service:
        assert service.stderr
        events = (json.loads(line)["event"] for line in service.stderr if line.startswith("{"))
        assert (
            next(event for event in events if event != "database") == "can't start without the database; trying again"
        )
        own_server.start()
        assert "started" in events
        service.terminate()
        assert service.wait(PATIENCE_SECONDS) == 0


def test_a_service_refuses_a_schema_newer_than_its_own(database_url: str) -> None:
    assert sekisho("migrate", "payments", "--database", database_url).returncode == 0
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    checked = sekisho("ledger", "check", "--database", database_url)
    again = sekisho("migrate", "payments", "--database", database_url)
    for refused in (checked, again):
        assert refused.returncode == 2
        assert "the database has the schema 9999, which this version does not know" in refused.stderr


@pytest.mark.timeout(180)
def test_a_database_locked_by_another_process_makes_calls_wait_and_then_fail(tmp_path: Path) -> None:
    with mesh_up(tmp_path / "home", database=f"sqlite:///{tmp_path}/{{service}}.db?timeout=0.5") as mesh:
        token = mesh.token("wallet")
        file = tmp_path / "payments.db"
        with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert open_wallet(mesh, token) == UNAVAILABLE
            other.execute("ROLLBACK")
        assert open_wallet(mesh, token) == OK


def test_on_a_full_disk_calls_that_write_are_refused_and_all_others_are_answered(tmp_path: Path) -> None:
    """No file of payments, its log included, can grow: as on a full disk, but for this process alone."""
    with Services(tmp_path / "home") as services:
        services.start("authserver", "payments", "gateway")
        with services.mesh() as mesh:
            token, wallet_id = mesh.token("wallet"), mesh.wallet(500)
            read = wallet_pb.GetWalletRequest(wallet_id=wallet_id)
            before = services.home.log("payments").read_bytes()
            services.limit_files("payments", len(before))
            for _ in range(20):
                assert open_wallet(mesh, token) == UNAVAILABLE
                assert mesh.attempt(mesh.wallets.GetWallet, read, token) == OK
            services.limit_files("payments", resource.RLIM_INFINITY)
            assert open_wallet(mesh, token) == OK
            log = services.home.log("payments")
            until(lambda: b"OpenWallet" in log.read_bytes()[len(before) :])
            lines = log.read_bytes()[len(before) :].splitlines()
            assert all(json.loads(line)["service"] == "payments" for line in lines)
