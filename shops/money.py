"""Prices and their sums."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from mesh.errors import InvalidRequest
from mesh.serving.fields import Fields

MAX_MINOR_UNITS = 1_000_000_000_000
MAX_QUANTITY = 1_000

_CURRENCY = re.compile(r"[A-Z]{3}")


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in one currency.

    Attributes:
        currency_code: Three capital letters (ISO 4217); which of them can be paid in, the payment company decides.
        minor_units: Yen for JPY, cents for USD.

    """

    currency_code: str
    minor_units: int


def check_price(fields: Fields, field: str, price: Money) -> None:
    """Record what is wrong with a price."""
    if not _CURRENCY.fullmatch(price.currency_code):
        fields.refuse(f"{field}.currency_code", "must be three capital letters")
    if not 1 <= price.minor_units <= MAX_MINOR_UNITS:
        fields.refuse(f"{field}.minor_units", f"must be from 1 to {MAX_MINOR_UNITS}")


def total(lines: Iterable[tuple[Money, int]]) -> Money:
    """Add up prices times quantities; there is at least one line.

    Raises:
        InvalidRequest: If they are not all in one currency, or the sum is too large to be paid at once.

    """
    lines = list(lines)
    currencies = {price.currency_code for price, _ in lines}
    if len(currencies) != 1:
        raise InvalidRequest({"items": "must all be in one currency"})
    minor_units = sum(price.minor_units * quantity for price, quantity in lines)
    if minor_units > MAX_MINOR_UNITS:
        raise InvalidRequest({"items": f"must come to at most {MAX_MINOR_UNITS} minor units"})
    return Money(currencies.pop(), minor_units)
