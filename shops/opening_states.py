"""How far the opening of a shop has come."""

import enum


class OpeningState(enum.StrEnum):
    """The states of a shop, named as in the contract.

    APPLYING → IN_REVIEW → REGISTERING → ACTIVE; from APPLYING and IN_REVIEW also → REJECTED.
    """

    APPLYING = "APPLYING"
    IN_REVIEW = "IN_REVIEW"
    REGISTERING = "REGISTERING"
    ACTIVE = "ACTIVE"
    REJECTED = "REJECTED"


# Nothing more is done in these.
FINAL_STATES = frozenset({OpeningState.ACTIVE, OpeningState.REJECTED})

_AFTER_REVIEW = {
    "PENDING": OpeningState.IN_REVIEW,
    "APPROVED": OpeningState.REGISTERING,
    "REJECTED": OpeningState.REJECTED,
}


def after_review(application_state: str) -> OpeningState | None:
    """Return the state that an application's state leads to; None if it is not known."""
    return _AFTER_REVIEW.get(application_state)
