"""What restrictions take away from methods, put together so that a call costs one look-up, however many there are."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from mesh.access.rules import Caller

# Of the restrictions that refuse one call, this many are named at most.
MAX_NAMED = 8
# Separated by spaces: lists would take three times as long to hand from process to process, and calls wait for that.
Names: TypeAlias = str


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What restrictions of one mode take away from one method at one door: each cause, with whose it is.

    Attributes:
        everybody: Those that refuse everybody, under an empty key.
        client_types: Those that refuse clients of a type.
        scopes: Those that need a scope.
        client_ids: Those that refuse a client.
        partner_ids: Those that refuse a partner.
        platform_ids: Those that refuse a platform's clients.

    """

    everybody: dict[str, Names] = field(default_factory=dict)
    client_types: dict[str, Names] = field(default_factory=dict)
    scopes: dict[str, Names] = field(default_factory=dict)
    client_ids: dict[str, Names] = field(default_factory=dict)
    partner_ids: dict[str, Names] = field(default_factory=dict)
    platform_ids: dict[str, Names] = field(default_factory=dict)

    def refusing(self, caller: Caller | None) -> Sequence[str]:
        """Return the names of restrictions that refuse a caller, eight at most; none if he may call.

        Args:
            caller: Whom the token speaks for; None if there is none, as the method is public.

        """
        causes = (names for names in self._causes(caller) if names)
        if (first := next(causes, None)) is None:
            return ()
        names = (name for names in itertools.chain([first], causes) for name in names.split())
        return tuple(itertools.islice(dict.fromkeys(itertools.islice(names, MAX_NAMED**2)), MAX_NAMED))

    def _causes(self, caller: Caller | None) -> Iterator[Names | None]:
        yield self.everybody.get("")
        if caller is None:
            return
        yield self.client_types.get(caller.client_type)
        yield self.client_ids.get(caller.client_id)
        yield self.partner_ids.get(caller.partner_id)
        yield self.platform_ids.get(caller.platform_id)
        for scope, names in self.scopes.items():
            if scope not in caller.scopes:
                yield names


@dataclass(frozen=True, slots=True)
class Narrowings:
    """What restrictions take away from one method at one door.

    Attributes:
        enforced: What is refused.
        reported: What would be.

    """

    enforced: Narrowing = field(default_factory=Narrowing)
    reported: Narrowing = field(default_factory=Narrowing)


# By the name of the door, and the method's path. Where nothing is restricted, there is no entry.
Restrictions: TypeAlias = Mapping[str, Mapping[str, Narrowings]]
