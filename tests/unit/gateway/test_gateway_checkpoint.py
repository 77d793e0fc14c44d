import time

import grpc
import pytest

from gateway.checkpoint import Checkpoint
from gateway.errors import AuthServerUnavailable, InvalidToken, MalformedAuthorization
from gateway.exchange_cache import Exchanged
from gateway.limits import LimitedCall, Limits, Room
from mesh.access.decision import ClientTypeNotAllowed, InsufficientScope, MethodNotFound, MissingToken
from mesh.access.descriptors import Method
from mesh.access.rules import ALL_CLIENT_TYPES, PUBLIC, Caller, ClientType, MethodRule
from mesh.calls.call_record import CallRecord, Decision, Metadata, begin, current_call
from mesh.errors import ServiceError
from policy.routes import Route
from policy.sources.gateway_config import LimitsConfig
from tests.unit.gateway.conftest import World
from tests.unit.gateway.fake_services import changed, private_token

PARTNERS = frozenset({ClientType.PARTNER})
STAFF = frozenset({ClientType.OPERATOR})
RULES = {
    "/a.Pay/Pay": MethodRule(PARTNERS, frozenset({"payments.write"})),
    "/a.Pay/Both": MethodRule(PARTNERS | STAFF),
    "/a.Pay/Audit": MethodRule(STAFF),
    "/a.Pay/Close": MethodRule(PARTNERS, frozenset({"payments.write", "payments.close"})),
    "/a.Pay/Look": PUBLIC,
    "/a.Pay/Hidden": None,
}
ROUTES = {
    path: Route(Method(path, rule, client_streaming=False, server_streaming=False), "payments")
    for path, rule in RULES.items()
}
GOOD = [("authorization", "Bearer sat_a")]
MALFORMED = [
    [("authorization", "sat_a")],
    [("authorization", "Basic sat_a")],
    [("authorization", "Bearer ")],
    [("authorization", "")],
    [("authorization", "Bearer  ")],
    [("authorization", "Bearer sat_a ")],
    [("authorization", "Bearer sat_a, Bearer sat_b")],
    [*GOOD, *GOOD],
    [*GOOD, ("authorization", "Basic eDp5")],
]


@pytest.fixture
def checkpoint(world: World) -> Checkpoint:
    """Return a checkpoint over `ROUTES`."""
    return Checkpoint(ROUTES, world.exchange)


async def admit(
    checkpoint: Checkpoint, path: str, admitted: frozenset[ClientType], metadata: Metadata
) -> Exchanged | None:
    limits = Limits(LimitsConfig(), ROUTES, time.monotonic)
    return await checkpoint.admit(path, admitted, metadata, LimitedCall(limits, Room(10, 10), "192.0.2.1"))


async def refusal(
    checkpoint: Checkpoint, path: str, metadata: Metadata, admitted: frozenset[ClientType] = ALL_CLIENT_TYPES
) -> type[ServiceError]:
    with pytest.raises(ServiceError) as refused:
        await admit(checkpoint, path, admitted, metadata)
    return refused.type


async def test_a_partner_passes_with_a_private_token_for_the_backend(checkpoint: Checkpoint) -> None:
    exchanged = await admit(checkpoint, "/a.Pay/Pay", PARTNERS, GOOD)
    scopes = frozenset({"payments.read", "payments.write"})
    assert exchanged
    assert exchanged.private_token == private_token("sat_a", "payments")
    assert exchanged.caller == Caller("client-of-a", ClientType.PARTNER, "shops", "ptn_1", scopes)


@pytest.mark.parametrize("metadata", [[], GOOD, *MALFORMED])
@pytest.mark.parametrize(
    ("path", "admitted"),
    [
        ("/a.Pay/Hidden", ALL_CLIENT_TYPES),
        ("/a.Pay/Nothing", ALL_CLIENT_TYPES),
        ("/a.Pay/", ALL_CLIENT_TYPES),
        ("", ALL_CLIENT_TYPES),
        ("/a.pay/pay", ALL_CLIENT_TYPES),
        ("//a.Pay/Pay", ALL_CLIENT_TYPES),
        ("/a.Pay/Audit", PARTNERS),
        ("/a.Pay/Pay", STAFF),
        ("/a.Pay/Pay", frozenset()),
    ],
)
async def test_what_can_not_be_reached_is_not_found_whatever_the_token_and_costs_no_exchange(
    world: World, checkpoint: Checkpoint, path: str, admitted: frozenset[ClientType], metadata: Metadata
) -> None:
    assert await refusal(checkpoint, path, metadata, admitted) is MethodNotFound
    assert world.auth.requests == []


@pytest.mark.parametrize("metadata", [[], GOOD, *MALFORMED])
@pytest.mark.parametrize("admitted", [ALL_CLIENT_TYPES, STAFF, frozenset[ClientType]()])
async def test_a_public_method_looks_at_no_token(
    world: World, checkpoint: Checkpoint, admitted: frozenset[ClientType], metadata: Metadata
) -> None:
    assert await admit(checkpoint, "/a.Pay/Look", admitted, metadata) is None
    assert world.auth.requests == []


@pytest.mark.parametrize(
    "metadata", [[], [("x-authorization", "Bearer sat_a")], [("authorization-bin", b"Bearer sat_a")]]
)
async def test_a_method_with_a_rule_needs_a_token(world: World, checkpoint: Checkpoint, metadata: Metadata) -> None:
    assert await refusal(checkpoint, "/a.Pay/Pay", metadata) is MissingToken
    assert world.auth.requests == []


@pytest.mark.parametrize("metadata", MALFORMED)
async def test_there_must_be_exactly_one_bearer_token(world: World, checkpoint: Checkpoint, metadata: Metadata) -> None:
    assert await refusal(checkpoint, "/a.Pay/Pay", metadata) is MalformedAuthorization
    assert world.auth.requests == []


async def test_a_token_is_checked_before_its_holder_is_judged(world: World, checkpoint: Checkpoint) -> None:
    world.auth.reply = lambda _: grpc.StatusCode.UNAUTHENTICATED
    assert await refusal(checkpoint, "/a.Pay/Audit", GOOD) is InvalidToken
    await world.auth.kill()
    assert await refusal(Checkpoint(ROUTES, world.hasty), "/a.Pay/Audit", GOOD) is AuthServerUnavailable


@pytest.mark.parametrize(
    ("path", "admitted", "error"),
    [
        ("/a.Pay/Audit", ALL_CLIENT_TYPES, ClientTypeNotAllowed),
        ("/a.Pay/Both", STAFF, ClientTypeNotAllowed),  # the method is for partners too, but not this door
        ("/a.Pay/Close", ALL_CLIENT_TYPES, InsufficientScope),
    ],
)
async def test_a_genuine_token_is_judged_by_rule_and_door(
    world: World, checkpoint: Checkpoint, path: str, admitted: frozenset[ClientType], error: type[ServiceError]
) -> None:
    assert await refusal(checkpoint, path, GOOD, admitted) is error
    assert len(world.auth.requests) == 1


async def test_the_log_learns_who_was_refused(world: World, checkpoint: Checkpoint) -> None:
    world.auth.reply = changed(partner_id="ptn_7")
    record = CallRecord("/a.Pay/Audit")
    begin(record)
    await refusal(checkpoint, "/a.Pay/Audit", GOOD)
    assert current_call().client() == {"client_id": "client-of-a", "client_type": "PARTNER", "partner_id": "ptn_7"}
    assert record.decision is Decision.REFUSED
    await admit(checkpoint, "/a.Pay/Both", ALL_CLIENT_TYPES, GOOD)
    assert record.decision is Decision.ALLOWED
