import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mesh.access.decision import (
    ClientTypeNotAllowed,
    InsufficientScope,
    MethodNotFound,
    MissingToken,
    Restricted,
    Step,
    judge,
    judge_caller,
    judge_method,
)
from mesh.access.narrowing import Narrowing, Narrowings
from mesh.access.rules import ALL_CLIENT_TYPES, PUBLIC, Caller, ClientType, MethodRule
from mesh.errors import ServiceError

CLIENT_TYPES = st.sampled_from(ClientType)
SCOPES = st.frozensets(st.sampled_from(["a", "b", "c", "a.b"]))
RULES = st.none() | st.just(PUBLIC) | st.builds(MethodRule, st.frozensets(CLIENT_TYPES, min_size=1), SCOPES)
LISTENERS = st.frozensets(CLIENT_TYPES)
CALLERS = st.none() | st.builds(Caller, st.just("cli_1"), CLIENT_TYPES, st.just("shops"), st.just("ptr_1"), SCOPES)
PARTNERS = frozenset({ClientType.PARTNER})
SHOP = Caller("c", ClientType.PARTNER, "shops", "ptr_1", frozenset())
EVERYBODY = Narrowing(everybody={"": "night later"})
Outcome = tuple[Step, type[ServiceError]] | None


def expected(rule: MethodRule | None, admitted: frozenset[ClientType], caller: Caller | None) -> Outcome:
    """Say what the decision must be: a second, dumb reading of the design."""
    if rule is None:
        return Step.METHOD, MethodNotFound
    if rule.public:
        return None
    if not [client_type for client_type in ClientType if client_type in rule.client_types and client_type in admitted]:
        return Step.METHOD, MethodNotFound
    if caller is None:
        return Step.TOKEN, MissingToken
    if not (caller.client_type in rule.client_types and caller.client_type in admitted):
        return Step.RULE, ClientTypeNotAllowed
    return None if all(scope in caller.scopes for scope in rule.scopes) else (Step.RULE, InsufficientScope)


def decision(rule: MethodRule | None, admitted: frozenset[ClientType], caller: Caller | None) -> Outcome:
    verdict = judge(rule, admitted, caller)
    return (verdict.step, type(verdict.refusal)) if verdict.refusal else None


@given(RULES, LISTENERS, CALLERS)
@example(None, ALL_CLIENT_TYPES, Caller("c", ClientType.OPERATOR, "", "", frozenset("abc")))
@example(PUBLIC, frozenset(), Caller("c", ClientType.WALLET, "", "", frozenset()))
def test_a_call_is_admitted_exactly_when_rule_listener_and_caller_say_so(
    rule: MethodRule | None, admitted: frozenset[ClientType], caller: Caller | None
) -> None:
    assert decision(rule, admitted, caller) == expected(rule, admitted, caller)


@given(RULES, LISTENERS, CALLERS.filter(bool), SCOPES)
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
    assert judge_method(rule, admitted).passes == somebody


@given(CALLERS)
def test_the_step_after_the_exchange_lets_nobody_in_where_there_is_no_rule(caller: Caller | None) -> None:
    assert isinstance(judge_caller(None, ALL_CLIENT_TYPES, caller).refusal, MethodNotFound)


def test_unknown_internal_and_closed_methods_are_refused_in_the_same_words() -> None:
    closed = MethodRule(frozenset({ClientType.OPERATOR}))
    refusals = [judge(rule, PARTNERS, None).refusal for rule in (None, closed)]
    assert len({(type(each), each and (each.message, *each.metadata.items())) for each in refusals}) == 1


def test_a_refusal_says_which_scopes_are_missing_and_no_others() -> None:
    rule = MethodRule(PARTNERS, frozenset({"a", "b", "c"}))
    with pytest.raises(InsufficientScope) as caught:
        judge(rule, ALL_CLIENT_TYPES, Caller("c", ClientType.PARTNER, "", "", frozenset({"b", "x"}))).enforce()
    assert caught.value.metadata == {"scope": "a c"}


@pytest.mark.parametrize(("rule", "caller"), [(PUBLIC, None), (PUBLIC, SHOP), (MethodRule(PARTNERS), SHOP)])
def test_restrictions_in_force_refuse_and_those_on_trial_only_say_so(rule: MethodRule, caller: Caller | None) -> None:
    refused = judge(rule, ALL_CLIENT_TYPES, caller, Narrowings(enforced=EVERYBODY))
    assert (refused.step, refused.restrictions) == (Step.RESTRICTIONS, ("night", "later"))
    assert isinstance(refused.refusal, Restricted)
    assert refused.refusal.metadata == {"restriction": "night"}
    on_trial = judge(rule, ALL_CLIENT_TYPES, caller, Narrowings(reported=EVERYBODY))
    assert (on_trial.passes, on_trial.step, on_trial.restrictions) == (True, Step.RESTRICTIONS, ("night", "later"))


def test_who_would_be_refused_anyhow_learns_nothing_of_restrictions() -> None:
    narrowings = Narrowings(enforced=EVERYBODY, reported=EVERYBODY)
    for caller in (None, Caller("c", ClientType.WALLET, "", "", frozenset())):
        verdict = judge(MethodRule(PARTNERS), ALL_CLIENT_TYPES, caller, narrowings)
        assert not verdict.passes
        assert verdict.restrictions == ()
