import tracemalloc

import pytest

from authserver.audit.store import StoredLine, read_all
from authserver.clients.refusals import Refusals
from mesh.storage.database import DatabaseUnavailable
from tests.unit.authserver.company import Company


def refusals(burst: int = 3) -> Refusals:
    return Refusals(burst, 6, clock=lambda: 1000.0)


def test_failures_of_one_client_are_throttled_wherever_they_come_from() -> None:
    noted = refusals()
    assert [noted.note("cli_1", f"10.0.0.{number}") for number in range(4)] == [0, 0, 0, 6]
    assert noted.note("cli_2", "10.0.0.9") == 0


def test_failures_from_one_address_are_throttled_whoever_they_are_of() -> None:
    noted = refusals()
    assert [noted.note(f"cli_{number}", "10.0.0.1") for number in range(4)] == [0, 0, 0, 6]
    assert noted.note("cli_9", "10.0.0.2") == 0


def test_a_throttled_address_uses_up_nothing_of_a_client() -> None:
    noted = refusals()
    for number in range(100):
        noted.note(f"cli_{number % 4}", "10.0.0.1")
    assert [noted.note("cli_3", "10.0.0.2") for _ in range(3)] == [0, 0, 0]


def test_one_network_of_ipv6_is_one_address() -> None:
    noted = refusals()
    assert [noted.note(f"cli_{number}", f"2001:db8::{number}") for number in range(4)] == [0, 0, 0, 6]
    assert noted.note("cli_9", "2001:db8:0:1::1") == 0


def test_long_ids_from_ever_new_addresses_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    for most in ("_MAX_KEYS", "_MAX_COUNTED"):
        monkeypatch.setattr(f"authserver.clients.refusals.{most}", 100)
    noted = refusals()
    tracemalloc.start()
    try:
        for number in range(5000):
            noted.note(f"{number}{'x' * 10_000}", f"2001:db8:{number:x}::1")
        assert tracemalloc.get_traced_memory()[0] < 300_000  # each thing kept of all would be a megabyte at least
    finally:
        tracemalloc.stop()


def counted(company: Company) -> list[dict[str, str]]:
    lines: list[StoredLine] = company.database.read_here(lambda connection: list(read_all(connection)))
    return [dict(each.line.details) for each in lines if each.line.action == "client_authentication.refused"]


async def test_failures_are_counted_in_one_line_and_nothing_where_there_are_none(company: Company) -> None:
    noted = refusals()
    for number in range(7):
        noted.note(f"cli_{number % 2}", "10.0.0.1")
    for _ in range(2):
        await noted.write(company.database, company.trail)
    assert counted(company) == [{"count": "7", "client_ids": "2", "addresses": "1"}]


async def test_more_than_can_be_told_apart_are_counted_so(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("authserver.clients.refusals._MAX_COUNTED", 10)
    noted = refusals()
    for number in range(20):
        noted.note(f"cli_{number}", "10.0.0.1")
    await noted.write(company.database, company.trail)
    assert counted(company) == [{"count": "20", "client_ids": "10 or more", "addresses": "1"}]


async def test_failures_that_could_not_be_written_are_counted_the_next_time(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = refusals()
    noted.note("cli_1", "10.0.0.1")

    async def unavailable(_work: object) -> None:
        noted.note("cli_2", "10.0.0.2")  # meanwhile
        raise DatabaseUnavailable("not there")

    with monkeypatch.context() as patched:
        patched.setattr(company.database, "run", unavailable)
        with pytest.raises(DatabaseUnavailable):
            await noted.write(company.database, company.trail)
    await noted.write(company.database, company.trail)
    assert counted(company) == [{"count": "2", "client_ids": "2", "addresses": "2"}]
