"""The source text of a compiled contract."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

from policy.protos.comments import FILE, PACKAGE, Comment, Comments
from policy.protos.names import Names
from policy.protos.options import options_in, quoted
from policy.protos.parts import groups, in_oneof, is_made, joined, json_name, range_text, slashed, units, visibility

_Lines: TypeAlias = Iterator[str]

_MAX_FIELD = 2**29 - 1
_MAX_ENUM = 2**31 - 1
_FIELD = FieldDescriptorProto


class Printer:
    """Prints contracts.

    Args:
        contracts: All files, imports included and before what imports them.
        comments: What to say of elements.

    """

    def __init__(self, contracts: FileDescriptorSet, comments: Comments) -> None:
        self._pool = DescriptorPool()
        for file in contracts.file:
            self._pool.AddSerializedFile(file.SerializeToString())
        self._names = Names(contracts)
        self._comments = comments

    def source(self, file: FileDescriptorProto) -> str:
        """Return the text of a file, which compiles to what was compiled."""
        lines = _File(file, self._pool, self._names, self._comments).lines()
        return "\n".join(lines).rstrip() + "\n"


class _File:
    def __init__(self, file: FileDescriptorProto, pool: DescriptorPool, names: Names, comments: Comments) -> None:
        self._file, self._pool, self._names, self._comments = file, pool, names, comments
        self._syntax = file.syntax or "proto2"

    def lines(self) -> _Lines:
        file = self._file
        if self._syntax == "editions":
            edition = descriptor_pb2.Edition.Name(file.edition).removeprefix("EDITION_")
            syntax = f'edition = "{edition}";'
        else:
            syntax = f'syntax = "{self._syntax}";'
        yield from self._commented(FILE + file.name, [syntax])
        if file.package:
            yield from ["", *self._commented(PACKAGE + file.name, [f"package {file.package};"])]
        yield from self._imports()
        options = [f"option {name} = {value};" for name, value in self._options(file.options, file.package)]
        yield from ["", *options] if options else []
        for enum in file.enum_type:
            yield from ["", *self._enum(enum, file.package)]
        for service in file.service:
            yield from ["", *self._service(service)]
        for message in file.message_type:
            if f".{joined(file.package, message.name)}" in groups(file):
                continue
            yield from ["", *self._message(message, file.package)]
        if file.extension:
            yield from ["", *self._extensions(file, file.package)]

    def _imports(self) -> _Lines:
        kinds = {
            **dict.fromkeys(self._file.public_dependency, "public "),
            **dict.fromkeys(self._file.weak_dependency, "weak "),
        }
        imports = [f'import {kinds.get(n, "")}"{name}";' for n, name in enumerate(self._file.dependency)]
        imports += [f'import option "{name}";' for name in self._file.option_dependency]
        yield from ["", *imports] if imports else []

    def _options(self, options: Message, scope: str) -> Iterator[tuple[str, str]]:
        return options_in(options, self._pool, lambda name: self._name(scope, name))

    def _name(self, scope: str, full: str) -> str:
        return self._names.within(scope, self._file.package, full)

    def _commented(self, name: str, lines: Sequence[str] | _Lines) -> _Lines:
        comment = self._comments.get(name, Comment())
        for block in comment.detached:
            yield from [*slashed(block), ""]
        yield from slashed(comment.leading)
        lines = list(lines)
        yield lines[0]
        yield from slashed(comment.trailing, "  " if lines[1:] else "")
        yield from lines[1:]

    def _block(self, head: str, body: _Lines) -> _Lines:
        lines = list(body)
        while lines and not lines[0]:
            lines.pop(0)
        if not lines:
            yield f"{head} {{}}"
            return
        yield f"{head} {{"
        yield from (f"  {line}" if line else "" for line in lines)
        yield "}"

    def _enum(self, enum: EnumDescriptorProto, scope: str) -> _Lines:
        name = joined(scope, enum.name)

        def body() -> _Lines:
            yield from (f"option {option} = {value};" for option, value in self._options(enum.options, scope))
            yield from self._reserved(enum, [(each.start, each.end) for each in enum.reserved_range], _MAX_ENUM)
            for value in enum.value:
                options = self._bracketed(self._options(value.options, name))
                line = f"{visibility(value)}{value.name} = {value.number}{options};"
                yield from self._commented(joined(name, value.name), [line])

        return self._commented(name, self._block(f"{visibility(enum)}enum {enum.name}", body()))

    def _service(self, service: Any) -> _Lines:  # noqa: ANN401 - ServiceDescriptorProto, whose stubs lack the options
        name = joined(self._file.package, service.name)

        def body() -> _Lines:
            yield from (f"option {option} = {value};" for option, value in self._options(service.options, name))
            for method in service.method:
                yield from ["", *self._commented(joined(name, method.name), self._method(method, name))]

        return self._commented(name, self._block(f"service {service.name}", body()))

    def _method(self, method: MethodDescriptorProto, scope: str) -> _Lines:
        sides = [
            f"({'stream ' if streaming else ''}{self._name(scope, name.removeprefix('.'))})"
            for streaming, name in (
                (method.client_streaming, method.input_type),
                (method.server_streaming, method.output_type),
            )
        ]
        head = f"rpc {method.name}{sides[0]} returns {sides[1]}"
        options = [f"option {name} = {value};" for name, value in self._options(method.options, scope)]
        yield from self._block(head, iter(options)) if options else [f"{head};"]

    def _message(self, message: DescriptorProto, scope: str) -> _Lines:
        name = joined(scope, message.name)
        head = f"{visibility(message)}message {message.name}"
        return self._commented(name, self._block(head, self._inside(message, name)))

    def _inside(self, message: DescriptorProto, name: str) -> _Lines:
        """Yield what is in a message; what protobuf makes of fields (maps, groups) keeps its place among its types."""
        yield from (f"option {option} = {value};" for option, value in self._options(message.options, name))
        yield from self._reserved(message, [(each.start, each.end - 1) for each in message.reserved_range], _MAX_FIELD)
        for each in message.extension_range:
            options = self._bracketed(self._options(each.options, name))
            yield f"extensions {range_text(each.start, each.end - 1, _MAX_FIELD)}{options};"
        for enum in message.enum_type:
            yield from ["", *self._enum(enum, name)]
        left = units(message)
        made = {field.type_name: field for field in message.field}
        for nested in message.nested_type:
            field = made.get(f".{name}.{nested.name}")
            if field and is_made(field, nested):
                while any(field is each for unit in left for each in unit):
                    yield from ["", *self._unit(left.pop(0), message, name)]
            elif f".{name}.{nested.name}" not in groups(message):
                yield from ["", *self._message(nested, name)]
        for unit in left:
            yield from ["", *self._unit(unit, message, name)]
        if message.extension:
            yield from ["", *self._extensions(message, name)]

    def _unit(self, unit: Sequence[FieldDescriptorProto], message: DescriptorProto, scope: str) -> _Lines:
        first = unit[0]
        if not in_oneof(first):
            return self._field(first, message, scope)
        oneof = message.oneof_decl[first.oneof_index]

        def body() -> _Lines:
            yield from (f"option {option} = {value};" for option, value in self._options(oneof.options, scope))
            for field in unit:
                yield from self._field(field, message, scope)

        return self._commented(joined(scope, oneof.name), self._block(f"oneof {oneof.name}", body()))

    def _field(self, field: FieldDescriptorProto, message: Any, scope: str) -> _Lines:  # noqa: ANN401 - or a file
        name = joined(scope, field.name)
        nested = message.message_type if isinstance(message, FileDescriptorProto) else message.nested_type
        own = next((each for each in nested if f".{joined(scope, each.name)}" == field.type_name), None)
        options = self._bracketed(self._field_options(field, name))
        label = self._label(field)
        if own is not None and own.options.map_entry:
            key, value = (self._type(each, scope) for each in own.field)
            return self._commented(name, [f"map<{key}, {value}> {field.name} = {field.number}{options};"])
        if own is not None and field.type == _FIELD.TYPE_GROUP:
            head = f"{label}group {own.name} = {field.number}{options}"
            return self._commented(name, self._block(head, self._inside(own, joined(scope, own.name))))
        return self._commented(name, [f"{label}{self._type(field, scope)} {field.name} = {field.number}{options};"])

    def _label(self, field: FieldDescriptorProto) -> str:
        if field.label == _FIELD.LABEL_REPEATED:
            return "repeated "
        if field.label == _FIELD.LABEL_REQUIRED:
            return "required "
        plain = self._syntax == "proto2" and not field.HasField("oneof_index")
        return "optional " if field.proto3_optional or plain else ""

    def _type(self, field: FieldDescriptorProto, scope: str) -> str:
        if field.type_name:
            return self._name(scope, field.type_name.removeprefix("."))
        return _FIELD.Type.Name(field.type).removeprefix("TYPE_").lower()

    def _field_options(self, field: FieldDescriptorProto, scope: str) -> Iterator[tuple[str, str]]:
        if field.HasField("default_value"):
            text = field.default_value
            if field.type == _FIELD.TYPE_STRING:
                text = quoted(text.encode())
            elif field.type == _FIELD.TYPE_BYTES:  # escaped already
                text = f'"{text}"'
            yield "default", text
        if field.json_name and not field.extendee and field.json_name != json_name(field.name):
            yield "json_name", quoted(field.json_name.encode())
        yield from self._options(field.options, scope)

    def _extensions(self, scope: Any, name: str) -> _Lines:  # noqa: ANN401 - a file or a message
        for extendee, fields in itertools.groupby(scope.extension, lambda field: field.extendee):
            lines = [line for field in fields for line in self._field(field, scope, name)]
            yield from self._block(f"extend {self._name(name, extendee.removeprefix('.'))}", iter(lines))

    def _reserved(self, scope: Any, ranges: Sequence[tuple[int, int]], highest: int) -> _Lines:  # noqa: ANN401
        if ranges:
            yield f"reserved {', '.join(range_text(start, end, highest) for start, end in ranges)};"
        if scope.reserved_name:
            quote: Callable[[str], str] = str if self._syntax == "editions" else lambda name: quoted(name.encode())
            yield f"reserved {', '.join(quote(name) for name in scope.reserved_name)};"

    @staticmethod
    def _bracketed(options: Iterator[tuple[str, str]]) -> str:
        told = ", ".join(f"{name} = {value}" for name, value in options)
        return f" [{told}]" if told else ""
