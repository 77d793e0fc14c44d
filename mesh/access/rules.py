"""Access rules and callers, as plain values."""

import enum
import re
from dataclasses import dataclass

# One scope (RFC 6749 §3.3): printable ASCII without space, quote and backslash.
SCOPE = r"[\x21\x23-\x5b\x5d-\x7e]+"


class ClientType(enum.StrEnum):
    """The kinds of clients; the names are those of `sekisho.access.v1.ClientType` without the prefix."""

    MASTER = "MASTER"
    PARTNER = "PARTNER"
    WALLET = "WALLET"
    OPERATOR = "OPERATOR"


ALL_CLIENT_TYPES = frozenset(ClientType)


@dataclass(frozen=True, slots=True)
class MethodRule:
    """Who may call one method.

    Attributes:
        client_types: Any one of them suffices.
        scopes: All of them are needed.
        public: Whether callers need no token at all; excludes the other two.

    Raises:
        ValueError: If the rule says nothing, or both things at once.

    """

    client_types: frozenset[ClientType] = frozenset()
    scopes: frozenset[str] = frozenset()
    public: bool = False

    def __post_init__(self) -> None:
        """Refuse a rule that is empty or contradicts itself."""
        if self.public and (self.client_types or self.scopes):
            raise ValueError("a public rule takes neither client types nor scopes")
        if not self.public and not self.client_types:
            raise ValueError("the rule names no client type and is not public")
        if not all(re.fullmatch(SCOPE, scope) for scope in self.scopes):
            raise ValueError("a scope is empty, or has a character that RFC 6749 §3.3 excludes")


PUBLIC = MethodRule(public=True)


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a token speaks for.

    Attributes:
        client_id: The OAuth client.
        client_type: Its type.
        platform_id: The platform that owns the client; empty for the payment company's own clients.
        partner_id: The Partner ID that the client acts for; empty unless the type is PARTNER.
        scopes: What the token may be used for.

    """

    client_id: str
    client_type: ClientType
    platform_id: str
    partner_id: str
    scopes: frozenset[str]
