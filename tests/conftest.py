"""What tests of every kind share."""

from collections.abc import Iterator

import pytest
import structlog

from tests.mesh import Mesh, mesh_up

# Servers on threads of a test's own would print their logs between the results.
structlog.configure(logger_factory=structlog.ReturnLoggerFactory())


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """Run one mesh for all tests that only call it."""
    with mesh_up(tmp_path_factory.mktemp("mesh") / "home") as running:
        yield running
