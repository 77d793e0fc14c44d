"""Software statements: signed approvals of partners (RFC 7591 §2.3)."""

from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from authserver.errors import InvalidSoftwareStatement
from mesh.security import signed_jwt

TYP = "software-statement+jwt"

_ID_LENGTH = 64  # what the database holds


@dataclass(frozen=True, slots=True)
class SoftwareStatement:
    """An approval: this partner was approved for this platform.

    Attributes:
        iss: Who approved.
        jti: The approval's id at the issuer; the same in each statement of the same approval.
        partner_id: The partner.
        platform_id: The platform.

    """

    iss: str
    jti: str
    partner_id: str
    platform_id: str


@dataclass(frozen=True, slots=True)
class StatementIssuer:
    """One whose approvals count, and the keys that it signs them with."""

    iss: str
    keys: Mapping[str, EllipticCurvePublicKey]


def verify_statement(
    statement: str, issuers: tuple[StatementIssuer, ...], audience: str, now: float
) -> SoftwareStatement:
    """Return what a statement says, if one of the issuers signed it for this server and it is good now.

    Raises:
        InvalidSoftwareStatement: If not.

    """
    try:
        kid = signed_jwt.kid_of(statement)
        issuer = next((issuer for issuer in issuers if kid in issuer.keys), None)
        if issuer is None:
            raise InvalidSoftwareStatement("the software statement was signed by nobody that this server trusts")
        claims = signed_jwt.verify(statement, issuer.keys, typ=TYP, issuer=issuer.iss, audience=audience, now=now)
    except signed_jwt.JwtRejected as error:
        raise InvalidSoftwareStatement(f"the software statement is not valid: {error}") from error
    return SoftwareStatement(issuer.iss, *(_id(claims, name) for name in ("jti", "partner_id", "platform_id")))


def _id(claims: Mapping[str, object], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value.isascii() or not 0 < len(value) <= _ID_LENGTH:
        raise InvalidSoftwareStatement(
            f"the software statement must have the claim {name}, an ASCII text of at most {_ID_LENGTH} characters"
        )
    return value
