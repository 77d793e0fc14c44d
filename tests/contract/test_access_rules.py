"""The gateway answers every method, at every door, to every client type, exactly as the contracts say."""

from collections.abc import Callable

import grpc
import pytest

from mesh.access.descriptors import own_contracts, read_methods
from mesh.access.rules import ClientType
from mesh.config import load
from policy.sources.gateway_config import GatewayConfig
from tests.contract.conftest import LISTENERS, Doors
from tests.mesh import Mesh, outcome

METHODS = read_methods(own_contracts())
UNKNOWN = (
    "/sekisho.payments.v1.PaymentService/NoSuchMethod",
    "/sekisho.payments.v1.NoSuchService/GetPayment",
    "/no.such.Package/Method",
    "/x",
)
NOT_FOUND = ("UNIMPLEMENTED", "METHOD_NOT_FOUND")
# What the gateway itself may say; anything else comes from a backend, so the call was let through.
GATEWAY_REASONS = {
    "METHOD_NOT_FOUND",
    "MISSING_TOKEN",
    "MALFORMED_AUTHORIZATION",
    "INVALID_TOKEN",
    "AUTH_SERVER_UNAVAILABLE",
    "BACKEND_UNAVAILABLE",
    "CLIENT_TYPE_NOT_ALLOWED",
    "INSUFFICIENT_SCOPE",
}


def answer(channel: grpc.Channel, path: str, token: str | None) -> tuple[str, str]:
    metadata = [("authorization", f"Bearer {token}")] if token else []
    call = channel.unary_stream(path)(b"", metadata=metadata, timeout=20)  # what is sent looks alike for all kinds
    try:
        next(call, None)  # of a stream that has no end, the first message says enough
    except grpc.RpcError as error:
        return outcome(error)
    finally:
        call.cancel()
    return "OK", ""


def expected(listener: str, path: str, client_type: ClientType | None, routed: set[str]) -> tuple[str, str] | None:
    """Return the refusal that the contract asks for; None if the call is to be let through. Written apart from the code
    under test, from the design's words."""
    method = METHODS.get(path)
    if method is None or method.rule is None or method.service not in routed:
        return NOT_FOUND
    if method.rule.public:
        return None
    if not any(each in LISTENERS[listener] for each in method.rule.client_types):
        return NOT_FOUND
    if client_type is None:
        return "UNAUTHENTICATED", "MISSING_TOKEN"
    if client_type not in method.rule.client_types or client_type not in LISTENERS[listener]:
        return "PERMISSION_DENIED", "CLIENT_TYPE_NOT_ALLOWED"
    return None


@pytest.fixture(scope="session")
def routed(mesh: Mesh) -> set[str]:
    config = load(mesh.home.config("gateway"), GatewayConfig)
    return {service for backend in config.backends for service in backend.services}


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize("path", [*METHODS, *UNKNOWN])
def test_every_method_answers_every_client_type_as_its_rule_says(
    doors: Doors, routed: set[str], listener: str, path: str
) -> None:
    for client_type, token in doors.tokens.items():
        got = answer(doors.channels[listener], path, token)
        want = expected(listener, path, client_type, routed)
        if want is None:
            assert got[1] not in GATEWAY_REASONS, (client_type, got)
        else:
            assert got == want, client_type


def test_the_table_has_admissions_and_refusals_of_every_kind(routed: set[str]) -> None:
    kinds = {
        expected(listener, path, client_type, routed)
        for listener in LISTENERS
        for path in [*METHODS, *UNKNOWN]
        for client_type in [None, *ClientType]
    }
    assert kinds == {
        None,
        NOT_FOUND,
        ("UNAUTHENTICATED", "MISSING_TOKEN"),
        ("PERMISSION_DENIED", "CLIENT_TYPE_NOT_ALLOWED"),
    }


@pytest.mark.parametrize("path", [path for path, method in METHODS.items() if method.rule and method.rule.scopes])
def test_a_token_without_the_scope_is_refused(mesh: Mesh, path: str, scoped: Callable[[ClientType, str], str]) -> None:
    rule = METHODS[path].rule
    assert rule
    for client_type in rule.client_types:
        other = next(scope for scope in SCOPES[client_type] if scope not in rule.scopes)
        assert answer(mesh.gateway, path, scoped(client_type, other)) == ("PERMISSION_DENIED", "INSUFFICIENT_SCOPE")


@pytest.fixture(scope="session")
def scoped(mesh: Mesh) -> Callable[[ClientType, str], str]:
    """Take a token with one scope only."""
    tenant = mesh.tenant()
    taken: dict[tuple[ClientType, str], str] = {}

    def take(client_type: ClientType, scope: str) -> str:
        if (client_type, scope) not in taken:
            client = (tenant.client_id, tenant.client_secret)
            if client_type != ClientType.PARTNER:
                client = mesh.credentials(client_type.lower())
            taken[client_type, scope] = mesh.token_of(*client, scope)
        return taken[client_type, scope]

    return take


SCOPES = {
    client_type: sorted(
        {
            scope
            for method in METHODS.values()
            if method.rule and client_type in method.rule.client_types
            for scope in method.rule.scopes
        }
    )
    for client_type in ClientType
}


def test_every_method_of_the_payment_company_either_has_a_rule_or_is_internal_on_purpose() -> None:
    internal = {path for path, method in METHODS.items() if method.rule is None and ".shops." not in path}
    assert internal == {
        "/sekisho.auth.v1.ExchangeService/ExchangeToken",
        "/sekisho.auth.v1.PartnerAccessService/BlockPartner",
        "/sekisho.auth.v1.PartnerAccessService/UnblockPartner",
        "/sekisho.auth.v1.RevocationService/WatchRevocations",
    }
