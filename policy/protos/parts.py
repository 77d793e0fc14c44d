"""Parts of contracts, and of their text."""

from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto

_FIELD = FieldDescriptorProto


def joined(scope: str, name: str) -> str:
    """Return the full name of what stands in a scope."""
    return f"{scope}.{name}" if scope else name


def groups(scope: Any) -> set[str]:  # noqa: ANN401 - a file or a message
    """Return the types that extensions declare themselves."""
    return {field.type_name for field in scope.extension if field.type == _FIELD.TYPE_GROUP}


def visibility(element: Any) -> str:  # noqa: ANN401 - a message or an enum
    """Return how far an element of edition 2024 can be seen, if it says so."""
    visibility = getattr(element, "visibility", 0)
    return {1: "local ", 2: "export "}.get(visibility, "")


def range_text(start: int, end: int, highest: int) -> str:
    """Return a range of numbers, both ends included."""
    if start == end:
        return str(start)
    return f"{start} to {'max' if end == highest else end}"


def in_oneof(field: FieldDescriptorProto) -> bool:
    """Say whether a field is one of several, as its author wrote it."""
    return field.HasField("oneof_index") and not field.proto3_optional


def is_made(field: FieldDescriptorProto, nested: DescriptorProto) -> bool:
    """Say whether a type is made of a field."""
    return nested.options.map_entry or field.type == _FIELD.TYPE_GROUP


def units(message: DescriptorProto) -> list[list[FieldDescriptorProto]]:
    """Return the fields, those of a oneof together."""
    units = list[list[FieldDescriptorProto]]()
    for field in message.field:
        if units and in_oneof(field) and in_oneof(units[-1][0]) and units[-1][0].oneof_index == field.oneof_index:
            units[-1].append(field)
        else:
            units.append([field])
    return units


def json_name(name: str) -> str:
    """Return what protobuf calls a field in JSON if nobody says otherwise."""
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


def slashed(comment: str, indent: str = "") -> Iterator[str]:
    """Yield a comment's lines."""
    if comment:
        for line in comment.removesuffix("\n").split("\n"):
            yield f"{indent}//{line}".rstrip()
