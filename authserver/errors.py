"""What the auth server refuses, by the error codes of the RFCs."""

from mesh.errors import Code, Mendable, ServiceError


class InvalidClient(ServiceError):
    """Client authentication failed (RFC 6749 §5.2).

    Says the same of an unknown client, a wrong secret, and an assertion that proves nothing or was used before. Only
    who has presented the right secret by another method than the registered one is told more.
    """

    code = Code.UNAUTHENTICATED


class TooManyFailures(ServiceError):
    """Client authentication failed once more, after it failed often. The right credentials would have passed."""

    code = Code.RESOURCE_EXHAUSTED

    def __init__(self, retry_seconds: float) -> None:
        """Say how long failures are answered this way."""
        super().__init__("client authentication failed too often: check the credentials, and wait before trying again")
        self.retry_seconds = retry_seconds


class UnsupportedGrantType(ServiceError):
    """This method does not know the grant type (RFC 6749 §5.2)."""

    code = Code.INVALID_ARGUMENT


class InvalidScope(ServiceError, Mendable):
    """The scope is malformed, or goes beyond what may be granted (RFC 6749 §5.2)."""

    code = Code.INVALID_ARGUMENT


class InvalidToken(ServiceError):
    """The access token is malformed, expired or revoked (RFC 6750 §3.1)."""

    code = Code.UNAUTHENTICATED


class InvalidTarget(ServiceError):
    """No private access token can be made for this audience (RFC 8693 §2.2.2)."""

    code = Code.INVALID_ARGUMENT


class InvalidClientMetadata(ServiceError, Mendable):
    """A field of the registration has a value that can't be granted (RFC 7591 §3.2.2)."""

    code = Code.INVALID_ARGUMENT


class InvalidSoftwareStatement(ServiceError):
    """The software statement is forged, expired or not for this server (RFC 7591 §3.2.2)."""

    code = Code.INVALID_ARGUMENT


class UnapprovedSoftwareStatement(ServiceError):
    """The software statement is genuine, but approves a partner of another platform (RFC 7591 §3.2.2)."""

    code = Code.PERMISSION_DENIED


class SoftwareStatementUsed(ServiceError):
    """The software statement has registered a client already; the metadata has its `client_id`."""

    code = Code.ALREADY_EXISTS


class ClientNotFound(ServiceError):
    """The caller's platform has no such client."""

    code = Code.NOT_FOUND


class ClientHasNoSecret(ServiceError):
    """The client authenticates by its keys, so there is no secret to replace."""

    code = Code.FAILED_PRECONDITION


class ClientQuotaExceeded(ServiceError):
    """The platform has as many registered clients as it may."""

    code = Code.RESOURCE_EXHAUSTED


class ReplicaBehind(ServiceError):
    """This server has not come as far in the revocation feed as the caller, and can't catch up now."""

    code = Code.UNAVAILABLE
