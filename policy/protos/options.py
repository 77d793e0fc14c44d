"""Options of contracts as source text."""

import math
from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf import message_factory, text_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

# What source text says otherwise, or never.
_UNSAID = frozenset({"map_entry", "uninterpreted_option"})

# Printable ASCII without quote and backslash.
_AS_IT_IS = frozenset(range(0x20, 0x7F)) - frozenset(b'"\\')


def options_in(options: Message, pool: DescriptorPool, named: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """Yield the name and value of each option, as source text has them.

    Args:
        options: The options of an element.
        pool: Where extensions are found.
        named: Spells the full name of an extension.

    """
    for field, value in _known(options, pool).ListFields():
        if field.name in _UNSAID and not field.is_extension:
            continue
        name = f"({named(field.full_name)})" if field.is_extension else field.name
        for each in value if field.is_repeated else [value]:
            yield name, _value(field, each, pool)


def quoted(raw: bytes) -> str:
    """Return a literal of text or bytes."""
    return '"' + "".join(chr(byte) if byte in _AS_IT_IS else f"\\{byte:03o}" for byte in raw) + '"'


def _known(options: Message, pool: DescriptorPool) -> Message:
    """Return options as a pool understands them: extensions are fields there."""
    try:
        descriptor = pool.FindMessageTypeByName(options.DESCRIPTOR.full_name)
    except KeyError:
        return options  # without descriptor.proto, nothing extends it
    return message_factory.GetMessageClass(descriptor).FromString(options.SerializeToString())


def _value(field: FieldDescriptor, value: Any, pool: DescriptorPool) -> str:  # noqa: ANN401 - of any field
    if field.message_type:
        return f"{{ {text_format.MessageToString(value, as_one_line=True, descriptor_pool=pool)} }}"
    if field.enum_type:
        named = field.enum_type.values_by_number.get(value)
        return named.name if named else str(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | bytes):
        return quoted(value.encode() if isinstance(value, str) else value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return repr(value)
