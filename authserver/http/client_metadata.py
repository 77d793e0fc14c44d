"""What a client may say of itself, and what is made of it (RFC 7591 §2)."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from authserver.clients.authentication_method import CLIENT_CREDENTIALS, ClientAuthentication, parse_authentication
from authserver.clients.scopes import format_scope
from authserver.clients.store.clients import Client
from authserver.errors import InvalidClientMetadata

Fields: TypeAlias = Mapping[str, object]

# What only the server says (RFC 7591 §3.2.1, RFC 7592 §2.2).
_SERVERS = (
    "client_id_issued_at",
    "client_secret_expires_at",
    "registration_access_token",
    "registration_client_uri",
)


class ClientMetadata(msgspec.Struct, frozen=True):
    """What a registration or an update may say. Fields that are not known here are ignored (RFC 7591 §2)."""

    # The approval of the partner.
    software_statement: str = ""
    # What people will recognize the client by. Absent: the Partner ID.
    client_name: str | None = None
    # The scopes it wants; all that it may have if empty.
    scope: str = ""
    # The only one that there is.
    grant_types: tuple[str, ...] = (CLIENT_CREDENTIALS,)
    # None: there is no authorization endpoint.
    response_types: tuple[str, ...] = ()
    # None: nobody is redirected.
    redirect_uris: tuple[str, ...] = ()
    # How it will authenticate. Empty: by a secret in a registration, as it is in an update.
    token_endpoint_auth_method: str = ""
    # Its public keys, if it authenticates by them.
    jwks: dict[str, object] | None = None
    # Where they are; refused, as this server fetches nothing.
    jwks_uri: str = ""

    @property
    def authentication(self) -> ClientAuthentication | None:
        """How it will authenticate; None if nothing is said of that.

        Raises:
            InvalidClientMetadata: If that can't be had.

        """
        if not self.token_endpoint_auth_method and self.jwks is None and not self.jwks_uri:
            return None
        jwks = "" if self.jwks is None else msgspec.json.encode(self.jwks).decode()
        return parse_authentication(self.token_endpoint_auth_method, jwks, self.jwks_uri)


def read_metadata(fields: Fields) -> ClientMetadata:
    """Return what a registration or an update asks for.

    Raises:
        InvalidClientMetadata: If a field has another type or a value that can't be had, or is the server's to set.

    """
    if given := [name for name in _SERVERS if name in fields]:
        raise InvalidClientMetadata(f"{', '.join(given)} is for this server to set")
    try:
        metadata = msgspec.convert(fields, ClientMetadata)
    except msgspec.ValidationError as error:
        raise InvalidClientMetadata(f"the metadata has a field of another type: {error}") from error
    if metadata.grant_types != (CLIENT_CREDENTIALS,):
        raise InvalidClientMetadata(f"grant_types must be [{CLIENT_CREDENTIALS}]")
    if metadata.response_types:
        raise InvalidClientMetadata("response_types must be empty: there is no authorization endpoint")
    if metadata.redirect_uris:
        raise InvalidClientMetadata("redirect_uris must be empty: this grant redirects nobody")
    return metadata


def refuse_chosen_credentials(fields: Fields) -> None:
    """Refuse a registration that brings its own id or secret.

    Raises:
        InvalidClientMetadata: Then.

    """
    if given := [name for name in ("client_id", "client_secret") if name in fields]:
        raise InvalidClientMetadata(f"{', '.join(given)} is for this server to choose")


def refuse_changes(fields: Fields, client: Client) -> None:
    """Refuse an update that is not of this client, or that moves it elsewhere (RFC 7592 §2.2).

    Raises:
        InvalidClientMetadata: Then.

    """
    fixed = {
        "client_id": client.client_id,
        "client_type": client.client_type.value,
        "platform_id": client.platform_id,
        "partner_id": client.partner_id,
    }
    if "client_id" not in fields:
        raise InvalidClientMetadata("client_id must be there")
    if changed := [name for name, value in fixed.items() if fields.get(name, value) != value]:
        raise InvalidClientMetadata(f"{', '.join(changed)} can't be changed")


def describe(client: Client) -> dict[str, Any]:
    """Return what a registration, a read and an update are answered with (RFC 7591 §3.2.1, RFC 7592 §3)."""
    expire_time = client.secrets[0].expire_time if client.secrets else None
    return {
        "client_id": client.client_id,
        "client_id_issued_at": client.create_time // 1000,
        "client_secret_expires_at": (expire_time or 0) // 1000,
        "client_name": client.client_name,
        "scope": format_scope(client.scopes),
        "grant_types": [CLIENT_CREDENTIALS],
        "response_types": [],
        "token_endpoint_auth_method": client.authentication.method.value,
        **({"jwks": {"keys": [key.as_jwk() for key in keys]}} if (keys := client.authentication.keys) else {}),
        "client_type": client.client_type.value,
        "platform_id": client.platform_id,
        "partner_id": client.partner_id,
    }
