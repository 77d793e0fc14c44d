import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import InvalidRequest
from mesh.serving.fields import Fields
from shops.money import MAX_MINOR_UNITS, MAX_QUANTITY, Money, check_price, total

LINES = st.lists(
    st.tuples(st.integers(1, MAX_MINOR_UNITS), st.integers(1, MAX_QUANTITY)),
    min_size=1,
    max_size=100,
)


@given(LINES)
def test_a_total_is_exact_or_refused(lines: list[tuple[int, int]]) -> None:
    expected = sum(price * quantity for price, quantity in lines)
    priced = [(Money("JPY", price), quantity) for price, quantity in lines]
    if expected <= MAX_MINOR_UNITS:
        assert total(priced) == Money("JPY", expected)
    else:
        with pytest.raises(InvalidRequest):
            total(priced)


def test_the_largest_total_is_taken_and_one_more_is_not() -> None:
    assert total([(Money("JPY", MAX_MINOR_UNITS), 1)]).minor_units == MAX_MINOR_UNITS
    with pytest.raises(InvalidRequest):
        total([(Money("JPY", MAX_MINOR_UNITS), 1), (Money("JPY", 1), 1)])


def test_currencies_are_not_mixed() -> None:
    with pytest.raises(InvalidRequest):
        total([(Money("JPY", 1), 1), (Money("USD", 1), 1)])


@pytest.mark.parametrize("price", [Money("JPY", 1), Money("XTS", MAX_MINOR_UNITS)])
def test_a_price_in_any_currency_is_taken(price: Money) -> None:
    fields = Fields()
    check_price(fields, "price", price)
    fields.done()


@pytest.mark.parametrize(
    ("price", "field"),
    [
        (Money("JPY", 0), "price.minor_units"),
        (Money("JPY", -1), "price.minor_units"),
        (Money("JPY", MAX_MINOR_UNITS + 1), "price.minor_units"),
        (Money("", 1), "price.currency_code"),
        (Money("jpy", 1), "price.currency_code"),
        (Money("JPYN", 1), "price.currency_code"),
        (Money("JPY\n", 1), "price.currency_code"),
    ],
)
def test_a_bad_price_is_refused(price: Money, field: str) -> None:
    fields = Fields()
    check_price(fields, "price", price)
    with pytest.raises(InvalidRequest) as refused:
        fields.done()
    assert list(refused.value.violations) == [field]
