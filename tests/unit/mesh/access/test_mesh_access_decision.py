import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mesh.access.decision import ClientTypeNotAllowed, InsufficientScope, MethodNotFound, decide, require_reachable
from mesh.access.rules import ALL_CLIENT_TYPES, PUBLIC, Caller, ClientType, MethodRule
from mesh.errors import ServiceError

CLIENT_TYPES = st.sampled_from(ClientType)
SCOPES = st.frozensets(st.sampled_from(["a", "b", "c", "a.b"]))
RULES = st.none() | st.just(PUBLIC) | st.builds(MethodRule, st.frozensets(CLIENT_TYPES, min_size=1), SCOPES)
LISTENERS = st.frozensets(CLIENT_TYPES)
CALLERS = st.builds(Caller, st.just("cli_1"), CLIENT_TYPES, st.just("shops"), st.just("ptr_1"), SCOPES)


def expected(rule: MethodRule | None, admitted: frozenset[ClientType], caller: Caller) -> type[ServiceError] | None:
    """Say what the decision must be: a second, dumb reading of the design."""
    if rule is None:
        return MethodNotFound
    if rule.public:
        return None
    if not [client_type for client_type in ClientType if client_type in rule.client_types and client_type in admitted]:
        return MethodNotFound
    if not (caller.client_type in rule.client_types and caller.client_type in admitted):
        return ClientTypeNotAllowed
    return None if all(scope in caller.scopes for scope in rule.scopes) else InsufficientScope


def decision(rule: MethodRule | None, admitted: frozenset[ClientType], caller: Caller) -> type[ServiceError] | None:
    try:
        decide(rule, admitted, caller)
    except ServiceError as error:
        return type(error)
    return None


@given(RULES, LISTENERS, CALLERS)
@example(None, ALL_CLIENT_TYPES, Caller("c", ClientType.OPERATOR, "", "", frozenset("abc")))
@example(PUBLIC, frozenset(), Caller("c", ClientType.WALLET, "", "", frozenset()))
def test_a_call_is_admitted_exactly_when_rule_listener_and_caller_say_so(
    rule: MethodRule | None, admitted: frozenset[ClientType], caller: Caller
) -> None:
    assert decision(rule, admitted, caller) is expected(rule, admitted, caller)


@given(RULES, LISTENERS, CALLERS, SCOPES)
def test_more_scopes_never_close_a_method(
    rule: MethodRule | None, admitted: frozenset[ClientType], caller: Caller, more: frozenset[str]
) -> None:
    richer = Caller(caller.client_id, caller.client_type, caller.platform_id, caller.partner_id, caller.scopes | more)
    if decision(rule, admitted, caller) is None:
        assert decision(rule, admitted, richer) is None


@given(RULES, LISTENERS)
def test_a_method_is_reachable_exactly_when_some_caller_gets_in(
    rule: MethodRule | None, admitted: frozenset[ClientType]
) -> None:
    callers = [Caller("c", client_type, "", "", frozenset({"a", "b", "c", "a.b"})) for client_type in ClientType]
    somebody = any(decision(rule, admitted, caller) is None for caller in callers)
    if somebody:
        assert require_reachable(rule, admitted) is rule
    else:
        with pytest.raises(MethodNotFound):
            require_reachable(rule, admitted)


def test_unknown_internal_and_closed_methods_are_refused_in_the_same_words() -> None:
    closed = MethodRule(frozenset({ClientType.OPERATOR}))
    refusals = set()
    for rule in (None, closed):
        with pytest.raises(MethodNotFound) as caught:
            require_reachable(rule, frozenset({ClientType.PARTNER}))
        refusals.add((caught.value.message, *caught.value.metadata.items()))
    assert len(refusals) == 1


def test_a_refusal_says_which_scopes_are_missing_and_no_others() -> None:
    rule = MethodRule(frozenset({ClientType.PARTNER}), frozenset({"a", "b", "c"}))
    with pytest.raises(InsufficientScope) as caught:
        decide(rule, ALL_CLIENT_TYPES, Caller("c", ClientType.PARTNER, "", "", frozenset({"b", "x"})))
    assert caught.value.metadata == {"scope": "a c"}
