"""Deciding on partner applications."""

from collections.abc import Callable

from sqlalchemy import Connection

from payments.application_states import Application, approve, reject
from payments.store.applications import get_application, save_decision


def approve_application(
    connection: Connection, application_id: str, *, reviewer: str, now: int, new_id: Callable[[str], str]
) -> Application:
    """Accept the merchant as a partner with a new Partner ID. Nothing changes if that was done before.

    Raises:
        ApplicationNotFound: If there is no such application.
        ApplicationAlreadyDecided: If it was rejected.

    """
    before = get_application(connection, application_id, lock=True)
    return _save(connection, before, approve(before, new_id("ptn"), reviewer, now))


def reject_application(
    connection: Connection, application_id: str, reason: str, *, reviewer: str, now: int
) -> Application:
    """Refuse the merchant. Nothing changes, the reason included, if that was done before.

    Raises:
        ApplicationNotFound: If there is no such application.
        ApplicationAlreadyDecided: If it was approved.

    """
    before = get_application(connection, application_id, lock=True)
    return _save(connection, before, reject(before, reason, reviewer, now))


def _save(connection: Connection, before: Application, after: Application) -> Application:
    if after is not before:
        save_decision(connection, after)
    return after
