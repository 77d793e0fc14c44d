"""How the steps of a payment move money through the ledger."""

from payments.ledger import Account, AccountKind, LedgerTransaction, Posting, TransactionKind
from payments.payment_states import Payment


def authorization(transaction_id: str, payment: Payment) -> LedgerTransaction:
    """Hold the amount."""
    movements = [(_wallet(payment), _hold(payment), payment.authorized)]
    return _transaction(transaction_id, TransactionKind.AUTHORIZATION, payment, movements)


def capture(transaction_id: str, payment: Payment) -> LedgerTransaction:
    """Give the captured amount to the partner, less the fee, and the rest back to the wallet."""
    movements = [
        (_hold(payment), _partner(payment), payment.captured),
        (_partner(payment), _fee(payment), payment.fee),
        (_hold(payment), _wallet(payment), payment.authorized - payment.captured),
    ]
    return _transaction(transaction_id, TransactionKind.CAPTURE, payment, movements)


def cancellation(transaction_id: str, payment: Payment) -> LedgerTransaction:
    """Give the held amount back to the wallet."""
    movements = [(_hold(payment), _wallet(payment), payment.authorized)]
    return _transaction(transaction_id, TransactionKind.CANCELLATION, payment, movements)


def refund(transaction_id: str, before: Payment, after: Payment) -> LedgerTransaction:
    """Pay back to the wallet what the refund adds, with its share of the fee.

    The share is what leaves the right fee on what remains; so however a payment is refunded in parts, what it brought
    the partner covers each part.
    """
    movements = [
        (_fee(after), _partner(after), before.fee - after.fee),
        (_partner(after), _wallet(after), after.refunded - before.refunded),
    ]
    return _transaction(transaction_id, TransactionKind.REFUND, after, movements)


def _transaction(
    transaction_id: str, kind: TransactionKind, payment: Payment, movements: list[tuple[Account, Account, int]]
) -> LedgerTransaction:
    postings = tuple(Posting(source, destination, amount) for source, destination, amount in movements if amount)
    return LedgerTransaction(transaction_id, kind, payment.payment_id, postings, payment.update_time)


def _wallet(payment: Payment) -> Account:
    return Account(payment.wallet_id, payment.currency_code, AccountKind.WALLET)


def _hold(payment: Payment) -> Account:
    return Account(payment.partner_id, payment.currency_code, AccountKind.HOLD)


def _partner(payment: Payment) -> Account:
    return Account(payment.partner_id, payment.currency_code, AccountKind.PARTNER)


def _fee(payment: Payment) -> Account:
    return Account(payment.partner_id, payment.currency_code, AccountKind.FEE)
