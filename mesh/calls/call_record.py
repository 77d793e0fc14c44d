"""What is known of the call that is being answered: for its log line, for metrics, and for the next hop."""

import enum
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from typing import TypeAlias

import msgspec
import structlog

from mesh.access.rules import Caller

Metadata: TypeAlias = Sequence[tuple[str, str | bytes]]


class Decision(enum.StrEnum):
    """What became of a call that somebody judges."""

    ALLOWED = "allowed"
    REFUSED = "refused"


class CallRecord(msgspec.Struct, eq=False, gc=False):
    """One call. Each part of the code writes down here what it learns about the call; what is unknown is empty.

    Attributes:
        method: Its name on the wire, `/package.Service/Method`.
        request_id: The id that joins its log lines across services.
        trace_id: The trace that it is recorded in.
        address: Where the caller's connection comes from, as gRPC names it.
        workload: The SPIFFE id of the caller's certificate, if it showed one.
        metadata: What the caller sent.
        client_id: Whom the call's token speaks for, and the next two, too.
        client_type: The client's type.
        partner_id: The client's Partner ID.
        decision: Whether it may go on. One that breaks off while it is judged was refused.
        reason: Why it was refused, by Sekisho itself.
        would_refuse: What would have refused it, were it more than a trial.
        status: The name of the status that it ended with.
        request_messages: How many messages of the caller's went on.
        request_bytes: How long they were, all together.
        response_messages: How many messages went back.
        response_bytes: How long they were, all together.
        exchange_seconds: How long it waited for its token's exchange.
        backend_seconds: How long the backend had it.
        seconds: How long it took in all.

    """

    method: str
    request_id: str = ""
    trace_id: str = ""
    address: str = ""
    workload: str = ""
    metadata: Metadata = ()
    client_id: str = ""
    client_type: str = ""
    partner_id: str = ""
    decision: Decision | None = None
    reason: str = ""
    would_refuse: Sequence[str] = ()
    status: str = ""
    request_messages: int = 0
    request_bytes: int = 0
    response_messages: int = 0
    response_bytes: int = 0
    exchange_seconds: float = 0.0
    backend_seconds: float = 0.0
    seconds: float = 0.0

    def name_client(self, caller: Caller) -> None:
        """Write down whom the call's token speaks for."""
        self.client_id, self.client_type, self.partner_id = caller.client_id, caller.client_type, caller.partner_id

    def client(self) -> dict[str, str]:
        """Return what names the client, and the trace, in log lines; nothing of what is not known."""
        named = {
            "client_id": self.client_id,
            "client_type": self.client_type,
            "partner_id": self.partner_id,
            "trace_id": self.trace_id,
        }
        return {name: value for name, value in named.items() if value}


# What is told of each call when it ends.
Observer: TypeAlias = Callable[[CallRecord], None]

_log = structlog.get_logger()
_current: ContextVar[CallRecord | None] = ContextVar("call_record", default=None)


def begin(record: CallRecord) -> None:
    """Make this the current call's, also in the tasks that the current one starts from now on."""
    _current.set(record)


def current_call() -> CallRecord:
    """Return the current call's record; outside of calls, one that nobody reads."""
    return _current.get() or CallRecord("")


def end(record: CallRecord, observers: Iterable[Observer]) -> None:
    """Tell observers that a call has ended. What one of them raises is logged, and changes nothing for the caller."""
    for observe in observers:
        try:
            observe(record)
        except Exception:  # noqa: BLE001 - whatever it is, the call has had its answer
            _log.exception("an observer of calls failed")
