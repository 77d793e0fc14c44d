import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import InvalidRequest
from payments.servicers.cursors import decode_cursor, encode_cursor

ONE, OTHER = "ptn_00000000000000000000000001", "ptn_00000000000000000000000002"
CURSOR = encode_cursor(ONE, 7)


@given(st.integers(0, 2**63 - 1))
def test_a_cursor_is_read_back(sequence: int) -> None:
    assert decode_cursor(ONE, encode_cursor(ONE, sequence)) == sequence


def test_no_cursor_stands_before_the_first_event() -> None:
    assert decode_cursor(ONE, "") == 0


@given(st.integers(0, 2**63 - 1))
def test_another_partners_cursor_is_refused(sequence: int) -> None:
    with pytest.raises(InvalidRequest):
        decode_cursor(OTHER, encode_cursor(ONE, sequence))


@given(st.text() | st.binary(max_size=40).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_what_is_no_cursor_is_refused(text: str) -> None:
    if text not in {"", CURSOR}:
        with pytest.raises(InvalidRequest) as caught:
            decode_cursor(ONE, text)
        assert set(caught.value.violations) == {"cursor"}


@pytest.mark.parametrize("place", range(len(CURSOR)))
def test_a_mangled_cursor_is_refused(place: int) -> None:
    for mangled in (
        CURSOR[:place] + CURSOR[place + 1 :],
        CURSOR[:place] + "!" + CURSOR[place:],
        CURSOR[:place] + "-" + CURSOR[place + 1 :],
    ):
        if mangled != CURSOR:
            with pytest.raises(InvalidRequest):
                decode_cursor(ONE, mangled)


@pytest.mark.parametrize("after", ["=", "==", "\n", " ", "A", "é"])
def test_a_cursor_with_more_behind_it_is_refused(after: str) -> None:
    with pytest.raises(InvalidRequest):
        decode_cursor(ONE, CURSOR + after)
