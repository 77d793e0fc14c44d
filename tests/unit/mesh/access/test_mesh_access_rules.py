import pytest

from mesh.access.rules import PUBLIC, ClientType, MethodRule
from sekisho.access.v1 import access_pb2

MASTER = frozenset({ClientType.MASTER})


def test_client_types_are_those_of_the_contracts() -> None:
    names = {name.removeprefix("CLIENT_TYPE_") for name in access_pb2.ClientType.keys()}  # noqa: SIM118 - no dict
    assert {client_type.name for client_type in ClientType} == names - {"UNSPECIFIED"}
    assert all(client_type.name == client_type.value for client_type in ClientType)


def test_a_rule_names_client_types_or_is_public() -> None:
    assert MethodRule(MASTER).scopes == frozenset()
    assert PUBLIC.public


@pytest.mark.parametrize(
    ("client_types", "scopes", "public"),
    [
        (frozenset(), frozenset(), False),
        (frozenset(), frozenset({"a"}), False),
        (MASTER, frozenset(), True),
        (frozenset(), frozenset({"a"}), True),
        (MASTER, frozenset({"a"}), True),
        (MASTER, frozenset({""}), False),
        (MASTER, frozenset({"a b"}), False),
        (MASTER, frozenset({'a"'}), False),
        (MASTER, frozenset({"a\\"}), False),
        (MASTER, frozenset({"fine", " "}), False),
    ],
)
def test_a_rule_that_is_empty_or_contradicts_itself_is_refused(
    client_types: frozenset[ClientType],
    scopes: frozenset[str],
    public: bool,  # noqa: FBT001 - a column of the table
) -> None:
    with pytest.raises(ValueError, match=r"rule|scope"):
        MethodRule(client_types, scopes, public)


@pytest.mark.parametrize("scope", ["a\tb", "a\n", "a\0", "a\x7f", "é", "payments\u00a0write", "\u200bpayments.write"])
def test_a_scope_that_no_token_can_have_is_refused(scope: str) -> None:
    with pytest.raises(ValueError, match="scope"):
        MethodRule(MASTER, frozenset({scope}))
