"""Whatever a file of restrictions says: nobody gets through by it who would not get through without."""

import itertools
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from hypothesis import event, given
from hypothesis import strategies as st

from gateway.checkpoint import Checkpoint
from gateway.restrictions_in_force import RestrictionsInForce
from mesh.access.descriptors import Method
from mesh.access.narrowing import Restrictions
from mesh.access.rules import PUBLIC, Caller, ClientType, MethodRule
from mesh.config import ConfigError
from mesh.errors import ServiceError
from policy.routes import Route
from policy.sources.restrictions import compile_restrictions, parse_restrictions
from tests.fuzz.effort import cases
from tests.fuzz.mutations import hostile_texts, mutated

FILE = Path("restrictions.yaml")
PARTNER, MASTER, OPERATOR = ClientType.PARTNER, ClientType.MASTER, ClientType.OPERATOR
RULES = {
    "/a.Pay/Pay": MethodRule(frozenset({PARTNER, MASTER}), frozenset({"pay"})),
    "/a.Pay/List": MethodRule(frozenset({PARTNER, MASTER, OPERATOR})),
    "/a.Pay/Audit": MethodRule(frozenset({OPERATOR})),
    "/a.Look/Look": PUBLIC,
}
HIDDEN = "/a.Pay/Hidden"
ROUTES = {
    path: Route(Method(path, rule, client_streaming=False, server_streaming=False), "backend")
    for path, rule in {**RULES, HIDDEN: None}.items()
}
DOORS = {"public": frozenset({PARTNER, MASTER}), "staff": frozenset({PARTNER, OPERATOR})}
CALLERS = [
    Caller(f"client-{client_type}-{scope}", client_type, platform, partner, frozenset(scope.split()))
    for client_type, platform, partner in ((PARTNER, "shops", "ptn_1"), (MASTER, "shops", ""), (OPERATOR, "", ""))
    for scope in ("", "pay", "more", "pay more")
]
CALLS = list(itertools.product(DOORS, ROUTES, CALLERS))


def some(*choices: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(choices), min_size=1, max_size=3, unique=True)


entries = st.fixed_dictionaries(
    {"name": st.sampled_from("abcdefgh"), "methods": some(*RULES, "/a.Pay/*", "/a.Look/*")},
    optional={
        "mode": st.sampled_from(["enforce", "report"]),
        "listeners": some(*DOORS),
        "client_types": some(*ClientType),
        "scopes": some("pay", "more"),
        "deny": st.fixed_dictionaries(
            {},
            optional={
                "client_ids": some(*(caller.client_id for caller in CALLERS)),
                "partner_ids": some("ptn_1", "ptn_2"),
                "platform_ids": some("shops", "others"),
            },
        ),
        "closed": st.booleans(),
    },
)


def written(*entries: dict[str, Any]) -> str:
    return json.dumps({"restrictions": entries})


def compiled(content: str) -> Restrictions | None:
    """Return what a file takes away; None if it makes no sense."""
    try:
        return compile_restrictions(FILE, parse_restrictions(FILE, content.encode()), RULES, DOORS)
    except ConfigError:
        return None


any_files = st.lists(entries, max_size=4).map(lambda each: written(*each))
good_entries = st.lists(entries, max_size=12, unique_by=lambda each: each["name"]).map(
    lambda several: [each for each in several if compiled(written(each)) is not None]
)


class Exchange:
    """Takes every token for the caller's."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    async def exchange(self, *_: object) -> Any:
        return self


class Call:
    """Has no limits."""

    def arrive(self) -> None: ...

    def begin(self, *_: object) -> None: ...

    def identify(self, *_: object, **__: object) -> None: ...


def at_once(work: Coroutine[Any, Any, object]) -> None:
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits for something")


def passes(door: str, path: str, caller: Caller, in_force: RestrictionsInForce | None) -> bool:
    exchange: Any = Exchange(caller)
    call: Any = Call()
    checkpoint = Checkpoint(ROUTES, exchange, in_force and in_force.at(door))
    try:
        at_once(checkpoint.admit(path, DOORS[door], [("authorization", "Bearer sat_a")], call))
    except ServiceError:
        return False
    return True


ALLOWED = [call for call in CALLS if passes(*call, None)]


def allowed_by(restrictions: Restrictions) -> list[tuple[str, str, Caller]]:
    """Return the calls that pass while these are in force."""
    in_force = RestrictionsInForce(FILE, RULES, DOORS)
    in_force._restrictions = restrictions  # noqa: SLF001 - as reading it in a process of its own would
    return [call for call in CALLS if passes(*call, in_force)]


def satisfied(entry: dict[str, Any], door: str, path: str, caller: Caller) -> bool:
    """Say, word for word, what an entry says."""
    service = path.rpartition("/")[0]
    here = {path, f"{service}/*"} & set(entry["methods"]) and door in entry.get("listeners", DOORS)
    if not here or entry.get("mode") == "report":
        return True
    deny = entry.get("deny", {})
    return not (
        entry.get("closed")
        or caller.client_type not in entry.get("client_types", ClientType)
        or set(entry.get("scopes", ())) - caller.scopes
        or caller.client_id in deny.get("client_ids", ())
        or caller.partner_id in deny.get("partner_ids", ())
        or caller.platform_id in deny.get("platform_ids", ())
    )


@given(good_entries)
@cases(100)
def test_a_file_takes_away_exactly_what_its_entries_say(entries: list[dict[str, Any]]) -> None:
    restrictions = compiled(written(*entries))
    assert restrictions is not None
    assert allowed_by(restrictions) == [call for call in ALLOWED if all(satisfied(each, *call) for each in entries)]


@given(any_files | good_entries.flatmap(lambda each: mutated(written(*each))) | hostile_texts)
@cases(100)
def test_no_file_lets_anybody_through_whom_contracts_refuse(content: str) -> None:
    restrictions = compiled(content)
    event("refused" if restrictions is None else "read")
    if restrictions is not None:
        assert set(allowed_by(restrictions)) <= set(ALLOWED)
