"""Partner applications and partners in the database."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update
from sqlalchemy import bindparam as bind

from mesh.serving.paging import Page
from payments.application_states import Application, ApplicationNotFound, ApplicationState
from payments.store.tables import AFTER_ALL_IDS, applications, partners

_c = applications.c

_INSERT = insert(applications)
_INSERT_PARTNER = insert(partners)
_FIND = select(applications).where(_c.application_id == bind("id"))
_FIND_LOCKED = _FIND.with_for_update()
_DECIDE = (
    update(applications)
    .where(_c.application_id == bind("id"))
    .values(
        state=bind("new_state"),
        partner_id=bind("new_partner_id"),
        rejection_reason=bind("new_reason"),
        reviewer=bind("new_reviewer"),
        decide_time=bind("new_time"),
    )
)
_LIST_OF_PLATFORM = (
    select(applications)
    .where(_c.platform_id == bind("platform"), _c.application_id < bind("before"))
    .order_by(_c.application_id.desc())
    .limit(bind("most"))
)
_LIST_IN_STATE = (
    select(applications)
    .where(_c.state == bind("wanted"), _c.application_id > bind("after"))
    .order_by(_c.application_id)
    .limit(bind("most"))
)


def insert_application(connection: Connection, application: Application) -> None:
    """Add a new application."""
    connection.execute(_INSERT, asdict(application))


def get_application(connection: Connection, application_id: str, *, lock: bool = False) -> Application:
    """Return an application, whosever it is; with `lock`, nobody else changes it until the transaction ends.

    Raises:
        ApplicationNotFound: If there is none.

    """
    row = connection.execute(_FIND_LOCKED if lock else _FIND, {"id": application_id}).one_or_none()
    if row is None:
        raise ApplicationNotFound("there is no such application")
    return _application(row)


def get_application_of_platform(connection: Connection, application_id: str, platform_id: str) -> Application:
    """Return a platform's application.

    Raises:
        ApplicationNotFound: If there is none, or it is another platform's.

    """
    application = get_application(connection, application_id)
    if application.platform_id != platform_id:
        raise ApplicationNotFound("there is no such application")
    return application


def save_decision(connection: Connection, application: Application) -> None:
    """Keep what was decided about an application, and the new partner if it was approved."""
    if application.partner_id is not None:
        partner = {
            "partner_id": application.partner_id,
            "platform_id": application.platform_id,
            "create_time": application.decide_time,
        }
        connection.execute(_INSERT_PARTNER, partner)
    decision = {
        "id": application.application_id,
        "new_state": application.state,
        "new_partner_id": application.partner_id,
        "new_reason": application.rejection_reason,
        "new_reviewer": application.reviewer,
        "new_time": application.decide_time,
    }
    connection.execute(_DECIDE, decision)


def list_applications(connection: Connection, platform_id: str, page: Page) -> Sequence[Application]:
    """Return a page of a platform's applications and one more, the newest first."""
    key = {"platform": platform_id, "before": page.after or AFTER_ALL_IDS, "most": page.limit}
    return [_application(row) for row in connection.execute(_LIST_OF_PLATFORM, key)]


def list_pending_applications(connection: Connection, page: Page) -> Sequence[Application]:
    """Return a page of the applications to be decided on and one more, the oldest first."""
    key = {"wanted": ApplicationState.PENDING, "after": page.after, "most": page.limit}
    return [_application(row) for row in connection.execute(_LIST_IN_STATE, key)]


def _application(row: Row[*tuple[Any, ...]]) -> Application:
    values = row._asdict()
    return Application(**values | {"state": ApplicationState(values["state"])})
