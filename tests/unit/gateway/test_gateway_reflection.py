"""Reflection at the gateway's doors shows each caller what it may call, and no more."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_reflection.v1alpha import reflection_pb2

from mesh.access.descriptors import client_type_number, own_contracts, read_methods
from mesh.access.rules import ClientType
from mesh.calls.infrastructure import HEALTH_SERVICE, REFLECTION_SERVICES
from mesh.serving.reflection import REFLECTION_METHODS
from tests.unit.gateway.fake_services import changed
from tests.unit.gateway.front import HASTY_SECONDS, PATIENCE_SECONDS, Front, Status, gateway_front, listener, outcome

TOKENS, CLIENTS = "sekisho.auth.v1.TokenService", "sekisho.auth.v1.ClientRegistrationService"
PAYMENTS = "sekisho.payments.v1.PaymentService"
ALWAYS = {HEALTH_SERVICE, *REFLECTION_SERVICES}
OWN = read_methods(own_contracts())
READING = {path for path, method in OWN.items() if method.rule and method.rule.scopes <= {"payments.read"}}
PAYMENT_METHODS = {path for path in OWN if path.startswith(f"/{PAYMENTS}/")}

Request = reflection_pb2.ServerReflectionRequest
Response = reflection_pb2.ServerReflectionResponse


@pytest.fixture(params=REFLECTION_METHODS)
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def asking(front: Front, method: str, *requests: Request, token: str | None = None, door: Any = None) -> Any:
    metadata = [] if token is None else [("authorization", f"Bearer {token}")]
    opens = (door or front.channel).stream_stream(
        method, request_serializer=Request.SerializeToString, response_deserializer=Response.FromString
    )

    async def answers() -> list[Response]:
        return [answer async for answer in opens(iter(requests), metadata=metadata, timeout=PATIENCE_SECONDS)]

    return answers()


async def listed(front: Front, method: str, **how: Any) -> set[str]:
    (answer,) = await asking(front, method, Request(list_services=""), **how)
    return {service.name for service in answer.list_services_response.service}


def files(answer: Response) -> list[FileDescriptorProto]:
    return [FileDescriptorProto.FromString(each) for each in answer.file_descriptor_response.file_descriptor_proto]


async def described(front: Front, method: str, service: str, **how: Any) -> set[str]:
    """Return the paths of the methods that a service is described with."""
    (answer,) = await asking(front, method, Request(file_containing_symbol=service), **how)
    return set(read_methods(FileDescriptorSet(file=files(answer))))


@pytest.fixture
async def front(certificates: Path) -> AsyncIterator[Front]:
    async with gateway_front(certificates) as front:
        yield front


async def test_without_a_token_only_public_methods_are_shown(front: Front, method: str) -> None:
    assert await listed(front, method) == {TOKENS, *ALWAYS}
    assert await described(front, method, TOKENS) == {path for path in OWN if path.startswith(f"/{TOKENS}/")}
    assert await described(front, method, PAYMENTS) == set()
    assert front.auth.requests == []


async def test_with_a_token_what_it_may_call_is_shown_methods_included(front: Front, method: str) -> None:
    assert await listed(front, method, token="sat_shop") == {TOKENS, PAYMENTS, *ALWAYS}
    assert await described(front, method, PAYMENTS, token="sat_shop") == PAYMENT_METHODS
    front.auth.reply = changed(scope="payments.read")
    assert await described(front, method, PAYMENTS, token="sat_reader") == PAYMENT_METHODS & READING
    front.auth.reply = changed(scope="nothing")
    assert await listed(front, method, token="sat_nothing") == {TOKENS, *ALWAYS}
    front.auth.reply = changed(client_type=client_type_number(ClientType.MASTER), scope="clients.write")
    assert PAYMENTS not in await listed(front, method, token="sat_master")


async def test_what_a_caller_may_not_call_is_hidden_from_every_question(front: Front, method: str) -> None:
    questions = [
        *(Request(file_containing_symbol=f"{PAYMENTS}{name}") for name in (".CreatePayment", ".Nothing", "")),
        Request(file_containing_symbol="sekisho.payments.v1.CreatePaymentRequest"),
        Request(file_containing_symbol="sekisho.payments.v1.Payment.State"),
        Request(file_by_filename="sekisho/payments/v1/payment_service.proto"),
        Request(file_containing_symbol=CLIENTS),
        Request(file_containing_symbol="sekisho.auth.v1.ExchangeTokenRequest"),
        Request(all_extension_numbers_of_type="sekisho.payments.v1.Payment"),
        Request(
            file_containing_extension={"containing_type": "sekisho.payments.v1.Payment", "extension_number": 1}  # type: ignore[arg-type]
        ),
    ]

    for answer in await asking(front, method, *questions):
        assert answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    front.auth.reply = changed(scope="payments.read")
    known = [Request(file_containing_symbol=PAYMENTS), Request(file_by_filename=questions[5].file_by_filename)]
    known += [Request(file_containing_symbol=name) for name in ("sekisho.payments.v1.Payment.State", TOKENS)]
    for answer in await asking(front, method, *known, token="sat_reader"):
        assert files(answer)
        assert b"CreatePayment" not in answer.SerializeToString()
        assert b"RegisterClient" not in answer.SerializeToString()
    (hidden,) = await asking(front, method, questions[0], token="sat_reader")
    assert not files(hidden)


async def test_a_bad_token_sees_nothing_not_even_what_is_public(front: Front, method: str) -> None:
    ask = Request(list_services="")
    assert await outcome(asking(front, method, ask, token="forged")) == (Status.UNAUTHENTICATED, "INVALID_TOKEN")
    assert await outcome(asking(front, method, ask, token="")) == (
        Status.UNAUTHENTICATED,
        "MALFORMED_AUTHORIZATION",
    )


async def test_a_token_that_can_not_be_checked_sees_nothing_while_who_has_none_sees_what_is_public(
    certificates: Path, method: str
) -> None:
    async with gateway_front(certificates, exchange_timeout_seconds=HASTY_SECONDS) as front:
        await front.auth.kill()
        refused = await outcome(asking(front, method, Request(list_services=""), token="sat_new"))
        assert refused == (Status.UNAVAILABLE, "AUTH_SERVER_UNAVAILABLE")
        assert await listed(front, method) == {TOKENS, *ALWAYS}


async def test_each_door_shows_what_it_lets_through(certificates: Path) -> None:
    doors = (listener(certificates), listener(certificates, "staff", frozenset({ClientType.OPERATOR})))
    async with gateway_front(certificates, listeners=doors) as front, front.door(1) as staff:
        v1 = REFLECTION_METHODS[0]
        assert PAYMENTS in await listed(front, v1, token="sat_shop")
        assert PAYMENTS not in await listed(front, v1, token="sat_shop", door=staff)


async def test_what_is_restricted_is_not_shown(certificates: Path, tmp_path: Path) -> None:
    closed = {"name": "closed", "methods": [f"/{PAYMENTS}/CreatePayment", f"/{TOKENS}/RevokeToken"], "closed": True}
    reported = {"name": "reported", "methods": [f"/{PAYMENTS}/*"], "closed": True, "mode": "report"}
    file = tmp_path / "restrictions.yaml"
    file.write_text(json.dumps({"restrictions": [closed, reported]}))
    async with gateway_front(certificates, restrictions=file) as front:
        v1 = REFLECTION_METHODS[0]
        assert await described(front, v1, PAYMENTS, token="sat_shop") == PAYMENT_METHODS - {closed["methods"][0]}
        assert closed["methods"][1] not in await described(front, v1, TOKENS)
