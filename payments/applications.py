"""Taking partner applications, and showing platforms their own."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from payments.application_states import Application, ApplicationState
from payments.software_statements import StatementSigner
from payments.store.applications import get_application_of_platform, insert_application


@dataclass(frozen=True, slots=True)
class Merchant:
    """Whom an application is for."""

    name: str
    contact_email: str
    business_description: str


def submit_application(
    connection: Connection, platform_id: str, merchant: Merchant, *, now: int, new_id: Callable[[str], str]
) -> Application:
    """Add an application to be decided on; `now` is in milliseconds."""
    application = Application(
        application_id=new_id("app"),
        platform_id=platform_id,
        merchant_name=merchant.name,
        contact_email=merchant.contact_email,
        business_description=merchant.business_description,
        state=ApplicationState.PENDING,
        partner_id=None,
        rejection_reason=None,
        reviewer=None,
        create_time=now,
        decide_time=None,
    )
    insert_application(connection, application)
    return application


def get_application(
    connection: Connection, platform_id: str, application_id: str, signer: StatementSigner, now: float
) -> tuple[Application, str]:
    """Return a platform's application and, if it is approved, a fresh software statement; else an empty one.

    Args:
        connection: To the database.
        platform_id: The platform that asks.
        application_id: The application.
        signer: Makes the statement.
        now: The time, in seconds.

    Raises:
        ApplicationNotFound: If the platform has no such application.

    """
    application = get_application_of_platform(connection, application_id, platform_id)
    approved = application.state is ApplicationState.APPROVED
    return application, signer.statement(application, now) if approved else ""
