"""Fields and metadata of requests: each is refused by its name, or read as one value that has this one spelling."""

import ipaddress
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import grpc
import pytest
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st

from authserver.clients.scopes import format_scope, grant_scope, parse_scope
from authserver.errors import InvalidScope
from gateway.errors import InvalidMetadata
from gateway.forwarding import forwarded_metadata
from mesh.calls import request_id
from mesh.calls.error_info import DETAILS_KEY, read_error_info
from mesh.calls.metadata import bearer_token
from mesh.calls.peers import address_of, network_of
from mesh.errors import InvalidRequest
from mesh.ids import new_id
from mesh.serving.fields import Fields
from mesh.serving.paging import Page, parse_page
from payments.money import CURRENCIES, MAX_MINOR_UNITS, Money, check_amount
from payments.servicers.cursors import decode_cursor, encode_cursor
from tests.fuzz.effort import cases
from tests.fuzz.mutations import hostile_texts, spliced, spoiled

T = TypeVar("T")

ROW_ID = new_id("pay")
PARTNER = new_id("ptn")
INT64 = st.integers(-(2**63), 2**63 - 1)


@dataclass(frozen=True)
class Row:
    row_id: str


def page_token(row_id: str) -> str:
    return Page(1, "").cut([Row(row_id), Row(row_id)], "row_id")[1]


def refused_fields(parse: Callable[[], T]) -> tuple[set[str], T | None]:
    """Return the names of the fields that are refused, or what comes out if none is."""
    try:
        return set(), parse()
    except InvalidRequest as refusal:
        return set(refusal.violations), None


def violations(check: Callable[[Fields], None]) -> set[str]:
    """Return the names of the fields that a check refuses."""
    fields = Fields()
    check(fields)
    return refused_fields(fields.done)[0]


@given(st.integers(-(2**31), 2**31 - 1), st.just("") | spoiled(page_token(ROW_ID)))
@cases(100)
def test_a_page_token_is_refused_or_is_the_one_that_this_page_gives(size: int, token: str) -> None:
    refused, page = refused_fields(lambda: parse_page(size, token))
    assert refused <= {"page_size", "page_token"}
    if page is not None:
        assert 1 <= page.size <= 100
        assert token == (page_token(page.after) if page.after else "")


@given(spoiled(encode_cursor(PARTNER, 7)))
@cases(100)
def test_a_cursor_is_refused_or_is_the_one_that_this_event_gives(cursor: str) -> None:
    refused, sequence = refused_fields(lambda: decode_cursor(PARTNER, cursor))
    assert refused <= {"cursor"}
    if sequence is not None:
        assert cursor == (encode_cursor(PARTNER, sequence) if cursor else "")


@given(spoiled("payments.read payments.write"))
@cases(100)
def test_a_scope_is_refused_or_says_the_same_when_it_is_written_again(scope: str) -> None:
    try:
        scopes = parse_scope(scope)
    except InvalidScope:
        return
    assert parse_scope(format_scope(scopes)) == scopes
    assert " ".join(scope.split(" ")) == scope
    assert scope.isascii()


@given(spoiled("payments.read"), st.frozensets(st.sampled_from(["payments.read", "payments.write"])))
@cases(60)
def test_no_scope_is_granted_beyond_the_ceiling(requested: str, ceiling: frozenset[str]) -> None:
    with suppress(InvalidScope):
        assert grant_scope(requested, ceiling) <= ceiling


@given(hostile_texts | spoiled("a@example.com"), st.integers(1, 500))
@cases(100)
def test_a_text_that_passes_is_one_line_and_not_too_long(text: str, most: int) -> None:
    if not violations(lambda fields: fields.text("name", text, max_length=most)):
        assert 0 < len(text) <= most
        assert len(text.splitlines()) == 1
        assert not {unicodedata.bidirectional(each) for each in text} & {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI"}
    if not violations(lambda fields: fields.email("contact_email", text)):
        assert text.isprintable()
        assert text.count("@") == 1
        assert len(text) <= 254


@given(spoiled("3f2b8c1e-6c1d-4d9e-9a5b-2f1e8c7d6b5a"))
@cases(100)
def test_a_request_id_that_passes_is_short_and_of_plain_letters(text: str) -> None:
    plain = text.isascii() and text.replace("-", "").replace("_", "").replace(".", "").isalnum()
    if not violations(lambda fields: fields.request_id(text)):
        assert 8 <= len(text) <= 64
        assert plain or not text.strip("-_.")
    if not violations(lambda fields: fields.random_request_id(text)):
        assert plain
        assert len(text) == 36
    assert (request_id.adopt(text) == text) <= (len(text) <= 64 and (plain or not text.strip("-_.")))


@given(st.sampled_from(sorted(CURRENCIES)) | spoiled("JPY"), INT64)
@cases(100)
def test_an_amount_that_passes_is_of_a_currency_and_can_be_kept(currency_code: str, minor_units: int) -> None:
    refused = violations(lambda fields: check_amount(fields, "amount", Money(currency_code, minor_units)))
    assert ("amount.currency_code" in refused) == (currency_code not in CURRENCIES)
    assert ("amount.minor_units" in refused) == (not 0 < minor_units <= MAX_MINOR_UNITS)


addresses = st.ip_addresses().map(str)
metadata_values = st.binary(max_size=40) | hostile_texts | st.sampled_from(["Bearer a", "bearer a", "Basic a"])
metadata = st.lists(
    st.tuples(
        st.sampled_from(
            ["authorization", "x-forwarded-for", "x-request-id", "x-sekisho-a", "grpc-timeout", "a", "b-bin"]
        ),
        metadata_values,
    ),
    max_size=4,
)


@given(metadata)
@cases(100)
def test_a_bearer_token_is_the_end_of_the_one_header_that_there_is(sent: list[tuple[str, str | bytes]]) -> None:
    token = bearer_token(sent)
    headers = [value for key, value in sent if key == "authorization"]
    if token is not None:
        (header,) = headers
        assert isinstance(header, str)
        assert header.lower() == f"bearer {token}".lower()
        assert header.endswith(token)
        assert " " not in token


@given(metadata, st.none() | st.just("pat"), addresses | hostile_texts)
@cases(100)
def test_what_is_handed_on_is_what_a_transport_takes(
    sent: list[tuple[str, str | bytes]], private_token: str | None, address: str
) -> None:
    try:
        handed = forwarded_metadata(sent, private_token, f"ipv6:%5B{address}%5D:1")
    except InvalidMetadata:
        assert any(isinstance(value, str) and not (value.isascii() and value.isprintable()) for _, value in sent)
        return
    assert [value for key, value in handed if key == "authorization"] == (
        [f"Bearer {private_token}"] * bool(private_token)
    )
    assert [key for key, _ in handed].count("x-forwarded-for") <= 1
    assert not [key for key, _ in handed if key in {"x-request-id", "x-sekisho-a", "grpc-timeout"}]


class Call:
    """Just enough of a call to ask where it came from."""

    def __init__(self, metadata: list[tuple[str, str | bytes]], peer: str) -> None:
        self.invocation_metadata = lambda: metadata
        self.peer = lambda: peer


@given(metadata, st.sampled_from(["ipv4:1.2.3.4:5", "ipv6:%5B::1%5D:5", "unix:/x", ""]) | hostile_texts)
@cases(100)
def test_who_calls_counts_under_a_short_name_whatever_is_said(sent: list[tuple[str, str | bytes]], peer: str) -> None:
    network = network_of(address_of(Call(sent, peer)))  # type: ignore[arg-type]
    assert len(network) <= 64


@given(addresses | spoiled("203.0.113.7") | spoiled("2001:db8::7%eth0") | spoiled("::ffff:203.0.113.7"))
@cases(100)
def test_an_address_counts_as_one_network_however_it_is_written(address: str) -> None:
    network = network_of(address)
    assert len(network) <= 64
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return
    for spelling in (str(parsed), str(parsed).upper()):
        assert network_of(spelling) == network


class Refused(grpc.aio.AioRpcError):
    """An error that a service answered with these details."""

    def __init__(self, details: bytes) -> None:
        trailing = grpc.aio.Metadata((DETAILS_KEY, details))
        super().__init__(grpc.StatusCode.UNKNOWN, grpc.aio.Metadata(), trailing)


@given(st.binary(max_size=60) | spliced(Status(code=3, message="no").SerializeToString()))
@cases(100)
def test_the_details_of_an_error_are_read_or_left(details: bytes) -> None:
    reason, facts = read_error_info(Refused(details))
    assert isinstance(reason, str)
    assert reason or not facts


def test_the_page_token_and_the_cursor_that_are_spoiled_above_are_good() -> None:
    assert parse_page(1, page_token(ROW_ID)).after == ROW_ID
    assert decode_cursor(PARTNER, encode_cursor(PARTNER, 7)) == 7
    with pytest.raises(InvalidRequest):
        parse_page(-1, "")
