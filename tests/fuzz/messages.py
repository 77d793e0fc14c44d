"""Requests that nobody's client library would make, of any method that the contracts declare."""

from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

from tests.fuzz.mutations import hostile_texts, mutated, spliced

# By the name of a field: what may stand in it.
Genuine = Mapping[str, st.SearchStrategy[str]]

_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_ENUM: (-(2**31), 2**31 - 1),
}
_MAX_ITEMS = 3


@st.composite
def requests(draw: st.DrawFn, kind: Any, genuine: Genuine) -> bytes:
    """Return a message of a kind with hostile values among genuine ones; now and then, not even whole."""
    message: Message = GetMessageClass(kind)()
    for field in kind.fields:
        if draw(st.integers(0, 5)):  # most fields are set, or nothing would come far
            _fill(draw, message, field, genuine)
    sent = message.SerializeToString()
    return sent if draw(st.integers(0, 4)) else draw(spliced(sent))


def _fill(draw: st.DrawFn, message: Message, field: FieldDescriptor, genuine: Genuine) -> None:
    count = draw(st.sampled_from([1, 1, 2, _MAX_ITEMS, 150])) if field.is_repeated else 1
    if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        inner = draw(requests(field.message_type, genuine).filter(lambda sent: _is_whole(field.message_type, sent)))
        for _ in range(count):
            target = getattr(message, field.name)
            (target.add() if field.is_repeated else target).MergeFromString(inner)
    elif field.is_repeated:
        getattr(message, field.name).extend([draw(_value(field, genuine))] * count)
    else:
        setattr(message, field.name, draw(_value(field, genuine)))


def _is_whole(kind: Any, sent: bytes) -> bool:
    try:
        GetMessageClass(kind).FromString(sent)
    except DecodeError:
        return False
    return True


def _value(field: FieldDescriptor, genuine: Genuine) -> st.SearchStrategy[Any]:
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        if field.type == FieldDescriptor.TYPE_BYTES:
            return st.binary(max_size=100)
        known = genuine.get(field.name, st.nothing())
        # The good ones most often: all others must be good before the bad one is looked at.
        return st.one_of(known, known, known, known.flatmap(mutated), hostile_texts)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    least, most = _INTEGERS[field.cpp_type]
    return st.integers(max(0, least), 5) | st.integers(least, most) | st.sampled_from([least, most, most // 1000])
