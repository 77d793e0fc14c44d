import pytest

from mesh.errors import InvalidRequest
from mesh.serving.fields import Fields
from payments.money import CURRENCIES, MAX_MINOR_UNITS, CurrencyMismatch, Money, check_amount, require_currency


def problems(amount: Money) -> set[str]:
    fields = Fields()
    check_amount(fields, "amount", amount)
    try:
        fields.done()
    except InvalidRequest as error:
        return set(error.violations)
    return set()


@pytest.mark.parametrize("minor_units", [1, 500, MAX_MINOR_UNITS])
def test_an_amount_within_the_limits_is_taken(minor_units: int) -> None:
    assert problems(Money("JPY", minor_units)) == set()


@pytest.mark.parametrize("minor_units", [0, -1, MAX_MINOR_UNITS + 1, 2**63 - 1, -(2**63)])
def test_an_amount_beyond_the_limits_is_refused(minor_units: int) -> None:
    assert problems(Money("JPY", minor_units)) == {"amount.minor_units"}


@pytest.mark.parametrize("currency_code", ["", "jpy", "YEN", "XXX", "XTS", "XAU", "HRK", "JPY "])
def test_what_is_no_active_currency_is_refused(currency_code: str) -> None:
    assert problems(Money(currency_code, 0)) == {"amount.currency_code", "amount.minor_units"}


def test_currency_codes_are_three_capital_letters() -> None:
    assert {"JPY", "USD", "EUR", "KWD", "XOF"} <= CURRENCIES
    assert all(len(code) == 3 and code.isascii() and code.isalpha() and code.isupper() for code in CURRENCIES)


def test_another_currency_does_not_do() -> None:
    require_currency("JPY", Money("JPY", 1))
    with pytest.raises(CurrencyMismatch):
        require_currency("JPY", Money("USD", 1))
