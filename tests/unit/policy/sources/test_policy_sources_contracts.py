from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from mesh.access.rules import PUBLIC, ClientType, MethodRule
from mesh.config import ChannelConfig, ConfigError
from policy.sources.contracts import Contracts, read_contracts
from policy.sources.gateway_config import BackendConfig, GatewayConfig
from sekisho.access.v1 import access_pb2

CHANNEL = ChannelConfig(target="localhost:1", ca=Path("ca.pem"))
RULED, BARE, OTHER = "/a.v1.A/Ruled", "/a.v1.A/Bare", "/a.v1.A/Other"
EXCHANGE = "/sekisho.auth.v1.ExchangeService/ExchangeToken"


def descriptor_set(folder: Path, name: str, *services: str, package: str = "a.v1") -> Path:
    """Write a set whose services each have a method with a rule, and two without."""
    empty = FileDescriptorProto(name="empty.proto", package="empty")
    empty.message_type.add(name="Empty")
    file = FileDescriptorProto(name="a.proto", package=package, dependency=["empty.proto"])
    for service in services:
        declared = file.service.add(name=service)
        for method in ("Ruled", "Bare", "Other"):
            declared.method.add(name=method, input_type=".empty.Empty", output_type=".empty.Empty")
        rule = access_pb2.Rule(client_types=[access_pb2.CLIENT_TYPE_MASTER])
        declared.method[0].options.Extensions[access_pb2.rule].CopyFrom(rule)
    path = folder / name
    path.write_bytes(FileDescriptorSet(file=[empty, file]).SerializeToString())
    return path


def backend(name: str, *services: str, sets: tuple[Path, ...] = ()) -> BackendConfig:
    return BackendConfig(name=name, channel=CHANNEL, services=services, descriptor_sets=sets)


def read(*backends: BackendConfig, grants: Path | None = None) -> Contracts:
    return read_contracts(GatewayConfig(listeners=(), auth=CHANNEL, backends=backends, grants=grants))


def refusal(*backends: BackendConfig, grants: Path | None = None) -> str:
    with pytest.raises(ConfigError) as refused:
        read(*backends, grants=grants)
    return str(refused.value)


@pytest.fixture
def a_set(tmp_path: Path) -> Path:
    return descriptor_set(tmp_path, "a.binpb", "A", "B")


@pytest.fixture
def grants(tmp_path: Path) -> Path:
    return tmp_path / "grants.yaml"


def test_the_services_of_a_descriptor_set_that_a_backend_serves_are_there_beside_sekishos_own(a_set: Path) -> None:
    contracts = read(backend("a", "a.v1.A", sets=(a_set,)))
    assert contracts.methods[RULED].rule == MethodRule(frozenset({ClientType.MASTER}))
    assert contracts.methods[BARE].rule is None
    assert EXCHANGE in contracts.methods
    assert "/a.v1.B/Ruled" not in contracts.methods
    assert set(contracts.declared) == {method.service for method in contracts.methods.values()}


def test_backends_may_share_a_descriptor_set(a_set: Path) -> None:
    contracts = read(backend("a", "a.v1.A", sets=(a_set,)), backend("b", "a.v1.B", sets=(a_set,)))
    assert contracts.declared["a.v1.A"] is contracts.declared["a.v1.B"]


def test_what_another_backends_set_says_of_a_service_does_not_count(tmp_path: Path, a_set: Path) -> None:
    other = descriptor_set(tmp_path, "other.binpb", "A", "C")
    contracts = read(backend("c", "a.v1.C", sets=(other,)), backend("a", "a.v1.A", sets=(a_set,)))
    assert contracts.declared["a.v1.A"] is not contracts.declared["a.v1.C"]


def test_two_sets_that_declare_one_service_are_refused(tmp_path: Path, a_set: Path) -> None:
    other = descriptor_set(tmp_path, "other.binpb", "A")
    said = refusal(backend("a", "a.v1.A", sets=(a_set, other)))
    assert said == f"backend a, service a.v1.A: {a_set} and {other} both declare it"


def test_sekishos_own_services_are_declared_by_nobody_else(tmp_path: Path) -> None:
    mine = descriptor_set(tmp_path, "mine.binpb", "ExchangeService", package="sekisho.auth.v1")
    said = refusal(backend("a", "sekisho.auth.v1.ExchangeService", sets=(mine,)))
    assert said.endswith(f"Sekisho's own contracts and {mine} both declare it")


def test_a_bad_rule_is_refused_with_its_file(tmp_path: Path) -> None:
    path = descriptor_set(tmp_path, "a.binpb", "A")
    contracts = FileDescriptorSet.FromString(path.read_bytes())
    contracts.file[1].service[0].method[0].options.Extensions[access_pb2.rule].public = True
    path.write_bytes(contracts.SerializeToString())
    said = refusal(backend("a", "a.v1.A", sets=(path,)))
    assert said == f"{path}: {RULED}: a public rule takes neither client types nor scopes"


def test_a_grant_supplies_the_rule_that_a_method_lacks_and_no_other(a_set: Path, grants: Path) -> None:
    grants.write_text(f"""
    grants:
      - methods: [{BARE}]
        client_types: [PARTNER, OPERATOR]
        scopes: [a.read]
      - methods: [{OTHER}]
        public: true
    """)
    serves = backend("a", "a.v1.A", sets=(a_set,))
    before, after = read(serves).methods, read(serves, grants=grants).methods
    staff = frozenset({ClientType.PARTNER, ClientType.OPERATOR})
    assert after[BARE].rule == MethodRule(staff, frozenset({"a.read"}))
    assert after[OTHER].rule == PUBLIC
    assert {path for path in after if after[path] != before[path]} == {BARE, OTHER}


@pytest.mark.parametrize(
    ("grant", "says"),
    [
        (f"methods: [{RULED}], client_types: [MASTER]", f"grants[0]: {RULED} has a rule in its contract"),
        (f"methods: [{BARE}, {BARE}], public: true", f"grants[0]: {BARE} is granted twice"),
        ("methods: [/a.v1.A/Gone], public: true", "grants[0]: no descriptor set of a backend that serves it declares"),
        ("methods: [a.v1.A/Bare], public: true", "declares a.v1.A/Bare"),
        ("methods: [/a.v1.B/Bare], public: true", "declares /a.v1.B/Bare"),
        (f"methods: [{EXCHANGE}], public: true", f"declares {EXCHANGE}"),
        (f"methods: [{BARE}]", "grants[0]: the rule names no client type and is not public"),
        (f"methods: [{BARE}], scopes: [a]", "grants[0]: the rule names no client type and is not public"),
        (f"methods: [{BARE}], public: true, scopes: [a]", "grants[0]: a public rule takes neither"),
        (f"methods: [{BARE}], client_types: [PARTNER], scopes: ['a b']", "grants[0]: a scope is empty, or has"),
        (f"methods: [{BARE}], client_types: [NOBODY]", "grants[0].client_types"),
        (f"methods: [{BARE}], client_types: [PARTNER], scope: a", "unknown field `scope` - at `$.grants[0]`"),
        (f"methods: [{BARE}], public: true, public: true", "public is there twice"),
        ("methods: [], public: true", "grants[0].methods"),
    ],
)
def test_a_grant_that_does_not_fit_is_refused_and_says_where(a_set: Path, grants: Path, grant: str, says: str) -> None:
    grants.write_text(f"grants: [{{{grant}}}]")
    said = refusal(backend("a", "a.v1.A", sets=(a_set,)), grants=grants)
    assert str(grants) in said
    assert says in said


@pytest.mark.parametrize("content", ["", "grants: []", "grants: {}", "grans: []", "- methods"])
def test_grants_that_grant_nothing_are_refused(a_set: Path, grants: Path, content: str) -> None:
    grants.write_text(content)
    assert str(grants) in refusal(backend("a", "a.v1.A", sets=(a_set,)), grants=grants)


def test_missing_grants_are_refused(a_set: Path, grants: Path) -> None:
    assert "No such file" in refusal(backend("a", "a.v1.A", sets=(a_set,)), grants=grants)
