import re

from hypothesis import given
from hypothesis import strategies as st

from shops.owner_tokens import order_token, owner_token, same_token

KEY = b"k" * 32
IDS = st.text(min_size=1, max_size=40)
SUBJECTS = st.tuples(IDS, st.integers(0, 1000))


def test_a_token_does_not_change() -> None:
    assert owner_token(KEY, "shp_1", 0) == "sot_UELBs4cD_CC2l1cEQbkPYqQI1G9X2NdslMvrGAvwtkg"
    assert order_token(KEY, "ord_1") == "sor_xjATYgwF3oabdI4hDszb6d3XBfIgOMJgbCOWqCWeTjI"


@given(SUBJECTS, SUBJECTS)
def test_each_shop_and_each_generation_has_its_own_owner_token(one: tuple[str, int], other: tuple[str, int]) -> None:
    assert (owner_token(KEY, *one) == owner_token(KEY, *other)) == (one == other)


@given(IDS)
def test_another_key_makes_other_tokens(name: str) -> None:
    assert owner_token(KEY, name, 0) != owner_token(b"x" * 32, name, 0)
    assert order_token(KEY, name) != order_token(b"x" * 32, name)


@given(IDS)
def test_an_order_token_is_never_an_owner_token(name: str) -> None:
    assert order_token(KEY, name)[4:] != owner_token(KEY, name, 0)[4:]


@given(IDS)
def test_tokens_are_256_bits_in_unpadded_base64url(name: str) -> None:
    assert re.fullmatch(r"sot_[A-Za-z0-9_-]{43}", owner_token(KEY, name, 0))
    assert re.fullmatch(r"sor_[A-Za-z0-9_-]{43}", order_token(KEY, name))


@given(st.text())
def test_only_the_very_same_token_is_the_same(presented: str) -> None:
    expected = owner_token(KEY, "shp_1", 0)
    assert same_token(expected, presented) == (expected == presented)
    assert same_token(expected, expected)
    assert not same_token(expected, expected + "=")
    assert not same_token(expected, None)
