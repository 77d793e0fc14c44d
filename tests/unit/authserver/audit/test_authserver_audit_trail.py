from collections.abc import Callable

import pytest
from sqlalchemy import Connection

from authserver.audit.chain import AuditLine
from authserver.audit.store import read_all
from authserver.clients.blocking import block, revoke, unblock
from authserver.declare_restored import Loss, declare_restored
from mesh.access.revocation import Subject
from tests.unit.authserver.company import Company, approval

OPERATOR = "operator:alice"


async def test_every_act_leaves_one_line_that_says_who_did_what_to_whom(company: Company) -> None:
    shop = company.register(statement=approval("app_0"))
    client_id, token = shop.client.client_id, await company.token(shop)
    master = f"client:{company.masters['shops'].client.client_id}"

    def acting(act: Callable[[Connection, Subject, str], None], holder: Subject, subject: str) -> Callable[[], object]:
        return lambda: company.run(lambda connection: act(connection, holder, subject))

    def blocking(connection: Connection, holder: Subject, subject: str) -> None:
        block(connection, company.trail, OPERATOR, holder, subject, company.now_ms)

    def unblocking(connection: Connection, holder: Subject, subject: str) -> None:
        unblock(connection, company.trail, OPERATOR, holder, subject)

    def revoking(connection: Connection, holder: Subject, subject: str) -> None:
        revoke(connection, company.trail, OPERATOR, holder, subject)

    def restored(connection: Connection) -> None:
        declare_restored(connection, company.trail, OPERATOR, Loss(1, 1, 1, 1), company.now_ms)

    subjects = {Subject.CLIENT: client_id, Subject.PARTNER: "ptr_1", Subject.PLATFORM: "shops"}
    acts: list[tuple[Callable[[], object], tuple[str, str, str | None]]] = [
        (lambda: company.add_platform("third"), ("operator:test", "client.provision", None)),
        (lambda: company.register(statement=approval("app_1")), (master, "client.register", None)),
        (lambda: company.revoke(client_id, token), (f"client:{client_id}", "token.revoke", None)),
        (
            lambda: company.update(client_id, name="Tea house", scope="payments.read"),
            (master, "client.update", client_id),
        ),
        *(
            (acting(act, holder, subject), (OPERATOR, f"{holder.lower()}.{name}", subject))
            for holder, subject in subjects.items()
            for name, act in (("block", blocking), ("unblock", unblocking), ("revoke_tokens", revoking))
        ),
        (
            lambda: company.rotate(client_id, old_expire_time=company.now_ms + 1000),
            (master, "client_secret.rotate", client_id),
        ),
        (lambda: company.rotate(client_id), (master, "client_secret.rotate", client_id)),
        (lambda: company.delete(client_id), (master, "client.delete", client_id)),
        (lambda: company.run(restored), (OPERATOR, "database.restored", "database")),
    ]
    for act, (actor, action, subject) in acts:
        before = len(lines(company))
        act()
        (line,) = lines(company)[before:]
        assert (line.actor, line.action, line.time) == (actor, action, company.now_ms)
        assert subject is None or line.subject == subject
    everything = repr(lines(company))
    assert shop.client_secret not in everything
    assert token not in everything


def lines(company: Company) -> list[AuditLine]:
    return company.database.read_here(lambda connection: [stored.line for stored in read_all(connection)])


def test_a_subject_as_long_as_a_stranger_likes_is_cut(company: Company) -> None:
    company.run(lambda connection: company.trail.record(connection, "authserver", "thing.do", "x" * 10_000))
    assert lines(company)[-1].subject == "x" * 200


def test_what_is_rolled_back_leaves_no_line(company: Company) -> None:
    before = lines(company)

    def fail(connection: Connection) -> None:
        company.trail.record(connection, "authserver", "thing.do", "thing")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        company.run(fail)
    assert lines(company) == before
