"""Revocations as the contract writes them."""

from mesh.access.revocation import Revocation, Subject
from sekisho.auth.v1 import revocation_service_pb2 as pb

_FIELDS = {Subject.CLIENT: "client_id", Subject.PARTNER: "partner_id", Subject.PLATFORM: "platform_id"}
_SUBJECTS = {field: subject for subject, field in _FIELDS.items()}


def revocation_message(revocation: Revocation) -> pb.Revocation:
    """Return a revocation as the contract writes it."""
    message = pb.Revocation(position=revocation.position)
    if revocation.subject is Subject.TOKEN:
        message.token_digest = bytes.fromhex(revocation.name)
    elif revocation.subject is Subject.EVERYTHING:
        message.everything = True
    else:
        setattr(message, _FIELDS[revocation.subject], revocation.name)
    return message


def revocation_of(message: pb.Revocation) -> Revocation:
    """Return what a message says. What this version is too old to understand may be about anyone: everything."""
    field = message.WhichOneof("subject") or ""
    if field == "token_digest":
        return Revocation(message.position, Subject.TOKEN, message.token_digest.hex())
    if field in _SUBJECTS:
        return Revocation(message.position, _SUBJECTS[field], getattr(message, field))
    return Revocation(message.position, Subject.EVERYTHING)
