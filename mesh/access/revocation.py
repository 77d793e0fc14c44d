"""Whose tokens are good no more: the words for it, from the auth server's store to the gateway."""

import enum
from dataclasses import dataclass


class Subject(enum.StrEnum):
    """Whose tokens a revocation ends."""

    # One token.
    TOKEN = "TOKEN"  # noqa: S105 - no password
    CLIENT = "CLIENT"
    # A partner's clients.
    PARTNER = "PARTNER"
    # A platform's clients, and those of its partners.
    PLATFORM = "PLATFORM"
    # All tokens there are.
    EVERYTHING = "EVERYTHING"


# Who holds tokens that can be ended together, and can be blocked.
HOLDERS = (Subject.CLIENT, Subject.PARTNER, Subject.PLATFORM)


@dataclass(frozen=True, slots=True)
class Revocation:
    """Tokens that are good no more: those from before its position.

    Attributes:
        position: Its position in the feed.
        subject: Whose they are.
        name: The id, or the token's SHA-256 digest in hexadecimal; empty for everything.

    """

    position: int
    subject: Subject
    name: str = ""
