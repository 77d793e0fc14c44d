"""What the gateway itself refuses, beside what the access decision does."""

from mesh.errors import Code, ServiceError


class MalformedAuthorization(ServiceError):
    """The call has several `authorization` entries, or one that is not `Bearer <token>` (RFC 6750 §2.1)."""

    code = Code.UNAUTHENTICATED


class InvalidToken(ServiceError):
    """The access token is malformed, expired or revoked (RFC 6750 §3.1)."""

    code = Code.UNAUTHENTICATED


class TokenExpired(ServiceError):
    """The access token expired while a stream was open. A watch goes on with a new token and its last cursor."""

    code = Code.UNAUTHENTICATED


class TokenRevoked(ServiceError):
    """The access token was revoked while a stream was open."""

    code = Code.UNAUTHENTICATED


class RevocationsUnknown(ServiceError):
    """The gateway can't learn now whether the token of an open stream was revoked. A watch goes on with its cursor."""

    code = Code.UNAVAILABLE


class RateLimitExceeded(ServiceError):
    """Calls come too fast: from this address, of this client, or by this method of all clients of its type."""

    code = Code.RESOURCE_EXHAUSTED

    def __init__(self, limit: str, retry_seconds: float) -> None:
        """Say which limit it is, and when the next call may come."""
        super().__init__(f"too many calls: over the limit of this {limit}; wait before calling again", limit=limit)
        self.retry_seconds = retry_seconds


class ConcurrencyLimitExceeded(ServiceError):
    """Too many calls are under way: from this address, of this client, or at the gateway without a client."""

    code = Code.RESOURCE_EXHAUSTED

    def __init__(self, limit: str) -> None:
        """Say which limit it is. It is unknown when there will be room again."""
        super().__init__(f"too many calls at once: over the limit of this {limit}; end some first", limit=limit)


class IncompleteRequest(ServiceError):
    """The call ended, or went silent, before its message was whole."""

    code = Code.INVALID_ARGUMENT


class InvalidMetadata(ServiceError):
    """A metadata value has characters that gRPC does not allow, so it can't be handed on."""

    code = Code.INVALID_ARGUMENT


class AuthServerUnavailable(ServiceError):
    """The auth server can't be asked about the token now. Nobody gets through unchecked."""

    code = Code.UNAVAILABLE


class AudienceUnknown(ServiceError):
    """The auth server makes no private access tokens for the backend: its configuration does not fit the gateway's."""

    code = Code.INTERNAL


class BackendFault(ServiceError):
    """The service behind the gateway gave no answer though it said that all is well, or gave two where one is due."""

    code = Code.INTERNAL


class BackendUnavailable(ServiceError):
    """No address of the service behind the gateway can be reached now, or the one that was broke off."""

    code = Code.UNAVAILABLE
