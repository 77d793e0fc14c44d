"""What a caller presents to authenticate as a client."""

from dataclasses import dataclass, field

from authserver.clients.authentication_method import SECRET_METHODS, AuthMethod
from mesh.errors import InvalidRequest

JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"  # RFC 7523 §2.2


@dataclass(frozen=True, slots=True)
class PresentedSecret:
    """A secret.

    Attributes:
        client_id: The client that it is said to be of.
        client_secret: The secret.
        methods: What this way of presenting it may stand for: the client must be registered for one of them.

    """

    client_id: str
    client_secret: str = field(repr=False)
    methods: frozenset[AuthMethod] = SECRET_METHODS


@dataclass(frozen=True, slots=True)
class PresentedAssertion:
    """A JWT that the client has signed (RFC 7523 §2.2).

    Attributes:
        client_assertion: The JWT.
        client_id: The client that it is said to be of; empty if the JWT alone says that.

    """

    client_assertion: str = field(repr=False)
    client_id: str = ""


Presented = PresentedSecret | PresentedAssertion


def presented(
    client_id: str,
    client_secret: str,
    client_assertion_type: str,
    client_assertion: str,
    methods: frozenset[AuthMethod] = SECRET_METHODS,
) -> Presented:
    """Return what the parameters of a request present; what is absent is empty.

    Raises:
        InvalidRequest: If they don't go together (RFC 6749 §2.3: one method a request).

    """
    if not client_assertion_type and not client_assertion:
        return PresentedSecret(client_id, client_secret, methods)
    if client_secret:
        raise InvalidRequest({"client_assertion": "must not come together with a client_secret"})
    if client_assertion_type != JWT_BEARER:
        raise InvalidRequest({"client_assertion_type": f"must be {JWT_BEARER}"})
    if not client_assertion:
        raise InvalidRequest({"client_assertion": "must come with a client_assertion_type"})
    return PresentedAssertion(client_assertion, client_id)
