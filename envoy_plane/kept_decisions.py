"""Lets Envoy keep decisions: says which may be kept, and which hold no more."""

import hashlib
import time
from collections import deque
from collections.abc import Sequence

from google.protobuf.struct_pb2 import Struct

from gateway.exchange_cache import Exchanged
from gateway.judging import Judging
from mesh.access.revocation import Revocation, Subject
from mesh.calls.call_record import CallRecord
from mesh.calls.wrapping import Context
from sekisho.envoy import kept_decisions_pb2 as pb
from sekisho.envoy import kept_decisions_pb2_grpc as pb_grpc

# Workers ask ten times a second. One that is further behind than this many revocations forgets all that it keeps.
_MAX_REMEMBERED = 2_000


class RecentRevocations:
    """The latest revocations, as they were heard.

    Args:
        capacity: How many are remembered.

    """

    def __init__(self, capacity: int = _MAX_REMEMBERED) -> None:
        self._position = 0
        self._oldest: int | None = None  # what was revoked up to there is not known
        self._remembered = deque[Revocation]()
        self._capacity = capacity

    def hear(self, position: int, revocations: Sequence[Revocation]) -> None:
        """Remember what was revoked up to a position."""
        if self._oldest is None:
            self._oldest = position
        else:
            self._remembered.extend(revocations)
        self._position = position
        while len(self._remembered) > self._capacity:
            self._oldest = self._remembered.popleft().position

    def since(self, position: int) -> Sequence[Revocation]:
        """Return what was revoked after a position; that all was, if that is not remembered."""
        if self._oldest is None or position < self._oldest:
            return [Revocation(self._position, Subject.EVERYTHING)]
        return [each for each in self._remembered if each.position > position]


class KeptDecisions:
    """What may be kept of decisions, and until when it holds.

    Args:
        judges: What makes the decisions.

    """

    def __init__(self, judges: Judging) -> None:
        self._judges = judges
        self._rules = _digest(judges)
        self._limited = judges.config.limits.methods.keys()

    @property
    def policy(self) -> str:
        """What stands for all that decisions follow besides the token: one holds as long as this is the same."""
        return f"{self._rules}.{self._judges.restrictions.file_digest[:16]}"

    def keepable(self, record: CallRecord, path: str, exchanged: Exchanged) -> Struct | None:
        """Return what Envoy may keep of a decision to let a call through; None if it must ask each time.

        It must for methods that have a limit of their own, and for callers whom a restriction on trial would refuse:
        only the checkpoint can count those.
        """
        if record.would_refuse or path in self._limited:
            return None
        seconds = min(exchanged.good_until, exchanged.access_until) - time.monotonic()
        caller = exchanged.caller
        kept = Struct()
        kept.update(
            {
                "private": exchanged.private_token,
                "seconds": max(0.0, seconds),
                "position": exchanged.position,
                "policy": self.policy,
                str(Subject.TOKEN): exchanged.key[0].hex(),
                str(Subject.CLIENT): caller.client_id,
                str(Subject.PARTNER): caller.partner_id,
                str(Subject.PLATFORM): caller.platform_id,
            }
        )
        return kept


class KeptDecisionsServicer(pb_grpc.KeptDecisionsServicer):
    """Tells Envoy's workers what holds no more.

    Args:
        judges: What makes the decisions.
        kept: What holds of them.
        revocations: What was revoked lately.

    """

    def __init__(self, judges: Judging, kept: KeptDecisions, revocations: RecentRevocations) -> None:
        self._cache = judges.cache
        self._kept = kept
        self._revocations = revocations

    async def Follow(self, request: pb.FollowRequest, _context: Context) -> pb.FollowResponse:  # noqa: N802 - named by the contract
        """Tell one worker."""
        position = self._cache.position
        if position is None or not self._cache.believed:
            return pb.FollowResponse()
        lines = [f"{position} {self._kept.policy}"]
        if request.position.isdecimal():
            lines += [
                f"{each.position} {each.subject} {each.name}" for each in self._revocations.since(int(request.position))
            ]
        return pb.FollowResponse(text="\n".join(lines))


def _digest(judges: Judging) -> str:
    """Return what stands for contracts, grants and doors."""
    rules = [
        (path, route.backend, sorted(rule.client_types), sorted(rule.scopes), rule.public)
        for path, route in sorted(judges.routes.items())
        if (rule := route.method.rule)
    ]
    doors = [(each.name, sorted(each.client_types)) for each in judges.config.listeners]
    return hashlib.sha256(repr((rules, doors)).encode()).hexdigest()[:16]
