"""Submitting, deciding on and reading applications, on a real database."""

import pytest

from mesh.ids import new_id
from mesh.security.signed_jwt import SigningKey, create_pem, public_keys, verify
from mesh.serving.paging import Page
from payments.application_states import (
    Application,
    ApplicationAlreadyDecided,
    ApplicationNotFound,
    ApplicationState,
)
from payments.applications import get_application, submit_application
from payments.review import approve_application, reject_application
from payments.software_statements import StatementSigner
from payments.store.applications import list_applications, list_pending_applications
from tests.unit.payments.payments_world import MERCHANT, NOW, World

SIGNER = StatementSigner(SigningKey.from_pem(create_pem()), "https://payments.test", "https://auth.test")
NOW_SECONDS = NOW / 1000


def submit(world: World, platform_id: str = "plt_shops") -> Application:
    return world.run(lambda connection: submit_application(connection, platform_id, MERCHANT, now=NOW, new_id=new_id))


def approve(world: World, application: Application, reviewer: str = "cli_operator", now: int = NOW) -> Application:
    return world.run(
        lambda connection: approve_application(
            connection, application.application_id, reviewer=reviewer, now=now, new_id=new_id
        )
    )


def reject(world: World, application: Application, reason: str = "no such shop") -> Application:
    return world.run(
        lambda connection: reject_application(
            connection, application.application_id, reason, reviewer="cli_operator", now=NOW
        )
    )


def read(world: World, application: Application, platform_id: str = "plt_shops") -> tuple[Application, str]:
    return world.run(
        lambda connection: get_application(connection, platform_id, application.application_id, SIGNER, NOW_SECONDS)
    )


def test_a_new_application_waits_for_a_decision(world: World) -> None:
    application = submit(world)
    assert application.state is ApplicationState.PENDING
    assert read(world, application) == (application, "")


def test_an_approved_merchant_gets_a_partner_id_and_a_statement(world: World) -> None:
    application = approve(world, submit(world))
    assert application.state is ApplicationState.APPROVED
    assert (application.partner_id or "").startswith("ptn_")
    stored, statement = read(world, application)
    assert stored == application
    claims = verify(
        statement,
        public_keys({"keys": [SIGNER.key.public_jwk()]}),
        typ="software-statement+jwt",
        issuer="https://payments.test",
        audience="https://auth.test",
        now=NOW_SECONDS + 24 * 60 * 60 - 1,
    )
    assert (claims["jti"], claims["partner_id"], claims["platform_id"]) == (
        application.application_id,
        application.partner_id,
        "plt_shops",
    )


def test_approving_again_changes_nothing(world: World) -> None:
    application = approve(world, submit(world))
    before = world.everything()
    assert approve(world, application, reviewer="cli_other", now=NOW + 1) == application
    assert world.everything() == before


def test_rejecting_again_changes_nothing(world: World) -> None:
    application = reject(world, submit(world))
    before = world.everything()
    assert reject(world, application, "another reason") == application
    assert world.everything() == before
    assert read(world, application) == (application, "")


def test_the_opposite_decision_is_refused(world: World) -> None:
    approved, rejected = approve(world, submit(world)), reject(world, submit(world))
    world.assert_refused(ApplicationAlreadyDecided, lambda: reject(world, approved))
    world.assert_refused(ApplicationAlreadyDecided, lambda: approve(world, rejected))


def test_another_platforms_application_does_not_exist(world: World) -> None:
    application = submit(world)
    with pytest.raises(ApplicationNotFound):
        read(world, application, "plt_other")
    assert not world.run(lambda connection: list_applications(connection, "plt_other", Page(9, "")))


def test_an_application_that_is_not_there_is_not_found(world: World) -> None:
    missing = "app_00000000000000000000000000"
    world.assert_refused(
        ApplicationNotFound,
        lambda: world.run(
            lambda connection: approve_application(connection, missing, reviewer="x", now=NOW, new_id=new_id)
        ),
    )
    world.assert_refused(
        ApplicationNotFound,
        lambda: world.run(lambda connection: reject_application(connection, missing, "no", reviewer="x", now=NOW)),
    )


def test_a_platform_lists_its_own_the_newest_first(world: World) -> None:
    submit(world, "plt_other")
    made = sorted((submit(world, "plt_tea").application_id for _ in range(4)), reverse=True)
    first = world.run(lambda connection: list_applications(connection, "plt_tea", Page(2, "")))
    assert [application.application_id for application in first] == made[:3]
    rest = world.run(lambda connection: list_applications(connection, "plt_tea", Page(2, made[1])))
    assert [application.application_id for application in rest] == made[2:]


def test_operators_list_what_is_pending_the_oldest_first(world: World) -> None:
    made = sorted((submit(world, f"plt_{number}") for number in range(4)), key=lambda made: made.application_id)
    approve(world, made[1])
    reject(world, made[2])
    pending = world.run(lambda connection: list_pending_applications(connection, Page(9, "")))
    assert list(pending) == [made[0], made[3]]
    rest = world.run(lambda connection: list_pending_applications(connection, Page(9, made[0].application_id)))
    assert list(rest) == [made[3]]
