"""The comments of contracts, by the names of what they are about."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from google.protobuf.descriptor_pb2 import FileDescriptorProto

_Way: TypeAlias = tuple[int, ...]

# What a file's own comments are kept under; no element has such a name.
FILE, PACKAGE = "syntax ", "package "
# The fields of descriptors that elements with a name are in.
_INSIDE = ("message_type", "nested_type", "enum_type", "service", "extension", "field", "oneof_decl", "value", "method")


@dataclass(frozen=True, slots=True)
class Comment:
    """What is said of an element, as it stands after the slashes.

    Attributes:
        detached: Blocks before it that belong to no element.
        leading: Before it.
        trailing: Behind it.

    """

    detached: tuple[str, ...] = ()
    leading: str = ""
    trailing: str = ""


Comments: TypeAlias = Mapping[str, Comment]


def comments_of(file: FileDescriptorProto) -> Comments:
    """Return the comments in a file by the full names of the elements; values of an enum are as if inside it."""
    ways = {
        (FileDescriptorProto.PACKAGE_FIELD_NUMBER,): PACKAGE + file.name,
        (FileDescriptorProto.SYNTAX_FIELD_NUMBER,): FILE + file.name,
        (FileDescriptorProto.EDITION_FIELD_NUMBER,): FILE + file.name,
        **dict(_elements(file, (), file.package)),
    }
    found = dict[str, Comment]()
    for location in file.source_code_info.location:
        name = ways.get(tuple(location.path))
        comment = Comment(
            tuple(location.leading_detached_comments), location.leading_comments, location.trailing_comments
        )
        if name is not None and comment != Comment():
            found[name] = comment
    return found


def _elements(scope: Any, way: _Way, prefix: str) -> Iterator[tuple[_Way, str]]:  # noqa: ANN401 - any descriptor
    for field in scope.DESCRIPTOR.fields:
        if field.name not in _INSIDE:
            continue
        for number, element in enumerate(getattr(scope, field.name)):
            inner, name = (*way, field.number, number), f"{prefix}.{element.name}".lstrip(".")
            yield inner, name
            yield from _elements(element, inner, name)
