"""Text that people read: of any language, but on one line, and in the order in which it is shown."""

import re
import unicodedata

# Not in it: control characters, surrogates, separators of lines and paragraphs (Unicode's general categories), and what
# turns the direction of writing (its property Bidi_Control), by which a text can look like another.
_REFUSED_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Nothing is seen of spaces, and of format characters (zero-width ones, soft hyphens).
_INVISIBLE_CATEGORIES = frozenset({"Zs", "Cf"})
_PLAIN = re.compile(r"[ -~]*[!-~][ -~]*")


def fault_of(text: str, max_length: int) -> str:
    """Return what is wrong with a text that people are to read, as in "it must …"; nothing if it is good.

    Args:
        text: The text.
        max_length: How many characters it may have.

    """
    if len(text) > max_length:
        return f"must have at most {max_length} characters"
    if _PLAIN.fullmatch(text):
        return ""
    categories = {unicodedata.category(character) for character in text}
    if categories & _REFUSED_CATEGORIES or _BIDI_CONTROLS & set(text):
        return "must be on one line, without control characters, those for the direction of writing included"
    if categories <= _INVISIBLE_CATEGORIES:
        return "must not be empty"
    return ""
