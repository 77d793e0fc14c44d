import base64
import re

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from hypothesis import given
from hypothesis import strategies as st

from authserver.access_tokens import MAX_LENGTH, AccessToken, Epochs, TokenRejected, TokenSealer
from authserver.clients.scopes import parse_scope
from mesh.access.rules import Caller, ClientType
from tests.unit.mesh.forgery import ALPHABET, encode

KEY = bytes(range(32))
SEALER = TokenSealer({1: KEY}, 1)
CALLER = Caller("cli_1", ClientType.PARTNER, "shops", "ptr_1", frozenset({"payments.read", "payments.write"}))
TOKEN = AccessToken(CALLER, "jti", 1_800_000_000, Epochs(1, 2, 3))

IDS = st.text(max_size=30)
EPOCHS = st.integers(0, 2**63 - 1)
TOKENS = st.builds(
    AccessToken,
    st.builds(Caller, IDS, st.sampled_from(ClientType), IDS, IDS, st.frozensets(st.text(max_size=8), max_size=8)),
    IDS,
    st.integers(0, 2**53),
    st.builds(Epochs, EPOCHS, EPOCHS, EPOCHS),
)


def raw_of(sealed: str) -> bytes:
    body = sealed.removeprefix("sat_")
    return base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))


def sealed_with(pattern: str) -> str:
    """Return a sealed token in which a pattern is found."""
    return next(sealed for sealed in iter(lambda: SEALER.seal(TOKEN), "") if re.search(pattern, sealed[4:]))


@given(TOKENS)
def test_a_token_says_what_was_sealed(token: AccessToken) -> None:
    assert SEALER.open(SEALER.seal(token)) == token


def test_a_token_is_text_without_padding_behind_its_prefix() -> None:
    assert re.fullmatch(r"sat_[A-Za-z0-9_-]+", SEALER.seal(TOKEN))


def test_a_token_reveals_nothing_of_what_it_says() -> None:
    raw = raw_of(SEALER.seal(TOKEN))
    assert not [word for word in (b"cli_1", b"shops", b"ptr_1", b"payments", b"PARTNER", b"jti") if word in raw]


def test_the_same_contents_are_never_sealed_alike() -> None:
    assert len({SEALER.seal(TOKEN) for _ in range(100)}) == 100


def test_a_token_with_any_bit_changed_is_rejected() -> None:
    raw = raw_of(SEALER.seal(TOKEN))
    for place in range(len(raw)):
        for bit in range(8):
            changed = bytearray(raw)
            changed[place] ^= 1 << bit
            with pytest.raises(TokenRejected):
                SEALER.open("sat_" + encode(bytes(changed)))


def test_a_token_with_any_character_changed_is_rejected() -> None:
    sealed = SEALER.seal(TOKEN)
    for place, character in enumerate(sealed):
        other = ALPHABET[ALPHABET.index(character) ^ 1]
        with pytest.raises(TokenRejected):
            SEALER.open(sealed[:place] + other + sealed[place + 1 :])


def test_a_token_truncated_at_any_length_is_rejected() -> None:
    sealed = SEALER.seal(TOKEN)
    for length in range(len(sealed)):
        with pytest.raises(TokenRejected):
            SEALER.open(sealed[:length])
    raw = raw_of(sealed)
    for length in range(len(raw)):
        with pytest.raises(TokenRejected):
            SEALER.open("sat_" + encode(raw[:length]))


@pytest.mark.parametrize("extended", [b"\0", b"x" * 16])
def test_an_extended_token_is_rejected(extended: bytes) -> None:
    raw = raw_of(SEALER.seal(TOKEN))
    for changed in (raw + extended, extended + raw):
        with pytest.raises(TokenRejected):
            SEALER.open("sat_" + encode(changed))


@pytest.mark.parametrize(
    "spelling",
    [
        "{}=",
        "{}==",
        "{}\n",
        "\n{}",
        " {}",
        "{} ",
        "{}\0",
        "\t{}",
        "{}.",
        "Bearer {}",
        "SAT_{body}",
        "sat_sat_{body}",
        "{body}",
        "sat_\n{body}",
        "sat_ {body}",
    ],
)
def test_other_spellings_of_a_token_are_rejected(spelling: str) -> None:
    for _ in range(3):
        sealed = SEALER.seal(TOKEN)
        with pytest.raises(TokenRejected):
            SEALER.open(spelling.format(sealed, body=sealed[4:]))


@pytest.mark.parametrize(
    "caller",
    [
        CALLER,
        Caller("c", ClientType.MASTER, "s", "", frozenset()),
        Caller("cl", ClientType.MASTER, "s", "", frozenset()),
    ],
)
def test_a_token_with_other_unused_bits_is_rejected(caller: Caller) -> None:
    sealed = SEALER.seal(AccessToken(caller, "jti", 1, Epochs(0, 0, 0)))
    opened = []
    for last in ALPHABET:
        try:
            SEALER.open(sealed[:-1] + last)
        except TokenRejected:
            continue
        opened.append(last)
    assert opened == [sealed[-1]]


@pytest.mark.parametrize(("urlsafe", "standard"), [("-", "+"), ("_", "/")])
def test_a_token_in_the_standard_alphabet_is_rejected(urlsafe: str, standard: str) -> None:
    sealed = sealed_with(urlsafe)
    with pytest.raises(TokenRejected):
        SEALER.open("sat_" + sealed[4:].replace(urlsafe, standard))


def test_a_token_broken_by_white_space_anywhere_is_rejected() -> None:
    sealed = SEALER.seal(TOKEN)
    for place in range(len(sealed)):
        for space in ("\n", " ", "="):
            with pytest.raises(TokenRejected):
                SEALER.open(sealed[:place] + space + sealed[place:])


@pytest.mark.parametrize(
    "token",
    [
        "",
        "sat_",
        "sat_A",
        "sat_AAAA",
        "sat_é",
        "sat_\ud800",
        "garbage",
        "sat_" + "A" * 200,
        "scs_" + "A" * 43,
        "eyJhbGciOiJub25lIn0.e30.",
    ],
)
def test_garbage_is_rejected(token: str) -> None:
    with pytest.raises(TokenRejected):
        SEALER.open(token)


@given(st.text(max_size=200), st.binary(max_size=200))
def test_random_text_and_bytes_are_rejected(text: str, raw: bytes) -> None:
    for token in (text, "sat_" + text, "sat_" + encode(raw), "sat_" + encode(b"\1\0\0\0\1" + raw)):
        with pytest.raises(TokenRejected):
            SEALER.open(token)


def test_a_token_of_another_installation_is_rejected() -> None:
    with pytest.raises(TokenRejected):
        SEALER.open(TokenSealer({1: bytes(32)}, 1).seal(TOKEN))


def test_a_token_of_a_key_that_is_gone_is_rejected() -> None:
    with pytest.raises(TokenRejected):
        SEALER.open(TokenSealer({2: KEY}, 2).seal(TOKEN))


def test_a_token_opens_under_the_key_that_sealed_it_and_no_other() -> None:
    both = TokenSealer({1: KEY, 2: bytes(32)}, 2)
    assert both.open(SEALER.seal(TOKEN)) == TOKEN
    relabelled = bytearray(raw_of(SEALER.seal(TOKEN)))
    relabelled[4] = 2
    with pytest.raises(TokenRejected):
        both.open("sat_" + encode(bytes(relabelled)))


@pytest.mark.parametrize("length", [MAX_LENGTH + 1, 10_000, 5_000_000])
def test_an_overlong_token_is_rejected(length: int) -> None:
    with pytest.raises(TokenRejected):
        SEALER.open("sat_" + "A" * (length - 4))


@pytest.mark.parametrize(("scope_length", "taken"), [(600, True), (700, False)])
def test_a_token_of_over_1024_characters_is_rejected_though_it_is_sealed_well(scope_length: int, taken: bool) -> None:  # noqa: FBT001 - a column of the table
    caller = Caller("c", ClientType.MASTER, "s", "", frozenset({"a" * scope_length}))
    header, nonce = b"\1\0\0\0\1", bytes(12)
    contents = msgspec.msgpack.encode(AccessToken(caller, "jti", 1, Epochs(0, 0, 0)))
    sealed = "sat_" + encode(header + nonce + AESGCMSIV(KEY).encrypt(nonce, contents, header))
    assert (len(sealed) <= MAX_LENGTH) is taken
    if taken:
        assert SEALER.open(sealed).caller == caller
    else:
        with pytest.raises(TokenRejected):
            SEALER.open(sealed)


def test_a_token_that_would_be_too_long_is_not_sealed() -> None:
    caller = Caller("c", ClientType.MASTER, "s", "", frozenset(f"scope.{number:04}" for number in range(80)))
    with pytest.raises(ValueError, match="too long"):
        SEALER.seal(AccessToken(caller, "jti", 1, Epochs(0, 0, 0)))


LONGEST_SCOPE = parse_scope(" ".join(f"{number:03}" for number in range(100)))


def longest(platform_id: str, partner_id: str) -> AccessToken:
    caller = Caller("cli_" + "0" * 26, ClientType.PARTNER, platform_id, partner_id, LONGEST_SCOPE)
    return AccessToken(caller, "0" * 24, 2**33, Epochs(2**31, 2**31, 2**31))


def test_the_longest_scope_fits_into_a_token() -> None:
    token = longest("shops", "ptr_" + "0" * 26)
    assert SEALER.open(SEALER.seal(token)) == token


def test_the_longest_scope_and_ids_fit_into_a_token() -> None:
    token = longest("p" * 63, "p" * 64)
    assert SEALER.open(SEALER.seal(token)) == token
