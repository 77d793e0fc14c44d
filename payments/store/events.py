"""The changes of each partner's payments, in the order of their commits."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, insert, literal_column, select, update
from sqlalchemy import bindparam as bind

from mesh.storage.statements import DriverStatement
from payments.payment_states import Payment
from payments.store.payments import payment_of
from payments.store.tables import partners, payment_events, payments

_CHANGED = ("state", "captured", "refunded", "update_time")

_NEXT = DriverStatement(
    update(partners)
    .where(partners.c.partner_id == bind("partner"))
    .values(event_count=partners.c.event_count + literal_column("1"))
    .returning(partners.c.event_count)
)
_INSERT = DriverStatement(insert(payment_events))
_LIST = (
    select(
        payment_events.c.sequence,
        *(column for column in payments.c if column.name not in _CHANGED),
        *(payment_events.c[name] for name in _CHANGED),
    )
    .join_from(payment_events, payments, payment_events.c.payment_id == payments.c.payment_id)
    .where(payment_events.c.partner_id == bind("partner"), payment_events.c.sequence > bind("after"))
    .order_by(payment_events.c.sequence)
    .limit(bind("limit"))
)
_COUNT = select(partners.c.partner_id, partners.c.event_count).where(
    partners.c.partner_id.in_(bind("partners", expanding=True))
)


@dataclass(frozen=True, slots=True)
class PaymentEvent:
    """One change of a payment.

    Attributes:
        sequence: Its number among the partner's, from 1 on, without gaps.
        payment: The payment as this change left it.

    """

    sequence: int
    payment: Payment


def record_event(connection: Connection, payment: Payment) -> None:
    """Add what a step changed of a payment to its partner's events.

    The partner's next number stays locked until the transaction ends, so whoever sees an event sees all before it.
    """
    sequence = _NEXT.first(connection, {"partner": payment.partner_id}).event_count
    row = {
        "partner_id": payment.partner_id,
        "sequence": sequence,
        "payment_id": payment.payment_id,
        **{name: getattr(payment, name) for name in _CHANGED},
    }
    _INSERT.execute(connection, row)


def list_events(connection: Connection, partner_id: str, after: int, limit: int) -> Sequence[PaymentEvent]:
    """Return a partner's next events after a number, the oldest first."""
    rows = connection.execute(_LIST, {"partner": partner_id, "after": after, "limit": limit})
    return [PaymentEvent(row.sequence, payment_of(row)) for row in rows]


def count_events(connection: Connection, partner_ids: Iterable[str]) -> Mapping[str, int]:
    """Return how many events each of the partners has: the number of its newest. Leaves out partners there are not."""
    rows = connection.execute(_COUNT, {"partners": list(partner_ids)})
    return {row.partner_id: row.event_count for row in rows}
