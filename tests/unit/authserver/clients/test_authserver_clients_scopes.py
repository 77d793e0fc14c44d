import pytest
from hypothesis import given
from hypothesis import strategies as st

from authserver.clients.scopes import format_scope, grant_scope, parse_scope
from authserver.errors import InvalidScope
from mesh.errors import Code

WORDS = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='"\\'), min_size=1, max_size=10
)
SCOPES = st.frozensets(WORDS, min_size=1, max_size=20)


@given(SCOPES)
def test_scopes_survive_being_written_down(scopes: frozenset[str]) -> None:
    assert parse_scope(format_scope(scopes)) == scopes


def test_scopes_are_written_in_order_and_once() -> None:
    assert format_scope(parse_scope("b a b")) == "a b"


@pytest.mark.parametrize(
    "scope",
    [
        "",
        " ",
        " a",
        "a ",
        "a  b",
        "a\tb",
        "a\nb",
        "a\n",
        "a,b é",
        'a"',
        "a\\b",
        "\0",
        "a\x7f",
        "a\u00a0b",
        "a" * 401,
        "a " * 250 + "a",
    ],
)
def test_a_malformed_scope_is_refused(scope: str) -> None:
    with pytest.raises(InvalidScope) as caught:
        parse_scope(scope)
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert caught.value.reason == "INVALID_SCOPE"


def test_a_scope_of_400_characters_is_the_longest() -> None:
    assert parse_scope("a" * 400) == {"a" * 400}


@given(SCOPES, SCOPES)
def test_what_is_granted_was_asked_for_and_lies_within_the_ceiling(
    asked: frozenset[str], ceiling: frozenset[str]
) -> None:
    if asked <= ceiling:
        assert grant_scope(format_scope(asked), ceiling) == asked
    else:
        with pytest.raises(InvalidScope):
            grant_scope(format_scope(asked), ceiling)


@given(SCOPES)
def test_who_asks_for_nothing_gets_the_whole_ceiling(ceiling: frozenset[str]) -> None:
    assert grant_scope("", ceiling) == ceiling


@pytest.mark.parametrize("scope", [" ", "A", "a.b", "*", "a b"])
def test_only_the_very_word_is_granted(scope: str) -> None:
    with pytest.raises(InvalidScope):
        grant_scope(scope, frozenset({"a"}))


def test_a_refusal_names_what_lies_beyond_and_not_the_ceiling() -> None:
    with pytest.raises(InvalidScope) as caught:
        grant_scope("c b", frozenset({"b", "hidden"}))
    assert caught.value.message == "may not be granted here: c"
