"""Amounts of money: currencies and limits."""

from dataclasses import dataclass

from mesh.errors import Code, ServiceError
from mesh.serving.fields import Fields

MAX_MINOR_UNITS = 1_000_000_000_000

# The active codes of ISO 4217, list one, without funds, precious metals and test codes.
_CODES = """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP
    CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG
    HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL
    MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR
    RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD
    TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
"""
CURRENCIES = frozenset(_CODES.split())


class CurrencyMismatch(ServiceError):
    """The amount is in another currency than what it is for."""

    code = Code.FAILED_PRECONDITION


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in one currency.

    Attributes:
        currency_code: The ISO 4217 code.
        minor_units: The amount in the currency's minor unit.

    """

    currency_code: str
    minor_units: int


def check_currency(fields: Fields, field: str, currency_code: str) -> None:
    """Check a currency code."""
    if currency_code not in CURRENCIES:
        fields.refuse(field, "must be an active ISO 4217 currency code, three capital letters")


def check_amount(fields: Fields, field: str, amount: Money) -> None:
    """Check the parts of an amount that a caller wants to move."""
    check_currency(fields, f"{field}.currency_code", amount.currency_code)
    if not 1 <= amount.minor_units <= MAX_MINOR_UNITS:
        fields.refuse(f"{field}.minor_units", f"must be from 1 to {MAX_MINOR_UNITS:,}")


def require_currency(currency_code: str, amount: Money) -> None:
    """Return if the amount is in the currency.

    Raises:
        CurrencyMismatch: If it is in another one.

    """
    if amount.currency_code != currency_code:
        raise CurrencyMismatch(
            f"the amount must be in {currency_code}, not {amount.currency_code}", currency_code=currency_code
        )
