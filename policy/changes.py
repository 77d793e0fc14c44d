"""What a change of policy gives to whom, and takes from whom."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from mesh.access.rules import ALL_CLIENT_TYPES, Caller, ClientType
from policy.policy import Policy

# A kind of id, `client_ids`, `partner_ids` or `platform_ids`, and the id.
_Denied: TypeAlias = tuple[str, str]

# The client types that belong to a platform.
_OF_PLATFORMS = frozenset({ClientType.MASTER, ClientType.PARTNER})
# What a caller without a token is called among the client types.
NOBODY_IN_PARTICULAR = "without a token"


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms callers of a kind may call a method.

    Attributes:
        scopes: What the token needs.
        denied: Who is refused although the scopes suffice.

    """

    scopes: frozenset[str] = frozenset()
    denied: frozenset[_Denied] = frozenset()


@dataclass(frozen=True, slots=True)
class Change:
    """What changes for callers of one kind.

    Attributes:
        listener: By which door.
        method: The path of what they call.
        who: Their client type, or that they have no token.
        gains: Some of them may call who might not before.
        says: What changes, in words.

    """

    listener: str
    method: str
    who: str
    gains: bool
    says: str


def terms(policy: Policy, door: str, path: str, who: ClientType | None) -> Terms | None:
    """Return on what terms clients of a type may call, or callers without a token; None if they may not.

    Restrictions that only report take nothing away.
    """
    rule, taken = policy.rule(path), policy.narrowings(door, path).enforced
    scopes = (rule.scopes if rule else frozenset()) | frozenset(taken.scopes)
    # A caller with all scopes, and without an id that restrictions could name, is refused only for its type.
    somebody = None if who is None else Caller("", who, "", "", scopes)
    if rule is None or not policy.judge(door, path, somebody).passes:
        return None
    if rule.public:  # no token is looked at
        return Terms()
    kinds = {"client_ids": taken.client_ids}
    if who is ClientType.PARTNER:  # others have no Partner ID
        kinds["partner_ids"] = taken.partner_ids
    if who in _OF_PLATFORMS:
        kinds["platform_ids"] = taken.platform_ids
    denied = frozenset((kind, each) for kind, ids in kinds.items() for each in ids)
    return Terms(scopes, denied)


def changes(old: Policy, new: Policy) -> Iterator[Change]:
    """Yield who gains and who loses what, by door, method and kind of caller.

    Doors and methods are the same if they have the same name. What becomes public is told once, as gained by callers
    without a token: those with one gain it, too, if they could not call it before.
    """
    for door in dict.fromkeys([*old.doors, *new.doors]):
        for path in sorted({*old.routes, *new.routes}):
            yield from _changes_of(old, new, door, path)


def _changes_of(old: Policy, new: Policy, door: str, path: str) -> Iterator[Change]:
    for who in [None, *sorted(ALL_CLIENT_TYPES)]:
        before, after = terms(old, door, path, who), terms(new, door, path, who)
        for gains, says in _differences(before, after):
            yield Change(door, path, who or NOBODY_IN_PARTICULAR, gains, says)
        if who is None and after and not before:
            return


def _differences(before: Terms | None, after: Terms | None) -> Iterator[tuple[bool, str]]:
    """Yield what changes, and whether somebody gains by it."""
    if before is None and after is not None:
        yield True, f"may call now{_with(after)}"
    elif before is not None and after is None:
        yield False, "may no longer call"
    elif before is not None and after is not None:
        if dropped := before.scopes - after.scopes:
            yield True, f"no longer needs {' '.join(sorted(dropped))}"
        if added := after.scopes - before.scopes:
            yield False, f"needs {' '.join(sorted(added))}, too"
        for gains, ids in ((True, before.denied - after.denied), (False, after.denied - before.denied)):
            if ids:
                yield gains, f"{'no longer refused' if gains else 'refused now'}: {_named(ids)}"


def _with(after: Terms) -> str:
    scopes = f", with {' '.join(sorted(after.scopes))}" if after.scopes else ""
    return scopes + (f", but for {_named(after.denied)}" if after.denied else "")


def _named(denied: frozenset[_Denied]) -> str:
    return ", ".join(f"{kind.removesuffix('_ids')} {each}" for kind, each in sorted(denied))
