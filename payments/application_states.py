"""The states of a partner application, and the decision on it."""

import enum
from dataclasses import dataclass, replace

from mesh.errors import Code, ServiceError


class ApplicationNotFound(ServiceError):
    """There is no such application, or it is another platform's."""

    code = Code.NOT_FOUND


class ApplicationAlreadyDecided(ServiceError):
    """The opposite was decided before."""

    code = Code.FAILED_PRECONDITION


class ApplicationState(enum.StrEnum):
    """The stage of a review; the names are those of `sekisho.payments.v1.PartnerApplication.State`."""

    PENDING = "PENDING"
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """A platform's request that a merchant be accepted as a partner. Times are in milliseconds.

    Attributes:
        application_id: Its id, `app_…`.
        platform_id: The platform that submitted it.
        merchant_name: The merchant's legal name.
        contact_email: The merchant's e-mail address.
        business_description: What the merchant sells.
        state: The stage.
        partner_id: The Partner ID; None unless approved.
        rejection_reason: Why it was refused; None unless rejected.
        reviewer: The client id of the operator who decided; None while pending.
        create_time: When it was submitted.
        decide_time: When it was decided; None while pending.

    """

    application_id: str
    platform_id: str
    merchant_name: str
    contact_email: str
    business_description: str
    state: ApplicationState
    partner_id: str | None
    rejection_reason: str | None
    reviewer: str | None
    create_time: int
    decide_time: int | None


def approve(application: Application, partner_id: str, reviewer: str, now: int) -> Application:
    """Return the application approved; the very same if it was approved before.

    Raises:
        ApplicationAlreadyDecided: If it was rejected.

    """
    if not _is_open(application, ApplicationState.APPROVED):
        return application
    state = ApplicationState.APPROVED
    return replace(application, state=state, partner_id=partner_id, reviewer=reviewer, decide_time=now)


def reject(application: Application, reason: str, reviewer: str, now: int) -> Application:
    """Return the application rejected; the very same if it was rejected before.

    Raises:
        ApplicationAlreadyDecided: If it was approved.

    """
    if not _is_open(application, ApplicationState.REJECTED):
        return application
    state = ApplicationState.REJECTED
    return replace(application, state=state, rejection_reason=reason, reviewer=reviewer, decide_time=now)


def _is_open(application: Application, decision: ApplicationState) -> bool:
    """Tell whether the decision is yet to be made; refuse to make the opposite of one made before."""
    if application.state not in (ApplicationState.PENDING, decision):
        raise ApplicationAlreadyDecided(f"the application is {application.state} already", state=application.state)
    return application.state is ApplicationState.PENDING
