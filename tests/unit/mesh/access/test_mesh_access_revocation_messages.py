import pytest

from mesh.access.revocation import Revocation, Subject
from mesh.access.revocation_messages import revocation_message, revocation_of
from sekisho.auth.v1 import revocation_service_pb2 as pb

DIGEST = bytes(range(32))
MESSAGES = [
    (pb.Revocation(position=3, token_digest=DIGEST), Revocation(3, Subject.TOKEN, DIGEST.hex())),
    (pb.Revocation(position=3, client_id="cli_1"), Revocation(3, Subject.CLIENT, "cli_1")),
    (pb.Revocation(position=3, partner_id="ptr_1"), Revocation(3, Subject.PARTNER, "ptr_1")),
    (pb.Revocation(position=3, platform_id="shops"), Revocation(3, Subject.PLATFORM, "shops")),
    (pb.Revocation(position=3, everything=True), Revocation(3, Subject.EVERYTHING)),
]


@pytest.mark.parametrize(("message", "revocation"), MESSAGES)
def test_a_revocation_is_the_same_on_both_sides_of_the_wire(message: pb.Revocation, revocation: Revocation) -> None:
    assert revocation_message(revocation) == message
    assert revocation_of(message) == revocation


def test_every_subject_has_its_message() -> None:
    assert {revocation.subject for _, revocation in MESSAGES} == set(Subject)


@pytest.mark.parametrize(
    "unknown",
    [b"\x08\x03", b"\x08\x03\xfa\x3f\x03abc"],  # no subject; one of a later version
)
def test_what_is_too_new_to_be_understood_may_be_about_anyone(unknown: bytes) -> None:
    assert revocation_of(pb.Revocation.FromString(unknown)) == Revocation(3, Subject.EVERYTHING)
