import pytest
import yaml

from policy.sources.plain_yaml import read_plain


def test_texts_lists_and_mappings_are_read_and_every_value_is_a_text() -> None:
    text = "# why\na: [1, 'two', {b: yes}]\nc:\n  - d: 3.0\n    e: |\n      f\n  - g\nh:\n"
    assert read_plain(text) == {"a": ["1", "two", {"b": "yes"}], "c": [{"d": "3.0", "e": "f\n"}, "g"], "h": ""}
    assert read_plain('{"a": [true, null]}') == {"a": ["true", "null"]}
    assert read_plain("--- a\n") == "a"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\nb:\n  a: 1\n  a: 2\n", "line 4: a is there twice"),
        ("a: &x 1\nb: *x\n", "line 1: anchors and aliases"),
        ("a: *x\n", "line 1: anchors and aliases"),
        ("a: &x [1]\n", "line 1: anchors and aliases"),
        ("a: !!int 1\n", "line 1: tags"),
        ("a: !x {}\n", "line 1: tags"),
        ("? [a]\n: b\n", "line 1: a key is no text"),
        ("a\n---\nb\n", "2 documents"),
        ("", "0 documents"),
        ("[" * 1_000_000, "line 1: more than 16 levels"),
        ("- " * 1_000_000, "line 1: more than 16 levels"),
        ('{"a":' * 1_000_000, "line 1: more than 16 levels"),
    ],
)
def test_what_is_more_than_that_is_refused_and_says_where(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_plain(text)


@pytest.mark.parametrize("text", ["[", "a: b: c", "\0", "'", "a: [1", "%", "@a"])
def test_what_is_no_yaml_is_refused(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        read_plain(text)
