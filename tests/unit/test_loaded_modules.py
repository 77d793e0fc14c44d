"""What a process loads, and so how long it takes to start: seconds would differ from machine to machine."""

import subprocess
import sys

import pytest

SERVICES = {"authserver", "gateway", "payments", "shops"}
# What traces, changes schemas, and reads command lines.
IN_NO_SERVICE = {"alembic", "mako", "opentelemetry", "typer", "cli"}


def loaded_by(module: str) -> set[str]:
    """Return the packages that a process has loaded when it has imported a module."""
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return set(ran.stdout.split())


def test_the_command_line_loads_no_service_and_nothing_that_only_commands_need() -> None:
    heavy = {"alembic", "asyncio", "cryptography", "google", "grpc", "msgspec", "sekisho", "sqlalchemy", "structlog"}
    assert not loaded_by("cli.main") & {*SERVICES, *heavy}


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_a_service_loads_neither_another_one_nor_what_only_tools_need(service: str) -> None:
    assert not loaded_by(f"{service}.server") & {*IN_NO_SERVICE, *SERVICES - {service}}


def test_the_gateway_loads_no_database() -> None:
    assert "sqlalchemy" not in loaded_by("gateway.server")


@pytest.mark.parametrize("command", ["serve", "policy.table", "local.top"])
def test_a_command_that_has_no_use_for_a_database_loads_none(command: str) -> None:
    assert "sqlalchemy" not in loaded_by(f"cli.{command}")


@pytest.mark.parametrize("command", ["local.up", "local.prepare", "authserver.clients", "authserver.keys"])
def test_what_works_beside_the_auth_server_loads_no_other_service(command: str) -> None:
    assert not loaded_by(f"cli.{command}") & {"opentelemetry", "payments", "shops", "starlette"}
