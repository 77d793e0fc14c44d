from collections.abc import Callable

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet, MethodOptions

from mesh.access.descriptors import PolicyError, client_type_number, client_type_of, own_contracts, read_methods
from mesh.access.rules import PUBLIC, ClientType, MethodRule
from sekisho.access.v1 import access_pb2


def contracts(rule: access_pb2.Rule | None, package: str = "test.v1") -> FileDescriptorSet:
    """Return a contract with one method that carries a rule, as a compiler would write it."""
    file = FileDescriptorProto(name="test.proto", package=package)
    method = file.service.add(name="Door").method.add(name="Open", server_streaming=True)
    if rule is not None:
        method.options.Extensions[access_pb2.rule].CopyFrom(rule)
    return FileDescriptorSet.FromString(FileDescriptorSet(file=[file]).SerializeToString())


MASTER = access_pb2.CLIENT_TYPE_MASTER


def test_a_rule_is_read_from_the_option() -> None:
    method = read_methods(contracts(access_pb2.Rule(client_types=[MASTER], scopes=["a", "b"])))["/test.v1.Door/Open"]
    assert method.rule == MethodRule(frozenset({ClientType.MASTER}), frozenset({"a", "b"}))
    assert (method.service, method.client_streaming, method.server_streaming) == ("test.v1.Door", False, True)


@pytest.mark.parametrize(
    ("level", "idempotent"),
    [
        (MethodOptions.IDEMPOTENCY_UNKNOWN, False),
        (MethodOptions.NO_SIDE_EFFECTS, True),
        (MethodOptions.IDEMPOTENT, True),
    ],
)
def test_a_method_is_idempotent_if_it_is_declared_so(
    level: "MethodOptions.IdempotencyLevel.ValueType", *, idempotent: bool
) -> None:
    contract = contracts(None)
    assert not read_methods(contract)["/test.v1.Door/Open"].idempotent
    contract.file[0].service[0].method[0].options.idempotency_level = level
    assert read_methods(contract)["/test.v1.Door/Open"].idempotent == idempotent


def test_a_public_rule_is_read() -> None:
    assert read_methods(contracts(access_pb2.Rule(public=True)))["/test.v1.Door/Open"].rule == PUBLIC


def test_a_method_without_a_rule_is_internal() -> None:
    assert read_methods(contracts(None))["/test.v1.Door/Open"].rule is None


def test_a_service_without_a_package_has_the_path_that_is_on_the_wire() -> None:
    methods = read_methods(contracts(None, package=""))
    assert list(methods) == ["/Door/Open"]
    assert methods["/Door/Open"].service == "Door"


@pytest.mark.parametrize(
    "rule",
    [
        access_pb2.Rule(),
        access_pb2.Rule(public=False),
        access_pb2.Rule(scopes=["a"]),
        access_pb2.Rule(public=True, client_types=[MASTER]),
        access_pb2.Rule(public=True, scopes=["a"]),
        access_pb2.Rule(client_types=[access_pb2.CLIENT_TYPE_UNSPECIFIED]),
        access_pb2.Rule(client_types=[MASTER, access_pb2.CLIENT_TYPE_UNSPECIFIED]),
        access_pb2.Rule.FromString(b"\x08\x63"),  # client_types: [99]
        access_pb2.Rule.FromString(b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),  # client_types: [-1]
        access_pb2.Rule.FromString(b"\x08\x01\x20\x01"),  # a field 4, which no version so far has
        access_pb2.Rule(client_types=[MASTER], scopes=[""]),
        access_pb2.Rule(client_types=[MASTER], scopes=["a b"]),
        access_pb2.Rule(client_types=[MASTER], scopes=['"']),
    ],
)
def test_a_bad_rule_is_refused_with_the_methods_name(rule: access_pb2.Rule) -> None:
    with pytest.raises(PolicyError, match=r"^/test\.v1\.Door/Open: "):
        read_methods(contracts(rule))


def test_a_method_that_is_declared_twice_is_refused_with_its_name() -> None:
    twice = contracts(access_pb2.Rule(client_types=[MASTER]))
    twice.MergeFrom(contracts(access_pb2.Rule(public=True)))
    with pytest.raises(PolicyError, match=r"/test\.v1\.Door/Open"):
        read_methods(twice)


@pytest.mark.parametrize("client_type", list(ClientType))
def test_client_types_survive_the_way_through_their_numbers(client_type: ClientType) -> None:
    assert client_type_of(client_type_number(client_type)) is client_type


@pytest.mark.parametrize("number", [0, 5, -1, 2**31])
def test_a_number_without_a_client_type_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="ClientType"):
        client_type_of(number)


def own(pick: Callable[[MethodRule | None], bool]) -> set[str]:
    return {path for path, method in read_methods(own_contracts()).items() if pick(method.rule)}


def test_of_the_own_contracts_only_these_methods_are_public_or_internal() -> None:
    assert {
        path for path in own(lambda rule: rule is not None and rule.public) if path.startswith("/sekisho.auth.")
    } == {
        "/sekisho.auth.v1.TokenService/IntrospectToken",
        "/sekisho.auth.v1.TokenService/IssueToken",
        "/sekisho.auth.v1.TokenService/RevokeToken",
        "/sekisho.auth.v1.KeyService/ListKeys",
    }
    assert "/sekisho.auth.v1.ExchangeService/ExchangeToken" in own(lambda rule: rule is None)
    assert not [path for path in own(lambda rule: rule is not None and rule.public) if ".payments." in path]


def test_the_own_contracts_bring_along_all_that_they_import() -> None:
    files = own_contracts().file
    assert {dependency for file in files for dependency in file.dependency} <= {file.name for file in files}
