import uuid
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import InvalidRequest
from mesh.serving.fields import Fields


def accepts(check: Callable[[Fields], None]) -> bool:
    fields = Fields()
    check(fields)
    try:
        fields.done()
    except InvalidRequest:
        return False
    return True


def test_all_that_is_wrong_is_reported_at_once() -> None:
    fields = Fields()
    fields.text("name", "", max_length=10)
    fields.email("contact", "nobody")
    fields.request_id("short")
    with pytest.raises(InvalidRequest) as caught:
        fields.done()
    assert list(caught.value.violations) == ["name", "contact", "request_id"]


def test_the_first_problem_of_a_field_is_the_one_reported() -> None:
    fields = Fields()
    fields.refuse("name", "first")
    fields.refuse("name", "second")
    with pytest.raises(InvalidRequest) as caught:
        fields.done()
    assert caught.value.violations == {"name": "first"}


ORDINARY = [
    "a",
    "a" * 10,
    "Käse 寿司",
    "  padded  ",
    "緑茶\u3000二缶",  # ideographic space
    "10\u00a0€",  # no-break space
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # zero-width non-joiner, as Persian is written
    "👩\u200d🍳",  # zero-width joiner
    "Post\u00adamt",  # soft hyphen
    "\ue000 \ufeff \u0378",  # for private use, a mark, not assigned
]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_within_its_length_is_taken(text: str) -> None:
    assert accepts(lambda fields: fields.text("name", text, max_length=10))


@pytest.mark.parametrize("text", ORDINARY[4:])
def test_an_identifier_is_printable_as_a_whole(text: str) -> None:
    assert not accepts(lambda fields: fields.identifier("payment_id", text, max_length=10))
    assert accepts(lambda fields: fields.identifier("payment_id", "pay_1", max_length=5))
    assert not accepts(lambda fields: fields.identifier("payment_id", "pay_12", max_length=5))
    assert not accepts(lambda fields: fields.identifier("payment_id", "", max_length=5))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "\t",
        "a" * 11,
        "a\nb",
        "a\r",
        "a\0b",
        "a\x1b[31m",
        "a\x7f",
        "a\u2028b",
        "a\u2029b",
        "a\x85b",
        "\u3000\u200b\u00ad",
        *(f"a{mark}b" for mark in "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"),
        "\ud800",
    ],
    ids=ascii,
)
def test_empty_overlong_and_misleading_text_is_refused(text: str) -> None:
    assert not accepts(lambda fields: fields.text("name", text, max_length=10))


def test_text_that_is_not_required_may_be_empty_but_not_unprintable() -> None:
    assert accepts(lambda fields: fields.text("note", "", max_length=10, required=False))
    assert not accepts(lambda fields: fields.text("note", "\n", max_length=10, required=False))
    assert not accepts(lambda fields: fields.text("note", "a" * 11, max_length=10, required=False))


@pytest.mark.parametrize("address", ["a@b.c", "first.last+tag@mail.example.com", "ü@exämple.jp", "a" * 248 + "@b.com"])
def test_an_e_mail_address_is_taken(address: str) -> None:
    assert accepts(lambda fields: fields.email("contact", address))


@pytest.mark.parametrize(
    "address",
    [
        "",
        "a",
        "a@b",
        "@b.c",
        "a@",
        "a@b.",
        "a@.c",
        "a@b..c",
        "a@b@c.d",
        "a b@c.d",
        "a@b.c\n",
        "a@b.c\nBcc: x@y.z",
        "a\0@b.c",
        "a" * 249 + "@b.com",
        "a@" + "b." * 100_000,
    ],
)
def test_what_is_no_e_mail_address_is_refused(address: str) -> None:
    assert not accepts(lambda fields: fields.email("contact", address))


@pytest.mark.parametrize("request_id", ["a" * 8, "a" * 64, "A-b_c.d0", str(uuid.UUID(int=5))])
def test_a_request_id_is_taken(request_id: str) -> None:
    assert accepts(lambda fields: fields.request_id(request_id))


@pytest.mark.parametrize(
    "request_id", ["", "a" * 7, "a" * 65, "a" * 8 + "\n", "abcd efgh", "abcdefgé", "٠١٢٣٤٥٦٧", "abcd/efgh"]
)
def test_a_malformed_request_id_is_refused(request_id: str) -> None:
    assert not accepts(lambda fields: fields.request_id(request_id))


@given(st.uuids(version=4), st.booleans())
def test_random_uuids_are_taken_as_random_request_ids(value: uuid.UUID, upper: bool) -> None:  # noqa: FBT001 - drawn
    text = str(value).upper() if upper else str(value)
    assert accepts(lambda fields: fields.random_request_id(text))


@given(st.uuids(version=1) | st.uuids(version=3) | st.uuids(version=5))
def test_uuids_that_can_be_guessed_are_refused(value: uuid.UUID) -> None:
    assert not accepts(lambda fields: fields.random_request_id(str(value)))


@pytest.mark.parametrize("around", ["{%s}", "urn:uuid:%s", " %s", "%s\n", "%s-"])
def test_other_spellings_of_a_random_uuid_are_refused(around: str) -> None:
    text = around % uuid.uuid4()
    assert not accepts(lambda fields: fields.random_request_id(text))
    assert not accepts(lambda fields: fields.random_request_id(uuid.uuid4().hex))
