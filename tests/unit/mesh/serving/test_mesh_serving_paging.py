import base64
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import InvalidRequest
from mesh.ids import new_id
from mesh.serving.paging import Page, parse_page


@dataclass(frozen=True)
class Row:
    payment_id: str


def token_of(row_id: str) -> str:
    return base64.urlsafe_b64encode(row_id.encode()).decode()


@pytest.mark.parametrize(("asked", "given_size"), [(0, 50), (1, 1), (100, 100), (101, 100), (2**31 - 1, 100)])
def test_the_page_size_has_a_default_and_a_maximum(asked: int, given_size: int) -> None:
    assert parse_page(asked, "") == Page(given_size, "")


@pytest.mark.parametrize("size", [-1, -(2**31)])
def test_a_negative_page_size_is_refused(size: int) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_page(size, "")
    assert list(caught.value.violations) == ["page_size"]


@given(st.integers(0, 12), st.integers(1, 5))
def test_pages_in_a_row_are_the_whole_list(total: int, size: int) -> None:
    rows, seen, token = [Row(new_id("pay")) for _ in range(total)], list[Row](), ""
    rows.sort(key=lambda row: row.payment_id)
    for _ in range(total + 1):
        page = parse_page(size, token)
        selected = [row for row in rows if row.payment_id > page.after][: page.limit]
        part, token = page.cut(selected, "payment_id")
        assert len(part) <= size
        seen += part
        if not token:
            break
    assert seen == rows


@pytest.mark.parametrize(
    "row_id",
    [
        "pay_",
        "pay_" + "0" * 25,
        "pay_" + "0" * 27,
        "PAY_" + "0" * 26,
        "pay-" + "0" * 26,
        "pay_" + "0" * 26 + "\n",
        "' OR 1=1 --",
        "?",
        "\0",
    ],
)
def test_a_token_that_names_no_row_is_refused(row_id: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_page(0, token_of(row_id))
    assert list(caught.value.violations) == ["page_token"]


@pytest.mark.parametrize("token", ["a", "garbage", "gA==", "/w==", "A" * 100_000, "cGF5"])
def test_garbage_is_refused_as_a_token(token: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_page(0, token)


@given(st.data())
def test_a_truncated_token_is_refused(data: st.DataObject) -> None:
    token = token_of(new_id("pay"))
    with pytest.raises(InvalidRequest):
        parse_page(0, token[: data.draw(st.integers(1, len(token) - 1))])


@pytest.mark.parametrize("token", ["!", "!!!!", "é", "=", "====", " ", "\n", "寿司"])
def test_a_token_without_a_single_base64_character_is_refused(token: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_page(0, token)


@pytest.mark.parametrize("mangle", ["{}=", "\n{}", "{}\n", "*{}", "{}!", " {} "])
def test_another_spelling_of_a_token_is_refused(mangle: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_page(0, mangle.format(token_of(new_id("pay"))))
