import pytest
from google.protobuf.message import Message
from sqlalchemy import Connection, MetaData

from mesh.errors import Code
from mesh.storage.database import Database
from mesh.storage.idempotency import IdempotencyTable, RequestIdReused
from sekisho.auth.v1 import client_registration_service_pb2 as pb

METADATA = MetaData()
TABLE = IdempotencyTable(METADATA)
REQUEST = pb.GetClientRequest(client_id="cli_1")


class Effects:
    """Counts the effects, and gives each a different answer."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.had = 0
        database.run_here(METADATA.create_all)

    def once(self, request: Message = REQUEST, owner: str = "shops", request_id: str = "12345678") -> pb.Client:
        def effect() -> pb.Client:
            self.had += 1
            return pb.Client(client_id=f"cli_{self.had}")

        def work(connection: Connection) -> pb.Client:
            return TABLE.once(
                connection, owner=owner, request_id=request_id, request=request, answer=pb.Client, effect=effect
            )

        return self.database.run_here(work)


@pytest.fixture
def effects(database: Database) -> Effects:
    return Effects(database)


def test_the_same_request_again_gets_the_same_answer_and_has_no_second_effect(effects: Effects) -> None:
    assert effects.once() == effects.once() == pb.Client(client_id="cli_1")
    assert effects.had == 1


def test_an_empty_answer_is_remembered_too(effects: Effects, database: Database) -> None:
    had = []

    def work(connection: Connection) -> pb.Client:
        def effect() -> pb.Client:
            had.append(1)
            return pb.Client()

        return TABLE.once(connection, owner="a", request_id="empty", request=REQUEST, answer=pb.Client, effect=effect)

    assert database.run_here(work) == database.run_here(work) == pb.Client()
    assert len(had) == 1
    assert effects.had == 0


def test_another_body_under_the_same_id_is_refused_without_an_effect(effects: Effects) -> None:
    effects.once()
    for other in (pb.GetClientRequest(client_id="cli_2"), pb.GetClientRequest()):
        with pytest.raises(RequestIdReused) as caught:
            effects.once(other)
        assert caught.value.code is Code.ALREADY_EXISTS
    assert effects.had == 1


def test_a_field_that_this_version_does_not_know_makes_another_body(effects: Effects) -> None:
    effects.once()
    with pytest.raises(RequestIdReused):
        effects.once(pb.GetClientRequest.FromString(REQUEST.SerializeToString() + b"\x98\x06\x01"))


def test_the_same_bytes_to_another_method_are_refused(effects: Effects) -> None:
    twin = pb.RotateClientSecretRequest(client_id="cli_1")
    assert twin.SerializeToString() == REQUEST.SerializeToString()
    effects.once()
    with pytest.raises(RequestIdReused):
        effects.once(twin)


def test_another_owner_has_ids_of_its_own(effects: Effects) -> None:
    assert effects.once(owner="shops") != effects.once(owner="stalls")
    assert effects.had == 2


def test_owner_and_id_are_not_run_together(effects: Effects) -> None:
    effects.once(owner="a", request_id="bc")
    effects.once(owner="ab", request_id="c")
    assert effects.had == 2


def test_another_id_is_another_request(effects: Effects) -> None:
    assert effects.once(request_id="12345678") != effects.once(request_id="12345679")


def test_an_effect_that_failed_is_forgotten_with_its_transaction(effects: Effects, database: Database) -> None:
    def fail() -> pb.Client:
        raise ZeroDivisionError

    def work(connection: Connection) -> pb.Client:
        return TABLE.once(
            connection, owner="shops", request_id="12345678", request=REQUEST, answer=pb.Client, effect=fail
        )

    with pytest.raises(ZeroDivisionError):
        database.run_here(work)
    assert effects.once() == pb.Client(client_id="cli_1")


def test_an_effect_whose_unit_of_work_fails_later_is_forgotten_too(effects: Effects, database: Database) -> None:
    def work(connection: Connection) -> None:
        TABLE.once(
            connection, owner="shops", request_id="12345678", request=REQUEST, answer=pb.Client, effect=pb.Client
        )
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        database.run_here(work)
    assert effects.once() == pb.Client(client_id="cli_1")
