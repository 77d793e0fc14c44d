"""The gateway between a caller, an auth server and a backend that do their worst, over real TLS and mTLS."""

import asyncio
import gc
import itertools
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status as RichStatus

from gateway.server import running
from mesh.access.rules import ClientType
from mesh.calls.error_info import DETAILS_KEY
from mesh.config import ConfigError
from mesh.security import pki
from tests import raw_http2
from tests.logs import captured
from tests.unit.gateway.fake_services import (
    Answer,
    FakeAuthServer,
    FakeBackend,
    Metadata,
    changed,
    issue_certificates,
    private_token,
    started,
)
from tests.unit.gateway.front import (
    HASTY_SECONDS,
    INTERNAL_METHOD,
    MASTER_METHOD,
    PARTNER_METHOD,
    PATIENCE_SECONDS,
    PUBLIC_METHOD,
    TOKEN,
    Front,
    Status,
    failure,
    gateway_config,
    gateway_front,
    listener,
    outcome,
)

MIB = 1024 * 1024
BEARER = (b"authorization", b"Bearer sat_partner")
MESSAGE = raw_http2.grpc_message(b"hello")
PARTNERS = frozenset({ClientType.PARTNER})
STAFF = frozenset({ClientType.OPERATOR})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return issue_certificates(tmp_path_factory.mktemp("gateway"))


@pytest.fixture
async def front(folder: Path) -> AsyncIterator[Front]:
    async with gateway_front(folder) as front:
        yield front


def answer_with(
    code: Status, details: str = "", trailing: Any = (), initial: Any = (), response: bytes = b""
) -> Answer:
    async def answer(_request: bytes, context: Any) -> bytes:
        if initial:
            await context.send_initial_metadata(initial)
        if code is not Status.OK:
            await context.abort(code, details, trailing)
        context.set_trailing_metadata(trailing)
        return response

    return answer


class Held:
    """An answer that waits until it may go on, and tells what happened to its calls."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def __call__(self, request: bytes, _context: Any) -> bytes:
        self.begun.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return request


def values(metadata: Metadata, key: str) -> list[str | bytes]:
    return [value for each, value in metadata if each == key]


async def soon(event: asyncio.Event) -> None:
    await asyncio.wait_for(event.wait(), PATIENCE_SECONDS)


async def status_of(call: Any) -> Status:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return Status.OK


# -- Bytes


@pytest.mark.parametrize("compression", [None, grpc.Compression.Gzip])
async def test_requests_and_responses_pass_byte_for_byte(front: Front, compression: grpc.Compression | None) -> None:
    for body in (b"", b"\xff" * 100, b"\x00", b"this is no protobuf \x07", os.urandom(3 * MIB)):
        assert await front.call(body, compression=compression) == body


async def test_a_response_passes_unread(front: Front) -> None:
    for body in (b"", b"\xff\xff\xff\xff\x0f", bytes(3 * MIB)):
        front.backend.answer = answer_with(Status.OK, response=body)
        assert await front.call(b"request") == body


async def test_a_request_over_the_limit_is_refused_and_reaches_no_backend(front: Front) -> None:
    async with front.door(0, max_message_bytes=8 * MIB) as channel:
        error = await failure(front.call(bytes(4 * MIB + 1), channel=channel))
        assert error.code() == Status.RESOURCE_EXHAUSTED
        assert front.backend.calls == []
        assert await front.call(b"next", channel=channel) == b"next"


async def test_a_small_request_that_unpacks_beyond_the_limit_reaches_no_backend(front: Front) -> None:
    async with front.door(0, max_message_bytes=8 * MIB) as channel:
        error = await failure(front.call(bytes(5 * MIB), channel=channel, compression=grpc.Compression.Gzip))
        assert error.code() == Status.RESOURCE_EXHAUSTED
        assert front.backend.calls == []


async def test_a_response_over_the_limit_ends_that_call_only(front: Front) -> None:
    front.backend.answer = answer_with(Status.OK, response=bytes(4 * MIB + 1))
    error = await failure(front.call())
    assert error.code() == Status.RESOURCE_EXHAUSTED
    assert str(front.backend.port) not in error.details()
    front.backend.answer = answer_with(Status.OK, response=b"small")
    assert await front.call() == b"small"


# -- Metadata


async def test_what_the_caller_sends_along_reaches_the_backend(front: Front) -> None:
    sent: Metadata = [
        ("x-one", "1"),
        ("x-raw-bin", bytes(range(256))),
        ("x-one", "2"),
        ("x-span", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("x-empty", ""),
        ("x-raw-bin", b""),
        ("x-one", "1"),
    ]

    await front.call(metadata=sent)
    (received,) = front.backend.calls
    for key in {key for key, _ in sent}:  # gRPC keeps the order under one key only
        assert values(received, key) == values(sent, key)
    added = {"authorization", "x-forwarded-for", "x-forwarded-user-agent", "x-request-id"}
    assert {key for key, _ in received} == {key for key, _ in sent} | added
    assert len(received) == len(sent) + len(added)
    assert "grpc-python" in str(values(received, "x-forwarded-user-agent"))


@pytest.mark.parametrize("code", [Status.OK, Status.FAILED_PRECONDITION])
async def test_what_the_backend_sends_along_reaches_the_caller(front: Front, code: Status) -> None:
    initial = (("x-one", "1"), ("x-one", "2"), ("x-raw-bin", bytes(range(256))))
    trailing = (("x-two", "b"), ("x-two", "a"), ("x-end-bin", b"\xff\x00"), ("x-end-bin", b""))

    front.backend.answer = answer_with(code, "no", trailing, initial)
    call = front.call()
    if code is Status.OK:
        await call
    else:
        await failure(call)
    assert tuple(await call.initial_metadata()) == initial
    assert tuple(await call.trailing_metadata()) == trailing


@pytest.mark.parametrize("key", ["x-big", "authorization"])
async def test_metadata_over_the_limit_reaches_no_backend(front: Front, key: str) -> None:
    error = await failure(front.call(metadata=[(key, "a" * 40_000)]))
    assert error.code() == Status.RESOURCE_EXHAUSTED
    assert front.backend.calls == []
    assert front.auth.requests == []


async def test_metadata_over_the_limit_is_refused_also_to_who_never_heard_of_it_and_sends_little(front: Front) -> None:
    headers = raw_http2.repeated_header(b"x-large", b"a" * 4_000, 50)
    door, ca = front.servers[0].port, front.auth.folder / "public.pem"
    answer = await raw_http2.post(door, ca, PUBLIC_METHOD, encoded=headers)
    assert answer.status == Status.RESOURCE_EXHAUSTED.value[0]
    assert front.backend.calls == []


async def test_the_request_id_is_handed_on_if_well_formed_and_replaced_if_not(front: Front) -> None:
    await front.call(metadata=[("x-request-id", "one-good-id")])
    await front.call(metadata=[("x-request-id", "spaces make it bad")])
    first, second = (values(call, "x-request-id") for call in front.backend.calls)
    assert first == ["one-good-id"]
    assert len(second) == 1
    assert "spaces" not in second[0]


async def test_an_exchange_carries_the_request_id_of_its_call_and_nothing_else_of_it(front: Front) -> None:
    for number in range(3):
        metadata = [("x-request-id", f"request-{number}"), ("x-one", "1"), ("x-sekisho-partner-id", "ptn_2")]
        await front.call(metadata=metadata, token=f"sat_{number}")
    asked = [[pair for pair in metadata if pair[0] != "user-agent"] for metadata in front.auth.metadata]
    assert asked == [[("x-request-id", f"request-{number}")] for number in range(3)]


async def test_each_call_is_logged_once_with_who_called_and_how_it_ended(front: Front) -> None:
    with captured() as lines:
        await front.call(metadata=[("x-request-id", "passes")])
        await outcome(front.call(method=MASTER_METHOD, metadata=[("x-request-id", "refused")]))
        await outcome(front.call(method="/no.Such/Method", token=None, metadata=[("x-request-id", "unknown")]))
        await front.call(method=PUBLIC_METHOD, token=None)  # the lines before it are written by now
    seen = {line["request_id"]: [line.get(name) for name in ("status", "reason", "client_id")] for line in lines}
    assert seen["passes"] == ["OK", None, "client-of-partner"]
    assert seen["refused"] == ["PERMISSION_DENIED", "CLIENT_TYPE_NOT_ALLOWED", "client-of-partner"]
    assert seen["unknown"] == ["UNIMPLEMENTED", "METHOD_NOT_FOUND", None]
    assert not any(secret in str(lines) for secret in (TOKEN, "pat."))


# -- Errors


async def test_every_status_passes_with_its_message(front: Front) -> None:
    for code in Status:
        if code is Status.OK:
            continue
        for message in ("", "残高が足りません: 100 % ünïcode\nline 2", "x" * 2_000):
            front.backend.answer = answer_with(code, message, (("x-why", "because"),))
            error = await failure(front.call())
            assert (error.code(), error.details()) == (code, message)


async def test_rich_details_pass_unchanged_even_if_they_are_none(front: Front) -> None:
    detail = AnyMessage()
    detail.Pack(ErrorInfo(reason="INSUFFICIENT_FUNDS", domain="sekisho", metadata={"a": "b"}))
    rich = RichStatus(code=9, message="different from the plain message", details=[detail]).SerializeToString()

    for details in (rich, b"", b"\xff not a status", os.urandom(2_000)):
        for code in (Status.FAILED_PRECONDITION, Status.UNAVAILABLE):
            front.backend.answer = answer_with(code, "plain", ((DETAILS_KEY, details), ("x-more", "1")))
            error = await failure(front.call())
            assert (error.code(), error.details()) == (code, "plain")
            assert tuple(error.trailing_metadata()) == ((DETAILS_KEY, details), ("x-more", "1"))


@pytest.mark.parametrize("message", ["x" * 12_000, "%" * 12_000, "茶" * 6_000, "x" * 3_000])
async def test_a_client_with_default_limits_gets_the_status_of_an_error_however_long_its_message(
    front: Front, message: str
) -> None:
    details = (DETAILS_KEY, os.urandom(1_500))
    front.backend.answer = answer_with(Status.FAILED_PRECONDITION, message, (details,))
    trust = grpc.ssl_channel_credentials((front.auth.folder / "public.pem").read_bytes())
    async with grpc.aio.secure_channel(f"127.0.0.1:{front.servers[0].port}", trust) as channel:
        for _ in range(20):
            error = await failure(front.call(channel=channel))
            assert error.code() == Status.FAILED_PRECONDITION
            told = error.details() or ""
            assert told == message or (len(told) > 500 and told.endswith("...") and message.startswith(told[:-3]))
            assert tuple(error.trailing_metadata() or ()) == (details,)


async def test_a_backends_answer_may_have_as_much_metadata_as_configured(front: Front) -> None:
    large, too_large = "x" * 60_000, "x" * 66_000
    for _ in range(10):
        front.backend.answer = answer_with(Status.OK, initial=(("x-large", large),))
        call = front.call()
        await call
        assert values(list(await call.initial_metadata()), "x-large") == [large]
        front.backend.answer = answer_with(Status.NOT_FOUND, "no", (("x-large", large),))
        error = await failure(front.call())
        assert (error.code(), values(list(error.trailing_metadata() or ()), "x-large")) == (Status.NOT_FOUND, [large])
    for answer in (
        answer_with(Status.OK, initial=(("x-large", too_large),)),
        answer_with(Status.NOT_FOUND, "no", (("x-large", too_large),)),
        answer_with(Status.NOT_FOUND, too_large),
    ):
        front.backend.answer = answer
        assert await outcome(front.call()) == (Status.INTERNAL, "BACKEND_FAULT")


async def test_an_unavailable_without_a_word_of_explanation_is_explained(front: Front) -> None:
    front.backend.answer = answer_with(Status.UNAVAILABLE, "connection to ipv4:10.0.0.7:5432 lost")
    error = await failure(front.call())
    assert "10.0.0.7" not in error.details()
    assert await outcome(front.call()) == (Status.UNAVAILABLE, "BACKEND_UNAVAILABLE")


async def test_an_error_without_initial_metadata_comes_as_trailers_only(front: Front) -> None:
    front.backend.answer = answer_with(Status.NOT_FOUND, "no", (("x-why", "because"),))
    answer = await front.post([BEARER], MESSAGE)
    assert (answer.status, answer.is_trailers_only) == (Status.NOT_FOUND.value[0], True)
    front.backend.answer = answer_with(Status.NOT_FOUND, "no", initial=(("x-a", "b"),))
    answer = await front.post([BEARER], MESSAGE)
    assert (answer.status, answer.is_trailers_only) == (Status.NOT_FOUND.value[0], False)
    refused = await front.post([], MESSAGE)
    assert (refused.status, refused.is_trailers_only) == (Status.UNAUTHENTICATED.value[0], True)


# -- Deadlines and cancellation


async def test_the_callers_deadline_reaches_the_backend_shortened(folder: Path) -> None:
    remaining = list[float]()

    async def look(_request: bytes, context: Any) -> bytes:
        remaining.append(context.time_remaining())
        return b""

    async with gateway_front(folder, call_timeout_seconds=90.0) as front:
        front.backend.answer = look
        await front.call(timeout=50.0)
        await front.call(timeout=1_000.0)
        await front.call(timeout=None)
        assert 20 < remaining[0] < 51  # on the wire, gRPC rounds up
        assert all(60 < limited < 91 for limited in remaining[1:]), remaining


@pytest.mark.parametrize(("deadline", "limit"), [(0.3, 60.0), (None, 0.3), (60.0, 0.3)])
async def test_a_call_that_takes_too_long_ends_on_both_sides(
    folder: Path, deadline: float | None, limit: float
) -> None:
    async with gateway_front(folder, call_timeout_seconds=limit) as front:
        await front.call()  # the connections are there, and the token is known
        front.backend.answer = held = Held()
        while not held.begun.is_set():  # on a busy machine the time may be over before the backend hears of the call
            error = await failure(front.call(timeout=deadline))
            assert error.code() == Status.DEADLINE_EXCEEDED
        await soon(held.cancelled)


async def test_the_callers_deadline_also_ends_an_exchange_that_hangs(front: Front) -> None:
    front.auth.open.clear()
    assert (await failure(front.call(timeout=0.3))).code() == Status.DEADLINE_EXCEEDED
    front.auth.open.set()
    assert await front.call(b"later") == b"later"


async def test_a_caller_who_cancels_cancels_at_the_backend(front: Front) -> None:
    front.backend.answer = held = Held()
    call = front.call()
    await soon(held.begun)
    call.cancel()
    await soon(held.cancelled)


# -- What lies behind is not there


async def test_a_backend_that_is_down_is_said_to_be_and_is_found_again(folder: Path) -> None:
    backend = FakeBackend(folder)
    async with started(backend):
        port = backend.port
    async with gateway_front(folder, backend) as front:
        error = await failure(front.call())
        assert await outcome(front.call()) == (Status.UNAVAILABLE, "BACKEND_UNAVAILABLE")
        assert not any(word in error.details() for word in (str(port), "127.0", "::1", "localhost"))
        async with started(backend), asyncio.timeout(PATIENCE_SECONDS):
            while (status := await status_of(front.call())) != Status.OK:
                assert status == Status.UNAVAILABLE  # until the channel tries to connect again
            assert await front.call(b"up again") == b"up again"


async def test_a_backend_killed_in_mid_call_ends_the_call(front: Front) -> None:
    front.backend.answer = held = Held()
    call = asyncio.ensure_future(outcome(front.call()))
    await soon(held.begun)
    await front.backend.kill()
    assert await call == (Status.UNAVAILABLE, "BACKEND_UNAVAILABLE")


async def test_no_token_goes_to_a_workload_that_is_not_the_backend(folder: Path, tmp_path: Path) -> None:
    stranger = tmp_path
    pki.issue_workload(pki.create_authority(stranger, "company"), stranger, "payments")
    for impostor in (FakeBackend(folder, "authserver"), FakeBackend(stranger)):
        async with started(impostor):
            impostor.folder = folder  # the gateway shows its own certificate, and trusts its own CA
            async with gateway_front(folder, impostor) as front:
                assert await outcome(front.call()) == (Status.UNAVAILABLE, "BACKEND_UNAVAILABLE")
                assert impostor.calls == []


async def test_no_token_goes_to_a_workload_that_is_not_the_auth_server(folder: Path) -> None:
    impostor = FakeAuthServer(folder)
    impostor.workload = "payments"
    async with gateway_front(folder, auth=impostor, exchange_timeout_seconds=HASTY_SECONDS) as front:
        assert await outcome(front.call()) == (Status.UNAVAILABLE, "AUTH_SERVER_UNAVAILABLE")
        assert impostor.requests == []


async def test_without_the_auth_server_nobody_passes_but_to_public_methods(folder: Path) -> None:
    async with gateway_front(folder, exchange_timeout_seconds=HASTY_SECONDS) as front:
        await front.auth.kill()
        for token in (TOKEN, "sat_another"):
            assert await outcome(front.call(token=token)) == (Status.UNAVAILABLE, "AUTH_SERVER_UNAVAILABLE")
        assert front.backend.calls == []
        assert await front.call(b"public", method=PUBLIC_METHOD, token=None) == b"public"


async def test_an_auth_server_that_talks_nonsense_is_unavailable(front: Front) -> None:
    front.auth.reply = changed(client_type=77)
    assert await outcome(front.call()) == (Status.UNAVAILABLE, "AUTH_SERVER_UNAVAILABLE")


FRAMES = {
    "no message": [raw_http2.response_headers(raw_http2.OK_HEADERS)],
    "half a message": [
        raw_http2.response_headers(raw_http2.OK_HEADERS),
        raw_http2.Frame(raw_http2.DATA, 0, raw_http2.grpc_message(b"hello")[:-2]),
    ],
}


@pytest.mark.parametrize("what", sorted(FRAMES))
async def test_a_backend_that_says_ok_without_a_message_is_no_success(folder: Path, what: str) -> None:
    ok = raw_http2.response_headers([(b"grpc-status", b"0")], last=True)
    backend = FakeBackend(folder)
    async with (
        raw_http2.answering(folder, "payments", [*FRAMES[what], ok]) as backend.port,
        gateway_front(folder, backend, health_checked=False) as front,
    ):
        assert await outcome(front.call()) == (Status.INTERNAL, "BACKEND_FAULT")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([(b":status", b"200"), (b"content-type", b"application/grpc"), (b"grpc-status", b"42")], Status.UNKNOWN),
        ([(b":status", b"404"), (b"content-type", b"text/html")], Status.UNIMPLEMENTED),
        ([*raw_http2.OK_HEADERS, (b"grpc-status", b"5"), (b"x-not-ascii", b"\xff")], Status.INTERNAL),
        ([*raw_http2.OK_HEADERS, (b"grpc-status", b"5"), (b"x-not-base64-bin", b"!")], Status.INTERNAL),
    ],
)
async def test_a_backend_that_speaks_no_proper_grpc_is_answered_for(
    folder: Path, headers: list[tuple[bytes, bytes]], code: Status
) -> None:
    backend = FakeBackend(folder)
    answer = raw_http2.response_headers(headers, last=True)
    async with (
        raw_http2.answering(folder, "payments", [answer]) as backend.port,
        gateway_front(folder, backend, health_checked=False) as front,
    ):
        assert (await failure(front.call())).code() == code


# -- Tokens


async def test_neither_side_sees_the_others_token(front: Front) -> None:
    call = front.call()
    await call
    seen = [front.backend.calls[0], tuple(await call.initial_metadata()), tuple(await call.trailing_metadata())]
    assert (TOKEN in repr(seen[0]), private_token(TOKEN, "payments") in repr(seen[0])) == (False, True)
    assert "pat." not in repr(seen[1:])
    front.backend.answer = answer_with(Status.NOT_FOUND, "no")
    for error in (
        await failure(front.call()),
        await failure(front.call(method=MASTER_METHOD)),
        await failure(front.call(token=private_token(TOKEN, "payments"))),
    ):
        assert "pat." not in f"{error.details()} {error.trailing_metadata()} {error.initial_metadata()}"


async def test_a_public_method_is_forwarded_without_any_token(front: Front) -> None:
    for metadata in ([], [("authorization", "Bearer x")], [("authorization", "a"), ("authorization", "b")]):
        await front.call(method=PUBLIC_METHOD, token=None, metadata=metadata)
    assert [sorted(key for key, _ in call) for call in front.backend.calls] == [
        ["x-forwarded-for", "x-forwarded-user-agent", "x-request-id"]
    ] * 3
    assert front.auth.requests == []


SMUGGLED = [
    ("x-sekisho-partner-id", "ptn_2"),
    ("x-sekisho-private-token", "pat.forged"),
    ("x-sekisho-caller-bin", b"\x0a\x01"),
    ("x-sekisho-", "empty"),
    ("x-forwarded-for", "10.0.0.1"),
    ("x-forwarded-user-agent", "forged"),
    ("x-forwarded-client-cert", "URI=spiffe://sekisho/gateway"),
    ("x-real-ip", "10.0.0.1"),
    ("forwarded", "for=10.0.0.1"),
    ("grpc-trace-bin", b"\x00"),
    ("grpc-tags-bin", b"\x00"),
    ("grpc-previous-rpc-attempts", "1"),
    ("grpc-foo", "bar"),
    ("user-agent", "evil"),
]


async def test_no_reserved_name_is_smuggled_in(front: Front) -> None:
    await front.call(metadata=[*SMUGGLED, *SMUGGLED, ("x-free", "passes")])
    (received,) = front.backend.calls
    own = ["authorization", "x-forwarded-for", "x-forwarded-user-agent", "x-free", "x-request-id"]
    assert sorted(key for key, _ in received) == own
    assert values(received, "x-forwarded-for") in (["127.0.0.1"], ["::1"])
    assert values(received, "x-forwarded-user-agent") != ["forged"]


@pytest.mark.parametrize(
    "headers",
    [
        [(b"Authorization", b"Bearer sat_partner")],
        [BEARER, (b"X-Sekisho-Partner-Id", b"ptn_2")],
        [BEARER, (b"X-REQUEST-ID", b"other-id")],
        [BEARER, (b"te", b"gzip")],
        [BEARER, (b"x-sekisho partner", b"ptn_2")],
        [BEARER, (b"x-sekisho-partner-id\x00", b"ptn_2")],
        [BEARER, (b"\xefx", b"1")],
        [BEARER, (b":method", b"GET")],
        [BEARER, (b":sekisho", b"1")],
    ],
)
async def test_headers_that_http2_forbids_reach_nobody(front: Front, headers: list[tuple[bytes, bytes]]) -> None:
    answer = await front.post(headers, MESSAGE)
    assert answer.status != 0
    assert front.backend.calls == []


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (["Bearer sat_partner", "Bearer sat_partner"], "MALFORMED_AUTHORIZATION"),
        (["Bearer sat_partner", "Bearer sat_other"], "MALFORMED_AUTHORIZATION"),
        (["Bearer sat_partner", ""], "MALFORMED_AUTHORIZATION"),
        (["Bearer sat_partner, Bearer sat_other"], "MALFORMED_AUTHORIZATION"),
        (["Bearer sat_partner,Bearer"], "INVALID_TOKEN"),
        (["Bearer sat_partner,sat_other"], "INVALID_TOKEN"),
        (["Basic c2F0OnBhcnRuZXI="], "MALFORMED_AUTHORIZATION"),
        (["sat_partner"], "MALFORMED_AUTHORIZATION"),
        ([f"Bearer {private_token('sat_partner', 'payments')}"], "INVALID_TOKEN"),
        ([], "MISSING_TOKEN"),
    ],
)
async def test_exactly_one_good_token_is_needed(front: Front, values: list[str], reason: str) -> None:
    metadata = [("authorization", value) for value in values]
    assert await outcome(front.call(token=None, metadata=metadata)) == (Status.UNAUTHENTICATED, reason)
    assert front.backend.calls == []


async def test_a_binary_authorization_is_none(front: Front) -> None:
    smuggled = [("authorization-bin", b"Bearer sat_other")]
    assert await outcome(front.call(token=None, metadata=smuggled)) == (Status.UNAUTHENTICATED, "MISSING_TOKEN")
    await front.call(metadata=smuggled)
    (received,) = front.backend.calls
    expected = f"Bearer {private_token(TOKEN, 'payments')}"
    assert values(received, "authorization") == [expected]


@pytest.mark.parametrize(
    "headers",
    [
        [BEARER, (b"x-name", "é".encode())],
        [BEARER, (b"x-name", b"\xff")],
        [BEARER, (b"x-name", b"a\r\nauthorization: Bearer x")],
        [BEARER, (b"x-name", b"a\x00b")],
    ],
)
async def test_a_value_that_can_not_be_forwarded_is_the_callers_fault(
    front: Front, headers: list[tuple[bytes, bytes]]
) -> None:
    with captured() as lines:
        answer = await front.post(headers, MESSAGE)
    assert answer.status == Status.INVALID_ARGUMENT.value[0]
    assert "unexpected error" not in [line["event"] for line in lines]
    assert front.backend.calls == []


async def test_hundreds_of_calls_at_once_never_mix_identities(front: Front) -> None:
    async def who(request: bytes, context: Any) -> bytes:
        metadata = dict(context.invocation_metadata())
        await asyncio.sleep(len(request) % 7 / 1000)  # so that they end in another order than they began
        return f"{metadata['authorization']} {metadata['x-request-id']}".encode()

    async def one(front: Front, number: int) -> None:
        metadata = [("x-request-id", f"request-{number}")]
        answer = await front.call(b"x" * number, metadata, token=f"sat_{number % 150}")
        token = private_token(f"sat_{number % 150}", "payments")
        assert answer == f"Bearer {token} request-{number}".encode()

    await front.keeps_exchanges()
    asked = len(front.auth.requests)
    front.backend.answer = who
    await asyncio.gather(*(one(front, number) for number in range(300)))
    assert len(front.auth.requests) - asked == 150


# -- Methods that can't be reached, and calls of another kind


@pytest.mark.parametrize("token", [TOKEN, None, "garbage"])
async def test_an_unknown_method_is_refused_before_its_body_is_read(front: Front, token: str | None) -> None:
    async with front.door(0, max_message_bytes=64 * MIB) as channel:
        for method in ("/no.Such/Method", INTERNAL_METHOD, f"/{PARTNER_METHOD}", f"{PARTNER_METHOD}/", "/"):
            call = front.call(bytes(32 * MIB), method=method, token=token, channel=channel)
            assert await outcome(call) == (Status.UNIMPLEMENTED, "METHOD_NOT_FOUND")
    assert front.auth.requests == []


async def test_a_closed_method_can_not_be_told_from_an_unknown_one_by_a_huge_body(folder: Path) -> None:
    async with (
        gateway_front(folder, listeners=(listener(folder, "staff", STAFF),)) as front,
        front.door(0, max_message_bytes=64 * MIB) as channel,
    ):
        assert await outcome(front.call()) == (Status.UNIMPLEMENTED, "METHOD_NOT_FOUND")
        call = front.call(bytes(5 * MIB), channel=channel)
        assert await outcome(call) == (Status.UNIMPLEMENTED, "METHOD_NOT_FOUND")


async def test_a_caller_without_a_token_is_refused_before_the_body_is_read(front: Front) -> None:
    answer = await front.post([], data=None)
    assert answer.status == Status.UNAUTHENTICATED.value[0]


@pytest.mark.parametrize("body", [b"", MESSAGE[:-1]])
async def test_a_call_that_ends_without_a_message_is_answered(front: Front, body: bytes) -> None:
    answer = await front.post([BEARER], body)
    assert answer.status not in {None, 0}


async def test_room_that_idle_callers_took_is_free_again_when_they_are_gone(folder: Path) -> None:
    bodies = itertools.cycle((b"", None, MESSAGE[:-1]))
    async with gateway_front(folder, listeners=(listener(folder, max_concurrent_calls=4),)) as front:
        idle = list[asyncio.Task[raw_http2.Answer]]()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await status_of(front.call(method=PUBLIC_METHOD, token=None)) == Status.OK:
                idle.append(asyncio.create_task(front.post([BEARER], next(bodies))))
            for call in idle:
                call.cancel()
            await asyncio.gather(*idle, return_exceptions=True)
            together = [Status.UNKNOWN]
            while together != [Status.OK] * 4:  # as many as there is room for
                together = await asyncio.gather(*(status_of(front.call()) for _ in range(4)))


async def test_many_messages_for_a_method_that_takes_one_make_one_call_at_most(front: Front) -> None:
    async def messages() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"message"

    call = front.channel.stream_unary(PARTNER_METHOD)(
        messages(), metadata=[("authorization", f"Bearer {TOKEN}")], timeout=PATIENCE_SECONDS
    )
    await asyncio.gather(call, return_exceptions=True)
    assert call.done()
    assert len(front.backend.calls) <= 1
    assert await front.call(b"next") == b"next"


# -- Life of the gateway


async def closed(front: Front, number: int) -> None:
    """Wait until a door takes no new calls."""
    async with front.door(number) as late:
        await refused(front, late)


async def refused(front: Front, channel: grpc.aio.Channel) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await status_of(front.call(channel=channel, timeout=0.2)) != Status.UNAVAILABLE:
            pass


async def test_calls_under_way_when_the_gateway_stops_are_finished(folder: Path) -> None:
    held = Held()
    async with gateway_front(folder, listeners=(listener(folder, drain_seconds=60.0),)) as front:
        front.backend.answer = held
        calls = [asyncio.ensure_future(front.call(str(number).encode())) for number in range(5)]
        await soon(held.begun)
        stopping = asyncio.ensure_future(front.servers[0].stop())
        await closed(front, 0)
        assert not stopping.done()
        held.go_on.set()
        assert await asyncio.gather(*calls) == [b"0", b"1", b"2", b"3", b"4"]
        await stopping


async def test_a_call_that_does_not_end_does_not_keep_the_gateway_up(folder: Path) -> None:
    held = Held()
    async with gateway_front(folder, listeners=(listener(folder, drain_seconds=0.2),)) as front:
        front.backend.answer = held
        call = asyncio.ensure_future(failure(front.call()))
        await soon(held.begun)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await front.servers[0].stop()
        assert (await call).code() == Status.UNAVAILABLE
        await soon(held.cancelled)


@pytest.mark.parametrize(("idle", "busy"), [(0, 1), (1, 0)])
async def test_all_doors_close_at_once(folder: Path, idle: int, busy: int) -> None:
    held = Held()
    doors = [listener(folder, name, drain_seconds=60.0) for name in ("one", "two")]
    backend = FakeBackend(folder)
    async with started(backend), gateway_front(folder, backend) as other:
        gateway = running(gateway_config(other.auth, backend, listeners=tuple(doors)))
        servers = await gateway.__aenter__()
        front = Front(other.auth, backend, servers, other.channel)
        async with front.door(idle) as first, front.door(busy) as second:
            await front.call(channel=first)
            backend.answer = held
            under_way = asyncio.ensure_future(front.call(channel=second))
            await soon(held.begun)
            stopping = asyncio.ensure_future(gateway.__aexit__(None, None, None))
            await closed(front, busy)
            await refused(front, first)
            assert not stopping.done()
            held.go_on.set()
            await asyncio.gather(under_way, stopping)


@pytest.mark.parametrize("missing", ["door.pem", "door-key.pem", "gateway.pem", "company.pem"])
async def test_a_missing_file_is_a_mistake_in_the_configuration(tmp_path: Path, missing: str) -> None:
    auth, backend = FakeBackend(issue_certificates(tmp_path), "authserver"), FakeBackend(tmp_path)
    config = gateway_config(auth, backend)
    (tmp_path / missing).unlink()
    with pytest.raises(ConfigError, match=missing):
        async with running(config):
            pass


async def test_thousands_of_refused_calls_leave_nothing_behind(front: Front) -> None:
    refused: list[dict[str, Any]] = [
        {"token": None},
        {"token": "garbage"},
        {"token": "sat_NO"},
        {"method": MASTER_METHOD},
        {"method": "/no.Such/Method"},
        {"metadata": [("authorization", "Basic x")]},
    ]

    async def refuse(front: Front, calls: int) -> tuple[int, int]:
        for start in range(0, calls, 50):
            await asyncio.gather(
                *(outcome(front.call(b"x", **refused[number % len(refused)])) for number in range(start, start + 50))
            )
        gc.collect()
        return len(asyncio.all_tasks()), len(gc.get_objects())

    tasks_before, _ = await refuse(front, 50)
    objects_before = (await refuse(front, 500))[1]
    objects = (await refuse(front, 2_000))[1]
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(asyncio.all_tasks()) > tasks_before + 5:  # noqa: ASYNC110 - tasks end without an event
            await asyncio.sleep(0)
    assert objects <= objects_before + 8_000  # the fakes remember 4 objects for each of 333 exchanges
    assert front.backend.calls == []
