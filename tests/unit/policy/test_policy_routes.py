from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from mesh.access.descriptors import Method, own_contracts, read_methods
from mesh.access.rules import PUBLIC, ClientType, MethodRule
from mesh.calls.infrastructure import INFRASTRUCTURE_SERVICES
from mesh.config import ChannelConfig, ConfigError, ServerConfig
from policy.routes import Route, compile_routes
from policy.sources.gateway_config import BackendConfig, GatewayConfig, ListenerConfig

CHANNEL = ChannelConfig(target="localhost:1", ca=Path("ca.pem"))
PARTNERS = MethodRule(frozenset({ClientType.PARTNER}))


def door(name: str = "public", *client_types: ClientType) -> ListenerConfig:
    server = ServerConfig(listen="localhost:0", certificate=Path("a.pem"), private_key=Path("a-key.pem"))
    return ListenerConfig(name=name, server=server, client_types=frozenset(client_types))


def backend(name: str, *services: str) -> BackendConfig:
    return BackendConfig(name=name, channel=CHANNEL, services=services)


def config(*backends: BackendConfig, listeners: tuple[ListenerConfig, ...] | None = None) -> GatewayConfig:
    doors = (door("public", ClientType.PARTNER),) if listeners is None else listeners
    return GatewayConfig(listeners=doors, auth=CHANNEL, backends=backends)


def method(path: str, rule: MethodRule | None = PARTNERS, **kind: Any) -> Method:
    return Method(path, rule, **{"client_streaming": False, "server_streaming": False, **kind})


def contracts(*methods: Method) -> dict[str, Method]:
    return {each.path: each for each in methods}


PAY, LOOK, HIDDEN = method("/a.Pay/Pay"), method("/a.Look/Look", PUBLIC), method("/a.Pay/Hidden", None)
METHODS = contracts(PAY, LOOK, HIDDEN, method("/a.Inside/Only", None))


def test_methods_go_to_the_backend_that_serves_them() -> None:
    routes = compile_routes(config(backend("one", "a.Pay"), backend("two", "a.Look")), METHODS)
    assert routes == {
        "/a.Pay/Pay": Route(PAY, "one"),
        "/a.Pay/Hidden": Route(HIDDEN, "one"),
        "/a.Look/Look": Route(LOOK, "two"),
    }


def test_a_service_that_no_backend_serves_has_no_route() -> None:
    assert set(compile_routes(config(backend("two", "a.Look")), METHODS)) == {"/a.Look/Look"}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (config(backend("one", "a.Pay", "a.Pya")), "backend one, service a.Pya: no contract declares it"),
        (config(backend("one", "a")), "backend one, service a: no contract declares it"),
        (config(backend("one", "a.Pay", "a.Pay")), "service a.Pay is there 2 times"),
        (config(backend("one", "a.Pay"), backend("two", "a.Pay")), "service a.Pay is there 2 times"),
        (config(backend("one", "a.Pay"), backend("one", "a.Look")), "backend one is there 2 times"),
        (config(backend("one", "a.Inside")), "backend one, service a.Inside: none of its methods has a rule"),
        (config(), "there is no backend"),
        (config(backend("one")), "there is no service"),
        (config(backend("one", "a.Pay"), listeners=()), "there is no listener"),
        (config(backend("one", "a.Pay"), listeners=(door("staff"),)), "listener staff: client_types is empty"),
        (
            config(backend("one", "a.Pay"), listeners=(door("d", ClientType.PARTNER), door("d", ClientType.MASTER))),
            "listener d is there 2 times",
        ),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused_and_says_where(settings: GatewayConfig, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        compile_routes(settings, METHODS)
    assert says in str(refused.value)


@pytest.mark.parametrize("kind", ["client_streaming", "server_streaming"])
def test_a_stream_is_routed_like_any_other_method(kind: str) -> None:
    methods = contracts(PAY, method("/a.Pay/Watch", PARTNERS, **{kind: True}))
    assert set(compile_routes(config(backend("one", "a.Pay")), methods)) == {"/a.Pay/Pay", "/a.Pay/Watch"}


def test_a_route_is_reachable_by_a_door_that_admits_one_of_its_client_types_or_if_public() -> None:
    partners, staff = frozenset({ClientType.PARTNER, ClientType.MASTER}), frozenset({ClientType.OPERATOR})
    assert Route(PAY, "one").reachable_by(partners)
    assert not Route(PAY, "one").reachable_by(staff)
    assert Route(LOOK, "one").reachable_by(staff)
    assert not Route(HIDDEN, "one").reachable_by(partners | staff)


def test_the_contracts_alone_make_no_route() -> None:
    methods = read_methods(own_contracts())
    with pytest.raises(ConfigError, match="there is no backend"):
        compile_routes(config(), methods)
    with pytest.raises(ConfigError, match="no contract declares it"):
        compile_routes(config(backend("one", "sekisho.auth.v1.TokenService")), read_methods(FileDescriptorSet()))


def test_the_exchange_can_not_be_put_behind_the_gateway() -> None:
    with pytest.raises(ConfigError, match="none of its methods has a rule"):
        compile_routes(config(backend("auth", "sekisho.auth.v1.ExchangeService")), read_methods(own_contracts()))


@pytest.mark.parametrize("service", sorted(INFRASTRUCTURE_SERVICES))
def test_what_the_gateway_answers_itself_can_not_be_put_behind_it(service: str) -> None:
    with pytest.raises(ConfigError, match=f"backend one, service {service}: the gateway answers it itself"):
        compile_routes(config(backend("one", service)), contracts(method(f"/{service}/List")))
