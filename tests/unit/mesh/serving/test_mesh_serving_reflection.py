from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_reflection.v1alpha import reflection_pb2

from mesh.access.descriptors import own_contracts
from mesh.calls.infrastructure import HEALTH_SERVICE, REFLECTION_SERVICES
from mesh.serving.reflection import REFLECTION_METHODS
from tests.unit.mesh.echo_servers import calling, echo_server, server_config, started, unary

REFLECTED = "sekisho.auth.v1.TokenService"
Response = reflection_pb2.ServerReflectionResponse


def alien(service: str, field: str) -> FileDescriptorSet:
    """Return contracts that declare both services: one of them, of the same name, in its own version of both files."""
    common = FileDescriptorProto(name="common.proto", package="a.v1")
    common.message_type.add(name="Common").field.add(name=field, number=1, type=9, label=1)
    both = FileDescriptorProto(name="both.proto", package="a.v1", dependency=["common.proto"])
    for each in "AB":
        method = both.service.add(name=each).method.add(input_type=".a.v1.Common", output_type=".a.v1.Common")
        method.name = f"Of{service}"
    return FileDescriptorSet(file=[common, both])


async def ask(certificates: Path, method: str, **request: object) -> Response:
    declared = {REFLECTED: own_contracts(), "a.v1.A": alien("A", "left"), "a.v1.B": alien("B", "right")}
    server = echo_server(server_config(certificates), unary(), reflected=declared)
    async with started(server), calling(server, certificates) as channel:
        call = channel.stream_stream(
            method,
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=Response.FromString,
        )
        (response,) = [
            response
            async for response in call(iter([reflection_pb2.ServerReflectionRequest(**request)]))  # type: ignore[arg-type]
        ]
        return response


def files(response: Response) -> list[str]:
    raw = response.file_descriptor_response.file_descriptor_proto
    return [FileDescriptorProto.FromString(file).name for file in raw]


@pytest.fixture(params=REFLECTION_METHODS)
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_exactly_the_reflected_services_are_listed(certificates: Path, method: str) -> None:
    listed = [
        service.name for service in (await ask(certificates, method, list_services="")).list_services_response.service
    ]
    assert sorted(listed) == sorted([REFLECTED, "a.v1.A", "a.v1.B", HEALTH_SERVICE, *REFLECTION_SERVICES])


@pytest.mark.parametrize("symbol", [REFLECTED, "sekisho.auth.v1.IssueTokenRequest", "sekisho.access.v1.Rule"])
async def test_a_reflected_service_is_described_with_all_that_it_needs(
    certificates: Path, method: str, symbol: str
) -> None:
    assert files(await ask(certificates, method, file_containing_symbol=symbol))


async def test_a_method_is_described(certificates: Path, method: str) -> None:
    assert files(await ask(certificates, method, file_containing_symbol=f"{REFLECTED}.IssueToken"))


@pytest.mark.parametrize(("service", "field"), [("A", b"left"), ("B", b"right")])
async def test_a_service_is_described_as_its_own_contracts_do(
    certificates: Path, method: str, service: str, field: bytes
) -> None:
    for symbol in (f"a.v1.{service}", f"a.v1.{service}.Of{service}"):
        response = await ask(certificates, method, file_containing_symbol=symbol)
        assert files(response) == ["both.proto", "common.proto"]
        assert field in response.file_descriptor_response.file_descriptor_proto[1]


async def test_the_details_that_errors_carry_are_described(certificates: Path, method: str) -> None:
    assert files(await ask(certificates, method, file_containing_symbol="google.rpc.ErrorInfo"))


async def test_health_is_described(certificates: Path, method: str) -> None:
    assert files(await ask(certificates, method, file_containing_symbol=HEALTH_SERVICE))


@pytest.mark.parametrize("service", REFLECTION_SERVICES)
async def test_reflection_itself_is_described(certificates: Path, method: str, service: str) -> None:
    assert files(await ask(certificates, method, file_containing_symbol=service))


@pytest.mark.parametrize(
    "request_",
    [
        {"file_containing_symbol": "sekisho.auth.v1.ExchangeService"},
        {"file_containing_symbol": "sekisho.auth.v1.ExchangeTokenRequest"},
        {"file_containing_symbol": "sekisho.payments.v1.PaymentService"},
        {"file_containing_symbol": "test.v1.Echo"},
        {"file_containing_symbol": ""},
        {"file_by_filename": "sekisho/auth/v1/exchange_service.proto"},
        {"file_by_filename": "sekisho/payments/v1/payment_service.proto"},
        {"file_by_filename": "../../etc/passwd"},
        {"all_extension_numbers_of_type": "sekisho.auth.v1.ExchangeTokenRequest"},
    ],
)
async def test_what_is_not_reflected_is_not_revealed(certificates: Path, method: str, request_: dict[str, str]) -> None:
    response = await ask(certificates, method, **request_)
    assert response.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    assert files(response) == []
