"""What tests of every kind share."""

from collections.abc import Iterator

import pytest

from tests.mesh import Mesh, mesh_up


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """Run one mesh for all tests that only call it."""
    with mesh_up(tmp_path_factory.mktemp("mesh") / "home") as running:
        yield running
