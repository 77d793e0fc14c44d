import tracemalloc
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import pytest

from gateway.errors import ConcurrencyLimitExceeded, RateLimitExceeded
from gateway.limits import Anonymous, LimitedCall, Limits, Room
from mesh.access.descriptors import Method
from mesh.access.rules import PUBLIC, Caller, ClientType, MethodRule
from mesh.config import ConfigError
from policy.routes import Route
from policy.sources.gateway_config import LimitsConfig, RateConfig
from tests.unit.gateway.conftest import Clock

PAY, LOOK, INNER = "/a.Pay/Pay", "/a.Pay/Look", "/a.Pay/Inner"
RULES = {PAY: MethodRule(frozenset({ClientType.PARTNER, ClientType.WALLET})), LOOK: PUBLIC, INNER: None}
ROUTES = {
    path: Route(Method(path, rule, client_streaming=False, server_streaming=False), "payments")
    for path, rule in RULES.items()
}
ONE_A_SECOND = RateConfig(per_second=1, burst=2)


class Door:
    """A door of its own, with its limits."""

    def __init__(self, clock: Clock | None = None, max_concurrent_calls: int = 1000, **settings: Any) -> None:
        config = LimitsConfig(**settings)
        self.limits = Limits(config, ROUTES, clock or Clock())
        self.room = Room(max_concurrent_calls, config.max_address_calls)

    def call(self, address: str = "192.0.2.1") -> LimitedCall:
        return LimitedCall(self.limits, self.room, address)


def caller(client_id: str, client_type: ClientType = ClientType.PARTNER) -> Caller:
    return Caller(client_id, client_type, "shops", "ptn_1", frozenset())


@contextmanager
def calling(door: Door, address: str = "192.0.2.1") -> Iterator[LimitedCall]:
    call = door.call(address)
    yield call
    call.end()


def identify(door: Door, client_id: str, client_type: ClientType = ClientType.PARTNER, path: str = PAY) -> None:
    """Make a call that ends at once."""
    with calling(door) as call:
        call.identify(caller(client_id, client_type), path, streaming=False)


def refused(act: Any, *args: Any) -> tuple[str, float]:
    """Return the limit that a call is over, and when to try again."""
    with pytest.raises((RateLimitExceeded, ConcurrencyLimitExceeded)) as error:
        act(*args)
    return error.value.metadata["limit"], error.value.retry_seconds


def test_an_address_has_a_burst_and_then_its_rate_and_is_told_when_to_come_again() -> None:
    clock = Clock()
    door = Door(clock, address=ONE_A_SECOND)
    for _ in range(2):
        door.call().arrive()
    assert refused(door.call().arrive) == ("address", 1.0)
    door.call("192.0.2.2").arrive()
    clock.now += 1
    door.call().arrive()
    assert refused(door.call().arrive) == ("address", 1.0)


def test_a_client_has_a_rate_of_its_own_wherever_it_calls_from() -> None:
    clock = Clock()
    door = Door(clock, client=ONE_A_SECOND)
    for _ in range(2):
        identify(door, "a")
    assert refused(identify, door, "a") == ("client", 1.0)
    identify(door, "b")
    clock.now += 1
    identify(door, "a")


def test_all_clients_of_a_type_share_the_rate_of_a_method() -> None:
    door = Door(methods={PAY: {ClientType.PARTNER: ONE_A_SECOND}})
    identify(door, "a")
    identify(door, "b")
    assert refused(identify, door, "c") == ("method", 1.0)
    identify(door, "d", ClientType.WALLET)
    identify(door, "c", path="/a.Pay/Other")


def test_who_is_over_a_rate_takes_no_room_from_those_under_way() -> None:
    door = Door(client=ONE_A_SECOND, max_client_calls=1)
    for _ in range(2):
        identify(door, "a")
    for _ in range(3):
        assert refused(identify, door, "a")[0] == "client"
    assert not door.limits.calls.counts


@pytest.mark.parametrize("streaming", [False, True])
def test_a_client_has_so_many_calls_and_so_many_streams_at_once(*, streaming: bool) -> None:
    door = Door(max_client_calls=2, max_client_streams=2)

    def begin(stack: ExitStack, client_id: str, *, streaming: bool = streaming) -> LimitedCall:
        call = stack.enter_context(calling(door))
        call.identify(caller(client_id), PAY, streaming=streaming)
        return call

    with ExitStack() as stack:
        with ExitStack() as first:
            begin(first, "a")
            begin(stack, "a")
            assert refused(begin, stack, "a") == ("client", 0.0)
            begin(stack, "b")
            begin(stack, "a", streaming=not streaming)
        begin(stack, "a")
        assert refused(begin, stack, "a") == ("client", 0.0)
    assert not door.limits.calls.counts
    assert not door.limits.streams.counts


@pytest.mark.parametrize("kind", Anonymous)
def test_an_address_has_so_many_calls_of_each_kind_at_once_that_no_client_answers_for(kind: Anonymous) -> None:
    door = Door(max_address_calls=1)
    with calling(door) as first, calling(door, "192.0.2.2") as second:
        first.begin(kind)
        assert refused(door.call().begin, kind) == ("address", 0.0)
        second.begin(kind)
        for other in set(Anonymous) - {kind}:
            with calling(door) as call:
                call.begin(other)
    with calling(door) as call:
        call.begin(kind)


def test_strangers_of_all_addresses_together_never_have_all_the_room() -> None:
    door = Door(max_concurrent_calls=40)
    with ExitStack() as stack:
        for kind in Anonymous:
            for number in range(10):
                stack.enter_context(calling(door, f"192.0.2.{number}")).begin(kind)
            assert refused(door.call("198.51.100.1").begin, kind) == ("gateway", 0.0)


def test_clients_never_have_more_than_the_room_of_the_door() -> None:
    door = Door(max_concurrent_calls=2)
    with calling(door) as first, calling(door) as second:
        first.begin(Anonymous.EXCHANGE)
        first.identify(caller("a"), PAY, streaming=True)
        second.identify(caller("b"), PAY, streaming=False)
        with calling(door) as third:
            assert refused(partial(third.identify, caller("c"), PAY, streaming=False)) == ("gateway", 0.0)
            assert refused(third.begin, Anonymous.PUBLIC) == ("gateway", 0.0)
        assert door.limits.calls.counts == {"b": 1}
    assert door.room.under_way == 0


def test_a_call_that_finds_its_client_leaves_its_place_among_strangers() -> None:
    door = Door(max_address_calls=1)
    with calling(door) as first, calling(door) as second:
        first.begin(Anonymous.EXCHANGE)
        first.identify(caller("a"), PAY, streaming=True)
        second.begin(Anonymous.EXCHANGE)
        assert door.limits.streams.counts == {"a": 1}


def test_a_call_whose_client_has_no_room_leaves_its_place_too() -> None:
    door = Door(max_client_calls=1)
    with calling(door) as first:
        first.identify(caller("a"), PAY, streaming=False)
        with calling(door) as second:
            second.begin(Anonymous.EXCHANGE)
            refused(partial(second.identify, caller("a"), PAY, streaming=False))
        assert not door.room.anonymous[Anonymous.EXCHANGE].counts
        assert door.limits.calls.counts == {"a": 1}


@pytest.mark.parametrize(
    ("methods", "words"),
    [
        ({"/a.Pay/Typo": {ClientType.PARTNER: ONE_A_SECOND}}, "limits, /a.Pay/Typo: there is no such method"),
        ({INNER: {ClientType.PARTNER: ONE_A_SECOND}}, "limits, /a.Pay/Inner: there is no such method"),
        ({PAY: {ClientType.OPERATOR: ONE_A_SECOND}}, "limits, /a.Pay/Pay: the method is not for OPERATOR clients"),
        ({LOOK: {ClientType.PARTNER: ONE_A_SECOND}}, "limits, /a.Pay/Look: the method is not for PARTNER clients"),
    ],
)
def test_a_limit_for_calls_that_nobody_may_make_is_refused(
    methods: Mapping[str, Mapping[ClientType, RateConfig]], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        Door(methods=methods)


def test_of_many_addresses_and_clients_only_the_latest_are_remembered() -> None:
    door = Door(remembered=1_000)
    for number in range(100_000):
        with calling(door, str(number)) as call:
            call.arrive()
            if number % 4 == 0:
                call.begin(Anonymous.EXCHANGE)
                call.identify(caller(str(number)), PAY, streaming=False)
    assert len(door.limits.addresses) == len(door.limits.clients) == 1_000
    assert not door.limits.calls.counts
    assert not door.room.anonymous[Anonymous.EXCHANGE].counts


def test_an_address_and_a_client_take_as_many_bytes_as_the_configuration_says() -> None:
    count = 5_000
    tracemalloc.start()
    try:
        door = Door(remembered=count)
        for number in range(2 * count):
            with calling(door, f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::/64") as call:
                call.arrive()
                call.identify(caller(f"cli_{number:032}"), PAY, streaming=False)
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held < 2 * count * 250
