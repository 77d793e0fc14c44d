"""What an attacker makes of something good: the same in another spelling, a part of it, more of it, something else."""

from collections.abc import Callable, Sequence

from hypothesis import strategies as st

from tests.unit.mesh.forgery import ALPHABET

_SHORT = (
    "",
    " ",
    "\0",
    "\n",
    "\u202e\ufeff",
    "\uff53\uff41\uff54\uff3f",
    "\u0663",
    "' OR 1=1 --",
    "../../etc/passwd",
    "{}",
    "-1",
    "%00%n%s",
)
# Made only when they are drawn: a report prints what was to be drawn from.
_LONG = st.sampled_from([("a", 70_000), ("[", 5_000), ("9", 5_000), ("\U0010ffff", 300), ("=", 7), ("A.", 3_000)])
_GLUE = " .=\n\t\0-_+/:é"

hostile_texts = (
    st.sampled_from(_SHORT)
    | _LONG.map(lambda long: long[0] * long[1])
    | st.text(st.characters(codec="utf-8"), max_size=80)
    | st.text(ALPHABET + _GLUE, max_size=200)
)

_Change = Callable[[str, int, int, str], str]
_CHANGES: Sequence[_Change] = (
    lambda good, at, _to, by: good[:at] + by + good[at + 1 :],
    lambda good, at, _to, by: good[:at] + by + good[at:],
    lambda good, at, _to, _by: good[:at],
    lambda good, at, _to, _by: good[at:],
    lambda good, at, to, _by: good[:at] + good[to:],
    lambda good, at, to, _by: good[:to] + good[at:],
    lambda good, at, _to, _by: good[at:] + good[:at],
    lambda good, at, _to, by: good + by * at,
    lambda good, at, _to, _by: good + "=" * (at % 5),
    lambda good, at, _to, _by: good[:at] + _next(good[at : at + 1]) + good[at + 1 :],
    lambda good, _at, _to, _by: good[:-1] + _next(good[-1:]),
    lambda good, at, _to, _by: good[:at] + good[at:].swapcase(),
    lambda good, _at, _to, _by: good.translate({ord("-"): "+", ord("_"): "/"}),
    lambda good, _at, _to, _by: ".".join(reversed(good.split("."))),
    lambda good, _at, _to, by: f"{by}{good}{by}",
)


def _next(character: str) -> str:
    """Return the neighbour in base64url: in the last character, it may differ in bits that no byte has."""
    return ALPHABET[ALPHABET.index(character) ^ 1] if character and character in ALPHABET else "A"


@st.composite
def mutated(draw: st.DrawFn, good: str) -> str:
    """Change a good text in one to three ways; it comes out different."""
    text = good
    for _ in range(draw(st.integers(1, 3))):
        at, to = (draw(st.integers(0, max(0, len(text) - 1))) for _ in range(2))
        by = draw(st.sampled_from(_GLUE) | st.sampled_from(ALPHABET) | st.characters(codec="utf-8"))
        text = draw(st.sampled_from(_CHANGES))(text, at, to, by)
    return text if text != good else good + "="


def spoiled(good: str) -> st.SearchStrategy[str]:
    """Make something that is not the good text: changed from it, or made up."""
    return mutated(good) | hostile_texts.filter(lambda text: text != good)


@st.composite
def spliced(draw: st.DrawFn, good: bytes) -> bytes:
    """Change good bytes in one to three places: cut out some, put others there."""
    for _ in range(draw(st.integers(1, 3))):
        at, to = sorted(draw(st.integers(0, len(good))) for _ in range(2))
        to = draw(st.sampled_from([at, to, min(at + 1, len(good))]))
        good = good[:at] + draw(st.binary(max_size=4) | st.just(good[at:to] * 2)) + good[to:]
    return good
