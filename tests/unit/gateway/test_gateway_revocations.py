import pytest

from gateway.exchange_cache import Revocation, Subject
from gateway.revocations import _revocation
from sekisho.auth.v1 import revocation_service_pb2 as pb


@pytest.mark.parametrize(
    ("message", "subject", "name"),
    [
        (pb.Revocation(position=3, token_digest=b"d" * 32), Subject.TOKEN, b"d" * 32),
        (pb.Revocation(position=3, client_id="c"), Subject.CLIENT, "c"),
        (pb.Revocation(position=3, partner_id="p"), Subject.PARTNER, "p"),
        (pb.Revocation(position=3, platform_id="s"), Subject.PLATFORM, "s"),
    ],
)
def test_a_revocation_is_read_by_what_it_names(message: pb.Revocation, subject: Subject, name: str | bytes) -> None:
    assert _revocation(message) == Revocation(3, subject, name)


@pytest.mark.parametrize(
    "message",
    [
        pb.Revocation(position=3, everything=True),
        pb.Revocation(position=3),
        pb.Revocation.FromString(pb.Revocation(position=3).SerializeToString() + b"\x7a\x01x"),  # a field of the future
    ],
)
def test_what_a_gateway_does_not_understand_concerns_everyone(message: pb.Revocation) -> None:
    assert _revocation(message).subject is Subject.EVERYTHING
