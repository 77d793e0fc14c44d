"""A mesh with everything in it but shops' own clients, and the traces that it sends to a collector."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest

import authserver.server
import gateway.server
import payments.server
from authserver.config import AuthServerConfig
from cli.home import Home
from cli.local.configurations import Ports
from cli.local.preparation import prepare
from cli.local.supervisor import answer_of
from mesh.channels.channel import open_channel
from mesh.config import ChannelConfig, TracingConfig, load
from payments.config import PaymentsConfig
from policy.sources.gateway_config import REVOCATIONS, GatewayConfig
from sekisho.auth.v1 import token_service_pb2 as token_pb
from sekisho.auth.v1 import token_service_pb2_grpc as token_grpc
from sekisho.payments.v1 import partner_application_service_pb2 as application_pb
from sekisho.payments.v1 import partner_application_service_pb2_grpc as application_grpc
from tests.collector import Collected, Collector, collecting
from tests.unit.gateway.fake_services import FakeBackend, issue_certificates
from tests.unit.gateway.front import TOKEN, failure, gateway_front

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
ISSUE = "sekisho.auth.v1.TokenService/IssueToken"
EXCHANGE = "sekisho.auth.v1.ExchangeService/ExchangeToken"
KEYS = "sekisho.auth.v1.KeyService/ListKeys"  # what payments asks for once, whoever is the first to call
WATCH = "/sekisho.payments.v1.PaymentService/WatchPayments"
DATABASE = "sqlite unit of work"
SUBMIT = "sekisho.payments.v1.PartnerApplicationService/SubmitPartnerApplication"


@asynccontextmanager
async def mesh(home: Home, endpoint: str) -> AsyncIterator[grpc.aio.Channel]:
    """Run the company's three services, each call traced; yield a stranger's channel to the gateway."""
    addresses = prepare(home, Ports.choose(0))
    tracing = TracingConfig(endpoint=endpoint, sample_ratio=1.0)
    async with AsyncExitStack() as stack:
        auth = load(home.config("authserver"), AuthServerConfig)
        auth = msgspec.structs.replace(auth, tracing=tracing, client_cache_entries=1)
        await stack.enter_async_context(authserver.server.running(auth))
        backend = load(home.config("payments"), PaymentsConfig)
        await stack.enter_async_context(payments.server.running(msgspec.structs.replace(backend, tracing=tracing)))
        front = load(home.config("gateway"), GatewayConfig)
        await stack.enter_async_context(gateway.server.running(msgspec.structs.replace(front, tracing=tracing)))
        config = ChannelConfig(target=addresses.gateway, ca=addresses.ca)
        channel = await stack.enter_async_context(open_channel(config))
        await answer_of(channel, REVOCATIONS)  # from now on it keeps exchanges
        yield channel


async def take_token(channel: grpc.aio.Channel, credentials: str, *metadata: tuple[str, str]) -> str:
    request = token_pb.IssueTokenRequest(grant_type="client_credentials", **json.loads(credentials))
    return str((await token_grpc.TokenServiceStub(channel).IssueToken(request, metadata=metadata)).access_token)


async def take_token_and_submit(channel: grpc.aio.Channel, master: str, operator: str) -> str:
    """Take a token, and use it twice in one trace; return it."""
    traceparent = ("traceparent", f"00-{TRACE}-{SPAN}-01")
    token = await take_token(channel, master, traceparent)
    await take_token(channel, operator)  # in whose favour the auth server forgets the first
    metadata = [traceparent, ("authorization", f"Bearer {token}"), ("baggage", "secret=1")]
    applications = application_grpc.PartnerApplicationServiceStub(channel)
    for request_id in ("1", "2"):
        application = application_pb.SubmitPartnerApplicationRequest(
            request_id=request_id * 16,
            merchant_name="Tea House",
            business_description="sells it",
            contact_email="owner@tea.example",
        )
        await applications.SubmitPartnerApplication(application, metadata=metadata)
    return token


@pytest.fixture(scope="module")
async def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Collector, str]:
    """Return what the mesh told of some calls, and the token that they were made with."""
    home = Home.at(tmp_path_factory.mktemp("traces"))
    async with collecting() as collector:
        async with mesh(home, collector.endpoint) as channel:
            files = (home.folder("shops") / "master-credentials.json", home.credentials / "operator.json")
            token = await take_token_and_submit(channel, *(file.read_text() for file in files))
        return collector, token


def shape(collector: Collector, parent: Collected | str) -> list[object]:
    """Return what happened in a span: who, what, and what happened in that."""
    return [
        (each.service, each.kind, each.name, *([inside] if (inside := shape(collector, each)) else []))
        for each in collector.children(parent)
        if each.name != KEYS
    ]


async def test_one_trace_joins_caller_gateway_auth_server_and_backend_with_their_databases(
    told: tuple[Collector, str],
) -> None:
    collector, _ = told
    submitted = (
        "gateway",
        "CLIENT",
        SUBMIT,
        [("payments", "SERVER", SUBMIT, [("payments", "CLIENT", DATABASE)])],
    )
    issued = ("gateway", "CLIENT", ISSUE, [("authserver", "SERVER", ISSUE, [("authserver", "CLIENT", DATABASE)])])
    exchanged = (
        "gateway",
        "CLIENT",
        EXCHANGE,
        [("authserver", "SERVER", EXCHANGE, [("authserver", "CLIENT", DATABASE)])],
    )
    assert shape(collector, SPAN) == [
        ("gateway", "SERVER", ISSUE, [issued]),
        ("gateway", "SERVER", SUBMIT, [exchanged, submitted]),
        ("gateway", "SERVER", SUBMIT, [submitted]),  # the exchange is cached
    ]


async def test_a_trace_names_the_client_type_and_the_decision_and_no_secret(told: tuple[Collector, str]) -> None:
    collector, token = told
    _, exchanged, cached = collector.children(SPAN)
    assert exchanged.attributes["sekisho.client_type"] == cached.attributes["sekisho.client_type"] == "MASTER"
    assert exchanged.attributes["sekisho.decision"] == "allowed"
    assert exchanged.attributes["sekisho.request_id"]
    assert {each.trace_id for each in collector.spans if each.name in {EXCHANGE, SUBMIT}} == {TRACE}
    said = str(collector.spans)
    assert [word for word in (token, "secret", "sat_", "Bearer", "tea") if word in said] == []


async def lost(_request: bytes, context: Any) -> bytes:
    await context.abort(grpc.StatusCode.DATA_LOSS, "lost")
    raise AssertionError


async def test_a_call_that_the_backend_ends_has_its_status_on_both_spans_of_the_gateway(tmp_path: Path) -> None:
    folder = issue_certificates(tmp_path)
    backend = FakeBackend(folder)
    backend.answer = lost
    async with collecting() as collector:
        tracing = TracingConfig(endpoint=collector.endpoint, sample_ratio=1.0)
        async with gateway_front(folder, backend, tracing=tracing) as front:
            sent = [("traceparent", f"00-{TRACE}-{SPAN}-00"), ("baggage", "a=1")]
            assert (await failure(front.call(b"", sent))).code() is grpc.StatusCode.DATA_LOSS
            bearer = ("authorization", f"Bearer {TOKEN}")
            stream = front.channel.unary_stream(WATCH)(b"", metadata=[*sent, bearer])
            with pytest.raises(grpc.aio.AioRpcError):
                await stream.read()
    hops = [hop for call in collector.children(SPAN) for hop in collector.children(call) if hop.name != EXCHANGE]
    assert [each.attributes["rpc.grpc.status_code"] for each in [*collector.children(SPAN), *hops]] == [15] * 4
    # The backend hears of the gateway's span, in the caller's trace, and of nothing else.
    said = [(key, value) for call in backend.calls for key, value in call if key in {"traceparent", "baggage"}]
    assert said == [("traceparent", f"00-{TRACE}-{hop.span.span_id.hex()}-01") for hop in hops]
