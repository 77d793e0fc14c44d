"""There is one decision: whoever is asked about a call, at the door or at the desk, says the same."""

import itertools
import json
import shutil
import tempfile
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from hypothesis import event, given
from hypothesis import strategies as st

from cli.policy.table import rows_of
from gateway.checkpoint import Checkpoint
from gateway.restrictions_in_force import RestrictionsInForce
from mesh.access.descriptors import client_type_number
from mesh.access.rules import PUBLIC, Caller, ClientType, MethodRule
from mesh.calls.call_record import CallRecord, begin
from mesh.config import ConfigError
from mesh.errors import ServiceError
from policy.changes import NOBODY_IN_PARTICULAR, changes
from policy.explanation import Outcome, explain
from policy.policy import Policy, read_policy
from policy.sources.restrictions import compile_restrictions, parse_restrictions
from sekisho.access.v1 import access_pb2
from tests.fuzz.effort import cases

ALLOWED = "ALLOWED"
SCOPES = ("read", "write", "more")
METHODS = tuple(f"/a.Pay/{name}" for name in ("One", "Two", "Three", "Four"))
PATHS = (*METHODS, "/a.Pay/Unknown")
HELD = [frozenset(held) for count in range(4) for held in itertools.combinations(SCOPES, count)]
IDS = {ClientType.PARTNER: ("shops", "ptn_1"), ClientType.MASTER: ("shops", "")}
TYPES = st.frozensets(st.sampled_from(ClientType), min_size=1)
RULES = st.none() | st.just(PUBLIC) | st.builds(MethodRule, TYPES, st.frozensets(st.sampled_from(SCOPES)))


def callers_of(who: ClientType) -> Iterator[Caller]:
    """Yield callers of a type: those whom restrictions may name, others, and all with every choice of scopes."""
    platform, partner = IDS.get(who, ("", ""))
    platforms, partners = ({each, each and f"other-{each}"} for each in (platform, partner))
    for ids in itertools.product(("cli_1", "cli_2"), platforms, partners):
        for scopes in HELD:
            yield Caller(ids[0], who, ids[1], ids[2], scopes)


CALLERS: Sequence[Caller | None] = [None, *itertools.chain.from_iterable(map(callers_of, ClientType))]


def some(*choices: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(choices), min_size=1, max_size=2, unique=True)


NAMES = st.sampled_from("abcdef")
denials = st.sampled_from([{"client_ids": ["cli_1"]}, {"partner_ids": ["ptn_1"]}, {"platform_ids": ["shops"]}])
entries = st.fixed_dictionaries(
    {"name": NAMES, "methods": some(*METHODS, "/a.Pay/*")},
    optional={
        "mode": st.sampled_from(["enforce", "report"]),
        "listeners": some("public", "staff"),
        "client_types": some(*ClientType),
        "scopes": some(*SCOPES),
        "deny": denials,
        "closed": st.booleans(),
    },
) | st.fixed_dictionaries({"name": NAMES, "methods": some(*METHODS), "deny": denials})
# Rules in the contract, rules in grants, the client types of two doors, and restrictions, of which some make no sense.
PARTS: dict[str, st.SearchStrategy[Any]] = {
    "contract": st.tuples(*[RULES] * len(METHODS)),
    "grants": st.tuples(*[RULES] * len(METHODS)),
    "doors": st.tuples(TYPES, TYPES),
    "restrictions": st.lists(entries, max_size=5, unique_by=lambda each: each["name"]),
}
worlds = st.fixed_dictionaries(PARTS)
# What is changed at once: most changes are small.
edits = st.sampled_from(list(PARTS)).flatmap(lambda part: st.fixed_dictionaries({part: PARTS[part]})) | worlds


def as_grant(path: str, rule: MethodRule) -> dict[str, Any]:
    if rule.public:
        return {"methods": [path], "public": True}
    return {"methods": [path], "client_types": sorted(rule.client_types), "scopes": sorted(rule.scopes)}


def contract(rules: Sequence[MethodRule | None]) -> bytes:
    file = FileDescriptorProto(name="a.proto", package="a", syntax="proto3")
    file.message_type.add(name="Nothing")
    service = file.service.add(name="Pay")
    for path, rule in zip(METHODS, rules, strict=True):
        method = service.method.add(name=path.rpartition("/")[2], input_type=".a.Nothing", output_type=".a.Nothing")
        if rule:
            option = method.options.Extensions[access_pb2.rule]
            option.client_types.extend(map(client_type_number, rule.client_types))
            option.scopes.extend(rule.scopes)
            option.public = rule.public
    return FileDescriptorSet(file=[file]).SerializeToString()


@contextmanager
def policy_in(world: dict[str, Any]) -> Iterator[Policy]:
    """Write a gateway's files, as far as they make sense, and read its policy."""
    folder = Path(tempfile.mkdtemp())
    try:
        yield read_policy(_written(folder, world))
    finally:
        shutil.rmtree(folder)


def _written(folder: Path, world: dict[str, Any]) -> Path:
    in_contract = [*world["contract"][:-1], world["contract"][-1] or PUBLIC]  # one at least has a rule
    granted = {
        path: grant
        for path, rule, grant in zip(METHODS, in_contract, world["grants"], strict=True)
        if grant and not rule
    }
    rules = {path: rule for path, rule in zip(METHODS, in_contract, strict=True) if rule} | granted
    doors = dict(zip(("public", "staff"), world["doors"], strict=True))
    channel = {"target": "localhost:1", "ca": "ca.pem"}
    server = {"listen": "localhost:0", "certificate": "a.pem", "private_key": "key.pem"}
    config = {
        "listeners": [{"name": name, "server": server, "client_types": sorted(doors[name])} for name in doors],
        "auth": channel,
        "backends": [{"name": "a", "channel": channel, "services": ["a.Pay"], "descriptor_sets": ["a.binpb"]}],
        "restrictions": "restrictions.yaml",
        **({"grants": "grants.yaml"} if granted else {}),
    }
    file = folder / "restrictions.yaml"
    sensible = [each for each in world["restrictions"] if _makes_sense(file, each, rules, doors)]
    file.write_text(json.dumps({"restrictions": sensible}))
    (folder / "a.binpb").write_bytes(contract(in_contract))
    (folder / "grants.yaml").write_text(json.dumps({"grants": [as_grant(*each) for each in granted.items()]}))
    (folder / "gateway.yaml").write_text(json.dumps(config))
    return folder / "gateway.yaml"


def _makes_sense(file: Path, entry: dict[str, Any], rules: Any, doors: Any) -> bool:
    try:
        compile_restrictions(
            file, parse_restrictions(file, json.dumps({"restrictions": [entry]}).encode()), rules, doors
        )
    except ConfigError:
        return False
    return True


class FakeExchange:
    """Takes every token for the caller's."""

    caller: Caller

    async def exchange(self, *_: object) -> Any:
        return self


class Unlimited:
    def arrive(self) -> None: ...

    def begin(self, *_: object) -> None: ...

    def identify(self, *_: object, **__: object) -> None: ...


def at_once(work: Coroutine[Any, Any, object]) -> None:
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits for something")


class Gateway:
    """The checkpoints of a policy's doors, with the restrictions that its file has."""

    def __init__(self, policy: Policy) -> None:
        assert policy.config
        rules = {path: route.method.rule for path, route in policy.routes.items() if route.method.rule}
        in_force = RestrictionsInForce(policy.config.restrictions, rules, policy.doors)
        in_force._restrictions = policy.restrictions  # noqa: SLF001 - as reading it in a process of its own would
        self._doors = policy.doors
        self._exchange: Any = FakeExchange()
        self._checkpoints = {
            door: Checkpoint(policy.routes, self._exchange, in_force.at(door)) for door in policy.doors
        }
        begin(CallRecord(""))

    def outcome(self, door: str, path: str, caller: Caller | None) -> str:
        call: Any = Unlimited()
        self._exchange.caller = caller
        metadata = [("authorization", "Bearer sat_a")] if caller else []
        try:
            at_once(self._checkpoints[door].admit(path, self._doors[door], metadata, call))
        except ServiceError as refusal:
            return refusal.reason
        return ALLOWED

    def shown(self, door: str, caller: Caller | None) -> frozenset[str]:
        return self._checkpoints[door].methods_for(caller, self._doors[door])


def by_table(row: dict[str, Any], policy: Policy, caller: Caller | None) -> bool:
    """Say whether a caller may call, by what stands in a row of the table."""
    allowed = row["public"] or (
        caller is not None and caller.client_type in row["client_types"] and caller.scopes >= set(row["scopes"])
    )
    enforced = {each["name"] for each in row["restrictions"] if each["mode"] == "enforce"}
    entries = [each.restriction for each in policy.entries if each.restriction.name in enforced]
    return allowed and not any(_shuts_out(entry, None if row["public"] else caller) for entry in entries)


def _shuts_out(entry: Any, caller: Caller | None) -> bool:
    return entry.closed or (
        caller is not None
        and bool(
            caller.client_type not in (entry.client_types or ClientType)
            or (entry.scopes or frozenset()) - caller.scopes
            or caller.client_id in (entry.deny.client_ids or ())
            or caller.partner_id in (entry.deny.partner_ids or ())
            or caller.platform_id in (entry.deny.platform_ids or ())
        )
    )


@given(worlds)
@cases(40)
def test_checkpoint_explanation_table_and_reflection_say_the_same(world: dict[str, Any]) -> None:
    with policy_in(world) as policy:
        gateway = Gateway(policy)
        rows = {(row["listener"], row["method"]): row for row in rows_of(policy, list(policy.doors))}
        for door, caller in itertools.product(policy.doors, CALLERS):
            allowed = set[str]()
            for path in PATHS:
                outcome = gateway.outcome(door, path, caller)
                event(outcome)
                refusal = policy.judge(door, path, caller).refusal
                assert (refusal.reason if refusal else ALLOWED) == outcome
                if outcome == ALLOWED:
                    allowed.add(path)
                if row := rows.get((door, path)):
                    assert by_table(row, policy, caller) == (outcome == ALLOWED)
            assert gateway.shown(door, caller) == allowed


@given(worlds, st.lists(st.sampled_from(CALLERS), min_size=1, max_size=8))
@cases(40)
def test_explanation_ends_where_the_call_does_with_the_same_words(
    world: dict[str, Any], callers: list[Caller | None]
) -> None:
    with policy_in(world) as policy:
        gateway = Gateway(policy)
        for door, path, caller in itertools.product(policy.doors, PATHS, callers):
            told = explain(policy, door, path, caller)
            outcome = gateway.outcome(door, path, caller)
            assert (told.refusal.reason if told.refusal else ALLOWED) == outcome
            assert (told.points[-1].outcome is Outcome.REFUSED) == (outcome != ALLOWED)
            assert not any(point.outcome is Outcome.REFUSED for point in told.points[:-1])
            if told.refusal:
                assert told.points[-1].says.startswith(told.refusal.reason)


@given(worlds, edits)
@cases(150)
def test_a_change_gains_or_loses_exactly_where_some_verdict_changes(
    world: dict[str, Any], edit: dict[str, Any]
) -> None:
    with policy_in(world) as old, policy_in(world | edit) as new:
        told = {(each.listener, each.method, each.who, each.gains) for each in changes(old, new)}
        for door, path in itertools.product(old.doors, METHODS):
            changed = {
                (door, path, caller.client_type if caller else NOBODY_IN_PARTICULAR, after)
                for caller in CALLERS
                for before, after in [[each.judge(door, path, caller).passes for each in (old, new)]]
                if before != after
            }
            here = {each for each in told if each[:2] == (door, path)}
            public = (door, path, NOBODY_IN_PARTICULAR, True)
            if public in here:  # it is told once, for all callers
                assert all(gains for *_, gains in changed)
                assert here == {public}
                assert public in changed
            else:
                assert here == changed
