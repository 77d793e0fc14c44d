import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidMetadata
from gateway.forwarding import forwarded_metadata, returned_metadata

PEER = "ipv4:203.0.113.7:50123"
OF_ONE_HOP = {
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
RESERVED = OF_ONE_HOP | {
    "authorization",
    "baggage",
    "forwarded",
    "traceparent",
    "tracestate",
    "user-agent",
    "x-real-ip",
    "x-request-id",
}
RESERVED_PREFIXES = ("grpc-", "proxy-", "x-forwarded-", "x-sekisho-")

names = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.", max_size=12)
reserved_keys = st.sampled_from(sorted(RESERVED)) | st.builds(str.__add__, st.sampled_from(RESERVED_PREFIXES), names)
# Also what begins or ends like a reserved key, and is none.
free_keys = st.builds("{}{}".format, names, reserved_keys | names).filter(lambda key: key and not is_reserved(key))
texts = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
pairs = st.tuples(free_keys | reserved_keys, texts) | st.tuples(free_keys.map("{}-bin".format), st.binary(max_size=20))
metadata = st.lists(pairs, max_size=12).flatmap(lambda some: st.permutations(some + some[:3]))
private_tokens = st.none() | st.text("abc.", min_size=1, max_size=9)


def is_reserved(key: str) -> bool:
    return key in RESERVED or key.startswith(RESERVED_PREFIXES)


@given(metadata, private_tokens)
def test_nothing_under_a_reserved_name_passes(sent: list[tuple[str, str | bytes]], private_token: str | None) -> None:
    forwarded = forwarded_metadata(sent, private_token, PEER)
    own = [("authorization", f"Bearer {private_token}")] if private_token is not None else []
    own += [("x-forwarded-user-agent", value) for key, value in sent if key == "user-agent"]
    own.append(("x-forwarded-for", "203.0.113.7"))
    assert [(key, value) for key, value in forwarded if is_reserved(key)] == own


@given(metadata, private_tokens)
def test_everything_else_passes_unchanged_and_in_order(
    sent: list[tuple[str, str | bytes]], private_token: str | None
) -> None:
    forwarded = forwarded_metadata(sent, private_token, PEER)
    expected = [pair for pair in sent if not is_reserved(pair[0])]
    assert [pair for pair in forwarded if not is_reserved(pair[0])] == expected


@given(metadata)
def test_there_is_an_authorization_only_with_a_private_token(sent: list[tuple[str, str | bytes]]) -> None:
    assert [key for key, _ in forwarded_metadata(sent, "pat", PEER)].count("authorization") == 1
    assert [key for key, _ in forwarded_metadata(sent, None, PEER)].count("authorization") == 0


@pytest.mark.parametrize("key", ["authorization-bin", "x-request-ids", "tea", "grpc", "x-forwarded", "my-grpc-thing"])
def test_a_key_that_only_looks_reserved_passes(key: str) -> None:
    assert forwarded_metadata([(key, "value")], None, "") == [(key, "value")]


@given(free_keys, st.text(min_size=1, max_size=5).filter(lambda value: any(not " " <= each <= "~" for each in value)))
def test_a_value_that_no_transport_takes_is_refused_by_its_key(key: str, value: str) -> None:
    with pytest.raises(InvalidMetadata) as refused:
        forwarded_metadata([("x-fine", "fine"), (key, value)], "pat", PEER)
    assert refused.value.metadata == {"key": key}


@given(reserved_keys, st.text(max_size=5))
def test_what_is_dropped_may_have_any_value(key: str, value: str) -> None:
    own = (
        [("x-forwarded-user-agent", value)] if key == "user-agent" and all(" " <= each <= "~" for each in value) else []
    )
    assert forwarded_metadata([(key, value)], None, "") == own


def test_the_backend_learns_the_callers_agent_from_its_transport_and_from_nothing_else() -> None:
    sent = [("x-forwarded-user-agent", "forged"), ("user-agent", "shop/1.0 grpc-go/1.83.1"), ("x-one", "1")]
    assert forwarded_metadata(sent, None, "") == [("x-forwarded-user-agent", "shop/1.0 grpc-go/1.83.1"), ("x-one", "1")]


def test_an_agent_that_no_transport_takes_stays_behind() -> None:
    assert forwarded_metadata([("user-agent", "caf\u00e9/1.0")], None, "") == []


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:203.0.113.7:50123", "203.0.113.7"),
        ("ipv6:%5B2001:db8::7%5D:50123", "2001:db8::7"),
        ("ipv6:[::1]:50123", "::1"),
        ("ipv6:%5Bfe80::7%25eth0%5D:50123", "fe80::7%eth0"),
    ],
)
def test_the_backend_learns_the_callers_address_without_the_port(peer: str, address: str) -> None:
    assert forwarded_metadata([], None, peer) == [("x-forwarded-for", address)]


@pytest.mark.parametrize("peer", ["", "unknown", "unix:", "unix:/run/door.sock", "unix-abstract:a:1", "ipv4:"])
def test_a_caller_without_an_address_has_none(peer: str) -> None:
    assert forwarded_metadata([("x-forwarded-for", "10.0.0.1")], None, peer) == []


def test_what_connection_names_is_for_one_hop_too() -> None:
    sent = [("connection", "close, X-Hop"), ("x-hop", "1"), ("x-free", "1"), ("close", "1")]
    assert forwarded_metadata(sent, None, "") == [("x-free", "1")]
    assert returned_metadata(sent) == (("x-free", "1"),)


def test_of_what_a_backend_answers_only_what_is_for_one_hop_is_dropped() -> None:
    answered = [*((name, "1") for name in sorted(OF_ONE_HOP)), ("x-free", "1"), ("grpc-status-details-bin", b"\0")]
    assert returned_metadata(answered) == (("x-free", "1"), ("grpc-status-details-bin", b"\0"))
    assert returned_metadata(()) == ()
