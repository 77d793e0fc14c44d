"""How a client is registered to authenticate: `token_endpoint_auth_method` (RFC 7591 §2)."""

import enum
from dataclasses import dataclass

from authserver.clients.keys import ClientKey, format_keys, parse_keys
from authserver.errors import InvalidClientMetadata

# The one grant that clients are registered for (RFC 6749 §4.4).
CLIENT_CREDENTIALS = "client_credentials"


class AuthMethod(enum.StrEnum):
    """The methods, by their registered names."""

    CLIENT_SECRET_BASIC = "client_secret_basic"  # noqa: S105 - a method, no secret
    CLIENT_SECRET_POST = "client_secret_post"  # noqa: S105 - likewise
    PRIVATE_KEY_JWT = "private_key_jwt"


# Where they are not told apart by how the secret comes, as in gRPC.
SECRET_METHODS = frozenset({AuthMethod.CLIENT_SECRET_BASIC, AuthMethod.CLIENT_SECRET_POST})


@dataclass(frozen=True, slots=True)
class ClientAuthentication:
    """The one way that a client may authenticate.

    Attributes:
        method: The method.
        keys: What assertions are verified with; none with a secret.

    """

    method: AuthMethod = AuthMethod.CLIENT_SECRET_BASIC
    keys: tuple[ClientKey, ...] = ()

    @property
    def has_secret(self) -> bool:
        """Whether the client has a secret."""
        return self.method in SECRET_METHODS

    @property
    def jwks(self) -> str:
        """The keys as a JWK set in JSON; the empty text if there are none."""
        return format_keys(self.keys)


# What a client has that asks for nothing else (RFC 7591 §2).
BY_SECRET = ClientAuthentication()


def parse_authentication(method: str, jwks: str, jwks_uri: str = "") -> ClientAuthentication:
    """Return what a registration asks for.

    Args:
        method: The method; `client_secret_basic` if empty.
        jwks: The client's public keys, a JWK set in JSON; empty unless the method needs them.
        jwks_uri: Where they are instead; not supported.

    Raises:
        InvalidClientMetadata: If it can't be granted.

    """
    if jwks_uri:
        raise InvalidClientMetadata("jwks_uri is not supported, as this server fetches nothing: send jwks")
    try:
        wanted = AuthMethod(method or AuthMethod.CLIENT_SECRET_BASIC)
    except ValueError as error:
        raise InvalidClientMetadata(f"token_endpoint_auth_method must be one of {', '.join(AuthMethod)}") from error
    if wanted in SECRET_METHODS:
        if jwks:
            raise InvalidClientMetadata(f"jwks is for {AuthMethod.PRIVATE_KEY_JWT}; a secret has no keys")
        return ClientAuthentication(wanted)
    if not jwks:
        raise InvalidClientMetadata(f"{wanted} needs jwks")
    return ClientAuthentication(wanted, parse_keys(jwks))
