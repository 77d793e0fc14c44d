"""What tests of every kind share."""

import itertools
import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.fuzz.effort import MINUTES
from tests.mesh import Mesh, mesh_up
from tests.migrated import migrated_sqlite
from tests.postgresql import PostgreSQL, postgresql_up

pytest_plugins = ["tests.known_options", "tests.leftovers"]

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
    """Run one mesh on each kind of database, for tests that only call it and come to what is kept.

    On PostgreSQL its services may not create tables.
    """
    if request.param == "sqlite":
        yield request.getfixturevalue("mesh_on_sqlite")
        return
    server: PostgreSQL = request.getfixturevalue("postgresql")
    for service in ("authserver", "payments", "shops"):
        url = server.for_worker(server.create(f"mesh_{service}", service))
    database = url.replace("mesh_shops", "mesh_{service}")
    with mesh_up(tmp_path_factory.mktemp("mesh") / "home", database=database) as running:
        yield running


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    """Run a real PostgreSQL server."""
    with postgresql_up(tmp_path_factory.mktemp("postgresql")) as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_url(postgresql: PostgreSQL) -> Callable[..., str]:
    """Return what makes a fresh database on a real PostgreSQL server and gives its URL."""
    return postgresql.create


# Of one test on PostgreSQL. A model takes one for each of its stories, which are told one after another.
_MAX_DATABASES = 20


@pytest.fixture(params=["sqlite", "postgresql"])
def new_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Return what makes fresh databases and gives their URLs: empty ones, or with the tables of the service it is told.

    The test runs once on each kind.
    """
    numbers, made = itertools.count(1), list[str]()

    def on_sqlite(service: str = "") -> str:
        file = tmp_path / f"database-{next(numbers)}.db"
        return migrated_sqlite(file, service) if service else f"sqlite:///{file}"

    if request.param == "sqlite":
        yield on_sqlite
        return
    server: PostgreSQL = request.getfixturevalue("postgresql")

    def on_postgresql(service: str = "") -> str:
        if len(made) == _MAX_DATABASES:
            server.give_up(made.pop(0))
        made.append(server.create(service=service))
        return made[-1]

    yield on_postgresql
    for url in made:
        server.give_up(url)


@pytest.fixture
def database_url(new_database_url: Callable[[], str]) -> str:
    """Return the URL of a fresh empty database; the test runs once on each kind."""
    return new_database_url()
