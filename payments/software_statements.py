"""Software statements (RFC 7591 §2.3): signed proof that a Partner ID was approved for a platform."""

from dataclasses import dataclass

from mesh.security.signed_jwt import SigningKey, sign
from payments.application_states import Application

TYP = "software-statement+jwt"

LIFETIME_SECONDS = 24 * 60 * 60


@dataclass(frozen=True, slots=True)
class StatementSigner:
    """Signs software statements.

    Attributes:
        key: The key that signs.
        issuer: The `iss` of the statements.
        audience: Their `aud`, the auth server's name.

    """

    key: SigningKey
    issuer: str
    audience: str

    def statement(self, application: Application, now: float) -> str:
        """Return a statement about an approved application, good for 24 hours from `now`, in seconds.

        Its `jti` is the application's id, whenever it is made; so one registration uses up all statements about it.
        """
        partner_id = application.partner_id or ""  # who is approved has one
        return self.sign(application.application_id, partner_id, application.platform_id, now, LIFETIME_SECONDS)

    def sign(self, approval_id: str, partner_id: str, platform_id: str, now: float, seconds: int) -> str:
        """Return a statement that a partner was approved for a platform.

        Args:
            approval_id: Its `jti`: all statements with the same one register one client together.
            partner_id: The partner.
            platform_id: The platform.
            now: When it is made, in seconds since the epoch.
            seconds: How long it is good.

        """
        claims = {
            "iss": self.issuer,
            "aud": self.audience,
            "iat": int(now),
            "exp": int(now) + seconds,
            "jti": approval_id,
            "partner_id": partner_id,
            "platform_id": platform_id,
        }
        return sign(self.key, TYP, claims)
